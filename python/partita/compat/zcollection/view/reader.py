"""Reading partitions of views together with those of their bases."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import dask.array as da
import fsspec
import numpy as np
from dask.delayed import delayed as task

from partita.compat.zcollection import meta
from partita.compat.zcollection._reader import Reader
from partita.compat.zcollection._selection import Key, as_key
from partita.compat.zcollection.dataset import Dataset
from partita.compat.zcollection.view.arrays import described, read_array

__all__ = ["ViewReader", "called"]


@dataclass(frozen=True)
class ViewReader:
    """Reads partitions of a view together with those of its base; may be sent to others."""

    base: Reader
    fs: fsspec.AbstractFileSystem
    base_dir: str
    metadata: meta.Dataset
    paths: dict[Key, str]

    def read(self, keys: Sequence[Key], selected: Iterable[str] | None, delayed: bool) -> Dataset:
        """Partitions joined in the order of their keys."""
        selected = None if selected is None else set(selected)
        data = self.base.read(keys, selected, delayed)
        dimension = self.base.collection.dimension
        for name in sorted(self.metadata.select_variables(selected)):
            variable = self.metadata.variables[name]
            items = [self._items(key, name, delayed) for key in keys]
            axis = variable.dimensions.index(dimension)
            joined = (da if delayed else np).concatenate(items, axis=axis)
            for dim, size in zip(variable.dimensions, joined.shape, strict=True):
                data.dimensions.setdefault(dim, size)
            data.add_variable(variable, joined)
        return data

    def _items(self, key: Key, name: str, delayed: bool) -> Any:
        path = f"{self.paths[key]}/{name}"
        if not delayed:
            return read_array(self.fs, path)
        found = described(self.fs, path)
        lazy = task(read_array, pure=False)(self.fs, path)
        return da.from_delayed(lazy, tuple(found["shape"]), np.dtype(found["dtype"]))

    def with_neighbours(
        self,
        key: Key,
        keys: Sequence[Key],
        depth: int,
        selected: Iterable[str] | None,
        delayed: bool,
    ) -> tuple[Dataset, slice]:
        """A partition between its neighbours among `keys`, and which of the rows are its own."""
        _, own = self.base.with_neighbours(key, keys, depth, (), delayed)
        position = keys.index(key)
        around = keys[max(position - depth, 0) : position + depth + 1]
        return self.read(around, selected, delayed), own


def called(
    key: Key,
    *,
    reader: ViewReader,
    keys: Sequence[Key],
    depth: int | None,
    informed: bool,
    func: Any,
    args: tuple[Any, ...],
    selected: list[str] | None,
    delayed: bool,
    with_rows: bool = False,
) -> tuple[Any, ...]:
    """The key, what a function of a partition returns, and on demand which rows are its own."""
    key = as_key(key)
    rows = slice(0, 0)
    if depth:
        data, rows = reader.with_neighbours(key, keys, depth, selected, delayed)
    else:
        data = reader.read([key], selected, delayed)
        rows = slice(0, data.dimensions[reader.base.collection.dimension])
    told = {"partition_info": (reader.base.collection.dimension, rows)} if informed else {}
    found = func(data, *args, **told)
    return (key, found, rows) if with_rows else (key, found)
