"""Dates of cftime: of calendars that numpy does not have, or beyond its range.

They are stored as numbers with the attributes ``units`` and ``calendar``.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from partita._arrow import optional
from partita._decoding import either, times_of, where_nan
from partita._packing import Packing
from partita.errors import InvalidArgument, SchemaMismatch

if TYPE_CHECKING:
    import numpy as np

__all__ = [
    "UNITS_OF_DATES",
    "calendar_of",
    "dates_of",
    "is_date",
    "missing_dates",
    "packing_of_dates",
    "remember_packing_of_dates",
    "to_dates",
    "to_times",
]

UNITS_OF_DATES = "microseconds since 1970-01-01"
"""Counts all dates of cftime exactly."""

# The first day of the Gregorian calendar.
_GREGORIAN = (1582, 10, 15)


def is_date(item: Any) -> bool:
    """True for a date of cftime."""
    return type(item).__module__.split(".")[0] == "cftime"


def missing_dates(array: np.ndarray[Any, Any]) -> Any:
    """Which objects are missing among dates of cftime; None for none, or for other objects."""
    np = optional("numpy", "storing arrays")
    items = array.ravel().tolist()
    if not is_date(_first(items)):
        return None
    missing = np.array([_nothing(item) for item in items]).reshape(array.shape)
    return missing if missing.any() else None


def _first(items: list[Any]) -> Any:
    return next((item for item in items if not _nothing(item)), None)


def _nothing(item: Any) -> bool:
    is_nan = isinstance(item, float) and item != item
    return item is None or is_nan or type(item).__name__ in ("NaTType", "NAType")


def calendar_of(variable: str, array: np.ndarray[Any, Any]) -> str | None:
    """The calendar of dates of cftime; None if these are no such dates.

    Raises
    ------
    InvalidArgument
        If there are several.
    """
    if array.dtype.kind != "O":
        return None
    items = array.ravel().tolist()
    if not is_date(_first(items)):
        return None
    items = [item for item in items if not _nothing(item)]
    if not all(is_date(item) for item in items):
        return None
    found = {"standard" if i.calendar == "gregorian" else i.calendar for i in items}
    if len(found) > 1 or "" in found:
        raise InvalidArgument(
            f"variable {variable} cannot be stored: it holds dates of the calendars "
            f"{', '.join(repr(name) for name in sorted(found))}, and needs one",
            context={"variable": variable},
        )
    return str(found.pop())


def to_times(variable: str, array: np.ndarray[Any, Any], missing: Any) -> np.ndarray[Any, Any]:
    """Dates of the Gregorian calendar as times of numpy, in microseconds.

    Raises
    ------
    SchemaMismatch
        If they are dates of another calendar.
    """
    np = optional("numpy", "storing arrays")
    calendar = calendar_of(variable, array)
    known = array if missing is None else array[~missing]
    is_early = any((d.year, d.month, d.day) < _GREGORIAN for d in known.ravel().tolist())
    if calendar != "proleptic_gregorian" and (calendar != "standard" or is_early):
        raise SchemaMismatch(
            f"variable {variable} holds times of numpy in the collection, and is given as dates of "
            f"the calendar {calendar}{' before 1582-10-15' if calendar == 'standard' else ''}",
            context={"variable": variable, "calendar": str(calendar)},
        )
    times = np.full(array.shape, "NaT", "M8[us]")
    times[... if missing is None else ~missing] = [
        np.datetime64(d.isoformat(), "us") for d in known
    ]
    return times


def to_dates(
    numbers: np.ndarray[Any, Any], missing: Any, attributes: Mapping[Any, Any]
) -> np.ndarray[Any, Any]:
    """Numbers with ``units`` and ``calendar`` as dates, and None where they are missing.

    xarray decodes a number that is missing to some date, or fails.
    """
    np = optional("numpy", "decoding times")
    cftime = optional("cftime", "decoding dates of other calendars")
    dates = np.full(numbers.shape, None, object)
    known = numbers[~missing]
    if known.size:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dates[~missing] = cftime.num2date(
                known, attributes["units"], attributes["calendar"], only_use_cftime_datetimes=True
            )
    return dates


def packing_of_dates(
    array: np.ndarray[Any, Any], attributes: Mapping[str, Any], encoding: Mapping[str, Any]
) -> Packing | None:
    """The packing of numbers that are no times of numpy, else None.

    They are of a calendar that numpy does not have, or some are missing and others are beyond the
    range in which xarray decodes numbers to times.
    """
    packing = Packing.of(attributes, encoding.get("_FillValue"))
    if not packing.is_time or packing.is_scaled or array.dtype.kind not in "iuf":
        return None
    is_other = packing.calendar not in ("standard", "proleptic_gregorian")
    return packing if is_other or _is_far(array, packing) else None


def _is_far(array: np.ndarray[Any, Any], packing: Packing) -> bool:
    np = optional("numpy", "decoding times")
    missing = either(where_nan(array), packing.is_missing(array))
    if missing is None or missing.all():
        # xarray decodes these.
        return False
    known = array[~missing]
    ends = np.array([known.min(), known.max()])
    try:
        times = times_of("times", ends, {"units": packing.units, "calendar": packing.calendar})
    except (ValueError, OverflowError):
        # xarray says what is wrong.
        return False
    return bool(times.dtype != "M8[ns]")


def remember_packing_of_dates(
    dtype: np.dtype[Any], attributes: dict[str, Any], encoding: dict[str, Any]
) -> None:
    """Moves what numbers are decoded by into the encoding, as xarray does when it decodes them."""
    meaning = ("units", "calendar", "_FillValue", "missing_value")
    encoding.update({key: attributes.pop(key) for key in meaning if key in attributes})
    encoding["dtype"] = dtype


def dates_of(array: np.ndarray[Any, Any], packing: Packing) -> np.ndarray[Any, Any]:
    """Numbers as dates of cftime, and None where they are missing."""
    np = optional("numpy", "decoding times")
    missing = either(where_nan(array), packing.is_missing(array))
    missing = np.zeros(array.shape, bool) if missing is None else missing
    return to_dates(array, missing, {"units": packing.units, "calendar": packing.calendar})
