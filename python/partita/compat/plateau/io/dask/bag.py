"""Datasets and dask's bags."""

from __future__ import annotations

from typing import Any

import dask.bag as db
from dask.delayed import delayed

from partita.compat.plateau._upkeep import build_indices
from partita.compat.plateau.core.factory import ensure_factory
from partita.compat.plateau.core.naming import (
    DEFAULT_METADATA_STORAGE_FORMAT,
    DEFAULT_METADATA_VERSION,
    SINGLE_TABLE,
)
from partita.compat.plateau.core.utils import verify_metadata_version
from partita.compat.plateau.core.uuid import gen_uuid
from partita.compat.plateau.io.dask._categories import categories_of_indices
from partita.compat.plateau.io.dask._graphs import creation_graph
from partita.compat.plateau.io.dask.delayed import data_of, load_together
from partita.compat.plateau.io_components.read import dispatch_metapartitions_from_factory
from partita.compat.plateau.io_components.utils import normalize_args

__all__ = ["build_dataset_indices__bag", "read_dataset_as_dataframe_bag", "store_bag_as_dataset"]


@normalize_args
def read_dataset_as_metapartitions_bag(
    dataset_uuid: str | None = None,
    store: Any = None,
    columns: Any = None,
    predicate_pushdown_to_io: bool = True,
    categoricals: Any = None,
    dates_as_object: bool = True,
    predicates: Any = None,
    factory: Any = None,
    dispatch_by: Any = None,
    partition_size: int | None = None,
) -> Any:
    """A bag of partitions with their rows; the parameters are those of
    `read_dataset_as_dataframe_bag`."""
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
    parts = [part if isinstance(part, list) else [part] for part in found]
    bag = db.from_sequence(parts, partition_size=partition_size)
    kinds = categories_of_indices(dataset, categoricals)
    return bag.map(load_together, kinds=kinds, options=options)


@normalize_args
def read_dataset_as_dataframe_bag(
    dataset_uuid: str | None = None,
    store: Any = None,
    columns: Any = None,
    predicate_pushdown_to_io: bool = True,
    categoricals: Any = None,
    dates_as_object: bool = True,
    predicates: Any = None,
    factory: Any = None,
    dispatch_by: Any = None,
    partition_size: int | None = None,
) -> Any:
    """A bag of frames, one for each file.

    The parameters are those of
    `partita.compat.plateau.io.iter.read_dataset_as_dataframes__iterator`, and `partition_size`,
    the frames in a partition of the bag.
    """
    bag = read_dataset_as_metapartitions_bag(
        dataset_uuid,
        store,
        columns,
        predicate_pushdown_to_io,
        categoricals,
        dates_as_object,
        predicates,
        factory,
        dispatch_by,
        partition_size,
    )
    return bag.map(data_of)


@normalize_args
def store_bag_as_dataset(
    bag: Any,
    store: Any,
    dataset_uuid: str | None = None,
    metadata: Any = None,
    df_serializer: Any = None,
    overwrite: bool = False,
    metadata_merger: Any = None,
    metadata_version: int = DEFAULT_METADATA_VERSION,
    partition_on: Any = None,
    metadata_storage_format: str = DEFAULT_METADATA_STORAGE_FORMAT,
    secondary_indices: Any = None,
    table_name: str = SINGLE_TABLE,
) -> Any:
    """A delayed dataset, created out of a bag of frames.

    The parameters are those of `partita.compat.plateau.io.eager.store_dataframes_as_dataset`.
    """
    verify_metadata_version(metadata_version)
    return creation_graph(
        bag.to_delayed(),
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


@normalize_args
def build_dataset_indices__bag(
    store: Any,
    dataset_uuid: str | None,
    columns: Any,
    partition_size: int | None = None,
    factory: Any = None,
) -> Any:
    """Build secondary indices when it is computed."""
    dataset = ensure_factory(dataset_uuid, store, factory)
    names = [columns] if isinstance(columns, str) else list(columns)
    return delayed(build_indices)(dataset, dataset.store_factory, names)
