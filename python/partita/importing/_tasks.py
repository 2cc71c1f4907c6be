"""The tasks of an import: scanning one file, and staging one partition. They run in any process."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from partita import _native
from partita._arrays import numpy_module
from partita._encoding import attributes_of
from partita._functions import Inserting, fill_items
from partita._xarray import by_path, from_xarray, variables_of
from partita.errors import Corrupt, PartitaError, SchemaMismatch, StoreError
from partita.importing._remote import Reading
from partita.importing._sources import digest, group_names, open_source

__all__ = ["Place", "Scanned", "Target", "named", "scan", "stage"]

Runs = Sequence[tuple[int, int]]


@dataclass(frozen=True)
class Scanned:
    """The facts about a file that are known without reading all of it."""

    path: str
    digest: str
    groups: list[str]
    keys: dict[str, tuple[Any, ...]]
    """The variables by which rows are partitioned and ordered, as a mapping of arrays."""
    statics: dict[str, str]
    """The digests of the variables without the partitioned dimension."""
    attributes: dict[str, dict[str, Any]] = field(default_factory=dict)
    """The attributes of the variables by their paths, and of groups by theirs with a slash behind;
    those of the dataset under the empty name."""


@dataclass(frozen=True)
class Target:
    """The collection, as other processes open it."""

    url: str
    options: Mapping[str, Any]
    single_writer: bool

    @property
    def native(self) -> _native.Collection:
        return _opened(self.url, tuple(sorted(self.options.items())), self.single_writer)


@functools.lru_cache(maxsize=2)
def _opened(
    url: str, options: tuple[tuple[str, Any], ...], single_writer: bool
) -> _native.Collection:
    return _native.Collection.open(url, dict(options), False, single_writer)


@dataclass(frozen=True)
class Place:
    """A partition, with the rows that files have for it, in the order in which they are merged."""

    path: str
    exists: bool
    replaces: bool
    sources: tuple[tuple[str, Runs], ...]


def named(error: BaseException, path: str) -> PartitaError:
    """The error of a file, with its name.

    An exception that a library raises while it reads a file is reported as damage of the file,
    unless it says that the system could not read the file.
    """
    if isinstance(error, PartitaError):
        return type(error)(
            f"{path}: {error}", kind=error.kind, context={**error.context, "file": path}
        )
    kind: type[PartitaError] = Corrupt
    # Errors of NetCDF have negative numbers, and those of HDF5 none.
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and (error.errno or 0) > 0):
        kind = StoreError
    what = f"the file cannot be read: {type(error).__name__}: {error}"
    return kind(f"{path}: {what}", context={"file": path})


def scan(path: str, axis: str, names: Sequence[str], reading: Reading) -> Scanned:
    """Looks at a file: its digest, its keys, and what is the same for all partitions."""
    data = open_source(path, reading)
    variables = by_path(data)
    if axis not in variables:
        raise SchemaMismatch(
            f"there is no variable {axis!r}, along which the collection grows; there are "
            f"{', '.join(sorted(variables))}",
            context={"variable": axis},
        )
    if variables[axis].ndim != 1:
        raise SchemaMismatch(
            f"the axis {axis!r} has the dimensions {variables[axis].dims}, and needs one",
            context={"variable": axis},
        )
    (dimension,) = variables[axis].dims
    keys = {}
    for name in dict.fromkeys([axis, *names]):
        if name in variables:
            one = variables[name]
            keys[name] = (one.dims, one.values, dict(one.attrs), dict(one.encoding))
    statics = {n: _digest(v) for n, v in variables.items() if dimension not in v.dims}
    attributes = {name: dict(one.attrs) for name, one in variables.items()}
    for node in data.subtree if hasattr(data, "subtree") else [data]:
        attributes[f"{getattr(node, 'path', '')}/".lstrip("/")] = dict(node.attrs)
    plain = {name: attributes_of(name, values) for name, values in attributes.items()}
    return Scanned(path, digest(reading.local(path)), group_names(data), keys, statics, plain)


def _digest(variable: Any) -> str:
    np = numpy_module()
    values = np.ascontiguousarray(variable.values)
    content = repr(values.tolist()).encode() if values.dtype.kind == "O" else values.tobytes()
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def rows_of(path: str, runs: Runs, dimension: str, reading: Reading) -> Any:
    """Rows of a file, without what is the same for all partitions."""
    np = numpy_module()
    data = open_source(path, reading)
    index = slice(*runs[0]) if len(runs) == 1 else np.concatenate([np.arange(*run) for run in runs])

    def cut(node: Any) -> Any:
        others = [name for name, one in node.variables.items() if dimension not in one.dims]
        node = node.drop_vars(others)
        return node.isel({dimension: index}) if dimension in node.dims else node

    return data.map_over_datasets(cut) if hasattr(data, "subtree") else cut(data)


def stage(target: Target, place: Place, inserting: Inserting, reading: Reading) -> list[Any]:
    """Stages the rows that files have for one partition.

    Raises
    ------
    PartitaError
        With the file whose rows do not fit.
    """
    native = target.native
    dimension = native.config()["dimension"]
    joins = place.exists and not place.replaces
    parts: list[_native.Dataset] = []
    arguments: dict[str, Any] = {}
    for path, runs in place.sources:
        try:
            rows = rows_of(path, runs, dimension, reading)
            dataset, arguments = inserting.prepare(native, rows)
            # Rows that do not fit are reported with this file. A variable that the file lacks may
            # exist in stored rows.
            if len(place.sources) > 1:
                lenient = _with_zeros(native, arguments) if joins else arguments
                native.merge_rows([*parts[:1], dataset], lenient)
        except Exception as error:
            raise named(error, path) from None
        parts.append(dataset)
    given = dict(arguments)
    if place.replaces:
        arguments = {**given, "name": "replace", "tolerance": None}
    try:
        if len(parts) == 1:
            return native.stage_insert(parts[0], arguments, False)
        if not joins:
            return native.stage_insert(native.merge_rows(parts, given), arguments, False)
        return native.stage_insert(*_one_by_one(native, parts, given), False)
    except PartitaError as error:
        raise named(error, place.sources[0][0]) from None


def _one_by_one(
    native: _native.Collection, parts: list[_native.Dataset], given: dict[str, Any]
) -> tuple[_native.Dataset, dict[str, Any]]:
    """The rows and the merge function that insert several files into stored rows, in order."""

    def merge(old: _native.Dataset, _new: _native.Dataset) -> _native.Dataset:
        return native.merge_rows([old, *parts], given)

    # The function looks at the parts alone, so that zeros among the rows that it is given do not
    # matter.
    lenient = _with_zeros(native, given)
    return native.merge_rows(parts, lenient), {**lenient, "name": "", "function": merge}


def _with_zeros(native: _native.Collection, arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments with zeros for every variable that is missing and has no other fill value."""
    described = variables_of(native.schema().to_dict())
    known = {name for name, _ in arguments["fill"]}
    others = [one for one in described if one["name"] not in known and one["fill"] is None]
    zeros = {one["name"]: 0 for one in others if one["dtype"].lstrip("<>|")[0] in "biu"}
    return {**arguments, "fill": [*arguments["fill"], *fill_items(native.schema(), zeros)]}


def statics_of(path: str, schema: _native.Schema, dimension: str, reading: Reading) -> Any:
    """The dataset of a file without rows: what is the same for all partitions."""
    data = open_source(path, reading)

    def cut(node: Any) -> Any:
        return node.isel({dimension: slice(0, 0)}) if dimension in node.dims else node

    found = data.map_over_datasets(cut) if hasattr(data, "subtree") else cut(data)
    return from_xarray(found, schema=schema)
