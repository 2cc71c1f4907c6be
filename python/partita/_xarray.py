"""xarray into the engine's datasets, and back.

What is kept: values, types, dimensions, attributes, which variables are coordinates, and of the
encodings fill values, codecs, chunks, packing (``scale_factor``, ``add_offset``, ``dtype``) and the
``units`` and ``calendar`` of times.

Coordinates are found again by the CF conventions: a one-dimensional variable with the name of its
dimension is one, and the dataset's attribute ``coordinates`` names the others.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from partita import _native
from partita._arrays import fill_of, numpy_module, to_items, to_numpy
from partita._arrow import optional
from partita._calendars import (
    UNITS_OF_DATES,
    calendar_of,
    dates_of,
    packing_of_dates,
    remember_packing_of_dates,
)
from partita._decoding import decode_durations, either, missing_times, where_nan
from partita._encoding import (
    REMEMBERED,
    attributes_of,
    chunks_of,
    encoding_of,
    split_encoding,
    stored_dtype,
)
from partita._packing import MEANING, Packing
from partita._plain import plain_array
from partita._stored import as_stored, missing_as, with_fill
from partita._values import cast_exactly
from partita.errors import InvalidArgument

if TYPE_CHECKING:
    import numpy as np
    import xarray as xr

__all__ = [
    "UNITS",
    "by_path",
    "describe_variable",
    "from_xarray",
    "held_by",
    "missing_of",
    "to_xarray",
    "variables_of",
    "without_times",
]

COORDINATES = "coordinates"

# What is to stand for a variable: called with its path, what the engine says of it, and itself.
Replace = Callable[[str, dict[str, Any], Any], Any]

# The units of times that xarray holds, the coarsest first.
UNITS = ("s", "ms", "us", "ns")


@dataclass
class _Variable:
    """A variable of any origin."""

    dimensions: tuple[str, ...]
    data: Any
    attributes: Mapping[Any, Any] = field(default_factory=dict)
    encoding: Mapping[str, Any] = field(default_factory=dict)

    @property
    def nbytes(self) -> int:
        return int(getattr(self.data, "nbytes", 0))

    @property
    def chunks(self) -> Any:
        return getattr(self.data, "chunks", None)


@dataclass
class _Group:
    """A dataset of any origin."""

    variables: dict[str, _Variable] = field(default_factory=dict)
    attributes: dict[Any, Any] = field(default_factory=dict)
    groups: dict[str, _Group] = field(default_factory=dict)


def from_xarray(
    data: Any,
    *,
    schema: _native.Schema | None = None,
    known: Mapping[str, dict[str, Any]] | None = None,
    encode: bool = False,
    rounded: bool = False,
    without_rows: str | None = None,
) -> _native.Dataset:
    """The engine's dataset of an ``xarray.Dataset``, ``DataTree``, ``DataArray`` or mapping.

    Arrays of numpy that lie in C order and little-endian are not copied: they must not be written
    to while the dataset is in use. Arrays of Dask are computed, one variable at a time.

    Parameters
    ----------
    data : xarray.Dataset, xarray.DataTree, xarray.DataArray, mapping or _native.Dataset
        A mapping has variables by name, each ``(dimensions, data)``, ``(dimensions, data,
        attributes)`` or ``(dimensions, data, attributes, encoding)`` or a variable of xarray, and
        groups by name, each a mapping again or a dataset. A name may be a path: ``ku/power``.
    schema : optional
        The schema to fit: values are converted to the types, the packing and the fill values of the
        variables of the same path where that does not change them, such as times of another unit.
    known : optional
        The variables of that schema by their paths, instead of it.
    encode : bool
        Whether data are values that are packed: as the schema has them, or without one as their
        encodings say (``scale_factor``, ``add_offset``, ``dtype``, ``_FillValue``). By default
        values are stored as they are in memory.
    rounded : bool
        Whether floats may be rounded to the narrower ones of the schema, as they are if values are
        packed.
    without_rows : str, optional
        A dimension along which arrays of Dask are not computed, but taken for empty.

    Raises
    ------
    InvalidArgument
        If a variable or an attribute cannot be stored: objects that are not all str or all bytes,
        structured types, dates of cftime; or missing values for which nothing stands. The variable
        is named.
    SchemaMismatch
        If a value cannot be stored exactly, with the variable, the value and its place.
    """
    if isinstance(data, _native.Dataset):
        return data
    if schema is not None:
        known = {one["name"]: one for one in variables_of(schema.to_dict())}
    storing = _Storing(known or {}, encode, rounded or encode, known is not None, without_rows)
    return _build(_group(data), "", storing)


@dataclass(frozen=True)
class _Storing:
    """How variables are stored."""

    known: Mapping[str, dict[str, Any]]
    """The variables of the collection by their paths, if there is one."""
    encode: bool
    rounded: bool
    fits: bool
    """Whether there is a collection to fit."""
    without_rows: str | None = None
    """The dimension along which arrays of Dask are taken for empty."""


def held_by(variable: Any) -> Any:
    """The array in a variable of xarray, without the time that its properties take to look for
    arrays of other libraries; the variable, if that is not to be had."""
    return getattr(variable, "_data", variable) if _is(variable, "Variable") else variable


def variables_of(schema: Mapping[str, Any], path: str = "") -> list[dict[str, Any]]:
    """The variables of a schema, named by their paths."""
    found = [{**variable, "name": path + variable["name"]} for variable in schema["variables"]]
    for name, group in schema["groups"].items():
        found += variables_of(group, f"{path}{name}/")
    return found


def by_path(
    data: xr.Dataset | xr.DataTree, *, coordinates: bool = True, arrays: bool = False
) -> dict[str, Any]:
    """The variables of a dataset, or of all groups of a tree, by their paths.

    As ``xarray.DataArray`` with their labels, if `arrays` says so.
    """
    nodes: Any = data.subtree if _is(data, "DataTree") else [data]
    return {
        f"{getattr(node, 'path', '')}/{name}".lstrip("/"): node[name]
        if arrays
        else node.variables[name]
        for node in nodes
        for name in (node.variables if coordinates else node.data_vars)
    }


def _is(data: Any, name: str) -> bool:
    # If xarray was never imported, nothing can be an object of it.
    kind = getattr(sys.modules.get("xarray"), name, None)
    return kind is not None and isinstance(data, kind)


def _group(data: Any) -> _Group:
    if _is(data, "DataArray"):
        if data.name is None:
            raise InvalidArgument("the DataArray has no name; give it one: .rename('name')")
        data = data.to_dataset()
    if _is(data, "Dataset"):
        return _of_dataset(data)
    if _is(data, "DataTree"):
        group = _of_dataset(data.to_dataset(inherit=False))
        group.groups = {name: _group(child) for name, child in data.children.items()}
        return group
    if isinstance(data, Mapping):
        return _of_mapping(data)
    raise InvalidArgument(
        "arrays are given as an xarray.Dataset, DataTree or DataArray, or as a mapping of "
        f"variables by name, not as {type(data).__name__}"
    )


def _of_dataset(data: xr.Dataset) -> _Group:
    group = _Group(attributes=dict(data.attrs))
    others = []
    for name, variable in data.variables.items():
        group.variables[_text(name, "variables")] = _of_variable(variable)
        if name in data.coords and variable.dims != (name,):
            others.append(str(name))
    _remember_coordinates(group.attributes, others)
    return group


def _remember_coordinates(attributes: dict[Any, Any], names: list[str]) -> None:
    known = _coordinate_names(attributes.get(COORDINATES)) or []
    names = known + [name for name in names if name not in known]
    if len(names) > len(known):
        plain = not any(name.split() != [name] for name in names)
        attributes[COORDINATES] = " ".join(names) if plain else names


def _coordinate_names(attribute: Any) -> list[str] | None:
    if isinstance(attribute, str):
        return attribute.split()
    if isinstance(attribute, list) and all(isinstance(name, str) for name in attribute):
        return attribute
    return None


def _of_variable(variable: Any) -> _Variable:
    variable = getattr(variable, "variable", variable)
    dimensions = tuple(_text(dimension, "dimensions") for dimension in variable.dims)
    return _Variable(dimensions, variable, variable.attrs, variable.encoding)


def _of_mapping(data: Mapping[Any, Any]) -> _Group:
    root = _Group()
    for path, value in data.items():
        *parents, name = _text(path, "variables").strip("/").split("/")
        given = _Group()
        if _is(value, "DataArray") or _is(value, "Variable"):
            given.variables[name] = _of_variable(value)
        elif isinstance(value, Mapping) or _is(value, "DataTree"):
            given.groups[name] = _group(value)
        else:
            given.variables[name] = _of_tuple(name, value)
        for parent in reversed(parents):
            given = _Group(groups={parent: given})
        _merge(root, given)
    return root


def _merge(group: _Group, other: _Group) -> None:
    """Adds variables, attributes and groups, which may be given in pieces."""
    for name in other.variables:
        if name in group.variables or name in group.groups:
            raise InvalidArgument(f"{name} is given twice", context={"variable": name})
    group.variables.update(other.variables)
    group.attributes.update(other.attributes)
    for name, below in other.groups.items():
        if name in group.variables:
            raise InvalidArgument(f"{name} is given twice", context={"variable": name})
        _merge(group.groups.setdefault(name, _Group()), below)


def _of_tuple(name: str, value: Any) -> _Variable:
    if not isinstance(value, tuple) or not 2 <= len(value) <= 4:
        raise InvalidArgument(
            f"variable {name} is to be (dimensions, data), (dimensions, data, attributes) or "
            "(dimensions, data, attributes, encoding)",
            context={"variable": name},
        )
    dimensions, data, attributes, encoding = (*value, None, None)[:4]
    dimensions = (dimensions,) if isinstance(dimensions, str) else tuple(dimensions)
    if isinstance(data, (list, tuple)):
        np = numpy_module()
        texts = np.asarray(data).dtype.kind in "SU"
        data = np.asarray(data, dtype=object if texts else None)
    return _Variable(dimensions, data, attributes or {}, encoding or {})


def _text(name: Any, what: str) -> str:
    if isinstance(name, str):
        return name
    raise InvalidArgument(f"{what} are named by strings, not {name!r}")


def _build(group: _Group, path: str, storing: _Storing) -> _native.Dataset:
    groups = [
        (name, _build(below, f"{path}{name}/", storing)) for name, below in group.groups.items()
    ]
    return _native.Dataset(
        [_native_variable(path, name, v, storing) for name, v in group.variables.items()],
        attributes_of(path.rstrip("/") or "the dataset", group.attributes),
        groups,
        # What is to fit a schema is cut as that says.
        [] if storing.fits else chunks_of(group.variables.values()),
    )


def _native_variable(
    path: str, name: str, variable: _Variable, storing: _Storing
) -> tuple[dict[str, Any], Any, tuple[int, ...]]:
    data = held_by(variable.data)
    if storing.without_rows in variable.dimensions and hasattr(data, "dask"):
        data = _one_row(data, variable.dimensions.index(storing.without_rows))
    elif _is(variable.data, "Variable") and not isinstance(data, numpy_module().ndarray):
        # Asking xarray computes what is lazy, and fetches what lies on another device.
        data = variable.data.data
    known = storing.known.get(path + name)
    if known is None:
        array, attributes, encoding = _as_given(path + name, data, variable, storing.encode)
    else:
        attributes, encoding = {}, {}
        array = as_stored(
            path + name,
            data,
            variable.attributes,
            variable.encoding,
            known,
            fill=fill_of(known["dtype"], known["fill"]),
            dimensions=variable.dimensions,
            encode=storing.encode,
            rounded=storing.rounded,
        )
    if known is not None and known["dtype"] not in ("str", "bytes"):
        # An empty array of objects does not tell its type, so that of the collection is taken.
        is_unknown = not array.size and array.dtype.kind == "O"
        array = numpy_module().empty(array.shape, known["dtype"]) if is_unknown else array
    dtype, items, shape = to_items(path + name, array)
    if storing.without_rows in variable.dimensions:
        # The type of objects is known from the rows that exist.
        along = variable.dimensions.index(storing.without_rows)
        empty = array[(slice(None),) * along + (slice(0, 0),)]
        _, items, shape = to_items(path + name, empty)
    if known is not None and not array.size and dtype == "str":
        # Nothing says what kind of objects they would be.
        dtype = known["dtype"] if known["dtype"] == "bytes" else dtype
    described = {
        "name": name,
        "dtype": dtype,
        "dimensions": list(variable.dimensions),
        "role": "user",
        **split_encoding(path + name, dtype, attributes, encoding),
    }
    return described, items, shape


def _one_row(data: Any, along: int) -> Any:
    """One row of a Dask array, from which its type is learned."""
    np = numpy_module()
    if data.dtype.kind == "O":
        return data[(slice(None),) * along + (slice(0, 1),)].compute()
    shape = tuple(0 if at == along else size for at, size in enumerate(data.shape))
    return np.empty(shape, data.dtype)


def _as_given(
    path: str, data: Any, variable: _Variable, encode: bool
) -> tuple[np.ndarray[Any, Any], Mapping[Any, Any], Mapping[str, Any]]:
    """The data of a variable that makes a schema, with its attributes and encoding."""
    attributes, encoding = variable.attributes, variable.encoding
    if encode and _packs(encoding):
        return _packed(path, data, variable)
    array, masked = plain_array(path, data)
    calendar = calendar_of(path, array)
    if calendar is not None:
        return _dates_as_given(path, array, masked, variable, calendar)
    if array.dtype.kind == "M":
        lost = missing_times(path, array, attributes, encoding)
        masked = masked if lost is None else lost if masked is None else masked | lost
        if lost is not None:
            array = with_fill(path, array, lost, None)
    if masked is not None:
        is_time = array.dtype.kind in "Mm" and "units" in encoding
        fill = encoding.get("_FillValue", attributes.get("_FillValue"))
        array = with_fill(path, array, masked, None if is_time else fill)
    wanted = stored_dtype(encoding)
    if wanted is not None:
        cast = cast_exactly(array, wanted)
        array = array if cast is None else cast
    return array, attributes, encoding


def _dates_as_given(
    path: str, array: np.ndarray[Any, Any], masked: Any, variable: _Variable, calendar: str
) -> tuple[np.ndarray[Any, Any], Mapping[Any, Any], Mapping[str, Any]]:
    """Dates of cftime as numbers, with what decodes them as attributes."""
    np = numpy_module()
    encoding = dict(variable.encoding)
    kind = np.dtype(encoding.pop("dtype", None) or "i8")
    kind = kind if kind.kind in "iuf" else np.dtype("i8")
    units = encoding.pop("units", None) or UNITS_OF_DATES
    encoding.pop("calendar", None)
    meaning = {"units": units, "calendar": calendar}
    numbers = as_stored(
        path,
        array if masked is None else np.ma.masked_array(array, masked),
        {},
        {},
        {"dtype": kind.newbyteorder("<").str, "attributes": meaning},
        fill=encoding.get("_FillValue"),
        dimensions=variable.dimensions,
    )
    return numbers, {**variable.attributes, **meaning}, encoding


def _packs(encoding: Mapping[str, Any]) -> bool:
    keys = ("_FillValue", "missing_value", "scale_factor", "add_offset", "dtype", "_Unsigned")
    return any(encoding.get(key) is not None for key in keys)


def _packed(
    path: str, data: Any, variable: _Variable
) -> tuple[np.ndarray[Any, Any], Mapping[Any, Any], Mapping[str, Any]]:
    """Values as the numbers that their encoding asks for, with what decodes them as attributes."""
    np = numpy_module()
    array, masked = plain_array(path, data)
    encoding = dict(variable.encoding)
    kind = encoding.pop("dtype", None)
    kind = array.dtype if kind in (None, str, bytes) else np.dtype(kind)
    if array.dtype.kind not in "biufc" or kind.kind not in "biufc":
        encoding = dict(variable.encoding)
        return _as_given(path, data, variable, encode=False)
    meaning = {key: encoding.pop(key) for key in MEANING[:4] if encoding.get(key) is not None}
    fill = encoding.pop("_FillValue", None)
    packing = Packing.of(meaning, fill, kind)
    described = {**variable.attributes, **meaning}
    if fill is not None:
        fill = missing_as(path, kind.str, packing)
        described["_FillValue"] = fill
    if masked is not None:
        array = np.ma.masked_array(array, masked)
    numbers = as_stored(
        path,
        array,
        {},
        {**variable.encoding, "dtype": kind},
        {"dtype": kind.newbyteorder("<").str, "attributes": meaning},
        fill=fill,
        dimensions=variable.dimensions,
        encode=True,
        rounded=True,
    )
    return numbers, described, encoding


def missing_of(dtype: Any) -> Any:
    """The value of a type that means missing; None if there is none."""
    np = numpy_module()
    kind = "O" if dtype is str else np.dtype(dtype).kind
    if kind in "Mm":
        return np.dtype(dtype).type("NaT")
    return np.nan if kind in "fc" else None


def describe_variable(
    name: str,
    dimensions: tuple[str, ...],
    dtype: Any,
    fill_value: Any,
    attributes: Mapping[Any, Any],
    encoding: Mapping[str, Any],
) -> dict[str, Any]:
    """A variable without data, in the form of the engine's schema."""
    np = numpy_module()
    empty = np.empty((0,) * len(dimensions), dtype=object if dtype is str else dtype)
    if fill_value is not None:
        encoding = {**encoding, "_FillValue": fill_value}
    variable = _Variable(dimensions, empty, attributes, encoding)
    return _native_variable("", name, variable, _Storing({}, False, False, False))[0]


