"""The schema that all files of a dataset have in common."""

from __future__ import annotations

import difflib
import json
import pprint
from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from partita.compat.plateau.core.naming import SINGLE_TABLE, TABLE_METADATA_FILE
from partita.compat.plateau.core.utils import ensure_store, ensure_string_type

__all__ = [
    "SchemaWrapper",
    "empty_dataframe_from_schema",
    "make_meta",
    "normalize_column_order",
    "normalize_type",
    "validate_compatible",
]


class SchemaWrapper:
    """A `pyarrow.Schema` that knows where it comes from.

    It has all attributes of the schema. The index of a DataFrame is no part of it, and text is
    large text, as older files have it otherwise.
    """

    def __init__(self, schema: pa.Schema, origin: str | set[str]) -> None:
        origins = {origin} if isinstance(origin, str) else set(origin)
        if not all(isinstance(each, str) for each in origins):
            raise TypeError("Schema origin elements must be strings.")
        self._origin = origins
        self._schema = _settled(schema)

    @property
    def origin(self) -> set[str]:
        """Where it comes from."""
        return set(self._origin)

    def internal(self) -> pa.Schema:
        """The pyarrow schema."""
        return self._schema

    def with_origin(self, origin: str | set[str]) -> SchemaWrapper:
        """The same from elsewhere."""
        return SchemaWrapper(self._schema, origin)

    def equals(self, other: Any, check_metadata: bool = False) -> bool:
        """Whether the fields are the same."""
        plain = other.internal() if isinstance(other, SchemaWrapper) else other
        return isinstance(plain, pa.Schema) and self._schema.equals(plain, check_metadata)

    def remove(self, i: int) -> SchemaWrapper:
        """The schema without a field."""
        return SchemaWrapper(self._schema.remove(i), self._origin)

    def remove_metadata(self) -> SchemaWrapper:
        """The schema without metadata."""
        origins = {origin + "__no_metadata" for origin in self._origin}
        return SchemaWrapper(self._schema.remove_metadata(), origins)

    def set(self, i: int, field: pa.Field) -> SchemaWrapper:
        """The schema with a field in the place of another."""
        return SchemaWrapper(self._schema.set(i, field), self._origin)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._schema, name)

    def __getitem__(self, i: int) -> pa.Field:
        return self._schema[i]

    def __len__(self) -> int:
        return len(self._schema)

    def __eq__(self, other: object) -> bool:
        return self.equals(other)

    def __hash__(self) -> int:
        return hash(tuple((field.name, str(field.type)) for field in self._schema))

    def __repr__(self) -> str:
        return repr(self._schema)

    def __getstate__(self) -> Any:
        return (self._schema, self._origin)

    def __setstate__(self, state: Any) -> None:
        self._schema, self._origin = state


def _settled(schema: Any) -> Any:
    if schema is None or schema.pandas_metadata is None:
        return schema
    described = schema.pandas_metadata
    if len(described["index_columns"]) > 1:
        raise NotImplementedError("Treatment of MultiIndex not implemented.")
    for index in described["index_columns"]:
        place = schema.get_field_index(index) if isinstance(index, str) else -1
        if place >= 0:
            schema = schema.remove(place)
    for column in described["columns"]:
        place = schema.get_field_index(column.get("field_name") or "")
        if column.get("name") is None or place < 0:
            continue
        old_text = (column["pandas_type"], column["numpy_type"]) == ("unicode", "object")
        if old_text and pa.types.is_string(schema[place].type):
            schema = schema.set(place, schema[place].with_type(pa.large_string()))
            column.update(pandas_type="object", numpy_type="str", metadata=None)
    return schema.with_metadata({b"pandas": _binary(described)})


