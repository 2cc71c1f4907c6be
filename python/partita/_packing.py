"""The attributes by which stored numbers are decoded.

A variable of numbers may be packed by the CF conventions: ``scale_factor`` and ``add_offset``,
``_Unsigned``, ``units`` and ``calendar`` of times, and values that stand for missing ones,
``_FillValue`` and ``missing_value``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from partita._arrow import optional

if TYPE_CHECKING:
    import numpy as np

__all__ = ["MEANING", "SPANS", "Packing", "is_time_units"]

MEANING = ("scale_factor", "add_offset", "_Unsigned", "missing_value", "units", "calendar")
"""The attributes, beside ``_FillValue``, by which numbers are decoded."""

SPANS = {
    "days": 86_400 * 10**9,
    "hours": 3_600 * 10**9,
    "minutes": 60 * 10**9,
    "seconds": 10**9,
    "milliseconds": 10**6,
    "microseconds": 10**3,
    "nanoseconds": 1,
}
"""The units of durations that xarray decodes, in nanoseconds."""

# Calendars with several names.
_CALENDARS = {"gregorian": "standard", "365_day": "noleap", "366_day": "all_leap"}


def is_time_units(units: Any) -> bool:
    """True for units of times: ``days since 2000-01-01``."""
    return isinstance(units, str) and " since " in units


@dataclass(frozen=True)
class Packing:
    """How the stored numbers of a variable are decoded.

    Examples
    --------
    >>> Packing.of({"scale_factor": 0.5, "_FillValue": -9}).scale
    0.5
    """

    fills: tuple[Any, ...] = ()
    """The numbers that stand for missing values; that to be written first."""
    scale: float | None = None
    offset: float | None = None
    unsigned: str | None = None
    """The text of ``_Unsigned``."""
    units: str | None = None
    """The units of times or durations; other units do not affect how numbers are decoded."""
    calendar: str | None = None

    @classmethod
    def of(cls, attributes: Mapping[Any, Any], fill: Any = None, dtype: Any = None) -> Packing:
        """The packing that attributes tell of; with a fill value that is kept elsewhere.

        The type of the stored numbers says which values of ``missing_value`` they can be.
        """
        np = optional("numpy", "storing arrays")
        unsigned = attributes.get("_Unsigned")
        unsigned = None if unsigned is None else str(unsigned).lower()
        fills: list[Any] = [] if fill is None else [fill]
        for key in ("_FillValue", "missing_value"):
            if attributes.get(key) is None:
                continue
            found = np.ravel(np.asarray(attributes[key])).tolist()
            if key == "missing_value" and unsigned and dtype is not None:
                # xarray compares it with logical numbers, and `_FillValue` with stored ones.
                found = [
                    one for one in found if _is_one_of(one, _logical(np.dtype(dtype), unsigned))
                ]
            fills += found
        units, calendar = attributes.get("units"), None
        if is_time_units(units):
            calendar = str(attributes.get("calendar") or "standard").lower()
            calendar = _CALENDARS.get(calendar, calendar)
        elif units not in SPANS:
            units = None
        return cls(
            tuple(fills),
            _number(attributes.get("scale_factor")),
            _number(attributes.get("add_offset")),
            unsigned,
            units,
            calendar,
        )

    @property
    def is_scaled(self) -> bool:
        return self.scale is not None or self.offset is not None

    @property
    def is_time(self) -> bool:
        return self.calendar is not None

    @property
    def is_trivial(self) -> bool:
        """True if numbers stand for themselves, but for missing ones."""
        return not (self.is_scaled or self.unsigned or self.is_time)

    def means_the_same(self, other: Packing) -> bool:
        """Whether both decode the same number to the same value; fill values are not compared."""
        mine = (self.scale or 1.0, self.offset or 0.0, self.unsigned, self.units, self.calendar)
        its = (other.scale or 1.0, other.offset or 0.0, other.unsigned, other.units, other.calendar)
        # Durations may lack units on one side.
        if self.calendar is None and other.calendar is None and None in (self.units, other.units):
            return mine[:3] == its[:3]
        return mine == its

    def logical(self, dtype: np.dtype[Any]) -> np.dtype[Any]:
        """The type that ``_Unsigned`` makes of a stored one."""
        return _logical(dtype, self.unsigned)

    def written(self, dtype: np.dtype[Any]) -> tuple[Any, ...]:
        """The fill values that numbers of a type can have, but "not a number", which always is."""
        np = optional("numpy", "storing arrays")
        found = []
        for fill in self.fills:
            given = np.asarray(fill)
            if given.dtype.kind in "fc" and np.isnan(given):
                continue
            if dtype.kind == "f" and given.dtype.kind in "iuf":
                given = given.astype(dtype)
            found.append(given.item() if given.dtype.kind in "biufc" else fill)
        return tuple(found)

    def is_missing(self, numbers: np.ndarray[Any, Any]) -> Any:
        """Which stored numbers stand for missing values; None for none."""
        np = optional("numpy", "storing arrays")
        found = None
        for fill in self.fills:
            same = _equal(numbers, fill, self.logical(numbers.dtype))
            found = same if found is None or same is None else found | same
        return found if found is not None and np.any(found) else None


def _logical(dtype: np.dtype[Any], unsigned: str | None) -> np.dtype[Any]:
    np = optional("numpy", "storing arrays")
    if unsigned == "true" and dtype.kind == "i":
        return np.dtype(f"u{dtype.itemsize}")
    if unsigned == "false" and dtype.kind == "u":
        return np.dtype(f"i{dtype.itemsize}")
    return dtype


def _is_one_of(value: Any, dtype: np.dtype[Any]) -> bool:
    """Whether integers of a type can have a value."""
    np = optional("numpy", "storing arrays")
    if dtype.kind not in "iu" or not isinstance(value, (int, float)):
        return True
    return bool(np.iinfo(dtype).min <= value <= np.iinfo(dtype).max)


def _number(value: Any) -> float | None:
    np = optional("numpy", "storing arrays")
    return None if value is None else float(np.ravel(np.asarray(value))[0])


def _equal(numbers: np.ndarray[Any, Any], fill: Any, logical: np.dtype[Any]) -> Any:
    np = optional("numpy", "storing arrays")
    given = np.asarray(fill)
    if numbers.dtype.kind in "Mm":
        if given.dtype.kind != numbers.dtype.kind:
            return None
        return np.isnat(numbers) if np.isnat(given) else numbers == given
    if given.dtype.kind in "fc" and np.isnan(given):
        return np.isnan(numbers) if numbers.dtype.kind in "fc" else None
    if numbers.dtype.kind in "biufc" and given.dtype.kind not in "biufc":
        return None
    if numbers.dtype.kind in "SUO" and given.dtype.kind not in "SUO":
        return None
    if numbers.dtype.kind == "f" and given.dtype.kind in "iuf":
        # Fill values are compared as they are stored, rounded to the type.
        with np.errstate(all="ignore"):
            given = given.astype(numbers.dtype)
    if numbers.dtype.kind in "iu" and logical != numbers.dtype:
        return (numbers == given) | (numbers.view(logical) == given)
    return numbers == given
