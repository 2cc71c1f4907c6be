"""Collections: labelled arrays partitioned in time or sequence."""

from __future__ import annotations

import datetime as dt
import os
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from partita import _native
from partita._arguments import micros, moment, whole
from partita._arrow import optional
from partita._credentials import carried
from partita._display import collection_text
from partita._encoding import attributes_of, restored
from partita._functions import Calling, Inserting, Updating
from partita._progress import Progress, reporting
from partita._steps import OnlyBlocking, Steps, steps
from partita._xarray import describe_variable, held_by, missing_of, to_xarray, variables_of
from partita.collection_scan import CollectionScan
from partita.engines._request import LastRun
from partita.errors import CommitConflict, InvalidArgument, PartitaError
from partita.expression import Expr, Where, predicate
from partita.index import Index, Selection, place_of, tabulating
from partita.merge import Merge
from partita.partitioning import Partitioning, partitioning_of
from partita.records import (
    CollectionCommit,
    CollectionPartition,
    Garbage,
    History,
    Problem,
    Retained,
)
from partita.staged_partitions import StagedPartitions, forms_of
from partita.stores import FileSystem, connection

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from typing_extensions import Self

    from partita.engines._sql import Query
    from partita.table import Table

__all__ = ["Collection"]

State = int | str | dt.datetime
"""The number of a commit, a name or an id, or a time."""


