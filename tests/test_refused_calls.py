"""System calls that fail while datasets are changed: no space, no free file descriptor, an error of
the disk. The state stays the old one or becomes the new one, the outcome is told as it is, and
the same process continues afterwards."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pytest

import partita as pt
from collection_writers import start
from refused_calls import CAN_REFUSE, refusing

resource = pytest.importorskip("resource")

KINDS = ["table", "zarr", "icechunk"]
DONE = "done"
SMALL, LARGE = 10, 40_000
FILE_SIZE = 128 << 10
DESCRIPTORS = 256


def url_of(folder: Path | str, kind: str) -> str:
    return f"icechunk+{folder}/{kind}" if kind == "icechunk" else f"{folder}/{kind}"


def rows(number: int, count: int) -> dict[str, np.ndarray]:
    return {
        "p": np.repeat(np.arange(2, dtype="i4"), count),
        "t": np.tile(np.arange(count), 2),
        "number": np.full(2 * count, number),
        "noise": np.random.default_rng(number).random(2 * count),
    }


def create(folder: Path, kind: str) -> None:
    if kind == "table":
        pt.create_table(url_of(folder, kind), rows(0, SMALL), partition_by="p")
    else:
        pt.create_collection(
            url_of(folder, kind),
            {name: ("n", values) for name, values in rows(0, SMALL).items()},
            axis="t",
            partition_by=pt.Sequence(["p"]),
            zarr_format=3,
        )


def write(dataset: pt.Table | pt.Collection, number: int, count: int = SMALL) -> None:
    """Replaces all rows."""
    new = rows(number, count)
    if isinstance(dataset, pt.Table):
        dataset.replace(new, pt.col("p").isin([0, 1]))
    else:
        dataset.insert({name: ("n", values) for name, values in new.items()})


def outcome(dataset: pt.Table | pt.Collection, number: int, count: int = SMALL) -> str:
    try:
        write(dataset, number, count)
    except pt.PartitaError as error:
        return type(error).__name__
    return DONE


def check(folder: Path, kind: str, told: str, *, old: int, new: int) -> int:
    """Checks the state after a change with this outcome, and returns its number."""
    found = set(np.asarray(pt.open(url_of(folder, kind)).read()["number"]).tolist())
    assert found in ({old}, {new}), found
    if told != "CommitUnknown":
        assert found == ({new} if told == DONE else {old}), told
    return found.pop()


def check_next(folder: Path, kind: str) -> None:
    """Checks that the next writer is not hindered."""
    dataset = pt.open(url_of(folder, kind))
    write(dataset, 99)
    assert check(folder, kind, DONE, old=-1, new=99) == 99
    assert dataset.verify(data=True) == []


def change(pipe: Connection, folder: str, kind: str, number: int) -> None:
    dataset = pt.open(url_of(folder, kind))
    pipe.send("ready")
    pipe.send(outcome(dataset, number))


@pytest.mark.skipif(not CAN_REFUSE, reason="no filter of system calls is known for this machine")
@pytest.mark.parametrize("kind", KINDS)
def test_a_disk_that_does_not_take_what_was_written(tmp_path: Path, kind: str) -> None:
    create(tmp_path, kind)
    failing = dict.fromkeys(("fsync", "fdatasync", "syncfs"), errno.EIO)
    _, pipe = start(refusing, failing, change, str(tmp_path), kind, 1)
    told = pipe.recv()
    assert told != DONE
    check(tmp_path, kind, told, old=0, new=1)
    check_next(tmp_path, kind)


def change_largely(pipe: Connection, folder: str, kind: str) -> None:
    """A change that does not fit, and one that does, in one process."""
    dataset = pt.open(url_of(folder, kind))
    pipe.send("ready")
    resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_SIZE, resource.RLIM_INFINITY))
    pipe.send(outcome(dataset, 1, LARGE))
    pipe.recv()
    pipe.send(outcome(dataset, 2))


@pytest.mark.parametrize("kind", KINDS)
def test_files_that_may_not_grow(tmp_path: Path, kind: str) -> None:
    create(tmp_path, kind)
    _, pipe = start(change_largely, str(tmp_path), kind)
    told = pipe.recv()
    assert told != DONE
    assert check(tmp_path, kind, told, old=0, new=1) == 0
    pipe.send("go on")
    assert pipe.recv() == DONE
    check(tmp_path, kind, DONE, old=0, new=2)
    check_next(tmp_path, kind)


@contextlib.contextmanager
def descriptors(free: int) -> Iterator[None]:
    """No more than so many files can be opened."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))
    taken = []
    with contextlib.suppress(OSError):
        while True:
            taken.append(os.open(os.devnull, os.O_RDONLY))
    for one in taken[:free]:
        os.close(one)
    try:
        yield
    finally:
        for one in taken[free:]:
            os.close(one)


def change_with_few(pipe: Connection, folder: str, kind: str, free: list[int]) -> None:
    """Changes with each number of free descriptors, and one with enough."""
    dataset = pt.open(url_of(folder, kind))
    dataset.read()
    pipe.send("ready")
    for number, few in enumerate(free, start=1):
        with descriptors(few):
            told = outcome(dataset, number)
        pipe.send(told)
        pipe.recv()
    pipe.send(outcome(dataset, len(free) + 1))


@pytest.mark.parametrize("kind", KINDS)
def test_few_file_descriptors(tmp_path: Path, kind: str) -> None:
    create(tmp_path, kind)
    free = [0, 1, 2, 3, 4, 6, 8, 24]
    _, pipe = start(change_with_few, str(tmp_path), kind, free)
    now, outcomes = 0, set()
    for number in range(1, len(free) + 1):
        told = pipe.recv()
        outcomes.add(told == DONE)
        now = check(tmp_path, kind, told, old=now, new=number)
        pipe.send("go on")
    assert outcomes == {True, False}
    assert pipe.recv() == DONE
    check(tmp_path, kind, DONE, old=now, new=len(free) + 1)
    check_next(tmp_path, kind)
