"""Collections: datasets that are partitioned along one dimension."""

from __future__ import annotations

import datetime
import io
import warnings
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal, NoReturn

import fsspec
import numpy as np
from dask.base import compute, is_dask_collection

import partita
from partita import _native
from partita._arguments import micros
from partita._xarray import from_xarray, variables_of
from partita.collection import map_arguments
from partita.compat.zcollection import merging, meta, partitioning, sync
from partita.compat.zcollection._engine import (
    arguments_of,
    describe,
    from_native,
    handler_of,
    metadata_of,
    schema_of,
    to_native,
)
from partita.compat.zcollection._reader import accepts
from partita.compat.zcollection._selection import Key, as_key, condition, nothing
from partita.compat.zcollection._stores import file_system, located, normalized
from partita.compat.zcollection.collection import abc
from partita.compat.zcollection.collection.abc import (
    PartitionFilter,
    PartitionFilterCallback,
    PartitioningProperties,
    ReadOnlyCollection,
)
from partita.compat.zcollection.collection.callable_objects import UpdateCallable
from partita.compat.zcollection.dataset import Dataset, Variable, get_variable_metadata
from partita.compat.zcollection.merging.time_series import native_arguments

if TYPE_CHECKING:
    import xarray as xr

__all__ = [
    "Collection",
    "PartitionFilter",
    "PartitionFilterCallback",
    "PartitioningProperties",
    "UpdateCallable",
    "abc",
]

Mode = Literal["r", "w"]


