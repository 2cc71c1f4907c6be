"""Tables as datasets of pyarrow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NoReturn

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.fs as fs

from partita.engines._arrow_predicate import predicate_of
from partita.engines._arrow_tree import fields_of
from partita.engines._batches import Batches
from partita.engines._conditions import Unfit
from partita.engines._request import EngineRequest
from partita.errors import InvalidArgument
from partita.expression import Expr
from partita.scan import Scan

__all__ = ["TableDataset"]

Columns = Sequence[str] | Mapping[str, pc.Expression] | None


class TableDataset(ds.UnionDataset):  # type: ignore[misc]
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

    # Code of Arrow in C++ reads the C++ object of a dataset, and the process ends if there is none.
    # So this is a union over a dataset that has the schema and one file, which refuses to be
    # opened. It is no dataset of files itself, since other programs would read the paths.
    def __init__(
        self,
        scan: Scan,
        condition: pc.Expression | None = None,
        engine: str = "pyarrow dataset",
    ) -> None:
        super().__init__(scan.schema, [_refusing(scan.schema)])
        self._scan = scan
        self._condition = condition
        self._engine = engine
        self.failure: BaseException | None = None
        """The exception that ended the last read; some engines raise another in its place."""

    def scanner(
        self,
        columns: Columns = None,
        filter: pc.Expression | None = None,
        batch_size: int | None = None,
        batch_readahead: int | None = None,
        fragment_readahead: int | None = None,
        fragment_scan_options: Any = None,
        use_threads: bool = True,
        cache_metadata: bool | None = None,
        memory_pool: pa.MemoryPool | None = None,
    ) -> ds.Scanner:
        """A scanner of some columns and rows, to be read once.

        Parameters
        ----------
        columns : sequence of str or mapping of str to Expression, optional
            The columns, or expressions by the names of their results.
        filter : pyarrow.compute.Expression, optional
            Which rows.
        batch_size : int, optional
            Rows of a batch, at most.
        use_threads, memory_pool
            For what Arrow computes: expressions, and the rest of a filter.
        batch_readahead, fragment_readahead, cache_metadata
            Without effect: the engine of Partita decides on these.
        fragment_scan_options
            Refused.
        """
        if fragment_scan_options is not None:
            raise _refused("fragment_scan_options", "leave them out")
        columns = columns if columns is None or isinstance(columns, Mapping) else list(columns)
        scan, after = self._scanned(columns, self._both(filter), batch_size)
        return ds.Scanner.from_batches(
            pa.RecordBatchReader.from_batches(scan.schema, Batches(scan, self._fail)),
            columns=columns,
            filter=after,
            use_threads=use_threads,
            memory_pool=memory_pool,
        )

    def head(
        self,
        num_rows: int,
        columns: Columns = None,
        filter: pc.Expression | None = None,
        **options: Any,
    ) -> pa.Table:
        """The first rows."""
        scanner = self.scanner(columns, filter, batch_size=max(num_rows, 1), **options)
        return scanner.head(num_rows)

    def count_rows(self, filter: pc.Expression | None = None, **options: Any) -> int:
        """The number of rows that a filter leaves, without reading more than it takes to know."""
        condition = self._both(filter)
        scan, after = self._scanned([], condition, None)
        return scan.count() if after is None else int(super().count_rows(filter, **options))

    def get_fragments(self, filter: pc.Expression | None = None) -> Iterator[TableDataset]:
        """The dataset in pieces, one for each file that a filter leaves; each is a dataset."""
        if self._scan._is_limited:
            raise _refused("fragments of a scan with a limit", "make it of the whole scan")
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

    @property
    def children(self) -> NoReturn:
        """Refused: there are no datasets inside."""
        raise _refused("children", "use get_fragments()")

    def replace_schema(self, schema: pa.Schema) -> NoReturn:
        """Refused: a table has one schema."""
        raise _refused("replace_schema", "cast what to_table() gives")

    def sort_by(self, sorting: Any, **options: Any) -> NoReturn:
        """Refused: it holds all rows in memory."""
        raise _refused("sort_by", "use to_table().sort_by(...)")

    def join(self, *arguments: Any, **options: Any) -> NoReturn:
        """Refused: it holds all rows in memory."""
        raise _refused("join", "use to_table().join(...)")

    def join_asof(self, *arguments: Any, **options: Any) -> NoReturn:
        """Refused: it holds all rows in memory."""
        raise _refused("join_asof", "use to_table().join_asof(...)")

    def __repr__(self) -> str:
        return f"TableDataset({self._scan._described})"

    def __reduce__(self) -> tuple[Any, ...]:
        return TableDataset, (self._scan, self._condition, self._engine)

    def _both(self, condition: pc.Expression | None) -> pc.Expression | None:
        if self._condition is None or condition is None:
            return self._condition if condition is None else condition
        return self._condition & condition

    def _translated(
        self, condition: pc.Expression | None
    ) -> tuple[Expr | None, pc.Expression | None]:
        """The predicate to push down, and the condition to apply after the scan."""
        if condition is None:
            return None, None
        if not isinstance(condition, pc.Expression):
            raise InvalidArgument(
                f"a filter is a pyarrow.compute.Expression, not {type(condition).__name__}"
            )
        if self._scan._is_limited:
            return None, condition
        where, exact = predicate_of(condition, self._scan.schema)
        return where, None if exact else condition

    def _scanned(
        self, columns: Columns, condition: pc.Expression | None, batch_rows: int | None
    ) -> tuple[Scan, pc.Expression | None]:
        self.failure = None
        where, after = self._translated(condition)
        names = None if columns is None else tuple(columns)
        request = EngineRequest(self._engine, names, None if after is None else str(after))
        needed = self._needed(columns, after)
        try:
            scan = self._scan._pushed_down(request, needed, where, None, batch_rows)
        except BaseException as error:
            self.failure = error
            raise
        return scan, after

    def _needed(self, columns: Columns, after: pc.Expression | None) -> list[str] | None:
        """The columns to read; None for all, also where an expression does not tell."""
        if columns is None:
            return None
        expressions = list(columns.values()) if isinstance(columns, Mapping) else []
        if after is not None:
            expressions.append(after)
        try:
            found = set().union(*map(fields_of, expressions))
        except Unfit:
            return None
        if not isinstance(columns, Mapping):
            found.update(columns)
        known = self._scan.schema.names
        # A name that is not known comes last, and is refused.
        return [name for name in known if name in found] + sorted(found.difference(known))

    def _fail(self, error: BaseException) -> None:
        self.failure = error


class _Refusing(fs.FileSystemHandler):  # type: ignore[misc]
    """A file system with nothing in it, which says why."""

    def _refuse(self, *arguments: Any) -> NoReturn:
        raise _refused("a read inside of Arrow", "call the methods of the dataset")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Refusing)

    def get_type_name(self) -> str:
        return "partita"

    def normalize_path(self, path: str) -> str:
        return path

    get_file_info = get_file_info_selector = create_dir = delete_dir = _refuse
    delete_dir_contents = delete_root_dir_contents = delete_file = _refuse
    move = copy_file = open_input_stream = open_input_file = _refuse
    open_output_stream = open_append_stream = _refuse


def _refusing(schema: pa.Schema) -> ds.Dataset:
    files = fs.PyFileSystem(_Refusing())
    form = ds.ParquetFileFormat()
    return ds.FileSystemDataset([form.make_fragment("table", files)], schema, form, files)


def _refused(what: str, instead: str) -> InvalidArgument:
    return InvalidArgument(f"a dataset of a table does not have {what}: {instead}")
