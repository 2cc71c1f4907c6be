"""Creating, opening and listing datasets."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar, Union

from partita import _native
from partita._arguments import (
    Compression,
    Version,
    metadata_json,
    names,
    whole,
    write_options,
)
from partita._credentials import WithoutSecrets
from partita._data import is_schema, stream
from partita._encoding import restored
from partita._progress import Progress, reporting
from partita._steps import Steps, run, steps, steps_of
from partita._xarray import from_xarray
from partita.collection import Collection, State, copy_arguments, is_lazy_dataset
from partita.errors import CommitUnknown, InvalidArgument, PartitaError
from partita.expression import Where, predicate
from partita.index import open_index, place_of
from partita.partitioning import Bucket, Date, Partitioning, partitioning_arguments
from partita.stores import FileSystem, connection
from partita.table import Table
from partita.view import Variable, View, schema_of, view_of

__all__ = [
    "DatasetInfo",
    "create_collection",
    "create_table",
    "create_view",
    "ls",
    "migrate",
    "open",
    "open_collection",
    "open_table",
    "open_view",
    "rebuild",
    "report",
]

_log = logging.getLogger("partita")

Url = Union[str, "os.PathLike[str]"]
AnyCollection = TypeVar("AnyCollection", bound=Collection)
PartitionBy = str | Date | Bucket | Sequence[str | Date | Bucket]


@dataclass(frozen=True)
class DatasetInfo:
    """One dataset that `ls` found."""

    name: str
    kind: str
    """``table``, ``collection`` or ``view``."""
    url: str
    """What to give to `open`."""


def create_table(
    url: Url,
    data_or_schema: Any,
    *,
    partition_by: PartitionBy | None = None,
    index: str | Sequence[str] | None = None,
    overwrite: bool = False,
    metadata: Mapping[str, Any] | None = None,
    header: Literal["json", "msgpack"] = "json",
    compression: Compression | None = None,
    sort_by: str | Sequence[str] | None = None,
    bloom_filters: str | Sequence[str] | None = None,
    row_group_rows: int | None = None,
    target_file_bytes: int | None = None,
    storage_options: Mapping[str, Any] | None = None,
    filesystem: FileSystem | None = None,
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
    partition_by : str, Date, Bucket or sequence of these, optional
        The columns whose values name the partitions, outermost first. ``pt.Date("ts", "month")``
        stands for columns ``year`` and ``month`` that are derived from ``ts``,
        ``pt.Bucket("id", 16)`` for a column ``id_bucket``.
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
    bloom_filters : str or sequence of str, optional
        The columns of which files get bloom filters, by which reads with ``==`` and ``in`` skip row
        groups. All later writes keep to it.
    row_group_rows : int, optional
        Rows of a row group in the Parquet files.
    target_file_bytes : int, optional
        A file that has grown past this size is closed and another begun.
    storage_options : mapping, optional
        Options of the store, such as ``{"aws_region": "eu-north-1"}``.
    filesystem : fsspec.AbstractFileSystem or minimalkv.KeyValueStore, optional
        A store of Python in which `url` is then a path; see `partita.stores`.
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
    keys, date, bucket = _partitioning(partition_by)
    create = {
        "partition_by": keys,
        "date": None if date is None else (date.column, date.resolution),
        "bucket": None if bucket is None else (bucket.column, bucket.buckets),
        "index": names("index", index),
        "overwrite": bool(overwrite),
        "metadata": metadata_json(metadata),
        "header": header,
    }
    write = write_options(
        None,
        compression,
        sort_by,
        row_group_rows,
        target_file_bytes,
        bloom_filters=bloom_filters,
    )
    path, options = connection(url, storage_options, filesystem)
    if is_schema(data_or_schema):
        native = _native.Table.create(path, data_or_schema, create, write, options, single_writer)
    else:
        with stream(data_or_schema) as source, reporting(progress) as report:
            native = _native.Table.create_from(
                path, source, create, write, options, single_writer, report
            )
    return Table(native, options, read_only=False, single_writer=single_writer)


@steps
def open_table(
    url: Url,
    *,
    at: Version | None = None,
    storage_options: Mapping[str, Any] | None = None,
    filesystem: FileSystem | None = None,
    read_only: bool = False,
    single_writer: bool = False,
    pickle_credentials: bool = True,
) -> Steps[Table]:
    """Open a table.

    Parameters
    ----------
    url : str or path-like
        Where it is.
    at : int, datetime or str, optional
        Open an older version, for reading; see `Table.at`.
    storage_options : mapping, optional
        Options of the store.
    filesystem : fsspec.AbstractFileSystem or minimalkv.KeyValueStore, optional
        A store of Python in which `url` is then a path; see `partita.stores`.
    read_only : bool, default False
        Refuse every change with `ReadOnly`.
    single_writer : bool, default False
        Promise that nobody else writes, for stores that cannot commit atomically.
    pickle_credentials : bool, default True
        Pickles of the table carry the options of its store, secrets too, so that workers can open
        it. With False they leave the secrets out, and a worker takes those of its environment.

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
    path, options = _connection(url, storage_options, filesystem, pickle_credentials)
    native = yield partial(_native.Table.open, path, options, read_only, single_writer)
    table = Table(native, options, read_only=read_only, single_writer=single_writer)
    return table if at is None else (yield from steps_of(Table.at)(table, at))