class Collection(ReadOnlyCollection):
    """A collection; usually made by `create_collection` and `open_collection`.

    Parameters
    ----------
    axis : str
        The variable along which it grows.
    ds : meta.Dataset
        What it holds.
    partition_handler : partitioning.Partitioning
        How rows are mapped to partitions.
    partition_base_dir : str
        Where it is, or is to be.
    mode : str, default 'w'
        ``"r"`` to read, ``"w"`` to write as well.
    filesystem : fsspec.AbstractFileSystem or str, optional
        Where the directory is; local files if not given.
    synchronizer : sync.Sync, optional
        What is held while the collection changes.
    """

    def __init__(
        self,
        axis: str,
        ds: meta.Dataset,
        partition_handler: partitioning.Partitioning,
        partition_base_dir: str,
        *,
        mode: Mode | None = None,
        filesystem: fsspec.AbstractFileSystem | str | None = None,
        synchronizer: sync.Sync | None = None,
    ) -> None:
        if axis not in ds.variables:
            raise ValueError(f"The variable {axis!r} is not defined in the dataset.")
        for name in partition_handler.variables:
            if name not in ds.variables:
                raise ValueError(f"The partitioning key {name!r} is not defined in the dataset.")
        mode = checked_mode(mode or "w")
        fs = file_system(filesystem)
        location = located(fs, normalized(fs, partition_base_dir))
        url, options = location.connected()
        handler, single = arguments_of(partition_handler), location.single_writer
        try:
            native = _native.Collection.create(
                url, schema_of(ds), axis, handler, 2, False, [], options, single
            )
        except partita.AlreadyExists:
            native = _native.Collection.open(url, options, mode == "r", single)
        super().__init__(
            partita.Collection(native, options, read_only=mode == "r", single_writer=single),
            ds,
            partition_handler,
            partition_base_dir,
            mode=mode,
            filesystem=fs,
            synchronizer=synchronizer,
        )

    @classmethod
    def from_config(
        cls,
        path: str,
        *,
        mode: Mode | None = None,
        filesystem: fsspec.AbstractFileSystem | str | None = None,
        synchronizer: sync.Sync | None = None,
    ) -> Collection:
        """Open the collection in a directory.

        Raises
        ------
        ValueError
            If there is none.
        """
        mode = checked_mode(mode or "r")
        fs = file_system(filesystem)
        location = located(fs, normalized(fs, path))
        url, options = location.connected()
        single = location.single_writer
        try:
            native = _native.Collection.open(url, options, mode == "r", single)
        except partita.NotFound as error:
            raise ValueError(f"zarr collection not found at path {path!r}") from error
        self = cls.__new__(cls)
        ReadOnlyCollection.__init__(
            self,
            partita.Collection(native, options, read_only=mode == "r", single_writer=single),
            metadata_of(native.schema()),
            handler_of(native.config()),
            path,
            mode=mode,
            filesystem=fs,
            synchronizer=synchronizer,
        )
        return self

    def __str__(self) -> str:
        return (
            f"<{type(self).__name__} filesystem={type(self.fs).__name__!r}, "
            f"partition_base_dir={self.partition_properties.dir!r}, mode={self.mode!r}>"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        arguments = (self.partition_properties.dir, self.mode, self.fs, self.synchronizer)
        return _reopened, arguments

    def _must_be_writable(self) -> None:
        if self.mode == "r":
            refuse_to_write()

    def insert(
        self,
        ds: xr.Dataset | Dataset,
        *,
        merge_callable: merging.MergeCallable | None = None,
        npartitions: int | None = None,
        validate: bool = False,
        **kwargs: Any,
    ) -> Iterator[str]:
        """Insert rows, each into its partition, in one commit; the rows may come in any order.

        Parameters
        ----------
        ds : xarray.Dataset or Dataset
            Where a variable is missing, rows that are replaced keep its values if
            `merging.merge_time_series` merges them; others get its fill value, NaN or NaT, and are
            refused if it has none of these. Variables that the collection lacks are refused.
        merge_callable : callable, optional
            How the rows are merged with those that a partition has, such as
            `merging.merge_time_series`; without it they replace them.
        npartitions : int, optional
            Accepted for the sake of programs: all cores are used in any case.
        validate : bool, default False
            Refuse what is not described exactly as the collection is.
        **kwargs
            Given to `merge_callable`.

        Returns
        -------
        iterator of str
            The directories of the partitions that the rows belong to.
        """
        self._must_be_writable()
        data = ds if isinstance(ds, Dataset) else Dataset.from_xarray(ds)
        described = data.metadata()
        for name in self.metadata.missing_variables(described):
            missing = self.metadata.variables[name]
            if set(missing.dimensions) <= set(data.dimensions):
                described.add_variable(missing)
        if validate and described != self.metadata:
            raise ValueError("Provided dataset's metadata do not match the collection's ones")
        if npartitions is not None and npartitions < 1:
            raise ValueError("The number of partitions must be positive")
        if data.dimensions.get(self.partition_properties.dim, 0) == 0:
            raise ValueError(
                "The number of sections must be greater than zero: the dataset has no rows"
            )
        native = self._native._native
        rows = to_native(data, native.schema())
        merge = self._merge(merge_callable, data.delayed, kwargs)
        with self.synchronizer:
            written = native.insert(rows, merge, None, None)
        return iter([self._path(as_key(partition.key)) for partition in written])

    def _merge(self, function: Any, delayed: bool, kwargs: dict[str, Any]) -> dict[str, Any]:
        if function is None:
            return {"name": "replace", "tolerance": None, "function": None, "fill": []}
        if function is merging.merge_time_series:
            return native_arguments(**kwargs)
        schema = self._native._native.schema()
        axis, dimension = self.axis, self.partition_properties.dim

        def call(old: _native.Dataset, new: _native.Dataset) -> _native.Dataset:
            pair = [
                from_native(d, self.metadata, delayed=delayed, release=False) for d in (old, new)
            ]
            return to_native(function(*pair, axis, dimension, **kwargs), schema)

        return {"name": "", "tolerance": None, "function": call, "fill": []}

    def update(
        self,
        func: UpdateCallable,
        /,
        *args: Any,
        delayed: bool = True,
        depth: int = 0,
        filters: PartitionFilter = None,
        npartitions: int | None = None,
        selected_variables: Sequence[str] | None = None,
        trim: bool = True,
        variables: Sequence[str] | None = None,
        **kwargs: Any,
    ) -> None:
        """Work out variables anew, partition by partition, in one commit.

        Parameters
        ----------
        func : callable
            Given the dataset of a partition and the other arguments, it returns arrays by the names
            of variables. If it has a parameter ``partition_info``, it is also given the dimension
            that is cut, and which of the rows are the partition's own.
        delayed, filters, selected_variables
            As of `load`.
        depth : int, default 0
            How many of the selected partitions before and behind its own the function is given.
        npartitions : int, optional
            How many partitions are worked on at once.
        trim : bool, default True
            With a depth, the function returns as many rows as it was given; otherwise those of the
            partition alone.
        variables : sequence of str, optional
            What the function returns. It is not called to find that out, whether given or not.
        """
        self._must_be_writable()
        if not callable(func):
            raise TypeError("func must be a callable")
        if depth < 0:
            raise ValueError("Depth must be non-negative.")
        keys = self._keys(filters)
        if not keys:
            warnings.warn(
                "You are trying to update an empty collection.", RuntimeWarning, stacklevel=2
            )
            return
        dimension = self.partition_properties.dim
        informed = accepts(func, "partition_info")
        schema = self._native._native.schema().to_dict()
        known = {variable["name"]: variable for variable in variables_of(schema)}
        reader = self._reader

        def updating(
            pairs: list[tuple[str, int]], data: _native.Dataset, own: tuple[int, int]
        ) -> _native.Dataset | None:
            rows = slice(*own)
            if depth:
                zds, rows = reader.with_neighbours(
                    as_key(pairs), keys, depth, selected_variables, delayed
                )
            else:
                zds = from_native(data, self.metadata, delayed=delayed)
            told = {"partition_info": (dimension, rows)} if informed else {}
            try:
                found = func(zds, *args, **told, **kwargs)
            except Exception as error:
                if variables is not None:
                    raise
                raise RuntimeError(
                    f"An error occurred while applying the function {func} with the arguments "
                    f"{args} and {kwargs} to the partition. The error is: {type(error)!r}: {error}"
                ) from error
            unknown = set(found) - set(known)
            if unknown:
                raise ValueError(f"Unknown variables: {unknown}")
            cut = rows if depth and trim else slice(None)
            arrays = {n: _stored(a, known[n], dimension, cut) for n, a in found.items()}
            return from_xarray(arrays, known=known, rounded=True) if arrays else None

        names = reader.names(() if depth else selected_variables) or [self.axis]
        arguments = map_arguments(condition(keys), names, 0, 0, npartitions)
        with self.synchronizer:
            self._native._native.update(updating, arguments, None)

    def add_variable(self, variable: meta.Variable | Variable) -> None:
        """Add a variable, filled with its fill value, to every partition.

        One of floats or times without a fill value gets NaN or NaT as such.
        """
        self._must_be_writable()
        variable = get_variable_metadata(variable).with_missing()
        if self.partition_properties.dim not in variable.dimensions:
            raise ValueError("The new variable must use the partitioning axis.")
        self.metadata.add_variable(variable)
        try:
            with self.synchronizer:
                self._native._native.add_variable("", describe(variable), None)
        except BaseException:
            del self.metadata.variables[variable.name]
            raise

    def drop_variable(self, variable: str) -> None:
        """Remove a variable from every partition."""
        self._must_be_writable()
        if variable in self.partitioning.variables:
            raise ValueError(f"The variable {variable!r} is part of the partitioning.")
        if variable not in self.metadata.variables:
            raise ValueError(f"The variable {variable!r} does not exist in the collection.")
        if self.partition_properties.dim not in self.metadata.variables[variable].dimensions:
            raise ValueError(f"The variable {variable!r} is part of the immutable dataset.")
        with self.synchronizer:
            self._native._native.drop_variable(variable, None)
        del self.metadata.variables[variable]

    def drop_partitions(
        self,
        *,
        filters: PartitionFilter = None,
        timedelta: datetime.timedelta | None = None,
    ) -> list[str]:
        """Remove partitions; returns the directories of those that are gone.

        Parameters
        ----------
        filters : str or callable, optional
            As of `partitions`.
        timedelta : datetime.timedelta, optional
            Only those that were written longer ago than this.
        """
        self._must_be_writable()
        age = None if timedelta is None else micros("timedelta", timedelta)
        with self.synchronizer:
            keys = self._keys(filters)
            if not keys:
                return []
            gone = self._native._native.drop_partitions(condition(keys)._native, age)
        return [self._path(as_key(partition.key)) for partition in gone]

    def copy(
        self,
        target: str,
        *,
        filters: PartitionFilter = None,
        filesystem: fsspec.AbstractFileSystem | None = None,
        mode: Mode = "w",
        npartitions: int | None = None,
        synchronizer: sync.Sync | None = None,
    ) -> Collection:
        """Copy the collection to another directory, which has none; returns the copy.

        Parameters
        ----------
        filters : str or callable, optional
            As of `partitions`.
        filesystem : fsspec.AbstractFileSystem, optional
            Where the directory is; the file system of this collection if not given.
        mode, synchronizer
            How the copy is opened.
        npartitions : int, optional
            Accepted for the sake of programs: all cores are used in any case.
        """
        fs = self.fs if filesystem is None else file_system(filesystem)
        location = located(fs, normalized(fs, target))
        where = None
        if filters is not None:
            keys = self._keys(filters)
            where = condition(keys) if keys else nothing(self._native.fields)
        try:
            self._native.copy(location.path, where=where, **location.arguments)
        except partita.AlreadyExists as error:
            raise ValueError(f"Target {target} already exists") from error
        return type(self).from_config(target, mode=mode, filesystem=fs, synchronizer=synchronizer)

    def validate_partitions(self, filters: PartitionFilter = None, fix: bool = False) -> list[str]:
        """The directories of partitions that cannot be read; a warning tells each of them.

        Parameters
        ----------
        filters : str or callable, optional
            As of `partitions`.
        fix : bool, default False
            Remove them.
        """
        keys = self._keys(filters)
        if not keys:
            return []
        where = condition(keys)
        damaged = {problem.key for problem in self._native.verify(where, data=True)}
        invalid: dict[Key, str] = {}
        for key in keys:
            path = self._partitioning.join(key, "/")
            if any(item == path or item.startswith(f"{path}/") for item in damaged):
                invalid[key] = self._path(key)
                warnings.warn(f"Invalid partition: {invalid[key]}", RuntimeWarning, stacklevel=2)
        if fix and invalid:
            self._must_be_writable()
            self._native._native.drop_partitions(condition(invalid)._native, None)
        return list(invalid.values())


def refuse_to_write() -> NoReturn:
    """Say that a collection was opened for reading."""
    raise io.UnsupportedOperation("not writable")


def checked_mode(mode: str) -> Mode:
    """A mode in which collections are opened."""
    if mode not in ("r", "w"):
        raise ValueError(f"The mode {mode!r} is not supported.")
    return mode  # type: ignore[return-value]


def _stored(array: Any, described: dict[str, Any], dimension: str, rows: slice) -> Any:
    """The array that a function returned, cut to the rows of the partition."""
    if is_dask_collection(array):
        (array,) = compute(array)
    if isinstance(array, Variable):
        array = array.values
    if not hasattr(array, "dtype"):
        array = np.asarray(array)
    if rows != slice(None):
        axis = list(described["dimensions"]).index(dimension)
        array = array[(slice(None),) * axis + (rows,)]
    return tuple(described["dimensions"]), array


def _reopened(
    path: str, mode: Mode, fs: fsspec.AbstractFileSystem, synchronizer: sync.Sync
) -> Collection:
    return Collection.from_config(path, mode=mode, filesystem=fs, synchronizer=synchronizer)
