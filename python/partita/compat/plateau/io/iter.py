"""Datasets frame by frame."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pandas as pd

from partita.compat.plateau._writing import (
    change_dataset,
    create_dataset,
    raise_if_dataset_exists,
    remove_header,
)
from partita.compat.plateau.core.dataset import DatasetMetadata
from partita.compat.plateau.core.factory import ensure_factory
from partita.compat.plateau.core.naming import (
    DEFAULT_METADATA_STORAGE_FORMAT,
    DEFAULT_METADATA_VERSION,
    SINGLE_TABLE,
)
from partita.compat.plateau.core.utils import verify_metadata_version
from partita.compat.plateau.core.uuid import gen_uuid
from partita.compat.plateau.io_components.metapartition import (
    MetaPartition,
    parse_input_to_metapartition,
)
from partita.compat.plateau.io_components.read import dispatch_metapartitions_from_factory
from partita.compat.plateau.io_components.utils import (
    ensure_compatible_indices,
    normalize_args,
    raise_if_indices_overlap,
    sort_values_categorical,
    validate_partition_keys,
)

__all__ = [
    "read_dataset_as_dataframes__iterator",
    "store_dataframes_as_dataset__iter",
    "update_dataset_from_dataframes__iter",
]


@normalize_args
def read_dataset_as_metapartitions__iterator(
    dataset_uuid: str | None = None,
    store: Any = None,
    columns: Any = None,
    predicate_pushdown_to_io: bool = True,
    categoricals: Any = None,
    dates_as_object: bool = True,
    predicates: Any = None,
    factory: Any = None,
    dispatch_by: Any = None,
) -> Iterator[MetaPartition]:
    """Read a dataset partition by partition, each with its rows.

    The parameters are those of `read_dataset_as_dataframes__iterator`.
    """
    dataset = ensure_factory(dataset_uuid, store, factory)
    options = {
        "store": dataset.store,
        "columns": columns,
        "categoricals": categoricals,
        "predicate_pushdown_to_io": predicate_pushdown_to_io,
        "predicates": predicates,
    }
    for found in dispatch_metapartitions_from_factory(dataset, predicates, dispatch_by):
        if isinstance(found, MetaPartition):
            yield found.load_dataframes(dates_as_object=dates_as_object, **options)
        elif found:
            loaded = [each.load_dataframes(**options) for each in found]
            yield MetaPartition.concat_metapartitions(loaded)


@normalize_args
def read_dataset_as_dataframes__iterator(
    dataset_uuid: str | None = None,
    store: Any = None,
    columns: Any = None,
    predicate_pushdown_to_io: bool = True,
    categoricals: Any = None,
    dates_as_object: bool = True,
    predicates: Any = None,
    factory: Any = None,
    dispatch_by: Any = None,
) -> Iterator[pd.DataFrame]:
    """Read a dataset frame by frame.

    Parameters
    ----------
    dataset_uuid, store, factory
        The dataset: its name and store, or a `DatasetFactory`.
    columns : list of str, optional
        The columns to read.
    predicate_pushdown_to_io : bool, default True
        Taken for the sake of the interface; the engine always leaves unread what it can.
    categoricals : list of str, optional
        The columns to return as categories.
    dates_as_object : bool, default True
        Dates as ``datetime.date``.
    predicates : list of lists of tuples, optional
        Which rows.
    dispatch_by : list of str, optional
        A frame for each combination of values of these indexed columns, not for each file.
    """
    for part in read_dataset_as_metapartitions__iterator(
        dataset_uuid,
        store,
        columns,
        predicate_pushdown_to_io,
        categoricals,
        dates_as_object,
        predicates,
        factory,
        dispatch_by,
    ):
        yield part.data


@normalize_args
def update_dataset_from_dataframes__iter(
    df_generator: Any,
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
    factory: Any = None,
    table_name: str = SINGLE_TABLE,
) -> DatasetMetadata:
    """Add frames to a dataset and remove partitions, in one commit.

    The parameters are those of `partita.compat.plateau.io.eager.update_dataset_from_dataframes`;
    frames are read one by one.
    """
    dataset, version, partition_on = validate_partition_keys(
        dataset_uuid, store, factory, default_metadata_version, partition_on
    )
    indices = ensure_compatible_indices(dataset, secondary_indices)

    def parts() -> Iterator[MetaPartition]:
        for df in df_generator or ():
            part = parse_input_to_metapartition(df, table_name, version)
            if sort_partitions_by:
                part = part.apply(lambda frame: sort_values_categorical(frame, sort_partitions_by))
            yield part

    common: dict[str, Any] = {
        "metadata": metadata,
        "metadata_merger": metadata_merger,
        "df_serializer": df_serializer,
    }
    if dataset is not None and (dataset.schema is not None or dataset.partitions):
        if store is None:
            store = dataset.store_factory
        return change_dataset(parts(), store, dataset, delete_scope=delete_scope, **common)
    if dataset is not None:
        # A name and nothing else: no schema, no rows. What it becomes is created in its place.
        store, dataset_uuid = dataset.store_factory, dataset.uuid
        common["metadata"] = {**dataset.metadata, **(metadata or {})}
        remove_header(store, dataset.uuid)
    parsed = parts()
    first = next(parsed, None)
    if first is None:
        raise ValueError(_EMPTY)
    return create_dataset(
        itertools.chain([first], parsed),
        store,
        str(dataset_uuid),
        partition_on=partition_on or (),
        index=indices,
        table_name=table_name,
        **common,
    )


@normalize_args
def store_dataframes_as_dataset__iter(
    df_generator: Any,
    store: Any,
    dataset_uuid: str | None = None,
    metadata: Any = None,
    partition_on: Any = None,
    df_serializer: Any = None,
    overwrite: bool = False,
    metadata_storage_format: str = DEFAULT_METADATA_STORAGE_FORMAT,
    metadata_version: int = DEFAULT_METADATA_VERSION,
    secondary_indices: Any = None,
    table_name: str = SINGLE_TABLE,
) -> DatasetMetadata:
    """Create a dataset out of frames, which are read one by one.

    The parameters are those of `partita.compat.plateau.io.eager.store_dataframes_as_dataset`.
    """
    uuid = gen_uuid() if dataset_uuid is None else dataset_uuid
    verify_metadata_version(metadata_version)
    if not overwrite:
        raise_if_dataset_exists(uuid, store)
    raise_if_indices_overlap(partition_on, secondary_indices)
    frames = iter(df_generator)
    first = next(frames, _NOTHING)
    if first is _NOTHING:
        raise ValueError(_EMPTY)

    def parts() -> Iterator[MetaPartition]:
        yield parse_input_to_metapartition(first, table_name, metadata_version)
        for df in frames:
            yield parse_input_to_metapartition(df, table_name, metadata_version)

    return create_dataset(
        parts(),
        store,
        uuid,
        partition_on=partition_on,
        index=secondary_indices,
        metadata=metadata,
        df_serializer=df_serializer,
        overwrite=overwrite,
        metadata_storage_format=metadata_storage_format,
        table_name=table_name,
    )


_NOTHING = object()
_EMPTY = "Cannot store empty datasets, partition_list must not be empty if in store mode."