def to_xarray(
    data: _native.Dataset,
    *,
    decode: bool = False,
    release: bool = False,
    replace: Replace | None = None,
    options: Mapping[str, Any] | None = None,
) -> xr.Dataset | xr.DataTree:
    """The dataset as xarray's: a ``DataTree`` if it has groups, a ``Dataset`` otherwise.

    Nothing is copied here, save texts of any length; xarray itself copies times. Times of units
    that xarray lacks (days, 25 microseconds) are converted to the coarsest one that holds them;
    ``encoding["stored_dtype"]`` says from which, and `from_xarray` converts them back.

    Parameters
    ----------
    decode : bool
        Whether values that equal the fill value become missing, and packed numbers and encoded
        times are decoded, as ``xarray.open_dataset`` does it. By default values are as they were
        stored, and the fill value is in ``encoding["_FillValue"]``; in ``attrs["_FillValue"]``
        if it was an attribute, or others tell how numbers are decoded, so that what
        `xarray.decode_cf` needs is in one place.
    release : bool
        Whether to take the data out of `data`, which then cannot be used any more. Arrays are
        read-only otherwise, and wherever someone else refers to their memory too.
    replace : callable, optional
        Gives what is to stand for a variable. Nothing is loaded by decoding then.
    options : mapping, optional
        Arguments of ``xarray.decode_cf``.
    """
    make = _Make(decode, replace, options or {})
    xarray = optional("xarray", "reading into xarray")
    nodes = dict(_nodes(data.contents(release), "/", make))
    if len(nodes) == 1:
        return nodes["/"]
    try:
        return xarray.DataTree.from_dict(nodes)
    except ValueError as error:
        raise InvalidArgument(f"the groups make no DataTree: {error}") from error


