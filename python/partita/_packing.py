"""The attributes by which stored numbers are decoded, and conversion from one packing to another.

A variable of numbers may be packed by the CF conventions: ``scale_factor`` and ``add_offset``,
``_Unsigned``, ``units`` and ``calendar`` of times, and values that stand for missing ones,
``_FillValue`` and ``missing_value``. Numbers that come with one packing are stored in that of the
collection: as they are if both are the same, else decoded and encoded.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from partita._arrow import optional
from partita._plain import plain_array
from partita._values import in_type, refused
from partita.errors import InvalidArgument, SchemaMismatch

if TYPE_CHECKING:
    import numpy as np

__all__ = [
    "MEANING",
    "Packing",
    "as_stored",
    "is_time_units",
    "missing_as",
    "missing_times",
    "with_fill",
]

MEANING = ("scale_factor", "add_offset", "_Unsigned", "missing_value", "units", "calendar")
"""The attributes, beside ``_FillValue``, by which numbers are decoded."""

_SPANS = {
    "days": 86_400 * 10**9,
    "hours": 3_600 * 10**9,
    "minutes": 60 * 10**9,
    "seconds": 10**9,
    "milliseconds": 10**6,
    "microseconds": 10**3,
    "nanoseconds": 1,
}
"""The units of durations that xarray decodes, in nanoseconds."""

_STANDARD = ("standard", "gregorian")


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
    def of(cls, attributes: Mapping[Any, Any], fill: Any = None) -> Packing:
        """The packing that attributes tell of; with a fill value that is kept elsewhere."""
        np = optional("numpy", "storing arrays")
        fills: list[Any] = [] if fill is None else [fill]
        for key in ("_FillValue", "missing_value"):
            if attributes.get(key) is not None:
                fills += np.ravel(np.asarray(attributes[key])).tolist()
        units, calendar = attributes.get("units"), None
        if is_time_units(units):
            calendar = str(attributes.get("calendar") or "standard").lower()
            calendar = "standard" if calendar in _STANDARD else calendar
        elif units not in _SPANS:
            units = None
        unsigned = attributes.get("_Unsigned")
        return cls(
            tuple(fills),
            _number(attributes.get("scale_factor")),
            _number(attributes.get("add_offset")),
            None if unsigned is None else str(unsigned).lower(),
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
        np = optional("numpy", "storing arrays")
        if self.unsigned == "true" and dtype.kind == "i":
            return np.dtype(f"u{dtype.itemsize}")
        if self.unsigned == "false" and dtype.kind == "u":
            return np.dtype(f"i{dtype.itemsize}")
        return dtype

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
        Of the data: the packing of stored numbers stands in the attributes, and that from which
        values were decoded in the encoding, as xarray has it.
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
    dtype = described["dtype"]
    target = Packing.of(described["attributes"], fill)
    is_dates = array.dtype.kind == "O" and target.is_time
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
        masked = _either(masked, missing_times(name, array, attributes, encoding))
    if not is_values and own.means_the_same(target):
        same_fills = set(own.fills) <= set(target.written(array.dtype))
        missing = _either(masked, None if same_fills else own.is_missing(array))
        return how.numbers(array, missing, checked=not same_fills)
    missing = _either(masked, own.is_missing(array))
    if not is_values:
        array, missing = _decoded(name, array, missing, attributes, own, target)
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
    # Then all that there is to say of the numbers is said.
    from_file = {"dtype", "source"} & set(encoding) or {"_FillValue", "missing_value"} & set(
        attributes
    )
    in_memory = encoding.get("_FillValue")
    own = Packing.of(attributes)
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
    if is_decoded or encode or (from_file and not target.is_trivial):
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
            moment = _times(name, number.reshape(1), meaning)
        except (ValueError, OverflowError):
            continue
        if moment.dtype.kind == "M":
            found = _either(found, array == moment[0])
    return found if found is not None and found.any() else None


def _decoded(
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
        array = np.where(missing, _any_known(array, missing), array)
    if own.is_time:
        return _times(name, array, attributes), missing
    attributes.pop("units", None)
    variable = xarray.Variable(_dimensions(array), array, attributes)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        values = xarray.conventions.decode_cf_variable(
            name, variable, concat_characters=False, decode_times=False
        ).values
    if own.units != target.units and own.units and target.units:
        values = values * _SPANS[own.units] / _SPANS[target.units]
    return values, _either(missing, _where_nan(values))


def _dimensions(array: np.ndarray[Any, Any]) -> list[str]:
    return [f"d{at}" for at in range(array.ndim)]


def _any_known(array: np.ndarray[Any, Any], missing: Any) -> Any:
    np = optional("numpy", "storing arrays")
    known = array[~missing]
    return known.flat[0] if known.size else np.zeros(1, array.dtype)[0]


def _times(
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
            array = np.where(missing, _any_known(array, missing), array)
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


def _either(one: Any, other: Any) -> Any:
    return one if other is None else other if one is None else one | other


def _where_nan(array: np.ndarray[Any, Any]) -> Any:
    np = optional("numpy", "storing arrays")
    found = np.isnan(array) if array.dtype.kind in "fc" else None
    return found if found is not None and found.any() else None


def _encoded(how: _How, values: np.ndarray[Any, Any], missing: Any) -> np.ndarray[Any, Any]:
    """Values as the stored numbers of a packing."""
    np = optional("numpy", "storing arrays")
    packing, dtype = how.packing, np.dtype(how.dtype)
    if packing.is_time:
        return _encoded_times(how, values, missing)
    if values.dtype.kind in "Mm" or dtype.kind in "Mm":
        if values.dtype.kind == "M" or values.dtype.kind == "m":
            missing = _either(missing, np.isnat(values) if np.isnat(values).any() else None)
        return how.values(values, missing)
    if values.dtype.kind not in "biufc" or not packing.is_scaled:
        if values.dtype.kind == "f" and dtype.kind in "iub":
            missing = _either(missing, _where_nan(values))
        return how.values(values, missing)
    missing = _either(missing, _where_nan(values))
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
    if values.dtype.kind == "M":
        missing = _either(missing, np.isnat(values) if np.isnat(values).any() else None)
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
    if packing.is_scaled:
        scale, offset = packing.scale or 1.0, packing.offset or 0.0
        attributes.update(scale_factor=scale, add_offset=offset)
        numbers = (numbers - offset) / scale
    cast = in_type(how.name, numbers, how.dtype, rounded=True, dimensions=how.dimensions)
    back = _times(how.name, cast, attributes)
    if back.dtype.kind == values.dtype.kind == "M":
        changed = back != values
    else:
        changed = np.asarray([a != b for a, b in zip(back.flat, values.flat, strict=True)])
        changed = changed.reshape(values.shape)
    if changed.any():
        raise refused(
            how.name, values, changed, f"as {how.dtype} of {packing.units}", how.dimensions
        )
    return how.filled(values if values.dtype.kind == "M" else cast, cast, missing)
