"""Data of any class as a stream of Arrow record batches."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from partita._arrow import arrow_array, pyarrow
from partita.errors import InvalidArgument, PartitaError

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["is_schema", "stream"]

# What pyarrow raises for values that it has no type for; its own errors derive from these.
_UNFIT = (ValueError, TypeError, OverflowError, NotImplementedError)

# Rows given as dictionaries that become one table.
_ROWS = 1 << 16

_ACCEPTED = (
    "a pandas or Polars DataFrame, a pyarrow Table, RecordBatch or RecordBatchReader, any object "
    "with __arrow_c_stream__, a dictionary of columns, an iterable of these, or rows that are "
    "dictionaries"
)


def is_schema(data: Any) -> bool:
    """Whether `data` is a schema and not rows."""
    return hasattr(data, "__arrow_c_schema__") and not (
        hasattr(data, "__arrow_c_stream__") or hasattr(data, "__arrow_c_array__")
    )


@contextmanager
def stream(data: Any, like: pa.Schema | None = None) -> Iterator[Any]:
    """An object with ``__arrow_c_stream__`` for `data`, which is read once.

    What an iterator of the caller raises while the engine pulls it reaches the caller as it was
    raised, not as the engine's account of it.
    """
    pulled = _Pulled()
    source = _whole(data, like)
    if source is None:
        source = _pieces(data, like, pulled)
    try:
        yield source
    except PartitaError as error:
        if pulled.error is not None:
            raise pulled.error from error
        raise


class _Pulled:
    """What went wrong in the caller's own iterator."""

    error: BaseException | None = None


def _whole(data: Any, like: pa.Schema | None = None) -> Any | None:
    """The stream of data that is in one piece; None if it may be an iterable of pieces."""
    if _is_pandas(data, "DataFrame"):
        return _from_pandas(data, like)
    if _is_pandas(data, "Series"):
        raise InvalidArgument("a pandas Series is one column; use .to_frame() to make it a table")
    if type(data).__module__.startswith("polars"):
        if type(data).__name__ == "LazyFrame":
            return _from_polars(data.collect())
        if type(data).__name__ == "DataFrame":
            return _from_polars(data)
    arrow = sys.modules.get("pyarrow")
    if arrow is not None and isinstance(data, (arrow.Table, arrow.RecordBatch)):
        return _aligned(arrow.table(data))
    if hasattr(data, "__arrow_c_stream__"):
        return data
    if hasattr(data, "__arrow_c_array__"):
        pa = pyarrow()
        batch = pa.record_batch(data)
        return pa.RecordBatchReader.from_batches(batch.schema, [batch])
    if hasattr(data, "scanner"):  # a pyarrow dataset
        return data.scanner().to_reader()
    if isinstance(data, Mapping):
        return _from_columns(data)
    return None


def _pieces(data: Any, like: pa.Schema | None, pulled: _Pulled) -> Any:
    if isinstance(data, (str, bytes)) or not isinstance(data, Iterable):
        raise InvalidArgument(f"data of class {type(data).__name__} cannot be stored: {_ACCEPTED}")
    pieces = iter(data)
    try:
        first = next(pieces)
    except StopIteration:
        if like is None:
            raise InvalidArgument(
                "there is no data and so no schema; pass a schema to create an empty table"
            ) from None
        return pyarrow().RecordBatchReader.from_batches(like, [])
    if _is_row(first):
        pieces = _rows(first, pieces)
        first = next(pieces)
    return _Pieces(_stream(first, like), pieces, like, pulled)


class _Pieces:
    """Streams one after the other, whose types may differ: the first, and where the others are."""

    def __init__(
        self, first: Any, pieces: Iterator[Any], like: pa.Schema | None, pulled: _Pulled
    ) -> None:
        self._first = first
        self.more_streams = _more(pieces, like, pulled)

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        return self._first.__arrow_c_stream__()


def _more(pieces: Iterator[Any], like: pa.Schema | None, pulled: _Pulled) -> Iterator[Any]:
    try:
        for piece in pieces:
            yield _stream(piece, like)
    except BaseException as error:
        pulled.error = error
        raise


def _stream(piece: Any, like: pa.Schema | None) -> Any:
    source = _whole(piece, like)
    if source is None:
        raise InvalidArgument(
            f"an element of class {type(piece).__name__} cannot be stored: {_ACCEPTED}"
        )
    return source


def _is_row(piece: Any) -> bool:
    """Whether a dictionary is a row and not columns: not all of its values are lists or arrays."""
    return isinstance(piece, Mapping) and not all(
        hasattr(value, "__len__") and not isinstance(value, (str, bytes, Mapping))
        for value in piece.values()
    )