@dataclass(frozen=True)
class _Make:
    """How datasets are made."""

    decode: bool
    replace: Replace | None
    options: Mapping[str, Any]


def _nodes(contents: dict[str, Any], path: str, make: _Make) -> Iterator[tuple[str, xr.Dataset]]:
    yield path, _dataset(contents, path, make)
    for name, group in contents["groups"].items():
        yield from _nodes(group, f"{path.rstrip('/')}/{name}", make)


def _dataset(contents: dict[str, Any], path: str, make: _Make) -> xr.Dataset:
    xarray = optional("xarray", "reading into xarray")
    chunks = {dimension["name"]: dimension["chunks"] for dimension in contents["dimensions"]}
    variables = {}
    for described in contents["variables"]:
        name = described["name"]
        variables[name] = _variable(described, chunks, make.decode)
        if make.replace is not None:
            full = f"{path}/{name}".lstrip("/")
            variables[name] = make.replace(full, described, variables[name])
    attributes = contents["attributes"]
    named = attributes.get(COORDINATES)
    others = [name for name in _coordinate_names(named) or () if name in variables]
    if others:
        del attributes[COORDINATES]
    # pandas, which makes the indexes of xarray, has no floats of 16 bits.
    bare = {name: v for name, v in variables.items() if v.dims == (name,) and v.dtype == "f2"}
    dataset = xarray.Dataset(
        {name: variable for name, variable in variables.items() if name not in bare},
        coords=xarray.Coordinates(bare, indexes={}) if bare else None,
        attrs=attributes,
    )
    if bare:
        dataset = dataset[list(variables)]
    if make.decode:
        # Texts of one character are texts: those of files were joined when they were opened.
        durations = {name: decode_durations(v.attrs) for name, v in dataset.variables.items()}
        options = {"decode_timedelta": durations, **make.options}
        dataset = xarray.decode_cf(dataset, decode_coords=False, concat_characters=False, **options)
        if make.replace is None:
            dataset = dataset.load()
    return dataset.set_coords(others)


