"""Datasets and dask's DataFrames."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import Any

import dask
import dask.dataframe as dd
import pandas as pd
from dask.dataframe.io.utils import DataFrameIOFunction

from partita.compat.plateau._writing import raise_if_dataset_exists
from partita.compat.plateau.core.common_metadata import empty_dataframe_from_schema
from partita.compat.plateau.core.factory import ensure_factory
from partita.compat.plateau.core.naming import DEFAULT_METADATA_VERSION, SINGLE_TABLE
from partita.compat.plateau.core.utils import verify_metadata_version
from partita.compat.plateau.io.dask._categories import categories_of_indices, with_categories
from partita.compat.plateau.io.dask._graphs import change_graph, creation_graph
from partita.compat.plateau.io.dask._shuffle import shuffled
from partita.compat.plateau.io.dask.compression import (
    pack_payload,
    pack_payload_pandas,
    unpack_payload,
    unpack_payload_pandas,
)
from partita.compat.plateau.io_components.metapartition import METADATA_SCHEMA, MetaPartition
from partita.compat.plateau.io_components.read import dispatch_metapartitions_from_factory
from partita.compat.plateau.io_components.utils import normalize_args

__all__ = [
    "collect_dataset_metadata",
    "hash_dataset",
    "pack_payload",
    "pack_payload_pandas",
    "read_dataset_as_ddf",
    "store_dataset_from_ddf",
    "unpack_payload",
    "unpack_payload_pandas",
    "update_dataset_from_ddf",
]

_PLAIN = {"dataframe.convert-string": False}
_SHUFFLING = {**_PLAIN, "dataframe.shuffle.method": "tasks"}


class _Read(DataFrameIOFunction):
    """Reads the partition of a dask DataFrame, of the columns that are wanted of it."""

    def __init__(self, columns: list[str], kinds: dict[str, Any]) -> None:
        self._columns = columns
        self._kinds = kinds

    @property
    def columns(self) -> list[str]:
        return self._columns

    def project_columns(self, columns: Sequence[str]) -> _Read:
        return _Read(list(columns), self._kinds)

    def __call__(self, parts: Any, columns: Any = None, **options: Any) -> pd.DataFrame:
        wanted = self._columns if columns is None else [c for c in columns if c in self._columns]
        listed = parts if isinstance(parts, list) else [parts]
        loaded = [part.load_dataframes(columns=wanted, **options) for part in listed]
        one = loaded[0] if len(loaded) == 1 else MetaPartition.concat_metapartitions(loaded)
        return with_categories(one.data, self._kinds)


@normalize_args
def read_dataset_as_ddf(
    dataset_uuid: str | None = None,
    store: Any = None,
    table: str = SINGLE_TABLE,
    columns: Any = None,
    predicate_pushdown_to_io: bool = True,
    categoricals: Any = None,
    dates_as_object: bool = True,
    predicates: Any = None,
    factory: Any = None,
    dask_index_on: str | None = None,
    dispatch_by: Any = None,
) -> Any:
    """Read a dataset as a dask DataFrame, a partition for each file.

    Parameters
    ----------
    dataset_uuid, store, factory
        The dataset: its name and store, or a `DatasetFactory`.
    columns : list of str, optional
        The columns to read.
    categoricals : list of str, optional
        The columns to return as categories, known ones where the column has an index.
    dates_as_object : bool, default True
        Dates as ``datetime.date``.
    predicates : list of lists of tuples, optional
        Which rows.
    dask_index_on : str, optional
        An indexed column that becomes the index, with divisions.
    dispatch_by : list of str, optional
        A partition for each combination of values of these indexed columns.
    """
    if dask_index_on is not None and not isinstance(dask_index_on, str):
        raise TypeError(
            f"The parameter `dask_index_on` must be a string but got {type(dask_index_on)}"
        )
    if dask_index_on is not None and dispatch_by:
        raise ValueError(
            "`read_dataset_as_ddf` got parameters `dask_index_on` and `dispatch_by`. Note that "
            "`dispatch_by` can only be used if `dask_index_on` is None."
        )
    dataset = ensure_factory(dataset_uuid, store, factory)
    wanted = columns.get(table) if isinstance(columns, dict) else columns
    meta = _meta(dataset, wanted, categoricals, dates_as_object)
    kinds = categories_of_indices(dataset, categoricals)
    wanted = list(meta.columns) if wanted is None else list(wanted)
    by = [dask_index_on] if dask_index_on else dispatch_by
    parts = list(dispatch_metapartitions_from_factory(dataset, predicates, by))
    with dask.config.set(_PLAIN):
        if not parts:
            empty = dd.from_pandas(with_categories(meta, kinds), npartitions=1)
            return empty.set_index(dask_index_on) if dask_index_on else empty
        ddf = dd.from_map(
            _Read(wanted, kinds),
            parts,
            meta=with_categories(meta, kinds),
            columns=wanted,
            label="read-plateau",
            store=dataset.store_factory,
            categoricals=categoricals,
            predicate_pushdown_to_io=predicate_pushdown_to_io,
            dates_as_object=dates_as_object,
            predicates=predicates,
        )
        if not dask_index_on:
            return ddf
        firsts = [part[0].logical_conjunction[0][2] for part in parts]
        divisions = [*firsts, firsts[-1]]
        return ddf.set_index(dask_index_on, divisions=divisions, sorted=True)


def _meta(dataset: Any, columns: Any, categoricals: Any, dates_as_object: bool) -> pd.DataFrame:
    if columns is not None:
        missing = set(columns) - set(dataset.schema.names)
        if missing:
            raise KeyError(f"these columns are not in the dataset: {', '.join(sorted(missing))}")
    meta = empty_dataframe_from_schema(dataset.schema, columns, date_as_object=dates_as_object)
    named = [name for name in categoricals or () if name in meta]
    if not named:
        return meta
    return dd.utils.clear_known_categories(meta.astype(dict.fromkeys(named, "category")), named)


@normalize_args
def store_dataset_from_ddf(
    ddf: Any,
    store: Any,
    dataset_uuid: str,
    table: str = SINGLE_TABLE,
    secondary_indices: Any = None,
    shuffle: bool = False,
    repartition_ratio: Any = None,
    num_buckets: int = 1,
    sort_partitions_by: Any = None,
    metadata: Any = None,
    df_serializer: Any = None,
    metadata_merger: Any = None,
    metadata_version: int = DEFAULT_METADATA_VERSION,
    partition_on: Any = None,
    bucket_by: Any = None,
    overwrite: bool = False,
) -> Any:
    """A delayed dataset, created out of a dask DataFrame.

    Parameters
    ----------
    shuffle : bool, default False
        Bring the rows of each partition together first.
    repartition_ratio : float, optional
        Go on with this many times fewer partitions.
    num_buckets : int, default 1
        With `shuffle`, the files of each partition.
    bucket_by : list of str, optional
        With `shuffle`, rows that agree in these columns go to one file.
    sort_partitions_by : list of str, optional
        Sort each frame by these columns.

    The others are those of `partita.compat.plateau.io.eager.store_dataframes_as_dataset`.
    """
    if table is None:
        raise TypeError("The parameter `table` is not optional.")
    verify_metadata_version(metadata_version)
    if not overwrite:
        raise_if_dataset_exists(dataset_uuid, store)
    return creation_graph(
        _tasks(ddf, shuffle, repartition_ratio, num_buckets, partition_on, bucket_by),
        store,
        dataset_uuid,
        overwrite=overwrite,
        partition_on=partition_on,
        secondary_indices=secondary_indices,
        sort_partitions_by=sort_partitions_by,
        metadata=metadata,
        metadata_merger=metadata_merger,
        df_serializer=df_serializer,
        table_name=table,
    )


@normalize_args
def update_dataset_from_ddf(
    ddf: Any,
    store: Any = None,
    dataset_uuid: str | None = None,
    table: str = SINGLE_TABLE,
    secondary_indices: Any = None,
    shuffle: bool = False,
    repartition_ratio: Any = None,
    num_buckets: int = 1,
    sort_partitions_by: Any = None,
    delete_scope: Any = None,
    metadata: Any = None,
    df_serializer: Any = None,
    metadata_merger: Any = None,
    default_metadata_version: int = DEFAULT_METADATA_VERSION,
    partition_on: Any = None,
    factory: Any = None,
    bucket_by: Any = None,
) -> Any:
    """A delayed dataset, changed by a dask DataFrame in one commit; None only removes.

    The parameters are those of `store_dataset_from_ddf` and of
    `partita.compat.plateau.io.eager.update_dataset_from_dataframes`.
    """
    if table is None:
        raise TypeError("The parameter `table` is not optional.")
    keys = partition_on or (factory.partition_keys if factory is not None else [])
    if not keys and shuffle and factory is None:
        keys = _known_keys(dataset_uuid, store)
    return change_graph(
        _tasks(ddf, shuffle, repartition_ratio, num_buckets, keys, bucket_by),
        store,
        dataset_uuid,
        factory,
        delete_scope=delete_scope,
        partition_on=partition_on,
        secondary_indices=secondary_indices,
        sort_partitions_by=sort_partitions_by,
        metadata=metadata,
        metadata_merger=metadata_merger,
        df_serializer=df_serializer,
        default_metadata_version=default_metadata_version,
        table_name=table,
    )


def _known_keys(dataset_uuid: Any, store: Any) -> list[str]:
    try:
        keys: list[str] = ensure_factory(dataset_uuid, store, None).partition_keys
    except KeyError:
        return []
    return keys


def _tasks(
    ddf: Any, shuffle: bool, ratio: Any, num_buckets: Any, partition_on: Any, bucket_by: Any
) -> list[Any]:
    if ddf is None:
        return []
    if ratio:
        ddf = ddf.repartition(npartitions=math.ceil(ddf.npartitions / ratio))
    if shuffle:
        return shuffled(ddf, partition_on, bucket_by, num_buckets)
    with dask.config.set(_PLAIN):
        return list(ddf.to_delayed())


@normalize_args
def collect_dataset_metadata(
    store: Any = None,
    dataset_uuid: str | None = None,
    predicates: Any = None,
    frac: float = 1.0,
    factory: Any = None,
) -> Any:
    """What the footers of the files say, as a dask DataFrame with a row for each row group.

    Parameters
    ----------
    predicates
        Only the files for which these can hold.
    frac : float, default 1.0
        This part of the files, chosen at random.
    """
    if not 0.0 < frac <= 1.0:
        raise ValueError(
            f"Invalid value for parameter `frac`: {frac}."
            "Please make sure to provide a value larger than 0.0 and smaller than or equal to 1.0 ."
        )
    dataset = ensure_factory(dataset_uuid, store, factory)
    parts = list(dispatch_metapartitions_from_factory(dataset, predicates))
    meta = pd.DataFrame(columns=list(METADATA_SCHEMA)).astype(METADATA_SCHEMA)
    with dask.config.set(_PLAIN):
        if not parts:
            return dd.from_pandas(meta, npartitions=1)
        random.shuffle(parts)
        chosen = parts[: max(1, int(len(parts) * frac))]
        read = MetaPartition.get_parquet_metadata
        return dd.from_map(read, chosen, meta=meta, store=dataset.store_factory)


@normalize_args
def hash_dataset(
    store: Any = None,
    dataset_uuid: str | None = None,
    subset: Any = None,
    group_key: Any = None,
    table: str = SINGLE_TABLE,
    predicates: Any = None,
    factory: Any = None,
) -> Any:
    """A hash of the rows, as a dask Series: one for each file, or for each group.

    Parameters
    ----------
    subset : list of str, optional
        The columns to look at.
    group_key : list of str, optional
        The columns that make the groups.
    """
    dataset = ensure_factory(dataset_uuid, store, factory)
    keys = [group_key] if isinstance(group_key, str) else group_key
    columns = sorted({*subset, *keys}) if subset and keys else subset
    ddf = read_dataset_as_ddf(
        table=table, predicates=predicates, factory=dataset, columns=columns, dates_as_object=True
    )
    hashed = list(subset or ddf.columns)
    with dask.config.set(_SHUFFLING):
        if not keys:
            return ddf.map_partitions(_hash, subset=hashed, meta=(None, "uint64"))
        moved = ddf.shuffle(on=keys)
        return moved.map_partitions(_hash_groups, keys, hashed, meta=(None, "uint64"))


def _hash(part: pd.DataFrame, subset: list[str]) -> Any:
    return pd.util.hash_pandas_object(part.reset_index(drop=True)[subset], index=False).sum()


def _hash_groups(part: pd.DataFrame, keys: list[str], subset: list[str]) -> pd.Series:
    groups = part.groupby(keys if len(keys) > 1 else keys[0], observed=True)
    hashes = {key: _hash(group, subset) for key, group in groups}
    if not hashes:
        return pd.Series([], dtype="uint64")
    index = groups.size().index
    return pd.Series([hashes[key] for key in index], index=index, dtype="uint64")
