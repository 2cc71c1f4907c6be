"""Accounts in a table and in a collection, between which processes transfer money.

Each writer has an account in every branch, and the branches are the partitions, so writers rewrite
the same files without changing each other's rows. A transfer changes two accounts of one writer in
one commit. The state of a writer's accounts is that after some number of its transfers, and nothing
else: a transfer that was lost, made in part, or made again after a later one shows in any read.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import itertools
import random
import signal
import time
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

import partita as pt

__all__ = [
    "COLLECTION",
    "TABLE",
    "WRITERS",
    "History",
    "add_history",
    "both",
    "check_history",
    "check_nothing_else",
    "create",
    "history_of",
    "keep_up",
    "read_often",
    "state_of",
    "transfer",
    "values",
    "write_transfers",
]

WRITERS = 3
BRANCHES = 4
FIRST_BALANCE = 1000
TABLE, COLLECTION = "accounts", "series"
GRACE = dt.timedelta(seconds=60)
KEPT = 40
"""The versions that an expiry keeps; many more than are made between two of them."""
TRIES = 20

Rows = dict[str, np.ndarray]
History = dict[int, tuple[str, str]]
"""The id and the operation of the commit that made each version."""


def accounts(writer: int, transfers: int) -> Rows:
    """The rows of a writer after so many transfers: number `n` moves `n` from a branch to the
    next."""
    balance = np.full(BRANCHES, FIRST_BALANCE)
    number = np.zeros(BRANCHES, "i8")
    for n in range(1, transfers + 1):
        pair = [n % BRANCHES, (n + 1) % BRANCHES]
        balance[pair] += [-n, n]
        number[pair] = n
    branch = np.arange(BRANCHES, dtype="i4")
    return {
        "account": writer * BRANCHES + branch.astype("i8"),
        "branch": branch,
        "balance": balance,
        "number": number,
    }


def changed_by(writer: int, n: int) -> Rows:
    """The rows that transfer `n` changes."""
    pair = [n % BRANCHES, (n + 1) % BRANCHES]
    return {name: values[pair] for name, values in accounts(writer, n).items()}


def state_of(rows: Mapping[str, Any]) -> dict[int, int]:
    """How many transfers each writer has made, after a check of every row."""
    found = {name: np.asarray(rows[name]) for name in accounts(0, 0)}
    assert found["balance"].sum() == WRITERS * BRANCHES * FIRST_BALANCE, f"money is lost: {found}"
    made = {}
    for writer in range(WRITERS):
        own = found["account"] // BRANCHES == writer
        order = np.argsort(found["account"][own], kind="stable")
        made[writer] = int(found["number"][own].max())
        for name, expected in accounts(writer, made[writer]).items():
            assert found[name][own][order].tolist() == expected.tolist(), (writer, name, found)
    assert len(found["account"]) == WRITERS * BRANCHES
    return made


def as_dataset(rows: Rows) -> dict[str, Any]:
    """The rows for a collection, whose axis is the account."""
    axis = {"account": ("n", rows["account"].astype("M8[s]"))}
    return {name: ("n", values) for name, values in rows.items()} | axis


def create(root: str, options: dict[str, str]) -> None:
    """A table and a collection with the accounts of all writers."""
    each = [accounts(writer, 0) for writer in range(WRITERS)]
    rows = {name: np.concatenate([one[name] for one in each]) for name in each[0]}
    pt.create_table(f"{root}/{TABLE}", rows, partition_by="branch", storage_options=options)
    collection = pt.create_collection(
        f"{root}/{COLLECTION}",
        as_dataset(rows),
        axis="account",
        partition_by=pt.Sequence(["branch"]),
        zarr_format=3,
        storage_options=options,
    )
    collection.set_retention(keep_last=100_000, grace=GRACE)


def both(root: str, options: dict[str, str]) -> tuple[pt.Table, pt.Collection]:
    return (
        pt.open_table(f"{root}/{TABLE}", storage_options=options),
        pt.open_collection(f"{root}/{COLLECTION}", storage_options=options),
    )


def values(dataset: pt.Table | pt.Collection) -> dict[str, Any]:
    """The rows of a dataset, by column."""
    found = dataset.read()
    return {name: np.asarray(found[name]).astype("i8") for name in accounts(0, 0)}


def transfer(dataset: pt.Table | pt.Collection, writer: int, n: int) -> str | None:
    """Makes a transfer by one of the operations that can; returns the id of the commit of a
    table."""
    rows, key = changed_by(writer, n), f"{writer}-{n}"
    if isinstance(dataset, pt.Table):
        where = pt.col("account").isin(rows["account"].tolist())
        if n % 3 == 0:
            return dataset.upsert(rows, on="account", key=key).id
        if n % 3 == 1:
            return dataset.replace(rows, where, key=key).id
        with dataset.transaction(key=key) as tx:
            tx.delete(where)
            tx.append(rows)
        return tx.commit.id
    if n % 2 == 0:
        dataset.insert(as_dataset(rows), merge="upsert", key=key)
        return None

    def moved(part: Any) -> dict[str, Any]:
        account = part["account"].values.astype("M8[s]").astype("i8")
        own = {name: part[name].values.copy() for name in ("balance", "number")}
        for name, found in own.items():
            for id, value in zip(rows["account"], rows[name], strict=True):
                found[account == id] = value
        return own

    dataset.update(moved, pt.col("branch").isin(rows["branch"].tolist()), key=key)
    return None


class Interruptible:
    """Ctrl-C interrupts what runs in this context, and nothing else."""

    def __init__(self) -> None:
        self.inside = False
        signal.signal(signal.SIGINT, self)

    def __call__(self, *_: object) -> None:
        if self.inside:
            raise KeyboardInterrupt

    def __enter__(self) -> None:
        self.inside = True

    def __exit__(self, *_: object) -> None:
        self.inside = False


def write_transfers(
    pipe: Connection, root: str, options: dict[str, str], writer: int, until: int, seed: int
) -> None:
    """Continues with the transfers of a writer, up to number `until` or until it is told to stop,
    and tells each that was acknowledged. A call that does not say whether it made its commit, or
    waited too long for another process, is repeated with its key."""
    interruptible, pause = Interruptible(), random.Random(seed)
    datasets = both(root, options)
    made = [state_of(values(dataset))[writer] for dataset in datasets]
    pipe.send("ready")
    pipe.recv()
    for n in range(min(made) + 1, until + 1):
        if pipe.poll():
            break
        for kind, dataset in enumerate(datasets):
            if n <= made[kind]:
                continue
            for attempt in range(TRIES):
                try:
                    with interruptible:
                        commit = transfer(dataset, writer, n)
                    break
                except (KeyboardInterrupt, pt.CommitUnknown, pt.StoreError):
                    if attempt + 1 == TRIES:
                        raise
            pipe.send((kind, n, commit))
        time.sleep(pause.uniform(0, 0.02))
    pipe.send("done")


def history_of(dataset: pt.Table | pt.Collection) -> History:
    """The versions that a dataset still has."""
    if isinstance(dataset, pt.Table):
        return {one.version: (one.commit, one.operation) for one in dataset.refresh().history()}
    return {one.number: (one.id, one.operation) for one in dataset.refresh().history()}


def keep_up(pipe: Connection, root: str, options: dict[str, str]) -> None:
    """Compacts, indexes, expires and collects garbage until it is told to stop. Tells the versions
    that there were before each expiry."""
    table, collection = both(root, options)
    seen: tuple[History, History] = ({}, {})
    pipe.send("ready")
    pipe.recv()
    steps: list[Callable[[], object]] = [
        lambda: table.build_index("account"),
        lambda: collection.set_statistics(["balance"]),
        table.optimize,
        lambda: table.drop_index("account"),
        lambda: collection.set_statistics([]),
        lambda: add_history(seen[0], history_of(table)),
        lambda: table.expire(keep_last=KEPT),
        lambda: table.collect_garbage(grace=GRACE),
        lambda: add_history(seen[1], history_of(collection)),
        lambda: collection.expire(keep_last=KEPT),
        lambda: collection.collect_garbage(grace=GRACE),
    ]
    for step in itertools.cycle(steps):
        if pipe.poll():
            break
        # Whether a commit of upkeep was made matters to nobody.
        with contextlib.suppress(pt.CommitUnknown):
            step()
    pipe.send(seen)


def add_history(known: History, found: History) -> None:
    """Adds versions to those that were seen before, which must not have become others."""
    for version, commit in found.items():
        assert known.setdefault(version, commit) == commit, f"version {version} has changed"


def check_history(known: History) -> list[str]:
    """Checks that no version is missing and no commit is there twice; returns the operations."""
    assert sorted(known) == list(range(min(known), max(known) + 1)), "the history has a gap"
    ids = [id for id, _ in known.values()]
    assert len(set(ids)) == len(ids), "a commit is in the history twice"
    return [operation for _, operation in known.values()]


def read_often(pipe: Connection, root: str, options: dict[str, str], seed: int) -> None:
    """Reads newest and older states until it is told to stop, and checks each."""
    datasets, choice = both(root, options), random.Random(seed)
    seen, reads = [dict.fromkeys(range(WRITERS), 0) for _ in datasets], 0
    states: list[dict[int, dict[int, int]]] = [{} for _ in datasets]
    pipe.send("ready")
    pipe.recv()
    while not pipe.poll():
        for kind, dataset in enumerate(datasets):
            made = state_of(values(dataset.refresh()))
            assert all(made[writer] >= seen[kind][writer] for writer in made), (seen, made)
            seen[kind] = made
            reads += 1
            if choice.random() < 0.8:
                continue
            version = choice.choice(sorted(history_of(dataset)))
            # It may have expired since.
            with contextlib.suppress(pt.NotFound):
                older = state_of(values(dataset.at(version)))
                assert older == states[kind].setdefault(version, older), "a version has changed"
    pipe.send(reads)


def check_nothing_else(
    datasets: tuple[pt.Table, pt.Collection], keys: Callable[[], list[str]] | None, tick: float
) -> None:
    """Ends the history, collects garbage, and checks that the state is left and nothing else.

    `keys` lists all objects of the store, where that is possible without the engine, and its clock
    counts in steps of `tick` seconds.
    """
    before = [state_of(values(dataset)) for dataset in datasets]
    for dataset in datasets:
        dataset.expire(keep_last=1)
    # What was dropped within the step that has not ended is not old yet.
    time.sleep(tick)
    for dataset in datasets:
        dataset.collect_garbage(grace=dt.timedelta(0))
        assert dataset.collect_garbage(grace=dt.timedelta(0)).keys == []
        assert dataset.verify(data=True) == []
    assert [state_of(values(dataset.refresh())) for dataset in datasets] == before
    if keys is not None:
        table, found = datasets[0], keys()
        files = [key for key in found if f"{TABLE}/table/" in key and key.endswith(".parquet")]
        assert len(files) == table.num_files, files
        indices = [key for key in found if f"{TABLE}/indices/" in key]
        assert len(indices) == len(table.index), indices
        assert not [key for key in found if f"{COLLECTION}/.partita/scratch/" in key]