def _rows(first: Mapping[Any, Any], others: Iterator[Any]) -> Iterator[pa.Table]:
    """Rows as tables of many. A name that a row lacks is null there."""
    rows = itertools.chain([first], others)
    names: dict[Any, None] = {}
    while some := list(itertools.islice(rows, _ROWS)):
        for row in some:
            if not isinstance(row, Mapping):
                raise InvalidArgument(
                    f"a row of class {type(row).__name__} stands among rows that are dictionaries"
                )
            names.update(dict.fromkeys(row))
        yield _from_columns({name: [row.get(name) for row in some] for name in names})


def _from_pandas(frame: Any, like: pa.Schema | None) -> pa.Table:
    pa = pyarrow("storing a pandas DataFrame")
    try:
        return _aligned(
            pa.Table.from_pandas(frame, schema=_with_maps(frame, like), preserve_index=False)
        )
    except _UNFIT as error:
        reasons = "; ".join(str(reason) for reason in reversed(error.args)) or str(error)
        raise InvalidArgument(f"the DataFrame cannot be stored: {reasons}") from error


def _with_maps(frame: Any, like: pa.Schema | None) -> pa.Schema | None:
    """The types of a frame with maps, which are lists of pairs there and do not tell; None if the
    columns that it is for have none."""
    pa = pyarrow()
    maps = {field.name: field for field in like or () if _has_map(field.type)}
    if not any(name in maps for name in frame.columns):
        return None
    plain = [name for name in frame.columns if name not in maps]
    known = pa.Schema.from_pandas(frame[plain], preserve_index=False)
    return pa.schema([maps.get(name) or known.field(name) for name in frame.columns])


def _has_map(kind: pa.DataType) -> bool:
    pa = pyarrow()
    inner = [kind.field(place).type for place in range(kind.num_fields)]
    return bool(pa.types.is_map(kind)) or any(map(_has_map, inner))


def _from_polars(frame: Any) -> Any:
    names = {name: set(_kinds(kind)) for name, kind in frame.schema.items()}
    for name, kinds in names.items():
        if "Object" in kinds:
            raise InvalidArgument(
                f"column {name} holds objects of Python, which cannot be stored; make them text, "
                "numbers or structs first",
                context={"column": name},
            )
    # Polars gives arrays of nulls a buffer that the engine does not expect of them.
    return frame.to_arrow() if any("Null" in kinds for kinds in names.values()) else frame


def _kinds(kind: Any) -> Iterator[str]:
    """The names of a type of Polars and of those within it."""
    yield str(kind.base_type())
    inner = getattr(kind, "inner", None)
    if inner is not None:
        yield from _kinds(inner)
    for field in getattr(kind, "fields", None) or ():
        yield from _kinds(field.dtype)


def _aligned(table: pa.Table) -> pa.Table:
    """The table with buffers that begin at whole words, as the engine reads them: those that came
    from another process may begin anywhere."""
    pa = pyarrow()
    arrays = [chunk for column in table.columns for chunk in column.chunks]
    arrays += [array.dictionary for array in arrays if isinstance(array, pa.DictionaryArray)]
    buffers = (buffer for array in arrays for buffer in array.buffers() if buffer is not None)
    if all(buffer.address % 8 == 0 for buffer in buffers):
        return table
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return pa.ipc.open_stream(sink.getvalue()).read_all()


def _from_columns(columns: Mapping[Any, Any]) -> pa.Table:
    pa = pyarrow("storing a dictionary of columns")
    arrays = {}
    for name, values in columns.items():
        if not isinstance(name, str):
            raise InvalidArgument(f"columns are named by strings, not {name!r}")
        if isinstance(values, (str, bytes, Mapping)) or not isinstance(values, Iterable):
            raise InvalidArgument(
                f"column {name} is to be a list or an array, not {type(values).__name__}",
                context={"column": name},
            )
        arrays[name] = _column(name, values)
    lengths = {name: len(values) for name, values in arrays.items()}
    if len(set(lengths.values())) > 1:
        raise InvalidArgument(f"the columns differ in length: {lengths}")
    return pa.table(arrays)


def _column(name: str, values: Any) -> Any:
    pa = pyarrow()
    if isinstance(values, (pa.Array, pa.ChunkedArray)):
        return values
    try:
        if hasattr(values, "__arrow_c_stream__") and not _is_pandas(values, "Series"):
            return pa.chunked_array(values)
        return arrow_array(values if hasattr(values, "__len__") else list(values))
    except _UNFIT as error:
        raise InvalidArgument(
            f"column {name} cannot be stored: {error}", context={"column": name}
        ) from error


def _is_pandas(data: Any, name: str) -> bool:
    # If pandas was never imported, nothing can be an object of it.
    pandas = sys.modules.get("pandas")
    kind = getattr(pandas, name, None)
    return kind is not None and isinstance(data, kind)
