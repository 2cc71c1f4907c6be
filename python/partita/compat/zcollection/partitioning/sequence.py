"""Partitions by the values of integer variables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import numpy as np

from partita.compat.zcollection.partitioning.abc import Key, Partition, Partitioning, runs

__all__ = ["Sequence"]


class Sequence(Partitioning):
    """Partitions by the values of integer variables.

    Examples
    --------
    >>> from partita.compat.zcollection.partitioning import Sequence
    >>> Sequence(("cycle", "pass")).join((("cycle", 7), ("pass", 1)), "/")
    'cycle=7/pass=1'
    """

    __slots__ = ()

    ID: ClassVar[str | None] = "Sequence"

    def _split(self, variables: Mapping[str, Any]) -> Iterator[Partition]:
        matrix = np.stack([np.asarray(values) for values in variables.values()], axis=1)
        if matrix.dtype.kind not in "iu":
            raise TypeError("The variables must be integer")
        names = tuple(variables)
        return (
            (tuple(zip(names, matrix[start], strict=True)), slice(start, end))
            for start, end in runs(matrix)
        )

    def encode(self, partition: Key) -> tuple[int, ...]:
        """The values of a key."""
        return tuple(value for _, value in self.parse(self.join(partition, "/")))

    def decode(self, values: tuple[Any, ...]) -> Key:
        """The key of values."""
        return tuple(zip(self.variables, values, strict=True))
