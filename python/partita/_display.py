"""How tables show themselves, as text and in notebooks.

Neither makes a request: what is shown is what an open table knows.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from partita.table import Table

__all__ = ["table_html", "table_text"]

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
    facts = "".join(
        f"<tr><th style='text-align:left'>{escape(name)}</th>"
        f"<td style='text-align:left'>{escape(value)}</td></tr>"
        for name, value in [("url", table.url), *_facts(table)]
    )
    keys = set(table.partition_by)
    rows = "".join(
        f"<tr><td style='text-align:left'>{escape(name)}{' (partition)' * (name in keys)}</td>"
        f"<td style='text-align:left'><code>{escape(str(kind))}</code></td></tr>"
        for name, kind in columns
    )
    rest = f"<p>… and {more} more</p>" if more else ""
    return (
        f"<div><b>Table {escape(table.name)}</b><table>{facts}</table>"
        f"<details open><summary>columns</summary><table>{rows}</table>{rest}</details></div>"
    )
