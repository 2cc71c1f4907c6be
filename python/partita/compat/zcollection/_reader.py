"""Reading partitions into datasets."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import partita
from partita.compat.zcollection import meta
from partita.compat.zcollection._engine import from_native
from partita.compat.zcollection._lazy import lazy_dataset, partition_rows
from partita.compat.zcollection._selection import Key, condition
from partita.compat.zcollection.dataset import Dataset

__all__ = ["Reader", "damage_as_value_error"]


@contextmanager
def damage_as_value_error() -> Iterator[None]:
    """Raise what is wrong with stored bytes as the ValueError that programs expect."""
    try:
        yield
    except partita.Corrupt as error:
        raise ValueError(str(error)) from error


@dataclass(frozen=True)
class Reader:
    """Reads partitions of a collection; it may be sent to other processes."""

    collection: partita.Collection
    metadata: meta.Dataset
    extents: dict[str, int] = field(default_factory=dict)
    """The sizes of dimensions that are not cut, learned by reading."""

    def names(self, selected: Iterable[str] | None) -> list[str]:
        """The selected variables that there are, in the order of the collection."""
        chosen = self.metadata.select_variables(selected)
        return [name for name in self.metadata.variables if name in chosen]

    def read(self, keys: Sequence[Key], selected: Iterable[str] | None, delayed: bool) -> Dataset:
        """Partitions joined in the order of their keys."""
        names = self.names(selected)
        if not names:
            return Dataset([], attrs=self.metadata.attrs, delayed=delayed)
        with damage_as_value_error():
            if delayed:
                return lazy_dataset(self.collection, self.metadata, keys, names, self.extents)
            data = self.collection._native.read(condition(keys)._native, names)
            return from_native(data, self.metadata, delayed=False)

    def with_neighbours(
        self,
        key: Key,
        keys: Sequence[Key],
        depth: int,
        selected: Iterable[str] | None,
        delayed: bool,
    ) -> tuple[Dataset, slice]:
        """A partition between its neighbours among `keys`, and which of the rows are its own."""
        position = keys.index(key)
        first = max(position - depth, 0)
        around = keys[first : position + depth + 1]
        sizes = partition_rows(self.collection, around)
        start = sum(sizes[: position - first])
        return self.read(around, selected, delayed), slice(start, start + sizes[position - first])


def accepts(function: Any, name: str) -> bool:
    """Whether a function has a parameter of that name."""
    import inspect

    try:
        return name in inspect.signature(function).parameters
    except (TypeError, ValueError):
        return False
