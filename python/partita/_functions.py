"""Functions of the user, as the engine calls them: with datasets of xarray, and from any thread."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from partita import _native
from partita._arrays import numpy_module
from partita._xarray import by_path, from_xarray, to_xarray
from partita.errors import InvalidArgument, SchemaMismatch
from partita.merge import Merge, merge_arguments

__all__ = ["Calling", "Inserting", "PartitionInfo", "Updating", "updated"]


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

    merge: Merge
    encode: bool

    def prepare(
        self, native: _native.Collection, data: Any
    ) -> tuple[_native.Dataset, dict[str, Any]]:
        """What the engine takes: the rows, and how they are merged."""
        schema = native.schema()

        def merging(function: Callable[[Any, Any], Any]) -> Callable[..., _native.Dataset]:
            def call(old: _native.Dataset, new: _native.Dataset) -> _native.Dataset:
                merged = function(to_xarray(old), to_xarray(new))
                return from_xarray(merged, schema=schema)

            return call

        arguments = merge_arguments(self.merge, merging)
        return from_xarray(data, schema=schema, encode=self.encode), arguments

    def stage(self, native: _native.Collection, data: Any, shared: bool) -> list[Any]:
        """Stages rows, and with `shared` the variables that are not partitioned."""
        dataset, arguments = self.prepare(native, data)
        return native.stage_insert(dataset, arguments, shared)


class Calling:
    """Calls a function of the user with what the engine gives."""

    def __init__(self, function: Callable[..., Any]) -> None:
        if not callable(function):
            raise InvalidArgument(f"a function is needed, not {function!r}")
        try:
            parameters: Any = inspect.signature(function).parameters
        except (TypeError, ValueError):
            parameters = {}
        self._function = function
        self._informed = "partition" in parameters

    def __call__(self, key: list[tuple[str, int]], data: _native.Dataset, own: Any) -> Any:
        dataset = to_xarray(data, release=True)
        if self._informed:
            return self._function(dataset, partition=PartitionInfo(dict(key), slice(*own)))
        return self._function(dataset)


@dataclass(frozen=True)
class Updating:
    """Calls a function, and gives the engine what it returned."""

    call: Calling
    known: Mapping[str, dict[str, Any]]

    def __call__(
        self, key: list[tuple[str, int]], data: _native.Dataset, own: Any
    ) -> _native.Dataset | None:
        found = self.call(key, data, own)
        return None if found is None else updated(found, self.known)


def updated(found: Any, known: Mapping[str, dict[str, Any]]) -> _native.Dataset | None:
    """The dataset of the variables that a function returned, in the types of the collection."""
    np = numpy_module()
    if hasattr(found, "data_vars"):
        found = by_path(found, coordinates=False)
    if not isinstance(found, Mapping):
        raise InvalidArgument(
            "the function returns variables by name (a dict, an xarray.Dataset or DataTree), not "
            f"{type(found).__name__}"
        )
    variables: dict[str, Any] = {}
    for name, data in found.items():
        if name not in known:
            raise SchemaMismatch(
                f"the function returned {name!r}, which the collection does not have; add it first",
                context={"variable": str(name)},
            )
        described = known[name]
        dimensions, dtype = tuple(described["dimensions"]), described["dtype"]
        if hasattr(data, "dims"):
            if set(data.dims) == set(dimensions):
                data = data.transpose(*dimensions)
            dimensions = tuple(data.dims)
            data = data.data
        if isinstance(data, np.ma.MaskedArray):
            fill = described["fill"]
            filling = None if fill is None else np.frombuffer(fill, dtype)[0]
            data = data.filled(filling)
        array = np.asarray(data)
        if dtype not in ("str", "bytes") and array.dtype != np.dtype(dtype):
            try:
                array = array.astype(dtype, casting="same_kind")
            except TypeError:
                raise SchemaMismatch(
                    f"the function returned {name!r} with type {array.dtype}, and the collection "
                    f"has it with {dtype}",
                    context={"variable": str(name)},
                ) from None
        variables[name] = (dimensions, array)
    return from_xarray(variables) if variables else None
