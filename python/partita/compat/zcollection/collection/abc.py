"""Reading collections."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import dask.bag
import dask.threaded
import fsspec

import partita
from partita.compat.zcollection import meta, partitioning, sync
from partita.compat.zcollection._reader import Reader, accepts
from partita.compat.zcollection._selection import (
    Key,
    PartitionFilter,
    PartitionFilterCallback,
    as_key,
    predicate_of,
)
from partita.compat.zcollection._stores import located, normalized
from partita.compat.zcollection.collection.callable_objects import MapCallable, PartitionCallable
from partita.compat.zcollection.dataset import Array, Dataset, get_dataset_variable_properties

__all__ = [
    "Indexer",
    "PartitionCallable",
    "PartitionFilter",
    "PartitionFilterCallback",
    "PartitioningProperties",
    "ReadOnlyCollection",
]

Indexer = Iterable[tuple[Key, slice]]
"""Keys of partitions with the rows that are wanted of them."""


@dataclass(frozen=True)
class PartitioningProperties:
    """Where the partitions are, and the dimension that is cut into them."""

    dir: str
    dim: str


class ThreadedBag(dask.bag.Bag):  # type: ignore[misc, unused-ignore]
    """A bag that is computed by threads of this process, unless Dask has a client."""

    __dask_scheduler__ = staticmethod(dask.threaded.get)


def bag_of(
    items: Sequence[Any], function: Any, partition_size: int | None, npartitions: int | None
) -> dask.bag.Bag:
    """The lazy results of a function of each item."""
    bag = dask.bag.from_sequence(items, partition_size=partition_size, npartitions=npartitions)
    bag = bag.map(function)
    return ThreadedBag(bag.dask, bag.name, bag.npartitions)


class ReadOnlyCollection:
    """What a collection can do without being changed."""

    CONFIG = ".zcollection"

    def __init__(
        self,
        native: partita.Collection,
        metadata: meta.Dataset,
        handler: partitioning.Partitioning,
        directory: str,
        *,
        mode: Literal["r", "w"],
        filesystem: fsspec.AbstractFileSystem,
        synchronizer: sync.Sync | None,
    ) -> None:
        self._native = native
        self._metadata = metadata
        self._partitioning = handler
        self._mode = mode
        self._fs = filesystem
        self._synchronizer = synchronizer or sync.NoSync()
        self._properties = PartitioningProperties(
            normalized(filesystem, directory), native.dimension
        )

    @property
    def axis(self) -> str:
        """The variable along which the collection grows."""
        return self._native.axis

    @property
    def metadata(self) -> meta.Dataset:
        """What the collection holds."""
        return self._metadata

    @property
    def partitioning(self) -> partitioning.Partitioning:
        """How rows are mapped to partitions."""
        return self._partitioning

    @property
    def partition_properties(self) -> PartitioningProperties:
        """Where the partitions are, and the dimension that is cut into them."""
        return self._properties

    @property
    def mode(self) -> Literal["r", "w"]:
        """Whether it was opened for reading or for writing."""
        return self._mode

    @property
    def fs(self) -> fsspec.AbstractFileSystem:
        """The file system in which the collection was opened."""
        return self._fs

    @property
    def synchronizer(self) -> sync.Sync:
        """What is held while the collection changes."""
        return self._synchronizer

    @property
    def immutable(self) -> bool:
        """Whether there are variables that all partitions share."""
        dimension = self._properties.dim
        return bool(self._metadata.select_variables_by_dims((dimension,), predicate=False))

    def is_readonly(self) -> bool:
        """Whether it was opened for reading."""
        return self._mode == "r"

    def is_locked(self) -> bool:
        """Whether somebody holds the synchronizer."""
        return self._synchronizer.is_locked()

    @property
    def _reader(self) -> Reader:
        return Reader(self._native, self._metadata)

    def _keys(self, filters: PartitionFilter = None) -> list[Key]:
        """The keys of the partitions that a filter selects, in order."""
        selected = predicate_of(filters)
        keys = (as_key(partition.key) for partition in self._native.partitions)
        return [key for key in keys if selected(key)]

    def _path(self, key: Key) -> str:
        return "/".join((self._properties.dir, self._partitioning.join(key, "/")))

    def partitions(
        self,
        *,
        cache: Iterable[str] | None = None,
        lock: bool = False,
        filters: PartitionFilter = None,
        relative: bool = False,
    ) -> Iterator[str]:
        """The directories of the partitions that a filter selects, in the order of their keys.

        Parameters
        ----------
        cache : iterable of str, optional
            The directories to choose from, instead of those that there are.
        lock : bool, default False
            Hold the synchronizer meanwhile.
        filters : str or callable, optional
            An expression over the fields of the keys, or a function of a dictionary of them.
        relative : bool, default False
            Leave out the directory of the collection.
        """
        if cache is not None:
            selected = predicate_of(filters)
            paths = [path for path in cache if selected(self._partitioning.parse(path))]
        elif lock:
            with self._synchronizer:
                paths = [self._path(key) for key in self._keys(filters)]
        else:
            paths = [self._path(key) for key in self._keys(filters)]
        base = self._properties.dir
        yield from (os.path.relpath(path, base) if relative else path for path in paths)

    def load(
        self,
        *,
        delayed: bool = True,
        filters: PartitionFilter = None,
        indexer: Indexer | None = None,
        selected_variables: Iterable[str] | None = None,
    ) -> Dataset | None:
        """The selected partitions as one dataset, or None if there are none.

        Parameters
        ----------
        delayed : bool, default True
            Arrays of Dask, read when they are computed; otherwise arrays of numpy.
        filters : str or callable, optional
            As of `partitions`.
        indexer : iterable, optional
            Keys of partitions with the rows that are wanted of them.
        selected_variables : iterable of str, optional
            Which variables; all if not given.
        """
        if indexer is not None:
            return self._load_rows(indexer, delayed, filters, selected_variables)
        keys = self._keys(filters)
        return self._reader.read(keys, selected_variables, delayed) if keys else None

    def _load_rows(
        self,
        indexer: Indexer,
        delayed: bool,
        filters: PartitionFilter,
        selected_variables: Iterable[str] | None,
    ) -> Dataset | None:
        wanted: dict[Key, list[slice]] = {}
        for key, rows in indexer:
            wanted.setdefault(as_key(key), []).append(rows)
        keys = [key for key in self._keys(filters) if key in wanted]
        names = None if selected_variables is None else list(selected_variables)
        dimension = self._properties.dim
        pieces = []
        for key in keys:
            partition = self._reader.read([key], names, delayed)
            if dimension not in partition.dimensions:
                return partition
            pieces += [partition.isel({dimension: rows}) for rows in wanted[key]]
        if not pieces:
            return None
        return pieces[0].concat(pieces[1:], dimension) if len(pieces) > 1 else pieces[0]

    def map(
        self,
        func: MapCallable,
        /,
        *args: Any,
        delayed: bool = True,
        filters: PartitionFilter = None,
        partition_size: int | None = None,
        npartitions: int | None = None,
        selected_variables: Sequence[str] | None = None,
        **kwargs: Any,
    ) -> dask.bag.Bag:
        """A bag of Dask with the key of each partition and what a function of it returns.

        Parameters
        ----------
        func : callable
            Given the dataset of a partition, and the other arguments.
        delayed, filters, selected_variables
            As of `load`.
        partition_size, npartitions : int, optional
            How the bag is cut.
        """
        if not callable(func):
            raise TypeError("func must be a callable")
        call = partial(
            _mapped,
            reader=self._reader,
            func=partial(func, **kwargs) if kwargs else func,
            args=args,
            delayed=delayed,
            selected=selected_variables,
        )
        return bag_of(self._keys(filters), call, partition_size, npartitions)

    def map_overlap(
        self,
        func: MapCallable,
        /,
        *args: Any,
        delayed: bool = True,
        depth: int = 1,
        filters: PartitionFilter = None,
        partition_size: int | None = None,
        npartition: int | None = None,
        selected_variables: Sequence[str] | None = None,
        **kwargs: Any,
    ) -> dask.bag.Bag:
        """The same as `map`, where each partition comes with its neighbours.

        Parameters
        ----------
        func : callable
            If it has a parameter ``partition_info``, it is also given the dimension that is cut,
            and which of the rows are the partition's own.
        depth : int, default 1
            How many of the selected partitions before and behind.
        """
        if not callable(func):
            raise TypeError("func must be a callable")
        if depth < 0:
            raise ValueError("Depth must be non-negative.")
        keys = self._keys(filters)
        call = partial(
            _mapped_with_neighbours,
            reader=self._reader,
            keys=keys,
            depth=depth,
            informed=accepts(func, "partition_info"),
            func=partial(func, **kwargs) if kwargs else func,
            args=args,
            delayed=delayed,
            selected=selected_variables,
        )
        return bag_of(keys, call, partition_size, npartition)

    def iterate_on_records(self, *, relative: bool = False) -> Iterator[tuple[str, Any]]:
        """The directories of the partitions, each with its group of Zarr."""
        import zarr

        for path in self.partitions():
            if int(zarr.__version__.split(".")[0]) < 3:
                group = zarr.open_consolidated(self._fs.get_mapper(path), mode="r")
            else:
                group = zarr.open_consolidated(self._zarr_store(path), mode="r", zarr_format=2)
            yield os.path.relpath(path, self._properties.dir) if relative else path, group

    def _zarr_store(self, path: str) -> Any:
        if not located(self._fs, path).arguments:
            return path
        from fsspec.implementations.asyn_wrapper import AsyncFileSystemWrapper
        from fsspec.implementations.dirfs import DirFileSystem
        from zarr.storage import FsspecStore

        inner = self._fs
        while isinstance(inner, DirFileSystem):
            inner = inner.fs
        if inner.async_impl:
            return FsspecStore.from_mapper(self._fs.get_mapper(path), read_only=True)
        waited_for = AsyncFileSystemWrapper(self._fs, asynchronous=True)
        return FsspecStore(waited_for, read_only=True, path=path)

    def variables(self, selected_variables: Iterable[str] | None = None) -> tuple[Array, ...]:
        """The variables, without items."""
        return get_dataset_variable_properties(self._metadata, selected_variables)


def _mapped(
    key: Key,
    *,
    reader: Reader,
    func: Any,
    args: tuple[Any, ...],
    delayed: bool,
    selected: Iterable[str] | None,
) -> tuple[Key, Any]:
    return as_key(key), func(reader.read([as_key(key)], selected, delayed), *args)


def _mapped_with_neighbours(
    key: Key,
    *,
    reader: Reader,
    keys: Sequence[Key],
    depth: int,
    informed: bool,
    func: Any,
    args: tuple[Any, ...],
    delayed: bool,
    selected: Iterable[str] | None,
) -> tuple[Key, Any]:
    key = as_key(key)
    zds, own = reader.with_neighbours(key, keys, depth, selected, delayed)
    told = {"partition_info": (reader.collection.dimension, own)} if informed else {}
    return key, func(zds, *args, **told)
