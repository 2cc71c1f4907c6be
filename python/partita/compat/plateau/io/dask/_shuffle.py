"""Rows of one partition and bucket brought together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import dask
import numpy as np
import pandas as pd
from dask.delayed import delayed

from partita.compat.plateau.io_components.metapartition import check_partitioning

__all__ = ["shuffled"]

_KTK_HASH_BUCKET = "__KTK_HASH_BUCKET"


def _hash_bucket(df: pd.DataFrame, subset: Sequence[str] | None, num_buckets: int) -> pd.DataFrame:
    """Number rows by a hash of some columns, the same for ever."""
    hashed = pd.util.hash_pandas_object(df[list(subset or df.columns)], index=False)
    width = next(bits for bits in (8, 16, 32, 64) if bits > np.log2(num_buckets))
    return df.assign(**{_KTK_HASH_BUCKET: (hashed % num_buckets).astype(f"uint{width}")})


def shuffled(
    ddf: Any, partition_on: Sequence[str], bucket_by: Sequence[str], num_buckets: int | None
) -> list[Any]:
    """Delayed lists of frames, one frame for each partition and bucket."""
    if num_buckets is None:
        raise ValueError("``num_buckets`` must not be None when shuffling data.")
    by = [*partition_on, _KTK_HASH_BUCKET]
    with dask.config.set({"dataframe.convert-string": False, "dataframe.shuffle.method": "tasks"}):
        meta = _hash_bucket(ddf._meta, bucket_by, num_buckets)
        bucketed = ddf.map_partitions(_hash_bucket, bucket_by, num_buckets, meta=meta)
        moved = bucketed.shuffle(on=by)
        return [delayed(_groups)(part, by) for part in moved.to_delayed()]


def _groups(df: pd.DataFrame, by: list[str]) -> list[pd.DataFrame]:
    check_partitioning(df, by)
    groups = df.groupby(by, sort=False, observed=True)
    return [group.drop(columns=_KTK_HASH_BUCKET) for _, group in groups]
