"""Changes of datasets."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from partita.compat.plateau._writing import change_dataset, create_dataset
from partita.compat.plateau.core.dataset import DatasetMetadata
from partita.compat.plateau.io_components.metapartition import MetaPartition

__all__ = ["update_dataset_from_partitions"]


def update_dataset_from_partitions(
    partition_list: Iterable[MetaPartition],
    store_factory: Any,
    dataset_uuid: str | None,
    ds_factory: Any,
    delete_scope: Any,
    metadata: Any,
    metadata_merger: Any,
) -> DatasetMetadata:
    """Add partitions to a dataset and remove others; create it if it is not there."""
    partitions = list(partition_list)
    if ds_factory:
        return change_dataset(
            partitions,
            store_factory or ds_factory.store_factory,
            ds_factory,
            delete_scope=delete_scope,
            metadata=metadata,
            metadata_merger=metadata_merger,
        )
    first = partitions[0] if partitions else MetaPartition(None)
    return create_dataset(
        partitions,
        store_factory,
        str(dataset_uuid),
        partition_on=first.partition_keys,
        index=list(MetaPartition.merge_indices(partitions)),
        metadata=metadata,
        metadata_merger=metadata_merger,
        table_name=first.table_name,
    )
