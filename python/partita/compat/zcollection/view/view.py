"""The view itself."""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import dask.bag
import fsspec
import numcodecs
import numpy as np
from dask.base import compute

from partita.compat.zcollection import meta, sync
from partita.compat.zcollection._reader import accepts
from partita.compat.zcollection._selection import (
    Key,
    PartitionFilter,
    PartitionFilterCallback,
    as_key,
)
from partita.compat.zcollection._stores import file_system, normalized
from partita.compat.zcollection.collection import Collection, UpdateCallable
from partita.compat.zcollection.collection.abc import Indexer, bag_of
from partita.compat.zcollection.collection.callable_objects import MapCallable
from partita.compat.zcollection.dataset import (
    Array,
    Dataset,
    Variable,
    get_dataset_variable_properties,
    get_variable_metadata,
)
from partita.compat.zcollection.view.arrays import (
    DIMENSIONS,
    attributes_of,
    create_array,
    has_array,
    read_array,
    resize_array,
    write_array,
)
from partita.compat.zcollection.view.reader import ViewReader, called
from partita.compat.zcollection.view.reference import (
    ViewReference,
    file_system_of,
    read_filter,
    written_filter,
)

__all__ = ["View", "ViewUpdateCallable"]

ViewUpdateCallable = Callable[[Iterable[tuple[Dataset, str]], str], None]

CHECKSUM = ".checksum"


