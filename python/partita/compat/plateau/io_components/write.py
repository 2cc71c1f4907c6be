"""New datasets out of partitions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from partita.compat.plateau._writing import (
    change_dataset,
    create_dataset,
    raise_if_dataset_exists,
)
from partita.compat.plateau.core.dataset import DatasetMetadata
from partita.compat.plateau.core.naming import DEFAULT_METADATA_STORAGE_FORMAT, SINGLE_TABLE
from partita.compat.plateau.io_components.metapartition import (
    MetaPartition,
    parse_input_to_metapartition,
)
from partita.compat.plateau.io_components.utils import sort_values_categorical

__all__ = ["raise_if_dataset_exists", "store_dataset_from_partitions", "write_partition"]

SINGLE_CATEGORY = SINGLE_TABLE


def store_dataset_from_partitions(
    partition_list: Iterable[MetaPartition],
    store: Any,
    dataset_uuid: str,
    dataset_metadata: Any = None,
    metadata_merger: Any = None,
    update_dataset: Any = None,
    remove_partitions: Any = None,
    metadata_storage_format: str = DEFAULT_METADATA_STORAGE_FORMAT,
) -> DatasetMetadata:
    """Create a dataset out of partitions, or add them to one there is."""
    partitions = list(partition_list)
    if remove_partitions:
        raise NotImplementedError("partitions are removed by a delete_scope, not by their labels")
    if update_dataset is not None:
        return change_dataset(
            partitions,
            store,
            update_dataset,
            metadata=dataset_metadata,
            metadata_merger=metadata_merger,
        )
    if not partitions:
        raise ValueError(
            "Cannot store empty datasets, partition_list must not be empty if in store mode."
        )
    return create_dataset(
        partitions,
        store,
        dataset_uuid,
        partition_on=partitions[0].partition_keys,
        index=list(MetaPartition.merge_indices(partitions)),
        metadata=dataset_metadata,
        metadata_merger=metadata_merger,
        overwrite=True,
        metadata_storage_format=metadata_storage_format,
        table_name=partitions[0].table_name,
    )


def write_partition(
    partition_df: Any,
    secondary_indices: list[str],
    sort_partitions_by: list[str],
    dataset_uuid: str,
    partition_on: list[str],
    store_factory: Any,
    df_serializer: Any,
    metadata_version: int,
    dataset_table_name: str = SINGLE_TABLE,
) -> MetaPartition:
    """Write a frame to files that nobody sees before a commit."""
    parts = parse_input_to_metapartition(partition_df, dataset_table_name, metadata_version)
    if sort_partitions_by:
        parts = parts.apply(lambda df: sort_values_categorical(df, sort_partitions_by))
    if partition_on:
        parts = parts.partition_on(partition_on)
    if secondary_indices:
        parts = parts.build_indices(secondary_indices)
    return parts.store_dataframes(store_factory, dataset_uuid, df_serializer)
