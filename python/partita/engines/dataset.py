"""Tables and collections as datasets of pyarrow."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NoReturn

import pyarrow as pa
import pyarrow.compute as pc

from partita.collection_scan import CollectionScan
from partita.engines._arrow_predicate import predicate_of
from partita.engines._batches import Batches, Watched
from partita.engines._dataset import Columns, EngineDataset
from partita.engines._request import EngineRequest
from partita.expression import Expr
from partita.scan import Scan

__all__ = ["CollectionDataset", "TableDataset"]


class TableDataset(EngineDataset):
    """A read of a table as a dataset of pyarrow; made by `Table.to_pyarrow_dataset`.

    Whatever reads a dataset by its methods reads through Partita: DuckDB, Polars'
    ``scan_pyarrow_dataset``, ``pyarrow.dataset.write_dataset``. What reads a dataset inside of
    Arrow instead (``Scanner.from_dataset``, a dataset made of datasets) meets `InvalidArgument`.

    Examples
    --------
    >>> import partita as pt
    >>> import pyarrow.dataset as ds
    >>> table = pt.create_table("memory://dataset/t", {"y": [1, 2], "v": [3, 4]}, partition_by="y")
    >>> dataset = table.to_pyarrow_dataset()
    >>> dataset.count_rows(filter=ds.field("y") == 2)
    1
    >>> dataset.last_run.explain().details["pruned_by_partition"]
    1
    """

    def __init__(
        self,
        scan: Scan,
        condition: pc.Expression | None = None,
        engine: str = "pyarrow dataset",
    ) -> None:
        super().__init__(scan.schema, "table", condition, engine)
        self._scan = scan

    def count_rows(self, filter: pc.Expression | None = None, **options: Any) -> int:
        """The number of rows that a filter leaves, without reading more than it takes to know."""
        scan, after = self._scanned([], self._both(filter), None)
        return scan.count() if after is None else int(super().count_rows(filter, **options))

    def get_fragments(self, filter: pc.Expression | None = None) -> Iterator[TableDataset]:
        """The dataset in pieces, one for each file that a filter leaves; each is a dataset."""
        if self._scan._is_limited:
            raise self._refused("fragments of a scan with a limit", "make it of the whole scan")
        where, _ = self._translated(self._both(filter))
        scan = self._scan if where is None else self._scan._narrowed(where, self._scan._described)
        for _, piece in scan.by_file():
            yield TableDataset(piece, self._condition, self._engine)

    def filter(self, expression: pc.Expression) -> TableDataset:
        """The same rows but for those that a filter leaves out."""
        return TableDataset(self._scan, self._both(expression), self._engine)

    @property
    def last_run(self) -> Scan | None:
        """The scan that ran last; its ``explain()`` shows what was pushed down and its cost."""
        return self._scan.last_run

    def __repr__(self) -> str:
        return f"TableDataset({self._scan._described})"

    def __reduce__(self) -> tuple[Any, ...]:
        return TableDataset, (self._scan, self._condition, self._engine)

    def _read(
        self, columns: Columns, condition: pc.Expression | None, batch_rows: int | None
    ) -> tuple[pa.Schema, Iterator[pa.RecordBatch], pc.Expression | None]:
        scan, after = self._scanned(columns, condition, batch_rows)
        return scan.schema, Watched(Batches(scan), self._fail), after

    def _translated(
        self, condition: pc.Expression | None
    ) -> tuple[Expr | None, pc.Expression | None]:
        """The predicate to push down, and the condition to apply after the scan."""
        if condition is None or self._scan._is_limited:
            return None, condition
        where, exact = predicate_of(condition, self._scan.schema)
        return where, None if exact else condition

    def _scanned(
        self, columns: Columns, condition: pc.Expression | None, batch_rows: int | None
    ) -> tuple[Scan, pc.Expression | None]:
        where, after = self._translated(condition)
        request = EngineRequest.of(self._engine, columns, after)
        needed = self._needed(columns, after)
        return self._scan._pushed_down(request, needed, where, None, batch_rows), after


class CollectionDataset(EngineDataset):
    """Rows of a collection as a dataset of pyarrow; made by `CollectionScan.to_pyarrow_dataset`.

    It reads the variables that a query uses. Conditions on the axis and on other variables along
    the partitioned dimension decide which partitions and chunks are read.

    Examples
    --------
    >>> import partita as pt
    >>> import pyarrow.dataset as ds
    >>> c = pt.create_collection(
    ...     "memory://dataset/c",
    ...     {"cycle": ("n", [1, 1, 2]), "v": ("n", [1.0, 2.0, 5.0])},
    ...     axis="cycle",
    ...     partition_by=pt.Sequence(["cycle"]),
    ... )
    >>> dataset = c.scan().to_pyarrow_dataset()
    >>> dataset.to_table(columns=["v"], filter=ds.field("cycle") == 1)["v"].to_pylist()
    [1.0, 2.0]
    """

    def __init__(
        self,
        scan: CollectionScan,
        condition: pc.Expression | None = None,
        engine: str = "pyarrow dataset",
    ) -> None:
        super().__init__(scan.schema, "collection", condition, engine)
        self._scan = scan

    def get_fragments(self, filter: pc.Expression | None = None) -> NoReturn:
        """Refused: read it whole."""
        raise self._refused("fragments", "read the dataset itself")

    def filter(self, expression: pc.Expression) -> CollectionDataset:
        """The same rows but for those that a filter leaves out."""
        return CollectionDataset(self._scan, self._both(expression), self._engine)

    @property
    def last_run(self) -> CollectionScan | None:
        """The scan that ran last; its ``explain()`` shows what was pushed down."""
        return self._scan.last_run

    def __repr__(self) -> str:
        return f"CollectionDataset({self._scan._described})"

    def __reduce__(self) -> tuple[Any, ...]:
        return CollectionDataset, (self._scan, self._condition, self._engine)

    def _read(
        self, columns: Columns, condition: pc.Expression | None, batch_rows: int | None
    ) -> tuple[pa.Schema, Iterator[pa.RecordBatch], pc.Expression | None]:
        where, after = None, condition
        if condition is not None:
            where, exact = predicate_of(condition, self._scan._selectable)
            after = None if exact else condition
        request = EngineRequest.of(self._engine, columns, after)
        scan = self._scan._pushed_down(request, self._needed(columns, after), where)
        return scan.schema, Watched(scan._batches(), self._fail), after
