"""Periods of time, and how two of them lie to each other."""

from __future__ import annotations

import enum
from typing import Any

import numpy as np

__all__ = ["Period", "PeriodRelation"]

_UNITS: tuple[Any, ...] = ("as", "fs", "ps", "ns", "us", "ms", "s", "m", "h", "D", "W", "M", "Y")


class PeriodRelation(enum.IntEnum):
    """How the first of two periods lies to the second."""

    AFTER = 0
    """It begins after the end of the second."""
    START_TOUCHING = 1
    """Its first item is the last of the second."""
    START_INSIDE = 2
    """It begins inside the second, and ends after it."""
    INSIDE_START_TOUCHING = 3
    """It begins with the second, and ends inside it."""
    ENCLOSING_START_TOUCHING = 4
    """It begins with the second, and ends after it."""
    ENCLOSING = 5
    """It begins before the second, and ends after it."""
    ENCLOSING_END_TOUCHING = 6
    """It begins before the second, and ends with it."""
    EXACT_MATCH = 7
    """They are the same."""
    INSIDE = 8
    """It begins and ends inside the second."""
    INSIDE_END_TOUCHING = 9
    """It begins inside the second, and ends with it."""
    END_INSIDE = 10
    """It begins before the second, and ends inside it."""
    END_TOUCHING = 11
    """Its last item is the first of the second."""
    BEFORE = 12
    """It ends before the second begins."""

    def is_after(self) -> bool:
        """Whether the first begins after the end of the second."""
        return self is PeriodRelation.AFTER

    def is_before(self) -> bool:
        """Whether the first ends before the second begins."""
        return self is PeriodRelation.BEFORE

    def contains(self) -> bool:
        """Whether the first covers the second."""
        return self in (
            PeriodRelation.ENCLOSING_END_TOUCHING,
            PeriodRelation.ENCLOSING_START_TOUCHING,
            PeriodRelation.ENCLOSING,
            PeriodRelation.EXACT_MATCH,
        )

    def is_before_overlapping(self) -> bool:
        """Whether the first ends inside the second."""
        return self in (
            PeriodRelation.END_INSIDE,
            PeriodRelation.END_TOUCHING,
            PeriodRelation.INSIDE_START_TOUCHING,
        )

    def is_after_overlapping(self) -> bool:
        """Whether the first begins inside the second, and reaches its end."""
        return self in (
            PeriodRelation.START_INSIDE,
            PeriodRelation.START_TOUCHING,
            PeriodRelation.INSIDE_END_TOUCHING,
        )

    def is_inside(self) -> bool:
        """Whether the first begins and ends inside the second."""
        return self is PeriodRelation.INSIDE


class Period:
    """The time from one moment to another.

    Parameters
    ----------
    begin : numpy.datetime64
        The first moment.
    end : numpy.datetime64
        The moment behind the last.
    within : bool, default False
        Whether `end` is the last moment itself.
    """

    __slots__ = ("_begin", "_duration_unit", "_last")

    def __init__(self, begin: np.datetime64, end: np.datetime64, *, within: bool = False) -> None:
        unit = min(_unit(begin), _unit(end))
        self._begin = begin
        self._duration_unit = np.timedelta64(1, _UNITS[unit])
        self._last = end if within else end - self._duration_unit

    def __repr__(self) -> str:
        return f"[{self._begin}, {self.end()}["

    def __getstate__(self) -> tuple[Any, ...]:
        return self._begin, self._duration_unit, self._last

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self._begin, self._duration_unit, self._last = state

    @classmethod
    def from_duration(cls, begin: np.datetime64, duration: np.timedelta64) -> Period:
        """The period that begins at a moment and lasts so long."""
        return cls(begin, begin + duration)

    @property
    def begin(self) -> np.datetime64:
        """The first moment."""
        return self._begin

    @property
    def last(self) -> np.datetime64:
        """The last moment."""
        return self._last

    def end(self) -> np.datetime64:
        """The moment behind the last."""
        return self._last + self._duration_unit

    def is_null(self) -> bool:
        """Whether there is no moment in it."""
        return bool(self.end() <= self._begin)

    def length(self) -> np.timedelta64:
        """How long it lasts."""
        return self.end() - self._begin

    def __eq__(self, rhs: object) -> bool:
        if not isinstance(rhs, Period):
            return NotImplemented
        return bool(self._begin == rhs._begin and self._last == rhs._last)

    __hash__ = None  # type: ignore[assignment]

    def __lt__(self, rhs: Any) -> bool:
        if not isinstance(rhs, Period):
            return NotImplemented
        return bool(self._last < rhs._begin)

    def shift(self, duration: np.timedelta64) -> None:
        """Move it by a duration."""
        self._begin, self._last = self._begin + duration, self._last + duration

    def expand(self, duration: np.timedelta64) -> None:
        """Make it longer by a duration at either end."""
        self._begin, self._last = self._begin - duration, self._last + duration

    def contains(self, other: np.datetime64 | Period) -> bool:
        """Whether a moment or all of another period is in it."""
        first, last = (other.begin, other.last) if isinstance(other, Period) else (other, other)
        return bool(self._begin <= first and last <= self._last)

    def is_adjacent(self, other: Period) -> bool:
        """Whether one begins where the other ends."""
        return bool(other.begin == self.end() or self.begin == other.end())

    def is_after(self, point: np.datetime64) -> bool:
        """Whether it begins after a moment."""
        return not self.is_null() and bool(point < self._begin)

    def is_before(self, point: np.datetime64) -> bool:
        """Whether it ends before a moment."""
        return not self.is_null() and bool(self._last < point)

    def intersects(self, other: Period) -> bool:
        """Whether there is a moment in both."""
        return self.contains(other.begin) or other.contains(self._begin)

    def intersection(self, other: Period) -> Period:
        """What is in both: null if nothing is."""
        first, second = (other, self) if self._begin <= other.begin else (self, other)
        if first.last <= second.last:
            return first
        return Period(first.begin, second.end())

    def merge(self, other: Period) -> Period:
        """What is in either, if there is a moment in both; otherwise null."""
        return self.span(other) if self.intersects(other) else Period(self._begin, self._begin)

    def span(self, other: Period) -> Period:
        """From the first moment of either to the last."""
        end = other.end() if self._last < other.last else self.end()
        return Period(min(self._begin, other.begin), end)

    def get_relation(self, other: Period) -> PeriodRelation:
        """How it lies to another period."""
        begins, ends = self._begin == other.begin, self._last == other.last
        if other.last < self._begin:
            return PeriodRelation.AFTER
        if other.begin > self._last:
            return PeriodRelation.BEFORE
        if begins and ends:
            return PeriodRelation.EXACT_MATCH
        if other.last == self._begin:
            return PeriodRelation.START_TOUCHING
        if other.begin == self._last:
            return PeriodRelation.END_TOUCHING
        if self.contains(other):
            if begins:
                return PeriodRelation.ENCLOSING_START_TOUCHING
            return PeriodRelation.ENCLOSING_END_TOUCHING if ends else PeriodRelation.ENCLOSING
        if other.contains(self):
            if begins:
                return PeriodRelation.INSIDE_START_TOUCHING
            return PeriodRelation.INSIDE_END_TOUCHING if ends else PeriodRelation.INSIDE
        if other.contains(self._begin):
            return PeriodRelation.START_INSIDE
        return PeriodRelation.END_INSIDE


def _unit(moment: np.datetime64) -> int:
    if moment.dtype.kind not in "mM":
        raise ValueError(f"dtype is not a time duration: {moment.dtype}")
    return _UNITS.index(np.datetime_data(moment.dtype)[0])