def rebuild(
    url: Url,
    *,
    storage_options: Mapping[str, Any] | None = None,
    filesystem: FileSystem | None = None,
    single_writer: bool = False,
) -> Table:
    """Make a new header for a table whose header is lost or cannot be read.

    The table is then what its newest snapshot says, if all of its files are there. Else it is what
    the old header names, and if that cannot be read either, every data file that is found: those of
    older versions too, so look whether rows are there twice. History goes on where there is some.

    Parameters
    ----------
    url : str or path-like
        Where the table is.
    storage_options, filesystem, single_writer
        As of `open_table`.

    Raises
    ------
    AlreadyExists
        If the header can be read.
    NotFound
        If there are no data files.

    Examples
    --------
    >>> import os, tempfile
    >>> import partita as pt
    >>> lake = tempfile.mkdtemp()
    >>> _ = pt.create_table(f"{lake}/trips", {"a": [1, 2]})
    >>> os.remove(f"{lake}/trips.by-dataset-metadata.json")
    >>> pt.rebuild(f"{lake}/trips").count()
    2
    """
    path, options = connection(url, storage_options, filesystem)
    native = _native.Table.rebuild(path, options, single_writer)
    return Table(native, options, read_only=False, single_writer=single_writer)


def create_collection(
    url: Url,
    data: Any,
    *,
    axis: str,
    partition_by: Partitioning,
    insert: bool = True,
    zarr_format: Literal[2, 3] | None = None,
    chunks: Mapping[str, int | str] | None = None,
    catalog: bool = False,
    statistics: Sequence[str] = (),
    encode: bool = False,
    storage_options: Mapping[str, Any] | None = None,
    filesystem: FileSystem | None = None,
    single_writer: bool = False,
    progress: Progress = False,
) -> Collection:
    """Create a collection of labelled arrays, with its first rows or empty.

    Parameters
    ----------
    url : str or path-like
        Where it is to be. With ``icechunk+`` before it, as in ``icechunk+s3://lake/ssh``, the
        collection is made in an Icechunk repository there, which is made too if there is none.
    data : xarray.Dataset, xarray.DataTree or mapping
        What it holds: variables with their types, dimensions, attributes, fill values and codecs,
        which come from their encodings. A mapping has variables by name, each
        ``(dimensions, array)`` and optionally attributes and encoding.
    axis : str
        The variable along which the collection grows. Variables without its dimension are stored
        once, for all partitions.
    partition_by : Date, Sequence or GroupedSequence
        How rows are mapped to partitions: ``pt.Date("time", "month")``.
    insert : bool, default True
        Insert the rows of `data` at once.
    zarr_format : int, optional
        2, which every released ZCollection reads and writes, if nothing is said; 3 is the layout of
        its successor, for nested groups and sharding, and what an Icechunk repository holds.
    chunks : mapping, optional
        How dimensions are cut: a number of items, ``"whole"``, or ``"auto"`` for chunks of at most
        128 MiB.
    catalog : bool, default False
        Keep a list of the partitions, which saves listing directories; Zarr format 3 only.
    statistics : sequence of str, optional
        Variables along the axis, beside the axis itself, of whose values the smallest and largest
        in each partition are kept: see `Collection.set_statistics`.
    encode : bool, default False
        Pack numbers as their encodings say, as xarray does when it writes a file.
    storage_options, filesystem, single_writer, progress
        As of `create_table`.

    Examples
    --------
    >>> import numpy as np, partita as pt
    >>> time = np.arange("2022-01", "2022-03", dtype="M8[D]").astype("M8[us]")
    >>> c = pt.create_collection(
    ...     "memory://create/ssh",
    ...     {"time": ("time", time), "ssh": (("time", "x"), np.zeros((59, 3), "f4"))},
    ...     axis="time",
    ...     partition_by=pt.Date("time", "month"),
    ... )
    >>> sorted(c.variables)
    ['ssh', 'time']
    """
    is_lazy = is_lazy_dataset(data) and axis in data.variables and data[axis].ndim == 1
    rows = data[axis].dims[0] if is_lazy else None
    dataset = from_xarray(data, encode=encode, without_rows=rows)
    description = dataset.schema().to_dict()
    restored(description, chunks or {}, {})
    schema = _native.Schema.from_dict(description)
    path, options = connection(url, storage_options, filesystem)
    native = _native.Collection.create(
        path,
        schema,
        axis,
        partitioning_arguments(partition_by),
        zarr_format,
        catalog,
        list(statistics),
        options,
        single_writer,
    )
    collection = Collection(native, options, read_only=False, single_writer=single_writer)
    if insert:
        # Lazy data is computed partition by partition.
        given = data if is_lazy else dataset
        try:
            collection.insert(given, encode=encode and is_lazy, progress=progress)
        except BaseException as failure:
            undo_creation(native, failure)
            raise
    return collection


