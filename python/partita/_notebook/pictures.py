"""Bars, and calendars of what is there and what is missing, as SVG."""

from __future__ import annotations

import calendar
import datetime as dt
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from html import escape

__all__ = ["bar", "coverage", "covered", "months_of"]

_BAR = 160
_CELL = 14
_MOST_YEARS = 60
_MONTHS = 12

Month = tuple[int, int]


def bar(value: float, most: float, label: str) -> str:
    """A horizontal bar that shows `value` of `most`."""
    # A small value still draws a visible bar; zero draws none.
    width = max(1.0, _BAR * value / most) if value > 0 else 0.0
    return (
        f'<svg role="img" aria-label="{escape(label)}" width="{_BAR}" height="14">'
        f'<rect class="partita-empty" y="3" width="{_BAR}" height="8" rx="2"/>'
        f'<rect class="partita-mark" y="3" width="{width:.1f}" height="8" rx="2"/></svg>'
    )


def coverage(keys: Iterable[Mapping[str, str | int]]) -> str | None:
    """A calendar of the months that partitions cover; None where they have no year and month.

    Where partitions are days or less, a month is filled by the share of its days.
    """
    months = months_of(list(keys))
    if not months:
        return None
    first, last = min(months), max(months)
    years = list(range(first[0], last[0] + 1))
    shown = years[-_MOST_YEARS:]
    cells = [
        _cell(place, month, months.get((year, month), 0.0), year, first <= (year, month) <= last)
        for place, year in enumerate(shown)
        for month in range(1, _MONTHS + 1)
    ]
    labels = [
        f'<text x="0" y="{_top(place) + 11}">{year}</text>' for place, year in enumerate(shown)
    ]
    heads = [
        f'<text x="{_left(month) + 2}" y="10">{calendar.month_abbr[month][0]}</text>'
        for month in range(1, _MONTHS + 1)
    ]
    missing = [
        (year, month)
        for year in years
        for month in range(1, _MONTHS + 1)
        if first <= (year, month) <= last and (year, month) not in months
    ]
    told = _told(first, last, missing)
    picture = (
        f'<svg role="img" aria-label="{escape(told)}" width="{_left(_MONTHS + 1)}" '
        f'height="{_top(len(shown))}">{"".join(heads + labels + cells)}</svg>'
    )
    earlier = f" (the last {_MOST_YEARS} years are drawn)" if len(years) > len(shown) else ""
    return f'<div class="partita-muted">{escape(told + earlier)}</div>{picture}'


def covered(keys: Sequence[Mapping[str, str | int]]) -> dict[str, float]:
    """The share of every month from the first to the last, by its name; 0 where there is none."""
    months = months_of(keys)
    if not months:
        return {}
    (year, month), last = min(months), max(months)
    found = {}
    while (year, month) <= last:
        found[f"{year:04}-{month:02}"] = months.get((year, month), 0.0)
        year, month = (year, month + 1) if month < _MONTHS else (year + 1, 1)
    return found


def months_of(keys: Sequence[Mapping[str, str | int]]) -> dict[Month, float]:
    """The share of each month that is covered; nothing if the keys are no dates."""
    try:
        dates = {
            dt.date(int(key["year"]), int(key["month"]), int(key.get("day", 1))) for key in keys
        }
    except (KeyError, ValueError):
        return {}
    counted = Counter((date.year, date.month) for date in dates)
    if not all("day" in key for key in keys):
        return dict.fromkeys(counted, 1.0)
    return {
        (year, month): days / calendar.monthrange(year, month)[1]
        for (year, month), days in counted.items()
    }


def _cell(place: int, month: int, share: float, year: int, within: bool) -> str:
    name = f"{year:04}-{month:02}"
    told = f"{name}: {'complete' if share >= 1 else f'{share:.0%}' if share else 'missing'}"
    if not share and not within:
        return ""
    x, y = _left(month), _top(place)
    height = (_CELL - 2) * min(share, 1.0)
    filled = (
        f'<rect class="partita-mark" x="{x}" y="{y + _CELL - 2 - height:.1f}" '
        f'width="{_CELL - 2}" height="{height:.1f}"/>'
        if share
        else ""
    )
    return (
        f'<g><title>{told}</title><rect class="partita-empty" x="{x}" y="{y}" '
        f'width="{_CELL - 2}" height="{_CELL - 2}"/>{filled}</g>'
    )


def _left(month: int) -> int:
    return 40 + (month - 1) * _CELL


def _top(place: int) -> int:
    return 14 + place * _CELL


def _told(first: Month, last: Month, missing: Sequence[Month]) -> str:
    def name(month: Month) -> str:
        return f"{month[0]:04}-{month[1]:02}"

    period = f"{name(first)} to {name(last)}"
    if not missing:
        return f"{period}, no month is missing"
    some = ", ".join(name(month) for month in missing[:6])
    more = f" and {len(missing) - 6} more" if len(missing) > 6 else ""
    return f"{period}, missing: {some}{more}"
