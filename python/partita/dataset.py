"""Creating, opening and listing datasets."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Union

from partita import _native
from partita._arguments import (
    Compression,
    Version,
    metadata_json,
    names,
    options_text,
    write_options,
)
from partita._data import is_schema, stream
from partita._progress import Progress, reporting
from partita.errors import InvalidArgument
from partita.table import Table

if TYPE_CHECKING:
    pass

__all__ = ["DatasetInfo", "Date", "create_table", "ls", "open", "open_table"]

Url = Union[str, "os.PathLike[str]"]


@dataclass(frozen=True)
class Date:
    """Partitions by the parts of a date: ``year``, ``month``, … down to the resolution.

    The parts become integer columns of the table, derived from a column of dates or timestamps on
    every write. Conditions on that column itself leave out partitions as well. Timestamps with a
    time zone count in UTC.

    Examples
    --------
    >>> import datetime as dt
    >>> import partita as pt
    >>> table = pt.create_table(
    ...     "memory://create/dated",
    ...     {"at": [dt.datetime(2025, 12, 31, 23), dt.datetime(2026, 1, 1)], "v": [1, 2]},
    ...     partition_by=pt.Date("at", "month"),
    ... )
    >>> [partition.path for partition in table.partitions]
    ['year=2025/month=12', 'year=2026/month=1']
    >>> table.scan(where="at >= '2026-01-01'").explain().details["files_read"]
    1
    """

    column: str
    resolution: str
    """``year``, ``month``, ``day``, ``hour``, ``minute`` or ``second``."""

    @property
    def fields(self) -> list[str]:
        """The names of the partition columns, outermost first."""
        if self.resolution not in _PARTS:
            raise InvalidArgument(f"a resolution is one of {', '.join(_PARTS)}")
        return _PARTS[: _PARTS.index(self.resolution) + 1]


_PARTS = ["year", "month", "day", "hour", "minute", "second"]


@dataclass(frozen=True)
class DatasetInfo:
    """One dataset that `ls` found."""

    name: str
    kind: str
    """``table``."""
    url: str
    """What to give to `open`."""


def create_table(
    url: Url,
    data_or_schema: Any,
    *,
    partition_by: str | Date | Sequence[str | Date] | None = None,
    index: str | Sequence[str] | None = None,
    overwrite: bool = False,
    metadata: Mapping[str, Any] | None = None,
    header: str = "json",
    compression: Compression | None = None,
    sort_by: str | Sequence[str] | None = None,
    row_group_rows: int | None = None,
    target_file_bytes: int | None = None,
    storage_options: Mapping[str, Any] | None = None,
    single_writer: bool = False,
    progress: Progress = False,
) -> Table:
    """Create a table, with its first rows or empty.

    One atomic commit: either the table exists afterwards with all of its data, or nothing does.

    Parameters
    ----------
    url : str or path-like
        Where it is to be; the last component is its name.
    data_or_schema : object
        Rows: a pandas or Polars DataFrame, a pyarrow Table, RecordBatch or RecordBatchReader, any
        object with ``__arrow_c_stream__``, a dictionary of columns, or an iterable of these (read
        one by one, never held at once). Or a pyarrow Schema (any object with
        ``__arrow_c_schema__``) for an empty table.
    partition_by : str, Date or sequence of these, optional
        The columns whose values name the partitions, outermost first. ``pt.Date("ts", "month")``
        stands for columns ``year`` and ``month`` that are derived from ``ts``.
    index : str or sequence of str, optional
        The columns with a secondary index, which finds the files that hold a value.
    overwrite : bool, default False
        Replace a table that exists already, instead of raising `AlreadyExists`.
    metadata : mapping, optional
        Annotations to keep with the table: whatever JSON can hold.
    header : str, default "json"
        The form of the header: ``"json"``, or ``"msgpack"``, which is smaller.
    compression : str or mapping, optional
        ``"snappy"`` (the default), ``"zstd"``, ``"zstd(LEVEL)"``, ``"lz4"``, ``"gzip"`` or
        ``"none"``; or a mapping of columns to these, ``"*"`` for all others.
    sort_by : str or sequence of str, optional
        Sort the rows of each file by these columns, nulls last.
    row_group_rows : int, optional
        Rows of a row group in the Parquet files.
    target_file_bytes : int, optional
        A file that has grown past this size is closed and another begun.
    storage_options : mapping, optional
        Options of the store, such as ``{"aws_region": "eu-north-1"}``.
    single_writer : bool, default False
        Promise that nobody else writes, for stores that cannot commit atomically.
    progress : bool or callable, default False
        True shows a bar on standard error; a callable is called with (done, total).

    Returns
    -------
    Table

    Examples
    --------
    >>> import partita as pt
    >>> table = pt.create_table(
    ...     "memory://create/trips",
    ...     {"city": ["Oslo", "Rome"], "rider": [7, 8]},
    ...     partition_by="city",
    ...     index=["rider"],
    ... )
    >>> table.columns
    ['city', 'rider']

    An empty one from a schema:

    >>> import pyarrow as pa
    >>> empty = pt.create_table("memory://create/empty", pa.schema({"a": pa.int64()}))
    >>> empty.count()
    0
    """
    keys, date = _partitioning(partition_by)
    create = {
        "partition_by": keys,
        "date": None if date is None else (date.column, date.resolution),
        "index": names("index", index),
        "overwrite": bool(overwrite),
        "metadata": metadata_json(metadata),
        "header": header,
    }
    write = write_options(None, compression, sort_by, row_group_rows, target_file_bytes)
    options = options_text(storage_options)
    path = _url(url)
    if is_schema(data_or_schema):
        native = _native.Table.create(path, data_or_schema, create, write, options, single_writer)
    else:
        with stream(data_or_schema) as source, reporting(progress) as report:
            native = _native.Table.create_from(
                path, source, create, write, options, single_writer, report
            )
    return Table(native, options, read_only=False, single_writer=single_writer)


def open_table(
    url: Url,
    *,
    at: Version | None = None,
    storage_options: Mapping[str, Any] | None = None,
    read_only: bool = False,
    single_writer: bool = False,
) -> Table:
    """Open a table.

    Parameters
    ----------
    url : str or path-like
        Where it is.
    at : int, datetime or str, optional
        Open an older version, for reading; see `Table.at`.
    storage_options : mapping, optional
        Options of the store.
    read_only : bool, default False
        Refuse every change with `ReadOnly`.
    single_writer : bool, default False
        Promise that nobody else writes, for stores that cannot commit atomically.

    Raises
    ------
    NotFound
        If there is no table at `url`.

    Examples
    --------
    >>> import partita as pt
    >>> _ = pt.create_table("memory://opening/t", {"a": [1, 2]})
    >>> pt.open_table("memory://opening/t", read_only=True).count()
    2
    """
    options = options_text(storage_options)
    native = _native.Table.open(_url(url), options, read_only, single_writer)
    table = Table(native, options, read_only=read_only, single_writer=single_writer)
    return table if at is None else table.at(at)


def open(
    url: Url,
    *,
    at: Version | None = None,
    storage_options: Mapping[str, Any] | None = None,
    read_only: bool = False,
    single_writer: bool = False,
) -> Table:
    """Open the dataset at `url`, whatever its kind.

    The parameters are those of `open_table`.

    Examples
    --------
    >>> import partita as pt
    >>> _ = pt.create_table("memory://any/t", {"a": [1, 2]})
    >>> type(pt.open("memory://any/t")).__name__
    'Table'
    """
    options = options_text(storage_options)
    native = _native.open(_url(url), options, read_only, single_writer)
    table = Table(native, options, read_only=read_only, single_writer=single_writer)
    return table if at is None else table.at(at)


def ls(url: Url, *, storage_options: Mapping[str, Any] | None = None) -> list[DatasetInfo]:
    """List the datasets directly under a store, by name; nothing is opened.

    Examples
    --------
    >>> import partita as pt
    >>> _ = pt.create_table("memory://lake/trips", {"a": [1]})
    >>> pt.ls("memory://lake")
    [DatasetInfo(name='trips', kind='table', url='memory://lake/trips')]
    """
    found = _native.ls(_url(url), options_text(storage_options))
    return [DatasetInfo(*row) for row in found]


def _partitioning(
    partition_by: str | Date | Sequence[str | Date] | None,
) -> tuple[list[str], Date | None]:
    if partition_by is None or isinstance(partition_by, (str, Date)):
        given: list[Any] = [] if partition_by is None else [partition_by]
    else:
        given = list(partition_by)
    dates = [part for part in given if isinstance(part, Date)]
    if len(dates) > 1:
        raise InvalidArgument("a table can be partitioned by the parts of one date")
    keys: list[str] = []
    for part in given:
        keys += part.fields if isinstance(part, Date) else names("partition_by", [part])
    return keys, dates[0] if dates else None


def _url(url: Url) -> str:
    try:
        return os.fspath(url)
    except TypeError:
        raise InvalidArgument(f"a URL is a string or a path, not {url!r}") from None
