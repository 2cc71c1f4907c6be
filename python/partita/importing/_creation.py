"""The collection that an import makes: of what the first file holds, without rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from partita._arrays import numpy_module
from partita._arrow import optional
from partita._packing import MEANING, SPANS, is_time_units
from partita.collection import Collection
from partita.dataset import create_collection
from partita.errors import InvalidArgument, PartitaError
from partita.importing._remote import Reading
from partita.importing._sources import open_source
from partita.importing._tasks import Scanned, named
from partita.partitioning import Date

__all__ = ["Combine", "new_collection", "without_rows"]

# Chunks of the largest variable get about so many bytes, if nothing is said.
_CHUNK_BYTES = 4 << 20

Combine = str | Callable[..., Mapping[str, Any]]
"""How attributes are combined: a word of xarray, or a function of their mappings."""


def new_collection(
    url: Any,
    scanned: Sequence[Scanned],
    combine_attrs: Combine,
    reading: Reading,
    options: Mapping[str, Any],
) -> Collection:
    """A new collection of what the first file holds, with the attributes of all, without rows.

    The options are those of `create_collection`.
    """
    first = scanned[0]
    is_zarr3 = str(url).startswith("icechunk+") or options["zarr_format"] == 3
    if first.groups and not is_zarr3:
        raise InvalidArgument(
            f"{first.path}: the file has groups ({', '.join(first.groups)}), for which a "
            "collection needs zarr_format=3 (--zarr 3); groups=False (--no-groups) leaves them "
            "out",
            context={"file": first.path},
        )
    try:
        data = open_source(first.path, reading)
        by = options["partition_by"]
        if isinstance(by, Date) and by.column in data.variables:
            _check_dates(data[by.column], is_zarr3)
        data = _combined(data, scanned, combine_attrs)
        (dimension,) = data[options["axis"]].dims
        chunks = dict(options["chunks"] or {})
        chunks.setdefault(dimension, _rows_of_a_chunk(data, dimension))
        empty = without_rows(data, dimension)
        return create_collection(url, empty, insert=False, **{**options, "chunks": chunks})
    except PartitaError as error:
        raise named(error, first.path) from None


def without_rows(data: Any, dimension: str) -> Any:
    """The dataset or the tree with no item along a dimension, and its other data loaded."""

    def cut(node: Any) -> Any:
        return node.isel({dimension: slice(0, 0)}) if dimension in node.dims else node

    found = data.map_over_datasets(cut) if hasattr(data, "subtree") else cut(data)
    return found.load()


def _check_dates(variable: Any, is_zarr3: bool) -> None:
    """Refuses numbers by whose dates a collection cannot be partitioned."""
    units, calendar = variable.attrs.get("units"), variable.attrs.get("calendar")
    if variable.dtype.kind == "M":
        return
    if not is_time_units(units):
        raise InvalidArgument(
            f"variable {variable.name} holds no times, and a collection cannot be partitioned by "
            f"its date: its units are {units!r}",
            context={"variable": str(variable.name)},
        )
    if not is_zarr3:
        raise InvalidArgument(
            f"variable {variable.name} has dates of the calendar {calendar}, which is not numpy's "
            "(cftime); a collection that is partitioned by them needs zarr_format=3 (--zarr 3), "
            "since ZCollection could not open one in Zarr 2",
            context={"variable": str(variable.name), "calendar": str(calendar)},
        )


def _rows_of_a_chunk(data: Any, dimension: str) -> int:
    """The rows per chunk with which chunks of the largest variable are well sized for reading."""
    np = numpy_module()
    nodes = data.subtree if hasattr(data, "subtree") else [data]
    sizes = [
        variable.dtype.itemsize
        * int(np.prod([n for name, n in variable.sizes.items() if name != dimension]))
        for node in nodes
        for variable in node.variables.values()
        if dimension in variable.dims
    ]
    return max(_CHUNK_BYTES // max(max(sizes, default=1), 1), 1)


def _combined(data: Any, scanned: Sequence[Scanned], how: Combine) -> Any:
    """The dataset with attributes of all files."""
    if how == "override":
        return data
    xarray = optional("xarray", "reading files of arrays")

    def attributes(name: str, own: Mapping[Any, Any]) -> dict[Any, Any]:
        given = [one.attributes[name] for one in scanned if name in one.attributes]
        sets = [xarray.Dataset(attrs=_split(one)[1]) for one in given]
        try:
            merged = xarray.merge(sets, combine_attrs=how).attrs
        except ValueError as error:
            raise InvalidArgument(
                f"the attributes of {name.rstrip('/') or 'the files'} differ: {error}",
                context={"variable": name},
            ) from error
        return {**merged, **_split(own)[0]}

    def with_attributes(node: Any, prefix: str) -> Any:
        node = node.copy()
        node.attrs = attributes(prefix, node.attrs)
        for name, variable in node.variables.items():
            variable.attrs = attributes(f"{prefix}{name}", variable.attrs)
        return node

    if not hasattr(data, "subtree"):
        return with_attributes(data, "")
    nodes = {
        node.path: with_attributes(node.to_dataset(inherit=False), f"{node.path}/".lstrip("/"))
        for node in data.subtree
    }
    return xarray.DataTree.from_dict(nodes)


def _split(attributes: Mapping[Any, Any]) -> tuple[dict[Any, Any], dict[Any, Any]]:
    """The attributes by which numbers are decoded, and the others."""
    units = attributes.get("units")
    is_decoded = is_time_units(units) or (isinstance(units, str) and units in SPANS)
    keys = {*MEANING, "_FillValue"} if is_decoded else {*MEANING, "_FillValue"} - {"units"}
    meaning = {key: value for key, value in attributes.items() if key in keys}
    return meaning, {key: value for key, value in attributes.items() if key not in keys}
