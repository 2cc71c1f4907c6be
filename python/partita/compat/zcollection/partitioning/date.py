"""Partitions by the parts of a date."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from partita.compat.zcollection.partitioning.abc import Key, Partition, Partitioning, runs

__all__ = ["RESOLUTION", "UNITS", "Date"]

RESOLUTION = ("Y", "M", "D", "h", "m", "s")
UNITS = ("year", "month", "day", "hour", "minute", "second")

# What stands between a unit and the next one in ISO 8601.
_SEPARATORS = ("-", "-", "T", ":", ":")


class Date(Partitioning):
    """Partitions by the parts of a date, from the year down to the resolution.

    Examples
    --------
    >>> from partita.compat.zcollection.partitioning import Date
    >>> Date(("time",), "M").parse("year=2000/month=01")
    (('year', 2000), ('month', 1))
    """

    __slots__ = ("resolution",)

    ID: ClassVar[str | None] = "Date"

    def __init__(self, variables: Sequence[str], resolution: str) -> None:
        if len(variables) != 1:
            raise ValueError("Partitioning on dates is performed on a single variable.")
        if resolution not in RESOLUTION:
            raise ValueError("resolution must be in: " + ", ".join(RESOLUTION))
        self.resolution = resolution
        super().__init__(variables, ["uint16", *["uint8"] * RESOLUTION.index(resolution)])

    def _keys(self) -> Sequence[str]:
        return UNITS[: RESOLUTION.index(self.resolution) + 1]

    def _partition(self, selection: tuple[tuple[str, Any], ...]) -> tuple[str, ...]:
        key = self.decode((selection[0][1],))
        return tuple(f"{name}={value:02d}" for name, value in key)

    def _split(self, variables: Mapping[str, Any]) -> Iterator[Partition]:
        ((name, values),) = variables.items()
        if values.dtype.kind != "M":
            raise TypeError("values must be a datetime64 array")
        dates = np.asarray(values).astype(f"datetime64[{self.resolution}]")
        counts = dates.astype("int64").reshape(-1, 1)
        return ((((name, dates[start]),), slice(start, end)) for start, end in runs(counts))

    @staticmethod
    def join(partition_scheme: Key, sep: str) -> str:
        """The directory of a key."""
        return sep.join(f"{name}={value:02d}" for name, value in partition_scheme)

    def encode(self, partition: Key) -> tuple[Any, ...]:
        """The date that a key stands for, in the unit of its last field."""
        text = ""
        for position, (_, value) in enumerate(partition):
            text += _SEPARATORS[position - 1] if position else ""
            text += f"{value:02d}" if position else f"{value:04d}"
        return (np.datetime64(text),)

    def decode(self, values: tuple[Any, ...]) -> Key:
        """The key of a date."""
        moment = np.datetime64(values[0]).astype("M8[s]").item()
        return tuple((name, getattr(moment, name)) for name in self._keys())
