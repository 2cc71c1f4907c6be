"""Small immutable records that datasets answer with."""

from __future__ import annotations

import datetime as dt
import decimal
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from partita._native import CollectionPartition

if TYPE_CHECKING:
    import pyarrow as pa
    from matplotlib.axes import Axes

__all__ = [
    "CollectionCommit",
    "CollectionPartition",
    "Commit",
    "Explain",
    "Garbage",
    "History",
    "Partition",
    "Problem",
    "Retained",
    "SchemaVersion",
    "Snapshot",
    "counted",
    "human_bytes",
    "human_count",
]


def human_bytes(count: int | None) -> str:
    """A byte count for people.

    Examples
    --------
    >>> human_bytes(1536)
    '1.5 KiB'
    """
    if count is None:
        return "?"
    size = float(count)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if size < 1024 or unit == "TiB":
            return f"{int(size)} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    raise AssertionError("unreachable")


def human_count(count: int | None) -> str:
    """A number for people.

    Examples
    --------
    >>> human_count(1234567)
    '1,234,567'
    """
    return "?" if count is None else f"{count:,}"


@dataclass(frozen=True)
class Retained:
    """Space that a collection takes beside what is published.

    Attributes
    ----------
    objects : int
        How many objects are kept; of local files as many inodes at most.
    bytes : int
        The bytes that only these objects take. A hard link to a published file takes none.
    """

    objects: int
    bytes: int

    def __repr__(self) -> str:
        return f"{human_bytes(self.bytes)} in {counted(self.objects, 'object')}"


def _change(added: int, removed: int) -> str:
    return f"+{human_count(added)} −{human_count(removed)}"