class Collection:
    """An open collection; made by `create_collection`, `open_collection` and `open`.

    Every read sees the state that one commit left, and every change is one commit. It may be
    pickled and used in other processes. One in an Icechunk repository, whose URL begins with
    ``icechunk+``, has branches and tags, and can be read as it was.

    Examples
    --------
    >>> import numpy as np, xarray as xr, partita as pt
    >>> time = np.arange("2022-01-30", "2022-02-03", dtype="M8[D]").astype("M8[us]")
    >>> ds = xr.Dataset({"ssh": (("time", "x"), np.arange(8.0).reshape(4, 2))}, {"time": time})
    >>> ssh = pt.create_collection(
    ...     "memory://collections/ssh", ds, axis="time", partition_by=pt.Date("time", "month")
    ... )
    >>> [partition.path for partition in ssh.partitions]
    ['year=2022/month=01', 'year=2022/month=02']
    >>> ssh.read(where="time >= '2022-02-01'").ssh.values
    array([[4., 5.],
           [6., 7.]])
    """

    def __init__(
        self,
        native: _native.Collection,
        storage_options: dict[str, Any],
        *,
        read_only: bool,
        single_writer: bool,
    ) -> None:
        self._native = native
        self._storage_options = storage_options
        self._read_only = read_only
        self._single_writer = single_writer
        self._attached: list[Index] = []
        self._last_run: LastRun[CollectionScan] = LastRun()

    # What it is

    @property
    def url(self) -> str:
        """The URL."""
        return self._native.url

    @property
    def name(self) -> str:
        """The last component of the URL."""
        place = self.url.partition("?branch=")[0].partition("?at=")[0]
        return place.rstrip("/").rsplit("/", 1)[-1]

    @property
    def branch(self) -> str | None:
        """The branch that is read and gets commits; None in plain Zarr, and of an older state."""
        return self._native.branch

    @property
    def axis(self) -> str:
        """The variable along which the collection grows."""
        axis: str = self._native.config()["axis"]
        return axis

    @property
    def dimension(self) -> str:
        """The dimension that is cut into partitions."""
        dimension: str = self._native.config()["dimension"]
        return dimension

    @property
    def zarr_format(self) -> int:
        """The format of Zarr in which it is stored: 2 or 3."""
        format: int = self._native.config()["zarr_format"]
        return format

    @property
    def partition_by(self) -> Partitioning:
        """How rows are mapped to partitions."""
        return partitioning_of(self._native.config())

    @property
    def fields(self) -> list[str]:
        """The names of the fields of keys, for conditions."""
        return list(self._native.config()["fields"])

    @property
    def variables(self) -> list[str]:
        """The paths of the variables."""
        return self._native.schema().names()

    @property
    def attributes(self) -> dict[str, Any]:
        """The attributes of the collection."""
        attributes: dict[str, Any] = self._native.schema().to_dict()["attributes"]
        return attributes

    @property
    def partitions(self) -> list[CollectionPartition]:
        """The partitions, ordered by the values of their keys."""
        return self.list_partitions()

    def list_partitions(
        self, where: Where | None = None, *, sizes: bool = False
    ) -> list[CollectionPartition]:
        """The partitions for which a condition on the fields of their keys is true.

        Parameters
        ----------
        where : expression, str, list or dict, optional
            Such as ``"year == 2022 and month in (1, 2)"``.
        sizes : bool, default False
            Also tell rows, objects and bytes, which takes requests for each partition.

        Examples
        --------
        >>> import partita as pt
        >>> c = pt.create_collection(
        ...     "memory://examples/list_partitions",
        ...     {"time": ("time", [0, 1, 5]), "v": ("time", [1.0, 2.0, 3.0])},
        ...     axis="time",
        ...     partition_by=pt.GroupedSequence(["time"], size=5),
        ...     zarr_format=3,
        ... )
        >>> [partition.path for partition in c.list_partitions("time >= 5")]
        ['time=5']
        """
        found = predicate_of(where)
        return self._native.sizes(found) if sizes else self._native.partitions(found)

    def coverage(self) -> dict[str, float]:
        """The share of each month that partitions cover, from the first to the last; 0 is a gap.

        It goes by the keys: a month of a collection by months is covered if its partition is there,
        one of a collection by days as far as its days are. One listing of the partitions.

        Raises
        ------
        InvalidArgument
            If the collection is not partitioned by months or less.

        Examples
        --------
        >>> import numpy as np, partita as pt
        >>> days = np.array(["2022-01-05", "2022-03-01"], "M8[us]")
        >>> c = pt.create_collection(
        ...     "memory://examples/coverage",
        ...     {"time": ("time", days)},
        ...     axis="time",
        ...     partition_by=pt.Date("time", "month"),
        ...     zarr_format=3,
        ... )
        >>> c.coverage()
        {'2022-01': 1.0, '2022-02': 0.0, '2022-03': 1.0}
        """
        from partita._notebook.pictures import covered

        if "month" not in self.fields:
            raise InvalidArgument(
                "only a collection that is partitioned by months or less has a coverage"
            )
        return covered([partition.key for partition in self.partitions])

    def plot_coverage(self, ax: Axes | None = None) -> Axes:
        """Plot `coverage` with matplotlib: a row for each year, a column for each month.

        Examples
        --------
        >>> import numpy as np, partita as pt
        >>> days = np.array(["2022-01-05", "2022-03-01"], "M8[us]")
        >>> c = pt.create_collection(
        ...     "memory://examples/plot_coverage",
        ...     {"time": ("time", days)},
        ...     axis="time",
        ...     partition_by=pt.Date("time", "month"),
        ...     zarr_format=3,
        ... )
        >>> c.plot_coverage().get_title()
        'share of each month that is there'
        """
        from partita._plots import plot_coverage

        return plot_coverage(self.coverage(), ax)

    @steps
    def refresh(self) -> Steps[Collection]:
        """Look at what the collection is by now; reads and changes do so by themselves.

        Examples
        --------
        >>> import partita as pt
        >>> c = pt.create_collection(
        ...     "memory://examples/refresh",
        ...     {"time": ("time", [0, 1, 5]), "v": ("time", [1.0, 2.0, 3.0])},
        ...     axis="time",
        ...     partition_by=pt.GroupedSequence(["time"], size=5),
        ...     zarr_format=3,
        ... )
        >>> other = pt.open_collection(c.url)
        >>> other.add_variable("w", ("time",), "f4")
        >>> c.refresh().variables
        ['time', 'v', 'w']
        """
        yield self._native.refresh
        return self

    # Reading

    @steps
    def read(
        self,
        where: Where | None = None,
        *,
        rows: Selection | None = None,
        variables: Sequence[str] | None = None,
        decode: bool = False,
        chunks: Mapping[str, Any] | str | int | None = None,
        progress: Progress = False,
    ) -> Steps[xr.Dataset | Any]:
        """Read partitions into one dataset, joined in the order of their keys.

        Parameters
        ----------
        where : expression, str, list or dict, optional
            Which rows: a condition on the fields of the keys (``"year == 2022"``), on the axis, or
            on another variable that has the partitioned dimension alone. Partitions and chunks
            without such rows are not fetched.
        rows : Selection, optional
            Of these only the rows that `Index.query` found. Nothing is listed, and only chunks with
            such rows are fetched; `CommitConflict` is raised if a partition was changed since.
        variables : sequence of str, optional
            Which variables, by their paths; all if not given.
        decode : bool, default False
            Make values that equal the fill value missing, and decode packed numbers and times, as
            ``xarray.open_dataset`` does. By default numbers are as they are stored, fill values
            too. Attributes that were stored, such as ``scale_factor`` and the ``_FillValue``
            beside it, are among the attributes, and `xarray.decode_cf` makes of the result what
            `decode` gives. A fill value that came in the encoding of values, where nothing else
            packs them, is in the encoding again: `xarray.decode_cf` does not look there, and
            xarray writes it into files, which then read as what `decode` gives.
        chunks : mapping, int or "auto", optional
            Read later, by Dask. Blocks are stored chunks; a number of items for a dimension, such
            as ``{"time": 10_000}``, puts several together, -1 all, and ``"auto"`` as many as Dask
            is configured for. Reading raises `CommitConflict` if a partition was changed meanwhile.
        progress : bool or callable, default False
            True shows a bar on standard error; a callable is called with (done, total) bytes.

        Returns
        -------
        xarray.Dataset
            Or an ``xarray.DataTree``, if the collection has groups. Where no row is wanted, the
            partitioned dimension has no items.

        Examples
        --------
        >>> import partita as pt
        >>> c = pt.create_collection(
        ...     "memory://examples/read",
        ...     {"time": ("time", [0, 1, 5]), "v": ("time", [1.0, 2.0, 3.0])},
        ...     axis="time",
        ...     partition_by=pt.GroupedSequence(["time"], size=5),
        ...     zarr_format=3,
        ... )
        >>> c.read("v > 1", variables=["time"]).time.values
        array([1, 5])
        """
        if isinstance(variables, str):
            raise InvalidArgument(f"variables= takes a list of names: [{variables!r}]")
        names = None if variables is None else list(variables)
        if chunks is not None:
            lazily = partial(self._read_lazily, where, rows, names, decode, chunks)
            return (yield OnlyBlocking(lazily, "read(chunks=) with a collection that blocks"))
        with reporting(progress) as report:
            data = yield partial(
                self._native.read, predicate_of(where), names, report, chosen(rows)
            )
        return to_xarray(data, decode=decode, release=True)

    def _read_lazily(
        self,
        where: Where | None,
        rows: Selection | None,
        names: list[str] | None,
        decode: bool,
        chunks: Mapping[str, Any] | str | int,
    ) -> Any:
        optional("dask.array", "read(chunks=)")
        from partita._lazy import chunked, lazy_dataset

        predicate = predicate_of(where)
        options: dict[str, Any] | None = {} if decode else None
        lazy, commit = lazy_dataset(
            self._reference(), self.dimension, predicate, names, options, chosen(rows)
        )
        found = None if rows is None else rows._native.parts()
        token = (self.url, commit, repr(where), found, names, decode)
        return chunked(lazy, self.dimension, chunks, token)

    def scan(
        self, variables: Sequence[str] | None = None, where: Where | None = None
    ) -> CollectionScan:
        """Describe a read of rows: one for each item of the variables with the most dimensions.

        The columns are those of `to_table`: the axis, the other dimensions, and the variables.

        Parameters
        ----------
        variables : sequence of str, optional
            Which variables; all that are partitioned if not given. They decide how many rows there
            are, whatever columns a query uses.
        where : expression, str, list or dict, optional
            Which rows, as for `read`.

        Examples
        --------
        >>> import partita as pt
        >>> c = pt.create_collection(
        ...     "memory://examples/collection_scan",
        ...     {"time": ("time", [0, 1, 5]), "v": ("time", [1.0, 2.0, 3.0])},
        ...     axis="time",
        ...     partition_by=pt.GroupedSequence(["time"], size=5),
        ...     zarr_format=3,
        ... )
        >>> c.scan(where="v > 1").to_arrow()["time"].to_pylist()
        [1, 5]
        """
        from partita._convert import LongForm

        if isinstance(variables, str):
            raise InvalidArgument(f"variables= takes a list of names: [{variables!r}]")
        self._native.refresh()
        condition = None if where is None else Expr(predicate(where))
        parts = [self.name]
        if variables is not None:
            parts.append(f"variables={list(variables)}")
        if condition is not None:
            parts.append(f"where={condition}")
        return CollectionScan(
            LongForm(self._native, self.axis, self.dimension, variables),
            ", ".join(parts),
            (self, variables, condition),
            condition,
            last_run=self._last_run,
        )

    def sql(self, query: str) -> Query:
        """Describe a query in SQL, in which the rows of `scan` are the table ``t``; DuckDB runs it.

        It reads the variables that the query uses. Conditions on the axis, and on others along the
        partitioned dimension without missing values, decide which partitions and chunks are read.
        If the variables of the collection have different dimensions, choose those of one kind with
        `scan`.

        Examples
        --------
        >>> import partita as pt
        >>> c = pt.create_collection(
        ...     "memory://examples/collection_sql",
        ...     {"cycle": ("n", [1, 1, 2]), "v": ("n", [1.0, 2.0, 5.0])},
        ...     axis="cycle",
        ...     partition_by=pt.Sequence(["cycle"]),
        ... )
        >>> query = c.sql("select cycle, avg(v) as mean from t group by cycle order by cycle")
        >>> query.to_pandas()
           cycle  mean
        0      1   1.5
        1      2   5.0
        """
        return self.scan().sql(query)

    @property
    def last_run(self) -> CollectionScan | None:
        """The scan that another engine ran last of the rows; None if there was none.

        Its ``explain()`` shows what the engine requested, and what was read.
        """
        return self._last_run.scan

    def _reference(self) -> Any:
        from partita._lazy import Reference

        return Reference(self.url, self._storage_options, self._single_writer, self._native)

    # Indexes

    def build_index(
        self,
        what: str | Sequence[str] | Callable[..., Any],
        url: str | os.PathLike[str],
        *,
        where: Where | None = None,
        variables: Sequence[str] | None = None,
        overwrite: bool = False,
        attach: bool = False,
        workers: int | None = None,
        storage_options: Mapping[str, Any] | None = None,
        filesystem: FileSystem | None = None,
        single_writer: bool = False,
        progress: Progress = False,
    ) -> Index:
        """Make an index, by which rows are found and read by values.

        Parameters
        ----------
        what : str, sequence of str or callable
            Variables along the partitioned dimension: the index tells of runs of rows in which all
            of them keep their values. Or a function that is given the ``xarray.Dataset`` of each
            partition and returns a table (a DataFrame, a pyarrow Table, a dict of arrays, a
            structured array, or None) with the columns ``start`` and ``stop``, a slice of the rows
            of the partition, and others of its own.
        url : str or path-like
            Where its file is to be. A bare name, such as ``"cycle.parquet"``, keeps it with the
            collection, where no library takes it for a partition.
        where : expression, str, list or dict, optional
            Of which partitions it tells: a condition on the fields of the keys.
        variables : sequence of str, optional
            Which variables the function is given; all if not given. Changes of others leave the
            index as it is.
        overwrite : bool, default False
            Take the place of a file that is there.
        attach : bool, default False
            Have changes made through this object refresh the index, as `attach` does.
        workers : int, optional
            How many partitions are worked on at once.
        storage_options, filesystem, single_writer
            Of the store of the file, as for `create_collection`; those of the collection if it is
            kept with that.
        progress : bool or callable, default False
            True shows a bar on standard error; a callable is called with (done, total) partitions.

        Examples
        --------
        >>> import partita as pt
        >>> c = pt.create_collection(
        ...     "memory://examples/build_index",
        ...     {"time": ("time", [0, 1, 5]), "v": ("time", [1.0, 2.0, 3.0])},
        ...     axis="time",
        ...     partition_by=pt.GroupedSequence(["time"], size=5),
        ...     zarr_format=3,
        ... )
        >>> index = c.build_index("v", "v.parquet")
        >>> index.query("v > 1").rows
        2
        """
        place = place_of(url, storage_options, filesystem, False, single_writer)
        function = tabulating(what) if callable(what) else None
        if not callable(what):
            if variables is not None:
                raise InvalidArgument("variables= is for what a function is given")
            variables = [what] if isinstance(what, str) else what
        with reporting(progress) as report:
            native = _native.Index.build(
                self._native,
                place,
                None if variables is None else list(variables),
                function,
                predicate_of(where),
                overwrite,
                workers,
                report,
            )
        index = Index(native, self, place, function)
        if attach:
            self.attach(index)
        return index

    def attach(self, index: Index) -> None:
        """Have changes made through this object refresh an index, after their commits.

        If that fails the change is made nevertheless, and a warning says that the index is behind.

        Examples
        --------
        >>> import partita as pt
        >>> c = pt.create_collection(
        ...     "memory://examples/attach",
        ...     {"time": ("time", [0, 1, 5]), "v": ("time", [1.0, 2.0, 3.0])},
        ...     axis="time",
        ...     partition_by=pt.GroupedSequence(["time"], size=5),
        ...     zarr_format=3,
        ... )
        >>> index = c.build_index("v", "v.parquet")
        >>> c.attach(index)
        >>> _ = c.insert({"time": ("time", [6]), "v": ("time", [4.0])}, merge="upsert")
        >>> index.query("v > 2").rows
        2
        """
        if index.collection.url != self.url:
            raise InvalidArgument(f"that is an index of {index.collection.url}, not of {self.url}")
        self._attached.append(index)

    @property
    def indexes(self) -> list[str]:
        """The names of the indexes that are kept with the collection."""
        return self._native.indexes()

    def _follow(self) -> None:
        for index in self._attached:
            try:
                index.refresh()
            except PartitaError as error:
                warnings.warn(f"the commit is made, but {index!r} is behind: {error}", stacklevel=3)
            except KeyboardInterrupt as error:
                error.args = (f"the commit is made, but {index!r} may be behind",)
                raise

    # Changing

    @steps
    def insert(
        self,
        data: Any,
        *,
        merge: Merge = None,
        encode: bool = False,
        decode: bool = False,
        fill: Mapping[str, Any] | None = None,
        key: str | None = None,
        client: Any = None,
        progress: Progress = False,
    ) -> Steps[list[CollectionPartition]]:
        """Insert rows, each into its partition, in one commit.

        Rows may come in any order. Attributes, fill values, packing and codecs are those of the
        collection. Every value is stored exactly, or refused with its place: numbers that come in
        another packing (``scale_factor``, ``add_offset``, ``_Unsigned``, ``units`` of times, fill
        values) are decoded by their own and encoded by that of the collection. Of a dataset with
        arrays of Dask, each partition is computed and staged by a task, and all are committed here.

        Where a variable is missing it is filled: with what `fill` says, else with its fill value,
        else with "not a number" or "not a time"; without any of these the insert is refused. Where
        ``"upsert"`` and ``"time_series"`` put a row in the place of an old one, it keeps the values
        of that.

        Parameters
        ----------
        data : xarray.Dataset, xarray.DataTree or mapping
            A mapping has variables by name, each ``(dimensions, array)``. Masked items are missing.
        merge : str, merge.Strategy or callable, optional
            How the rows are merged with those that a partition has; see `partita.merge`. Without
            it, the partitions concerned are replaced. A callable is given the old and the new
            ``xarray.Dataset`` of a partition and returns the merged one.
        encode : bool, default False
            The data are values, to be packed as the collection has them. By default those of which
            neither attributes nor encoding say otherwise are numbers as they are stored.
        decode : bool, default False
            Give a function that merges decoded values, and pack what it returns: see `read`.
        fill : mapping, optional
            What is put where variables are missing, by their paths: ``{"flag": 0}``.
        key : str, optional
            Your name for this commit: one of the same name that was made before is not made again.
        client : distributed.Client, optional
            Whose workers compute arrays of Dask; the scheduler that Dask is set to without it.
        progress : bool or callable, default False
            True shows a bar on standard error; a callable is called with (done, total) bytes.

        Returns
        -------
        list of CollectionPartition
            The partitions that the rows belong to.

        Examples
        --------
        >>> import partita as pt
        >>> c = pt.create_collection(
        ...     "memory://examples/insert",
        ...     {"time": ("time", [0, 1, 5]), "v": ("time", [1.0, 2.0, 3.0])},
        ...     axis="time",
        ...     partition_by=pt.GroupedSequence(["time"], size=5),
        ...     zarr_format=3,
        ... )
        >>> later = {"time": ("time", [1, 6]), "v": ("time", [20.0, 4.0])}
        >>> _ = c.insert(later, merge="upsert")
        >>> c.read().v.values
        array([ 1., 20.,  3.,  4.])
        """
        inserting = Inserting(merge, encode, decode, fill)
        with reporting(progress) as report:
            if is_lazy_dataset(data):
                from partita.dask import _collections

                lazily = partial(
                    _collections.insert,
                    self._reference(),
                    data,
                    inserting.stage,
                    encode=encode,
                    key=key,
                    client=client,
                    report=report,
                )
                written = yield OnlyBlocking(lazily, "insert arrays of Dask in a thread")
            else:
                dataset, arguments = inserting.prepare(self._native, data)
                written = yield partial(self._native.insert, dataset, arguments, key, report)
        self._follow()
        partitions: list[CollectionPartition] = written
        return partitions

    @steps
    def stage(
        self,
        data: Any,
        *,
        merge: Merge = None,
        encode: bool = False,
        decode: bool = False,
        fill: Mapping[str, Any] | None = None,
        shared: bool = True,
    ) -> Steps[StagedPartitions]:
        """Write rows to objects that nobody can see yet, merged with those that are there.

        Any number of processes may stage rows of different partitions; `commit` makes all of them
        visible at once. What nobody commits is garbage.

        Parameters
        ----------
        data, merge, encode, decode, fill
            As of `insert`.
        shared : bool, default True
            Also stage the variables that are the same for all partitions, if they are not stored
            yet. Of many processes one is to do so.

        Examples
        --------
        >>> import numpy as np, partita as pt
        >>> rows = lambda *cycles: {"cycle": ("n", np.array(cycles))}
        >>> c = pt.create_collection(
        ...     "memory://collections/stage",
        ...     rows(1),
        ...     axis="cycle",
        ...     partition_by=pt.Sequence(["cycle"]),
        ...     zarr_format=3,
        ... )
        >>> c.commit([c.stage(rows(2)), c.stage(rows(3))])
        2
        >>> c.read().cycle.values.tolist()
        [1, 2, 3]
        """
        inserting = Inserting(merge, encode, decode, fill)
        dataset, arguments = inserting.prepare(self._native, data)
        return self._staged((yield partial(self._native.stage_insert, dataset, arguments, shared)))

    def stage_update(
        self,
        function: Callable[..., Any],
        where: Where | None = None,
        *,
        variables: Sequence[str] | None = None,
        depth: int = 0,
        depth_rows: int = 0,
        decode: bool = False,
        workers: int | None = None,
    ) -> StagedPartitions:
        """Work out variables anew, as `update` does, in objects that nobody can see yet.

        Examples
        --------
        >>> import partita as pt
        >>> c = pt.create_collection(
        ...     "memory://examples/stage_update",
        ...     {"time": ("time", [0, 1, 5]), "v": ("time", [1.0, 2.0, 3.0])},
        ...     axis="time",
        ...     partition_by=pt.GroupedSequence(["time"], size=5),
        ...     zarr_format=3,
        ... )
        >>> staged = c.stage_update(lambda part: {"v": part.v * 10}, "time < 5")
        >>> c.read().v.values
        array([1., 2., 3.])
        >>> _ = c.commit(staged, operation="update")
        >>> c.read().v.values
        array([10., 20.,  3.])
        """
        self._native.refresh()
        updating = self._updating(function, decode)
        arguments = map_arguments(where, variables, depth, depth_rows, workers)
        return self._staged(self._native.stage_update(updating, arguments))

    def _staged(self, changes: list[Any]) -> StagedPartitions:
        paths = tuple(path for path, *_ in changes)
        size = sum(bytes for _, _, bytes, _ in changes)
        return StagedPartitions(self.url, paths, size, tuple(form for *_, form in changes))

    @steps
    def commit(
        self,
        staged: StagedPartitions | Sequence[StagedPartitions],
        *,
        key: str | None = None,
        operation: str = "insert",
    ) -> Steps[int]:
        """Make staged partitions part of the collection, in one atomic commit; return its number.

        Parameters
        ----------
        staged : StagedPartitions or sequence of StagedPartitions
            What `stage` and `stage_update` returned, here or in other processes. If the commit
            fails it stays, to be committed again or discarded.
        key : str, optional
            Your name for this commit: one that is in the history is not made again.
        operation : str, default "insert"
            What the history calls it.

        Raises
        ------
        CommitConflict
            If other writers have changed partitions since these were staged: nothing is committed,
            and the context names them. Discard them and stage their rows again.

        Examples
        --------
        >>> import partita as pt
        >>> c = pt.create_collection(
        ...     "memory://collections/commit",
        ...     {"time": ("time", [0, 1, 5]), "v": ("time", [1.0, 2.0, 3.0])},
        ...     axis="time",
        ...     partition_by=pt.GroupedSequence(["time"], size=5),
        ...     zarr_format=3,
        ... )
        >>> rows = {"time": ("time", [6]), "v": ("time", [4.0])}
        >>> staged = [c.stage(rows, merge="upsert")]
        >>> _ = c.commit(staged, key="delivery 7")
        >>> _ = c.commit(staged, key="delivery 7")
        >>> c.read().v.values
        array([1., 2., 3., 4.])
        """
        forms = forms_of(staged, self.url)
        number, stale = yield partial(self._native.commit_staged, operation, forms, key)
        if stale:
            raise CommitConflict(
                f"others have changed partition {stale[0]} since it was staged"
                f"{f', and {len(stale) - 1} more' if len(stale) > 1 else ''}; stage its rows again",
                context={"partition": ", ".join(stale)},
            )
        self._follow()
        made: int = number
        return made

    def discard(self, staged: StagedPartitions | Sequence[StagedPartitions]) -> None:
        """Delete what was staged and is not to be committed.

        Examples
        --------
        >>> import partita as pt
        >>> c = pt.create_collection(
        ...     "memory://collections/discard",
        ...     {"time": ("time", [0, 1, 5]), "v": ("time", [1.0, 2.0, 3.0])},
        ...     axis="time",
        ...     partition_by=pt.GroupedSequence(["time"], size=5),
        ...     zarr_format=3,
        ... )
        >>> c.discard(c.stage({"time": ("time", [6]), "v": ("time", [4.0])}))
        >>> c.read().v.values
        array([1., 2., 3.])
        """
        several = [staged] if isinstance(staged, StagedPartitions) else list(staged)
        self._native.discard_staged([form for one in several for form in one.forms])

    @steps
    def update(
        self,
        function: Callable[..., Any],
        where: Where | None = None,
        *,
        rows: Selection | None = None,
        variables: Sequence[str] | None = None,
        depth: int = 0,
        depth_rows: int = 0,
        decode: bool = False,
        workers: int | None = None,
        key: str | None = None,
        client: Any = None,
        progress: Progress = False,
    ) -> Steps[list[CollectionPartition]]:
        """Work out variables anew, partition by partition, in one commit.

        If the function fails for one partition, nothing is changed, and a note on the exception
        says for which. Other variables are not written again.

        Parameters
        ----------
        function : callable
            Given an ``xarray.Dataset`` it returns variables by name: arrays with the rows that it
            was given, or with the partition's own rows. Labelled ones (``xarray.DataArray``,
            ``pandas.Series``) are put in the order of the labels that it was given, and refused if
            labels are missing, are too many or repeat in another order; others go by position.
            Floats are rounded to the type of the variable; what does not fit it otherwise is
            refused. A function with a parameter ``partition`` is also given a `PartitionInfo`.
        where : expression, str, list or dict, optional
            Which partitions: a condition on the fields of the keys.
        rows : Selection, optional
            Of these only the rows that `Index.query` found: the function is given no others, and
            returns as many, and other rows keep their values. Only chunks that hold such rows are
            read and written. `CommitConflict` is raised if a partition was changed since.
        variables : sequence of str, optional
            Which variables the function is given; all if not given.
        depth, depth_rows : int, default 0
            How many partitions, or rows, before and behind its own the function is given as well:
            neighbours in the whole collection, whatever `where` selects.
        decode : bool, default False
            Give the function decoded values, as `read` does, and pack what it returns.
        workers : int, optional
            How many partitions are worked on at once, each in a thread.
        key : str, optional
            Your name for this commit: one of the same name that was made before is not made again,
            and nothing is returned then.
        client : distributed.Client or True, optional
            Call the function on workers of Dask, which stage what it returns: those of a client, or
            (True) of the scheduler that Dask is set to. The commit is made here.
        progress : bool or callable, default False
            True shows a bar on standard error; a callable is called with (done, total) partitions.

        Examples
        --------
        >>> import partita as pt
        >>> c = pt.create_collection(
        ...     "memory://examples/update",
        ...     {"time": ("time", [0, 1, 5]), "v": ("time", [1.0, 2.0, 3.0])},
        ...     axis="time",
        ...     partition_by=pt.GroupedSequence(["time"], size=5),
        ...     zarr_format=3,
        ... )
        >>> _ = c.update(lambda part: {"v": part.v * 10}, "time < 5")
        >>> c.read().v.values
        array([10., 20.,  3.])
        """
        yield self._native.refresh
        updating = self._updating(function, decode)
        arguments = map_arguments(where, variables, depth, depth_rows, workers, rows)
        with reporting(progress) as report:
            if client:
                from partita.dask import _collections

                reference = self._reference()
                lazily = partial(
                    _collections.update,
                    reference,
                    updating,
                    arguments,
                    key=key,
                    client=client,
                    report=report,
                )
                written = yield OnlyBlocking(lazily, "update on workers of Dask in a thread")
            else:
                written = yield partial(self._native.update, updating, arguments, report, key)
        self._follow()
        partitions: list[CollectionPartition] = written
        return partitions

    def _updating(self, function: Callable[..., Any], decode: bool) -> Updating:
        schema = self._native.schema().to_dict()
        known = {one["name"]: one for one in variables_of(schema)}
        return Updating(Calling(function, decode=decode), self.dimension, known)

    def map(
        self,
        function: Callable[..., Any],
        where: Where | None = None,
        *,
        rows: Selection | None = None,
        variables: Sequence[str] | None = None,
        depth: int = 0,
        depth_rows: int = 0,
        decode: bool = False,
        workers: int | None = None,
        client: Any = None,
        progress: Progress = False,
    ) -> dict[tuple[int, ...], Any]:
        """Call a function with each partition; the results by the values of the keys.

        The parameters are those of `update`; the function may return anything.

        Examples
        --------
        >>> import numpy as np, xarray as xr, partita as pt
        >>> ds = xr.Dataset({"cycle": ("n", [1, 1, 2]), "v": ("n", [1.0, 2.0, 5.0])})
        >>> c = pt.create_collection(
        ...     "memory://collections/map", ds, axis="cycle", partition_by=pt.Sequence(["cycle"])
        ... )
        >>> c.map(lambda ds: float(ds.v.mean()))
        {(1,): 1.5, (2,): 5.0}
        """
        call = Calling(function, decode=decode)
        arguments = map_arguments(where, variables, depth, depth_rows, workers, rows)
        with reporting(progress) as report:
            if client:
                from partita.dask import _collections

                reference = self._reference()
                found = _collections.map_partitions(
                    reference, call, arguments, client=client, report=report
                )
            else:
                found = self._native.map(call, arguments, report)
        return {tuple(value for _, value in key): result for key, result in found}

    def map_overlap(
        self,
        function: Callable[..., Any],
        where: Where | None = None,
        *,
        depth: int = 1,
        depth_rows: int = 0,
        **options: Any,
    ) -> dict[tuple[int, ...], Any]:
        """Call a function with each partition between its neighbours: `map`, with a depth of 1.

        Examples
        --------
        >>> import partita as pt
        >>> c = pt.create_collection(
        ...     "memory://examples/map_overlap",
        ...     {"time": ("time", [0, 1, 5]), "v": ("time", [1.0, 2.0, 3.0])},
        ...     axis="time",
        ...     partition_by=pt.GroupedSequence(["time"], size=5),
        ...     zarr_format=3,
        ... )
        >>> c.map_overlap(lambda part: part.sizes["time"], depth=1)
        {(0,): 3, (5,): 3}
        """
        if depth_rows:
            depth = 0
        return self.map(function, where, depth=depth, depth_rows=depth_rows, **options)

    @steps
    def drop_partitions(
        self,
        where: Where | None = None,
        *,
        older_than: dt.timedelta | None = None,
        key: str | None = None,
    ) -> Steps[list[CollectionPartition]]:
        """Remove partitions, in one commit; returns those that are gone.

        Parameters
        ----------
        where : expression, str, list or dict, optional
            Which: a condition on the fields of the keys.
        older_than : datetime.timedelta, optional
            Only those that were written longer ago than this, by the clock of the store.
        key : str, optional
            Your name for this commit: one of the same name that was made before is not made again,
            and nothing is returned then.

        Examples
        --------
        >>> import partita as pt
        >>> c = pt.create_collection(
        ...     "memory://examples/drop_partitions",
        ...     {"time": ("time", [0, 1, 5]), "v": ("time", [1.0, 2.0, 3.0])},
        ...     axis="time",
        ...     partition_by=pt.GroupedSequence(["time"], size=5),
        ...     zarr_format=3,
        ... )
        >>> [partition.path for partition in c.drop_partitions("time < 5")]
        ['time=0']
        """
        if where is None and older_than is None:
            raise InvalidArgument(
                "drop_partitions needs where= or older_than=, so that it never empties a collection"
                " by accident; where='true' means all"
            )
        age = None if older_than is None else micros("older_than", older_than)
        gone: list[CollectionPartition] = yield partial(
            self._native.drop_partitions, predicate_of(where), age, key
        )
        self._follow()
        return gone

    def add_variable(
        self,
        name: str,
        dimensions: Sequence[str],
        dtype: Any,
        *,
        fill_value: Any = None,
        attributes: Mapping[str, Any] | None = None,
        encoding: Mapping[str, Any] | None = None,
        key: str | None = None,
        progress: Progress = False,
    ) -> None:
        """Add a variable, filled with its fill value in every partition, in one commit.

        Parameters
        ----------
        name : str
            Its name; a path for one in a group, which is made if it is not there.
        dimensions : sequence of str
            The partitioned dimension, and others that the collection has.
        dtype : dtype
            The type of its items.
        fill_value : optional
            What items are where nothing is stored; without one "not a number" or "not a time", and
            in types that have neither zero, False or an empty text.
        attributes, encoding : mapping, optional
            Its attributes, and ``compressor`` and ``filters`` as xarray's encoding has them.
        key : str, optional
            Your name for this commit: one of the same name that was made before is not made again.

        Examples
        --------
        >>> import partita as pt
        >>> c = pt.create_collection(
        ...     "memory://examples/add_variable",
        ...     {"time": ("time", [0, 1, 5]), "v": ("time", [1.0, 2.0, 3.0])},
        ...     axis="time",
        ...     partition_by=pt.GroupedSequence(["time"], size=5),
        ...     zarr_format=3,
        ... )
        >>> c.add_variable("flag", ("time",), "i1", fill_value=0)
        >>> c.read(variables=["flag"]).flag.values
        array([0, 0, 0], dtype=int8)
        """
        group, _, own = name.rpartition("/")
        described = describe_variable(
            own,
            tuple(dimensions),
            dtype,
            missing_of(dtype) if fill_value is None else fill_value,
            attributes or {},
            encoding or {},
        )
        with reporting(progress) as report:
            self._native.add_variable(group, described, report, key)

    def drop_variable(
        self, name: str, *, key: str | None = None, progress: Progress = False
    ) -> None:
        """Remove a variable from every partition, in one commit; `key` is that of `insert`.

        Examples
        --------
        >>> import partita as pt
        >>> c = pt.create_collection(
        ...     "memory://examples/drop_variable",
        ...     {"time": ("time", [0, 1, 5]), "v": ("time", [1.0, 2.0, 3.0])},
        ...     axis="time",
        ...     partition_by=pt.GroupedSequence(["time"], size=5),
        ...     zarr_format=3,
        ... )
        >>> c.drop_variable("v")
        >>> c.variables
        ['time']
        """
        with reporting(progress) as report:
            self._native.drop_variable(name, report, key)

    def set_attributes(
        self,
        attributes: Mapping[str, Any],
        variable: str | None = None,
        *,
        key: str | None = None,
    ) -> None:
        """Replace the attributes of the collection, or of the variable or group of that path.

        `key` is that of `insert`.

        Examples
        --------
        >>> import partita as pt
        >>> c = pt.create_collection(
        ...     "memory://examples/set_attributes",
        ...     {"time": ("time", [0, 1, 5]), "v": ("time", [1.0, 2.0, 3.0])},
        ...     axis="time",
        ...     partition_by=pt.GroupedSequence(["time"], size=5),
        ...     zarr_format=3,
        ... )
        >>> c.set_attributes({"title": "made up"})
        >>> c.set_attributes({"units": "m"}, "v")
        >>> c.read().v.units
        'm'
        """
        values = attributes_of(variable or "the collection", attributes)
        self._native.set_attributes(variable, values, key)

    @property
    def statistics(self) -> list[str]:
        """The variables of which statistics are kept, beside the axis."""
        names: list[str] = self._native.config()["statistics"]
        return names

    def set_statistics(
        self, variables: Sequence[str], *, key: str | None = None, progress: Progress = False
    ) -> None:
        """Say of which variables statistics are kept, and make them.

        They are the smallest and largest values in each partition. By them a condition on such a
        variable, ``"latitude > 60"``, passes over partitions that cannot hold such rows without
        opening them. Those of the axis are always kept. Statistics lie beside the data, where
        ZCollection does not look; they are not believed where another program has written since,
        until ``verify(repair=True)`` makes them anew.

        Parameters
        ----------
        variables : sequence of str
            Variables that have the partitioned dimension alone; those that are not named have
            statistics no more.
        key : str, optional
            Your name for this commit: one of the same name that was made before is not made again.

        Examples
        --------
        >>> import partita as pt
        >>> c = pt.create_collection(
        ...     "memory://examples/set_statistics",
        ...     {"time": ("time", [0, 1, 5]), "v": ("time", [1.0, 2.0, 3.0])},
        ...     axis="time",
        ...     partition_by=pt.GroupedSequence(["time"], size=5),
        ...     zarr_format=3,
        ... )
        >>> c.set_statistics(["v"])
        >>> c.statistics
        ['v']
        """
        with reporting(progress) as report:
            self._native.set_statistics(list(variables), report, key)

    # Keeping

    def copy(
        self,
        url: str | os.PathLike[str],
        *,
        where: Where | None = None,
        zarr_format: Literal[2, 3] | None = None,
        chunks: Mapping[str, int | str] | None = None,
        encoding: Mapping[str, Mapping[str, Any]] | None = None,
        base: Collection | None = None,
        verify: bool = False,
        storage_options: Mapping[str, Any] | None = None,
        filesystem: FileSystem | None = None,
        single_writer: bool = False,
        progress: Progress = False,
    ) -> Collection:
        """Copy the collection to another place, which has none.

        The copy is of the state that one commit left, and exists from the moment when all of it is
        there. One that was broken off is continued by the same call.

        Parameters
        ----------
        url : str or path-like
            Where to.
        where : expression, str, list or dict, optional
            Which partitions: a condition on the fields of the keys.
        zarr_format : int, optional
            2 or 3; the same as here if not given. Another one, as other chunks or codecs, means
            that everything is decoded and encoded again.
        chunks : mapping, optional
            How dimensions are cut, as for `create_collection`.
        encoding : mapping, optional
            Codecs by the paths of variables, as xarray's encoding has them:
            ``{"ssh": {"compressor": {"id": "zstd", "level": 9}}}``; ``"*"`` stands for the others.
        base : Collection, optional
            Of a view, what its copy is laid over, in the layout of that: a collection with the same
            rows, such as a migrated one. The same as here if not given.
        verify : bool, default False
            Read what was written, and compare checksums of the decoded data.
        storage_options, filesystem, single_writer
            Of the store of the copy, as for `create_collection`.
        progress : bool or callable, default False
            True shows a bar on standard error; a callable is called with (done, total) partitions.

        Examples
        --------
        >>> import partita as pt
        >>> c = pt.create_collection(
        ...     "memory://examples/copy",
        ...     {"time": ("time", [0, 1, 5]), "v": ("time", [1.0, 2.0, 3.0])},
        ...     axis="time",
        ...     partition_by=pt.GroupedSequence(["time"], size=5),
        ...     zarr_format=3,
        ... )
        >>> c.copy("memory://examples/copied", where="time < 5").read().v.values
        array([1., 2.])
        """
        place = connection(url, storage_options, filesystem)
        arguments = copy_arguments(
            place, single_writer, where, zarr_format, self._stored(chunks, encoding), verify
        )
        with reporting(progress) as report:
            below = None if base is None else base._native
            native = self._native.copy(arguments, below, report)
        return self._copied(native, base, place[1], single_writer)

    def _stored(
        self,
        chunks: Mapping[str, int | str] | None,
        encoding: Mapping[str, Mapping[str, Any]] | None,
    ) -> _native.Schema | None:
        """The schema with what is to be stored otherwise; None if nothing is."""
        if not chunks and not encoding:
            return None
        self._native.refresh()
        description = self._native.schema().to_dict()
        restored(description, chunks or {}, encoding or {})
        return _native.Schema.from_dict(description)

    def _copied(
        self,
        native: _native.Collection,
        base: Collection | None,
        options: dict[str, Any],
        single_writer: bool,
    ) -> Collection:
        return Collection(native, options, read_only=False, single_writer=single_writer)

    def to_table(
        self,
        url: str | os.PathLike[str],
        *,
        variables: Sequence[str] | None = None,
        where: Where | None = None,
        progress: Progress = False,
        **options: Any,
    ) -> Table:
        """Make a table of the rows: one for each item of the variables with the most dimensions.

        The axis is a column, and so are the other dimensions, with the values of the variable of
        that name, or positions. Variables with fewer dimensions are repeated. Items that equal the
        fill value become null, and packed numbers are unpacked. Rows are streamed, and one commit
        makes the table.

        Parameters
        ----------
        url : str or path-like
            Where the table is to be.
        variables : sequence of str, optional
            Which variables; all that are partitioned if not given. Those of groups cannot be
            converted.
        where : expression, str, list or dict, optional
            Which rows, as for `read`.
        progress : bool or callable, default False
            True shows a bar on standard error; a callable is called with (done, total) rows of the
            collection.
        **options
            Those of `create_table`, such as ``partition_by`` and ``storage_options``.

        Examples
        --------
        >>> import partita as pt
        >>> c = pt.create_collection(
        ...     "memory://to_table/c",
        ...     {"cycle": ("n", [1, 2]), "v": (("n", "x"), [[1.0, 2.0], [5.0, 6.0]])},
        ...     axis="cycle",
        ...     partition_by=pt.Sequence(["cycle"]),
        ...     zarr_format=3,
        ... )
        >>> c.to_table("memory://to_table/t", partition_by="cycle").read().values.tolist()
        [[1.0, 0.0, 1.0], [1.0, 1.0, 2.0], [2.0, 0.0, 5.0], [2.0, 1.0, 6.0]]
        """
        from partita._convert import long_form
        from partita.dataset import create_table

        self._native.refresh()
        with reporting(progress) as report:
            rows = long_form(
                self._native, self.axis, self.dimension, variables, predicate_of(where), report
            )
            return create_table(url, rows, **options)

    def verify(
        self,
        where: Where | None = None,
        *,
        data: bool = False,
        repair: bool = False,
        progress: Progress = False,
    ) -> list[Problem]:
        """What is wrong with the collection; an empty list if nothing is.

        Parameters
        ----------
        where : expression, str, list or dict, optional
            Which partitions: a condition on the fields of the keys.
        data : bool, default False
            Decode every chunk, check that rows lie where they belong, and compare objects with the
            digests that were committed.
        repair : bool, default False
            Write the list of partitions anew where it is wrong, and statistics where they are wrong
            or missing. With `data`, mend partitions from retained objects, also those that are gone
            without a commit that dropped them.

        Examples
        --------
        >>> import partita as pt
        >>> c = pt.create_collection(
        ...     "memory://examples/verify",
        ...     {"time": ("time", [0, 1, 5]), "v": ("time", [1.0, 2.0, 3.0])},
        ...     axis="time",
        ...     partition_by=pt.GroupedSequence(["time"], size=5),
        ...     zarr_format=3,
        ... )
        >>> c.verify(data=True)
        []
        """
        with reporting(progress) as report:
            found = self._native.verify(predicate_of(where), data, repair, report)
        return [Problem(*problem) for problem in found]

    def collect_garbage(
        self, *, grace: dt.timedelta = dt.timedelta(hours=24), dry_run: bool = False
    ) -> Garbage:
        """Remove what writers that died have left, once it is older than the grace period.

        In an Icechunk repository also what no branch or tag names any more; see `expire`.

        Examples
        --------
        >>> import partita as pt
        >>> c = pt.create_collection(
        ...     "memory://examples/collect_garbage",
        ...     {"time": ("time", [0, 1, 5]), "v": ("time", [1.0, 2.0, 3.0])},
        ...     axis="time",
        ...     partition_by=pt.GroupedSequence(["time"], size=5),
        ...     zarr_format=3,
        ... )
        >>> c.collect_garbage(dry_run=True)
        Garbage(0 objects, 0 B)
        """
        return Garbage(*self._native.collect_garbage(micros("grace", grace), dry_run))

    def history(self) -> History[CollectionCommit]:
        """The commits of the last days at least, newest first; a list that shows itself as a table.

        In an Icechunk repository those that led to what is read, as far as they did not expire.

        Examples
        --------
        >>> import partita as pt
        >>> c = pt.create_collection(
        ...     "memory://examples/history",
        ...     {"time": ("time", [0, 1, 5]), "v": ("time", [1.0, 2.0, 3.0])},
        ...     axis="time",
        ...     partition_by=pt.GroupedSequence(["time"], size=5),
        ...     zarr_format=3,
        ... )
        >>> [commit.operation for commit in c.history()]
        ['insert']
        """
        return History(_commit_of(*entry) for entry in self._native.history())

    def committed(self, name: str) -> CollectionCommit | None:
        """The commit of an id or a key, if it was made and is still in the history.

        This tells what became of a commit after `CommitUnknown`, whose context has the id as
        ``commit``, and after any other break-off of a call with ``key=``.

        Examples
        --------
        >>> import partita as pt
        >>> c = pt.create_collection(
        ...     "memory://collections/committed",
        ...     {"cycle": ("n", [1, 2])},
        ...     axis="cycle",
        ...     partition_by=pt.Sequence(["cycle"]),
        ...     zarr_format=3,
        ... )
        >>> _ = c.insert({"cycle": ("n", [3])}, key="delivery 3")
        >>> c.committed("delivery 3").partitions
        ['cycle=3']
        >>> c.committed("delivery 4") is None
        True
        """
        entry = self._native.committed(name)
        return None if entry is None else _commit_of(*entry)

    # Branches, tags and older states: of collections in Icechunk repositories

    @steps
    def at(self, state: State) -> Steps[Self]:
        """The collection as a commit left it, for reading.

        It stays there, and refuses every change with `ReadOnly`. In plain Zarr a state can be read
        while the objects that later commits have replaced are retained; see `set_retention`.

        Parameters
        ----------
        state : int, str or datetime
            The number of a commit; in an Icechunk repository also the name of a tag or a branch, or
            the id of a commit; or a time: what the last commit by then left, going by the clocks of
            the writers. A text that names nothing is a time in ISO 8601; without a zone it is UTC.

        Raises
        ------
        NotFound
            If there is no such state, or it is not retained any more.

        Examples
        --------
        >>> import numpy as np, partita as pt
        >>> rows = lambda *cycles: {"cycle": ("n", np.array(cycles))}
        >>> c = pt.create_collection(
        ...     "icechunk+memory://collections/at",
        ...     rows(1, 2),
        ...     axis="cycle",
        ...     partition_by=pt.Sequence(["cycle"]),
        ...     zarr_format=3,
        ... )
        >>> c.create_tag("delivered")
        >>> _ = c.insert(rows(3))
        >>> len(c.partitions), len(c.at("delivered").partitions)
        (3, 2)
        """
        native = yield partial(self._native.at, state_of(state))
        return self._elsewhere(native, read_only=True)

    @steps
    def on_branch(self, name: str) -> Steps[Self]:
        """The collection on another branch of the repository, to which its commits go.

        Examples
        --------
        >>> import numpy as np, partita as pt
        >>> rows = lambda *cycles: {"cycle": ("n", np.array(cycles))}
        >>> c = pt.create_collection(
        ...     "icechunk+memory://collections/branches",
        ...     rows(1, 2),
        ...     axis="cycle",
        ...     partition_by=pt.Sequence(["cycle"]),
        ...     zarr_format=3,
        ... )
        >>> c.create_branch("trial")
        >>> trial = c.on_branch("trial")
        >>> _ = trial.insert(rows(3))
        >>> len(c.partitions), len(trial.partitions), c.branches()
        (2, 3, ['main', 'trial'])
        """
        native = yield partial(self._native.on_branch, name)
        return self._elsewhere(native, read_only=self._read_only)

    def _elsewhere(self, native: _native.Collection, *, read_only: bool) -> Self:
        return type(self)(
            native,
            self._storage_options,
            read_only=read_only,
            single_writer=self._single_writer,
        )

    def branches(self) -> list[str]:
        """The names of the branches, in order.

        Examples
        --------
        >>> import partita as pt
        >>> c = pt.create_collection(
        ...     "icechunk+memory://examples/branches",
        ...     {"time": ("time", [0, 1, 5]), "v": ("time", [1.0, 2.0, 3.0])},
        ...     axis="time",
        ...     partition_by=pt.GroupedSequence(["time"], size=5),
        ...     zarr_format=3,
        ... )
        >>> c.create_branch("trial")
        >>> c.branches()
        ['main', 'trial']
        """
        return self._native.branches()

    def create_branch(self, name: str, at: State | None = None) -> None:
        """Make a branch that begins with a state as for `at`; with what is read here without one.

        Raises
        ------
        AlreadyExists
            If there is a branch of this name.

        Examples
        --------
        >>> import partita as pt
        >>> c = pt.create_collection(
        ...     "icechunk+memory://examples/create_branch",
        ...     {"time": ("time", [0, 1, 5]), "v": ("time", [1.0, 2.0, 3.0])},
        ...     axis="time",
        ...     partition_by=pt.GroupedSequence(["time"], size=5),
        ...     zarr_format=3,
        ... )
        >>> c.create_branch("trial")
        >>> _ = c.on_branch("trial").drop_partitions("time < 5")
        >>> len(c.partitions), len(c.on_branch("trial").partitions)
        (2, 1)
        """
        self._native.create_branch(name, None if at is None else state_of(at))

    def delete_branch(self, name: str) -> None:
        """Remove a branch, and with it the states that nothing else names.

        Examples
        --------
        >>> import partita as pt
        >>> c = pt.create_collection(
        ...     "icechunk+memory://examples/delete_branch",
        ...     {"time": ("time", [0, 1, 5]), "v": ("time", [1.0, 2.0, 3.0])},
        ...     axis="time",
        ...     partition_by=pt.GroupedSequence(["time"], size=5),
        ...     zarr_format=3,
        ... )
        >>> c.create_branch("trial")
        >>> c.delete_branch("trial")
        >>> c.branches()
        ['main']
        """
        self._native.delete_branch(name)

    def tags(self) -> list[str]:
        """The names of the tags, in order.

        Examples
        --------
        >>> import partita as pt
        >>> c = pt.create_collection(
        ...     "icechunk+memory://examples/tags",
        ...     {"time": ("time", [0, 1, 5]), "v": ("time", [1.0, 2.0, 3.0])},
        ...     axis="time",
        ...     partition_by=pt.GroupedSequence(["time"], size=5),
        ...     zarr_format=3,
        ... )
        >>> c.create_tag("delivered")
        >>> c.tags()
        ['delivered']
        """
        return self._native.tags()

    def create_tag(self, name: str, at: State | None = None) -> None:
        """Name a state, as for `at`, for good; what is read here without one.

        Raises
        ------
        AlreadyExists
            If there is a tag of this name.

        Examples
        --------
        >>> import partita as pt
        >>> c = pt.create_collection(
        ...     "icechunk+memory://examples/create_tag",
        ...     {"time": ("time", [0, 1, 5]), "v": ("time", [1.0, 2.0, 3.0])},
        ...     axis="time",
        ...     partition_by=pt.GroupedSequence(["time"], size=5),
        ...     zarr_format=3,
        ... )
        >>> c.create_tag("delivered")
        >>> _ = c.drop_partitions("time < 5")
        >>> len(c.partitions), len(c.at("delivered").partitions)
        (1, 2)
        """
        self._native.create_tag(name, None if at is None else state_of(at))

    def delete_tag(self, name: str) -> None:
        """Remove a tag; its name cannot be used again.

        Examples
        --------
        >>> import partita as pt
        >>> c = pt.create_collection(
        ...     "icechunk+memory://examples/delete_tag",
        ...     {"time": ("time", [0, 1, 5]), "v": ("time", [1.0, 2.0, 3.0])},
        ...     axis="time",
        ...     partition_by=pt.GroupedSequence(["time"], size=5),
        ...     zarr_format=3,
        ... )
        >>> c.create_tag("delivered")
        >>> c.delete_tag("delivered")
        >>> c.tags()
        []
        """
        self._native.delete_tag(name)

    def restore(self, state: State, *, key: str | None = None) -> int:
        """Make an earlier state the newest one, by a commit of its own; return its number.

        Nothing is decoded: objects are copied within the store. Returns 0 if nothing is different.

        Parameters
        ----------
        state : int, str or datetime
            As for `at`.
        key : str, optional
            An idempotency key: a commit that was made with it is not made again.

        Raises
        ------
        NotFound
            If there is no such state, or it is not retained any more.
        InvalidArgument
            In an Icechunk repository, where a branch goes on from an earlier state.

        Examples
        --------
        >>> import partita as pt
        >>> c = pt.create_collection(
        ...     "memory://examples/restore",
        ...     {"time": ("time", [0, 1, 5]), "v": ("time", [1.0, 2.0, 3.0])},
        ...     axis="time",
        ...     partition_by=pt.GroupedSequence(["time"], size=5),
        ...     zarr_format=3,
        ... )
        >>> _ = c.update(lambda part: {"v": part.v * 0})
        >>> c.restore(1)
        3
        >>> c.read()["v"].values.tolist()
        [1.0, 2.0, 3.0]
        """
        return self._native.restore(state_of(state), key)

    def set_retention(
        self,
        *,
        keep_within: dt.timedelta | None = None,
        keep_last: int | None = None,
        max_bytes: int | None = None,
        grace: dt.timedelta | None = None,
    ) -> None:
        """Set how much history a collection in plain Zarr keeps, for all of its writers.

        Objects that a commit replaces are retained for the grace period, because readers and
        writers may still use them, and for as long as `keep_within` or `keep_last` asks. Unless
        something was set, seven days of history are kept on object stores and none on local files.
        Publishers remove the rest.

        Parameters
        ----------
        keep_within : timedelta, optional
            Keep states that were replaced within this time.
        keep_last : int, optional
            Keep the last so many states.
        max_bytes : int, optional
            End the history before the oldest states while more bytes than this are retained,
            whatever the other two ask. What is within the grace period stays. Staged copies of
            what is still published count too.
        grace : timedelta, optional
            The grace period; it stays what it is if nothing is given (24 hours at first). What is
            staged has to be committed within half of it.

        Examples
        --------
        >>> import datetime as dt
        >>> import partita as pt
        >>> c = pt.create_collection(
        ...     "memory://examples/set_retention",
        ...     {"time": ("time", [0, 1, 5]), "v": ("time", [1.0, 2.0, 3.0])},
        ...     axis="time",
        ...     partition_by=pt.GroupedSequence(["time"], size=5),
        ...     zarr_format=3,
        ... )
        >>> c.set_retention(keep_within=dt.timedelta(days=30))
        """

        def seconds(name: str, value: dt.timedelta | None) -> int | None:
            return None if value is None else micros(name, value) // 1_000_000

        self._native.set_retention(
            seconds("keep_within", keep_within),
            whole("keep_last", keep_last, 1),
            whole("max_bytes", max_bytes, 0),
            seconds("grace", grace),
        )

    def retained(self) -> Retained | None:
        """Tell how much is kept beside what is published; None in an Icechunk repository.

        That is what commits have replaced and history or the grace period keeps, and what is
        staged. One listing.

        Examples
        --------
        >>> import partita as pt
        >>> c = pt.create_collection(
        ...     "memory://examples/retained",
        ...     {"time": ("time", [0, 1, 5]), "v": ("time", [1.0, 2.0, 3.0])},
        ...     axis="time",
        ...     partition_by=pt.GroupedSequence(["time"], size=5),
        ...     zarr_format=3,
        ... )
        >>> c.retained().bytes > 0
        True
        """
        found = self._native.retained()
        return None if found is None else Retained(*found)

    def expire(
        self, *, keep_within: dt.timedelta | None = None, keep_last: int | None = None
    ) -> int:
        """End the history before older commits; return how many are forgotten.

        Their objects go after the grace period, with later commits or `collect_garbage`. In an
        Icechunk repository commits that branches and tags name stay.

        Parameters
        ----------
        keep_within : timedelta, optional
            Keep the commits within this time, by the clocks of the writers; in an Icechunk
            repository by that of the store.
        keep_last : int, optional
            Keep the last so many states; in plain Zarr only.

        Examples
        --------
        >>> import partita as pt
        >>> c = pt.create_collection(
        ...     "icechunk+memory://examples/expire",
        ...     {"time": ("time", [0, 1, 5]), "v": ("time", [1.0, 2.0, 3.0])},
        ...     axis="time",
        ...     partition_by=pt.GroupedSequence(["time"], size=5),
        ...     zarr_format=3,
        ... )
        >>> import datetime as dt
        >>> c.expire(keep_within=dt.timedelta(days=30))
        0
        """
        age = None if keep_within is None else micros("keep_within", keep_within)
        return self._native.expire(age, keep_last)

    # How it shows and travels

    def __repr__(self) -> str:
        return collection_text(self)

    def _repr_html_(self) -> str:
        from partita._notebook import collection_html

        return collection_html(self)

    def __reduce__(self) -> tuple[Any, ...]:
        url = carried(self.url, self._storage_options)
        return _reopen, (url, self._storage_options, self._read_only, self._single_writer)


