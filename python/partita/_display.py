"""How datasets show themselves as text, and the facts that notebooks show of them too.

Nothing here makes a request: what is shown is what an open dataset knows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from partita import _native
from partita._type_names import array_type_name, column_type_name
from partita.errors import PartitaError
from partita.records import Partition, counted, human_bytes, human_count

if TYPE_CHECKING:
    from partita.collection import Collection
    from partita.table import Table

__all__ = [
    "ShownVariable",
    "collection_facts",
    "collection_kind",
    "collection_text",
    "collection_variables",
    "known_partitions",
    "table_columns",
    "table_facts",
    "table_text",
]

_MOST_COLUMNS = 20


def known_partitions(table: Table) -> list[Partition] | None:
    """The partitions of a table; None where they cannot be read, since showing must not fail."""
    try:
        return table.partitions
    except PartitaError:
        return None


def table_facts(table: Table) -> list[tuple[str, str]]:
    """The facts about a table, the most important first."""
    partitions = known_partitions(table)
    rows = size = None
    if partitions is not None:
        rows = _sum(partition.rows for partition in partitions)
        size = _sum(partition.bytes for partition in partitions)
    version = "not written by partita" if table.version is None else str(table.version)
    facts = [
        ("rows", human_count(rows)),
        ("size", f"{human_bytes(size)} in {counted(table.num_files, 'file')}"),
        ("version", version),
    ]
    if table.partition_by:
        keys = ", ".join(table.partition_by)
        number = None if partitions is None else len(partitions)
        facts.append(("partitioned by", f"{keys} ({counted(number, 'partition')})"))
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


def table_columns(table: Table) -> tuple[list[tuple[str, str]], int]:
    """The first columns with the names of their types, and how many there are besides."""
    schema = table.schema
    shown = [(field.name, column_type_name(field.type)) for field in schema][:_MOST_COLUMNS]
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
    """The facts about a collection or a view, the most important first."""
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


@dataclass(frozen=True)
class ShownVariable:
    """A variable of a collection, as it is shown."""

    path: str
    dtype: str
    """The type, as the engine writes it: ``<f8``."""
    dimensions: Sequence[str]
    described: Sequence[Mapping[str, Any]]
    """The dimensions of its group, with their sizes and chunks."""


def collection_variables(collection: Collection) -> tuple[list[ShownVariable], int]:
    """The first variables, and how many there are besides."""
    found: list[ShownVariable] = []

    def walk(schema: dict[str, Any], path: str, outer: Sequence[Mapping[str, Any]]) -> None:
        described = [*outer, *schema["dimensions"]]
        for variable in schema["variables"]:
            name, dimensions = path + variable["name"], variable["dimensions"]
            found.append(ShownVariable(name, variable["dtype"], dimensions, described))
        for name, group in schema["groups"].items():
            walk(group, f"{path}{name}/", described)

    walk(collection._native.schema().to_dict(), "", ())
    return found[:_MOST_COLUMNS], max(0, len(found) - _MOST_COLUMNS)


def collection_text(collection: Collection) -> str:
    """The ``repr`` of a collection."""
    variables, more = collection_variables(collection)
    lines = [f"<partita.{collection_kind(collection)} {collection.name}>"]
    lines += [f"  {name:<15} {value}" for name, value in collection_facts(collection)]
    lines.append("  variables")
    width = max((len(variable.path) for variable in variables), default=0)
    lines += [
        f"    {variable.path:<{width}}  {array_type_name(variable.dtype)} "
        f"({', '.join(variable.dimensions)})"
        for variable in variables
    ]
    if more:
        lines.append(f"    … and {more} more")
    return "\n".join(lines)
