"""What each task of a read reads: some files, or some values."""

from __future__ import annotations

import functools
import itertools
import os
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from partita._arguments import names
from partita._arrow import pyarrow
from partita.dask._source import Source
from partita.errors import InvalidArgument
from partita.expression import Expr, col
from partita.scan import Scan, equal_to

if TYPE_CHECKING:
    from partita.table import Table

__all__ = ["BYTES", "By", "Piece", "Plan", "by_of", "plan"]

BYTES = 256 << 20
"""Stored bytes of a piece where nothing else is said."""

By = str | tuple[str, ...]
"""How a read is divided: ``file``, ``partition``, or columns of which each piece has one value."""


@dataclass(frozen=True)
class Piece:
    """What one task reads."""

    files: tuple[str, ...] | None
    """The keys of the files; None for those that planning finds on the worker."""
    where: str | None
    """A condition on rows beside that of the whole read."""
    rows: int | None
    """How many rows there are, without any condition on rows."""

    def scan(self, source: Source, columns: Sequence[str] | None, where: str | None) -> Scan:
        """The read of this piece."""
        names = None if columns is None else tuple(columns)
        scan = _whole(source, names, where, os.getpid())
        if self.where is not None:
            scan = scan._narrowed(Expr.parse(self.where), f"{scan._described}, {self.where}")
        return scan if self.files is None else Scan(scan._native.only(list(self.files)), repr(scan))


@functools.lru_cache(maxsize=16)
def _whole(
    source: Source, columns: tuple[str, ...] | None, where: str | None, process: int
) -> Scan:
    """The read that is divided. A process parses its condition, which may be long, once."""
    return source.table().scan(columns, where)


@dataclass(frozen=True)
class Plan:
    """A read divided into pieces."""

    pieces: tuple[Piece, ...]
    divisions: tuple[Hashable, ...] | None
    """The bounds of the pieces in the index, one more than there are pieces."""
    exact: bool
    """True if the row counts of the pieces are those of the result."""


@functools.lru_cache(maxsize=16)
def plan(source: Source, where: str | None, by: By, index: str | None, limit: int | None) -> Plan:
    """Divides a read of `source`; `limit` bounds the stored bytes of a piece."""
    table = source.table()
    if index is not None:
        return _by_division(table, where, index, limit or BYTES)
    if isinstance(by, tuple):
        return Plan(tuple(_by_value(table, where, by)) or (_NOTHING,), None, False)
    if by == "file":
        pieces = tuple(_by_file(table, where, limit))
    elif by == "partition":
        pieces = tuple(_by_partition(table, where, limit or BYTES))
    else:
        raise InvalidArgument(f"by= is 'file', 'partition' or a list of columns, not {by!r}")
    return Plan(pieces or (_NOTHING,), None, where is None)


_NOTHING = Piece((), None, 0)

_File = tuple[str, list[tuple[str, str]], int | None, int | None]


def _files(table: Table, where: str | None) -> list[_File]:
    return table.scan(where=where)._native.files()


def _names(scan: Scan) -> tuple[str, ...]:
    return tuple(key for key, _, _, _ in scan._native.files())


def _piece(files: Sequence[_File]) -> Piece:
    counts = [rows for _, _, rows, _ in files if rows is not None]
    known = sum(counts) if len(counts) == len(files) else None
    return Piece(tuple(key for key, _, _, _ in files), None, known)


def _bounded(files: Iterable[_File], limit: int) -> Iterator[list[_File]]:
    """Neighbours put together up to `limit` bytes; a larger file stands alone."""
    group: list[_File] = []
    total = 0
    for file in files:
        size = file[3] or 0
        if group and total + size > limit:
            yield group
            group, total = [], 0
        group.append(file)
        total += size
    if group:
        yield group


def _by_file(table: Table, where: str | None, limit: int | None) -> Iterator[Piece]:
    files = _files(table, where)
    for group in [[file] for file in files] if limit is None else _bounded(files, limit):
        yield _piece(group)


def _by_partition(table: Table, where: str | None, limit: int) -> Iterator[Piece]:
    partitions: dict[tuple[tuple[str, str], ...], list[_File]] = {}
    for file in _files(table, where):
        partitions.setdefault(tuple(file[1]), []).append(file)
    for files in partitions.values():
        for group in _bounded(files, limit):
            yield _piece(group)


def _by_value(table: Table, where: str | None, by: tuple[str, ...]) -> Iterator[Piece]:
    for values, scan in table.scan(where=where).by_value(by):
        files = _names(scan)
        yield Piece(files, str(equal_to(values)), None)


def _by_division(table: Table, where: str | None, index: str, limit: int) -> Plan:
    values = _values(table, index)
    if index not in table.partition_by and table.count(where=col(index).is_null()) > 0:
        raise InvalidArgument(
            f"some rows have no {index}, and would have no place among the divisions; read them "
            f"apart, by where='{index} is null'",
            context={"column": index},
        )
    if not values:
        return Plan((_NOTHING,), None, False)
    files = _files(table, where)
    total = sum(size or 0 for _, _, _, size in files)
    count = min(len(values), max(len(files), -(-total // limit), 1))
    starts = [values[i * len(values) // count] for i in range(count)]
    pieces = []
    for low, high in itertools.zip_longest(starts, starts[1:]):
        column = col(index)
        bounds = column >= low if high is None else (column >= low) & (column < high)
        # A version without a number is identified by the names of its files.
        found = None if table.version is not None else _names(table.scan(where=bounds))
        pieces.append(Piece(found, str(bounds), None))
    return Plan(tuple(pieces), tuple(_division(value) for value in [*starts, values[-1]]), False)


def _values(table: Table, column: str) -> list[Any]:
    """The distinct values of a column, in order, without reading data."""
    if column in table.index:
        return table.index_values(column).to_pylist()
    if column not in table.partition_by:
        raise InvalidArgument(
            f"index= takes a partition column or one with an index, which {column} is not; build "
            "an index, or use set_index",
            context={"column": column},
        )
    pa = pyarrow("reading partition values")
    found = table.scan([column])._native.selecting([column]).collect(None)
    return pa.compute.unique(pa.table(found).column(0)).sort().to_pylist()


def _division(value: Any) -> Hashable:
    import datetime as dt

    import pandas as pd

    return pd.Timestamp(value) if isinstance(value, dt.datetime) else value


def by_of(by: str | Sequence[str] | None) -> By:
    """``by=`` as it is kept."""
    if by is None:
        return "file"
    if isinstance(by, str) and by in ("file", "partition"):
        return by
    return tuple(names("by", by))