def _variable(described: dict[str, Any], chunks: Mapping[str, Any], decode: bool) -> xr.Variable:
    xarray = optional("xarray", "reading into xarray")
    attributes = described["attributes"]
    is_packed = "_FillValue" in (attributes.get(REMEMBERED) or {})
    encoding = encoding_of(described, chunks)
    array = to_numpy(described["data"], described["shape"])
    array = _in_units_of_xarray(described, array, encoding)
    dates = _with_missing_dates(array, attributes, encoding) if decode else None
    if dates is not None:
        array = dates
    elif decode and "_FillValue" in encoding and not is_packed:
        if described["dtype"][1] in "Mm":
            array = without_times(array, encoding["_FillValue"])
        else:
            attributes["_FillValue"] = encoding.pop("_FillValue")
    # Looking for other kinds of arrays, xarray would import dask.
    return xarray.Variable(described["dimensions"], array, attributes, encoding, fastpath=True)


def _with_missing_dates(
    array: np.ndarray[Any, Any], attributes: dict[str, Any], encoding: dict[str, Any]
) -> np.ndarray[Any, Any] | None:
    """Dates in place of numbers that are no times of numpy, if some are missing."""
    packing = packing_of_dates(array, attributes, encoding)
    if packing is None or either(where_nan(array), packing.is_missing(array)) is None:
        return None
    remember_packing_of_dates(array.dtype, attributes, encoding)
    return dates_of(array, packing)


