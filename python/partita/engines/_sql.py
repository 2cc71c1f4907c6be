"""Queries in SQL, run by DuckDB."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from partita._arrow import optional, pyarrow
from partita._pandas import to_pandas
from partita.collection import Collection
from partita.collection_scan import CollectionScan
from partita.errors import InvalidArgument
from partita.readable import Readable
from partita.scan import Scan

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa

    from partita.engines._dataset import EngineDataset

__all__ = ["Query", "sql"]

_KINDS = ("SELECT", "EXPLAIN", "PRAGMA")
_BATCH_ROWS = 1 << 16


def sql(query: str, /, **tables: Any) -> Query:
    """Describe a query in SQL, to be run in the form wanted; DuckDB runs it.

    DuckDB asks each table for the columns that the query uses and for the rows that its conditions
    select, so that partitions, indices, statistics, bloom filters and pages leave out what they
    can. A collection gives the rows of its `Collection.scan`. Tables have the names that they are
    given here, and no others are known.

    Parameters
    ----------
    query : str
        One statement that gives rows, in the SQL of DuckDB.
    **tables : Table, Collection, scan of one, or rows
        The tables of the query by name: tables, collections, scans, or DataFrames and other rows in
        memory that DuckDB can read.

    Returns
    -------
    Query

    Raises
    ------
    ImportError
        If DuckDB is not installed: ``pip install 'partita[sql]'``.
    InvalidArgument
        If DuckDB does not understand the query.

    Examples
    --------
    >>> import partita as pt
    >>> trips = pt.create_table(
    ...     "memory://engines/sql",
    ...     {"city": ["Oslo", "Oslo", "Rome"], "fare": [12.5, 30.0, 9.0]},
    ...     partition_by="city",
    ... )
    >>> cities = {"city": ["Oslo", "Rome"], "country": ["Norway", "Italy"]}
    >>> query = pt.sql(
    ...     "select country, max(fare) as most from trips join cities using (city) "
    ...     "where city = 'Oslo' group by country",
    ...     trips=trips,
    ...     cities=cities,
    ... )
    >>> query.to_pandas()
      country  most
    0  Norway  30.0
    >>> trips.last_run.explain().details["pruned_by_partition"]
    1
    """
    return Query(query, tables)


class Query:
    """A query that is described but not run; made by `sql` and `Table.sql`.

    It may be run any number of times, each time from the beginning, and is also an Arrow stream
    (``__arrow_c_stream__``).

    Examples
    --------
    >>> import partita as pt
    >>> table = pt.create_table("memory://query/t", {"a": [1, 2, 3]})
    >>> query = table.sql("select a * 2 as b from t where a > 1")
    >>> query.to_arrow()["b"].to_pylist()
    [4, 6]
    """

    def __init__(self, text: str, tables: Mapping[str, Any]) -> None:
        if not isinstance(text, str):
            raise InvalidArgument(f"a query is text, not {text!r}")
        self._text = text
        # Each table at the version that reads see now.
        self._tables = {name: _rows(given) for name, given in tables.items()}
        self._duckdb = _duckdb()
        with self._connected() as connection:
            self._check(connection)

    @property
    def schema(self) -> pa.Schema:
        """The schema of the result, without running the query."""
        with self._running() as relation:
            return pyarrow().schema(relation.limit(0).to_arrow_table().schema)

    def to_arrow(self) -> pa.Table:
        """Run it into a pyarrow Table.

        Examples
        --------
        >>> import partita as pt
        >>> table = pt.create_table("memory://query/arrow", {"a": [1, 2, 3]})
        >>> table.sql("select count(*) as n from t").to_arrow().to_pylist()
        [{'n': 3}]
        """
        with self._running() as relation:
            found: pa.Table = relation.to_arrow_table()
            return found

    def to_pandas(self) -> pd.DataFrame:
        """Run it into a pandas DataFrame, with the types that reads of tables have.

        Examples
        --------
        >>> import partita as pt
        >>> table = pt.create_table("memory://query/pandas", {"a": [1, 2, 3]})
        >>> table.sql("select a from t where a = 2").to_pandas()
           a
        0  2
        """
        return to_pandas(self.to_arrow())

    def to_polars(self) -> pl.DataFrame:
        """Run it into a Polars DataFrame.

        Examples
        --------
        >>> import partita as pt
        >>> table = pt.create_table("memory://query/polars", {"a": [1, 2, 3]})
        >>> table.sql("select max(a) as most from t").to_polars()["most"].to_list()
        [3]
        """
        polars = optional("polars", "reading into Polars")
        frame: pl.DataFrame = polars.from_arrow(self.to_arrow())
        return frame

    def to_batches(self) -> Generator[pa.RecordBatch, None, None]:
        """Run it, one record batch after the other.

        Examples
        --------
        >>> import partita as pt
        >>> table = pt.create_table("memory://query/batches", {"a": [1, 2, 3]})
        >>> sum(batch.num_rows for batch in table.sql("select a from t").to_batches())
        3
        """
        with self._running() as relation:
            yield from relation.to_arrow_reader(_BATCH_ROWS)

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        reader = pyarrow().RecordBatchReader.from_batches(self.schema, self.to_batches())
        return reader.__arrow_c_stream__(requested_schema)

    def __repr__(self) -> str:
        return f"Query({self._text!r}, tables={list(self._tables)})"

    def _check(self, connection: Any) -> None:
        statements = connection.extract_statements(self._text)
        kinds = [statement.type.name for statement in statements]
        if len(kinds) != 1 or kinds[0] not in _KINDS:
            found = ", ".join(kinds) or "nothing"
            raise InvalidArgument(f"a query is one statement that gives rows, not {found}")

    @contextmanager
    def _running(self) -> Iterator[Any]:
        with self._connected() as connection:
            yield connection.sql(self._text)

    @contextmanager
    def _connected(self) -> Iterator[Any]:
        """A database of its own with the tables; errors of ours come through it."""
        datasets: list[EngineDataset] = []
        connection = self._duckdb.connect(":memory:")
        try:
            # DuckDB would otherwise resolve unknown table names to variables of the caller.
            connection.execute("set python_enable_replacements = false")
            for name, rows in self._tables.items():
                if isinstance(rows, (Scan, CollectionScan)):
                    rows = _dataset(rows)
                    datasets.append(rows)
                connection.register(name, rows)
            yield connection
        except self._duckdb.Error as error:
            for dataset in datasets:
                if dataset.failure is not None:
                    raise dataset.failure from error
            if "failed: KeyboardInterrupt" in str(error):
                raise KeyboardInterrupt from error
            if isinstance(error, (self._duckdb.ProgrammingError, self._duckdb.DataError)):
                raise InvalidArgument(f"DuckDB refuses the query: {error}") from error
            raise
        except RuntimeError as error:
            if str(error) == "Query interrupted":
                raise KeyboardInterrupt from error
            raise
        finally:
            connection.close()


def _duckdb() -> Any:
    try:
        return optional("duckdb", "SQL")
    except ImportError as error:
        raise ImportError(
            "SQL needs DuckDB, which is not installed: pip install 'partita[sql]'"
        ) from error


def _rows(given: Any) -> Any:
    """The object that DuckDB reads under a name: a scan, or one of a type that DuckDB knows."""
    if isinstance(given, Readable):
        return given._rows()
    if isinstance(given, Collection):
        return given.scan()
    return pyarrow().table(dict(given)) if isinstance(given, Mapping) else given


def _dataset(scan: Scan | CollectionScan) -> EngineDataset:
    from partita.engines.dataset import CollectionDataset, TableDataset

    if isinstance(scan, CollectionScan):
        return CollectionDataset(scan, engine="DuckDB")
    return TableDataset(scan, engine="DuckDB")
