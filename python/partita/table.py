"""Tables: rows in Parquet files, partitioned by column values."""

from __future__ import annotations

import datetime as dt
import json
import os
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from partita import _native
from partita._arguments import (
    Compression,
    DtypeBackend,
    Metadata,
    SchemaMode,
    Version,
    columns_of,
    micros,
    moment,
    names,
    required,
    schema_of,
    whole,
    write_options,
)
from partita._arrow import Exported, pyarrow, pyarrow_schema
from partita._credentials import carried, referenced
from partita._data import stream
from partita._display import table_text
from partita._progress import Progress, reporting
from partita._steps import Steps, steps, steps_of
from partita._text import text
from partita.engines._request import LastRun
from partita.errors import InvalidArgument
from partita.expression import Expr, Where, predicate
from partita.readable import Readable
from partita.records import (
    Commit,
    Garbage,
    History,
    Partition,
    PartitionKey,
    Problem,
    SchemaVersion,
    Snapshot,
)
from partita.scan import Scan
from partita.staging import Staged, Transaction
from partita.stores import FileSystem, connection

if TYPE_CHECKING:
    import dask.dataframe as dd
    import pandas as pd
    import pyarrow as pa
    from matplotlib.axes import Axes

    from partita.collection import Collection
    from partita.partitioning import Partitioning

__all__ = ["Table"]


