"""Draws the ratios of RESULTS.md as docs/images/speed.svg, which the README shows.

python benches/plot.py
"""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import matplotlib
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter
from results import RESULTS

PICTURE = Path(__file__).parents[1] / "docs" / "images" / "speed.svg"
# Colours that differ for colour-blind readers too, and marks that differ in print.
PEERS = {
    "plateau": ("#0072b2", "o"),
    "pyarrow": ("#d55e00", "s"),
    "polars": ("#009e73", "D"),
    "ZCollection": ("#cc79a7", "o"),
}
Rows = dict[str, list[tuple[str, float]]]


def main() -> None:
    matplotlib.use("Agg")
    # The same text gives the same bytes: no date, no random identifiers.
    matplotlib.rcParams.update({"svg.hashsalt": "partita", "svg.fonttype": "none", "font.size": 9})
    tables, collections = ratios_of_tables(), ratios_of_collections()
    figure, axes = pyplot.subplots(
        2,
        1,
        figsize=(8.2, 6.6),
        sharex=True,
        height_ratios=[len(tables), len(collections)],
        layout="constrained",
    )
    draw(axes[0], "Tables: 10,000,000 rows", tables)
    draw(axes[1], "Collections", collections)
    axes[1].set_xlabel("times as long as Partita (above 1: Partita is faster)")
    PICTURE.parent.mkdir(exist_ok=True)
    figure.savefig(PICTURE, metadata={"Date": None})


def section(name: str) -> str:
    """The text of a section of the results."""
    found = re.search(rf"^## {name}\n(.*?)(?=^## |\Z)", RESULTS.read_text(), re.M | re.S)
    if found is None:
        raise SystemExit(f"{RESULTS} has no section {name}")
    return found[1]


def grids(text: str) -> list[list[list[str]]]:
    """The tables of Markdown: for each the cells, line by line, without the rule below the head."""
    blocks = re.findall(r"(?:^\|.*\n?)+", text, re.M)
    return [
        [
            [cell.strip() for cell in line.strip().strip("|").split("|")]
            for line in block.splitlines()
            if not set(line) <= set("|- ")
        ]
        for block in blocks
    ]


def ratio(cell: str) -> float | None:
    found = re.search(r"\(([\d.]+)×\)", cell)
    return float(found[1]) if found else None


def ratios_of_tables() -> Rows:
    head, *lines = grids(section("Tables"))[0]
    rows: Rows = {}
    for label, *cells in lines:
        pairs = [(peer, ratio(cell)) for peer, cell in zip(head[1:], cells, strict=True)]
        rows[label] = [(peer, value) for peer, value in pairs if value is not None]
    return rows


def ratios_of_collections() -> Rows:
    """Every measurement; those that were made with several kinds of values have a mark for each."""
    rows: Rows = {}
    for _, *lines in grids(section("Collections")):
        for label, *cells in lines:
            value = ratio(cells[-1])
            if value is not None:
                rows.setdefault(label, []).append(("ZCollection", value))
    return rows


def draw(axes: Axes, title: str, rows: Rows) -> None:
    axes.set_title(title, loc="left", fontweight="bold")
    axes.axvline(1, color="#555555", linewidth=1)
    for peer, (colour, mark) in PEERS.items():
        points = [
            (value, place)
            for place, row in enumerate(rows.values())
            for name, value in row
            if name == peer
        ]
        if points:
            values, places = zip(*points, strict=True)
            axes.scatter(values, places, color=colour, marker=mark, label=peer, zorder=2)
    axes.set_yticks(range(len(rows)), [textwrap.fill(label, 48) for label in rows])
    axes.invert_yaxis()
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}×"))
    axes.grid(True, color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=len(PEERS), frameon=False)


if __name__ == "__main__":
    main()
