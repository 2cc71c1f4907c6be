"""Processes transfer money in stores of every kind: no read sees a sum that is wrong, and each
acknowledged transfer is made once.

`PARTITA_TRANSFERS` sets how many transfers each writer makes, `PARTITA_ROUNDS` how often a test
runs, and `PARTITA_SEED` the seed of the first round.
"""

from __future__ import annotations

import contextlib
import os
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest

from accounts import (
    WRITERS,
    History,
    add_history,
    both,
    check_history,
    check_nothing_else,
    create,
    history_of,
    keep_up,
    read_often,
    state_of,
    values,
    write_transfers,
)
from places import Place, place

TRANSFERS = int(os.environ.get("PARTITA_TRANSFERS", "3"))
ROUNDS = int(os.environ.get("PARTITA_ROUNDS", "1"))
SEED = int(os.environ.get("PARTITA_SEED", "1"))
READERS = 2
# An operation that hangs ends the test.
TIMEOUT = 120 + 2 * TRANSFERS
TRANSFERRING = ({"upsert", "replace", "transaction"}, {"insert", "update"})

STORES = [
    "local files",
    "files without links",
    "shared files",
    "s3 that loses answers",
    "gcs that loses answers",
    "azure",
    "ceph",
]


def told(process: BaseProcess, pipe: Connection) -> Any:
    """The next message of a process."""
    assert pipe.poll(TIMEOUT), f"{process.name} hangs"
    try:
        return pipe.recv()
    except EOFError:
        process.join(10)
        raise AssertionError(f"{process.name} ended with {process.exitcode}") from None


def acknowledged(process: BaseProcess, pipe: Connection) -> list[tuple[int, int, str | None]]:
    """What a writer has told, once it has ended."""
    messages = iter(lambda: told(process, pipe), "done")
    return list(messages)


@pytest.mark.parametrize("seed", range(SEED, SEED + ROUNDS))
@pytest.mark.parametrize("kind", STORES)
def test_transfers(tmp_path: Path, kind: str, seed: int) -> None:
    with place(kind, tmp_path) as at:
        create(at.root, at.options)
        writers = [
            at.start(write_transfers, writer, TRANSFERS, seed + writer) for writer in range(WRITERS)
        ]
        readers = [at.start(read_often, seed + reader) for reader in range(READERS)]
        others = [*readers, at.start(keep_up)]
        for _, pipe in [*writers, *others]:
            pipe.send("go")
        said = [message for one in writers for message in acknowledged(*one)]
        for _, pipe in others:
            with contextlib.suppress(OSError):
                pipe.send("stop")
        reads = [told(*reader) for reader in readers]
        assert all(reads), reads
        seen = told(*others[-1])
        check_all(at, said, seen)


def check_all(at: Place, said: list[tuple[int, int, str | None]], seen: Any) -> None:
    """Checks the history and the state after the transfers, and that nothing else is left."""
    datasets = both(at.root, at.options)
    for kind, dataset in enumerate(datasets):
        made = state_of(values(dataset))
        assert made == dict.fromkeys(range(WRITERS), TRANSFERS)
        assert sum(kind == other for other, *_ in said) == WRITERS * TRANSFERS
        add_history(seen[kind], history_of(dataset))
        check_commits(kind, seen[kind], made, [id for other, _, id in said if other == kind])
    check_nothing_else(datasets, at.keys, at.tick)


def check_commits(
    kind: int, known: History, made: dict[int, int], acknowledged: list[str | None]
) -> None:
    """Checks that the history has each transfer that was made, once, and those acknowledged."""
    operations = check_history(known)
    count = sum(operation in TRANSFERRING[kind] for operation in operations)
    # The collection was created with an insert.
    assert count == sum(made.values()) + kind, sorted(operations)
    ids = {id for id, _ in known.values()}
    assert {id for id in acknowledged if id} <= ids