def _some(names: Sequence[str], most: int = 6) -> str:
    """The first of many names."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f", … and {human_count(more)} more" if more > 0 else "")


def _record_html(kind: str, pairs: list[tuple[str, str]]) -> str:
    from partita._notebook import record_html

    return record_html(kind, pairs)


def counted(count: int | None, thing: str) -> str:
    """A number of things for people.

    Examples
    --------
    >>> counted(1, "file"), counted(2000, "row"), counted(None, "row")
    ('1 file', '2,000 rows', '? rows')
    """
    return f"{human_count(count)} {thing}{'' if count == 1 else 's'}"


@dataclass(frozen=True)
class Commit:
    """What a commit did."""

    version: int
    """The version it made."""
    id: str
    """Its unique id."""
    files_added: int
    files_removed: int
    rows_added: int
    rows_removed: int
    bytes_added: int
    attempts: int
    """How often it was tried; more than 1 means that others committed meanwhile, and 0 that a
    commit of the same key had been made before."""

    def __repr__(self) -> str:
        return (
            f"Commit(version={self.version}, +{human_count(self.rows_added)} "
            f"-{human_count(self.rows_removed)} rows, "
            f"+{self.files_added} -{self.files_removed} files, {human_bytes(self.bytes_added)})"
        )

    def _repr_html_(self) -> str:
        pairs = [
            ("version", str(self.version)),
            ("rows", _change(self.rows_added, self.rows_removed)),
            ("files", _change(self.files_added, self.files_removed)),
            ("written", human_bytes(self.bytes_added)),
            ("attempts", human_count(self.attempts)),
        ]
        return _record_html("Commit", pairs)


@dataclass(frozen=True)
class SchemaVersion:
    """A schema that a table has had, and the commit that brought it."""

    version: int
    """The first version of this schema, or the oldest that the history still holds."""
    commit: str
    time: dt.datetime
    """When it was committed, in UTC."""
    operation: str
    schema: pa.Schema
    column_ids: dict[str, int]
    """The id of each column; empty for versions of releases that gave none."""
    comments: dict[str, str]

    @classmethod
    def _from_native(cls, fields: Mapping[str, Any], schema: pa.Schema) -> SchemaVersion:
        return cls(**{**fields, "time": _moment(fields["time"]), "schema": schema})

    def __repr__(self) -> str:
        columns = ", ".join(f"{field.name}: {field.type}" for field in self.schema)
        return (
            f"SchemaVersion(version={self.version}, {self.time:%Y-%m-%d %H:%M:%S}Z, "
            f"{self.operation}: {columns})"
        )


def _moment(micros: int) -> dt.datetime:
    epoch = dt.datetime(1970, 1, 1, tzinfo=dt.timezone.utc)
    return epoch + dt.timedelta(microseconds=micros)


@dataclass(frozen=True)
class Snapshot:
    """One version of a table in its history."""

    version: int
    commit: str
    time: dt.datetime
    """When it was committed, in UTC."""
    operation: str
    files: int
    rows: int
    bytes: int
    files_added: int
    files_removed: int
    rows_added: int
    rows_removed: int

    @classmethod
    def _from_native(cls, fields: Mapping[str, Any]) -> Snapshot:
        return cls(**{**fields, "time": _moment(fields["time"])})

    def __repr__(self) -> str:
        return (
            f"Snapshot(version={self.version}, {self.time:%Y-%m-%d %H:%M:%S}Z, "
            f"{self.operation}: +{human_count(self.rows_added)} "
            f"-{human_count(self.rows_removed)} rows, {counted(self.rows, 'row')} in "
            f"{counted(self.files, 'file')}, {human_bytes(self.bytes)})"
        )

    def _repr_html_(self) -> str:
        pairs = [
            ("version", str(self.version)),
            ("time", f"{self.time:%Y-%m-%d %H:%M:%S}Z"),
            ("operation", self.operation),
            ("rows", f"{human_count(self.rows)} ({_change(self.rows_added, self.rows_removed)})"),
            (
                "files",
                f"{human_count(self.files)} ({_change(self.files_added, self.files_removed)})",
            ),
            ("size", human_bytes(self.bytes)),
        ]
        return _record_html("Snapshot", pairs)


class PartitionKey(dict[str, str]):
    """The values that name a partition, as they stand in paths.

    As a condition it stands for the values themselves: the text ``7`` of a column of integers is
    the number.
    """

    def __init__(self, pairs: Iterable[tuple[str, str]], schema: Any = None) -> None:
        super().__init__(pairs)
        known = {} if schema is None else {name: str(schema.field(name).type) for name in self}
        self._types: dict[str, str] = known

    def values_of_columns(self) -> dict[str, Any]:
        """The values, in the classes in which they are compared with their columns."""
        return {name: _value(text, self._types.get(name, "")) for name, text in self.items()}

    def __reduce__(self) -> tuple[Any, ...]:
        return _key, (dict(self), self._types)


def _key(texts: dict[str, str], types: dict[str, str]) -> PartitionKey:
    key = PartitionKey(texts.items())
    key._types = types
    return key


def _value(text: str, kind: str) -> Any:
    if kind.startswith(("int", "uint")):
        return int(text)
    if kind in ("halffloat", "float", "double"):
        # In a list NaN equals itself.
        return [float(text)]
    if kind.startswith("decimal"):
        return decimal.Decimal(text)
    if kind == "bool":
        return text == "True"
    return text.encode() if "binary" in kind else text


@dataclass(frozen=True)
class Partition:
    """One partition of a table. Its key is also a condition: ``where=partition.key``."""

    key: PartitionKey
    """The values that name it, as they stand in paths."""
    files: int
    rows: int | None
    """The number of rows, if it is known without opening the files."""
    row_groups: int | None
    bytes: int | None

    @property
    def path(self) -> str:
        """The key as people write it: ``year=2022/month=1``."""
        return "/".join(f"{name}={value}" for name, value in self.key.items())

    def __repr__(self) -> str:
        return (
            f"Partition({self.path or 'whole table'}: {counted(self.rows, 'row')}, "
            f"{counted(self.files, 'file')}, {human_bytes(self.bytes)})"
        )


@dataclass(frozen=True)
class CollectionCommit:
    """One commit in the history of a collection."""

    number: int
    time: dt.datetime
    """When it was committed, in UTC, by the clock of the writer."""
    operation: str
    partitions: list[str]
    """The directories that it changed."""
    bytes: int
    """Bytes written."""
    id: str = ""
    """What no other commit has; in an Icechunk repository the id of its snapshot."""

    def __repr__(self) -> str:
        return (
            f"CollectionCommit(number={self.number}, {self.time:%Y-%m-%d %H:%M:%S}Z, "
            f"{self.operation}: {counted(len(self.partitions), 'partition')}, "
            f"{human_bytes(self.bytes)} written)"
        )

    def _repr_html_(self) -> str:
        pairs = [
            ("number", str(self.number)),
            ("time", f"{self.time:%Y-%m-%d %H:%M:%S}Z"),
            ("operation", self.operation),
            ("partitions", _some(self.partitions)),
            ("written", human_bytes(self.bytes)),
        ]
        return _record_html("CollectionCommit", pairs)


Entry = TypeVar("Entry", Snapshot, CollectionCommit)


class History(list[Entry]):
    """The versions of a dataset: a list that shows itself as lines, in notebooks as a table."""

    def __repr__(self) -> str:
        return "[" + ",\n ".join(map(repr, self)) + "]"

    def _repr_html_(self) -> str:
        from partita._notebook import history_html

        return history_html(self)


@dataclass(frozen=True)
class Explain:
    """What a read would do, and what was ruled out by what."""

    text: str
    """The account for people."""
    details: dict[str, Any] = field(repr=False)
    """The same for programs."""

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return self.text

    def plot(self, ax: Axes | None = None) -> Axes:
        """Plot with matplotlib how many files each step leaves.

        Examples
        --------
        >>> import partita as pt
        >>> table = pt.create_table(
        ...     "memory://examples/steps", {"y": [1, 2], "v": [1, 2]}, partition_by="y"
        ... )
        >>> bars = table.scan(where="y == 2").explain().plot().patches
        >>> [int(bar.get_width()) for bar in bars]
        [2, 1, 1, 1]
        """
        from partita._notebook.faces import steps_of
        from partita._plots import plot_bars

        steps = steps_of(self.details)
        return plot_bars([name for name, _ in steps], [left for _, left in steps], "files left", ax)

    def _repr_html_(self) -> str:
        from partita._notebook import explain_html

        return explain_html(self)


@dataclass(frozen=True)
class Garbage:
    """What garbage collection removed, or would have."""

    keys: list[str]
    bytes: int
    missing: list[str] = field(default_factory=list)
    """Objects that versions of a table name and that another program, such as plateau's garbage
    collection, has removed."""

    def __repr__(self) -> str:
        return f"Garbage({counted(len(self.keys), 'object')}, {human_bytes(self.bytes)})"

    def _repr_html_(self) -> str:
        from partita._notebook import garbage_html

        return garbage_html(self)


@dataclass(frozen=True)
class Problem:
    """Something that is wrong with a dataset."""

    kind: str
    """``missing``, ``damaged``, ``statistics``, ``index``, ``schema`` or ``header`` of a table;
    ``missing``, ``damaged``, ``misplaced``, ``catalog`` or ``statistics`` of a collection."""
    key: str
    """The key of the object, or the path of the partition concerned."""
    message: str
    repaired: bool
