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
from partita._arrays import cast_exactly, numpy_module, to_items, to_numpy
from partita._arrow import optional
from partita._encoding import (
    REMEMBERED,
    attributes_of,
    chunks_of,
    encoding_of,
    split_encoding,
    stored_dtype,
)
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
    data: Any, *, schema: _native.Schema | None = None, encode: bool = False
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
        The schema to fit: values are converted to the types of the variables of the same path where
        that does not change them, such as times of another unit.
    encode : bool
        Whether numbers are packed as their encodings say (``scale_factor``, ``add_offset``,
        ``dtype``) and missing ones replaced by ``_FillValue``, as xarray does when it writes a
        file. By default values are stored as they are in memory.

    Raises
    ------
    InvalidArgument
        If a variable or an attribute cannot be stored: objects that are not all str or all bytes,
        structured types, dates of cftime. The variable is named.
    """
    if isinstance(data, _native.Dataset):
        return data
    group = _group(data, encode)
    types = {} if schema is None else _types(schema.to_dict())
    return _build(group, "", types)


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


def by_path(data: xr.Dataset | xr.DataTree, *, coordinates: bool = True) -> dict[str, xr.Variable]:
    """The variables of a dataset, or of all groups of a tree, by their paths."""
    nodes: Any = data.subtree if _is(data, "DataTree") else [data]
    return {
        f"{getattr(node, 'path', '')}/{name}".lstrip("/"): node.variables[name]
        for node in nodes
        for name in (node.variables if coordinates else node.data_vars)
    }


def _types(schema: Mapping[str, Any], path: str = "") -> dict[str, str]:
    types = {path + variable["name"]: variable["dtype"] for variable in schema["variables"]}
    for name, group in schema["groups"].items():
        types.update(_types(group, f"{path}{name}/"))
    return types


def _is(data: Any, name: str) -> bool:
    # If xarray was never imported, nothing can be an object of it.
    kind = getattr(sys.modules.get("xarray"), name, None)
    return kind is not None and isinstance(data, kind)


def _group(data: Any, encode: bool) -> _Group:
    if _is(data, "DataArray"):
        if data.name is None:
            raise InvalidArgument("the DataArray has no name; give it one: .rename('name')")
        data = data.to_dataset()
    if _is(data, "Dataset"):
        return _of_dataset(data, encode)
    if _is(data, "DataTree"):
        group = _of_dataset(data.to_dataset(inherit=False), encode)
        group.groups = {name: _group(child, encode) for name, child in data.children.items()}
        return group
    if isinstance(data, Mapping):
        return _of_mapping(data, encode)
    raise InvalidArgument(
        "arrays are given as an xarray.Dataset, DataTree or DataArray, or as a mapping of "
        f"variables by name, not as {type(data).__name__}"
    )


def _of_dataset(data: xr.Dataset, encode: bool) -> _Group:
    group = _Group(attributes=dict(data.attrs))
    others = []
    for name, variable in data.variables.items():
        group.variables[_text(name, "variables")] = _of_variable(str(name), variable, encode)
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


def _of_variable(name: str, variable: Any, encode: bool) -> _Variable:
    variable = getattr(variable, "variable", variable)
    if encode:
        variable = _packed(name, variable)
    dimensions = tuple(_text(dimension, "dimensions") for dimension in variable.dims)
    return _Variable(dimensions, variable, variable.attrs, variable.encoding)


def _packed(name: str, variable: Any) -> Any:
    encoding = variable.encoding
    keys = ("_FillValue", "missing_value", "scale_factor", "add_offset", "dtype")
    if variable.dtype.kind not in "iufc" or not any(key in encoding for key in keys):
        return variable
    np = numpy_module()
    target = np.dtype(encoding.get("dtype", variable.dtype))
    has_fill = encoding.get("_FillValue", encoding.get("missing_value")) is not None
    if target.kind in "iu" and variable.dtype.kind in "fc" and not has_fill:
        if bool(np.isnan(variable.to_numpy()).any()):
            raise InvalidArgument(
                f"variable {name} has missing values and cannot be packed as {target}: its "
                "encoding lacks a _FillValue",
                context={"variable": name},
            )
    conventions = optional("xarray.conventions", "packing numbers")
    return conventions.encode_cf_variable(variable, name=name)


def _of_mapping(data: Mapping[Any, Any], encode: bool) -> _Group:
    root = _Group()
    for path, value in data.items():
        *parents, name = _text(path, "variables").strip("/").split("/")
        given = _Group()
        if _is(value, "DataArray") or _is(value, "Variable"):
            given.variables[name] = _of_variable(name, value, encode)
        elif isinstance(value, Mapping) or _is(value, "DataTree"):
            given.groups[name] = _group(value, encode)
        else:
            given.variables[name] = _of_tuple(name, value, encode)
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


def _of_tuple(name: str, value: Any, encode: bool) -> _Variable:
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
    data = _unmasked(name, data, encoding or {})
    variable = _Variable(dimensions, data, attributes or {}, encoding or {})
    if not encode:
        return variable
    xarray = optional("xarray", "packing numbers")
    packed = xarray.Variable(dimensions, data, variable.attributes, variable.encoding)
    return _of_variable(name, packed, encode)


def _unmasked(name: str, data: Any, encoding: Mapping[str, Any]) -> Any:
    """The data with the fill value where they are masked."""
    np = numpy_module()
    if not np.ma.isMaskedArray(data):
        return data
    if not np.ma.is_masked(data):
        return data.data
    fill = encoding.get("_FillValue")
    if fill is None:
        raise InvalidArgument(
            f"variable {name} has masked items, but no fill value to store for them; give one as "
            "_FillValue of its encoding",
            context={"variable": name},
        )
    return data.filled(fill)


def _text(name: Any, what: str) -> str:
    if isinstance(name, str):
        return name
    raise InvalidArgument(f"{what} are named by strings, not {name!r}")


def _build(group: _Group, path: str, types: Mapping[str, str]) -> _native.Dataset:
    groups = [
        (name, _build(below, f"{path}{name}/", types)) for name, below in group.groups.items()
    ]
    return _native.Dataset(
        [_native_variable(path, name, v, types) for name, v in group.variables.items()],
        attributes_of(path.rstrip("/") or "the dataset", group.attributes),
        groups,
        # What is to fit a schema is cut as that says.
        [] if types else chunks_of(group.variables.values()),
    )


def _native_variable(
    path: str, name: str, variable: _Variable, types: Mapping[str, str]
) -> tuple[dict[str, Any], Any, tuple[int, ...]]:
    np = numpy_module()
    data = held_by(variable.data)
    if not isinstance(data, np.ndarray):
        # Asking xarray computes what is lazy, and fetches what lies on another device.
        data = variable.data
    array = data.to_numpy() if hasattr(data, "to_numpy") else np.asarray(data)
    wanted = types.get(path + name) or stored_dtype(variable.encoding)
    if wanted is not None:
        cast = cast_exactly(array, wanted)
        array = array if cast is None else cast
    dtype, items, shape = to_items(path + name, array)
    described = {
        "name": name,
        "dtype": dtype,
        "dimensions": list(variable.dimensions),
        "role": "user",
        **split_encoding(path + name, dtype, variable.attributes, variable.encoding),
    }
    return described, items, shape


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
    return _native_variable("", name, variable, {name: "str"} if dtype is str else {})[0]


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
        stored, and the fill value is in ``encoding["_FillValue"]``.
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
        dataset = xarray.decode_cf(dataset, decode_coords=False, **make.options)
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
    if decode and "_FillValue" in encoding and not is_packed:
        if described["dtype"][1] in "Mm":
            array = without_times(array, encoding["_FillValue"])
        else:
            attributes["_FillValue"] = encoding.pop("_FillValue")
    # Looking for other kinds of arrays, xarray would import dask.
    return xarray.Variable(described["dimensions"], array, attributes, encoding, fastpath=True)


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
