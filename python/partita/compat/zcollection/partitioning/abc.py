"""What partitionings have in common."""

from __future__ import annotations

import abc
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

if TYPE_CHECKING:
    from partita.compat.zcollection.dataset import Dataset

__all__ = ["DATA_TYPES", "Partition", "Partitioning", "runs"]

Partition = tuple[tuple[tuple[str, Any], ...], slice]
"""The fields of a key with their values, and where the rows are."""

Key = tuple[tuple[str, int], ...]

DATA_TYPES = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")


def runs(keys: np.ndarray[Any, Any]) -> Iterator[tuple[int, int]]:
    """Where rows have one key, from start to end; `keys` has one row for each.

    Raises
    ------
    ValueError
        If the keys are not in order, so that one of them could come twice.
    """
    changes = np.any(keys[1:] != keys[:-1], axis=1) if len(keys) else np.zeros(0, bool)
    starts = [0, *(np.flatnonzero(changes) + 1).tolist()] if len(keys) else []
    firsts = [tuple(row) for row in keys[starts].tolist()]
    if any(first >= second for first, second in zip(firsts, firsts[1:], strict=False)):
        raise ValueError("index is not monotonic")
    yield from zip(starts, [*starts[1:], len(keys)], strict=True)


class Partitioning(abc.ABC):
    """How rows are mapped to partitions: by fields of a key, which name directories."""

    __slots__ = ("_dtype", "_pattern", "variables")

    ID: ClassVar[str | None] = None

    def __init__(self, variables: Sequence[str], dtype: Sequence[str] | None = None) -> None:
        if isinstance(dtype, str):
            raise TypeError("dtype must be a sequence of strings")
        if len(variables) == 0:
            raise ValueError("variables must not be empty")
        self.variables = tuple(variables)
        self._dtype = ("int64",) * len(self.variables) if dtype is None else tuple(dtype)
        if not set(self._dtype) <= set(DATA_TYPES):
            raise ValueError(f"Data type must be one of {', '.join(DATA_TYPES)}.")
        self._pattern = re.compile(".".join(f"({re.escape(k)})=(.*)" for k in self._keys()))

    def __len__(self) -> int:
        return len(self._dtype)

    def dtype(self) -> tuple[tuple[str, str], ...]:
        """The fields of keys with their types."""
        return tuple(zip(self._keys(), self._dtype, strict=True))

    def _keys(self) -> Sequence[str]:
        return self.variables

    @abc.abstractmethod
    def _split(self, variables: Mapping[str, Any]) -> Iterator[Partition]:
        """The keys, with the rows that have them."""

    def _partition(self, selection: tuple[tuple[str, Any], ...]) -> tuple[str, ...]:
        return tuple(f"{name}={value}" for name, value in selection)

    def index_dataset(self, zds: Dataset) -> Iterator[Partition]:
        """The keys of a dataset, with the rows that have them."""
        found = {name: np.asarray(zds.variables[name].array) for name in self.variables}
        return self._split(found)

    def split_dataset(
        self, zds: Dataset, axis: str
    ) -> Iterator[tuple[tuple[str, ...], dict[str, slice]]]:
        """The names of directories, with the rows along the dimension `axis` that go there."""
        for name in self.variables:
            if len(zds.variables[name].shape) != 1:
                raise ValueError(f"{name!r} must be a one-dimensional array")
        return (
            (self._partition(selection), {axis: rows})
            for selection, rows in self.index_dataset(zds)
        )

    def get_config(self) -> dict[str, Any]:
        """The partitioning in the types of JSON: its public attributes."""
        config: dict[str, Any] = {"id": self.ID}
        for base in reversed(type(self).__mro__):
            slots = getattr(base, "__slots__", ())
            for name in (slots,) if isinstance(slots, str) else slots:
                if not name.startswith("_"):
                    config[name] = getattr(self, name)
        return config

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Partitioning:
        """The partitioning of a configuration without its ``id``."""
        return cls(**config)

    def parse(self, partition: str) -> Key:
        """The key of a directory."""
        found = self._pattern.search(partition)
        if found is None:
            raise ValueError(f"Partition is not driven by this instance: {partition}")
        groups = found.groups()
        return tuple(zip(groups[::2], map(int, groups[1::2]), strict=True))

    @abc.abstractmethod
    def encode(self, partition: Key) -> tuple[Any, ...]:
        """The values of the variables that a key stands for."""

    @abc.abstractmethod
    def decode(self, values: tuple[Any, ...]) -> Key:
        """The key of values of the variables."""

    @staticmethod
    def join(partition_scheme: Key, sep: str) -> str:
        """The directory of a key."""
        return sep.join(f"{name}={value}" for name, value in partition_scheme)

    def list_partitions(self, fs: Any, path: str) -> Iterator[str]:
        """The directories of partitions in a file system, in the order of their keys."""
        level = [path]
        for depth in range(len(self)):
            below = [item for folder in level for item in fs.ls(folder, detail=True)]
            level = [
                item["name"].rstrip("/")
                for item in below
                if item["type"] == "directory"
                and (depth or not item["name"].rstrip("/").split(fs.sep)[-1].startswith("."))
            ]
        found: list[tuple[Key, str]] = []
        for folder in level:
            try:
                found.append((self.parse(folder), folder))
            except ValueError:
                continue
        yield from (folder for _, folder in sorted(found))
