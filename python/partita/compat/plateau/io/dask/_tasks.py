"""What the tasks of a graph do: write one frame, and commit them all.

Frames for a dataset that is there are staged by the engine. Those of one that is not, or is to be
replaced, are single objects, which the commit reads one by one and removes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pandas as pd

from partita.compat.plateau._writing import change_dataset, create_dataset
from partita.compat.plateau.core.dataset import DatasetMetadata
from partita.compat.plateau.core.naming import SINGLE_TABLE, get_partition_file_prefix
from partita.compat.plateau.core.utils import ensure_store
from partita.compat.plateau.core.uuid import gen_uuid
from partita.compat.plateau.io_components.metapartition import (
    MetaPartition,
    check_partitioning,
    missing_index_column,
    parse_input_to_metapartition,
    with_partition_columns,
)
from partita.compat.plateau.io_components.utils import sort_values_categorical
from partita.compat.plateau.serialization import ParquetSerializer

__all__ = ["commit_change", "commit_new", "write"]


def write(
    data: Any,
    *,
    store: Any,
    dataset_uuid: str,
    fresh: bool,
    partition_on: Sequence[str] = (),
    secondary_indices: Sequence[str] = (),
    sort_partitions_by: Sequence[str] = (),
    df_serializer: Any = None,
    table_name: str = SINGLE_TABLE,
) -> list[MetaPartition]:
    """Write what is one frame or several; return the partitions."""
    opened = ensure_store(store)
    result: list[MetaPartition] = []
    for frame in _frames(data, table_name):
        if isinstance(frame, MetaPartition):
            result.append(frame)
            continue
        if sort_partitions_by:
            frame = sort_values_categorical(frame, list(sort_partitions_by))
        if partition_on:
            check_partitioning(frame, partition_on)
        for column in secondary_indices:
            if column not in frame:
                raise missing_index_column(column, table_name)
        if fresh:
            label = gen_uuid()
            prefix = get_partition_file_prefix(dataset_uuid, label, table_name)
            key = ParquetSerializer().store(opened, prefix, frame.reset_index(drop=True))
            result.append(MetaPartition(label, file=key, table_name=table_name))
        else:
            part = MetaPartition(gen_uuid(), data=frame, table_name=table_name)
            part.partition_keys = list(partition_on)
            result += part.store_dataframes(opened, dataset_uuid, df_serializer)
    return result


def _frames(data: Any, table_name: str) -> Iterator[Any]:
    """The frames in what a task is given; partitions that are written already as they are."""
    if isinstance(data, pd.DataFrame):
        yield data
    elif isinstance(data, list):
        for each in data:
            yield from _frames(each, table_name)
    else:
        for part in parse_input_to_metapartition(data, table_name):
            if part.data is not None:
                yield with_partition_columns(part)
            elif part.file is not None:
                yield part


def commit_new(parts: Iterable[Iterable[MetaPartition]], **arguments: Any) -> DatasetMetadata:
    """Create a dataset out of what tasks wrote."""
    flat = [part for several in parts for part in several]
    return create_dataset(flat, overwrite=True, **arguments)


def commit_change(
    parts: Iterable[Iterable[MetaPartition]], store: Any, dataset: Any, **arguments: Any
) -> DatasetMetadata:
    """Change a dataset by what tasks wrote."""
    flat = [part for several in parts for part in several]
    return change_dataset(flat, store, dataset, **arguments)
