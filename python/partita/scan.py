"""Reads that are described first and run afterwards."""

from __future__ import annotations

import functools
import json
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

from partita import _native
from partita._arguments import DtypeBackend, names
from partita._arrow import optional, pyarrow, pyarrow_schema, refuse_wide_decimals
from partita._pandas import to_pandas
from partita._progress import Progress, reporting
from partita._steps import Steps, steps, steps_of
from partita.engines._batches import Batches
from partita.engines._request import EngineRequest, LastRun
from partita.errors import InvalidArgument
from partita.expression import Expr, col, predicate
from partita.readable import Readable
from partita.records import Explain

if TYPE_CHECKING:
    import dask.dataframe as dd
    import pandas as pd
    import polars as pl
    import pyarrow as pa

    from partita.table import Table

__all__ = ["Scan", "equal_to"]


class Scan(Readable):
    """A read of some rows and columns of a table at one version; made by `Table.scan`.

    Nothing is read until it is asked for in a form: `to_pandas`, `to_arrow`, `to_polars`,
    `to_batches`, `to_dask`, `count`. A scan may be run any number of times. It is also an Arrow
    stream (``__arrow_c_stream__``), so pyarrow, Polars, DuckDB and others read it batch by batch.

    Examples
    --------
    >>> import partita as pt
    >>> table = pt.create_table("memory://scan/t", {"a": [1, 2, 3], "b": ["x", "y", "z"]})
    >>> scan = table.scan(columns=["b"], where="a > 1")
    >>> scan.to_pandas()
       b
    0  y
    1  z
    >>> scan.count()
    2
    """

    def __init__(
        self,
        native: _native.Scan,
        described: str,
        divide: Callable[..., dd.DataFrame] | None = None,
        remake: tuple[Any, ...] | None = None,
        *,
        is_limited: bool = False,
        last_run: LastRun[Scan] | None = None,
        request: EngineRequest | None = None,
    ) -> None:
        self._native = native
        self._described = described
        self._divide = divide
        self._remake = remake
        self._is_limited = is_limited
        self._last_run = LastRun(last_run)
        self._request = request

    def _rows(self) -> Scan:
        return self

    @property
    def schema(self) -> pa.Schema:
        """The schema of the result."""
        return pyarrow_schema(self._native)

    @steps
    def to_arrow(self, *, progress: Progress = False) -> Steps[pa.Table]:
        """Read into a pyarrow Table.

        Examples
        --------
        >>> import partita as pt
        >>> table = pt.create_table(
        ...     "memory://examples/to_arrow",
        ...     {"id": [1, 2, 3], "fare": [12.5, 30.0, 9.0]},
        ... )
        >>> table.scan(where="fare > 10").to_arrow()["id"].to_pylist()
        [1, 2]
        """
        pa = pyarrow("reading into pyarrow")
        return pa.table((yield from self._collect(progress)))

    @steps
    def to_pandas(
        self,
        /,
        *,
        categoricals: Sequence[str] | None = None,
        dates_as_object: bool = True,
        dtype_backend: DtypeBackend | None = None,
        progress: Progress = False,
        **options: Any,
    ) -> Steps[pd.DataFrame]:
        """Read into a pandas DataFrame.

        Parameters
        ----------
        categoricals : sequence of str, optional
            Columns to return as pandas categories, the same for all rows.
        dates_as_object : bool, default True
            Dates as ``datetime.date``; as timestamps if False.
        dtype_backend : {"numpy_nullable", "pyarrow"}, optional
            The types of all columns, as in pandas' own readers. Without it, columns have numpy's
            types, and integers with nulls pandas' nullable ones.
        progress : bool or callable, default False
            True shows a bar on standard error; a callable is called with (done, total).
        **options
            Passed on to ``pyarrow.Table.to_pandas``, such as ``types_mapper``.

        Examples
        --------
        >>> import partita as pt
        >>> table = pt.create_table(
        ...     "memory://examples/to_pandas",
        ...     {"id": [1, 2, 3], "fare": [12.5, 30.0, 9.0]},
        ... )
        >>> table.scan(where="fare > 10").to_pandas()
           id  fare
        0   1  12.5
        1   2  30.0
        """
        if not self.schema.names:
            # An Arrow table without columns has no rows.
            pandas = optional("pandas", "reading into pandas")
            rows = yield self._native.count
            return cast("pd.DataFrame", pandas.DataFrame(index=pandas.RangeIndex(rows)))
        table = yield from steps_of(Scan.to_arrow)(self, progress=progress)
        return to_pandas(table, categoricals, dates_as_object, dtype_backend, **options)

    def by_partition(self) -> Iterator[tuple[dict[str, str], Scan]]:
        """The same read in pieces: a key and a scan for each partition, in the table's order.

        Raises
        ------
        InvalidArgument
            If the scan has a limit, which its pieces cannot share.

        Examples
        --------
        >>> import partita as pt
        >>> table = pt.create_table(
        ...     "memory://scan/pieces", {"y": [1, 2, 2], "v": [1, 2, 3]}, partition_by="y"
        ... )
        >>> [(key, scan.count()) for key, scan in table.scan().by_partition()]
        [({'y': '1'}, 1), ({'y': '2'}, 2)]
        """
        return self._pieces(by_file=False)

    def by_file(self) -> Iterator[tuple[dict[str, str], Scan]]:
        """The same read in pieces: a partition key and a scan for each file.

        Raises
        ------
        InvalidArgument
            See `by_partition`.

        Examples
        --------
        >>> import partita as pt
        >>> table = pt.create_table(
        ...     "memory://examples/by_file",
        ...     {"id": [1, 2, 3], "fare": [12.5, 30.0, 9.0]},
        ... )
        >>> _ = table.append({"id": [4], "fare": [1.0]})
        >>> [scan.count() for _, scan in table.scan().by_file()]
        [3, 1]
        """
        return self._pieces(by_file=True)

    def by_value(self, columns: str | Sequence[str]) -> Iterator[tuple[dict[str, Any], Scan]]:
        """The same read in pieces: one for each combination of values of some columns.

        The combinations come in the order of their values, null last, whichever files they lie
        in. An index on the columns makes the pieces quick.

        Raises
        ------
        InvalidArgument
            See `by_partition`.

        Examples
        --------
        >>> import partita as pt
        >>> table = pt.create_table("memory://scan/values", {"a": [2, 1, 2], "b": [1, 2, 3]})
        >>> [(key, scan.to_arrow()["b"].to_pylist()) for key, scan in table.scan().by_value("a")]
        [({'a': 1}, [2]), ({'a': 2}, [1, 3])]
        """
        by = list(dict.fromkeys(names("columns", columns)))
        if not by:
            raise InvalidArgument("by_value needs at least one column")
        if self._is_limited:
            raise InvalidArgument(
                "a scan with a limit cannot be divided: divide the scan without the limit, and "
                "stop when there are enough rows"
            )
        found = _as_keys(pyarrow("grouping").table(self._native.selecting(by).collect(None)))
        found = found.group_by(by).aggregate([])
        found = found.sort_by([(name, "ascending") for name in by])
        for row in found.to_pylist():
            shown = ", ".join(f"{name}={value!r}" for name, value in row.items())
            yield row, self._narrowed(equal_to(row), f"{self._described}, {shown}")

    def _pieces(self, by_file: bool) -> Iterator[tuple[dict[str, str], Scan]]:
        for pairs, native in self._native.pieces(by_file):
            key = dict(pairs)
            shown = ", ".join(f"{name}={value!r}" for name, value in key.items())
            yield key, Scan(native, f"{self._described}, {shown}")

    @steps
    def to_polars(self, *, progress: Progress = False) -> Steps[pl.DataFrame]:
        """Read into a Polars DataFrame.

        Examples
        --------
        >>> import partita as pt
        >>> table = pt.create_table(
        ...     "memory://examples/to_polars",
        ...     {"id": [1, 2, 3], "fare": [12.5, 30.0, 9.0]},
        ... )
        >>> table.scan(where="fare > 10").to_polars()["id"].to_list()
        [1, 2]
        """
        polars = optional("polars", "reading into Polars")
        refuse_wide_decimals(self.schema)
        return polars.DataFrame((yield from self._collect(progress)))

    def to_dask(
        self,
        *,
        by: str | Sequence[str] | None = None,
        index: str | None = None,
        piece_bytes: int | None = None,
        categoricals: Sequence[str] | None = None,
        dates_as_object: bool = True,
    ) -> dd.DataFrame:
        """Read into a Dask DataFrame.

        The parameters are those of `partita.dask.read_table`.

        Examples
        --------
        >>> import partita as pt
        >>> table = pt.create_table("memory://scan/dask", {"a": [1, 2, 3]})
        >>> int(table.scan(where="a > 1").to_dask()["a"].sum().compute())
        5
        """
        optional("dask.dataframe", "reading into Dask")
        if self._divide is None:
            raise InvalidArgument(
                "a scan with a limit, or a piece of a scan, cannot be divided; begin with a whole "
                "scan of the table, with where= and by="
            )
        return self._divide(
            by=by,
            index=index,
            piece_bytes=piece_bytes,
            categoricals=categoricals,
            dates_as_object=dates_as_object,
        )

    def to_batches(self) -> Iterator[pa.RecordBatch]:
        """Read one record batch after the other, with bounded memory.

        Examples
        --------
        >>> import partita as pt
        >>> table = pt.create_table("memory://scan/batches", {"a": [1, 2, 3]})
        >>> sum(batch.num_rows for batch in table.scan().to_batches())
        3
        """
        pa = pyarrow("reading record batches")
        batches = self._native.batches()
        return _closing(batches, pa)

    @steps
    def count(self) -> Steps[int]:
        """The number of rows, without reading more than it takes to know.

        Examples
        --------
        >>> import partita as pt
        >>> table = pt.create_table(
        ...     "memory://examples/scan_count",
        ...     {"id": [1, 2, 3], "fare": [12.5, 30.0, 9.0]},
        ... )
        >>> table.scan(where="fare > 10").count()
        2
        """
        rows: int = yield self._native.count
        return rows

    @steps
    def explain(self) -> Steps[Explain]:
        """What is left out by what, and what reading costs; nothing is decoded.

        The account covers files, row groups and pages, and the requests and bytes of the read. Of
        files larger than 1 MiB the footer is read for it, and what bloom filters and page index
        they have. After a run of the scan it also has what that came to, as ``last_run``.

        Examples
        --------
        >>> import partita as pt
        >>> table = pt.create_table(
        ...     "memory://scan/explain", {"y": [1, 2], "v": [3, 4]}, partition_by="y"
        ... )
        >>> scan = table.scan(where="y == 2")
        >>> details = scan.explain().details
        >>> details["pruned_by_partition"], details["requests"], details["last_run"]
        (1, 1, None)
        >>> _ = scan.to_arrow()
        >>> scan.explain().details["last_run"]["requests"]
        1
        """
        text, json_text = yield self._native.explain
        details = json.loads(json_text)
        if self._request is not None:
            text = f"{self._request.text()}\n{text}"
            details["engine"] = asdict(self._request)
        return Explain(text, details)

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        return self._native.__arrow_c_stream__(requested_schema)

    def __arrow_c_schema__(self) -> object:
        return self._native.__arrow_c_schema__()

    def __repr__(self) -> str:
        return f"Scan({self._described})"

    def _repr_html_(self) -> str:
        from partita._notebook import scan_html

        return scan_html(self._described, self)

    def __reduce__(self) -> tuple[Any, ...]:
        if self._remake is None:
            raise InvalidArgument("a piece of a scan cannot be pickled; pickle the whole scan")
        table, version, *described = self._remake
        # The same version wherever it is read; one that plateau wrote has no number.
        if version is not None and not table._pinned:
            table = table.at(version)
        return _remade, (table, *described)

    def _narrowed(self, where: Expr, described: str) -> Scan:
        narrowed = self._native.narrowed(predicate(where))
        if self._remake is None:
            return Scan(narrowed, described, is_limited=self._is_limited)
        table, version, columns, other, *limits = self._remake
        both = where if other is None else other & where
        remake = (table, version, columns, both, *limits)
        return Scan(narrowed, described, None, remake, is_limited=self._is_limited)

    def _pushed_down(
        self,
        request: EngineRequest,
        columns: list[str] | None,
        where: Expr | None,
        limit: int | None,
        batch_rows: int | None,
    ) -> Scan:
        """This scan with what an engine requests, noted as its last run.

        `where` is None for a scan with a limit, which would apply it before the limit, and not
        after as the engine means it. `limit` and `batch_rows` only save work: they have no effect
        after the table has moved to another version, and the caller has to stop at the limit.
        """
        native = self._sized(limit, batch_rows)
        parts = [self._described]
        if columns is not None:
            native = native.selecting(columns)
            parts.append(f"columns={columns}")
        if where is not None:
            native = native.narrowed(predicate(where))
            parts.append(f"where={where}")
        if limit is not None:
            parts.append(f"limit={limit}")
        scan = Scan(
            native,
            ", ".join(parts),
            is_limited=self._is_limited or limit is not None,
            request=request,
        )
        self._last_run.note(scan)
        return scan

    def _sized(self, limit: int | None, batch_rows: int | None) -> _native.Scan:
        """The scan with a limit, if the table is still at the version of the scan."""
        if self._remake is None or (limit is None and batch_rows is None):
            return self._native
        table, version, columns, where, own_limit, own_batch_rows = self._remake
        if version is None or table.version != version:
            return self._native
        limits = [one for one in (limit, own_limit) if one is not None]
        return table._native.scan(
            columns,
            None if where is None else predicate(where),
            min(limits, default=None),
            own_batch_rows or batch_rows,
        )

    def _first(self, rows: int) -> pd.DataFrame:
        """The first rows as a frame."""
        pa = pyarrow("reading into pandas")
        batches, left = [], rows
        reading = Batches(Scan(self._sized(rows, None), self._described))
        while left > 0 and (batch := next(reading, None)) is not None:
            batches.append(batch.slice(0, left))
            left -= batches[-1].num_rows
        return to_pandas(pa.Table.from_batches(batches, self.schema))

    def _collect(self, progress: Progress) -> Steps[_native.Batches]:
        with reporting(progress) as report:
            batches: _native.Batches = yield partial(self._native.collect, report)
            return batches


