"""Arrays of numpy as the engine takes them, and back, in place where the layout allows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from partita._arrow import optional
from partita.errors import InvalidArgument

if TYPE_CHECKING:
    import numpy as np

__all__ = ["fill_item", "fill_of", "numpy_module", "to_items", "to_numpy"]

_SIZES = {"b": {1}, "i": {1, 2, 4, 8}, "u": {1, 2, 4, 8}, "f": {2, 4, 8}, "c": {8, 16}}


def numpy_module() -> Any:
    """numpy, or an ImportError that says what it is needed for."""
    return optional("numpy", "storing arrays")


def to_items(variable: str, data: Any) -> tuple[str, Any, tuple[int, ...]]:
    """The name of the type, the data and the shape as ``_native.Dataset`` takes them.

    Fixed-size items stay where they are if they lie in C order and little-endian, and are copied
    otherwise. Objects become a flat list if they are all ``str`` or all ``bytes``.
    """
    np = numpy_module()
    array = np.asarray(data)
    kind, size = array.dtype.kind, array.dtype.itemsize
    if kind == "T":
        array, kind = array.astype(object), "O"
    if kind == "O":
        return *_texts(variable, array), array.shape
    if kind in "SU" and size == 0:
        array = array.astype(f"{kind}1")
    elif kind == "M" and np.datetime_data(array.dtype)[0] == "generic":
        raise _unsupported(variable, "times without a unit; give one: datetime64[us]")
    elif kind not in "SUMm" and size not in _SIZES.get(kind, ()):
        raise _unsupported(variable, f"items of type {array.dtype}")
    straight = np.asarray(array, dtype=array.dtype.newbyteorder("<"), order="C")
    return straight.dtype.str, straight, straight.shape


def _texts(variable: str, array: np.ndarray[Any, Any]) -> tuple[str, list[Any]]:
    items = array.ravel().tolist()
    for name, kind in (("str", str), ("bytes", bytes)):
        if all(isinstance(item, kind) for item in items):
            return name, items
    expected = type(items[0]) if isinstance(items[0], (str, bytes)) else str
    odd = next(item for item in items if not isinstance(item, expected))
    if type(odd).__module__.split(".")[0] == "cftime":
        raise _unsupported(variable, "dates of cftime, and the collection no times")
    if _is_missing(odd):
        raise _unsupported(variable, "texts and missing values; replace those: fillna('')")
    raise _unsupported(
        variable, f"objects of type {type(odd).__name__}; only str, or only bytes, can be stored"
    )


def _is_missing(item: Any) -> bool:
    # Comparing the NA of pandas gives no truth value.
    is_nan = isinstance(item, float) and item != item
    return item is None or is_nan or type(item).__name__ == "NAType"


def _unsupported(variable: str, what: str) -> InvalidArgument:
    return InvalidArgument(
        f"variable {variable} cannot be stored: it holds {what}", context={"variable": variable}
    )


def to_numpy(data: Any, shape: Sequence[int]) -> np.ndarray[Any, Any]:
    """The array of what the engine gave: memory of its own, or a list of texts."""
    np = numpy_module()
    if isinstance(data, list):
        array = np.empty(len(data), dtype=object)
        array[:] = data
        return array.reshape(shape)
    array = np.asarray(data)
    return array if array.flags.aligned else array.copy()


def fill_item(variable: str, dtype: str, value: Any) -> bytes | None:
    """The bytes of a fill value, or None if there is none.

    Floats are rounded to the type; other values must be of it exactly. NaN is "not a time" for
    times, and a bare integer a count of their units.
    """
    if value is None:
        return None
    np = numpy_module()
    given = np.asarray(value)
    if given.size != 1:
        raise _no_fill(variable, dtype, value)
    given = given.reshape(())
    if dtype in ("str", "bytes"):
        # numpy takes zeros at the end of a text for padding.
        item = value if isinstance(value, (str, bytes)) else given.item()
        try:
            item = item.encode() if isinstance(item, str) else item
        except UnicodeEncodeError as error:
            raise _no_fill(variable, dtype, value) from error
        if isinstance(item, bytes):
            return item
        raise _no_fill(variable, dtype, value)
    target = np.dtype(dtype)
    if target.kind in "Mm" and given.dtype.kind in "fiu":
        missing = given.dtype.kind == "f" and np.isnan(given)
        count = np.iinfo(np.int64).min if missing else given.item()
        return fill_item(variable, "<i8", count)
    try:
        with np.errstate(all="ignore"):
            item = given.astype(target)
    except (OverflowError, TypeError, ValueError) as error:
        raise _no_fill(variable, dtype, value) from error
    if not _same_value(given, item):
        raise _no_fill(variable, dtype, value)
    return item.tobytes()


def _same_value(given: np.ndarray[Any, Any], item: np.ndarray[Any, Any]) -> bool:
    np = numpy_module()
    kinds = given.dtype.kind + item.dtype.kind
    if item.dtype.kind in "fc" and given.dtype.kind in "biufc":
        narrowed = given.dtype.kind == "c" and item.dtype.kind == "f" and given.imag != 0
        return not narrowed and bool(np.isfinite(item) == np.isfinite(given))
    if item.dtype.kind in "Mm":
        return given.dtype.kind == item.dtype.kind and (
            bool(np.isnat(given) & np.isnat(item)) or bool(given == item)
        )
    if item.dtype.kind in "SU":
        return given.dtype.kind in "SU" and bool(item.astype(given.dtype) == given)
    return all(kind in "biuf" for kind in kinds) and bool(item.item() == given.item())


def _no_fill(variable: str, dtype: str, value: Any) -> InvalidArgument:
    return InvalidArgument(
        f"the fill value {value!r} of variable {variable} is no value of its type, {dtype}",
        context={"variable": variable, "dtype": dtype},
    )


def fill_of(dtype: str, item: bytes | None) -> Any:
    """The fill value with these bytes, as a scalar of numpy, a str or bytes."""
    if item is None:
        return None
    if dtype == "str":
        return item.decode()
    if dtype == "bytes":
        return item
    np = numpy_module()
    if not item:
        return np.dtype(dtype).type()
    return np.frombuffer(item, dtype)[0]