def undo_creation(native: _native.Collection, failure: BaseException | None = None) -> None:
    """Leave nothing of a collection whose first rows could not be stored."""
    if isinstance(failure, CommitUnknown):
        return
    try:
        native.undo_creation()
    except PartitaError as error:
        _log.warning("an empty collection is left where its creation failed: %s", error)


def migrate(
    source: Url,
    target: Url,
    *,
    where: Where | None = None,
    zarr_format: Literal[2, 3] | None = None,
    chunks: Mapping[str, int | str] | None = None,
    encoding: Mapping[str, Mapping[str, Any]] | None = None,
    verify: bool = True,
    views: Mapping[Url, Url] | None = None,
    indexes: Mapping[Url, Url] | None = None,
    storage_options: Mapping[str, Any] | None = None,
    filesystem: FileSystem | None = None,
    target_storage_options: Mapping[str, Any] | None = None,
    target_filesystem: FileSystem | None = None,
    single_writer: bool = False,
    progress: Progress = False,
) -> Collection:
    """Copy a collection into another format of Zarr, with other chunks or codecs; verified.

    A partition at a time. What is written is read again, and checksums of the decoded data are
    compared. A migration that was broken off is continued by the same call, and until the end there
    is no collection at `target`. The source is only read; writers may go on meanwhile.

    Parameters
    ----------
    source, target : str or path-like
        A collection in either format, ZCollection's own too, and a place that has none.
    where, zarr_format, chunks, encoding, verify, single_writer, progress
        As of `Collection.copy`.
    views : mapping, optional
        Views over the source that are migrated too, with the place of each new one, which is laid
        over the new collection.
    indexes : mapping, optional
        Indexes of the source that are migrated too, with the place of each new one; those that are
        kept with the source always are. One that is behind, and cannot be made true without its
        function, stays behind.
    storage_options, filesystem
        Of the source and its views; of the target too, where nothing else is said.
    target_storage_options, target_filesystem
        Of the target.

    Examples
    --------
    >>> import numpy as np, partita as pt
    >>> c = pt.create_collection(
    ...     "memory://migrate/old",
    ...     {"cycle": ("n", [1, 1, 2]), "v": ("n", [1.0, 2.0, 5.0])},
    ...     axis="cycle",
    ...     partition_by=pt.Sequence(["cycle"]),
    ... )
    >>> new = pt.migrate("memory://migrate/old", "memory://migrate/new", zarr_format=3)
    >>> new.zarr_format, new.read().v.values.tolist()
    (3, [1.0, 2.0, 5.0])
    """
    opened = open_collection(
        source, storage_options=storage_options, filesystem=filesystem, read_only=True
    )
    if target_storage_options is None and target_filesystem is None:
        target_storage_options, target_filesystem = storage_options, filesystem
    place = connection(target, target_storage_options, target_filesystem)
    arguments = copy_arguments(
        place, single_writer, where, zarr_format, opened._stored(chunks, encoding), verify
    )
    store: dict[str, Any] = {"storage_options": storage_options, "filesystem": filesystem}

    def view_to(old: Url, new: Url) -> tuple[Any, ...]:
        view = open_view(old, base=opened, read_only=True, **store)
        there = connection(new, target_storage_options, target_filesystem)
        return view._native, *there, view._stored(chunks, encoding)

    def index_to(old: Url, new: Url) -> tuple[Any, ...]:
        index = open_index(old, opened, read_only=True, **store)
        there = place_of(new, target_storage_options, target_filesystem, False, single_writer)
        return index._native, there

    with reporting(progress) as report:
        native = opened._native.migrate(
            arguments,
            [view_to(*pair) for pair in (views or {}).items()],
            [index_to(*pair) for pair in (indexes or {}).items()],
            report,
        )
    return Collection(native, place[1], read_only=False, single_writer=single_writer)


