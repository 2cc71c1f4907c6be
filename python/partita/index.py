"""Indexes of collections: which rows have which values, and reading just these."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from partita import _native
from partita._arrow import pyarrow
from partita._credentials import WithoutSecrets, carried
from partita._data import stream
from partita._functions import Calling
from partita._progress import Progress, reporting
from partita.errors import CommitConflict, InvalidArgument
from partita.expression import Where, predicate
from partita.records import CollectionPartition, counted, human_count
from partita.stores import FileSystem, connection

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    import xarray as xr

    from partita.collection import Collection

__all__ = ["Index", "Selection", "open_index"]

# How often a read begins again if its rows were changed after they were found.
_ATTEMPTS = 20


class Selection:
    """Rows of partitions, as one commit left them; what `Index.query` returns.

    Selections are sets of rows: ``a & b``, ``a | b``, ``a - b`` and ``a ^ b`` are selections too.
    `Collection.read`, `update` and `map` take them as ``rows=``, and refuse with `CommitConflict`
    if one of the partitions was changed since that commit.
    """

    def __init__(self, native: _native.Selection) -> None:
        self._native = native

    @property
    def commit(self) -> int:
        """The number of the commit that left the rows so."""
        return self._native.parts()[0]

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return self._native.rows()

    @property
    def partitions(self) -> list[CollectionPartition]:
        """The partitions with rows, ordered by the values of their keys."""
        return [partition for partition, _ in self._native.parts()[1]]

    @property
    def slices(self) -> list[tuple[CollectionPartition, list[slice]]]:
        """For each partition the slices of its rows, in order; those that touch are one."""
        return [
            (partition, [slice(start, stop) for start, stop in runs])
            for partition, runs in self._native.parts()[1]
        ]

    def _combine(self, other: object, operation: str) -> Selection:
        if not isinstance(other, Selection):
            return NotImplemented
        return Selection(self._native.combine(other._native, operation))

    def __and__(self, other: object) -> Selection:
        return self._combine(other, "and")

    def __or__(self, other: object) -> Selection:
        return self._combine(other, "or")

    def __sub__(self, other: object) -> Selection:
        return self._combine(other, "and_not")

    def __xor__(self, other: object) -> Selection:
        return self._combine(other, "xor")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Selection):
            return NotImplemented
        return self._native.parts() == other._native.parts()

    __hash__ = None  # type: ignore[assignment]

    def __dask_tokenize__(self) -> Any:
        return self._native.parts()

    def __reduce__(self) -> tuple[Any, ...]:
        return Selection, (self._native,)

    def __repr__(self) -> str:
        rows, partitions = counted(self.rows, "row"), counted(len(self.partitions), "partition")
        return f"Selection({rows} of {partitions}, commit {self.commit})"

    def _repr_html_(self) -> str:
        from partita._notebook import record_html

        pairs = [
            ("rows", human_count(self.rows)),
            ("partitions", human_count(len(self.partitions))),
            ("commit", str(self.commit)),
        ]
        return record_html("Selection", pairs)


class Index:
    """An index of a collection; made by `Collection.build_index` and `open_index`.

    It is a table in one Parquet file, which ZCollection opens too. Each row of it names a slice of
    rows of a partition, and says what is true of them. The file says which commit of the collection
    it reflects. A query looks again at partitions that were changed since; `refresh` stores what
    was found.

    Examples
    --------
    >>> import partita as pt
    >>> c = pt.create_collection(
    ...     "memory://indexes/c",
    ...     {"time": ("n", [0, 1, 2, 3, 4, 5]), "cycle": ("n", [7, 7, 8, 8, 8, 7])},
    ...     axis="time",
    ...     partition_by=pt.GroupedSequence(["time"], size=3),
    ...     zarr_format=3,
    ... )
    >>> ix = c.build_index(["cycle"], "cycle.parquet")
    >>> ix.query("cycle == 7")
    Selection(3 rows of 2 partitions, commit 1)
    >>> [(partition.path, slices) for partition, slices in ix.query("cycle == 8").slices]
    [('time=0', [slice(2, 3, None)]), ('time=3', [slice(0, 2, None)])]
    >>> ix.read("cycle == 7").time.values
    array([0, 1, 5])
    """

    def __init__(
        self,
        native: _native.Index,
        collection: Collection,
        place: dict[str, Any],
        function: Tabulating | None,
    ) -> None:
        # Connections do not survive a fork.
        self._opened = (os.getpid(), native)
        self._collection = collection
        self._place = place
        self._function = function

    @property
    def _native(self) -> _native.Index:
        process, native = self._opened
        if process != os.getpid():
            native = _native.Index.open(self._collection._native, self._place, self._function)
            self._opened = (os.getpid(), native)
        return native

    @property
    def url(self) -> str:
        """Where its file is."""
        return self._native.url

    @property
    def collection(self) -> Collection:
        """The collection that it is an index of."""
        return self._collection

    @property
    def variables(self) -> list[str] | None:
        """The variables whose runs of equal values it lists; None if a function made it."""
        return self._native.variables

    @property
    def commit(self) -> int | None:
        """The last commit that it reflects; None if that is not known, because ZCollection wrote
        the file."""
        return self._native.commit

    def query(
        self, where: Where | None = None, *, stale: Literal["refresh", "allow"] = "refresh"
    ) -> Selection:
        """The rows for which a condition is true.

        Parameters
        ----------
        where : expression, str, list or dict, optional
            A condition on the columns of the index, on ``start`` and ``stop``, and on the fields of
            the keys; all rows that the index names if not given.
        stale : {"refresh", "allow"}, default "refresh"
            What to do if the collection was changed since. By default the changed partitions are
            looked at again, and what is found is used by this object alone. If a function made the
            index and is not given, `StaleIndex` is raised. ``"allow"`` uses the index as it is.

        Examples
        --------
        >>> import partita as pt
        >>> c = pt.create_collection(
        ...     "memory://examples/query",
        ...     {"time": ("time", [0, 1, 5]), "v": ("time", [1.0, 2.0, 3.0])},
        ...     axis="time",
        ...     partition_by=pt.GroupedSequence(["time"], size=5),
        ...     zarr_format=3,
        ... )
        >>> c.build_index("v", "v.parquet").query("v > 1 and time >= 5")
        Selection(1 row of 1 partition, commit 1)
        """
        condition = None if where is None else predicate(where)
        return Selection(self._native.query(condition, _allows(stale)))

    def partitions(
        self, where: Where | None = None, *, stale: Literal["refresh", "allow"] = "refresh"
    ) -> list[CollectionPartition]:
        """The partitions with rows for which a condition is true, as for `query`.

        Examples
        --------
        >>> import partita as pt
        >>> c = pt.create_collection(
        ...     "memory://examples/partitions",
        ...     {"time": ("time", [0, 1, 5]), "v": ("time", [1.0, 2.0, 3.0])},
        ...     axis="time",
        ...     partition_by=pt.GroupedSequence(["time"], size=5),
        ...     zarr_format=3,
        ... )
        >>> index = c.build_index("v", "v.parquet")
        >>> [partition.path for partition in index.partitions("v > 2")]
        ['time=5']
        """
        return self.query(where, stale=stale).partitions

    def read(
        self,
        where: Where | None = None,
        *,
        variables: Sequence[str] | None = None,
        decode: bool = False,
        chunks: Mapping[str, Any] | str | int | None = None,
        progress: Progress = False,
    ) -> xr.Dataset | Any:
        """Read the rows for which a condition is true; only their chunks are fetched.

        If they are changed while they are read, they are found and read again. The parameters are
        those of `query` and of `Collection.read`.

        Examples
        --------
        >>> import partita as pt
        >>> c = pt.create_collection(
        ...     "memory://examples/index_read",
        ...     {"time": ("time", [0, 1, 5]), "v": ("time", [1.0, 2.0, 3.0])},
        ...     axis="time",
        ...     partition_by=pt.GroupedSequence(["time"], size=5),
        ...     zarr_format=3,
        ... )
        >>> c.build_index("v", "v.parquet").read("v > 1").time.values
        array([1, 5])
        """
        for attempt in range(_ATTEMPTS):
            rows = self.query(where)
            try:
                return self._collection.read(
                    rows=rows, variables=variables, decode=decode, chunks=chunks, progress=progress
                )
            except CommitConflict:
                if attempt == _ATTEMPTS - 1:
                    raise
        raise AssertionError

    def refresh(
        self, *, all: bool = False, workers: int | None = None, progress: Progress = False
    ) -> int:
        """Look again at the partitions that were changed, and store what was found.

        If two processes do so at the same time, neither loses what the other found.

        Parameters
        ----------
        all : bool, default False
            Look at all partitions, not only at those that commits have changed: ZCollection writes
            without a commit.
        workers : int, optional
            How many partitions are worked on at once.
        progress : bool or callable, default False
            True shows a bar on standard error; a callable is called with (done, total) partitions.

        Returns
        -------
        int
            How many partitions were looked at.

        Examples
        --------
        >>> import partita as pt
        >>> c = pt.create_collection(
        ...     "memory://examples/index_refresh",
        ...     {"time": ("time", [0, 1, 5]), "v": ("time", [1.0, 2.0, 3.0])},
        ...     axis="time",
        ...     partition_by=pt.GroupedSequence(["time"], size=5),
        ...     zarr_format=3,
        ... )
        >>> index = c.build_index("v", "v.parquet")
        >>> _ = c.insert({"time": ("time", [6]), "v": ("time", [4.0])}, merge="upsert")
        >>> index.refresh()
        1
        """
        with reporting(progress) as report:
            return self._native.refresh(all, workers, report)

    def copy(
        self,
        url: str | os.PathLike[str],
        collection: Collection,
        *,
        stale: Literal["refresh", "allow"] = "refresh",
        storage_options: Mapping[str, Any] | None = None,
        filesystem: FileSystem | None = None,
        single_writer: bool = False,
    ) -> Index:
        """Store the index for a copy of its collection, such as a migrated one.

        Parameters
        ----------
        url : str or path-like
            Where its file is to be; a bare name keeps it with `collection`.
        collection : Collection
            A collection with the same rows in the same partitions, or in some of them.
        stale : {"refresh", "allow"}, default "refresh"
            ``"allow"`` copies an index that is behind as it is, and the copy is behind as well.
        storage_options, filesystem, single_writer
            As of `Collection.build_index`.

        Examples
        --------
        >>> import partita as pt
        >>> c = pt.create_collection(
        ...     "memory://examples/index_copy",
        ...     {"time": ("time", [0, 1, 5]), "v": ("time", [1.0, 2.0, 3.0])},
        ...     axis="time",
        ...     partition_by=pt.GroupedSequence(["time"], size=5),
        ...     zarr_format=3,
        ... )
        >>> index = c.build_index("v", "v.parquet")
        >>> copy = c.copy("memory://examples/index_copied")
        >>> index.copy("copied.parquet", copy).query("v > 1").rows
        2
        """
        place = place_of(url, storage_options, filesystem, False, single_writer)
        self._native.copy(place, collection._native, _allows(stale))
        return _reopen(collection, place, self._function)

    def to_arrow(self) -> pa.Table:
        """The table of the index, with what queries of this object have found since.

        Examples
        --------
        >>> import partita as pt
        >>> c = pt.create_collection(
        ...     "memory://examples/index_arrow",
        ...     {"time": ("time", [0, 1, 5]), "v": ("time", [1.0, 2.0, 3.0])},
        ...     axis="time",
        ...     partition_by=pt.GroupedSequence(["time"], size=5),
        ...     zarr_format=3,
        ... )
        >>> c.build_index("v", "v.parquet").to_arrow()["v"].to_pylist()
        [1.0, 2.0, 3.0]
        """
        return pyarrow("to_arrow()").table(self._native.table())

    def to_pandas(self) -> pd.DataFrame:
        """The table of the index as a DataFrame; see `to_arrow`.

        Examples
        --------
        >>> import partita as pt
        >>> c = pt.create_collection(
        ...     "memory://examples/index_pandas",
        ...     {"time": ("time", [0, 1, 5]), "v": ("time", [1.0, 2.0, 3.0])},
        ...     axis="time",
        ...     partition_by=pt.GroupedSequence(["time"], size=5),
        ...     zarr_format=3,
        ... )
        >>> len(c.build_index("v", "v.parquet").to_pandas())
        3
        """
        return self.to_arrow().to_pandas()

    def __repr__(self) -> str:
        what = "a function" if self.variables is None else ", ".join(self.variables)
        known = "unknown commit" if self.commit is None else f"commit {self.commit}"
        return f"Index({self.url}: {what}, {known})"

    def _repr_html_(self) -> str:
        from partita._notebook import index_html

        return index_html(self)

    def __reduce__(self) -> tuple[Any, ...]:
        place = self._place
        if isinstance(self._collection._storage_options, WithoutSecrets):
            options = WithoutSecrets(place["storage_options"])
            place = {**place, "url": carried(place["url"], options), "storage_options": options}
        return _reopen, (self._collection, place, self._function)


def _reopen(collection: Collection, place: dict[str, Any], function: Tabulating | None) -> Index:
    native = _native.Index.open(collection._native, place, function)
    return Index(native, collection, place, function)


def open_index(
    url: str | os.PathLike[str],
    collection: Collection,
    *,
    function: Callable[..., Any] | None = None,
    storage_options: Mapping[str, Any] | None = None,
    filesystem: FileSystem | None = None,
    read_only: bool = False,
    single_writer: bool = False,
) -> Index:
    """Open an index of a collection, which Partita or ZCollection has made.

    Parameters
    ----------
    url : str or path-like
        The location of its file. A bare name, such as ``"cycle.parquet"``, means a file that is
        kept with the collection.
    collection : Collection
        The collection whose partitions the index describes.
    function : callable, optional
        The function that made the index. Without it, such an index cannot be refreshed.
    storage_options, filesystem, read_only, single_writer
        Of the store of the file, as for `open_collection`; those of the collection if it is kept
        with that.

    Examples
    --------
    >>> import partita as pt
    >>> c = pt.create_collection(
    ...     "memory://examples/open_index",
    ...     {"time": ("time", [0, 1, 5]), "v": ("time", [1.0, 2.0, 3.0])},
    ...     axis="time",
    ...     partition_by=pt.GroupedSequence(["time"], size=5),
    ...     zarr_format=3,
    ... )
    >>> _ = c.build_index("v", "v.parquet")
    >>> pt.open_index("v.parquet", c).query("v > 1").rows
    2
    """
    place = place_of(url, storage_options, filesystem, read_only, single_writer)
    called = None if function is None else tabulating(function)
    return _reopen(collection, place, called)


def _allows(stale: str) -> bool:
    if stale not in ("refresh", "allow"):
        raise InvalidArgument(f"stale= takes 'refresh' or 'allow', not {stale!r}")
    return stale == "allow"


def place_of(
    url: str | os.PathLike[str],
    storage_options: Mapping[str, Any] | None,
    filesystem: FileSystem | None,
    read_only: bool,
    single_writer: bool,
) -> dict[str, Any]:
    """Where the file of an index is, as the engine takes it."""
    beside = isinstance(url, str) and filesystem is None and not set(url) & set("/\\:")
    if beside and (storage_options or not url):
        raise InvalidArgument(
            "an index with a bare name is kept with its collection, and has no store of its own; "
            "give a URL or a path"
        )
    path, options = connection(url, storage_options, filesystem)
    return {
        "name": path if beside else None,
        "url": path,
        "storage_options": options,
        "read_only": read_only,
        "single_writer": single_writer,
    }


class Tabulating:
    """Calls a function with a partition, and gives the engine the table that it returned."""

    def __init__(self, call: Callable[..., Any]) -> None:
        self._call = call

    def __call__(self, key: list[tuple[str, int]], data: _native.Dataset, own: Any) -> Any:
        found = self._call(key, data, own)
        if found is None:
            return None
        names = getattr(getattr(found, "dtype", None), "names", None)
        if names:
            found = {name: found[name] for name in names}
        with stream(found) as table:
            return table


def tabulating(function: Callable[..., Any]) -> Tabulating:
    """The function as the engine calls it."""
    return Tabulating(Calling(function))
