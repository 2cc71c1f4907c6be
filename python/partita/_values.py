"""Values in another type: exactly the same ones, or refused with the value and its place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from partita._arrow import optional
from partita.errors import SchemaMismatch

if TYPE_CHECKING:
    import numpy as np

__all__ = ["cast_exactly", "in_type", "refused"]

_NUMBERS, _TIMES, _TEXTS = "biufc", "Mm", "SUOT"

Misfits = Any
"""Which items changed in a conversion: an array of booleans, or None if none can have."""


def cast_exactly(data: np.ndarray[Any, Any], dtype: str) -> np.ndarray[Any, Any] | None:
    """The data in another type, or None if that would change a value."""
    found = _cast(data, _target(dtype), rounded=False)
    if found is None:
        return None
    cast, misfits = found
    return None if misfits is not None and misfits.any() else cast


def in_type(
    variable: str,
    data: np.ndarray[Any, Any],
    dtype: str,
    *,
    rounded: bool = False,
    dimensions: Sequence[str] = (),
) -> np.ndarray[Any, Any]:
    """The data in the type of a variable; as they are if the two kinds of types do not convert.

    Parameters
    ----------
    rounded : bool, default False
        Whether floats may be rounded to narrower ones, which results of computations are.

    Raises
    ------
    SchemaMismatch
        If a value would be changed, with the first such value and its place.
    """
    found = _cast(data, _target(dtype), rounded=rounded)
    if found is None:
        return data
    cast, misfits = found
    if misfits is not None and misfits.any():
        raise refused(variable, data, misfits, f"as {dtype} without being changed", dimensions)
    return cast


def refused(
    variable: str,
    data: np.ndarray[Any, Any],
    misfits: np.ndarray[Any, Any],
    how: str,
    dimensions: Sequence[str] = (),
) -> SchemaMismatch:
    """The error for the first of the items that do not fit."""
    np = optional("numpy", "storing arrays")
    place = [int(at) for at in np.unravel_index(int(np.argmax(misfits)), misfits.shape)]
    value: Any = data[tuple(place)]
    value = value.item() if data.dtype.kind in _NUMBERS else value
    names = dimensions if len(dimensions) == len(place) else range(len(place))
    where = ", ".join(f"{name} {at}" for name, at in zip(names, place, strict=True))
    context = {"variable": variable, "value": str(value)}
    if place:
        context["row"] = str(place[0])
    return SchemaMismatch(
        f"variable {variable} of {data.dtype} holds {value!s}"
        f"{f' at {where}' if place else ''}, which cannot be stored {how}",
        context=context,
    )


def _target(dtype: str) -> np.dtype[Any]:
    kind: Any = object if dtype in ("str", "bytes") else dtype
    return optional("numpy", "storing arrays").dtype(kind)


def _cast(
    data: np.ndarray[Any, Any], target: np.dtype[Any], *, rounded: bool
) -> tuple[np.ndarray[Any, Any], Misfits] | None:
    """The data in the type, and which of them changed; None if the kinds do not convert."""
    np = optional("numpy", "storing arrays")
    kind, to = data.dtype.kind, target.kind
    if data.dtype == target:
        return data, None
    with np.errstate(all="ignore"):
        if kind in _NUMBERS and to in _NUMBERS:
            return _numbers(data, target, rounded)
        if kind == "i" and target == np.dtype("<m8"):
            return data.astype("<i8").view(target), None
        if kind in _TIMES and to == kind:
            return _times(data, target)
        if kind in _TEXTS and to in _TEXTS:
            return _texts(data, target)
    return None


def _numbers(
    data: np.ndarray[Any, Any], target: np.dtype[Any], rounded: bool
) -> tuple[np.ndarray[Any, Any], Misfits]:
    np = optional("numpy", "storing arrays")
    if data.dtype.kind == "c" and target.kind != "c":
        cast, misfits = _numbers(data.real, target, rounded)
        imaginary = data.imag != 0
        return cast, imaginary if misfits is None else misfits | imaginary
    if target.kind in "biu":
        whole, misfits = _whole(data, target) if data.dtype.kind == "f" else (data, None)
        outside = _outside(whole, target)
        if misfits is not None and outside is not None:
            outside = outside | misfits
        misfits = misfits if outside is None else outside
        return whole.astype(target), misfits
    cast = data.astype(target)
    if data.dtype.kind in "fc":
        if rounded:
            return cast, np.isfinite(data) & ~np.isfinite(cast)
        back = cast.astype(data.dtype)
        return cast, (back != data) & ((back == back) | (data == data))
    # Integers in floats: whatever lies outside of all integers came out rounded.
    if data.dtype.itemsize * 8 <= np.finfo(target).nmant or data.dtype.kind == "b":
        return cast, None
    real = cast.real.astype("f8")
    low, high = np.iinfo(data.dtype).min, np.iinfo(data.dtype).max
    inside = (real >= float(low)) & (real < float(high) + 1 if high > 2**53 else real <= high)
    back = np.where(inside, real, 0.0).astype(data.dtype)
    return cast, ~inside | (back != data)


def _whole(data: np.ndarray[Any, Any], target: np.dtype[Any]) -> tuple[Any, Misfits]:
    """Floats as integers of 64 bits, and which are none."""
    np = optional("numpy", "storing arrays")
    wide = data.astype("f8")
    unsigned = target.kind == "u"
    low, high = (0.0, 2.0**64) if unsigned else (-(2.0**63), 2.0**63)
    is_whole = np.isfinite(wide) & (np.trunc(wide) == wide) & (wide >= low) & (wide < high)
    return np.where(is_whole, wide, 0.0).astype("u8" if unsigned else "i8"), ~is_whole


def _outside(data: np.ndarray[Any, Any], target: np.dtype[Any]) -> Misfits:
    """Which integers the type does not have."""
    np = optional("numpy", "storing arrays")
    if target.kind != "b" and np.can_cast(data.dtype, target):
        return None
    if data.dtype.kind == "b":
        return None
    own = np.iinfo(data.dtype)
    low, high = (0, 1) if target.kind == "b" else (np.iinfo(target).min, np.iinfo(target).max)
    misfits = np.zeros(data.shape, bool)
    if low > own.min:
        misfits |= data < low
    if high < own.max:
        misfits |= data > high
    return misfits


def _times(
    data: np.ndarray[Any, Any], target: np.dtype[Any]
) -> tuple[np.ndarray[Any, Any], Misfits]:
    np = optional("numpy", "storing arrays")
    try:
        cast = data.astype(target)
        back = cast.astype(data.dtype)
    except (OverflowError, ValueError):
        return data, np.ones(data.shape, bool)
    return cast, (back != data) & ~(np.isnat(data) & np.isnat(cast))


def _texts(
    data: np.ndarray[Any, Any], target: np.dtype[Any]
) -> tuple[np.ndarray[Any, Any], Misfits] | None:
    np = optional("numpy", "storing arrays")
    try:
        cast = data.astype(target)
        back = cast.astype(data.dtype)
    except (TypeError, ValueError):
        return None
    return cast, np.asarray(back != data, bool)
