"""How datasets are partitioned by more than the values of columns."""

from __future__ import annotations

from collections.abc import Sequence as Names
from dataclasses import dataclass
from typing import Any, Literal, cast

from partita.errors import InvalidArgument

__all__ = ["Bucket", "Date", "GroupedSequence", "Partitioning", "Sequence"]

Resolution = Literal[
    "year", "month", "day", "hour", "minute", "second", "Y", "M", "D", "h", "m", "s"
]
"""How finely a date partitions, by name or as numpy has it."""

_PARTS = ["year", "month", "day", "hour", "minute", "second"]
_CODES = dict(zip("YMDhms", _PARTS, strict=True))


def date_parts(resolution: str) -> list[str]:
    """The names of the parts of a date down to a resolution, outermost first."""
    name = _CODES.get(resolution, resolution)
    if name not in _PARTS:
        raise InvalidArgument(f"a resolution is one of {', '.join(_PARTS)}")
    return _PARTS[: _PARTS.index(name) + 1]


@dataclass(frozen=True)
class Date:
    """Partitions by the parts of a date: ``year``, ``month``, … down to the resolution.

    In a table, the parts become integer columns, derived from a column of dates or timestamps on
    every write. In a collection they are worked out from a variable of times. Conditions on that
    column itself leave out partitions as well. Timestamps with a time zone count in UTC.

    Examples
    --------
    >>> import datetime as dt
    >>> import partita as pt
    >>> table = pt.create_table(
    ...     "memory://create/dated",
    ...     {"at": [dt.datetime(2025, 12, 31, 23), dt.datetime(2026, 1, 1)], "v": [1, 2]},
    ...     partition_by=pt.Date("at", "month"),
    ... )
    >>> [partition.path for partition in table.partitions]
    ['year=2025/month=12', 'year=2026/month=1']
    >>> table.scan(where="at >= '2026-01-01'").explain().details["files_read"]
    1
    """

    column: str
    resolution: Resolution
    """``year``, ``month``, ``day``, ``hour``, ``minute`` or ``second``."""

    @property
    def fields(self) -> list[str]:
        """The names of the parts, outermost first."""
        return date_parts(self.resolution)

    @property
    def code(self) -> str:
        """The resolution as numpy has it: ``Y``, ``M``, ``D``, ``h``, ``m`` or ``s``."""
        return "YMDhms"[len(self.fields) - 1]


@dataclass(frozen=True)
class Bucket:
    """Partitions a table by the hash of a column, into a fixed number of buckets.

    The bucket becomes an integer column, named ``<column>_bucket`` and derived from the column on
    every write. Conditions with ``==`` and ``in`` on the column itself leave out the other buckets.
    The column holds integers, text, bytes, dates or timestamps; null is in bucket 0. The hash is
    that of Apache Iceberg's bucket transform.

    Examples
    --------
    >>> import partita as pt
    >>> table = pt.create_table(
    ...     "memory://create/bucketed",
    ...     {"rider": list(range(100)), "fare": [1.5] * 100},
    ...     partition_by=pt.Bucket("rider", 4),
    ... )
    >>> [partition.path for partition in table.partitions]
    ['rider_bucket=0', 'rider_bucket=1', 'rider_bucket=2', 'rider_bucket=3']
    >>> table.scan(where="rider == 7").explain().details["files_read"]
    1
    """

    column: str
    buckets: int

    @property
    def field(self) -> str:
        """The name of the partition column."""
        return f"{self.column}_bucket"


@dataclass(frozen=True)
class Sequence:
    """Partitions a collection by the values of integer variables: ``cycle=7/pass=1``.

    Examples
    --------
    >>> import partita as pt
    >>> pt.Sequence(["cycle", "pass"])
    Sequence(variables=['cycle', 'pass'])
    """

    variables: Names[str]


@dataclass(frozen=True)
class GroupedSequence:
    """Partitions a collection by groups of values of integer variables.

    Of the last variable, `size` successive values share a partition, which is named by the first of
    them: with a size of 10 and a start of 1, the values 1 to 10 are in ``cycle=1``. Such
    collections need ``zarr_format=3``.

    Examples
    --------
    >>> import partita as pt
    >>> c = pt.create_collection(
    ...     "memory://examples/grouped",
    ...     {"cycle": ("row", [1, 10, 11])},
    ...     axis="cycle",
    ...     partition_by=pt.GroupedSequence(["cycle"], size=10, start=1),
    ...     zarr_format=3,
    ... )
    >>> [partition.path for partition in c.partitions]
    ['cycle=1', 'cycle=11']
    """

    variables: Names[str]
    size: int
    start: int = 0


Partitioning = Date | Sequence | GroupedSequence


def partitioning_arguments(partition_by: Any) -> dict[str, Any]:
    """The engine's form of how a collection is partitioned."""
    arguments: dict[str, Any] = dict.fromkeys(("resolution", "size", "start"))
    if isinstance(partition_by, Date):
        resolution = partition_by.fields[-1]
        return arguments | {
            "kind": "date",
            "variables": [partition_by.column],
            "resolution": resolution,
        }
    if isinstance(partition_by, GroupedSequence):
        return arguments | {
            "kind": "grouped",
            "variables": _names(partition_by.variables),
            "size": partition_by.size,
            "start": partition_by.start,
        }
    if isinstance(partition_by, Sequence):
        return arguments | {"kind": "sequence", "variables": _names(partition_by.variables)}
    if isinstance(partition_by, str) or (
        isinstance(partition_by, (list, tuple)) and all(isinstance(n, str) for n in partition_by)
    ):
        return arguments | {"kind": "sequence", "variables": _names(partition_by)}
    raise InvalidArgument(
        "a collection is partitioned by pt.Date('time', 'month'), by pt.Sequence(['cycle']) or by "
        f"pt.GroupedSequence, not by {partition_by!r}"
    )


def partitioning_of(config: dict[str, Any]) -> Partitioning:
    """The partitioning that the engine describes."""
    if config["kind"] == "date":
        return Date(config["variables"][0], cast(Resolution, config["resolution"]))
    if config["kind"] == "grouped":
        return GroupedSequence(list(config["variables"]), config["size"], config["start"])
    return Sequence(list(config["variables"]))


def _names(variables: Names[str]) -> list[str]:
    return [variables] if isinstance(variables, str) else list(variables)
