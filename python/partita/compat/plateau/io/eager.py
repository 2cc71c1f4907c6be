"""Datasets at once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pandas as pd

from partita.compat.plateau._engine import open_at, translated
from partita.compat.plateau._reading import frame_of_table, kept_labels
from partita.compat.plateau._stores import place_of
from partita.compat.plateau._upkeep import (
    build_indices,
    collect_garbage,
    create_header,
    drop_dataset,
)
from partita.compat.plateau._writing import (
    change_dataset,
    header_format,
    raise_if_dataset_exists,
)
from partita.compat.plateau.core.common_metadata import empty_dataframe_from_schema
from partita.compat.plateau.core.dataset import DatasetMetadata
from partita.compat.plateau.core.factory import ensure_factory
from partita.compat.plateau.core.naming import (
    DEFAULT_METADATA_STORAGE_FORMAT,
    DEFAULT_METADATA_VERSION,
    SINGLE_TABLE,
)
from partita.compat.plateau.core.utils import verify_metadata_version
from partita.compat.plateau.io.iter import (
    read_dataset_as_dataframes__iterator,
    read_dataset_as_metapartitions__iterator,
    store_dataframes_as_dataset__iter,
    update_dataset_from_dataframes__iter,
)
from partita.compat.plateau.io_components.metapartition import (
    MetaPartition,
    parse_input_to_metapartition,
)
from partita.compat.plateau.io_components.utils import (
    normalize_args,
    validate_partition_keys,
)

__all__ = [
    "build_dataset_indices",
    "commit_dataset",
    "create_empty_dataset_header",
    "delete_dataset",
    "garbage_collect_dataset",
    "read_dataset_as_dataframes",
    "read_table",
    "store_dataframes_as_dataset",
    "update_dataset_from_dataframes",
    "write_single_partition",
]


def delete_dataset(dataset_uuid: str | None = None, store: Any = None, factory: Any = None) -> None:
    """Delete a dataset with all of its objects.

    Raises
    ------
    KeyError
        If there is none.
    """
    dataset = ensure_factory(dataset_uuid, store, factory, load_schema=False)
    drop_dataset(dataset.dataset_uuid, dataset.store_factory)


def read_dataset_as_dataframes(
    dataset_uuid: str | None = None,
    store: Any = None,
    columns: Any = None,
    predicate_pushdown_to_io: bool = True,
    categoricals: Any = None,
    dates_as_object: bool = True,
    predicates: Any = None,
    factory: Any = None,
    dispatch_by: Any = None,
) -> list[pd.DataFrame]:
    """Read a dataset as frames, one for each file.

    The parameters are those of
    `partita.compat.plateau.io.iter.read_dataset_as_dataframes__iterator`.
    """
    return list(
        read_dataset_as_dataframes__iterator(
            dataset_uuid,
            store,
            columns,
            predicate_pushdown_to_io,
            categoricals,
            dates_as_object,
            predicates,
            factory,
            dispatch_by,
        )
    )


def read_dataset_as_metapartitions(
    dataset_uuid: str | None = None,
    store: Any = None,
    columns: Any = None,
    predicate_pushdown_to_io: bool = True,
    categoricals: Any = None,
    dates_as_object: bool = True,
    predicates: Any = None,
    factory: Any = None,
    dispatch_by: Any = None,
) -> list[MetaPartition]:
    """Read a dataset as partitions with their rows; the parameters are those of
    `read_dataset_as_dataframes`."""
    return list(
        read_dataset_as_metapartitions__iterator(
            dataset_uuid,
            store,
            columns,
            predicate_pushdown_to_io,
            categoricals,
            dates_as_object,
            predicates,
            factory,
            dispatch_by,
        )
    )


def read_table(
    dataset_uuid: str | None = None,
    store: Any = None,
    columns: Any = None,
    predicate_pushdown_to_io: bool = True,
    categoricals: Any = None,
    dates_as_object: bool = True,
    predicates: Any = None,
    factory: Any = None,
) -> pd.DataFrame:
    """Read a dataset as one frame.

    The parameters are those of `read_dataset_as_dataframes`.
    """
    dataset = ensure_factory(dataset_uuid, store, factory)
    with translated(dataset.uuid):
        table = open_at(place_of(dataset.store, dataset.uuid), dataset.uuid)
        frame = frame_of_table(table, dataset, columns, predicates, categoricals, dates_as_object)
    if len(frame) or kept_labels(dataset, dataset.store, predicates):
        return frame
    # What no file was read for has the types of the schema alone, so that dates are timestamps.
    empty = empty_dataframe_from_schema(dataset.schema, columns)
    return empty.astype(dict.fromkeys(categoricals or (), "category"))


@normalize_args
def commit_dataset(
    store: Any = None,
    dataset_uuid: str | None = None,
    new_partitions: Iterable[MetaPartition] | None = None,
    delete_scope: Any = None,
    metadata: Any = None,
    metadata_merger: Any = None,
    default_metadata_version: int = DEFAULT_METADATA_VERSION,
    partition_on: Any = None,
    factory: Any = None,
    secondary_indices: Any = None,
) -> DatasetMetadata:
    """Make written partitions visible, remove others, set metadata, in one commit.

    Parameters
    ----------
    store, dataset_uuid, factory
        The dataset: its name and store, or a `DatasetFactory`.
    new_partitions : iterable of MetaPartition, optional
        What `write_single_partition` returned.
    delete_scope : list of dict, optional
        The partitions to remove, by values of partition columns and of indexed columns.
    metadata : dict, optional
        Entries of the metadata to set.
    metadata_merger : callable, optional
        Called with a list that holds the metadata there is; returns the new.
    partition_on : list of str, optional
        The partition columns, to be checked.
    """
    partitions = list(new_partitions or ())
    if not partitions and not metadata and not delete_scope:
        raise ValueError(
            "Need to provide either new data, new metadata or a delete scope. None of it was "
            "provided."
        )
    tables = {part.table_name for part in partitions}
    if len(tables) > 1:
        raise RuntimeError(
            f"Cannot commit more than one table to a dataset but got tables {sorted(tables)}"
        )
    dataset, _, _ = validate_partition_keys(
        dataset_uuid, store, factory, default_metadata_version, partition_on
    )
    if dataset is None:
        raise AttributeError(f"there is no dataset `{dataset_uuid}` to commit to")
    return change_dataset(
        partitions,
        dataset.store_factory,
        dataset,
        delete_scope=delete_scope,
        metadata=metadata,
        metadata_merger=metadata_merger,
    )


@normalize_args
def store_dataframes_as_dataset(
    store: Any,
    dataset_uuid: str,
    dfs: Any,
    metadata: Any = None,
    partition_on: Any = None,
    df_serializer: Any = None,
    overwrite: bool = False,
    secondary_indices: Any = None,
    metadata_storage_format: str = DEFAULT_METADATA_STORAGE_FORMAT,
    metadata_version: int = DEFAULT_METADATA_VERSION,
    table_name: str = SINGLE_TABLE,
) -> DatasetMetadata:
    """Create a dataset out of frames, in one commit.

    Parameters
    ----------
    store
        The store.
    dataset_uuid : str
        The name of the dataset.
    dfs : list of pandas.DataFrame
        The rows; each frame becomes a file, or one for each partition.
    metadata : dict, optional
        The metadata.
    partition_on : list of str, optional
        The partition columns.
    df_serializer : ParquetSerializer, optional
        Codec and rows of a row group.
    overwrite : bool, default False
        Replace a dataset that is there.
    secondary_indices : list of str, optional
        The columns with an index.
    metadata_storage_format : str, default "json"
        The form of the header: ``json`` or ``msgpack``.
    """
    if isinstance(dfs, pd.DataFrame):
        raise TypeError(f"Please pass a list of pandas.DataFrame as input. Instead got {type(dfs)}")
    return store_dataframes_as_dataset__iter(
        dfs,
        store=store,
        dataset_uuid=dataset_uuid,
        metadata=metadata,
        partition_on=partition_on,
        df_serializer=df_serializer,
        overwrite=overwrite,
        secondary_indices=secondary_indices,
        metadata_storage_format=metadata_storage_format,
        metadata_version=metadata_version,
        table_name=table_name,
    )


@normalize_args
def create_empty_dataset_header(
    store: Any,
    dataset_uuid: str,
    schema: Any,
    partition_on: Any = None,
    metadata: Any = None,
    overwrite: bool = False,
    metadata_storage_format: str = DEFAULT_METADATA_STORAGE_FORMAT,
    metadata_version: int = DEFAULT_METADATA_VERSION,
    table_name: str = SINGLE_TABLE,
) -> DatasetMetadata:
    """Create a dataset without rows, to which every file belongs that is in its folder.

    Parameters
    ----------
    schema : SchemaWrapper, pyarrow.Schema or pandas.DataFrame
        The columns and their types.
    """
    verify_metadata_version(metadata_version)
    form = header_format(metadata_storage_format)
    if not overwrite:
        raise_if_dataset_exists(dataset_uuid, store)
    return create_header(store, dataset_uuid, schema, partition_on, metadata, form, table_name)


@normalize_args
def write_single_partition(
    store: Any = None,
    dataset_uuid: str | None = None,
    data: Any = None,
    df_serializer: Any = None,
    metadata_version: int = DEFAULT_METADATA_VERSION,
    partition_on: Any = None,
    factory: Any = None,
    secondary_indices: Any = None,
    table_name: str = SINGLE_TABLE,
) -> MetaPartition:
    """Write rows to files that nobody sees before `commit_dataset`.

    In a dataset that `create_empty_dataset_header` made they are seen at once.
    """
    if data is None:
        raise TypeError("The parameter `data` is not optional")
    dataset, version, keys = validate_partition_keys(
        dataset_uuid, store, factory, metadata_version, partition_on
    )
    if dataset is None:
        raise AttributeError(f"there is no dataset `{dataset_uuid}` to write to")
    if dataset.table_name and dataset.table_name != table_name:
        raise RuntimeError(
            f"Trying to write a partition with table name {table_name} but dataset "
            f"{dataset.dataset_uuid} has already table {dataset.table_name}."
        )
    part = parse_input_to_metapartition(data, table_name, version)
    opened = dataset.store
    if keys:
        part = part.partition_on(keys)
    if secondary_indices:
        part = part.build_indices(columns=secondary_indices)
    part = part.validate_schema_compatible(store=opened, dataset_uuid=dataset.uuid)
    return part.store_dataframes(opened, dataset.uuid, df_serializer)


@normalize_args
def update_dataset_from_dataframes(
    df_list: Any,
    store: Any = None,
    dataset_uuid: str | None = None,
    delete_scope: Any = None,
    metadata: Any = None,
    df_serializer: Any = None,
    metadata_merger: Any = None,
    default_metadata_version: int = DEFAULT_METADATA_VERSION,
    partition_on: Any = None,
    sort_partitions_by: Any = None,
    secondary_indices: Any = None,
    table_name: str = SINGLE_TABLE,
    factory: Any = None,
) -> DatasetMetadata:
    """Add frames to a dataset and remove partitions, in one commit; create it if it is not there.

    Parameters
    ----------
    df_list : list of pandas.DataFrame or None
        The rows to add.
    store, dataset_uuid, factory
        The dataset: its name and store, or a `DatasetFactory`.
    delete_scope : list of dict, optional
        The partitions to remove, by values of partition columns and of indexed columns.
    metadata : dict, optional
        Entries of the metadata to set.
    metadata_merger : callable, optional
        Called with a list that holds the metadata there is; returns the new.
    partition_on : list of str, optional
        The partition columns; those of the dataset if left out.
    sort_partitions_by : list of str, optional
        Sort each frame by these columns.
    secondary_indices : list of str, optional
        The columns with an index, of a dataset that is created.
    """
    part = parse_input_to_metapartition(df_list, table_name, default_metadata_version)
    return update_dataset_from_dataframes__iter(
        [] if part.is_sentinel else [part],
        store=store,
        dataset_uuid=dataset_uuid,
        delete_scope=delete_scope,
        metadata=metadata,
        df_serializer=df_serializer,
        metadata_merger=metadata_merger,
        default_metadata_version=default_metadata_version,
        partition_on=partition_on,
        sort_partitions_by=sort_partitions_by,
        secondary_indices=secondary_indices,
        factory=factory,
        table_name=table_name,
    )


@normalize_args
def build_dataset_indices(
    store: Any, dataset_uuid: str | None, columns: Any, factory: Any = None
) -> DatasetMetadata:
    """Build secondary indices out of the stored rows, or build them anew."""
    dataset = ensure_factory(dataset_uuid, store, factory)
    names = [columns] if isinstance(columns, str) else list(columns)
    return build_indices(dataset, dataset.store_factory, names)


def garbage_collect_dataset(
    dataset_uuid: str | None = None, store: Any = None, factory: Any = None
) -> None:
    """Delete the objects of a dataset that it no longer refers to."""
    dataset = ensure_factory(dataset_uuid, store, factory)
    if not DatasetMetadata.exists(dataset.dataset_uuid, dataset.store):
        raise KeyError(f"Dataset does not exist. Tried {dataset.dataset_uuid}")
    collect_garbage(dataset, dataset.store_factory)
