"""Conversion of users' arrays to a numpy array and a mask of missing values."""

from __future__ import annotations

import datetime as dt
import sys
from typing import TYPE_CHECKING, Any

from partita._arrow import optional
from partita._calendars import missing_dates
from partita.errors import InvalidArgument

if TYPE_CHECKING:
    import numpy as np

__all__ = ["plain_array"]


def plain_array(variable: str, data: Any) -> tuple[np.ndarray[Any, Any], Any]:
    """The values, and which of them are missing: an array of booleans, or None for none.

    Masked arrays, nullable columns and categories of pandas, and objects of ``datetime`` become
    arrays of plain types; what is lazy is computed.
    """
    np = optional("numpy", "storing arrays")
    data = _computed(data)
    if isinstance(data, np.ma.MaskedArray):
        mask = np.ma.getmaskarray(data)
        return data.data, mask if mask.any() else None
    data = _of_pandas(data)
    if isinstance(data, tuple):
        return data
    array = data.to_numpy() if hasattr(data, "to_numpy") else np.asarray(data)
    if isinstance(array, np.ma.MaskedArray):
        return plain_array(variable, array)
    if array.dtype.kind == "O" and array.size:
        array = _of_objects(variable, array)
        return array, missing_dates(array) if array.dtype.kind == "O" else None
    return array, None


def _computed(data: Any) -> Any:
    dask = sys.modules.get("dask")
    if dask is not None and dask.is_dask_collection(data) and hasattr(data, "compute"):
        return data.compute()
    return data


def _of_pandas(data: Any) -> Any:
    """The values and the mask of a nullable or categorical array of pandas; others as they are."""
    pandas = sys.modules.get("pandas")
    if pandas is None:
        return data
    # xarray wraps them.
    found = getattr(data, "array", data)
    if isinstance(found, pandas.Categorical):
        np = optional("numpy", "storing arrays")
        return np.asarray(found)
    if not isinstance(found, pandas.api.extensions.ExtensionArray):
        return data
    kind = getattr(found.dtype, "numpy_dtype", None)
    if kind is None or kind.kind not in "biuf":
        return data
    mask = found.isna()
    values = found.to_numpy(dtype=kind, na_value=kind.type(0))
    return values, mask if mask.any() else None


def _of_objects(variable: str, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Objects of ``datetime`` as times, of pandas and numpy too; others as they are."""
    np = optional("numpy", "storing arrays")
    items = array.ravel().tolist()
    known = [item for item in items if not _is_missing(item)]
    for kind, unit in ((dt.date, "M8"), (dt.timedelta, "m8")):
        if not known or not all(isinstance(item, kind) for item in known):
            continue
        if any(getattr(item, "tzinfo", None) is not None for item in known):
            raise InvalidArgument(
                f"variable {variable} cannot be stored: it holds times with a zone; convert them "
                "to UTC and take the zone away",
                context={"variable": variable},
            )
        is_fine = any(
            getattr(item, "nanosecond", getattr(item, "nanoseconds", 0)) for item in known
        )
        target = f"{unit}[{'ns' if is_fine else 'us'}]"
        times = [np.datetime64("NaT") if _is_missing(item) else _moment(item) for item in items]
        if unit == "m8":
            times = [
                np.timedelta64("NaT") if _is_missing(item) else _moment(item) for item in items
            ]
        return np.array(times, target).reshape(array.shape)
    return array


def _moment(item: Any) -> Any:
    if hasattr(item, "to_numpy"):
        return item.to_numpy()
    np = optional("numpy", "storing arrays")
    is_span = isinstance(item, dt.timedelta)
    return np.timedelta64(item, "us") if is_span else np.datetime64(item, "us")


def _is_missing(item: Any) -> bool:
    return item is None or type(item).__name__ in ("NaTType", "NAType")
