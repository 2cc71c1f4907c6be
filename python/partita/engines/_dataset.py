"""The base class of the pyarrow datasets of tables and of collections."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NoReturn

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.fs as fs

from partita.engines._arrow_tree import fields_of
from partita.engines._conditions import Unfit
from partita.errors import InvalidArgument

__all__ = ["Columns", "EngineDataset"]

Columns = Sequence[str] | Mapping[str, pc.Expression] | None


class EngineDataset(ds.UnionDataset):  # type: ignore[misc]
    """A dataset of pyarrow whose scanners read through Partita.

    What reads a dataset inside of Arrow instead (``Scanner.from_dataset``, a dataset made of
    datasets) meets `InvalidArgument`.
    """

    # Code of Arrow in C++ reads the C++ object of a dataset, and the process ends if there is none.
    # So this is a union over a dataset that has the schema and one file, which refuses to be
    # opened. It is no dataset of files itself, since other programs would read the paths.
    def __init__(
        self, schema: pa.Schema, of: str, condition: pc.Expression | None, engine: str
    ) -> None:
        super().__init__(schema, [_refusing(schema, of)])
        self._of = of
        self._condition = condition
        self._engine = engine
        self.failure: BaseException | None = None
        """The exception that ended the last read; some engines raise another in its place."""

    @abstractmethod
    def _read(
        self,
        columns: Columns,
        condition: pc.Expression | None,
        batch_rows: int | None,
    ) -> tuple[pa.Schema, Iterator[pa.RecordBatch], pc.Expression | None]:
        """Begins a read: its schema, its batches, and the condition to apply to these."""

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
            Rows of a batch of a table, at most; without effect for a collection.
        use_threads, memory_pool
            For what Arrow computes: expressions, and the rest of a filter.
        batch_readahead, fragment_readahead, cache_metadata
            These have no effect, since the engine of Partita decides.
        fragment_scan_options
            Refused.
        """
        if fragment_scan_options is not None:
            raise self._refused("fragment_scan_options", "leave them out")
        columns = columns if columns is None or isinstance(columns, Mapping) else list(columns)
        self.failure = None
        try:
            schema, batches, after = self._read(columns, self._both(filter), batch_size)
        except BaseException as error:
            self.failure = error
            raise
        return ds.Scanner.from_batches(
            pa.RecordBatchReader.from_batches(schema, batches),
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

    @property
    def children(self) -> NoReturn:
        """Refused: there are no datasets inside."""
        raise self._refused("children", "use get_fragments()")

    def replace_schema(self, schema: pa.Schema) -> NoReturn:
        """Refused: there is one schema."""
        raise self._refused("replace_schema", "cast what to_table() gives")

    def sort_by(self, sorting: Any, **options: Any) -> NoReturn:
        """Refused: it holds all rows in memory."""
        raise self._refused("sort_by", "use to_table().sort_by(...)")

    def join(self, *arguments: Any, **options: Any) -> NoReturn:
        """Refused: it holds all rows in memory."""
        raise self._refused("join", "use to_table().join(...)")

    def join_asof(self, *arguments: Any, **options: Any) -> NoReturn:
        """Refused: it holds all rows in memory."""
        raise self._refused("join_asof", "use to_table().join_asof(...)")

    def _both(self, condition: pc.Expression | None) -> pc.Expression | None:
        if condition is not None and not isinstance(condition, pc.Expression):
            raise InvalidArgument(
                f"a filter is a pyarrow.compute.Expression, not {type(condition).__name__}"
            )
        if self._condition is None or condition is None:
            return self._condition if condition is None else condition
        return self._condition & condition

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
        known = self.schema.names
        # A name that is not known comes last, and is refused.
        return [name for name in known if name in found] + sorted(found.difference(known))

    def _fail(self, error: BaseException) -> None:
        self.failure = error

    def _refused(self, what: str, instead: str) -> InvalidArgument:
        return _refusal(self._of, what, instead)


class _Refusing(fs.FileSystemHandler):  # type: ignore[misc]
    """A file system with nothing in it, which says why."""

    def __init__(self, of: str) -> None:
        self._of = of

    def _refuse(self, *arguments: Any) -> NoReturn:
        raise _refusal(self._of, "a read inside of Arrow", "call the methods of the dataset")

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


def _refusing(schema: pa.Schema, of: str) -> ds.Dataset:
    files = fs.PyFileSystem(_Refusing(of))
    form = ds.ParquetFileFormat()
    return ds.FileSystemDataset([form.make_fragment(of, files)], schema, form, files)


def _refusal(of: str, what: str, instead: str) -> InvalidArgument:
    return InvalidArgument(f"a dataset of a {of} does not have {what}: {instead}")
