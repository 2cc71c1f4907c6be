"""Data of any origin in the type and the packing of a variable of a collection.

Numbers that come with one packing are stored in that of the collection: as they are if both are the
same, else decoded and encoded.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from partita._arrow import optional
from partita._calendars import calendar_of, to_dates, to_times
from partita._decoding import any_known, decoded, either, missing_times, times_of, where_nan
from partita._packing import MEANING, Packing
from partita._plain import plain_array
from partita._values import in_type, refused
from partita.errors import InvalidArgument, SchemaMismatch

if TYPE_CHECKING:
    import numpy as np

__all__ = ["as_stored", "missing_as", "with_fill"]

# A conversion is done on about so many bytes at once.
_BYTES_AT_ONCE = 4 << 20


def as_stored(
    name: str,
    data: Any,
    attributes: Mapping[Any, Any],
    encoding: Mapping[str, Any],
    described: Mapping[str, Any],
    *,
    fill: Any,
    dimensions: Sequence[str] = (),
    encode: bool = False,
    rounded: bool = False,
) -> np.ndarray[Any, Any]:
    """The data of a variable in the type and the packing of a variable of a collection.

    Parameters
    ----------
    attributes, encoding : mapping
        Attributes and encoding of the data. As in xarray, the packing of stored numbers stands in
        the attributes, and the packing from which values were decoded stands in the encoding.
    described : mapping
        The variable of the collection, as the engine describes it.
    fill : optional
        The fill value of that variable.
    encode : bool, default False
        Whether data of which nothing is said are values rather than stored numbers.
    rounded : bool, default False
        Whether floats may be rounded to narrower ones.

    Raises
    ------
    SchemaMismatch
        If a value does not fit; the values are named, with the first place.
    """
    array, masked = plain_array(name, data)

    def convert(rows: Any) -> np.ndarray[Any, Any]:
        return _converted(
            name,
            array[rows],
            None if masked is None else masked[rows],
            attributes,
            encoding,
            described,
            fill=fill,
            dimensions=dimensions,
            encode=encode,
            rounded=rounded,
        )

    try:
        found = _in_steps(array, convert)
    except SchemaMismatch:
        # The error names the place among all of the rows.
        found = None
    return convert(...) if found is None else found


def _in_steps(
    array: np.ndarray[Any, Any], convert: Callable[[Any], np.ndarray[Any, Any]]
) -> np.ndarray[Any, Any] | None:
    """The converted rows, some at once: a conversion takes several times their memory.

    None if there are few of them, or if nothing is to be converted.
    """
    np = optional("numpy", "storing arrays")
    if array.dtype.kind == "O" or array.nbytes <= _BYTES_AT_ONCE or array.ndim == 0:
        return None
    step = max(_BYTES_AT_ONCE * len(array) // array.nbytes, 1)
    first = convert(slice(step))
    if np.may_share_memory(first, array):
        return None
    found = np.empty(array.shape, first.dtype)
    found[:step] = first
    for start in range(step, len(array), step):
        rows = slice(start, start + step)
        part = convert(rows)
        if part.dtype != found.dtype:
            return None
        found[rows] = part
    return found


def _converted(
    name: str,
    array: np.ndarray[Any, Any],
    masked: Any,
    attributes: Mapping[Any, Any],
    encoding: Mapping[str, Any],
    described: Mapping[str, Any],
    *,
    fill: Any,
    dimensions: Sequence[str],
    encode: bool,
    rounded: bool,
) -> np.ndarray[Any, Any]:
    np = optional("numpy", "storing arrays")
    dtype = described["dtype"]
    target = Packing.of(described["attributes"], fill, None if dtype in ("str", "bytes") else dtype)
    calendar = calendar_of(name, array)
    if calendar is not None and dtype[0] != "s" and dtype[1] == "M":
        array = to_times(name, array, masked)
    is_dates = calendar is not None and target.is_time
    if dtype in ("str", "bytes") or dtype[1] not in "biufcMm" or array.dtype.kind in "SUOT":
        if not is_dates:
            array = array if masked is None else with_fill(name, array, masked, fill)
            return in_type(name, array, dtype, rounded=rounded, dimensions=dimensions)
    if dtype[1] in "Mm":
        target = Packing(target.fills)
    how = _How(name, dtype, target, tuple(dimensions), rounded)
    own, is_values = _meaning(array, attributes, encoding, target, encode, how)
    own = replace(own, fills=own.written(array.dtype))
    if array.dtype.kind == "M":
        masked = either(masked, missing_times(name, array, attributes, encoding))
    if not is_values and own.means_the_same(target):
        wanted = set(target.written(array.dtype))
        # If the delivery declares missing numbers, no other number is missing.
        is_said = bool(own.fills) or _is_said(attributes, encoding)
        same_fills = set(own.fills) == wanted if is_said else True
        missing = either(masked, None if same_fills else own.is_missing(array))
        if target.fills and np.dtype(dtype).kind in "iu":
            missing = either(missing, where_nan(array))
        if is_said and same_fills and missing is not None:
            missing = either(missing, own.is_missing(array))
        return how.numbers(array, missing, checked=not same_fills)
    missing = either(masked, own.is_missing(array))
    if not is_values:
        array, missing = decoded(name, array, missing, attributes, own, target)
        # Unpacking leaves rounding errors in the last digits.
        how = replace(how, rounded=True)
    return _encoded(how, array, missing)


def _meaning(
    array: np.ndarray[Any, Any],
    attributes: Mapping[Any, Any],
    encoding: Mapping[str, Any],
    target: Packing,
    encode: bool,
    how: _How,
) -> tuple[Packing, bool]:
    """The packing of the data, and whether they are values rather than stored numbers."""
    np = optional("numpy", "storing arrays")
    in_memory = encoding.get("_FillValue")
    own = Packing.of(attributes, dtype=array.dtype)
    if array.dtype.kind in "MmO":
        return Packing(), True
    if not own.is_trivial:
        fills = own.fills if in_memory is None else (*own.fills, in_memory)
        return replace(own, fills=fills), False
    packed = Packing.of(encoding)
    kind = encoding.get("dtype", array.dtype)
    is_decoded = not packed.is_trivial or (
        kind not in (str, bytes) and np.dtype(kind).kind in "iu" and array.dtype.kind == "f"
    )
    if not is_decoded and in_memory is not None:
        own = replace(own, fills=(in_memory, *own.fills))
    if is_decoded or encode or (_is_said(attributes, encoding) and not target.is_trivial):
        return own, True
    kinds = array.dtype.kind + how.dtype[1]
    if target.is_trivial:
        # Numbers of a function that has seen fill values as they are stored.
        from_floats = kinds in ("fi", "fu") and bool(target.fills)
        fills = target.fills if from_floats and not own.fills else own.fills
        return replace(own, fills=fills), from_floats or (bool(fills) and kinds[0] != kinds[1])
    if kinds[0] == kinds[1]:
        return replace(target, fills=own.fills), False
    if target.unsigned and not target.is_scaled and kinds[0] in "iu":
        return own, True
    raise SchemaMismatch(
        f"variable {how.name} is packed in the collection, as {how.dtype}, and is given as "
        f"{array.dtype} without a word on how: with encode=True values are packed as the "
        "collection has them, and a function that is called with decode=True returns values",
        context={"variable": how.name, "expected": how.dtype, "found": str(array.dtype)},
    )


def _is_said(attributes: Mapping[Any, Any], encoding: Mapping[str, Any]) -> bool:
    """Whether all that there is to say of the numbers is said, as it is of those of a file."""
    from_file = {"dtype", "source"} & set(encoding)
    declared = {"_FillValue", "missing_value", *MEANING[:3]} & set(attributes)
    return bool(from_file or declared)


@dataclass(frozen=True)
class _How:
    """How a variable is stored."""

    name: str
    dtype: str
    packing: Packing
    dimensions: tuple[str, ...]
    rounded: bool

    def numbers(self, array: np.ndarray[Any, Any], missing: Any, *, checked: bool) -> Any:
        """Stored numbers, with the fill value of the collection where they are missing.

        If they are `checked`, other numbers must not be read as missing.
        """
        cast = self._cast(array, missing, self.dtype)
        if missing is None and not checked:
            return cast
        return self.filled(array, cast, missing)

    def values(self, array: np.ndarray[Any, Any], missing: Any) -> Any:
        """Values that stand for themselves."""
        np = optional("numpy", "storing arrays")
        cast = self._cast(array, missing, self.packing.logical(np.dtype(self.dtype)).str)
        is_unsigned = self.packing.unsigned and cast.dtype.kind in "iu"
        return self.filled(array, cast.view(self.dtype) if is_unsigned else cast, missing)

    def _cast(self, array: np.ndarray[Any, Any], missing: Any, dtype: str) -> Any:
        np = optional("numpy", "storing arrays")
        if missing is not None:
            array = np.where(missing, any_known(array, missing), array)
        return in_type(self.name, array, dtype, rounded=self.rounded, dimensions=self.dimensions)

    def filled(self, values: np.ndarray[Any, Any], numbers: Any, missing: Any) -> Any:
        """The numbers with the fill value where they are missing, and nowhere else."""
        np = optional("numpy", "storing arrays")
        if numbers.dtype != np.dtype(self.dtype):
            # The kinds of types do not convert, which the engine refuses.
            return numbers
        self._no_value_is_missing(values, numbers, missing)
        if missing is None:
            return numbers
        fill = missing_as(self.name, self.dtype, self.packing)
        return np.where(missing, np.asarray(fill, self.dtype), numbers)

    def _no_value_is_missing(self, values: Any, numbers: Any, missing: Any) -> None:
        np = optional("numpy", "storing arrays")
        read_as = self.packing.is_missing(numbers)
        if read_as is None:
            return
        if values.dtype.kind in "fc":
            read_as = read_as & ~np.isnan(values)
        elif values.dtype.kind in "Mm":
            read_as = read_as & ~np.isnat(values)
        read_as = read_as if missing is None else read_as & ~missing
        if read_as.any():
            how = f"as {self.dtype}: it would be the number that stands for a missing value"
            raise refused(self.name, values, read_as, how, self.dimensions)


def missing_as(name: str, dtype: str, packing: Packing) -> Any:
    """The stored number that means a missing value.

    Raises
    ------
    InvalidArgument
        If the packing has no such number.
    """
    np = optional("numpy", "storing arrays")
    kind = np.dtype(dtype)
    for fill in packing.fills:
        given = np.asarray(fill)
        if kind.kind in "iu" and given.dtype.kind in "iu":
            bits = 8 * kind.itemsize
            number = int(given) % 2**bits
            return number - 2**bits if kind.kind == "i" and number >= 2 ** (bits - 1) else number
        if kind.kind in "iu" and not (given.dtype.kind == "f" and float(given).is_integer()):
            continue
        return fill
    if kind.kind in "fc":
        return np.nan
    if kind.kind in "Mm":
        return "NaT"
    raise InvalidArgument(
        f"variable {name} has missing values, and no value of its type, {dtype}, stands for them: "
        "it has no _FillValue",
        context={"variable": name},
    )


def with_fill(name: str, array: np.ndarray[Any, Any], masked: Any, fill: Any) -> Any:
    """The array with a fill value, or what means missing in its type, where it is masked."""
    np = optional("numpy", "storing arrays")
    if fill is None and array.dtype.kind not in "fcMm":
        raise InvalidArgument(
            f"variable {name} has masked items, but no fill value to store for them; give one as "
            "_FillValue of its encoding",
            context={"variable": name},
        )
    missing = {"f": np.nan, "c": np.nan}.get(array.dtype.kind, "NaT") if fill is None else fill
    return np.where(masked, np.asarray(missing, array.dtype), array)


def _encoded(how: _How, values: np.ndarray[Any, Any], missing: Any) -> np.ndarray[Any, Any]:
    """Values as the stored numbers of a packing."""
    np = optional("numpy", "storing arrays")
    packing, dtype = how.packing, np.dtype(how.dtype)
    if packing.is_time:
        return _encoded_times(how, values, missing)
    if values.dtype.kind in "Mm" or dtype.kind in "Mm":
        if values.dtype.kind == "M" or values.dtype.kind == "m":
            missing = either(missing, np.isnat(values) if np.isnat(values).any() else None)
        return how.values(values, missing)
    if values.dtype.kind not in "biufc" or not packing.is_scaled:
        if values.dtype.kind == "f" and dtype.kind in "iub":
            missing = either(missing, where_nan(values))
        return how.values(values, missing)
    missing = either(missing, where_nan(values))
    wide = values.astype("c16" if values.dtype.kind == "c" else "f8")
    if missing is not None:
        wide = np.where(missing, packing.offset or 0.0, wide)
    numbers = (wide - (packing.offset or 0.0)) / (packing.scale or 1.0)
    logical = packing.logical(dtype)
    if dtype.kind not in "iub":
        cast = in_type(how.name, numbers, how.dtype, rounded=True, dimensions=how.dimensions)
        return how.filled(values, cast, missing)
    whole = np.rint(numbers)
    try:
        cast = in_type(how.name, whole, logical.str)
    except SchemaMismatch:
        limits = np.iinfo(logical)
        misfits = ~(np.isfinite(whole) & (whole >= limits.min) & (whole <= limits.max))
        packed = f"as {how.dtype} with scale_factor {packing.scale} and add_offset {packing.offset}"
        raise refused(how.name, values, misfits, packed, how.dimensions) from None
    return how.filled(values, cast.view(dtype), missing)


def _check_calendar(how: _How, values: np.ndarray[Any, Any]) -> None:
    """Refuses dates of another calendar, which xarray takes for those with the same numbers."""
    given = calendar_of(how.name, values) or "proleptic_gregorian"
    wanted = how.packing.calendar
    is_gregorian = values.dtype.kind == "M" and wanted == "standard"
    if values.size and given != wanted and not is_gregorian:
        raise SchemaMismatch(
            f"variable {how.name} holds dates of the calendar {wanted} in the collection, and is "
            f"given as dates of the calendar {given}",
            context={"variable": how.name, "expected": str(wanted), "found": given},
        )


def _encoded_times(how: _How, values: np.ndarray[Any, Any], missing: Any) -> np.ndarray[Any, Any]:
    """Times as numbers of their units, exactly."""
    np = optional("numpy", "storing arrays")
    coding = optional("xarray.coding.times", "encoding times")
    packing = how.packing
    if values.dtype.kind not in "MO":
        raise SchemaMismatch(
            f"variable {how.name} holds times in the collection, in {packing.units}, and is "
            f"given as {values.dtype} without units",
            context={"variable": how.name},
        )
    _check_calendar(how, values)
    if values.dtype.kind == "M":
        missing = either(missing, np.isnat(values) if np.isnat(values).any() else None)
    if missing is not None:
        known = values[~missing]
        if not known.size:
            numbers = np.zeros(values.shape, how.dtype)
            return how.filled(numbers.astype("i8"), numbers, missing)
        values = np.where(missing, known.flat[0], values)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            numbers, _, _ = coding.encode_cf_datetime(values, packing.units, packing.calendar)
    except (ValueError, OverflowError, TypeError) as error:
        raise SchemaMismatch(
            f"variable {how.name}: its times cannot be counted in {packing.units}, as the "
            f"collection has them: {error}",
            context={"variable": how.name},
        ) from error
    numbers = np.asarray(numbers)
    attributes: dict[str, Any] = {"units": packing.units, "calendar": packing.calendar}
    scale, offset = packing.scale or 1.0, packing.offset or 0.0
    if packing.is_scaled:
        attributes.update(scale_factor=scale, add_offset=offset)
        numbers = (numbers - offset) / scale
    cast = in_type(how.name, numbers, how.dtype, rounded=True, dimensions=how.dimensions)
    if values.dtype.kind == "O":
        counted = cast * scale + offset if packing.is_scaled else cast
        back = to_dates(counted, np.zeros(cast.shape, bool), attributes)
    else:
        back = times_of(how.name, cast, attributes)
    changed = np.asarray(back != values, bool)
    if changed.any():
        raise refused(
            how.name, values, changed, f"as {how.dtype} of {packing.units}", how.dimensions
        )
    return how.filled(values if values.dtype.kind == "M" else cast, cast, missing)
