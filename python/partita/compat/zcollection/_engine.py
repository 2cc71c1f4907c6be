"""Datasets and descriptions as the engine takes them, and back."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

import dask.array as da
from dask.base import compute

import partita
from partita import _native
from partita._arrays import fill_of, to_numpy
from partita._encoding import attributes_of
from partita._xarray import describe_variable, from_xarray
from partita.compat.zcollection import meta, partitioning
from partita.compat.zcollection.dataset import Dataset
from partita.compat.zcollection.variable import Array, DelayedArray, new_variable
from partita.partitioning import Partitioning, Resolution, partitioning_arguments

__all__ = ["arguments_of", "from_native", "handler_of", "metadata_of", "schema_of", "to_native"]

_UNITS = dict(zip(partitioning.date.RESOLUTION, partitioning.date.UNITS, strict=True))
_CODES = {unit: code for code, unit in _UNITS.items()}


def arguments_of(handler: partitioning.Partitioning) -> dict[str, Any]:
    """The engine's form of a partitioning."""
    native: Partitioning
    if type(handler) is partitioning.Date:
        resolution = cast(Resolution, _UNITS[handler.resolution])
        native = partita.Date(handler.variables[0], resolution)
    elif type(handler) is partitioning.Sequence:
        native = partita.Sequence(list(handler.variables))
    else:
        raise NotImplementedError(
            f"collections are partitioned by Date or by Sequence, not by {type(handler).__name__}"
        )
    return partitioning_arguments(native)


def handler_of(config: dict[str, Any]) -> partitioning.Partitioning:
    """The partitioning that the engine describes."""
    if config["kind"] == "date":
        return partitioning.Date(config["variables"], _CODES[config["resolution"]])
    if config["kind"] == "sequence":
        return partitioning.Sequence(config["variables"])
    raise ValueError("codec not available: 'GroupedSequence'")


def schema_of(metadata: meta.Dataset) -> _native.Schema:
    """The engine's form of what a collection holds."""
    chunks = {item.name: _chunk_size(item.value) for item in metadata.chunks}
    dimensions = [
        {"name": name, "size": None, "chunks": chunks.get(name), "shards": None}
        for name in metadata.dimensions
    ]
    described = {
        "attributes": attributes_of("the dataset", _attributes(metadata.attrs)),
        "dimensions": dimensions,
        "variables": [describe(variable) for variable in metadata.variables.values()],
        "groups": {},
        "chunk_bytes": metadata.block_size_limit,
    }
    return _native.Schema.from_dict(described)


def describe(variable: meta.Variable) -> dict[str, Any]:
    """The engine's form of one variable."""
    return describe_variable(
        variable.name,
        variable.dimensions,
        variable.dtype,
        variable.fill_value,
        _attributes(variable.attrs),
        {"compressor": variable.compressor, "filters": variable.filters},
    )


def _attributes(attributes: Iterable[meta.Attribute]) -> dict[str, Any]:
    return dict(attribute.get_config() for attribute in attributes)


def _chunk_size(size: Any) -> Any:
    return "whole" if size == -1 else size


def metadata_of(schema: _native.Schema) -> meta.Dataset:
    """What a collection holds."""
    described = schema.to_dict()
    if described["groups"]:
        raise ValueError("collections with groups are opened with partita.open_collection")
    dimensions = described["dimensions"]
    cut = [(d["name"], d["chunks"]) for d in dimensions if d["chunks"] is not None]
    return meta.Dataset(
        [dimension["name"] for dimension in dimensions],
        [_variable_of(variable) for variable in described["variables"]],
        attrs=[meta.Attribute(*item) for item in described["attributes"].items()],
        chunks=[meta.Dimension(name, -1 if size == "whole" else size) for name, size in cut],
        block_size_limit=described["chunk_bytes"],
    )


def _variable_of(described: dict[str, Any]) -> meta.Variable:
    codecs = described["codecs"] or {}
    dtype = described["dtype"]
    return meta.Variable(
        described["name"],
        object if dtype in ("str", "bytes") else dtype,
        dimensions=described["dimensions"],
        attrs=[meta.Attribute(*item) for item in described["attributes"].items()],
        compressor=meta.codec_of(codecs.get("compressor")),
        fill_value=fill_of(dtype, described["fill"]),
        filters=[meta.codec_of(config) for config in codecs.get("filters", ())],
    )


def to_native(data: Dataset, schema: _native.Schema) -> _native.Dataset:
    """The engine's form of a dataset; what is lazy is computed."""
    arrays = compute(*(variable.array for variable in data.variables.values()))
    variables = {
        name: (variable.dimensions, array, _attributes(variable.attrs), {"_FillValue": fill})
        for (name, variable), array in zip(data.variables.items(), arrays, strict=True)
        for fill in [variable.fill_value]
    }
    return from_xarray(variables, schema=schema)


def from_native(
    data: _native.Dataset, metadata: meta.Dataset, *, delayed: bool, release: bool = True
) -> Dataset:
    """The dataset that the engine gave, with the attributes of the collection."""
    variables = []
    for described in data.contents(release)["variables"]:
        items = to_numpy(described["data"], described["shape"])
        variables.append(with_data(metadata.variables[described["name"]], items, delayed))
    return Dataset(
        variables,
        attrs=metadata.attrs,
        delayed=delayed,
        chunks=metadata.chunks,
        block_size_limit=metadata.block_size_limit,
    )


def with_data(variable: meta.Variable, items: Any, delayed: bool) -> Array | DelayedArray:
    """A variable with the items that the engine gave, or with an array of Dask."""
    if delayed and not isinstance(items, da.Array):
        # Hashing the items for a name of the graph would take longer than reading them.
        items = da.from_array(items, name=False)
    kind: type[Array | DelayedArray] = DelayedArray if delayed else Array
    return new_variable(
        kind,
        name=variable.name,
        array=items,
        dimensions=variable.dimensions,
        attrs=variable.attrs,
        compressor=variable.compressor,
        fill_value=variable.fill_value,
        filters=variable.filters,
    )
