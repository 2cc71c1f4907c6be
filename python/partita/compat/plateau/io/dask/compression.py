"""The columns that a shuffle does not look at, as one column of bytes."""

from __future__ import annotations

import functools
import logging
from typing import Any

import dask
import pandas as pd

__all__ = ["pack_payload", "pack_payload_pandas", "unpack_payload", "unpack_payload_pandas"]

_logger = logging.getLogger(__name__)
_PAYLOAD_COL = "__ktk_shuffle_payload"

try:
    from distributed.protocol import deserialize_bytes, serialize_bytes

    HAS_DISTRIBUTED = True
except ImportError:
    HAS_DISTRIBUTED = False


def _cannot() -> bool:
    if not HAS_DISTRIBUTED:
        _logger.warning(
            "Shuffle payload columns cannot be compressed since distributed is not installed."
        )
    return not HAS_DISTRIBUTED


def pack_payload_pandas(partition: pd.DataFrame, group_key: list[str]) -> pd.DataFrame:
    """A row for each combination of keys, with all of its rows as bytes."""
    if _cannot():
        return partition
    if partition.empty:
        return partition[group_key].assign(**{_PAYLOAD_COL: b""})
    rows = [
        (*(values if isinstance(values, tuple) else (values,)), serialize_bytes(group))
        for values, group in partition.groupby(group_key, sort=False, observed=True)
    ]
    packed = pd.DataFrame(rows, columns=[*group_key, _PAYLOAD_COL])
    return packed.astype({name: partition[name].dtype for name in group_key})


def unpack_payload_pandas(partition: pd.DataFrame, unpack_meta: pd.DataFrame) -> pd.DataFrame:
    """The rows that `pack_payload_pandas` was given."""
    if _cannot():
        return partition
    if partition.empty:
        return unpack_meta.iloc[:0]
    frames = [deserialize_bytes(data) for data in partition[_PAYLOAD_COL]]
    return pd.concat(frames, ignore_index=True)[list(unpack_meta.columns)]


def pack_payload(df: Any, group_key: Any) -> Any:
    """`pack_payload_pandas` on each partition of a dask DataFrame."""
    keys = group_key if isinstance(group_key, list) else [group_key]
    if _unsuited(df) or _cannot():
        return df
    meta = df._meta[keys].assign(**{_PAYLOAD_COL: b""})
    with dask.config.set({"dataframe.convert-string": False}):
        return df.map_partitions(functools.partial(pack_payload_pandas, group_key=keys), meta=meta)


def unpack_payload(df: Any, unpack_meta: pd.DataFrame) -> Any:
    """`unpack_payload_pandas` on each partition of a dask DataFrame."""
    if _unsuited(df) or _cannot():
        return df
    with dask.config.set({"dataframe.convert-string": False}):
        return df.map_partitions(unpack_payload_pandas, unpack_meta=unpack_meta, meta=unpack_meta)


def _unsuited(df: Any) -> bool:
    return str(df._meta.index.dtype) in ("float64", "datetime64[ns]")
