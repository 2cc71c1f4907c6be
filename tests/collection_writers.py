"""Jobs of processes that write to a collection, for the tests of crashes and of concurrency.

Partitions have rows that every insert replaces, and one row more for each insert.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterable
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

import numpy as np

import partita as pt

__all__ = [
    "SERVER",
    "create",
    "insert_many",
    "insert_once",
    "insert_own",
    "insert_rows",
    "insert_wide",
    "state",
    "start",
]

PARTITIONS = 20
REPLACED = 5
FIRST = 1000
WIDE = 4096

# Processes start with all imports done, as forks of a process without threads.
SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["accounts", "collection_writers", "xarray"])


def rows_of(number: int, partitions: int = PARTITIONS) -> dict[str, Any]:
    """The rows of insert `number` for each partition."""
    moments = np.tile(np.append(np.arange(REPLACED), FIRST + number), partitions)
    keys = np.repeat(np.arange(partitions), REPLACED + 1)
    numbers = np.full(len(keys), number)
    return {
        "t": ("t", moments.astype("M8[s]")),
        "p": ("t", keys.astype("i4")),
        "number": ("t", numbers.astype("i4")),
        "lut": ("x", np.arange(3, dtype="i2")),
    }


def create(
    url: str, zarr_format: int, number: int = 0, options: dict[str, str] | None = None
) -> pt.Collection:
    """A collection with the rows of one insert."""
    return pt.create_collection(
        url,
        rows_of(number),
        axis="t",
        partition_by=pt.Sequence(["p"]),
        zarr_format=zarr_format,
        chunks={"t": 64},
        catalog=zarr_format == 3,
        storage_options=options,
    )


def insert_rows(collection: pt.Collection, number: int) -> None:
    """Runs insert `number`."""
    collection.insert(rows_of(number), merge="upsert")


def state(
    keys: Iterable[int],
    moments: Iterable[int],
    numbers: Iterable[int],
    at_once: frozenset[int] = frozenset(),
) -> set[int]:
    """The numbers of the inserts that the rows come from, after checks that each was complete, and
    that the replaced rows come from the highest number, or from any of `at_once`."""
    partitions: dict[int, dict[int, int]] = {}
    count = 0
    for key, moment, number in zip(keys, moments, numbers, strict=True):
        partitions.setdefault(key, {})[moment] = number
        count += 1
    assert count == sum(map(len, partitions.values())), "a row is there twice"
    assert sorted(partitions) == list(range(PARTITIONS))
    first = partitions[0]
    assert all(rows == first for rows in partitions.values()), "partitions differ"
    done = {number for moment, number in first.items() if moment >= FIRST}
    last = {number for moment, number in first.items() if moment < FIRST}
    assert len(last) == 1
    assert last <= (at_once or {max(done)})
    assert set(first) == {*range(REPLACED), *(FIRST + number for number in done)}
    return done


def insert_once(pipe: Connection, url: str, number: int) -> None:
    """Signals readiness, runs one insert, and signals completion."""
    collection = pt.open_collection(url)
    pipe.send("ready")
    insert_rows(collection, number)
    pipe.send("done")


def insert_wide(pipe: Connection, url: str, number: int) -> None:
    """Signals readiness, and replaces each partition by chunks that are too large to be stored in
    anything but files of their own."""
    collection = pt.open_collection(url)
    noise = np.random.default_rng(number)
    rows = WIDE * PARTITIONS
    pipe.send("ready")
    collection.insert(
        {
            "t": ("t", np.tile(np.arange(WIDE), PARTITIONS).astype("M8[s]")),
            "p": ("t", np.repeat(np.arange(PARTITIONS), WIDE).astype("i4")),
            "number": ("t", noise.integers(0, 2**31, rows, "i4")),
        },
        merge="replace",
    )


def insert_many(
    pipe: Connection, url: str, writer: int, count: int, options: dict[str, str] | None = None
) -> None:
    """Waits for a message, then adds a row to each partition, a number of times."""
    collection = pt.open_collection(url, storage_options=options)
    pipe.send("ready")
    pipe.recv()
    for number in range(count):
        rows = rows_of(writer * 1000 + number)
        new = rows["t"][1].astype("i8") >= FIRST
        rows = {
            name: (dimensions, data[new] if "t" in dimensions else data)
            for name, (dimensions, data) in rows.items()
        }
        collection.insert(rows, merge="upsert" if number % 2 else "time_series")
    pipe.send("done")


def insert_own(
    pipe: Connection, url: str, writer: int, count: int, options: dict[str, str] | None = None
) -> None:
    """Waits for a message, then creates partitions of its own, one by one."""
    collection = pt.open_collection(url, storage_options=options)
    pipe.send("ready")
    pipe.recv()
    for number in range(count):
        key = np.full(4, writer * 1000 + number, "i4")
        moments = np.arange(4).astype("M8[s]")
        collection.insert({"t": ("t", moments), "p": ("t", key), "number": ("t", key)})
    pipe.send("done")


def start(job: Any, *arguments: Any) -> tuple[BaseProcess, Connection]:
    """A process that runs a job and is ready, and the pipe to it."""
    ours, its = SERVER.Pipe()
    process = SERVER.Process(target=job, args=(its, *arguments), daemon=True)
    process.start()
    its.close()
    assert ours.recv() == "ready"
    return process, ours
