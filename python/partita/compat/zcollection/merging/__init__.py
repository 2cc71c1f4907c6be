"""How inserted rows are merged with those that a partition has."""

from __future__ import annotations

from typing import Any, Protocol

from partita.compat.zcollection.dataset import Dataset
from partita.compat.zcollection.merging import period
from partita.compat.zcollection.merging.time_series import merge_time_series

__all__ = ["MergeCallable", "merge_time_series", "period"]


class MergeCallable(Protocol):
    """Merges the rows of a partition with new ones."""

    def __call__(
        self,
        existing_ds: Dataset,
        inserted_ds: Dataset,
        axis: str,
        partitioning_dim: str,
        **kwargs: Any,
    ) -> Dataset: ...
