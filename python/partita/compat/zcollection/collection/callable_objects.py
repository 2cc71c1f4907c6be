"""The functions that programs give to collections."""

from __future__ import annotations

from typing import Any, Protocol

from partita.compat.zcollection.dataset import Dataset

__all__ = ["MapCallable", "PartitionCallable", "UpdateCallable"]


class PartitionCallable(Protocol):
    """Given the dataset of a partition, and returns anything."""

    def __call__(self, zds: Dataset, *args: Any, **kwargs: Any) -> Any: ...


MapCallable = PartitionCallable


class UpdateCallable(Protocol):
    """Given the dataset of a partition, and returns arrays by the names of variables."""

    def __call__(self, zds: Dataset, *args: Any, **kwargs: Any) -> dict[str, Any]: ...
