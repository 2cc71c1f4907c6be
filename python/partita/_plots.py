"""Plots of datasets, with matplotlib where it is installed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from partita._arrow import optional

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from partita.records import Partition

__all__ = ["plot_bars", "plot_coverage", "plot_partitions"]

_MOST_BARS = 40
_MONTHS = "JFMAMJJASOND"


def axes_of(ax: Axes | None, height: float) -> Axes:
    """The axes that were given, or new ones so high in inches."""
    if ax is not None:
        return ax
    pyplot = optional("matplotlib.pyplot", "plotting")
    return pyplot.subplots(figsize=(7, height), layout="constrained")[1]


def plot_coverage(covered: Mapping[str, float], ax: Axes | None) -> Axes:
    """A row for each year and a column for each month, the darker the more of it is there."""
    years = sorted({int(month[:4]) for month in covered})
    rows = [[covered.get(f"{y:04}-{m:02}", float("nan")) for m in range(1, 13)] for y in years]
    ax = axes_of(ax, 0.8 + 0.3 * len(years))
    ax.imshow(rows, cmap="Blues", vmin=0, vmax=1, aspect="equal")
    ax.set_xticks(range(12), list(_MONTHS))
    ax.set_yticks(range(len(years)), [str(year) for year in years])
    ax.set_title("share of each month that is there")
    return ax


def plot_partitions(partitions: Sequence[Partition], ax: Axes | None) -> Axes:
    """A bar for each partition, in order; the largest ones if there are many."""
    chosen = list(partitions)
    if len(chosen) > _MOST_BARS:
        large = sorted(chosen, key=lambda one: one.bytes or 0, reverse=True)[:_MOST_BARS]
        kept = {id(one) for one in large}
        chosen = [one for one in chosen if id(one) in kept]
    sizes = [(one.bytes or 0) / 2**20 for one in chosen]
    names = [one.path or "whole table" for one in chosen]
    return plot_bars(names, sizes, "size in MiB", ax)


def plot_bars(names: Sequence[str], values: Sequence[Any], label: str, ax: Axes | None) -> Axes:
    """Horizontal bars, the first on top."""
    ax = axes_of(ax, 0.8 + 0.25 * len(names))
    ax.barh(range(len(names)), values)
    ax.set_yticks(range(len(names)), list(names))
    ax.invert_yaxis()
    ax.set_xlabel(label)
    return ax
