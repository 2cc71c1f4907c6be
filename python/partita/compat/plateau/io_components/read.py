"""The partitions that a read has to look at."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from partita.compat.plateau._reading import kept_labels
from partita.compat.plateau.core.factory import DatasetFactory
from partita.compat.plateau.io_components.metapartition import MetaPartition
from partita.compat.plateau.io_components.utils import normalize_arg
from partita.compat.plateau.serialization import check_predicates, columns_in_predicates

__all__ = ["dispatch_metapartitions", "dispatch_metapartitions_from_factory"]


def dispatch_metapartitions_from_factory(
    dataset_factory: Any, predicates: Any = None, dispatch_by: Any = None
) -> Iterator[Any]:
    """The partitions for which predicates can hold.

    With `dispatch_by` lists of these, one for each combination of values of some indexed columns.

    Raises
    ------
    RuntimeError
        If such a column is not indexed.
    """
    by = normalize_arg("dispatch_by", dispatch_by)
    if by is not None and not set(by) <= set(dataset_factory.index_columns):
        raise RuntimeError(
            f"Dispatch columns must be indexed.\nRequested index: {by} but available index "
            f"columns: {sorted(dataset_factory.index_columns)}"
        )
    check_predicates(predicates)
    labels = kept_labels(dataset_factory, dataset_factory.store, predicates)
    if by is None:
        for label in labels:
            yield _partition(dataset_factory, label)
    elif not by:
        yield [_partition(dataset_factory, label, []) for label in labels]
    else:
        yield from _by_value(dataset_factory, labels, by, predicates)


def _by_value(dataset: Any, labels: list[str], by: list[str], predicates: Any) -> Iterator[Any]:
    named = columns_in_predicates(predicates) & set(dataset.index_columns)
    columns = list(dict.fromkeys([*by, *sorted(named)]))
    for column in columns:
        dataset.load_index(column)
    found = dataset.get_indices_as_dataframe(columns, predicates=predicates)
    found = found[found.index.isin(labels)]
    for values, group in found.groupby(by, sort=True, observed=True):
        conjunction = [(name, "==", value) for name, value in zip(by, values, strict=True)]
        yield [_partition(dataset, label, conjunction) for label in dict.fromkeys(group.index)]


def _partition(dataset: Any, label: str, conjunction: Any = None) -> MetaPartition:
    return MetaPartition.from_partition(
        dataset.partitions[label],
        metadata_version=dataset.metadata_version,
        schema=dataset.schema,
        partition_keys=dataset.partition_keys,
        logical_conjunction=conjunction,
        table_name=dataset.table_name,
    )


def dispatch_metapartitions(
    dataset_uuid: str, store: Any, predicates: Any = None, dispatch_by: Any = None
) -> Iterator[Any]:
    """As `dispatch_metapartitions_from_factory`, of a dataset by name."""
    factory = DatasetFactory(dataset_uuid, store)
    return dispatch_metapartitions_from_factory(factory, predicates, dispatch_by)
