"""Data of any class as a stream of Arrow record batches."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from partita._arrow import pyarrow
from partita.errors import InvalidArgument, PartitaError, SchemaMismatch

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["is_schema", "stream"]

_ACCEPTED = (
    "a pandas or Polars DataFrame, a pyarrow Table, RecordBatch or RecordBatchReader, any object "
    "with __arrow_c_stream__, a dictionary of columns, or an iterable of these"
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
    source = _whole(data)
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


def _whole(data: Any) -> Any | None:
    """The stream of data that is in one piece; None if it may be an iterable of pieces."""
    if _is_pandas(data, "DataFrame"):
        return _from_pandas(data)
    if _is_pandas(data, "Series"):
        raise InvalidArgument("a pandas Series is one column; use .to_frame() to make it a table")
    if type(data).__name__ == "LazyFrame" and type(data).__module__.startswith("polars"):
        return data.collect()
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


def _pieces(data: Any, like: pa.Schema | None, pulled: _Pulled) -> pa.RecordBatchReader:
    if isinstance(data, (str, bytes)) or not isinstance(data, Iterable):
        raise InvalidArgument(f"data of class {type(data).__name__} cannot be stored: {_ACCEPTED}")
    pa = pyarrow()
    pieces = iter(data)
    try:
        first = next(pieces)
    except StopIteration:
        if like is None:
            raise InvalidArgument(
                "there is no data and so no schema; pass a schema to create an empty table"
            ) from None
        return pa.RecordBatchReader.from_batches(like, [])
    reader = _reader(first)
    schema = _settled(reader.schema, like)
    return pa.RecordBatchReader.from_batches(schema, _batches(reader, pieces, schema, pulled))


def _batches(
    first: pa.RecordBatchReader, pieces: Iterator[Any], schema: pa.Schema, pulled: _Pulled
) -> Iterator[pa.RecordBatch]:
    try:
        yield from _fitted(first, schema)
        for piece in pieces:
            yield from _fitted(_reader(piece), schema)
    except BaseException as error:
        pulled.error = error
        raise


def _reader(piece: Any) -> pa.RecordBatchReader:
    source = _whole(piece)
    if source is None:
        raise InvalidArgument(
            f"an element of class {type(piece).__name__} cannot be stored: {_ACCEPTED}"
        )
    return pyarrow().RecordBatchReader.from_stream(source)


def _settled(schema: pa.Schema, like: pa.Schema | None) -> pa.Schema:
    """The schema of the first piece, where a column without any value there has the type that
    the table gives it."""
    pa = pyarrow()
    if like is None:
        return schema
    for place, column in enumerate(schema):
        if pa.types.is_null(column.type) and like.get_field_index(column.name) >= 0:
            schema = schema.set(place, column.with_type(like.field(column.name).type))
    return schema


def _fitted(reader: pa.RecordBatchReader, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    pa = pyarrow()
    if reader.schema.equals(schema):
        yield from reader
        return
    missing = set(schema.names) - set(reader.schema.names)
    surplus = set(reader.schema.names) - set(schema.names)
    if missing or surplus:
        raise SchemaMismatch(
            "the pieces of data differ in their columns: a later one "
            + " and ".join(
                [f"lacks {', '.join(sorted(missing))}"] * bool(missing)
                + [f"adds {', '.join(sorted(surplus))}"] * bool(surplus)
            )
        )
    for batch in reader:
        try:
            table = pa.Table.from_batches([batch]).select(schema.names).cast(schema)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, ValueError) as error:
            raise SchemaMismatch(f"the pieces of data differ in their types: {error}") from error
        yield from table.to_batches()


def _from_pandas(frame: Any) -> pa.Table:
    pa = pyarrow("storing a pandas DataFrame")
    try:
        return _aligned(pa.Table.from_pandas(frame, preserve_index=False))
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, ValueError) as error:
        reasons = "; ".join(str(reason) for reason in reversed(error.args)) or str(error)
        raise InvalidArgument(f"the DataFrame cannot be stored: {reasons}") from error


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
        return pa.array(values if hasattr(values, "__len__") else list(values))
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, ValueError) as error:
        raise InvalidArgument(
            f"column {name} cannot be stored: {error}", context={"column": name}
        ) from error


def _is_pandas(data: Any, name: str) -> bool:
    # If pandas was never imported, nothing can be an object of it.
    pandas = sys.modules.get("pandas")
    kind = getattr(pandas, name, None)
    return kind is not None and isinstance(data, kind)