def _remade(
    table: Table,
    columns: list[str] | None,
    where: Expr | None,
    limit: int | None,
    batch_rows: int | None,
) -> Scan:
    return table.scan(columns, where, limit=limit, batch_rows=batch_rows)


def equal_to(values: Mapping[str, Any]) -> Expr:
    """The rows with these values in some columns, among them null and NaN."""
    # In a list NaN equals itself.
    equal = [
        col(name).is_null() if value is None else col(name).isin([value])
        for name, value in values.items()
    ]
    return functools.reduce(operator.and_, equal)


def _as_keys(table: pa.Table) -> pa.Table:
    """The table with values that Arrow groups and sorts: plain ones, and zero without a sign."""
    pa = pyarrow("grouping")
    compute = import_module("pyarrow.compute")
    for place, column in enumerate(table.schema):
        if pa.types.is_nested(column.type) or pa.types.is_duration(column.type):
            raise InvalidArgument(
                f"column {column.name} of type {column.type} cannot be grouped by",
                context={"column": column.name},
            )
        kind = _key_type(column.type)
        values = table.column(place).cast(kind)
        if pa.types.is_floating(kind):
            # The sum of the negative zero and zero is zero.
            values = compute.add(values, pa.scalar(0.0, kind))
        table = table.set_column(place, column.name, values)
    return table


def _key_type(kind: pa.DataType) -> pa.DataType:
    pa = pyarrow("grouping")
    if pa.types.is_dictionary(kind):
        return _key_type(kind.value_type)
    plain = {
        "halffloat": pa.float32(),
        "string_view": pa.large_string(),
        "binary_view": pa.large_binary(),
    }
    return plain.get(str(kind), kind)


def _closing(batches: _native.BatchIterator, pa: Any) -> Iterator[pa.RecordBatch]:
    try:
        for batch in batches:
            yield pa.record_batch(batch)
    finally:
        batches.close()