@steps
def open_collection(
    url: Url,
    *,
    at: State | None = None,
    branch: str | None = None,
    storage_options: Mapping[str, Any] | None = None,
    filesystem: FileSystem | None = None,
    read_only: bool = False,
    single_writer: bool = False,
    pickle_credentials: bool = True,
    allow_remote_base: bool = True,
) -> Steps[Collection]:
    """Open a collection, of either Zarr format; those of ZCollection too.

    Parameters
    ----------
    url : str or path-like
        Where it is. Before that of an Icechunk repository stands ``icechunk+``; behind it may stand
        ``?branch=name`` or ``?at=state``.
    at : int, str or datetime, optional
        Open an older state, for reading; see `Collection.at`.
    branch : str, optional
        The branch of the repository that is read, and gets commits; ``main`` if not given.
    storage_options, filesystem, read_only, single_writer, pickle_credentials
        As of `open_table`.
    allow_remote_base : bool, default True
        Whether a view may be laid over a base in another store than its own: another kind of store,
        bucket or host. A view names its base in a document, so whoever can write that chooses what
        is read.

    Examples
    --------
    >>> import partita as pt
    >>> _ = pt.create_collection(
    ...     "memory://open/passes",
    ...     {"cycle": ("n", [1, 2])},
    ...     axis="cycle",
    ...     partition_by=pt.Sequence(["cycle"]),
    ... )
    >>> pt.open_collection("memory://open/passes", read_only=True).read().cycle.values
    array([1, 2])
    """
    path, options = _connection(
        url, storage_options, filesystem, pickle_credentials, allow_remote_base
    )
    native = yield partial(_native.Collection.open, path, options, read_only, single_writer)
    collection = Collection(native, options, read_only=read_only, single_writer=single_writer)
    return (yield from _stated(collection, at, branch))


def _stated(
    collection: AnyCollection, at: State | None, branch: str | None
) -> Steps[AnyCollection]:
    if branch is not None:
        collection = yield from steps_of(type(collection).on_branch)(collection, branch)
    if at is None:
        return collection
    return (yield from steps_of(type(collection).at)(collection, at))


