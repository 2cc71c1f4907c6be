"""Frames out of datasets."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from partita.compat.plateau._engine import files_of, plateau_types, translated
from partita.compat.plateau._predicates import checked, expression
from partita.compat.plateau.core.index import IndexBase
from partita.compat.plateau.core.urlencode import decode_key
from partita.compat.plateau.core.utils import ensure_store
from partita.compat.plateau.serialization._parquet import ParquetSerializer
from partita.compat.plateau.serialization._predicates import filter_df_from_predicates

__all__ = ["check_columns", "frame_of_file", "frame_of_table", "kept_labels", "plain_schema"]


def plain_schema(schema: Any) -> pa.Schema:
    """The pyarrow schema of a `SchemaWrapper`."""
    return schema.internal() if hasattr(schema, "internal") else schema


def check_columns(columns: Sequence[str] | None, known: Iterable[str]) -> list[str] | None:
    """The columns to read, in a list; None for all."""
    if columns is None:
        return None
    missing = set(columns) - set(known)
    if missing:
        raise ValueError(
            f"Columns cannot be found in stored dataframe: {', '.join(sorted(missing))}"
        )
    return list(columns)


def kept_labels(dataset: Any, store: Any, predicates: Any) -> list[str]:
    """The labels of the partitions that partition values and indices do not rule out."""
    labels = list(dataset.partitions)
    schema = plain_schema(dataset.schema)
    normalized = checked(predicates, schema) if schema is not None else predicates
    if normalized is None or not labels:
        return labels
    known = set(dataset.index_columns)
    indexed = [[each for each in conjunction if each[0] in known] for conjunction in normalized]
    if not all(indexed):
        return [] if not normalized else labels
    keys = {label: dataset.partitions[label].files[dataset.table_name] for label in labels}
    with translated(dataset.uuid):
        files = files_of(store, dataset.uuid, keys[labels[0]])
        newer = [] if files is None else [key for key in keys.values() if key not in files.pieces]
        if newer:
            files = files_of(store, dataset.uuid, newer[0]) or files
        if files is None:
            return labels
        left = set(files.table.scan(where=expression(indexed))._native.keys())
    return [label for label, key in keys.items() if key in left or key not in files.pieces]


def frame_of_table(
    table: Any,
    dataset: Any,
    columns: Sequence[str] | None,
    predicates: Any,
    categoricals: Sequence[str] | None,
    dates_as_object: bool,
) -> pd.DataFrame:
    """All rows of a dataset in one frame, its columns in the order of the schema."""
    plain = plain_schema(dataset.schema)
    wanted = check_columns(columns, plain.names)
    names = list(plain.names) if wanted is None else list(dict.fromkeys(wanted))
    unknown = set(categoricals or ()) - set(names)
    if unknown:
        raise KeyError(f"these categoricals are not among the columns: {sorted(unknown)}")
    normalized = checked(predicates, plain)
    where = None if normalized is None else expression(normalized)
    if not names:
        return _bare(table.count(where))
    found = plateau_types(table.scan(names, where)).to_arrow()
    stored = _stored_together(dataset, names)
    frame = _frame(_narrowed_floats(found, stored), stored, categoricals, dates_as_object)
    return frame if wanted is None else frame[wanted]


def _stored_together(dataset: Any, names: list[str]) -> pa.Schema:
    """The types of columns as the files have them: of the first, but for floats that another one
    has wider."""
    keys = [each.files[dataset.table_name] for each in dataset.partitions.values()]
    if not keys:
        return plain_schema(dataset.schema)
    first = _stored_schema(dataset.store, keys[0])
    narrow = {each.name for each in first if each.name in names and _is_narrow(each.type)}
    for key in keys[1:]:
        if not narrow:
            break
        other = _stored_schema(dataset.store, key)
        narrow = {name for name in narrow if _is_narrow(other.field(name).type)}
    for place, field in enumerate(first):
        if _is_narrow(field.type) and field.name not in narrow:
            first = first.set(place, field.with_type(pa.float64()))
    return first


def _is_narrow(kind: pa.DataType) -> bool:
    return kind in (pa.float16(), pa.float32())


def _narrowed_floats(table: pa.Table, stored: pa.Schema) -> pa.Table:
    """Floats as wide as the files have them, where pandas joins frames so."""
    if int(pd.__version__.split(".")[0]) >= 3:
        return table
    floats = [field for field in stored if pa.types.is_floating(field.type)]
    return _narrowed(table, pa.schema(floats))


def _bare(rows: int) -> pd.DataFrame:
    """Rows without any column."""
    return pd.DataFrame(index=pd.RangeIndex(rows), columns=pd.Index([], dtype=object))


def frame_of_file(
    store: Any,
    uuid: str,
    key: str,
    schema: Any,
    columns: Sequence[str] | None = None,
    predicates: Any = None,
    conjunction: Sequence[tuple[str, str, Any]] | None = None,
    categoricals: Sequence[str] | None = None,
    dates_as_object: bool = True,
) -> pd.DataFrame:
    """The rows of one file, its partition columns first, in the types they were stored in."""
    opened = ensure_store(store)
    plain = plain_schema(schema)
    normalized = checked(predicates, plain)
    if not dates_as_object:
        warnings.warn(
            "The argument `date_as_object` is set to False. This argument will be deprecated and "
            "the future behaviour will be as if the paramere was set to `True`. Please migrate "
            "your code accordingly ahead of time.",
            DeprecationWarning,
            stacklevel=4,
        )
    try:
        files = files_of(opened, uuid, key)
    except KeyError:
        files = None
    if files is None:
        return _frame_of_object(
            opened, key, plain, columns, normalized, conjunction, categoricals, dates_as_object
        )
    stored = _stored_schema(opened, key)
    keys = files.table.partition_by
    own = [*keys, *(name for name in stored.names if name not in keys)]
    known = set(files.table.schema.names)
    own = [name for name in own if name in known]
    wanted = check_columns(columns, files.table.schema.names)
    names = own if wanted is None else list(dict.fromkeys(wanted))
    with translated(uuid):
        piece = files.pieces[key].selecting(names)
        for part in _conditions(normalized, conjunction):
            piece = piece.narrowed(part._native)
        if not names:
            return _bare(piece.count())
        found = pa.table(piece.collect(None))
    frame = _frame(_narrowed(found, stored), stored, categoricals, dates_as_object)
    return frame if wanted is None else frame[wanted]


def _conditions(predicates: Any, conjunction: Any) -> list[Any]:
    conditions = [] if predicates is None else [expression(predicates)]
    return [*conditions, expression([conjunction])] if conjunction else conditions


def _stored_schema(store: Any, key: str) -> pa.Schema:
    with store.open(key) as source:
        return pq.read_schema(pa.PythonFile(source, mode="r"))


def _narrowed(table: pa.Table, stored: pa.Schema) -> pa.Table:
    """Numbers as wide as the file has them."""
    for place, field in enumerate(table.schema):
        if stored.get_field_index(field.name) < 0:
            continue
        kind = stored.field(field.name).type
        numbers = pa.types.is_integer(kind) or pa.types.is_floating(kind)
        if numbers and kind != field.type:
            column = table.column(place).cast(kind, safe=False)
            table = table.set_column(place, field.with_type(kind), column)
    return table


def _frame(
    table: pa.Table, schema: pa.Schema, categoricals: Sequence[str] | None, dates_as_object: bool
) -> pd.DataFrame:
    described = _extension_types(schema)
    plain = table.replace_schema_metadata(None)
    frame: pd.DataFrame = plain.to_pandas(
        date_as_object=dates_as_object, coerce_temporal_nanoseconds=True
    )
    for name, kind in described.items():
        if name in frame:
            frame[name] = pd.api.types.pandas_dtype(kind).__from_arrow__(plain.column(name))
    for name in categoricals or ():
        if name in frame:
            frame[name] = frame[name].astype("category")
    return frame


_EXTENSIONS = {
    *(f"{sign}Int{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64)),
    "Float32", "Float64", "boolean", "string",
}  # fmt: skip


def _extension_types(schema: pa.Schema) -> dict[str, str]:
    """The columns that pandas kept in one of its own types, which the schema remembers."""
    described = schema.pandas_metadata or {"columns": []}
    return {
        column["name"]: column["numpy_type"]
        for column in described["columns"]
        if column.get("name") is not None and column["numpy_type"] in _EXTENSIONS
    }


def _frame_of_object(
    store: Any,
    key: str,
    schema: pa.Schema,
    columns: Sequence[str] | None,
    predicates: Any,
    conjunction: Any,
    categoricals: Sequence[str] | None,
    dates_as_object: bool,
) -> pd.DataFrame:
    """A file that no version has now: replaced meanwhile, or not yet committed."""
    frame = ParquetSerializer().restore_dataframe(
        store, key, categories=categoricals, date_as_object=dates_as_object
    )
    values = decode_key(key)[2]
    frame = frame.reset_index(drop=True).drop(columns=[c for c, _ in values], errors="ignore")
    for place, (column, value) in enumerate(values):
        kind = schema.field(column).type
        plain = IndexBase.normalize_value(kind, value)
        constant = pa.array([plain] * len(frame), type=kind)
        series = constant.to_pandas(
            date_as_object=dates_as_object, coerce_temporal_nanoseconds=True
        )
        if column in (categoricals or ()):
            series = series.astype("category")
        frame.insert(place, column, series)
    both = [*(predicates or [[]])]
    both = [[*each, *(conjunction or [])] for each in both]
    if any(both):
        frame = filter_df_from_predicates(frame, both, strict_date_types=dates_as_object)
        frame = frame.reset_index(drop=True)
    wanted = check_columns(columns, frame.columns)
    return frame if wanted is None else frame[wanted]