def _reopen(url: str, options: dict[str, Any], read_only: bool, single_writer: bool) -> Collection:
    native = _native.Collection.open(url, options, read_only, single_writer)
    return Collection(native, options, read_only=read_only, single_writer=single_writer)


def _commit_of(
    number: int, id: str, time: int, operation: str, partitions: list[str], size: int
) -> CollectionCommit:
    """A commit as the engine tells of it; the time in microseconds since 1970."""
    epoch = dt.datetime(1970, 1, 1, tzinfo=dt.timezone.utc)
    at = epoch + dt.timedelta(microseconds=time)
    return CollectionCommit(number, at, operation, partitions, size, id)


def chosen(rows: Selection | None) -> _native.Selection | None:
    """The engine's form of rows that were chosen; None for all."""
    if rows is not None and not isinstance(rows, Selection):
        raise InvalidArgument(f"rows= takes what Index.query returns, not {rows!r}")
    return None if rows is None else rows._native


def state_of(state: State) -> tuple[int | None, int | None, str | None]:
    """The engine's form of a state: a number, a time in microseconds since 1970, or a name."""
    if isinstance(state, str):
        return None, None, state
    return *moment(state), None


def predicate_of(where: Where | None) -> _native.Predicate | None:
    """The engine's form of a condition; None for all."""
    return None if where is None else predicate(where)


