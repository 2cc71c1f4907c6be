"""The libraries that `tables.py` compares: the same queries, as each is meant to be asked.

Each imports its library when it is made, so that a process holds only the one that it measures.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

__all__ = ["PEERS", "Peer", "Query"]


@dataclass(frozen=True)
class Query:
    """Some columns, or all of them, of the rows that match, or of all rows."""

    columns: tuple[str, ...] | None = None
    where: tuple[str, str, Any] | None = None

    @property
    def names(self) -> list[str] | None:
        """The columns as a list."""
        return None if self.columns is None else list(self.columns)

    @property
    def predicates(self) -> list[list[tuple[str, str, Any]]] | None:
        """The condition in the form that plateau, pyarrow and Partita share."""
        return None if self.where is None else [[self.where]]


class Peer(Protocol):
    """A library, and the folder in which it keeps the table."""

    def __init__(self, folder: Path) -> None: ...

    def prepared(self, data: Any) -> Any:
        """A pyarrow Table as what `write` takes."""

    def write(self, data: Any, partition_by: str, index: str | None) -> None:
        """Write the table."""

    def read(self, query: Query) -> Any:
        """Read into memory, in the library's own form; ``len`` gives the rows."""

    def to_pandas(self, query: Query) -> Any:
        """Read into a DataFrame of pandas."""


class Partita:
    """A table of the package measured here."""

    def __init__(self, folder: Path) -> None:
        import partita

        self._library = partita
        self._url = folder / "trips"

    def prepared(self, data: Any) -> Any:
        return data

    def write(self, data: Any, partition_by: str, index: str | None) -> None:
        self._library.create_table(self._url, data, partition_by=partition_by, index=index)

    def read(self, query: Query) -> Any:
        table = self._library.open_table(self._url)
        return table.scan(query.names, query.predicates).to_arrow()

    def to_pandas(self, query: Query) -> Any:
        return self._library.open_table(self._url).read(query.names, query.predicates)


class Plateau:
    """Reads and writes DataFrames."""

    def __init__(self, folder: Path) -> None:
        from plateau.io import eager

        self._library = eager
        folder.mkdir(parents=True, exist_ok=True)
        self._store = f"hfs://{folder.absolute()}"

    def prepared(self, data: Any) -> Any:
        return data.to_pandas()

    def write(self, data: Any, partition_by: str, index: str | None) -> None:
        self._library.store_dataframes_as_dataset(
            self._store,
            "trips",
            [data],
            partition_on=[partition_by],
            secondary_indices=None if index is None else [index],
        )

    def read(self, query: Query) -> Any:
        return self._library.read_table(
            "trips", self._store, columns=query.names, predicates=query.predicates
        )

    def to_pandas(self, query: Query) -> Any:
        return self.read(query)


class Pyarrow:
    """A folder that `pyarrow.dataset` writes; it has no indices."""

    def __init__(self, folder: Path) -> None:
        import pyarrow.dataset
        import pyarrow.parquet

        self._library = pyarrow.dataset
        self._expression = pyarrow.parquet.filters_to_expression
        self._folder = folder

    def prepared(self, data: Any) -> Any:
        return data

    def write(self, data: Any, partition_by: str, index: str | None) -> None:
        schema = data.select([partition_by]).schema
        parts = self._library.partitioning(schema, flavor="hive")
        self._library.write_dataset(data, self._folder, format="parquet", partitioning=parts)

    def read(self, query: Query) -> Any:
        where = None if query.where is None else self._expression(query.predicates)
        dataset = self._library.dataset(self._folder, partitioning="hive")
        return dataset.to_table(query.names, filter=where)

    def to_pandas(self, query: Query) -> Any:
        return self.read(query).to_pandas()


class Polars:
    """A folder that Polars writes; it has no indices."""

    def __init__(self, folder: Path) -> None:
        import polars

        self._library = polars
        self._folder = folder

    def prepared(self, data: Any) -> Any:
        return self._library.from_arrow(data)

    def write(self, data: Any, partition_by: str, index: str | None) -> None:
        parts = self._library.PartitionBy(self._folder, key=partition_by, include_key=False)
        data.lazy().sink_parquet(parts, compression="snappy", mkdir=True)

    def read(self, query: Query) -> Any:
        lazy = self._library.scan_parquet(self._folder, hive_partitioning=True)
        if query.where is not None:
            name, compare, value = query.where
            compared = {"==": operator.eq, ">": operator.gt}[compare]
            lazy = lazy.filter(compared(self._library.col(name), value))
        return (lazy if query.columns is None else lazy.select(query.columns)).collect()

    def to_pandas(self, query: Query) -> Any:
        return self.read(query).to_pandas()


PEERS: dict[str, type[Peer]] = {
    "partita": Partita,
    "plateau": Plateau,
    "pyarrow": Pyarrow,
    "polars": Polars,
}