def create_view(
    url: Url,
    base: Collection | Url,
    variables: Sequence[Variable] = (),
    *,
    where: Where | None = None,
    attributes: Mapping[str, Any] | None = None,
    storage_options: Mapping[str, Any] | None = None,
    filesystem: FileSystem | None = None,
    single_writer: bool = False,
    progress: Progress = False,
) -> View:
    """Create a view: variables of its own, laid over a collection that is not changed.

    Parameters
    ----------
    url : str or path-like
        Where it is to be; in another store than its base, if you like, and in an Icechunk
        repository of its own over a base in Zarr v3.
    base : Collection, str or path-like
        The collection under it. One that is given by its URL is opened with the options given here.
    variables : sequence of Variable, optional
        What it has; filled with their fill values at first. They need the partitioned dimension of
        the base.
    where : expression, str, list or dict, optional
        Which partitions of the base it covers, also in time to come: a condition on the fields of
        keys; all if not given.
    attributes : mapping, optional
        Attributes of the view, beside those of the base.
    storage_options, filesystem, single_writer, progress
        As of `create_table`.

    Examples
    --------
    >>> import partita as pt
    >>> base = pt.create_collection(
    ...     "memory://create_view/base",
    ...     {"cycle": ("n", [1, 1, 2]), "v": ("n", [1.0, 2.0, 5.0])},
    ...     axis="cycle",
    ...     partition_by=pt.Sequence(["cycle"]),
    ... )
    >>> view = pt.create_view(
    ...     "memory://create_view/view", base, [pt.Variable("w", ["n"], "i4")], where="cycle == 1"
    ... )
    >>> sorted(view.variables), view.own_variables
    (['cycle', 'v', 'w'], ['w'])
    >>> view.read().sizes["n"]
    2
    """
    path, options = connection(url, storage_options, filesystem)
    if not isinstance(base, Collection):
        base = open_collection(
            base, storage_options=storage_options, filesystem=filesystem, read_only=True
        )
    with reporting(progress) as report:
        native = _native.Collection.create_view(
            path,
            base._native,
            schema_of(variables, attributes),
            None if where is None else predicate(where),
            options,
            single_writer,
            report,
        )
    return view_of(native, options, base, read_only=False, single_writer=single_writer)


def open_view(
    url: Url,
    *,
    base: Collection | Url | None = None,
    at: State | None = None,
    branch: str | None = None,
    storage_options: Mapping[str, Any] | None = None,
    filesystem: FileSystem | None = None,
    read_only: bool = False,
    single_writer: bool = False,
    pickle_credentials: bool = True,
    allow_remote_base: bool = True,
) -> View:
    """Open a view; those of ZCollection too.

    Parameters
    ----------
    base : Collection, str or path-like, optional
        The collection under it. Without it, the one that the view names, or, if there is none any
        more, the one at the same place relative to the view, which may have been moved with it.
    url, at, branch, storage_options, filesystem, read_only, single_writer, pickle_credentials, \
allow_remote_base
        As of `open_collection`. An older state of the view is laid over the newest one of the base,
        or over ``base=`` as it was opened.

    Examples
    --------
    >>> import partita as pt
    >>> base = pt.create_collection(
    ...     "memory://open-view/passes",
    ...     {"cycle": ("n", [1, 2])},
    ...     axis="cycle",
    ...     partition_by=pt.Sequence(["cycle"]),
    ... )
    >>> flag = pt.Variable("flag", ["n"], "i1")
    >>> _ = pt.create_view("memory://open-view/flags", base, [flag])
    >>> pt.open_view("memory://open-view/flags").own_variables
    ['flag']
    """
    path, options = _connection(
        url, storage_options, filesystem, pickle_credentials, allow_remote_base
    )
    if base is not None and not isinstance(base, Collection):
        base = open_collection(
            base, storage_options=storage_options, filesystem=filesystem, read_only=True
        )
    below = None if base is None else base._native
    native = _native.Collection.open_view(path, options, read_only, single_writer, below)
    view = view_of(native, options, base, read_only=read_only, single_writer=single_writer)
    return run(_stated(view, at, branch))