class Table(Readable):
    """An open table; made by `create_table`, `open_table` and `open`.

    It reads the version that it was at when it was opened, moved on by its own commits and by
    `refresh`. It may be pickled and used in other processes.

    Examples
    --------
    >>> import partita as pt
    >>> table = pt.create_table(
    ...     "memory://tables/trips",
    ...     {"city": ["Oslo", "Oslo", "Rome"], "fare": [12.5, 30.0, 9.0]},
    ...     partition_by="city",
    ... )
    >>> table.append({"city": ["Rome"], "fare": [4.0]}).rows_added
    1
    >>> table.read(columns=["fare"], where={"city": "Rome"})
       fare
    0   9.0
    1   4.0
    """

    def __init__(
        self,
        native: _native.Table,
        storage_options: dict[str, Any],
        *,
        read_only: bool,
        single_writer: bool,
        pinned: bool = False,
    ) -> None:
        self._native = native
        self._storage_options = storage_options
        self._read_only = read_only
        self._single_writer = single_writer
        self._pinned = pinned
        self._last_run: LastRun[Scan] = LastRun()

    def _rows(self) -> Scan:
        return self.scan()

    # What it is

    @property
    def url(self) -> str:
        """The URL."""
        return self._native.url

    @property
    def name(self) -> str:
        """The last component of the URL."""
        return self._native.name

    @property
    def version(self) -> int | None:
        """The version that reads see; None if it was not written by partita."""
        return self._native.version

    @property
    def schema(self) -> pa.Schema:
        """The schema, columns in the order in which the table was created."""
        return pyarrow_schema(self._native)

    @property
    def columns(self) -> list[str]:
        """The names of the columns."""
        return list(self.schema.names)

    @property
    def column_ids(self) -> dict[str, int]:
        """The id of each column, by name.

        A column keeps it when it is renamed, and no other ever gets it. New data files carry it as
        the field id of Parquet.
        """
        return self._native.column_ids

    @property
    def comments(self) -> dict[str, str]:
        """The comments on columns, by name; see `set_comment`."""
        return self._native.comments

    @property
    def partition_by(self) -> list[str]:
        """The columns whose values name the partitions, outermost first."""
        return self._native.partition_by

    @property
    def index(self) -> list[str]:
        """The columns with a secondary index."""
        return self._native.index

    @property
    def bloom_filters(self) -> list[str]:
        """The columns of which data files get bloom filters, where a write says nothing else."""
        return self._native.bloom_filters

    @property
    def num_files(self) -> int:
        """The number of data files."""
        return self._native.num_files

    @property
    def metadata(self) -> dict[str, Any]:
        """The annotations that were given when it was created or written."""
        result: dict[str, Any] = json.loads(self._native.metadata)
        return result

    @property
    def partitions(self) -> list[Partition]:
        """The partitions, ordered by their values.

        Examples
        --------
        >>> import partita as pt
        >>> table = pt.create_table(
        ...     "memory://tables/partitions",
        ...     {"y": [2021, 2022, 2022], "v": [1, 2, 3]},
        ...     partition_by="y",
        ... )
        >>> [(p.path, p.rows) for p in table.partitions]
        [('y=2021', 1), ('y=2022', 2)]
        """
        try:
            schema = self.schema if self.partition_by else None
        except ImportError:
            # Without pyarrow the texts of a key stand for themselves.
            schema = None
        return [
            Partition(PartitionKey(pairs, schema), files, rows, groups, size)
            for pairs, files, rows, groups, size in self._native.partitions()
        ]

    # Reading

    def plot_partitions(self, ax: Axes | None = None) -> Axes:
        """Plot the sizes of the partitions with matplotlib; of very many the largest ones.

        Examples
        --------
        >>> import partita as pt
        >>> table = pt.create_table(
        ...     "memory://examples/plot", {"y": [1, 2, 2], "v": [1, 2, 3]}, partition_by="y"
        ... )
        >>> [label.get_text() for label in table.plot_partitions().get_yticklabels()]
        ['y=1', 'y=2']
        """
        from partita._plots import plot_partitions

        return plot_partitions(self.partitions, ax)

    @steps
    def read(
        self,
        columns: Sequence[str] | None = None,
        where: Where | None = None,
        *,
        limit: int | None = None,
        categoricals: Sequence[str] | None = None,
        dates_as_object: bool = True,
        dtype_backend: DtypeBackend | None = None,
        progress: Progress = False,
    ) -> Steps[pd.DataFrame]:
        """Read into a pandas DataFrame.

        Parameters
        ----------
        columns : sequence of str, optional
            The columns, in this order; all of them if left out.
        where : Expr, str, list or dict, optional
            Which rows: ``pt.col("fare") > 10``, ``"fare > 10"``, ``[[("fare", ">", 10)]]``, or
            ``{"city": "Oslo"}`` for equality.
        limit : int, optional
            At most so many rows.
        categoricals : sequence of str, optional
            Columns to return as pandas categories, the same for all rows.
        dates_as_object : bool, default True
            Dates as ``datetime.date``; as timestamps if False.
        dtype_backend : {"numpy_nullable", "pyarrow"}, optional
            The types of all columns, as in pandas' own readers. Without it, columns have numpy's
            types, and integers with nulls pandas' nullable ones, which keep their last digit.
        progress : bool or callable, default False
            True shows a bar on standard error; a callable is called with (done, total).

        Returns
        -------
        pandas.DataFrame

        Examples
        --------
        >>> import partita as pt
        >>> table = pt.create_table("memory://tables/read", {"a": [1, 2, 3], "b": [4, 5, 6]})
        >>> table.read(columns=["b"], where="a >= 2")
           b
        0  5
        1  6
        """
        return (
            yield from steps_of(Scan.to_pandas)(
                self.scan(columns, where, limit=limit),
                categoricals=categoricals,
                dates_as_object=dates_as_object,
                dtype_backend=dtype_backend,
                progress=progress,
            )
        )

    def scan(
        self,
        columns: Sequence[str] | None = None,
        where: Where | None = None,
        *,
        limit: int | None = None,
        batch_rows: int | None = None,
    ) -> Scan:
        """Describe a read, to be run in the form wanted.

        Parameters
        ----------
        columns, where, limit
            As for `read`.
        batch_rows : int, optional
            Rows of a record batch, at most.

        Examples
        --------
        >>> import partita as pt
        >>> table = pt.create_table("memory://tables/scan", {"a": [1, 2, 3]})
        >>> table.scan(where=pt.col("a") != 2).to_arrow()["a"].to_pylist()
        [1, 3]
        """
        filters = None if where is None else predicate(where)
        names = columns_of(columns)
        native = self._native.scan(
            names, filters, whole("limit", limit, 0), whole("batch_rows", batch_rows, 1)
        )
        divide = partial(_to_dask, self, names, filters) if limit is None else None
        condition = None if filters is None else Expr(filters)
        remake = (self, self.version, names, condition, limit, batch_rows)
        return Scan(
            native,
            _described(self.name, names, filters, limit),
            divide,
            remake,
            is_limited=limit is not None,
            last_run=self._last_run,
        )

    def to_dask(
        self,
        columns: Sequence[str] | None = None,
        where: Where | None = None,
        **options: Any,
    ) -> dd.DataFrame:
        """Read into a Dask DataFrame, whose tasks all read the version that reads see now.

        Parameters
        ----------
        columns, where
            As for `read`.
        **options
            ``by``, ``index``, ``piece_bytes``, ``categoricals``, ``dates_as_object``: as for
            `partita.dask.read_table`.

        Examples
        --------
        >>> import partita as pt
        >>> table = pt.create_table("memory://tables/dask", {"a": [1, 2, 3]})
        >>> len(table.to_dask(where="a >= 2"))
        2
        """
        return self.scan(columns, where).to_dask(**options)

    @steps
    def count(self, where: Where | None = None) -> Steps[int]:
        """The number of rows, without reading more than it takes to know.

        Examples
        --------
        >>> import partita as pt
        >>> table = pt.create_table(
        ...     "memory://examples/count",
        ...     {"id": [1, 2, 3], "fare": [12.5, 30.0, 9.0]},
        ... )
        >>> table.count(where="fare > 10")
        2
        """
        return (yield from steps_of(Scan.count)(self.scan(where=where)))

    def describe(self, *, footers: bool = True) -> pd.DataFrame:
        """Return the statistics of each column: nulls, smallest and largest value, size.

        No row is read. The smallest and the largest value are None where a column has no values,
        and where they are not known, as those of lists. NaN does not count. The values are exact,
        but for those of long texts, which statistics may have cut: ``exact`` is False there, and
        all values lie between the two.

        Parameters
        ----------
        footers : bool, default True
            Whether to read the footer of each data file: one request for each, 64 at once. Without
            them there is no request, ``bytes`` is missing, texts count as cut, and nothing is known
            about files of plateau that no commit of Partita has looked at.

        Returns
        -------
        pandas.DataFrame
            A row for each column, with ``type``, ``rows``, ``nulls``, ``smallest``, ``largest``,
            ``exact`` and ``bytes`` (the size of its encoded values in the files, which have none of
            the partition columns). Numbers that are not known are ``<NA>``.

        Examples
        --------
        >>> import partita as pt
        >>> table = pt.create_table(
        ...     "memory://tables/describe",
        ...     {"city": ["Oslo", "Rome"], "fare": [12.5, None]},
        ...     partition_by="city",
        ... )
        >>> table.describe()[["type", "nulls", "smallest", "largest", "exact"]]
                 type  nulls  smallest  largest  exact
        city   string      0      Oslo     Rome   True
        fare  float64      1      12.5     12.5   True
        """
        from partita._describe import described

        return described(self._native, footers)

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        return self.scan().__arrow_c_stream__(requested_schema)

    # Changing

    @steps
    def append(
        self,
        data: Any,
        *,
        metadata: Metadata | None = None,
        compression: Compression | None = None,
        sort_by: str | Sequence[str] | None = None,
        bloom_filters: str | Sequence[str] | None = None,
        schema_mode: SchemaMode | None = None,
        row_group_rows: int | None = None,
        target_file_bytes: int | None = None,
        key: str | None = None,
        progress: Progress = False,
    ) -> Steps[Commit]:
        """Add rows, in one atomic commit.

        Appends of others go through as well: a commit that loses a race is tried again on the
        newest version, without writing the data again.

        Parameters
        ----------
        data : object
            Rows, in any form that `create_table` takes.
        metadata : mapping or callable, optional
            Annotations to set in the same commit; see `set_metadata`.
        compression, sort_by, row_group_rows, target_file_bytes
            As for `create_table`.
        bloom_filters : str or sequence of str, optional
            The columns of which these files get bloom filters; those of the table if left out.
        schema_mode : {"merge"}, optional
            What becomes of data whose columns or types are not those of the table. They are refused
            if it is left out. With ``"merge"``, columns that the table has not are added to it,
            those that the data lack are null in the new rows, and a type gets wider where a value
            needs it and nothing is lost; see `widen_column`.
        key : str, optional
            A name of your own for this commit; see `commit`.
        progress : bool or callable, default False
            True shows a bar on standard error; a callable is called with (done, total).

        Raises
        ------
        SchemaMismatch
            If the columns or their types are not those of the table, or cannot be merged with them.

        Examples
        --------
        >>> import partita as pt
        >>> table = pt.create_table("memory://tables/append", {"a": [1]})
        >>> _ = table.append({"a": [2, 3]})
        >>> _ = table.append(({"a": [n]} for n in range(4, 6)))  # streamed
        >>> table.count()
        5
        >>> _ = table.append({"a": [0.5], "b": ["new"]}, schema_mode="merge")
        >>> table.read(where="a < 2")
             a     b
        0  1.0  None
        1  0.5   new
        """
        write = write_options(
            metadata,
            compression,
            sort_by,
            row_group_rows,
            target_file_bytes,
            key=key,
            bloom_filters=bloom_filters,
            schema_mode=schema_mode,
        )
        with stream(data, self.schema) as source, reporting(progress) as report:
            return Commit(**(yield partial(self._native.append, source, write, report)))

    @steps
    def replace(
        self,
        data: Any,
        where: Where,
        *,
        metadata: Metadata | None = None,
        compression: Compression | None = None,
        sort_by: str | Sequence[str] | None = None,
        row_group_rows: int | None = None,
        target_file_bytes: int | None = None,
        schema_mode: SchemaMode | None = None,
        key: str | None = None,
        progress: Progress = False,
    ) -> Steps[Commit]:
        """Swap the rows that match for new ones, in one atomic commit.

        A condition on partition columns alone takes out whole files and reads nothing. With any
        other condition, files that hold such rows are written again without them.

        Parameters
        ----------
        data : object
            Rows, in any form that `create_table` takes.
        where : Expr, str, list or dict
            Which rows go. The new rows need not match.
        metadata, compression, sort_by, row_group_rows, target_file_bytes, schema_mode, key
            See `append`.
        progress : bool or callable, default False
            See `append`.

        Examples
        --------
        >>> import partita as pt
        >>> table = pt.create_table(
        ...     "memory://tables/replace", {"y": [1, 2], "v": ["a", "b"]}, partition_by="y"
        ... )
        >>> _ = table.replace({"y": [2], "v": ["new"]}, where={"y": 2})
        >>> table.read()["v"].tolist()
        ['a', 'new']
        """
        write = write_options(
            metadata,
            compression,
            sort_by,
            row_group_rows,
            target_file_bytes,
            key,
            schema_mode=schema_mode,
        )
        scope = predicate(required("replace", where))
        with stream(data, self.schema) as source, reporting(progress) as report:
            return Commit(**(yield partial(self._native.replace, scope, source, write, report)))

    @steps
    def delete(
        self,
        where: Where,
        *,
        metadata: Metadata | None = None,
        key: str | None = None,
        progress: Progress = False,
    ) -> Steps[Commit]:
        """Remove the rows that match, in one atomic commit.

        A condition on partition columns alone takes out whole files and reads nothing. With any
        other condition, files that hold such rows are written again without them. Rows for which
        the condition is unknown, because a value is null, stay.

        Parameters
        ----------
        where : Expr, str, list or dict
            Which rows go.
        metadata : mapping or callable, optional
            Annotations to set in the same commit; see `set_metadata`.
        key : str, optional
            A name of your own for this commit; see `commit`.
        progress : bool or callable, default False
            True shows a bar on standard error; a callable is called with (done, total).

        Examples
        --------
        >>> import partita as pt
        >>> table = pt.create_table(
        ...     "memory://tables/delete",
        ...     {"y": [1, 2, 2], "v": ["a", "b", "c"]},
        ...     partition_by="y",
        ... )
        >>> _ = table.delete(where=pt.col("y") < 2)
        >>> table.delete(where="v == 'c'").rows_removed
        1
        >>> table.read()["v"].tolist()
        ['b']
        """
        scope = predicate(required("delete", where))
        with reporting(progress) as report:
            write = write_options(metadata, key=key)
            return Commit(**(yield partial(self._native.delete, scope, write, report)))

    @steps
    def upsert(
        self,
        data: Any,
        on: str | Sequence[str],
        *,
        metadata: Metadata | None = None,
        compression: Compression | None = None,
        sort_by: str | Sequence[str] | None = None,
        row_group_rows: int | None = None,
        target_file_bytes: int | None = None,
        schema_mode: SchemaMode | None = None,
        key: str | None = None,
        progress: Progress = False,
    ) -> Steps[Commit]:
        """Add rows in the place of those with the same key, in one atomic commit.

        Only files that hold such rows are written again. An index on a key column says which.

        Parameters
        ----------
        data : object
            Rows, in any form that `create_table` takes. Their keys are held in memory.
        on : str or sequence of str
            The columns that make the key.
        metadata, compression, sort_by, row_group_rows, target_file_bytes, schema_mode, key
            See `append`.
        progress : bool or callable, default False
            See `append`.

        Raises
        ------
        InvalidArgument
            If a key is null, or occurs twice in the data.

        Examples
        --------
        >>> import partita as pt
        >>> table = pt.create_table("memory://tables/upsert", {"id": [1, 2], "v": ["a", "b"]})
        >>> _ = table.upsert({"id": [2, 3], "v": ["B", "C"]}, on="id")
        >>> table.read().sort_values("id")["v"].tolist()
        ['a', 'B', 'C']
        """
        write = write_options(
            metadata,
            compression,
            sort_by,
            row_group_rows,
            target_file_bytes,
            key,
            schema_mode=schema_mode,
        )
        with stream(data, self.schema) as source, reporting(progress) as report:
            call = partial(self._native.upsert, source, names("on", on), write, report)
            return Commit(**(yield call))

    # Staging

    @steps
    def stage(
        self,
        data: Any,
        *,
        compression: Compression | None = None,
        sort_by: str | Sequence[str] | None = None,
        row_group_rows: int | None = None,
        target_file_bytes: int | None = None,
        schema_mode: SchemaMode | None = None,
        progress: Progress = False,
    ) -> Steps[Staged]:
        """Write rows to files that nobody can see yet.

        Any number of processes may stage; `commit` makes all of it visible at once.

        Parameters
        ----------
        data : object
            Rows, in any form that `create_table` takes.
        compression, sort_by, row_group_rows, target_file_bytes, schema_mode, progress
            See `append`.

        Examples
        --------
        >>> import partita as pt
        >>> table = pt.create_table("memory://tables/stage", {"a": [1]})
        >>> staged = [table.stage({"a": [2]}), table.stage({"a": [3]})]
        >>> table.commit(staged).rows_added
        2
        """
        write = write_options(
            None,
            compression,
            sort_by,
            row_group_rows,
            target_file_bytes,
            schema_mode=schema_mode,
        )
        with stream(data, self.schema) as source, reporting(progress) as report:
            return Staged((yield partial(self._native.stage, source, write, report)))

    @steps
    def commit(
        self,
        staged: Staged | Sequence[Staged],
        *,
        where: Where | None = None,
        on: str | Sequence[str] | None = None,
        metadata: Metadata | None = None,
        key: str | None = None,
        grace: dt.timedelta | None = None,
        progress: Progress = False,
    ) -> Steps[Commit]:
        """Make staged files part of the table, in one atomic commit.

        Parameters
        ----------
        staged : Staged or sequence of Staged
            What `stage` returned, here or in other processes. If the commit fails their files
            stay, to be committed again or discarded.
        where : Expr, str, list or dict, optional
            Remove these rows in the same commit; staged rows are not looked at.
        on : str or sequence of str, optional
            Columns that make a key: remove the rows that have the same key as a staged one. Not
            together with `where`.
        metadata : mapping or callable, optional
            Annotations to set in the same commit; see `set_metadata`.
        key : str, optional
            A name of your own for this commit, an idempotency key. Sent twice, also at the same
            time, it is one commit: where the history holds a commit of that key, nothing is done,
            and version and id are those of that commit. A key holds until its commit expires.
        grace : timedelta, optional
            The grace of the collections of garbage that may run beside this commit; 24 hours if
            left out. Files that were staged longer than half of it ago are refused.
        progress : bool or callable, default False
            True shows a bar on standard error; a callable is called with (done, total).

        Raises
        ------
        AlreadyExists
            If one of them was committed before, as far as the history tells.
        StagedExpired
            If they were staged so long ago that garbage collection may remove them, or has.
        InvalidArgument
            If the key was used for another operation.

        Examples
        --------
        >>> import partita as pt
        >>> table = pt.create_table(
        ...     "memory://examples/commit",
        ...     {"id": [1, 2, 3], "fare": [12.5, 30.0, 9.0]},
        ... )
        >>> staged = [table.stage({"id": [n], "fare": [1.0]}) for n in (4, 5)]
        >>> table.commit(staged, key="job 17").rows_added
        2
        >>> table.count()
        5
        """
        several = [staged] if isinstance(staged, Staged) else list(staged)
        for one in several:
            if not isinstance(one, Staged):
                raise InvalidArgument(f"commit takes what stage returned, not {one!r}")
        scope = None if where is None else predicate(where)
        write = write_options(metadata, key=key, grace=grace)
        native = [one._native for one in several]
        if on is not None and where is not None:
            raise InvalidArgument("commit takes where= or on=, not both")
        with reporting(progress) as report:
            if on is not None:
                call = partial(self._native.commit_upsert, native, names("on", on), write, report)
            else:
                call = partial(self._native.commit, native, scope, write, report)
            return Commit(**(yield call))

    def discard(self, staged: Staged | Sequence[Staged]) -> None:
        """Delete staged files that are not to be committed.

        Files that were committed stay. If it cannot be read which ones these are, the error is
        raised and nothing is deleted.

        Examples
        --------
        >>> import partita as pt
        >>> table = pt.create_table(
        ...     "memory://examples/discard",
        ...     {"id": [1, 2, 3], "fare": [12.5, 30.0, 9.0]},
        ... )
        >>> staged = table.stage({"id": [4], "fare": [1.0]})
        >>> table.discard(staged)
        >>> table.count()
        3
        """
        several = [staged] if isinstance(staged, Staged) else list(staged)
        self._native.discard([one._native for one in several])

    def transaction(
        self, *, metadata: Metadata | None = None, key: str | None = None
    ) -> Transaction:
        """Several changes that become visible together, or not at all.

        With a key (see `commit`) they are made once, however often the transaction is run.

        Examples
        --------
        >>> import partita as pt
        >>> table = pt.create_table("memory://tables/transaction", {"a": [1, 2, 3]})
        >>> with table.transaction() as tx:
        ...     tx.delete(where="a == 2")
        ...     tx.append({"a": [20]})
        >>> table.read()["a"].tolist()
        [1, 3, 20]
        >>> tx.commit.version
        2
        """
        return Transaction(self, metadata, key)

    def set_metadata(self, metadata: Metadata, *, key: str | None = None) -> Commit:
        """Set annotations, and remove those set to None, in one atomic commit.

        A function is called with the annotations that are there, and gives those to set. It is
        called again if another writer was first, so that nothing is lost of what others set.
        Wherever `metadata` is an argument it may be such a function.

        Examples
        --------
        >>> import partita as pt
        >>> table = pt.create_table("memory://tables/metadata", {"a": [1]}, metadata={"x": 1})
        >>> _ = table.set_metadata({"owner": "me", "x": None})
        >>> table.metadata["owner"], "x" in table.metadata
        ('me', False)
        >>> _ = table.set_metadata(lambda present: {"runs": present.get("runs", 0) + 1})
        >>> table.metadata["runs"]
        1
        """
        return Commit(**self._native.set_metadata(write_options(metadata, key=key)))

    # Upkeep

    def optimize(
        self,
        *,
        target_file_bytes: int | None = None,
        sort_by: str | Sequence[str] | None = None,
        where: Where | None = None,
        compression: Compression | None = None,
        row_group_rows: int | None = None,
        key: str | None = None,
        progress: Progress = False,
    ) -> Commit:
        """Put the small files of each partition together, in one atomic commit.

        No row is added or lost: what others append meanwhile is kept beside.

        Parameters
        ----------
        target_file_bytes : int, optional
            Files are put together up to this size; 128 MiB if left out. Files of more than half
            of it are left alone, unless rows are to be sorted.
        sort_by : str or sequence of str, optional
            Sort the rows of each new file by these columns.
        where : Expr, str, list or dict, optional
            Only these partitions: a condition on partition columns.
        compression, row_group_rows, key, progress
            See `append`.

        Examples
        --------
        >>> import partita as pt
        >>> table = pt.create_table("memory://tables/optimize", {"a": [3]})
        >>> for n in range(3):
        ...     _ = table.append({"a": [n]})
        >>> _ = table.optimize(sort_by="a")
        >>> table.read()["a"].tolist()
        [0, 1, 2, 3]
        """
        scope = None if where is None else predicate(where)
        size = whole("target_file_bytes", target_file_bytes, 1)
        write = write_options(None, compression, None, row_group_rows, key=key)
        with reporting(progress) as report:
            commit = self._native.optimize(size, names("sort_by", sort_by), scope, write, report)
        return Commit(**commit)

    def build_index(
        self,
        columns: str | Sequence[str],
        *,
        key: str | None = None,
        progress: Progress = False,
    ) -> Commit:
        """Build secondary indices out of the stored rows, or build them anew.

        From then on every commit keeps them up to date.

        Examples
        --------
        >>> import partita as pt
        >>> table = pt.create_table("memory://tables/index", {"a": [3, 1, 3], "b": [1, 2, 3]})
        >>> _ = table.build_index("a")
        >>> table.index
        ['a']
        >>> table.index_values("a").to_pylist()
        [1, 3]
        """
        with reporting(progress) as report:
            write = write_options(key=key)
            return Commit(**self._native.build_index(names("columns", columns), write, report))

    def drop_index(self, columns: str | Sequence[str], *, key: str | None = None) -> Commit:
        """Drop secondary indices.

        Examples
        --------
        >>> import partita as pt
        >>> table = pt.create_table(
        ...     "memory://examples/drop_index",
        ...     {"id": [1, 2, 3], "fare": [12.5, 30.0, 9.0]},
        ...     index="id",
        ... )
        >>> table.drop_index("id").version
        2
        >>> table.index
        []
        """
        return Commit(**self._native.drop_index(names("columns", columns), write_options(key=key)))

    def index_values(self, column: str) -> pa.ChunkedArray:
        """The distinct values of an indexed column, in order, read from the index alone.

        Nulls are not indexed.

        Examples
        --------
        >>> import partita as pt
        >>> table = pt.create_table(
        ...     "memory://examples/index_values",
        ...     {"id": [1, 2, 3], "fare": [12.5, 30.0, 9.0]},
        ...     index="id",
        ... )
        >>> table.index_values("id").to_pylist()
        [1, 2, 3]
        """
        return pyarrow().table(Exported(self._native.index_values(column))).column(0)

    def add_columns(
        self, columns: pa.Schema | Mapping[str, Any], *, key: str | None = None
    ) -> Commit:
        """Add columns that are null in the rows stored so far; no file is written again.

        Parameters
        ----------
        columns : pyarrow.Schema or mapping
            Names and types: a schema, or a mapping of names to pyarrow types or their names.

        Examples
        --------
        >>> import partita as pt
        >>> table = pt.create_table("memory://tables/columns", {"a": [1]})
        >>> _ = table.add_columns({"tip": "float64"})
        >>> _ = table.append({"a": [2], "tip": [0.5]})
        >>> table.read()["tip"].tolist()
        [nan, 0.5]
        """
        return Commit(**self._native.add_columns(schema_of(columns), write_options(key=key)))

    def widen_column(
        self, column: str, to: Any, *, key: str | None = None, progress: Progress = False
    ) -> Commit:
        """Give a column a wider type.

        Numbers become wider numbers, integers become doubles or decimals, decimals get more digits,
        dates become times without a zone, structs get fields, and a column that held only nulls
        takes any type. A partition column, or one with an index, keeps its type. Where dates become
        times, or integers become decimals, the files are written again. No file is written again in
        the other cases.

        Raises
        ------
        SchemaMismatch
            If the type is not wider, or if there are integers beyond 2^53, which doubles would
            round.

        Examples
        --------
        >>> import partita as pt
        >>> table = pt.create_table("memory://tables/widen", {"a": [1]})
        >>> _ = table.widen_column("a", "float64")
        >>> _ = table.append({"a": [1.5]})
        >>> table.read()["a"].tolist()
        [1.0, 1.5]
        """
        write = write_options(key=key)
        with reporting(progress) as report:
            schema = schema_of({column: to})
            return Commit(**self._native.widen_column(schema, write, report))

    def rename_column(
        self, column: str, to: str, *, key: str | None = None, progress: Progress = False
    ) -> Commit:
        """Give a column another name, in one atomic commit.

        The files that hold it are written again, since plateau finds columns by the names in them.
        Older versions keep theirs. The column keeps its id, its index and its comment. Partition
        columns, and those that such are derived from, keep their names.

        Examples
        --------
        >>> import partita as pt
        >>> table = pt.create_table("memory://tables/rename", {"a": [1], "b": [2]})
        >>> _ = table.rename_column("a", "c")
        >>> table.columns, table.at(1).columns
        (['c', 'b'], ['a', 'b'])
        """
        (old,), (new,) = names("column", column), names("to", to)
        with reporting(progress) as report:
            return Commit(**self._native.rename_column(old, new, write_options(key=key), report))

    def drop_column(
        self, column: str, *, key: str | None = None, progress: Progress = False
    ) -> Commit:
        """Drop a column, with its index, in one atomic commit.

        The files that hold it are written again without it. Older versions keep theirs, until they
        are expired and garbage is collected.

        Examples
        --------
        >>> import partita as pt
        >>> table = pt.create_table("memory://tables/drop_column", {"a": [1], "b": [2]})
        >>> _ = table.drop_column("a")
        >>> table.columns
        ['b']
        """
        (old,) = names("column", column)
        with reporting(progress) as report:
            return Commit(**self._native.drop_column(old, write_options(key=key), report))

    def reorder_columns(self, columns: str | Sequence[str], *, key: str | None = None) -> Commit:
        """Put columns before the others, in the order given. No file is written again.

        Examples
        --------
        >>> import partita as pt
        >>> table = pt.create_table("memory://tables/reorder", {"a": [1], "b": [2], "c": [3]})
        >>> _ = table.reorder_columns(["c", "a"])
        >>> table.columns
        ['c', 'a', 'b']
        """
        order = names("columns", columns)
        return Commit(**self._native.reorder_columns(order, write_options(key=key)))

    def set_comment(self, column: str, comment: str | None, *, key: str | None = None) -> Commit:
        """Set the comment on a column, or remove it with None. No file is written again.

        Examples
        --------
        >>> import partita as pt
        >>> table = pt.create_table("memory://tables/comment", {"fare": [12.5]})
        >>> _ = table.set_comment("fare", "in euros, tip not included")
        >>> table.comments
        {'fare': 'in euros, tip not included'}
        """
        if comment is not None:
            comment = text("a comment", comment)
        (name,) = names("column", column)
        return Commit(**self._native.set_comment(name, comment, write_options(key=key)))

    @steps
    def refresh(self) -> Steps[Table]:
        """Move to the newest version, and return the table.

        Examples
        --------
        >>> import partita as pt
        >>> mine = pt.create_table("memory://tables/refresh", {"a": [1]})
        >>> _ = pt.open_table(mine.url).append({"a": [2]})
        >>> mine.count(), mine.refresh().count()
        (1, 2)
        """
        yield self._native.refresh
        return self

    def to_collection(
        self,
        url: str | os.PathLike[str],
        *,
        axis: str,
        partition_by: Partitioning,
        dimensions: Sequence[str] = (),
        flat: Sequence[str] = (),
        columns: Sequence[str] | None = None,
        where: Where | None = None,
        progress: Progress = False,
        **options: Any,
    ) -> Collection:
        """Make a collection of arrays of the rows: each row gives one item to each variable.

        A partition at a time, and one commit at the end. What no row gives, and what is null, is
        the fill value.

        Parameters
        ----------
        url : str or path-like
            Where the collection is to be.
        axis : str
            The column along which the collection grows.
        partition_by : Date, Sequence or GroupedSequence
            How rows are mapped to partitions.
        dimensions : sequence of str
            Columns that become dimensions besides the axis; their values are stored once. Two rows
            may not have the same values in all of these.
        flat : sequence of str
            Columns with one value for each value of the axis, which become variables without the
            other dimensions.
        columns : sequence of str, optional
            Which columns become variables; all if not given, those that the table is partitioned
            by too.
        where : expression, str, list or dict, optional
            Which rows.
        progress : bool or callable, default False
            True shows a bar on standard error; a callable is called with (done, total) partitions.
        **options
            Those of `create_collection`, such as ``chunks`` and ``storage_options``.

        Examples
        --------
        >>> import partita as pt
        >>> t = pt.create_table(
        ...     "memory://to_collection/t",
        ...     {"cycle": [1, 1, 2, 2], "x": [0, 1, 0, 1], "v": [1.0, 2.0, 5.0, 6.0]},
        ... )
        >>> c = t.to_collection(
        ...     "memory://to_collection/c",
        ...     axis="cycle",
        ...     dimensions=["x"],
        ...     partition_by=pt.Sequence(["cycle"]),
        ... )
        >>> c.read("cycle == 2").v.values
        array([[5., 6.]])
        """
        from partita._convert import to_collection

        names = self.columns if columns is None else columns
        kept = list(dict.fromkeys([axis, *dimensions, *names]))
        with reporting(progress) as report:
            return to_collection(
                self, url, axis, partition_by, dimensions, flat, kept, where, report, options
            )

    def copy(
        self,
        url: str | os.PathLike[str],
        *,
        where: Where | None = None,
        overwrite: bool = False,
        storage_options: Mapping[str, Any] | None = None,
        filesystem: FileSystem | None = None,
        single_writer: bool = False,
        progress: Progress = False,
    ) -> Table:
        """Copy the version that reads see to another place, and return the copy.

        Files are copied as they are, and become visible together. To rename a table, copy it and
        `drop` it.

        Parameters
        ----------
        url : str or path-like
            Where the copy is to be, in whatever store; the last component is its name.
        where : Expr, str, list or dict, optional
            Copy only these rows; they are written anew then.
        overwrite : bool, default False
            Replace a table that exists already, instead of raising `AlreadyExists`.
        storage_options, filesystem, single_writer
            Of the store of the copy, as for `create_table`.
        progress : bool or callable, default False
            True shows a bar on standard error; a callable is called with (done, total).

        Examples
        --------
        >>> import partita as pt
        >>> table = pt.create_table("memory://tables/original", {"a": [1, 2]})
        >>> table.copy("memory://elsewhere/copied").count()
        2
        """
        path, options = connection(url, storage_options, filesystem)
        scope = None if where is None else predicate(where)
        with reporting(progress) as report:
            native = self._native.copy(path, scope, overwrite, options, single_writer, report)
        return Table(native, options, read_only=False, single_writer=single_writer)

    def verify(
        self, *, data: bool = False, repair: bool = False, progress: Progress = False
    ) -> list[Problem]:
        """Check the newest version against what the store holds; return what is wrong.

        Every object that it names is there, sizes, row counts and bounds are those of the files,
        indices agree with the data, the history can be read.

        Parameters
        ----------
        data : bool, default False
            Decode all data as well, not only footers and indexed columns, and compare each byte of
            the data files with the digests that were committed.
        repair : bool, default False
            Put right what can be: rebuild indices, write the schema file again, remove a header
            that nobody reads.
        progress : bool or callable, default False
            True shows a bar on standard error; a callable is called with (done, total).

        Examples
        --------
        >>> import partita as pt
        >>> pt.create_table("memory://tables/sound", {"a": [1, 2]}, index="a").verify(data=True)
        []
        """
        with reporting(progress) as report:
            return [Problem(*found) for found in self._native.verify(data, repair, report)]

    # Versions

    @steps
    def at(self, version: Version) -> Steps[Table]:
        """The table as it was at an older version, for reading.

        It stays there, and refuses every change with `ReadOnly`.

        Parameters
        ----------
        version : int, datetime or str
            The number of a version, or a time: the newest version committed by then, going by the
            clocks of the writers. A text is a time in ISO 8601; without a zone it is UTC.

        Raises
        ------
        NotFound
            If the history holds no such version; it may have expired.

        Examples
        --------
        >>> import partita as pt
        >>> table = pt.create_table("memory://tables/at", {"a": [1]})
        >>> _ = table.append({"a": [2]})
        >>> table.at(1).read()["a"].tolist()
        [1]
        """
        return Table(
            (yield partial(self._native.at, *moment(version))),
            self._storage_options,
            read_only=True,
            single_writer=self._single_writer,
            pinned=True,
        )

    def restore(
        self, version: Version, *, metadata: Metadata | None = None, key: str | None = None
    ) -> Commit:
        """Make an older version the newest, in one atomic commit.

        The versions in between stay in the history. No file is written again.

        Examples
        --------
        >>> import partita as pt
        >>> table = pt.create_table("memory://tables/restore", {"a": [1]})
        >>> _ = table.append({"a": [2]})
        >>> table.restore(1).version
        3
        >>> table.read()["a"].tolist()
        [1]
        """
        return Commit(**self._native.restore(*moment(version), write_options(metadata, key=key)))

    def expire(
        self, *, keep_last: int | None = None, keep_within: dt.timedelta | None = None
    ) -> int:
        """Take old versions out of the history; return how many.

        Their files go with the next `collect_garbage`.

        Parameters
        ----------
        keep_last : int, optional
            Keep so many of the newest versions.
        keep_within : timedelta, optional
            Keep what was the newest version within this time, by the store's clock.

        Examples
        --------
        >>> import partita as pt
        >>> table = pt.create_table("memory://tables/expire", {"a": [1]})
        >>> _ = table.append({"a": [2]})
        >>> table.expire(keep_last=1)
        1
        >>> [snapshot.version for snapshot in table.history()]
        [2]
        """
        if (keep_last is None) == (keep_within is None):
            raise InvalidArgument("expire takes keep_last= or keep_within=, one of them")
        within = None if keep_within is None else micros("keep_within", keep_within)
        return self._native.expire(whole("keep_last", keep_last, 1), within)

    def collect_garbage(
        self, *, grace: dt.timedelta = dt.timedelta(hours=24), dry_run: bool = False
    ) -> Garbage:
        """Remove files that neither the newest version nor the history names.

        Parameters
        ----------
        grace : timedelta, default 24 hours
            Leave alone what was written, or dropped from the table by a commit or an expiry, less
            than this ago by the store's clock: a writer may be about to commit it, or a reader
            still read it.
        dry_run : bool, default False
            Only tell what would be removed.

        Examples
        --------
        >>> import partita as pt
        >>> table = pt.create_table("memory://tables/garbage", {"a": [1]})
        >>> table.collect_garbage()
        Garbage(0 objects, 0 B)
        """
        return Garbage(*self._native.collect_garbage(micros("grace", grace), dry_run))

    def history(self) -> History[Snapshot]:
        """The recorded versions, newest first, as a list that shows itself as a table.

        Examples
        --------
        >>> import partita as pt
        >>> table = pt.create_table("memory://tables/history", {"a": [1]})
        >>> _ = table.append({"a": [2, 3]})
        >>> [snapshot.rows for snapshot in table.history()]
        [3, 1]
        """
        return History(Snapshot._from_native(fields) for fields in self._native.history())

    def schema_history(self) -> list[SchemaVersion]:
        """The schemas that the table has had, newest first, as far as the history goes back.

        Examples
        --------
        >>> import partita as pt
        >>> table = pt.create_table("memory://tables/schema_history", {"a": [1]})
        >>> _ = table.append({"a": [2]})
        >>> _ = table.rename_column("a", "b")
        >>> [(one.version, one.schema.names, one.column_ids) for one in table.schema_history()]
        [(3, ['b'], {'b': 1}), (1, ['a'], {'a': 1})]
        """
        return [
            SchemaVersion._from_native(fields, pyarrow_schema(schema))
            for fields, schema in self._native.schema_history()
        ]

    @steps
    def committed(self, id_or_key: str) -> Steps[Snapshot | None]:
        """The commit of this id, or of this idempotency key, if it was made.

        Call this after `CommitUnknown`, whose ``context["commit"]`` is the id, or after a commit
        that was interrupted. The result is None if there is no such commit, or if it has expired
        from the history. The newest version of the table is read.

        Examples
        --------
        >>> import partita as pt
        >>> table = pt.create_table("memory://tables/committed", {"a": [1]})
        >>> commit = table.append({"a": [2]}, key="monday")
        >>> table.committed("monday").version, table.committed(commit.id).version
        (2, 2)
        >>> table.committed("tuesday") is None
        True
        """
        fields = yield partial(self._native.committed, id_or_key)
        return None if fields is None else Snapshot._from_native(fields)

    def drop(self) -> int:
        """Delete the table with all of its objects; return how many there were.

        Examples
        --------
        >>> import partita as pt
        >>> table = pt.create_table(
        ...     "memory://examples/drop",
        ...     {"id": [1, 2, 3], "fare": [12.5, 30.0, 9.0]},
        ... )
        >>> table.drop() > 0
        True
        >>> pt.ls("memory://examples/drop")
        []
        """
        return self._native.drop()

    # How it shows

    def __repr__(self) -> str:
        return table_text(self)

    def _repr_html_(self) -> str:
        from partita._notebook import table_html

        return table_html(self)

    def __reduce__(self) -> tuple[Any, ...]:
        at = self.version if self._pinned else None
        options = (self._storage_options, self._read_only, self._single_writer)
        return _reopen, (carried(self.url, self._storage_options), *options, at)


def _reopen(
    url: str,
    storage_options: dict[str, Any],
    read_only: bool,
    single_writer: bool,
    at: int | None,
) -> Table:
    native = _native.Table.open(url, storage_options, read_only, single_writer)
    table = Table(native, storage_options, read_only=read_only, single_writer=single_writer)
    return table if at is None else table.at(at)


def _to_dask(
    table: Table,
    columns: list[str] | None,
    where: _native.Predicate | None,
    **options: Any,
) -> dd.DataFrame:
    from partita.dask._read import read
    from partita.dask._source import Source

    source = Source.of(table, referenced(table._storage_options))
    return read(source, table, columns, None if where is None else Expr(where), **options)


def _described(
    name: str, columns: list[str] | None, where: _native.Predicate | None, limit: int | None
) -> str:
    parts = [name]
    if columns is not None:
        parts.append(f"columns={columns}")
    if where is not None:
        parts.append(f"where={Expr(where)}")
    if limit is not None:
        parts.append(f"limit={limit}")
    return ", ".join(parts)
