"""The base of indexes.

An index is one Parquet file. Each row tells of a slice of rows of one partition: where it starts
and stops, what a program says of it, and the key of the partition.
"""

from __future__ import annotations

import abc
import pathlib
from collections.abc import Callable, Iterable, Iterator
from functools import reduce
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from partita._arrow import arrow_array
from partita.compat.zcollection._stores import file_system
from partita.compat.zcollection.collection import Collection
from partita.compat.zcollection.collection import abc as collection_abc
from partita.compat.zcollection.collection.callable_objects import MapCallable

__all__ = ["Indexer", "QueryDict", "Scalar"]

Scalar = int | float | bytes
QueryDict = dict[str, Scalar | Iterable[Scalar]]

_OPERATORS = {"and": "and_", "or": "or_", "xor": "xor", "and_not": "and_not", "invert": "invert"}


class Indexer(abc.ABC):
    """An index; programs derive from it and say what it holds and how it is worked out."""

    START = "start"
    STOP = "stop"

    def __init__(
        self,
        path: pathlib.Path | str,
        *,
        filesystem: fsspec.AbstractFileSystem | None = None,
    ) -> None:
        self._path = str(path)
        self._fs = file_system(filesystem)
        self._meta: dict[str, bytes] = {}
        self._partition_keys: tuple[str, ...] = ()
        self._type: dict[str, pa.DataType] = {}
        self._table: pa.Table | None = None

    @property
    def meta(self) -> dict[str, bytes]:
        """What a program stored along with the index."""
        return self._meta

    def dtype(self, **_: Any) -> list[tuple[str, str]]:
        """The columns with their types, without those of the key; programs add theirs to it."""
        return [(self.START, "int64"), (self.STOP, "int64")]

    def pyarrow_type(self, **kwargs: Any) -> dict[str, pa.DataType]:
        """The types of the columns in Arrow; ``S8`` stands for eight bytes."""
        return {
            name: pa.binary(int(code[1:])) if code.startswith("S") else getattr(pa, code)()
            for name, code in self.dtype(**kwargs)
        }

    @classmethod
    @abc.abstractmethod
    def create(
        cls,
        path: pathlib.Path | str,
        zds: Collection,
        *,
        filesystem: fsspec.AbstractFileSystem | None = None,
        **kwargs: Any,
    ) -> Indexer:
        """Create an index for a collection."""

    @classmethod
    def _create(
        cls,
        path: pathlib.Path | str,
        zds: Collection,
        meta: dict[str, bytes] | None = None,
        filesystem: fsspec.AbstractFileSystem | None = None,
        **kwargs: Any,
    ) -> Any:
        """An empty index, for `create` to return."""
        self = cls(path, filesystem=filesystem)
        self._meta = meta or {}
        types = self.pyarrow_type(**kwargs)
        keys = {name: getattr(pa, code)() for name, code in zds.partitioning.dtype()}
        self._partition_keys = tuple(keys)
        self._type = {**types, **keys}
        return self

    @classmethod
    def open(
        cls,
        path: pathlib.Path | str,
        *,
        filesystem: fsspec.AbstractFileSystem | None = None,
    ) -> Any:
        """Open an index."""
        self = cls(path, filesystem=filesystem)
        with self._fs.open(self._path, "rb") as stream:
            schema = pq.read_schema(stream)
        columns = [name for name, _ in self.dtype()]
        self._partition_keys = tuple(name for name in schema.names if name not in columns)
        self._type = {name: schema.field(name).type for name in schema.names}
        self._meta = {name.decode(): value for name, value in (schema.metadata or {}).items()}
        return self

    @abc.abstractmethod
    def update(
        self,
        zds: Collection,
        *,
        partition_size: int | None = None,
        npartitions: int | None = None,
    ) -> None:
        """Bring the index up to date with a collection."""

    def _update(
        self,
        zcollection: Collection,
        func: MapCallable,
        partition_size: int | None = None,
        npartitions: int | None = None,
        **kwargs: Any,
    ) -> None:
        """Work out the rows of partitions anew, and put them in the place of those they had.

        Parameters
        ----------
        func : callable
            Given the dataset of a partition, it returns a structured array of numpy.
        **kwargs
            Given to `Collection.map`.
        """
        bag = zcollection.map(
            func, partition_size=partition_size, npartitions=npartitions, **kwargs
        )
        tables, renewed = [], []
        for key, rows in bag.compute():
            if rows.size:
                tables.append(self._rows(key, rows))
                renewed.append(key)
        if not tables:
            return
        if self._fs.exists(self._path):
            tables.insert(0, self._without(self._stored(), renewed))
        table = pa.concat_tables(tables)
        if self._meta and table.schema.metadata is None:
            table = table.replace_schema_metadata(self._meta)
        with self._fs.open(self._path, "wb") as stream:
            pq.write_table(table, stream)
        self._table = table

    def _rows(self, key: Iterable[tuple[str, int]], rows: np.ndarray[Any, Any]) -> pa.Table:
        names = rows.dtype.names or ()
        columns = {name: arrow_array(rows[name], self._type[name]) for name in names}
        for name, value in key:
            columns[name] = pa.array(np.full(rows.size, value), self._type[name])
        return pa.table({name: columns[name] for name in self._type if name in columns})

    def _without(self, table: pa.Table, keys: list[Iterable[tuple[str, int]]]) -> pa.Table:
        gone = {tuple(value for _, value in key) for key in keys}
        found = zip(*(table[name].to_pylist() for name in self._partition_keys), strict=True)
        return table.filter(pa.array([key not in gone for key in found], pa.bool_()))

    def _stored(self) -> pa.Table:
        with self._fs.open(self._path, "rb") as stream:
            return pq.read_table(stream)

    def _read(self) -> pa.Table:
        if self._table is None:
            self._table = self._stored()
        return self._table

    @property
    def table(self) -> pa.Table:
        """The rows of the index."""
        if not self._fs.exists(self._path):
            raise ValueError("The index is not initialized.")
        return self._read()

    def query(
        self,
        columns: QueryDict,
        *,
        logical_op: str | None = None,
        mask: Any = None,
        only_partition_keys: bool = True,
    ) -> collection_abc.Indexer:
        """Where the rows are that have certain values, for `Collection.load`.

        Parameters
        ----------
        columns : dict
            Values, or lists of them, by the names of columns; all rows if it is empty.
        logical_op : str, default 'and'
            How the conditions of several columns are joined: ``and``, ``or``, ``xor``, ``and_not``
            or ``invert``.
        mask : pyarrow.ChunkedArray, optional
            Which rows of the index to look at.
        only_partition_keys : bool, default True
            Leave the columns of the program out of the result.

        Returns
        -------
        iterable
            Keys with slices of rows, in order; slices that touch each other are one.
        """
        if not self._partition_keys:
            return ()
        if (logical_op or "and") not in _OPERATORS:
            raise ValueError(f"Invalid logical operator: {logical_op}")
        if columns and not set(self._type) & set(columns):
            raise ValueError(f"Invalid column names: {', '.join(columns)}")
        table = self._read() if mask is None else self._read().filter(mask)
        if columns:
            join: Callable[..., Any] = getattr(pc, _OPERATORS[logical_op or "and"])
            table = table.filter(
                reduce(join, (self._has(table, name, value) for name, value in columns.items()))
            )
        order = (*self._partition_keys, self.START, self.STOP)
        table = table.sort_by([(name, "ascending") for name in order])
        names = self._partition_keys
        if not only_partition_keys:
            names = tuple(n for n in table.column_names if n not in (self.START, self.STOP))
        return self._slices(table, names)

    def _has(self, table: pa.Table, name: str, value: Any) -> Any:
        several = isinstance(value, Iterable) and not isinstance(value, (bytes, str))
        values = pa.array(list(value) if several else [value], self._type[name])
        return pc.is_in(table[name], value_set=values)

    def _slices(
        self, table: pa.Table, names: tuple[str, ...]
    ) -> Iterator[tuple[tuple[tuple[str, Any], ...], slice]]:
        starts, stops = table[self.START].to_numpy(), table[self.STOP].to_numpy()
        values = [table[name].to_numpy() for name in names]
        if not len(table):
            return
        breaks = starts[1:] > stops[:-1]
        for column in values:
            breaks |= column[1:] != column[:-1]
        firsts = [0, *(np.flatnonzero(breaks) + 1).tolist()]
        for first, last in zip(firsts, [*firsts[1:], len(table)], strict=True):
            key = tuple((n, column[first]) for n, column in zip(names, values, strict=True))
            yield key, slice(starts[first], stops[last - 1])
