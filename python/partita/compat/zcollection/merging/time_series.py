"""Merging rows along an axis of times."""

from __future__ import annotations

from typing import Any

import numpy as np

from partita import merge
from partita.compat.zcollection.dataset import Dataset

__all__ = ["merge_time_series", "native_arguments"]


def merge_time_series(
    existing_ds: Dataset,
    inserted_ds: Dataset,
    axis: str,
    partitioning_dim: str,
    **kwargs: Any,
) -> Dataset:
    """The new rows, and the old ones outside of the periods that the new ones cover, in order.

    Parameters
    ----------
    axis : str
        The variable that says when a row is.
    partitioning_dim : str
        The dimension of the rows.
    tolerance : numpy.timedelta64, optional
        A period reaches from one new row to the next as long as they are not further apart than
        this; without it, from the first to the last.
    """
    tolerance = kwargs.get("tolerance")
    existing = np.asarray(existing_ds.variables[axis].array)
    inserted = np.asarray(inserted_ds.variables[axis].array)
    if not inserted.size:
        return existing_ds
    times = np.sort(inserted)
    cuts = np.zeros(0, dtype=np.int64)
    if tolerance is not None:
        cuts = np.flatnonzero(np.diff(times) > tolerance) + 1
    starts, ends = times[np.r_[0, cuts]], times[np.r_[cuts - 1, times.size - 1]]
    period = np.searchsorted(starts, existing, side="right") - 1
    kept = np.flatnonzero((period < 0) | (existing > ends[period]))
    both = existing_ds.isel({partitioning_dim: kept}).concat(inserted_ds, partitioning_dim)
    order = np.argsort(np.concatenate([existing[kept], inserted]), kind="stable")
    return both.isel({partitioning_dim: order})


def native_arguments(**kwargs: Any) -> dict[str, Any]:
    """The engine's form of `merge_time_series`."""
    strategy = merge.time_series(kwargs.get("tolerance"))
    return merge.merge_arguments(strategy, lambda function: function)
