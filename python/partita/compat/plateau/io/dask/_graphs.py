"""Graphs that write datasets out of delayed frames."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from dask.delayed import delayed

from partita.compat.plateau._writing import header_format, raise_if_dataset_exists
from partita.compat.plateau.core.utils import lazy_store
from partita.compat.plateau.io.dask._tasks import commit_change, commit_new, write
from partita.compat.plateau.io_components.utils import (
    ensure_compatible_indices,
    raise_if_indices_overlap,
    validate_partition_keys,
)

__all__ = ["change_graph", "creation_graph"]


def creation_graph(
    tasks: Iterable[Any],
    store: Any,
    uuid: str,
    *,
    overwrite: bool,
    partition_on: Sequence[str],
    secondary_indices: Sequence[str],
    metadata: Any,
    metadata_merger: Any,
    df_serializer: Any,
    table_name: str,
    metadata_storage_format: str = "json",
    sort_partitions_by: Sequence[str] = (),
) -> Any:
    """A delayed dataset, created out of delayed frames."""
    factory = lazy_store(store)
    header_format(metadata_storage_format)
    if not overwrite:
        raise_if_dataset_exists(uuid, factory)
    raise_if_indices_overlap(partition_on, secondary_indices)
    written = [
        delayed(write)(
            task,
            store=factory,
            dataset_uuid=uuid,
            fresh=True,
            partition_on=partition_on,
            secondary_indices=secondary_indices,
            sort_partitions_by=sort_partitions_by,
            df_serializer=df_serializer,
            table_name=table_name,
        )
        for task in tasks
    ]
    return delayed(commit_new)(
        written,
        store=factory,
        uuid=uuid,
        partition_on=partition_on,
        index=secondary_indices,
        metadata=metadata,
        metadata_merger=metadata_merger,
        df_serializer=df_serializer,
        metadata_storage_format=metadata_storage_format,
        table_name=table_name,
    )


def change_graph(
    tasks: Iterable[Any],
    store: Any,
    uuid: str | None,
    factory: Any,
    *,
    delete_scope: Any,
    partition_on: Sequence[str],
    secondary_indices: Sequence[str],
    sort_partitions_by: Sequence[str],
    metadata: Any,
    metadata_merger: Any,
    df_serializer: Any,
    default_metadata_version: int,
    table_name: str,
) -> Any:
    """A delayed dataset, changed by delayed frames, or created if it is not there."""
    dataset, _, keys = validate_partition_keys(
        uuid, store, factory, default_metadata_version, partition_on
    )
    indices = ensure_compatible_indices(dataset, secondary_indices)
    if dataset is None:
        return creation_graph(
            tasks,
            store,
            str(uuid),
            overwrite=False,
            partition_on=keys,
            secondary_indices=indices,
            metadata=metadata,
            metadata_merger=metadata_merger,
            df_serializer=df_serializer,
            table_name=table_name,
            sort_partitions_by=sort_partitions_by,
        )
    written = [
        delayed(write)(
            task,
            store=dataset.store_factory,
            dataset_uuid=dataset.uuid,
            fresh=False,
            partition_on=keys,
            secondary_indices=indices,
            sort_partitions_by=sort_partitions_by,
            df_serializer=df_serializer,
            table_name=table_name,
        )
        for task in tasks
    ]
    return delayed(commit_change)(
        written,
        dataset.store_factory,
        dataset,
        delete_scope=delete_scope,
        metadata=metadata,
        metadata_merger=metadata_merger,
        df_serializer=df_serializer,
    )
