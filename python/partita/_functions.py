"""Functions of the user, as the engine calls them: with datasets of xarray, and from any thread."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from partita import _native
from partita._arrays import fill_item
from partita._labels import in_order
from partita._xarray import by_path, from_xarray, to_xarray, variables_of
from partita.errors import InvalidArgument, SchemaMismatch
from partita.merge import Merge, merge_arguments

__all__ = ["Calling", "Inserting", "PartitionInfo", "Updating"]


@dataclass(frozen=True)
class PartitionInfo:
    """What a function of `Collection.map` or `Collection.update` is told of its partition."""

    key: dict[str, int]
    """The fields of the key with their values."""
    rows: slice
    """Which rows of the dataset are the partition's own; the others are its neighbours'."""


@dataclass(frozen=True)
class Inserting:
    """How rows are made fit, and merged; may travel to other processes."""

    merge: Merge | str
    encode: bool
    decode: bool = False
    """Whether a merge function is given decoded values, or numbers as they are stored."""
    fill: Mapping[str, Any] | None = None
    """The values for variables that the data lacks, by name."""

    def prepare(
        self, native: _native.Collection, data: Any
    ) -> tuple[_native.Dataset, dict[str, Any]]:
        """What the engine takes: the rows, and how they are merged."""
        schema = native.schema()

        def merging(function: Callable[[Any, Any], Any]) -> Callable[..., _native.Dataset]:
            def call(old: _native.Dataset, new: _native.Dataset) -> _native.Dataset:
                pair = (to_xarray(one, decode=self.decode) for one in (old, new))
                return from_xarray(function(*pair), schema=schema, encode=self.decode, rounded=True)

            return call

        arguments = merge_arguments(self.merge, merging)
        arguments["fill"] = fill_items(schema, self.fill or {})
        return from_xarray(data, schema=schema, encode=self.encode), arguments

    def stage(self, native: _native.Collection, data: Any, shared: bool) -> list[Any]:
        """Stages rows, and with `shared` the variables that are not partitioned."""
        dataset, arguments = self.prepare(native, data)
        return native.stage_insert(dataset, arguments, shared)


class Calling:
    """Calls a function of the user with what the engine gives."""

    def __init__(self, function: Callable[..., Any], *, decode: bool = False) -> None:
        if not callable(function):
            raise InvalidArgument(f"a function is needed, not {function!r}")
        try:
            parameters: Any = inspect.signature(function).parameters
        except (TypeError, ValueError):
            parameters = {}
        self._function = function
        self._informed = "partition" in parameters
        self.decode = decode

    def __call__(self, key: list[tuple[str, int]], data: _native.Dataset, own: Any) -> Any:
        return self.on(key, to_xarray(data, decode=self.decode, release=True), own)

    def on(self, key: list[tuple[str, int]], dataset: Any, own: Any) -> Any:
        """Calls it with a dataset of xarray."""
        if self._informed:
            return self._function(dataset, partition=PartitionInfo(dict(key), slice(*own)))
        return self._function(dataset)


@dataclass(frozen=True)
class Updating:
    """Calls a function, and gives the engine what it returned."""

    call: Calling
    dimension: str
    """The one that is cut into partitions."""
    known: Mapping[str, dict[str, Any]]

    def __call__(
        self, key: list[tuple[str, int]], data: _native.Dataset, own: Any
    ) -> _native.Dataset | None:
        given = to_xarray(data, decode=self.call.decode, release=True)
        # The function may change what it is given.
        labels = given.copy()
        found = self.call.on(key, given, own)
        if found is None:
            return None
        if hasattr(found, "data_vars"):
            found = by_path(found, coordinates=False, arrays=True)
        if not isinstance(found, Mapping):
            raise InvalidArgument(
                "the function returns variables by name (a dict, an xarray.Dataset or DataTree), "
                f"not {type(found).__name__}"
            )
        variables = {
            name: self._variable(name, one, labels, slice(*own)) for name, one in found.items()
        }
        if not variables:
            return None
        return from_xarray(variables, known=self.known, encode=self.call.decode, rounded=True)

    def _variable(self, name: Any, found: Any, given: Any, own: slice) -> tuple[Any, ...]:
        """The returned values of a variable, with its dimensions and in the order of its labels."""
        described = self.known.get(name)
        if described is None:
            raise SchemaMismatch(
                f"the function returned {name!r}, which the collection does not have; add it first",
                context={"variable": str(name)},
            )
        dimensions = tuple(described["dimensions"])
        group = str(name).rpartition("/")[0]
        node = given[group] if group else given
        found = in_order(str(name), found, dimensions, node, self.dimension, own)
        if not hasattr(found, "dims"):
            return dimensions, found
        if set(found.dims) == set(dimensions):
            found = found.transpose(*dimensions)
        # Decoded values are packed as the collection is, whatever encoding they carry.
        encoding = {} if self.call.decode else found.encoding
        return tuple(found.dims), found.data, found.attrs, encoding


def fill_items(schema: _native.Schema, fill: Mapping[str, Any]) -> list[tuple[str, bytes]]:
    """The fill items for missing variables, as bytes."""
    known = {one["name"]: one for one in variables_of(schema.to_dict())}
    found = []
    for name, value in fill.items():
        if name not in known:
            raise SchemaMismatch(
                f"fill= names {name!r}, which the collection does not have",
                context={"variable": str(name)},
            )
        item = fill_item(name, known[name]["dtype"], value)
        if item is not None:
            found.append((name, item))
    return found
