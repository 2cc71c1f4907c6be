"""Datasets and dask's delayed objects."""

from __future__ import annotations

from typing import Any

import pandas as pd
from dask.delayed import delayed

from partita.compat.plateau.core.factory import ensure_factory
from partita.compat.plateau.core.naming import (
    DEFAULT_METADATA_STORAGE_FORMAT,
    DEFAULT_METADATA_VERSION,
    SINGLE_TABLE,
)
from partita.compat.plateau.core.utils import verify_metadata_version
from partita.compat.plateau.core.uuid import gen_uuid
from partita.compat.plateau.io.dask._categories import categories_of_indices, with_categories
from partita.compat.plateau.io.dask._graphs import change_graph, creation_graph
from partita.compat.plateau.io.eager import delete_dataset, garbage_collect_dataset
from partita.compat.plateau.io_components.metapartition import MetaPartition
from partita.compat.plateau.io_components.read import dispatch_metapartitions_from_factory
from partita.compat.plateau.io_components.utils import normalize_arg, normalize_args

__all__ = [
    "delete_dataset__delayed",
    "garbage_collect_dataset__delayed",
    "read_dataset_as_delayed",
    "store_delayed_as_dataset",
    "update_dataset_from_delayed",
]


@normalize_args
def delete_dataset__delayed(
    dataset_uuid: str | None = None, store: Any = None, factory: Any = None
) -> Any:
    """Delete a dataset when it is computed."""
    dataset = ensure_factory(dataset_uuid, store, factory, load_schema=False)
    return delayed(delete_dataset)(factory=dataset)


@normalize_args
def garbage_collect_dataset__delayed(
    dataset_uuid: str | None = None, store: Any = None, chunk_size: int = 100, factory: Any = None
) -> list[Any]:
    """Delete what a dataset no longer refers to when it is computed."""
    return [delayed(garbage_collect_dataset)(factory=ensure_factory(dataset_uuid, store, factory))]


@normalize_args
def read_dataset_as_delayed_metapartitions(
    dataset_uuid: str | None = None,
    store: Any = None,
    columns: Any = None,
    predicate_pushdown_to_io: bool = True,
    categoricals: Any = None,
    dates_as_object: bool = True,
    predicates: Any = None,
    factory: Any = None,
    dispatch_by: Any = None,
) -> list[Any]:
    """A delayed partition, with its rows, for each file; the parameters are those of
    `read_dataset_as_delayed`."""
    dataset = ensure_factory(dataset_uuid, store, factory)
    options = {
        "store": dataset.store_factory,
        "columns": columns,
        "categoricals": categoricals,
        "predicate_pushdown_to_io": predicate_pushdown_to_io,
        "dates_as_object": dates_as_object,
        "predicates": predicates,
    }
    found = dispatch_metapartitions_from_factory(dataset, predicates, dispatch_by)
    kinds = categories_of_indices(dataset, categoricals)
    load = delayed(load_together)
    return [load(part if isinstance(part, list) else [part], kinds, options) for part in found]


def load_together(
    parts: list[MetaPartition], kinds: dict[str, Any], options: dict[str, Any]
) -> MetaPartition:
    """The rows of several partitions in one."""
    loaded = [part.load_dataframes(**options) for part in parts]
    one = loaded[0] if len(loaded) == 1 else MetaPartition.concat_metapartitions(loaded)
    if not kinds:
        return one
    return one.apply(lambda frame: with_categories(frame, kinds), type_safe=True)


@normalize_args
def read_dataset_as_delayed(
    dataset_uuid: str | None = None,
    store: Any = None,
    columns: Any = None,
    predicate_pushdown_to_io: bool = True,
    categoricals: Any = None,
    dates_as_object: bool = True,
    predicates: Any = None,
    factory: Any = None,
    dispatch_by: Any = None,
) -> list[Any]:
    """A delayed frame for each file.

    The parameters are those of
    `partita.compat.plateau.io.iter.read_dataset_as_dataframes__iterator`.
    """
    parts = read_dataset_as_delayed_metapartitions(
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
    return [delayed(data_of)(part) for part in parts]


def data_of(part: MetaPartition) -> pd.DataFrame:
    """The rows of a partition."""
    frame: pd.DataFrame = part.data
    return frame


def update_dataset_from_delayed(
    delayed_tasks: list[Any],
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
) -> Any:
    """A delayed dataset, changed by delayed frames in one commit.

    The parameters are those of
    `partita.compat.plateau.io.eager.update_dataset_from_dataframes`; `delete_scope` may be delayed
    too.
    """
    return change_graph(
        delayed_tasks,
        normalize_arg("store", store),
        dataset_uuid,
        factory,
        delete_scope=delayed(normalize_arg)("delete_scope", delete_scope),
        partition_on=normalize_arg("partition_on", partition_on),
        secondary_indices=normalize_arg("secondary_indices", secondary_indices),
        sort_partitions_by=normalize_arg("sort_partitions_by", sort_partitions_by),
        metadata=metadata,
        metadata_merger=metadata_merger,
        df_serializer=df_serializer,
        default_metadata_version=default_metadata_version,
        table_name=table_name,
    )


@normalize_args
def store_delayed_as_dataset(
    delayed_tasks: list[Any],
    store: Any,
    dataset_uuid: str | None = None,
    metadata: Any = None,
    df_serializer: Any = None,
    overwrite: bool = False,
    metadata_merger: Any = None,
    metadata_version: int = DEFAULT_METADATA_VERSION,
    partition_on: Any = None,
    metadata_storage_format: str = DEFAULT_METADATA_STORAGE_FORMAT,
    table_name: str = SINGLE_TABLE,
    secondary_indices: Any = None,
) -> Any:
    """A delayed dataset, created out of delayed frames.

    The parameters are those of `partita.compat.plateau.io.eager.store_dataframes_as_dataset`.
    """
    verify_metadata_version(metadata_version)
    return creation_graph(
        delayed_tasks,
        store,
        gen_uuid() if dataset_uuid is None else dataset_uuid,
        overwrite=overwrite,
        partition_on=partition_on,
        secondary_indices=secondary_indices,
        metadata=metadata,
        metadata_merger=metadata_merger,
        df_serializer=df_serializer,
        table_name=table_name,
        metadata_storage_format=metadata_storage_format,
    )
