"""Partitions as arrays of Dask, which are read when they are computed."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from functools import partial
from typing import Any

import dask.array as da
import numpy as np
from dask.highlevelgraph import HighLevelGraph

from partita import Collection, col
from partita._arrays import to_numpy
from partita.compat.zcollection import meta
from partita.compat.zcollection._engine import with_data
from partita.compat.zcollection._selection import Key, as_key, condition, nothing
from partita.compat.zcollection.dataset import Dataset
from partita.compat.zcollection.variable import ModifiedVariableError

__all__ = ["lazy_dataset", "partition_rows"]


def partition_rows(collection: Collection, keys: Sequence[Key]) -> list[int]:
    """How many rows partitions have."""
    found = collection._native.sizes(condition(keys)._native)
    rows = {as_key(partition.key): partition.rows or 0 for partition in found}
    missing = next((key for key in keys if key not in rows), None)
    if missing is not None:
        raise ValueError(f"the partition {missing} was removed in the meantime")
    return [rows[key] for key in keys]


def read_items(collection: Collection, key: Key, name: str, shape: tuple[int, ...]) -> Any:
    """The items of one variable in one partition, which must still have the shape."""
    data = collection._native.read(condition([key])._native, [name])
    (described,) = (v for v in data.contents(True)["variables"] if v["name"] == name)
    if tuple(described["shape"]) != shape:
        raise ModifiedVariableError
    return to_numpy(described["data"], described["shape"])


def lazy_dataset(
    collection: Collection,
    metadata: meta.Dataset,
    keys: Sequence[Key],
    names: Sequence[str],
    extents: dict[str, int],
) -> Dataset:
    """Some variables of some partitions, joined in the order of the keys.

    Variables that all partitions share are small, and are read at once. `extents` are the sizes of
    the dimensions that are not cut, as far as they are known; those that are missing are added.
    """
    dimension = collection.dimension
    # No row is selected: only what all partitions share is read.
    data = collection._native.read(nothing(collection.fields)._native, list(names)).contents(True)
    cut = [name for name in names if dimension in metadata.variables[name].dimensions]
    _learn_extents(collection, metadata, keys[0], cut, extents)
    sizes = partition_rows(collection, keys) if cut else []
    variables = []
    for described in data["variables"]:
        variable = metadata.variables[described["name"]]
        items = to_numpy(described["data"], described["shape"])
        if dimension in variable.dimensions:
            shape = [extents.get(name, 0) for name in variable.dimensions]
            blocks = _blocks(collection, keys, sizes, variable, shape, items.dtype)
            items = _in_chunks(blocks, metadata, variable, dimension)
        variables.append(with_data(variable, items, delayed=True))
    return Dataset(
        variables,
        attrs=metadata.attrs,
        chunks=metadata.chunks,
        block_size_limit=metadata.block_size_limit,
        delayed=True,
    )


def _learn_extents(
    collection: Collection,
    metadata: meta.Dataset,
    key: Key,
    names: Sequence[str],
    extents: dict[str, int],
) -> None:
    """Read one row of a partition, of as few variables as have all dimensions between them."""
    unknown = {d for name in names for d in metadata.variables[name].dimensions}
    unknown -= {collection.dimension, *extents}
    probes = []
    for name in sorted(names, key=lambda name: len(metadata.variables[name].dimensions)):
        if unknown & set(metadata.variables[name].dimensions):
            unknown -= set(metadata.variables[name].dimensions)
            probes.append(name)
    if not probes:
        return
    axis = collection._native.read(condition([key])._native, [collection.axis]).contents(True)
    (axis,) = axis["variables"]
    where = condition([key])
    times = to_numpy(axis["data"], axis["shape"])
    if times.size and times[0] == times[0]:
        where = where & (col(collection.axis) == times[0])
    for described in collection._native.read(where._native, probes).contents(True)["variables"]:
        extents.update(zip(described["dimensions"], described["shape"], strict=True))
    extents.pop(collection.dimension, None)


def _in_chunks(array: Any, metadata: meta.Dataset, variable: meta.Variable, dimension: str) -> Any:
    """The array cut as the collection is, along the dimensions that are not cut into partitions."""
    chunks = {item.name: item.value for item in metadata.chunks}
    sizes = {
        axis: chunks[name]
        for axis, name in enumerate(variable.dimensions)
        if name != dimension and chunks.get(name, -1) != -1
    }
    return array.rechunk(sizes) if sizes else array


def _blocks(
    collection: Collection,
    keys: Sequence[Key],
    sizes: Sequence[int],
    variable: meta.Variable,
    extents: Sequence[int],
    dtype: np.dtype[Any],
) -> Any:
    """The array of Dask of one variable: one block for each partition."""
    cut = variable.dimensions.index(collection.dimension)
    label = f"{variable.name}-{uuid.uuid4().hex}"
    graph: dict[Any, Any] = {}
    for position, (key, size) in enumerate(zip(keys, sizes, strict=True)):
        shape = tuple(size if axis == cut else extent for axis, extent in enumerate(extents))
        index = [position if axis == cut else 0 for axis in range(len(extents))]
        read = partial(read_items, collection, key, variable.name, shape)
        graph[(label, *index)] = (read,)
    blocks = [tuple(sizes) if axis == cut else (size,) for axis, size in enumerate(extents)]
    layers = HighLevelGraph.from_collections(label, graph, dependencies=[])
    return da.Array(layers, label, tuple(blocks), dtype=dtype)
