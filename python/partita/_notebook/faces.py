"""The HTML page of each kind of object."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from partita._display import (
    ShownVariable,
    collection_facts,
    collection_kind,
    collection_variables,
    known_partitions,
    table_columns,
    table_facts,
)
from partita._native import masked
from partita._notebook.chunks import chunk_picture, chunk_text, cuts_of
from partita._notebook.page import code, facts, grid, muted, page, section
from partita._notebook.pictures import bar, coverage
from partita._type_names import array_type_name, column_type_name
from partita.errors import PartitaError
from partita.records import CollectionCommit, Snapshot, human_bytes, human_count

if TYPE_CHECKING:
    from partita.collection import Collection
    from partita.expression import Expr
    from partita.index import Index
    from partita.records import Explain, Garbage, Partition
    from partita.scan import Scan
    from partita.table import Table

__all__ = [
    "collection_html",
    "explain_html",
    "expression_html",
    "garbage_html",
    "history_html",
    "index_html",
    "record_html",
    "scan_html",
    "table_html",
]

_MOST_PARTITIONS = 12
_MOST_KEYS = 50


def table_html(table: Table) -> str:
    """A table: facts, columns, and its partitions with their sizes."""
    partitions = known_partitions(table)
    columns, more = table_columns(table)
    roles = {name: "partition" for name in table.partition_by}
    for name in table.index:
        roles[name] = f"{roles[name]}, index" if name in roles else "index"
    rows = [(escape(name), code(kind), escape(roles.get(name, ""))) for name, kind in columns]
    listed = grid(["column", "type", "role"], rows) + _rest(more)
    parts = [facts([("url", masked(table.url)), *table_facts(table)]), section("columns", listed)]
    if table.partition_by and partitions is not None:
        parts.append(section(f"partitions ({len(partitions):,})", _sizes(partitions)))
        drawn = coverage(partition.key for partition in partitions)
        if drawn is not None:
            parts.append(section("coverage", drawn))
    if table.metadata:
        pairs = [(str(name), str(value)) for name, value in table.metadata.items()]
        parts.append(section("metadata", facts(pairs), is_open=False))
    return page("Table", table.name, *parts)


def _sizes(partitions: Sequence[Partition]) -> str:
    """The largest partitions, with a bar each."""
    largest = sorted(partitions, key=lambda partition: partition.bytes or 0, reverse=True)
    most = (largest[0].bytes or 0) if largest else 0
    rows = [
        (
            escape(partition.path),
            human_count(partition.rows),
            human_count(partition.files),
            human_bytes(partition.bytes),
            bar(partition.bytes or 0, most, human_bytes(partition.bytes)),
        )
        for partition in largest[:_MOST_PARTITIONS]
    ]
    listed = grid(["partition", "rows", "files", "size", ""], rows, numbers=(1, 2, 3))
    smaller = len(largest) - len(rows)
    return listed + (muted(f"… and {smaller:,} smaller ones") if smaller else "")


def collection_html(collection: Collection) -> str:
    """A collection or a view: facts, variables with their chunks, and the periods that it has."""
    variables, more = collection_variables(collection)
    rows = [_variable(variable) for variable in variables]
    listed = grid(["variable", "type", "dimensions", "chunk", ""], rows) + _rest(more)
    parts = [facts(collection_facts(collection)), section("variables", listed)]
    try:
        partitions = collection.partitions
    except PartitaError as error:
        parts.append(section("partitions", muted(f"they could not be listed: {error}")))
    else:
        parts.append(section(f"partitions ({len(partitions):,})", _keys(partitions)))
    attributes = [(str(name), str(value)) for name, value in collection.attributes.items()]
    if attributes:
        parts.append(section("attributes", facts(attributes), is_open=False))
    return page(collection_kind(collection), collection.name, *parts)


def _variable(variable: ShownVariable) -> tuple[str, ...]:
    cuts = cuts_of(variable.dimensions, variable.described)
    return (
        escape(variable.path),
        code(array_type_name(variable.dtype)),
        escape(f"({', '.join(variable.dimensions)})"),
        escape(chunk_text(cuts, variable.dtype)),
        chunk_picture(cuts, variable.path),
    )


def _keys(partitions: Sequence[Any]) -> str:
    drawn = coverage(partition.key for partition in partitions)
    if drawn is not None:
        return drawn
    if not partitions:
        return muted("there are none yet")
    if len(partitions) == 1:
        return facts([("only", partitions[0].path)])
    return facts([("first", partitions[0].path), ("last", partitions[-1].path)])


def _rest(more: int) -> str:
    return muted(f"… and {more:,} more") if more else ""


def scan_html(described: str, scan: Scan) -> str:
    """A read that has not been run: of what, which columns, which rows."""
    rows = [(escape(field.name), code(column_type_name(field.type))) for field in scan.schema]
    how = muted("nothing is read yet: to_pandas, to_arrow, to_polars, to_batches, count, explain")
    columns = section("columns", grid(["column", "type"], rows))
    return page("Scan", "", facts([("of", described)]), columns, how)


def explain_html(explain: Explain) -> str:
    """What a read leaves out, step by step, and what it costs."""
    details = explain.details
    parts = []
    if details.get("where") is not None:
        parts.append(facts([("where", str(details["where"]))]))
    steps = steps_of(details)
    if steps:
        most = steps[0][1]
        rows = [
            (escape(step), human_count(left), bar(left, most, f"{left} of {most}"))
            for step, left in steps
        ]
        parts.append(grid(["files", "left", ""], rows, numbers=(1,)))
    parts.append(section("in full", f"<pre>{escape(explain.text)}</pre>", is_open=not steps))
    return page("Explain", "", *parts)


def steps_of(details: Mapping[str, Any]) -> list[tuple[str, int]]:
    """The steps of the pruning, with the number of files left after each."""
    left = details.get("files")
    if not isinstance(left, int):
        return []
    steps = [("of the table", left)]
    for name in ("partition", "index", "statistics"):
        pruned = details.get(f"pruned_by_{name}")
        if isinstance(pruned, int):
            left -= pruned
            steps.append((f"after {name}", left))
    return steps


def history_html(history: Sequence[Snapshot] | Sequence[CollectionCommit]) -> str:
    """The versions of a dataset in the order in which they come, each with a bar of its size."""
    snapshots = [entry for entry in history if isinstance(entry, Snapshot)]
    if len(snapshots) < len(history):
        commits = [entry for entry in history if isinstance(entry, CollectionCommit)]
        return page("History", "", _commits(commits))
    most = max((snapshot.bytes for snapshot in snapshots), default=0)
    rows = [
        (
            str(snapshot.version),
            _time(snapshot.time),
            escape(snapshot.operation),
            f"+{human_count(snapshot.rows_added)}",
            f"−{human_count(snapshot.rows_removed)}",
            human_count(snapshot.rows),
            human_bytes(snapshot.bytes),
            bar(snapshot.bytes, most, human_bytes(snapshot.bytes)),
        )
        for snapshot in snapshots
    ]
    headings = ["version", "time", "operation", "added", "removed", "rows", "size", ""]
    return page("History", "", grid(headings, rows, numbers=(0, 3, 4, 5, 6)))


def _commits(commits: Sequence[CollectionCommit]) -> str:
    most = max((commit.bytes for commit in commits), default=0)
    rows = [
        (
            str(commit.number),
            _time(commit.time),
            escape(commit.operation),
            human_count(len(commit.partitions)),
            human_bytes(commit.bytes),
            bar(commit.bytes, most, human_bytes(commit.bytes)),
        )
        for commit in commits
    ]
    headings = ["commit", "time", "operation", "partitions", "written", ""]
    return grid(headings, rows, numbers=(0, 3, 4))


def _time(time: dt.datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M:%S}Z"


def record_html(kind: str, pairs: Sequence[tuple[str, str]]) -> str:
    """A small answer of an operation: a commit, what it staged, what it would commit."""
    return page(kind, "", facts(pairs))


def garbage_html(garbage: Garbage) -> str:
    """The number and size of the objects that garbage collection removed, and the first keys."""
    pairs = [("objects", human_count(len(garbage.keys))), ("size", human_bytes(garbage.bytes))]
    if garbage.missing:
        pairs.append(("missing already", human_count(len(garbage.missing))))
    parts = [facts(pairs)]
    if garbage.keys:
        rows = [(code(key),) for key in garbage.keys[:_MOST_KEYS]]
        listed = grid(["key"], rows) + _rest(len(garbage.keys) - len(rows))
        parts.append(section("keys", listed, is_open=False))
    return page("Garbage", "", *parts)


def index_html(index: Index) -> str:
    """An index of a collection: of what, and which commit it reflects."""
    what = "a function" if index.variables is None else ", ".join(index.variables)
    commit = "not known" if index.commit is None else str(index.commit)
    described = [
        ("url", masked(index.url)),
        ("collection", masked(index.collection.url)),
        ("of", what),
        ("reflects commit", commit),
    ]
    return page("Index", "", facts(described))


def expression_html(expression: Expr) -> str:
    """A condition, and the columns that it looks at."""
    pairs = [("columns", ", ".join(expression.columns))]
    return page("Expr", "", f"<div>{code(str(expression))}</div>", facts(pairs))