def open(
    url: Url,
    *,
    at: Version | None = None,
    branch: str | None = None,
    storage_options: Mapping[str, Any] | None = None,
    filesystem: FileSystem | None = None,
    read_only: bool = False,
    single_writer: bool = False,
    pickle_credentials: bool = True,
    allow_remote_base: bool = True,
) -> Table | Collection | View:
    """Open the dataset at `url`, whatever its kind.

    The parameters are those of `open_table` and `open_collection`. Tables have older versions, and
    so have collections in Icechunk repositories. A view is a `Collection` too, over the base that
    it names; `open_view` takes another one.

    Examples
    --------
    >>> import partita as pt
    >>> _ = pt.create_table("memory://any/t", {"a": [1, 2]})
    >>> type(pt.open("memory://any/t")).__name__
    'Table'
    """
    path, options = _connection(
        url, storage_options, filesystem, pickle_credentials, allow_remote_base
    )
    native = _native.open(path, options, read_only, single_writer)
    if isinstance(native, _native.Collection):
        how = {"read_only": read_only, "single_writer": single_writer}
        if native.base is not None:
            return run(_stated(view_of(native, options, None, **how), at, branch))
        return run(_stated(Collection(native, options, **how), at, branch))
    if branch is not None:
        raise InvalidArgument("a table has no branches")
    table = Table(native, options, read_only=read_only, single_writer=single_writer)
    return table if at is None else table.at(at)


def _connection(
    url: Url,
    storage_options: Mapping[str, Any] | None,
    filesystem: FileSystem | None,
    pickle_credentials: bool,
    allow_remote_base: bool = True,
) -> tuple[str, dict[str, Any]]:
    path, options = connection(url, storage_options, filesystem)
    if not pickle_credentials and filesystem is not None:
        raise InvalidArgument(
            "pickle_credentials=False is for URLs: what filesystem= is given is pickled as it is, "
            "with its secrets"
        )
    if not allow_remote_base and filesystem is None:
        options["allow_remote_base"] = "false"
    return path, options if pickle_credentials else WithoutSecrets(options)


def report(
    dataset: Url | Table | Collection,
    path: str | os.PathLike[str],
    *,
    storage_options: Mapping[str, Any] | None = None,
) -> None:
    """Write a page about a dataset: size, types, growth, uneven partitions, gaps.

    It is one HTML file that loads nothing from elsewhere, as ``partita report`` writes it. It
    shows names and bounds of values, so it is as confidential as the data.

    Parameters
    ----------
    dataset
        The dataset, or its URL.
    path
        The local file to write.
    storage_options
        Options of the store, for a URL.

    Examples
    --------
    >>> import tempfile, pathlib, partita as pt
    >>> trips = pt.create_table("memory://report/trips", {"city": ["Oslo"]})
    >>> page = pathlib.Path(tempfile.mkdtemp(), "trips.html")
    >>> pt.report(trips, page)
    >>> "<title>Table trips</title>" in page.read_text()
    True
    """
    if not isinstance(dataset, (Table, Collection)):
        dataset = open(dataset, storage_options=storage_options, read_only=True)
    Path(path).write_text(dataset._native.report(), encoding="utf-8")


def ls(
    url: Url,
    *,
    storage_options: Mapping[str, Any] | None = None,
    filesystem: FileSystem | None = None,
) -> list[DatasetInfo]:
    """List the datasets directly under a store, by name; only Icechunk repositories are opened.

    Examples
    --------
    >>> import partita as pt
    >>> _ = pt.create_table("memory://lake/trips", {"a": [1]})
    >>> pt.ls("memory://lake")
    [DatasetInfo(name='trips', kind='table', url='memory://lake/trips')]
    """
    found = _native.ls(*connection(url, storage_options, filesystem))
    return [DatasetInfo(*row) for row in found]


def _partitioning(
    partition_by: PartitionBy | None,
) -> tuple[list[str], Date | None, Bucket | None]:
    if partition_by is None or isinstance(partition_by, (str, Date, Bucket)):
        given: list[Any] = [] if partition_by is None else [partition_by]
    else:
        given = list(partition_by)
    dates = [part for part in given if isinstance(part, Date)]
    buckets = [part for part in given if isinstance(part, Bucket)]
    if len(dates) > 1:
        raise InvalidArgument("a table can be partitioned by the parts of one date")
    if len(buckets) > 1:
        raise InvalidArgument("a table can be partitioned by the buckets of one column")
    for bucket in buckets:
        whole("the number of buckets", bucket.buckets, 1)
    keys: list[str] = []
    for part in given:
        if isinstance(part, Date):
            keys += part.fields
        elif isinstance(part, Bucket):
            keys.append(part.field)
        else:
            keys += names("partition_by", [part])
    return keys, dates[0] if dates else None, buckets[0] if buckets else None
