"""Values of stored numbers, as xarray decodes them, and which of them are missing."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from partita._arrow import optional
from partita._packing import SPANS, Packing, is_time_units

if TYPE_CHECKING:
    import numpy as np

__all__ = [
    "any_known",
    "decode_durations",
    "decoded",
    "either",
    "missing_times",
    "times_of",
    "where_nan",
]


def missing_times(
    name: str,
    array: np.ndarray[Any, Any],
    attributes: Mapping[Any, Any],
    encoding: Mapping[str, Any],
) -> Any:
    """Which times were decoded from the number that stands for a missing one; None for none.

    ``xarray.open_dataset(mask_and_scale=False)`` decodes such numbers to times like others.
    """
    np = optional("numpy", "storing arrays")
    units, found = encoding.get("units"), None
    if array.dtype.kind != "M" or not is_time_units(units):
        return None
    known = {**encoding, **attributes}
    meaning = {"units": units, "calendar": encoding.get("calendar") or "standard"}
    for fill in Packing.of({k: known.get(k) for k in ("_FillValue", "missing_value")}).fills:
        number = np.asarray(fill)
        if number.dtype.kind not in "iuf" or np.isnan(number):
            continue
        try:
            moment = times_of(name, number.reshape(1), meaning)
        except (ValueError, OverflowError):
            continue
        if moment.dtype.kind == "M":
            found = either(found, array == moment[0])
    return found if found is not None and found.any() else None


def decoded(
    name: str,
    array: np.ndarray[Any, Any],
    missing: Any,
    attributes: Mapping[Any, Any],
    own: Packing,
    target: Packing,
) -> tuple[np.ndarray[Any, Any], Any]:
    """The values of stored numbers, and which are missing."""
    np = optional("numpy", "storing arrays")
    xarray = optional("xarray", "unpacking numbers")
    keys = ("scale_factor", "add_offset", "_Unsigned", "units", "calendar")
    attributes = {key: attributes[key] for key in keys if attributes.get(key) is not None}
    if missing is not None:
        # The fill value itself need not be a valid time.
        array = np.where(missing, any_known(array, missing), array)
    if own.is_time:
        return times_of(name, array, attributes), missing
    attributes.pop("units", None)
    variable = xarray.Variable(_dimensions(array), array, attributes)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        values = xarray.conventions.decode_cf_variable(
            name, variable, concat_characters=False, decode_times=False
        ).values
    if own.units != target.units and own.units and target.units:
        values = values * SPANS[own.units] / SPANS[target.units]
    return values, either(missing, where_nan(values))


def decode_durations(attributes: Mapping[Any, Any]) -> bool | None:
    """What ``decode_timedelta`` xarray is to be given for a variable: None, which is its default.

    It is False where that default leaves durations as numbers: missing ones among integers would be
    the smallest integer, as if they were decoded.
    """
    coding = optional("xarray.coding.times", "decoding times")
    is_typed = str(attributes.get("dtype", "")).startswith("timedelta64")
    if attributes.get("units") not in SPANS or is_typed:
        return None
    # Where the coder has no such choice, durations are decoded.
    decodes = getattr(coding.CFTimedeltaCoder(), "decode_via_units", True)
    return None if decodes else False


def _dimensions(array: np.ndarray[Any, Any]) -> list[str]:
    return [f"d{at}" for at in range(array.ndim)]


def any_known(array: np.ndarray[Any, Any], missing: Any) -> Any:
    np = optional("numpy", "storing arrays")
    known = array[~missing]
    return known.flat[0] if known.size else np.zeros(1, array.dtype)[0]


def times_of(
    name: str, array: np.ndarray[Any, Any], attributes: Mapping[str, Any]
) -> np.ndarray[Any, Any]:
    coding = optional("xarray.coding.times", "decoding times")
    xarray = optional("xarray", "decoding times")
    variable = xarray.Variable(_dimensions(array), array, dict(attributes))
    for unit in ("ns", "us", "s"):
        try:
            coder = coding.CFDatetimeCoder(time_unit=unit)
        except TypeError:
            coder = coding.CFDatetimeCoder()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            decoded: np.ndarray[Any, Any] = xarray.conventions.decode_cf_variable(
                name, variable, concat_characters=False, decode_times=coder, decode_timedelta=False
            ).values
        if decoded.dtype.kind == "M":
            break
    return decoded


def either(one: Any, other: Any) -> Any:
    return one if other is None else other if one is None else one | other


def where_nan(array: np.ndarray[Any, Any]) -> Any:
    np = optional("numpy", "storing arrays")
    found = np.isnan(array) if array.dtype.kind in "fc" else None
    return found if found is not None and found.any() else None