class View:
    """Variables laid over a collection; made by `create_view` and `open_view`."""

    CONFIG = ".view"

    def __init__(
        self,
        base_dir: str,
        view_ref: ViewReference,
        *,
        ds: meta.Dataset | None,
        filesystem: fsspec.AbstractFileSystem | str | None = None,
        filters: PartitionFilter = None,
        synchronizer: sync.Sync | None = None,
    ) -> None:
        self.fs = file_system(filesystem)
        self.base_dir = normalized(self.fs, base_dir)
        self.view_ref = Collection.from_config(
            view_ref.path, mode="r", filesystem=view_ref.filesystem
        )
        self.metadata = ds or meta.Dataset(self.view_ref.metadata.dimensions, [])
        self.synchronizer = synchronizer or sync.NoSync()
        self.filters = filters
        if not self.fs.exists(f"{self.base_dir}/{self.CONFIG}"):
            self.fs.makedirs(self.base_dir, exist_ok=True)
            self._write_config()
            self._cover(filters)

    @classmethod
    def from_config(
        cls,
        path: str,
        *,
        filesystem: fsspec.AbstractFileSystem | str | None = None,
        synchronizer: sync.Sync | None = None,
    ) -> View:
        """Open the view in a directory, which may have been moved since it was created.

        Raises
        ------
        ValueError
            If there is none.
        """
        fs = file_system(filesystem)
        config = f"{normalized(fs, path)}/{cls.CONFIG}"
        if not fs.exists(config):
            raise ValueError(f"zarr view not found at path {path!r}")
        data = json.loads(fs.cat_file(config))
        reference = data["view_ref"]
        return cls(
            path,
            ViewReference(reference["path"], file_system_of(reference["fs"], fs)),
            ds=meta.Dataset.from_config(data["metadata"]),
            filesystem=fs,
            filters=read_filter(data["filters"]),
            synchronizer=synchronizer,
        )

    def __str__(self) -> str:
        return (
            f"{type(self).__name__}<filesystem={type(self.fs).__name__!r}, "
            f"base_dir={self.base_dir!r}>"
        )

    def _write_config(self) -> None:
        config = {
            "base_dir": self.base_dir,
            "filters": written_filter(self.filters),
            "metadata": self.metadata.get_config(),
            "view_ref": {
                "path": self.view_ref.partition_properties.dir,
                "fs": json.loads(self.view_ref.fs.to_json()),
            },
        }
        text = json.dumps(config, indent=4)
        self.fs.pipe_file(f"{self.base_dir}/{self.CONFIG}", text.encode())

    # Partitions

    def _path(self, key: Key) -> str:
        return f"{self.base_dir}/{self.view_ref.partitioning.join(key, '/')}"

    def _keys(self, filters: PartitionFilter = None) -> list[Key]:
        return [key for key in self.view_ref._keys(filters) if self._covers(key)]

    def _covers(self, key: Key) -> bool:
        return has_array(self.fs, f"{self._path(key)}/{CHECKSUM}")

    def partitions(self, filters: PartitionFilter = None) -> Iterator[str]:
        """The directories of the partitions that the view covers and a filter selects."""
        return iter([self._path(key) for key in self._keys(filters)])

    def _cover(self, filters: PartitionFilter) -> None:
        """Take note of the rows of partitions that are not covered yet."""
        with self.synchronizer:
            for key in self.view_ref._keys(filters):
                if not self._covers(key):
                    self._create_partition(key)

    def _axis(self, key: Key) -> np.ndarray[Any, Any]:
        data = self.view_ref._reader.read([key], [self.view_ref.axis], False)
        axis: np.ndarray[Any, Any] = np.ascontiguousarray(data[self.view_ref.axis].array)
        return axis

    def _create_partition(self, key: Key) -> None:
        for variable in self.metadata.variables.values():
            self._create_variable(key, variable)
        self._write_checksum(key, self._axis(key))

    def _write_checksum(self, key: Key, axis: np.ndarray[Any, Any]) -> None:
        variable = meta.Variable(
            CHECKSUM, axis.dtype, compressor=numcodecs.Blosc(), fill_value=np.zeros((), axis.dtype)
        )
        attributes = {
            DIMENSIONS: self.view_ref.partition_properties.dim,
            "checksum": hashlib.sha256(axis.tobytes()).hexdigest(),
        }
        path, chunks = f"{self._path(key)}/{CHECKSUM}", [max(size, 1) for size in axis.shape]
        create_array(self.fs, path, variable, axis.shape, chunks, attributes)
        write_array(self.fs, path, axis)

    def _create_variable(self, key: Key, variable: meta.Variable) -> None:
        template = self.view_ref.metadata.search_same_dimensions_as(variable).name
        shape = self.view_ref._reader.read([key], [template], True)[template].shape
        cut = {item.name: item.value for item in self.view_ref.metadata.chunks}
        chunks = []
        for name, size in zip(variable.dimensions, shape, strict=True):
            wanted = cut.get(name)
            chunks.append(
                max(min(wanted, size) if isinstance(wanted, int) and wanted > 0 else size, 1)
            )
        path = f"{self._path(key)}/{variable.name}"
        attributes = {DIMENSIONS: list(variable.dimensions)}
        create_array(self.fs, path, variable, shape, chunks, attributes)

    # Variables

    def variables(self, selected_variables: Iterable[str] | None = None) -> tuple[Array, ...]:
        """The variables of the view, without items."""
        return get_dataset_variable_properties(self.metadata, selected_variables)

    def add_variable(self, variable: meta.Variable | Variable) -> None:
        """Add a variable, filled with its fill value, to every partition of the view.

        The base must have a variable with the same dimensions. A variable of floats or times
        without a fill value gets NaN or NaT as such.
        """
        variable = get_variable_metadata(variable).with_missing()
        name = variable.name
        if name in self.view_ref.metadata.variables or name in self.metadata.variables:
            raise ValueError(f"Variable {name} already exists")
        self.metadata.add_variable(variable)
        keys = []
        try:
            self.view_ref.metadata.search_same_dimensions_as(variable)
            with self.synchronizer:
                keys = self._keys()
                for key in keys:
                    self._create_variable(key, variable)
                self._write_config()
        except BaseException:
            del self.metadata.variables[name]
            self._remove_variable(keys, name)
            raise

    def drop_variable(self, varname: str) -> None:
        """Remove a variable of the view."""
        self._must_be_own(varname)
        with self.synchronizer:
            del self.metadata.variables[varname]
            self._write_config()
            self._remove_variable(self._keys(), varname)

    def _remove_variable(self, keys: Iterable[Key], name: str) -> None:
        for key in keys:
            path = f"{self._path(key)}/{name}"
            if has_array(self.fs, path):
                self.fs.rm(path, recursive=True)

    def _must_be_own(self, name: str) -> None:
        if name in self.view_ref.metadata.variables:
            raise ValueError(f"Variable {name} is read-only")
        if name not in self.metadata.variables:
            raise ValueError(f"Variable {name} does not exist")

    # Reading

    def _reader(self, keys: Iterable[Key]) -> ViewReader:
        if not self.metadata.variables:
            raise ValueError("The view has no variables")
        paths = {key: self._path(key) for key in keys}
        return ViewReader(self.view_ref._reader, self.fs, self.base_dir, self.metadata, paths)

    def load(
        self,
        *,
        delayed: bool = True,
        filters: PartitionFilter = None,
        indexer: Indexer | None = None,
        selected_variables: Iterable[str] | None = None,
    ) -> Dataset | None:
        """The selected partitions, with the variables of the base and of the view.

        The parameters are those of `Collection.load`.
        """
        keys = self._keys(filters) if self.metadata.variables else []
        reader = self._reader(keys)
        if indexer is None:
            return reader.read(keys, selected_variables, delayed) if keys else None
        wanted: dict[Key, list[slice]] = {}
        for key, rows in indexer:
            wanted.setdefault(as_key(key), []).append(rows)
        names = None if selected_variables is None else list(selected_variables)
        dimension = self.view_ref.partition_properties.dim
        pieces = []
        for key in keys:
            if key in wanted:
                data = reader.read([key], names, delayed)
                pieces += [data.isel({dimension: rows}) for rows in wanted[key]]
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
        selected_variables: Iterable[str] | None = None,
        **kwargs: Any,
    ) -> dask.bag.Bag:
        """A bag of Dask with the key of each partition and what a function of it returns.

        The parameters are those of `Collection.map`.
        """
        return self._bag(
            func,
            args,
            kwargs,
            None,
            delayed,
            filters,
            partition_size,
            npartitions,
            selected_variables,
        )

    def map_overlap(
        self,
        func: MapCallable,
        /,
        *args: Any,
        depth: int = 1,
        delayed: bool = True,
        filters: PartitionFilter = None,
        partition_size: int | None = None,
        npartitions: int | None = None,
        selected_variables: Iterable[str] | None = None,
        **kwargs: Any,
    ) -> dask.bag.Bag:
        """The same as `map`, where each partition comes with its neighbours.

        The parameters are those of `Collection.map_overlap`.
        """
        if depth < 0:
            raise ValueError("Depth must be greater than or equal to 0")
        return self._bag(
            func,
            args,
            kwargs,
            depth,
            delayed,
            filters,
            partition_size,
            npartitions,
            selected_variables,
        )

    def _bag(
        self,
        func: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        depth: int | None,
        delayed: bool,
        filters: PartitionFilter,
        partition_size: int | None,
        npartitions: int | None,
        selected: Iterable[str] | None,
    ) -> dask.bag.Bag:
        if not callable(func):
            raise TypeError("func must be a callable")
        keys = self._keys(filters)
        call = partial(
            called,
            reader=self._reader(keys),
            keys=keys,
            depth=depth,
            informed=depth is not None and accepts(func, "partition_info"),
            func=partial(func, **kwargs) if kwargs else func,
            args=args,
            selected=None if selected is None else list(selected),
            delayed=delayed,
        )
        return bag_of(keys, call, partition_size, npartitions)

    # Changing

    def update(
        self,
        func: UpdateCallable,
        /,
        *args: Any,
        depth: int = 0,
        delayed: bool = True,
        filters: PartitionFilter = None,
        npartitions: int | None = None,
        selected_variables: Iterable[str] | None = None,
        trim: bool = True,
        **kwargs: Any,
    ) -> None:
        """Work out variables of the view anew, partition by partition.

        The parameters are those of `Collection.update`.
        """
        if depth < 0:
            raise ValueError("The depth must be positive")
        keys = self._keys(filters)
        reader = self._reader(keys)
        if not keys:
            warnings.warn(
                "The update function is not applied because no data is selected with the given "
                "filters.",
                stacklevel=2,
            )
            return
        call = partial(
            called,
            reader=reader,
            keys=keys,
            depth=depth,
            informed=accepts(func, "partition_info"),
            func=partial(func, **kwargs) if kwargs else func,
            args=args,
            selected=None if selected_variables is None else list(selected_variables),
            delayed=delayed,
            with_rows=True,
        )

        def updated(key: Key) -> None:
            try:
                _, found, rows = call(key)
            except Exception as error:
                raise RuntimeError(
                    f"An error occurred while applying the function {func} with the arguments "
                    f"{args} and {kwargs} to the partition. The error is: {type(error)!r}: {error}"
                ) from error
            for name in found:
                self._must_be_own(name)
            for name, array in found.items():
                (array,) = compute(array)
                if depth and trim:
                    dimensions = self.metadata.variables[name].dimensions
                    axis = dimensions.index(self.view_ref.partition_properties.dim)
                    array = array[(slice(None),) * axis + (rows,)]
                write_array(self.fs, f"{self._path(key)}/{name}", array)

        with self.synchronizer, ThreadPoolExecutor(npartitions or os.cpu_count()) as pool:
            # Whatever is wrong with the function shows before others are called.
            updated(keys[0])
            for _ in pool.map(updated, keys[1:]):
                pass

    # Following the base

    def _sync_partition(self, key: Key, dry_run: bool) -> bool:
        """Bring a partition in line with the base; whether that was needed."""
        path = self._path(key)
        if not self._covers(key):
            if not dry_run:
                self._create_partition(key)
            return True
        axis = self._axis(key)
        digest = hashlib.sha256(axis.tobytes()).hexdigest()
        if attributes_of(self.fs, f"{path}/{CHECKSUM}")["checksum"] == digest:
            return False
        if not dry_run:
            known = read_array(self.fs, f"{path}/{CHECKSUM}")
            if axis.size > known.size and np.array_equal(known, axis[: known.size]):
                self._extend_partition(key, axis)
            else:
                self.fs.rm(path, recursive=True)
                self._create_partition(key)
        return True

    def _extend_partition(self, key: Key, axis: np.ndarray[Any, Any]) -> None:
        dimension = self.view_ref.partition_properties.dim
        for variable in self.metadata.variables.values():
            if dimension in variable.dimensions:
                position = variable.dimensions.index(dimension)
                resize_array(self.fs, f"{self._path(key)}/{variable.name}", position, axis.size)
        self._write_checksum(key, axis)

    def is_synced(self) -> bool:
        """Whether the view has the partitions of the base, with the rows that they have."""
        keys = self.view_ref._keys()
        return not any(self._sync_partition(key, dry_run=True) for key in keys)

    def sync(self, filters: PartitionFilter = None) -> PartitionFilterCallback:
        """Bring the view in line with the base.

        New rows at the end of a partition get fill values; where rows changed otherwise, the
        partition of the view is made anew.

        Parameters
        ----------
        filters : str or callable, optional
            Which partitions the view covers from now on.

        Returns
        -------
        callable
            A filter that selects the partitions that were brought in line.
        """
        if filters is not None:
            self.filters = filters
            self._write_config()
            self._cover(filters)
        with self.synchronizer:
            keys = self.view_ref._keys()
            changed = [dict(key) for key in keys if self._sync_partition(key, dry_run=False)]
        return lambda key: key in changed
