"""Datasets kept in shape: empty ones made, indices built, what is left over removed."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Sequence
from typing import Any

from partita.compat.plateau._engine import open_at, translated
from partita.compat.plateau._stores import changing
from partita.compat.plateau.core.common_metadata import make_meta
from partita.compat.plateau.core.common_metadata import store_schema_metadata as store_schema
from partita.compat.plateau.core.dataset import (
    DatasetMetadata,
    DatasetMetadataBuilder,
    check_uuid,
)
from partita.compat.plateau.core.utils import ensure_store
from partita.compat.plateau.io_components.metapartition import missing_index_column

__all__ = ["build_indices", "collect_garbage", "create_header", "drop_dataset"]


def collect_garbage(dataset: Any, store: Any) -> None:
    """Delete what no version but the newest names."""
    with changing(store, dataset.uuid) as place, translated(dataset.uuid):
        table = open_at(place, dataset.uuid)
        if table.version is not None:
            table.expire(keep_last=1)
        # What was written just now is garbage too, and times of files are coarser than the clock.
        time.sleep(0.05)
        table.collect_garbage(grace=dt.timedelta(0))


def drop_dataset(uuid: str, store: Any) -> None:
    """Delete a dataset with all of its objects."""
    with changing(store, uuid) as place, translated(uuid):
        open_at(place, uuid).drop()


def build_indices(dataset: Any, store: Any, columns: Sequence[str]) -> DatasetMetadata:
    """Build secondary indices out of the stored rows."""
    for column in columns:
        if dataset.schema is not None and column not in dataset.schema.names:
            label = next(iter(dataset.partitions), "")
            raise missing_index_column(column, label)
    with changing(store, dataset.uuid) as place, translated(dataset.uuid):
        open_at(place, dataset.uuid).build_index(list(columns))
    return DatasetMetadata.load_from_store(dataset.uuid, store)


def create_header(
    store: Any,
    uuid: str,
    schema: Any,
    partition_on: Sequence[str],
    metadata: Any,
    form: str,
    table_name: str,
) -> DatasetMetadata:
    """A dataset that lists its files, and has none yet."""
    opened = ensure_store(store)
    wrapped = make_meta(schema, origin=table_name, partition_keys=partition_on)
    builder = DatasetMetadataBuilder(
        uuid, explicit_partitions=False, partition_keys=list(partition_on), schema=wrapped
    )
    builder.metadata.update(metadata or {})
    check_uuid(uuid)
    store_schema(wrapped, uuid, opened, table_name)
    opened.put(*(builder.to_json() if form == "json" else builder.to_msgpack()))
    dataset = builder.to_dataset()
    dataset._table_name = table_name
    return dataset
