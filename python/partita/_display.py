"""How datasets show themselves, as text and in notebooks.

Nothing here makes a request: what is shown is what an open dataset knows.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from partita.collection import Collection
    from partita.table import Table

__all__ = ["collection_html", "collection_text", "table_html", "table_text"]

_MOST_COLUMNS = 20


def _facts(table: Table) -> list[tuple[str, str]]:
    version = "not written by partita" if table.version is None else str(table.version)
    facts = [("version", version), ("files", f"{table._native.num_files:,}")]
    if table.partition_by:
        facts.append(("partitioned by", ", ".join(table.partition_by)))
    if table.index:
        facts.append(("index on", ", ".join(table.index)))
    return facts


def _columns(table: Table) -> tuple[list[tuple[str, Any]], int]:
    schema = table.schema
    shown = [(field.name, field.type) for field in schema][:_MOST_COLUMNS]
    return shown, len(schema) - len(shown)


def _kind(collection: Collection) -> str:
    return "Collection" if collection._native.base is None else "View"


def _collection_facts(collection: Collection) -> list[tuple[str, str]]:
    base = collection._native.base
    facts = [("url", collection.url)]
    if base is not None:
        facts.append(("base", base))
    if collection.branch is not None:
        facts.append(("branch", collection.branch))
    return [
        *facts,
        ("zarr format", str(collection.zarr_format)),
        ("axis", collection.axis),
        ("partitioned by", str(collection.partition_by)),
    ]


def _collection_variables(collection: Collection) -> tuple[list[tuple[str, str, str]], int]:
    found: list[tuple[str, str, str]] = []

    def walk(schema: dict[str, Any], path: str) -> None:
        for variable in schema["variables"]:
            dimensions = ", ".join(variable["dimensions"])
            found.append((path + variable["name"], variable["dtype"], f"({dimensions})"))
        for name, group in schema["groups"].items():
            walk(group, f"{path}{name}/")

    walk(collection._native.schema().to_dict(), "")
    return found[:_MOST_COLUMNS], max(0, len(found) - _MOST_COLUMNS)


def collection_text(collection: Collection) -> str:
    """The ``repr`` of a collection."""
    variables, more = _collection_variables(collection)
    lines = [f"<partita.{_kind(collection)} {collection.name}>"]
    lines += [f"  {name:<15} {value}" for name, value in _collection_facts(collection)]
    lines.append("  variables")
    width = max((len(name) for name, _, _ in variables), default=0)
    lines += [f"    {name:<{width}}  {kind} {dims}" for name, kind, dims in variables]
    if more:
        lines.append(f"    … and {more} more")
    return "\n".join(lines)


def collection_html(collection: Collection) -> str:
    """The notebook form of a collection."""
    variables, more = _collection_variables(collection)
    rows = [(name, f"{kind} {dims}") for name, kind, dims in variables]
    title = f"{_kind(collection)} {collection.name}"
    return _html(title, _collection_facts(collection), "variables", rows, more)


def _html(
    title: str,
    facts: list[tuple[str, str]],
    what: str,
    rows: list[tuple[str, str]],
    more: int,
) -> str:
    shown = "".join(
        f"<tr><th style='text-align:left'>{escape(name)}</th>"
        f"<td style='text-align:left'>{escape(value)}</td></tr>"
        for name, value in facts
    )
    listed = "".join(
        f"<tr><td style='text-align:left'>{escape(name)}</td>"
        f"<td style='text-align:left'><code>{escape(kind)}</code></td></tr>"
        for name, kind in rows
    )
    rest = f"<p>… and {more} more</p>" if more else ""
    return (
        f"<div><b>{escape(title)}</b><table>{shown}</table>"
        f"<details open><summary>{what}</summary><table>{listed}</table>{rest}</details></div>"
    )


def table_text(table: Table) -> str:
    """The ``repr`` of a table."""
    columns, more = _columns(table)
    lines = [f"<partita.Table {table.name}>", f"  {'url':<15} {table.url}"]
    lines += [f"  {name:<15} {value}" for name, value in _facts(table)]
    lines.append("  columns")
    width = max((len(name) for name, _ in columns), default=0)
    lines += [f"    {name:<{width}}  {kind}" for name, kind in columns]
    if more:
        lines.append(f"    … and {more} more")
    return "\n".join(lines)


def table_html(table: Table) -> str:
    """The notebook form of a table."""
    columns, more = _columns(table)
    keys = set(table.partition_by)
    rows = [(f"{name}{' (partition)' * (name in keys)}", str(kind)) for name, kind in columns]
    facts = [("url", table.url), *_facts(table)]
    return _html(f"Table {table.name}", facts, "columns", rows, more)
