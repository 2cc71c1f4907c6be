"""Receipts of staged files, put together on their way to the commit.

A receipt says which task staged what. Put together, receipts take as much room as the statistics of
their files, in columns, and no more: what each of them repeats is kept once. A task that ran twice
has two receipts; the first counts, and the files of the other are garbage.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import Any

from partita._arrow import pyarrow
from partita.staging import Staged

__all__ = ["Receipts", "merge_receipts"]

_AT_A_TIME = 256


class Receipts:
    """What one task or many have staged; small, and made to be pickled.

    Parameters
    ----------
    tasks : pyarrow.RecordBatch
        For each task its name, a digest of what it staged, its files, rows and bytes.
    staged : list of Staged
        The files of all tasks.
    """

    def __init__(self, tasks: Any, staged: list[Staged]) -> None:
        self.tasks = tasks
        self.staged = staged

    @classmethod
    def of(cls, task: str, staged: Iterable[Staged]) -> Receipts:
        """The receipt of one task.

        Examples
        --------
        >>> import partita as pt
        >>> table = pt.create_table("memory://receipts/t", {"a": [1]})
        >>> once = Receipts.of("task 1", [table.stage({"a": [2]})])
        >>> twice = Receipts.of("task 1", [table.stage({"a": [2]})])
        >>> merge_receipts([once, twice]).rows
        1
        """
        pa = pyarrow("keeping receipts")
        merged = Staged.merge(list(staged))
        keys = [key for one in merged for key in one.keys]
        row = {
            "task": [task],
            "content": [hashlib.blake2b("\n".join(sorted(keys)).encode()).hexdigest()[:32]],
            "files": [keys],
            "rows": [sum(one.rows for one in merged)],
            "bytes": [sum(one.bytes for one in merged)],
        }
        return cls(pa.RecordBatch.from_pydict(row, schema=_schema()), merged)

    @property
    def rows(self) -> int:
        """The number of rows staged."""
        return sum(one.rows for one in self.staged)

    @property
    def bytes(self) -> int:
        """The size of the files staged."""
        return sum(one.bytes for one in self.staged)

    @property
    def keys(self) -> list[str]:
        """The keys of the files."""
        return [key for one in self.staged for key in one.keys]

    def __len__(self) -> int:
        return int(self.tasks.num_rows)

    def __repr__(self) -> str:
        return f"Receipts({len(self)} tasks, {self.rows} rows)"

    def __dask_tokenize__(self) -> Any:
        return tuple(self.tasks.column("content").to_pylist())


def merge_receipts(receipts: Iterable[Receipts]) -> Receipts:
    """Put receipts together; of each task one counts.

    The receipts are taken from the iterable one by one, and put together a few hundred at a time.
    """
    levels: list[list[Receipts]] = [[]]
    for one in receipts:
        levels[0].append(one)
        for level in _full(levels):
            merged = _merged(levels[level])
            levels[level] = []
            if level + 1 == len(levels):
                levels.append([])
            levels[level + 1].append(merged)
    # Receipts that were merged earliest come first.
    return _merged([one for level in reversed(levels) for one in level])


def _full(levels: list[list[Receipts]]) -> Iterator[int]:
    level = 0
    while level < len(levels) and len(levels[level]) >= _AT_A_TIME:
        yield level
        level += 1


def _merged(receipts: list[Receipts]) -> Receipts:
    pa = pyarrow("keeping receipts")
    if len(receipts) == 1:
        return receipts[0]
    seen: set[str] = set()
    tasks, staged = [], []
    for one in receipts:
        first = []
        for task in one.tasks.column("task").to_pylist():
            first.append(task not in seen)
            seen.add(task)
        kept = one.tasks.filter(pa.array(first, pa.bool_()))
        tasks.append(kept)
        if kept.num_rows == one.tasks.num_rows:
            staged += one.staged
        elif kept.num_rows > 0:
            staged += _without(one, {key for keys in kept["files"].to_pylist() for key in keys})
    together = pa.Table.from_batches(tasks, schema=_schema()).combine_chunks().to_batches()
    batch = together[0] if together else pa.RecordBatch.from_pylist([], schema=_schema())
    return Receipts(batch, Staged.merge(staged))


def _without(receipts: Receipts, kept: set[str]) -> list[Staged]:
    """The staged files of a receipt that are those of the tasks kept."""
    pruned = []
    for one in receipts.staged:
        gone = [key for key in one.keys if key not in kept]
        pruned.append(one.without(gone) if gone else one)
    return [one for one in pruned if one.keys]


def _schema() -> Any:
    pa = pyarrow("keeping receipts")
    return pa.schema(
        [
            pa.field("task", pa.string(), False),
            pa.field("content", pa.string(), False),
            pa.field("files", pa.large_list(pa.large_string()), False),
            pa.field("rows", pa.int64(), False),
            pa.field("bytes", pa.int64(), False),
        ]
    )
