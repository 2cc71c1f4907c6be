"""Commits: partitions of plateau made visible by the engine."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

import partita
from partita.compat.plateau._engine import open_at, translated
from partita.compat.plateau._predicates import scope_expression
from partita.compat.plateau._staging import write_arguments
from partita.compat.plateau._stores import Place, changing
from partita.compat.plateau.core.common_metadata import (
    SchemaWrapper,
    make_meta,
    normalize_type,
)
from partita.compat.plateau.core.common_metadata import store_schema_metadata as store_schema
from partita.compat.plateau.core.dataset import (
    DatasetMetadata,
    DatasetMetadataBuilder,
    check_uuid,
)
from partita.compat.plateau.core.index import IndexBase
from partita.compat.plateau.core.naming import SINGLE_TABLE, metadata_key_from_uuid
from partita.compat.plateau.core.urlencode import decode_key
from partita.compat.plateau.core.utils import ensure_store
from partita.compat.plateau.io_components.metapartition import (
    MetaPartition,
    check_partitioning,
    missing_index_column,
    with_partition_columns,
)
from partita.compat.plateau.io_components.utils import combine_metadata

__all__ = [
    "change_dataset",
    "create_dataset",
    "header_format",
    "raise_if_dataset_exists",
    "remove_header",
]

_SMALL = 1 << 17
"""Rows of a frame that the engine writes to one file even where it closes a file after each."""

_AHEAD = 64
"""Frames looked at before the first is written, for the types of columns that begin with nulls."""


def raise_if_dataset_exists(dataset_uuid: str, store: Any) -> None:
    """Refuse to create a dataset that is there."""
    if DatasetMetadata.exists(dataset_uuid, store):
        raise RuntimeError(
            f"Dataset `{dataset_uuid}` already exists and overwrite is not permitted!"
        )


def header_format(metadata_storage_format: str) -> str:
    """The form of a header, checked."""
    form = metadata_storage_format.lower()
    if form not in ("json", "msgpack"):
        raise ValueError(f"Unknown metadata storage format encountered: {metadata_storage_format}")
    return form


def create_dataset(
    partitions: Iterable[MetaPartition],
    store: Any,
    uuid: str,
    *,
    partition_on: Sequence[str] = (),
    index: Sequence[str] = (),
    metadata: Any = None,
    metadata_merger: Any = None,
    df_serializer: Any = None,
    overwrite: bool = False,
    metadata_storage_format: str = "json",
    table_name: str = SINGLE_TABLE,
) -> DatasetMetadata:
    """Create a dataset out of partitions, in one commit; return it as it is then."""
    check_uuid(uuid)
    form = header_format(metadata_storage_format)
    opened = ensure_store(store)
    arguments = write_arguments(df_serializer)
    annotations = _annotations({}, metadata, metadata_merger)
    taken: list[str] = []
    tables = _tables(opened, partitions, list(partition_on), list(index), taken)
    source, frames, rows = _source(tables, uuid)
    if source is None:
        return _without_data(opened, uuid, partition_on, annotations, form)
    create: dict[str, Any] = {
        "partition_by": list(partition_on) or None,
        "index": list(index) or None,
        "metadata": annotations,
        "header": form,
    }
    # A file for each frame is what a target of one byte comes to, unless frames are cut further.
    cut = rows > _SMALL or arguments.get("row_group_rows") is not None
    with changing(opened, uuid) as place, translated(uuid):
        if table_name != SINGLE_TABLE:
            _create_named(place, opened, uuid, source, table_name, partition_on, arguments)
            if index:
                _open(place, uuid).build_index(list(index))
            if annotations:
                _open(place, uuid).set_metadata(annotations)
        elif frames > 1 and cut and not overwrite:
            _create_in_steps(place, source, create, arguments)
        else:
            target: dict[str, Any] = {"target_file_bytes": 1} if frames > 1 and not cut else {}
            partita.create_table(
                place.url,
                source,
                overwrite=overwrite,
                **place.arguments,
                **create,
                **arguments,
                **target,
            )
    _drop_stale_header(opened, uuid, form, overwrite)
    for key in taken:
        opened.delete(key)
    return DatasetMetadata.load_from_store(uuid, opened)


def change_dataset(
    partitions: Iterable[MetaPartition],
    store: Any,
    dataset: Any,
    *,
    delete_scope: Any = None,
    metadata: Any = None,
    metadata_merger: Any = None,
    df_serializer: Any = None,
) -> DatasetMetadata:
    """Add partitions to a dataset, and remove others, in one commit."""
    uuid, opened = dataset.uuid, ensure_store(store)
    where = scope_expression(delete_scope, dataset)
    annotations = _annotations(dataset.metadata, metadata, metadata_merger)
    arguments = write_arguments(df_serializer)
    taken: list[str] = []
    known: list[MetaPartition] = []
    rest = _unstaged(partitions, known)
    tables = _tables(opened, rest, dataset.partition_keys, list(dataset.secondary_indices), taken)
    with changing(opened, uuid) as place, translated(uuid):
        table = _open(place, uuid)
        written: list[partita.Staged] = []
        try:
            known_types = table.schema
            written += (
                table.stage(_unchanged(each, known_types, uuid), **arguments) for each in tables
            )
            staged = [*_staged(known), *written]
            if staged or where is not None or annotations:
                _commit(table, staged, where, annotations, not dataset.explicit_partitions)
        except partita.CommitUnknown:
            raise
        except Exception:
            with suppress(partita.PartitaError):
                table.discard(written)
            raise
    for key in taken:
        opened.delete(key)
    return DatasetMetadata.load_from_store(uuid, opened)


def _commit(
    table: partita.Table, staged: list[Any], where: Any, annotations: Any, implicit: bool
) -> None:
    try:
        table.commit(staged, where=where, metadata=annotations or None)
    except partita.AlreadyExists:
        # What is written to a dataset that lists its files is part of it at once.
        if not implicit:
            raise
        if where is not None:
            table.delete(where)
        table.set_metadata(annotations)


def _open(place: Place, uuid: str) -> partita.Table:
    return open_at(place, uuid)


def _annotations(existing: dict[str, Any], metadata: Any, merger: Any) -> dict[str, Any]:
    """The entries of the metadata that change."""
    merged = dict((merger or combine_metadata)([dict(existing)]))
    merged.update((metadata() if callable(metadata) else metadata) or {})
    json.dumps(merged)  # raises what plateau raises
    return {
        key: value
        for key, value in merged.items()
        if key != "creation_time" and (key not in existing or existing[key] != value)
    }


def _unstaged(
    partitions: Iterable[MetaPartition], staged: list[MetaPartition]
) -> Iterator[MetaPartition]:
    for nested in partitions:
        for each in nested:
            if each.staged is None:
                yield each
            else:
                staged.append(each)


def _staged(partitions: list[MetaPartition]) -> list[partita.Staged]:
    keys = {each.file for each in partitions}
    staged = [
        partita.Staged.from_bytes(data)
        for data in dict.fromkeys(each.staged for each in partitions)
    ]
    left = {key for each in staged for key in each.keys} - keys
    if left:
        raise ValueError(
            "the partitions that one frame was split into are committed together; these are "
            f"missing: {sorted(left)}"
        )
    return staged


def _tables(
    store: Any,
    partitions: Iterable[MetaPartition],
    partition_on: list[str],
    index: list[str],
    taken: list[str],
) -> Iterator[pa.Table]:
    """The rows of partitions, with their partition columns; files read go to `taken`."""
    for nested in partitions:
        for each in nested:
            if isinstance(each.data, pd.DataFrame):
                frame = with_partition_columns(each)
                if partition_on:
                    check_partitioning(frame, partition_on)
                table = _table(frame)
            elif each.file is not None:
                table = _of_object(store, each)
                taken.append(each.file)
            else:
                continue
            if not table.num_columns:
                continue
            for column in index:
                if column not in table.column_names:
                    raise missing_index_column(column, each.label)
            yield table


def _table(frame: pd.DataFrame) -> pa.Table:
    return pa.Table.from_pandas(frame, preserve_index=False)


def _of_object(store: Any, part: MetaPartition) -> pa.Table:
    table = pq.read_table(pa.BufferReader(store.get(part.file)))
    known = table.schema.pandas_metadata or {"index_columns": []}
    dropped = [name for name in known["index_columns"] if isinstance(name, str)]
    table = table.drop_columns([name for name in dropped if name in table.column_names])
    for name, text in decode_key(part.file)[2]:
        if name not in table.column_names:
            kind = part.schema.field(name).type
            plain = IndexBase.normalize_value(kind, text)
            table = table.append_column(name, pa.array([plain] * len(table), type=kind))
    return table


def _source(tables: Iterator[pa.Table], uuid: str) -> tuple[Any, int, int]:
    """What the engine is to read, the number of frames and of rows of the longest, as far as they
    were looked at."""
    first = list(itertools.islice(tables, _AHEAD))
    if not first:
        return None, 0, 0
    alike = _alike(first, uuid)
    longest = max(map(len, alike))
    if len(alike) == 1:
        return alike[0], 1, longest
    schema = alike[0].schema
    rest = (_cast(table, schema, uuid) for table in tables)
    return itertools.chain(alike, rest), len(alike), longest


def _alike(tables: list[pa.Table], uuid: str) -> list[pa.Table]:
    """Tables in one schema, where they differ in nulls and in the width of numbers alone."""
    fields = []
    for field in tables[0].schema:
        kinds = {
            table.schema.field(field.name).type
            for table in tables
            if table.schema.get_field_index(field.name) >= 0
        }
        kinds = {kind for kind in kinds if not pa.types.is_null(kind)} or kinds
        if len(kinds) > 1:
            kinds = {_normal(kind) for kind in kinds}
        fields.append(field.with_type(kinds.pop()) if len(kinds) == 1 else field)
    schema = pa.schema(fields, tables[0].schema.metadata)
    return [_cast(table, schema, uuid) for table in tables]


def _cast(table: pa.Table, schema: pa.Schema, uuid: str) -> pa.Table:
    if set(table.column_names) != set(schema.names):
        differ = sorted(set(table.column_names) ^ set(schema.names))
        raise _violation(uuid, f"not all frames have the columns {', '.join(differ)}")
    for place, field in enumerate(table.schema):
        wanted = schema.field(field.name).type
        if field.type == wanted:
            continue
        if not pa.types.is_null(field.type) and _normal(field.type) != _normal(wanted):
            raise _violation(uuid, f"column {field.name} is {wanted} here and {field.type} there")
        column = table.column(place).cast(wanted)
        table = table.set_column(place, field.with_type(wanted), column)
    return table


def _normal(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_timestamp(kind) and kind.tz is None:
        return pa.timestamp("ns")
    return normalize_type(kind, None, "object", None)[0]


def _unchanged(rows: pa.Table, schema: pa.Schema, uuid: str) -> pa.Table:
    """The rows, if plateau takes them: it converts no types, where the engine does."""
    for field in rows.schema:
        place = schema.get_field_index(field.name)
        if place < 0 or pa.types.is_null(field.type) or pa.types.is_null(schema.field(place).type):
            continue
        wanted = schema.field(place).type
        if _family(field.type) != _family(wanted):
            what = f"column {field.name} is {wanted} in the dataset and {field.type} in the data"
            raise _violation(uuid, what)
    return rows


def _family(kind: pa.DataType) -> str:
    """The common name of types that plateau stores in the same way."""
    kind = _normal(kind)
    if pa.types.is_timestamp(kind):
        return f"timestamp of the zone {kind.tz}"
    if pa.types.is_duration(kind):
        return "duration"
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return f"list of {_family(kind.value_type)}"
    return str(kind).replace("large_", "")


def _violation(uuid: str, what: str) -> ValueError:
    return ValueError(
        f"Schemas for dataset '{uuid}' are not compatible!\n\nSchema violation\n\n{what}"
    )


def _without_data(
    store: Any, uuid: str, partition_on: Sequence[str], metadata: dict[str, Any], form: str
) -> DatasetMetadata:
    """A dataset of which nothing is known but its name."""
    builder = DatasetMetadataBuilder(uuid, partition_keys=list(partition_on))
    builder.metadata.update(metadata)
    store.put(*(builder.to_json() if form == "json" else builder.to_msgpack()))
    return builder.to_dataset()


def _create_in_steps(
    place: Place, source: Iterator[pa.Table], create: dict[str, Any], arguments: dict[str, Any]
) -> None:
    """A dataset without rows first, then its rows in one commit."""
    first = next(source)
    table = partita.create_table(place.url, first.schema, **place.arguments, **create, **arguments)
    _fill(table, itertools.chain([first], source), arguments)


def _fill(table: partita.Table, rows: Iterable[pa.Table], arguments: dict[str, Any]) -> None:
    try:
        table.commit([table.stage(each, **arguments) for each in rows])
    except Exception:
        table.drop()
        raise


def _create_named(
    place: Place,
    store: Any,
    uuid: str,
    source: Any,
    table_name: str,
    partition_on: Sequence[str],
    arguments: dict[str, Any],
) -> None:
    """A dataset whose table has a name of its own: its header first, then its rows."""
    tables = iter([source] if isinstance(source, pa.Table) else source)
    first = next(tables)
    schema = make_meta(first.schema.empty_table().to_pandas(), table_name, partition_on)
    schema = _typed(schema, first.schema)
    if DatasetMetadata.exists(uuid, store):
        _open(place, uuid).drop()
    builder = DatasetMetadataBuilder(uuid, partition_keys=list(partition_on), schema=schema)
    store_schema(schema, uuid, store, table_name)
    store.put(*builder.to_json())
    _fill(_open(place, uuid), itertools.chain([first], tables), arguments)


def _typed(schema: SchemaWrapper, stored: pa.Schema) -> SchemaWrapper:
    """The schema with the types of rows, which a frame without any does not tell."""
    for place, field in enumerate(schema.internal()):
        schema = schema.set(place, field.with_type(_normal(stored.field(field.name).type)))
    return schema


def _drop_stale_header(store: Any, uuid: str, form: str, overwrite: bool) -> None:
    """A header in the other form would be read in the place of this one, or outlive it."""
    if overwrite:
        remove_header(store, uuid, ["json" if form == "msgpack" else "msgpack"])


def remove_header(store: Any, uuid: str, forms: Sequence[str] = ("json", "msgpack")) -> None:
    """Delete the header of a dataset, in these forms."""
    opened = ensure_store(store)
    for key in (metadata_key_from_uuid(uuid, form) for form in forms):
        if key in opened:
            opened.delete(key)