def copy_arguments(
    place: tuple[str, dict[str, Any]],
    single_writer: bool,
    where: Where | None,
    zarr_format: int | None,
    schema: _native.Schema | None,
    verify: bool,
) -> dict[str, Any]:
    """What is copied and where to, as the engine takes it."""
    return {
        "url": place[0],
        "storage_options": place[1],
        "single_writer": single_writer,
        "predicate": predicate_of(where),
        "zarr_format": zarr_format,
        "schema": schema,
        "verify": verify,
    }


def map_arguments(
    where: Where | None,
    variables: Sequence[str] | None,
    depth: int,
    depth_rows: int,
    workers: int | None,
    rows: Selection | None = None,
) -> dict[str, Any]:
    if depth < 0 or depth_rows < 0 or (depth and depth_rows):
        raise InvalidArgument("a depth is a number of partitions, or of rows, and not negative")
    return {
        "predicate": predicate_of(where),
        "paths": None,
        "chosen": chosen(rows),
        "variables": None if variables is None else list(variables),
        "partitions": depth,
        "rows": depth_rows,
        "at_once": workers,
    }


def is_lazy_dataset(data: Any) -> bool:
    """True for an ``xarray.Dataset`` with arrays of Dask."""
    # If dask was never imported, nothing can be an array of it.
    dask = sys.modules.get("dask")
    variables = getattr(data, "variables", None)
    if dask is None or not isinstance(variables, Mapping) or not hasattr(data, "isel"):
        return False
    if hasattr(data, "subtree"):
        return False
    return any(dask.is_dask_collection(held_by(variable)) for variable in variables.values())
