"""Arguments in their usual form, and small things about frames."""

from __future__ import annotations

import collections
import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any

import pandas as pd

from partita.compat.plateau.core.dataset import DatasetMetadata
from partita.compat.plateau.core.factory import ensure_factory
from partita.compat.plateau.core.utils import ensure_store, lazy_store

_LISTS = ("partition_on", "delete_scope", "secondary_indices", "sort_partitions_by", "bucket_by")


def normalize_arg(arg_name: str, old_value: Any) -> Any:
    """One argument: names as a list, a store as a callable."""
    if arg_name == "store":
        return None if old_value is None else lazy_store(old_value)
    if arg_name == "dispatch_by" and old_value is None:
        return None
    if arg_name not in (*_LISTS, "dispatch_by") or isinstance(old_value, list):
        return old_value
    if old_value is None:
        return []
    if isinstance(old_value, (str, bytes, int, float)):
        return [old_value]
    if isinstance(old_value, (set, frozenset, dict)):
        raise ValueError(f"{type(old_value)} is incompatible for normalisation.")
    return list(old_value)


def normalize_args(function: Callable[..., Any]) -> Callable[..., Any]:
    """Have the arguments of a function put into their usual form before it is called."""
    signature = inspect.signature(function)
    usual = [n for n in (*_LISTS, "store", "dispatch_by") if n in signature.parameters]

    @functools.wraps(function)
    def normalized(*args: Any, **kwargs: Any) -> Any:
        bound = signature.bind(*args, **kwargs)
        for name in usual:
            if name in bound.arguments or name in _LISTS:
                default = signature.parameters[name].default
                if name not in bound.arguments and default is inspect.Parameter.empty:
                    continue
                bound.arguments[name] = normalize_arg(name, bound.arguments.get(name))
        return function(*bound.args, **bound.kwargs)

    return normalized


def combine_metadata(dataset_metadata: list[Any], append_to_list: bool = True) -> Any:
    """Several documents as one: what all agree on, lists one after the other."""
    combined = dataset_metadata[0]
    for other in dataset_metadata[1:]:
        combined = _combined(combined, other, append_to_list)
    return _agreed(combined)


_CONFLICT = object()


def _combined(one: Any, other: Any, append: bool) -> Any:
    if one is _CONFLICT or other is None or one == other:
        return one
    if one is None:
        return other
    if isinstance(one, dict) and isinstance(other, dict):
        return {key: _combined(one.get(key), other.get(key), append) for key in {**one, **other}}
    if isinstance(one, list) and isinstance(other, list):
        return one + other if append else list(dict.fromkeys(one + other))
    return _CONFLICT


def _agreed(combined: Any) -> dict[str, Any]:
    """A document without what differed, and without the documents that are empty then."""
    if not isinstance(combined, dict):
        return {}
    inner = {
        key: _agreed(value) if isinstance(value, dict) else value for key, value in combined.items()
    }
    return {key: value for key, value in inner.items() if value is not _CONFLICT and value != {}}


def validate_partition_keys(
    dataset_uuid: str | None,
    store: Any,
    ds_factory: Any,
    default_metadata_version: int,
    partition_on: Any,
) -> tuple[Any, int, Any]:
    """The dataset if there is one, its version and partition columns.

    Raises
    ------
    ValueError
        If it is partitioned in another way.
    """
    if not ds_factory and not DatasetMetadata.exists(str(dataset_uuid), ensure_store(store)):
        return None, default_metadata_version, partition_on
    factory = ensure_factory(dataset_uuid, store, ds_factory)
    if not partition_on:
        return factory, factory.metadata_version, factory.partition_keys
    given = partition_on if isinstance(partition_on, list) else [partition_on]
    if given != factory.partition_keys:
        raise ValueError(
            "Incompatible set of partition keys encountered. "
            f"Input partitioning was `{given}` while actual dataset was "
            f"`{factory.partition_keys}`"
        )
    return factory, factory.metadata_version, given


def ensure_compatible_indices(dataset: Any, secondary_indices: Iterable[str]) -> list[str]:
    """The indices that an update maintains.

    Raises
    ------
    ValueError
        If one was named that the dataset has not.
    """
    given = list(secondary_indices)
    if dataset is None:
        return sorted(given)
    known = sorted(dataset.secondary_indices)
    if not set(given) <= set(known):
        raise ValueError(
            f"Incorrect indices provided for dataset.\nExpected: {known}\nBut got: {given}"
        )
    return known


def raise_if_indices_overlap(partition_on: Any, secondary_indices: Any) -> None:
    """Refuse an index on a partition column."""
    both = set(partition_on or ()) & set(secondary_indices or ())
    if both:
        raise RuntimeError(f"Cannot create secondary index on partition columns: {both}")


def extract_duplicates(lst: Iterable[Any]) -> list[Any]:
    """What occurs more than once."""
    return [each for each, count in collections.Counter(lst).items() if count > 1]


def align_categories(dfs: Iterable[pd.DataFrame], categoricals: Iterable[str]) -> Any:
    """Frames whose columns of categories have the same categories, those of the longest first."""
    frames = list(dfs)
    kinds = {}
    for name in categoricals:
        columns = sorted((frame[name] for frame in frames), key=len, reverse=True)
        known: dict[Any, None] = {}
        for place, column in enumerate(columns):
            categorical = isinstance(column.dtype, pd.CategoricalDtype)
            values = column.cat.categories if categorical else column.dropna().unique()
            known.update(dict.fromkeys(values if place == 0 else sorted(set(values) - set(known))))
        first = len(columns[0].cat.categories) if _is_categorical(columns[0]) else 0
        ordered = [*list(known)[:first], *sorted(list(known)[first:])]
        kinds[name] = pd.CategoricalDtype(ordered, ordered=False)
    return [frame.astype(kinds) for frame in frames] if kinds else frames


def _is_categorical(column: pd.Series) -> bool:
    return isinstance(column.dtype, pd.CategoricalDtype)


def sort_values_categorical(df: pd.DataFrame, columns: Any) -> pd.DataFrame:
    """A frame sorted by columns, categories by their names."""
    names = columns if isinstance(columns, list) else [columns]
    ordered = {
        name: df[name].cat.reorder_categories(sorted(df[name].cat.categories), ordered=True)
        for name in names
        if _is_categorical(df[name])
    }
    return df.assign(**ordered).sort_values(names).reset_index(drop=True)


_ensure_compatible_indices = ensure_compatible_indices