def normalize_type(
    t_pa: pa.DataType, t_pd: str | None, t_np: str | None, metadata: dict[str, Any] | None
) -> tuple[pa.DataType, str | None, str | None, dict[str, Any] | None]:
    """The type that stands for all of its kind, with its names in pandas and numpy.

    Numbers have 64 bits, categories are their values.
    """
    types = pa.types
    if types.is_signed_integer(t_pa):
        return pa.int64(), "int64", "int64", None
    if types.is_unsigned_integer(t_pa):
        return pa.uint64(), "uint64", "uint64", None
    if types.is_floating(t_pa):
        return pa.float64(), "float64", "float64", None
    if types.is_list(t_pa):
        inner = None if t_pd is None else t_pd[len("list[") : -1]
        value, named, _, _ = normalize_type(t_pa.value_type, inner, None, None)
        return pa.list_(value), f"list[{named}]", "object", None
    if types.is_dictionary(t_pa):
        return normalize_type(t_pa.value_type, t_pd, t_np, None)
    if types.is_string(t_pa) or types.is_large_string(t_pa):
        if t_pd == "categorical" or t_np in ("str", "object"):
            return pa.large_string(), "object", "str", None
        if t_np == "string":
            return pa.string(), "unicode", "string", None
    return t_pa, t_pd, t_np, metadata


def make_meta(obj: Any, origin: str, partition_keys: Sequence[str] | None = None) -> SchemaWrapper:
    """The normalised schema of a DataFrame.

    A `SchemaWrapper` is returned as it is, a `pyarrow.Schema` with its columns in order.

    Raises
    ------
    ValueError
        If it is none of these.
    """
    if isinstance(obj, SchemaWrapper):
        return obj
    if isinstance(obj, pa.Schema):
        return normalize_column_order(SchemaWrapper(obj, origin), partition_keys)
    if not isinstance(obj, pd.DataFrame):
        raise ValueError("Input must be a pyarrow schema, or a pandas dataframe")
    schema = pa.Schema.from_pandas(obj)
    described = schema.pandas_metadata
    kinds = {field.name: field.type for field in schema}
    for column in described["columns"]:
        if column.get("name") is None:
            continue
        name = column["field_name"]
        kind, pandas_type, numpy_type, metadata = normalize_type(
            kinds[name], column["pandas_type"], column["numpy_type"], column["metadata"]
        )
        kinds[name] = kind
        column.update(pandas_type=pandas_type, numpy_type=numpy_type, metadata=metadata)
    plain = pa.schema(list(kinds.items()), {**schema.metadata, b"pandas": _binary(described)})
    return normalize_column_order(SchemaWrapper(plain, origin), partition_keys)


def normalize_column_order(
    schema: Any, partition_keys: Sequence[str] | None = None
) -> SchemaWrapper:
    """The schema with its partition columns first, then the others by name."""
    wrapped = schema if isinstance(schema, SchemaWrapper) else SchemaWrapper(schema, "__unknown__")
    keys = list(partition_keys or ())

    def place(name: Any) -> tuple[int, int, str]:
        if name in keys:
            return 0, keys.index(name), ""
        return (2, 0, "") if name is None else (1, 0, name)

    described = wrapped.pandas_metadata
    plain = wrapped.internal()
    if described is None:
        fields = sorted(plain, key=lambda field: place(field.name))
        return SchemaWrapper(pa.schema(fields, plain.metadata), wrapped.origin)
    described["columns"] = sorted(described["columns"], key=lambda c: place(c.get("name")))
    places = [plain.get_field_index(column["field_name"]) for column in described["columns"]]
    fields = [plain[i] for i in places if i >= 0]
    metadata = {**plain.metadata, b"pandas": _binary(described)}
    return SchemaWrapper(pa.schema(fields, metadata), wrapped.origin)


def validate_compatible(
    schemas: Iterable[Any], ignore_pandas: bool = False
) -> SchemaWrapper | None:
    """Check that schemas are the same but for columns without any value; return their union.

    Raises
    ------
    ValueError
        If two of them differ.
    """
    wrapped = [
        each if isinstance(each, SchemaWrapper) else SchemaWrapper(each, "__unknown__")
        for each in schemas
    ]
    if not wrapped:
        return None
    if not ignore_pandas:
        _check_pandas(wrapped)
    reference = min(wrapped, key=lambda each: len(_empty_columns(each)))
    for current in wrapped:
        for name in _empty_columns(reference) - _empty_columns(current):
            place = current.get_field_index(name)
            if place >= 0:
                reference = reference.set(reference.get_field_index(name), current[place])
    for current in wrapped:
        nulls = _empty_columns(current) | _empty_columns(reference)
        if _without(current, nulls) != _without(reference, nulls):
            raise ValueError(_violation(current, reference))
    return reference.with_origin(set().union(*(each.origin for each in wrapped)))