def without_times(array: np.ndarray[Any, Any], fill: Any) -> np.ndarray[Any, Any]:
    """The times with "not a time" for the fill value, which xarray replaces in numbers only."""
    np = numpy_module()
    filled = array == fill
    if array.dtype.kind not in "Mm" or not filled.any():
        return array
    return np.where(filled, np.array("NaT", array.dtype), array)


def _in_units_of_xarray(
    described: Mapping[str, Any], array: np.ndarray[Any, Any], encoding: dict[str, Any]
) -> np.ndarray[Any, Any]:
    np = numpy_module()
    kind, dtype = array.dtype.kind, described["dtype"]
    if kind not in "Mm":
        return array
    unit, multiple = np.datetime_data(array.dtype)
    if unit in UNITS and multiple == 1:
        return array
    encoding["stored_dtype"] = dtype
    if unit == "generic":
        if "_FillValue" in encoding:
            encoding["_FillValue"] = encoding["_FillValue"].view("<i8")
        return array.view("<i8")
    for name in UNITS:
        cast = cast_exactly(array, f"<{kind}8[{name}]")
        if cast is not None:
            return cast
    raise InvalidArgument(
        f"xarray cannot hold the values of variable {described['name']}: it has no unit finer than "
        "nanoseconds, and no earlier or later times than those reach",
        context={"variable": described["name"], "dtype": dtype},
    )
