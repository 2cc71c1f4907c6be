"""How datasets show themselves as text, and the facts that notebooks show of them too.

Nothing here makes a request: what is shown is what an open dataset knows.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from partita import _native
from partita.errors import PartitaError
from partita.records import Partition, human_bytes, human_count

if TYPE_CHECKING:
    from partita.collection import Collection
    from partita.table import Table

__all__ = [
    "collection_facts",
    "collection_kind",
    "collection_text",
    "collection_variables",
    "known_partitions",
    "table_columns",
    "table_facts",
    "table_text",
    "type_name",
]

_MOST_COLUMNS = 20
_NAMES = {
    "b": "bool",
    "i": "int",
    "u": "uint",
    "f": "float",
    "c": "complex",
    "m": "timedelta",
    "M": "datetime",
}


def known_partitions(table: Table) -> list[Partition] | None:
    """The partitions of a table; None where they cannot be read, since showing must not fail."""
    try:
        return table.partitions
    except PartitaError:
        return None


def table_facts(table: Table) -> list[tuple[str, str]]:
    """What a table is, in the order in which one asks."""
    partitions = known_partitions(table)
    rows = size = None
    if partitions is not None:
        rows = _sum(partition.rows for partition in partitions)
        size = _sum(partition.bytes for partition in partitions)
    version = "not written by partita" if table.version is None else str(table.version)
    facts = [
        ("rows", human_count(rows)),
        ("size", f"{human_bytes(size)} in {human_count(table.num_files)} files"),
        ("version", version),
    ]
    if table.partition_by:
        keys = ", ".join(table.partition_by)
        number = "?" if partitions is None else human_count(len(partitions))
        facts.append(("partitioned by", f"{keys} ({number} partitions)"))
    if table.index:
        facts.append(("index on", ", ".join(table.index)))
    return facts


def _sum(numbers: Iterable[int | None]) -> int | None:
    total = 0
    for number in numbers:
        if number is None:
            return None
        total += number
    return total


def table_columns(table: Table) -> tuple[list[tuple[str, Any]], int]:
    """The first columns with their types, and how many there are besides."""
    schema = table.schema
    shown = [(field.name, field.type) for field in schema][:_MOST_COLUMNS]
    return shown, len(schema) - len(shown)


def table_text(table: Table) -> str:
    """The ``repr`` of a table."""
    columns, more = table_columns(table)
    lines = [f"<partita.Table {table.name}>", f"  {'url':<15} {_native.masked(table.url)}"]
    lines += [f"  {name:<15} {value}" for name, value in table_facts(table)]
    lines.append("  columns")
    width = max((len(name) for name, _ in columns), default=0)
    lines += [f"    {name:<{width}}  {kind}" for name, kind in columns]
    if more:
        lines.append(f"    … and {more} more")
    return "\n".join(lines)


def collection_kind(collection: Collection) -> str:
    return "Collection" if collection._native.base is None else "View"


def collection_facts(collection: Collection) -> list[tuple[str, str]]:
    """What a collection or a view is."""
    base = collection._native.base
    facts = [("url", _native.masked(collection.url))]
    if base is not None:
        facts.append(("base", _native.masked(base)))
    if collection.branch is not None:
        facts.append(("branch", collection.branch))
    return [
        *facts,
        ("zarr format", str(collection.zarr_format)),
        ("axis", collection.axis),
        ("partitioned by", str(collection.partition_by)),
    ]


def collection_variables(collection: Collection) -> tuple[list[tuple[str, str, str]], int]:
    """The first variables with types and dimensions, and how many there are besides."""
    found: list[tuple[str, str, str]] = []

    def walk(schema: dict[str, Any], path: str) -> None:
        for variable in schema["variables"]:
            dimensions = ", ".join(variable["dimensions"])
            kind = type_name(variable["dtype"])
            found.append((path + variable["name"], kind, f"({dimensions})"))
        for name, group in schema["groups"].items():
            walk(group, f"{path}{name}/")

    walk(collection._native.schema().to_dict(), "")
    return found[:_MOST_COLUMNS], max(0, len(found) - _MOST_COLUMNS)


def type_name(dtype: str) -> str:
    """The name of a numpy type, given its array-protocol code: ``float64`` for ``<f8``.

    Examples
    --------
    >>> type_name("<f8"), type_name("<M8[us]"), type_name("<U5"), type_name(">i2")
    ('float64', 'datetime64[us]', '<U5', 'int16, big-endian')
    """
    parts = re.fullmatch(r"[<>|=]?([biufcmM])(\d+)(\[.*\])?", dtype)
    if parts is None:
        return dtype
    kind, size, unit = parts[1], int(parts[2]), parts[3] or ""
    swapped = ", big-endian" if dtype.startswith(">") else ""
    return f"{_NAMES[kind]}{'' if kind == 'b' else 8 * size}{unit}{swapped}"


def collection_text(collection: Collection) -> str:
    """The ``repr`` of a collection."""
    variables, more = collection_variables(collection)
    lines = [f"<partita.{collection_kind(collection)} {collection.name}>"]
    lines += [f"  {name:<15} {value}" for name, value in collection_facts(collection)]
    lines.append("  variables")
    width = max((len(name) for name, _, _ in variables), default=0)
    lines += [f"    {name:<{width}}  {kind} {dims}" for name, kind, dims in variables]
    if more:
        lines.append(f"    … and {more} more")
    return "\n".join(lines)
