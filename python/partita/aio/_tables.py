"""Tables whose methods are awaited."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING

from partita._arguments import Version
from partita._arrow import pyarrow
from partita._steps import steps_of
from partita.aio._waiting import awaited, ended, waited
from partita.expression import Where
from partita.scan import Scan
from partita.table import Table

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["AsyncScan", "AsyncTable"]


class AsyncScan:
    """A read of some rows and columns of a table; made by `AsyncTable.scan`.

    Nothing is read until one of its methods is awaited, and a scan may be run any number of times.
    """

    def __init__(self, scan: Scan) -> None:
        self.blocking = scan
        """The same scan, whose methods block."""

    @property
    def schema(self) -> pa.Schema:
        """The schema of the result."""
        return self.blocking.schema

    to_arrow = awaited(Scan.to_arrow)
    to_pandas = awaited(Scan.to_pandas)
    to_polars = awaited(Scan.to_polars)
    count = awaited(Scan.count)
    explain = awaited(Scan.explain)

    async def to_batches(self) -> AsyncIterator[pa.RecordBatch]:
        """Read one record batch after the other, with bounded memory."""
        pa = pyarrow("reading record batches")
        batches = self.blocking._native.batches()
        try:
            while (batch := await ended(batches.next)) is not None:
                yield pa.record_batch(batch)
        finally:
            batches.close()

    def __repr__(self) -> str:
        return f"Async{self.blocking!r}"


class AsyncTable:
    """An open table whose methods are awaited; made by `open_table`.

    The parameters and results are those of `Table`.
    """

    def __init__(self, table: Table) -> None:
        self.blocking = table
        """The same table, whose methods block. A commit of one is seen by the other."""

    @property
    def url(self) -> str:
        """The URL."""
        return self.blocking.url

    @property
    def version(self) -> int | None:
        """The version that reads see; None if it was not written by partita."""
        return self.blocking.version

    @property
    def schema(self) -> pa.Schema:
        """The schema, columns in the order in which the table was created."""
        return self.blocking.schema

    def scan(
        self,
        columns: Sequence[str] | None = None,
        where: Where | None = None,
        *,
        limit: int | None = None,
        batch_rows: int | None = None,
    ) -> AsyncScan:
        """Describe a read, to be awaited in the form wanted; as `Table.scan`."""
        return AsyncScan(self.blocking.scan(columns, where, limit=limit, batch_rows=batch_rows))

    read = awaited(Table.read)
    count = awaited(Table.count)
    append = awaited(Table.append)
    insert = append
    replace = awaited(Table.replace)
    delete = awaited(Table.delete)
    upsert = awaited(Table.upsert)
    stage = awaited(Table.stage)
    commit = awaited(Table.commit)
    committed = awaited(Table.committed)

    async def refresh(self) -> AsyncTable:
        """Move to the newest version, and return the table."""
        await waited(steps_of(Table.refresh)(self.blocking))
        return self

    async def at(self, version: Version) -> AsyncTable:
        """The table as it was at an older version, for reading; as `Table.at`."""
        return AsyncTable(await waited(steps_of(Table.at)(self.blocking, version)))

    def __repr__(self) -> str:
        return f"AsyncTable({self.blocking.url})"