def validate_shared_columns(schemas: Iterable[Any], ignore_pandas: bool = False) -> None:
    """Check that columns that several schemas have are of one type.

    Raises
    ------
    ValueError
        If one is not.
    """
    listed = list(schemas)
    if not ignore_pandas:
        _check_pandas(listed)
    seen: dict[str, pa.Field] = {}
    for schema in listed:
        for field in getattr(schema, "internal", lambda schema=schema: schema)():
            known = seen.setdefault(field.name, field)
            if pa.types.is_null(known.type) or pa.types.is_null(field.type):
                continue
            if known != field:
                raise ValueError(
                    f'Found incompatible entries for column "{field.name}"\n{known}\n{field}'
                )


def read_schema_metadata(dataset_uuid: str, store: Any, table: str = SINGLE_TABLE) -> SchemaWrapper:
    """Read the schema that is stored for a table."""
    key = _key(dataset_uuid, table)
    return SchemaWrapper(_bytes2schema(ensure_store(store).get(key)), key)


def store_schema_metadata(
    schema: SchemaWrapper, dataset_uuid: str, store: Any, table: str = SINGLE_TABLE
) -> str:
    """Store the schema of a table; return its key."""
    key = _key(dataset_uuid, table)
    stored: str = ensure_store(store).put(key, _schema2bytes(schema.internal()))
    return stored


def empty_dataframe_from_schema(
    schema: Any,
    columns: Sequence[str] | None = None,
    date_as_object: bool = False,
    coerce_temporal_nanoseconds: bool = True,
) -> pd.DataFrame:
    """A DataFrame without rows, with the columns and types of a schema."""
    plain = schema.internal() if isinstance(schema, SchemaWrapper) else schema
    frame: pd.DataFrame = plain.empty_table().to_pandas(
        date_as_object=date_as_object, coerce_temporal_nanoseconds=coerce_temporal_nanoseconds
    )
    frame.columns = frame.columns.map(ensure_string_type)
    return frame if columns is None else frame[columns]


def _key(dataset_uuid: str, table: str) -> str:
    return f"{dataset_uuid}/{table}/{TABLE_METADATA_FILE}"


def _schema2bytes(schema: pa.Schema) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_metadata(schema, sink, version="2.4", coerce_timestamps="us")
    stored: bytes = sink.getvalue().to_pybytes()
    return stored


def _bytes2schema(data: bytes) -> pa.Schema:
    schema = pq.read_schema(pa.BufferReader(data))
    for place, field in enumerate(schema):
        if field.type == pa.timestamp("us"):
            schema = schema.set(place, field.with_type(pa.timestamp("ns")))
    return schema


def _binary(described: Any) -> bytes:
    return json.dumps(described, sort_keys=True).encode()


def _check_pandas(schemas: Sequence[Any]) -> None:
    known = [b"pandas" in (schema.metadata or {}) for schema in schemas]
    if any(known) and not all(known):
        raise ValueError(
            "Pandas and non-Pandas schemas are not comparable. Use ignore_pandas=True if you only "
            "want to compare on Arrow level."
        )


def _empty_columns(schema: SchemaWrapper) -> set[str]:
    return {field.name for field in schema.internal() if pa.types.is_null(field.type)}


def _without(schema: SchemaWrapper, names: set[str]) -> pa.Schema:
    return pa.schema([field for field in schema.internal() if field.name not in names])


def _violation(current: SchemaWrapper, reference: SchemaWrapper) -> str:
    def lines(schema: SchemaWrapper) -> tuple[list[str], list[str]]:
        plain = str(schema.internal().remove_metadata()).splitlines()
        return plain, pprint.pformat(schema.pandas_metadata).splitlines()

    def diff(one: list[str], other: list[str]) -> str:
        return "\n".join(list(difflib.unified_diff(one, other))[2:])

    (arrow, pandas), (other_arrow, other_pandas) = lines(reference), lines(current)
    return (
        f"Schema violation\n\nOrigin schema: {{{', '.join(sorted(current.origin))}}}\n"
        f"Origin reference: {{{', '.join(sorted(reference.origin))}}}\n\nDiff:\nArrow schema:\n"
        f"{diff(arrow, other_arrow)}\n\nPandas_metadata:\n{diff(pandas, other_pandas)}\n\n"
        f"Reference schema:\n{reference}"
    )
