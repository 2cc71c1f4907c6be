"""Processes that write to a collection are killed, or write concurrently: no insert is partly done,
and none is lost."""

from __future__ import annotations

import datetime as dt
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import partita as pt
from collection_data import read
from collection_writers import (
    FIRST,
    PARTITIONS,
    create,
    insert_many,
    insert_once,
    insert_own,
    insert_rows,
    insert_wide,
    start,
    state,
)
from s3_server import s3_server
from zcollection_peer import Arrays


def state_of(arrays: Arrays, at_once: frozenset[int] = frozenset()) -> set[int]:
    found = {name: one.data for name, one in arrays.variables.items()}
    assert found["lut"].tolist() == [0, 1, 2]
    moments = found["t"].astype("M8[s]").astype(int)
    return state(found["p"].tolist(), moments.tolist(), found["number"].tolist(), at_once)


def kill_often(url: Path | str, zarr_format: int, kills: int, seed: int) -> set[int]:
    """Kills inserts at random moments; returns the inserts that took effect."""
    moment = random.Random(seed)
    collection = create(str(url), zarr_format)
    began = time.monotonic()
    insert_rows(collection, 1)
    duration = time.monotonic() - began
    done, number = {0, 1}, 1
    committed = 0
    for kill in range(kills):
        number += 1
        process, pipe = start(insert_once, str(url), number)
        time.sleep(moment.uniform(0, duration * 1.5))
        process.kill()
        process.join()
        found = state_of(read(pt.open_collection(url)))
        assert found in (done, done | {number}), f"neither old nor new after kill {kill}"
        if pipe.poll():
            try:
                assert pipe.recv() == "done"
                assert number in found
            except EOFError:
                pass
        committed += number in found
        done = found

        # The next writer works at once, without a repair.
        number += 1
        began = time.monotonic()
        insert_rows(pt.open_collection(url), number)
        duration = time.monotonic() - began
        done.add(number)
        assert state_of(read(collection)) == done
        assert collection.verify(data=True) == []
    assert 0 < committed < kills, "all kills came too early, or too late"
    return done


def test_kill_writers_of_zarr_v3(tmp_path):
    done = kill_often(tmp_path / "c", 3, kills=50, seed=3)
    collection = pt.open_collection(tmp_path / "c")
    assert collection.collect_garbage(grace=dt.timedelta(0)).keys
    assert not collection.collect_garbage(grace=dt.timedelta(0)).keys
    assert state_of(read(collection)) == done
    assert collection.verify(data=True) == []


def test_kill_writers_of_an_icechunk_repository(tmp_path):
    url = f"icechunk+{tmp_path / 'c'}"
    done = kill_often(url, 3, kills=30, seed=5)
    collection = pt.open_collection(url)
    collection.collect_garbage(grace=dt.timedelta(0))
    assert not collection.collect_garbage(grace=dt.timedelta(0)).keys
    assert state_of(read(collection)) == done
    assert collection.verify(data=True) == []


def test_chunks_of_a_killed_writer_are_collected_in_an_icechunk_repository(tmp_path):
    url = f"icechunk+{tmp_path / 'c'}"
    collection = create(url, 3)
    chunks = tmp_path / "c" / "chunks"
    for number in range(20):
        before, known = collection.read(), set(listed(chunks))
        process, _ = start(insert_wide, url, number)
        while process.is_alive() and known.issuperset(listed(chunks)):
            pass
        process.kill()
        process.join()
        if collection.read().identical(before):
            break
    else:
        pytest.fail("no kill came between a chunk and its commit")
    left = set(listed(chunks)) - known
    assert left
    assert left <= {
        Path(key).name for key in collection.collect_garbage(grace=dt.timedelta(0)).keys
    }
    assert set(listed(chunks)) == known
    assert collection.read().identical(before)
    assert collection.verify(data=True) == []


FORKING = """
import os, sys
import partita as pt
from collection_writers import insert_rows
collection = pt.open_collection(sys.argv[1])
insert_rows(collection, 1)
child = os.fork()
insert_rows(collection, 2 if child else 3)
if child:
    assert os.waitpid(child, 0)[1] == 0
"""


def test_a_process_that_ends_leaves_nothing_that_it_replaced(tmp_path):
    url = tmp_path / "c"
    create(str(url), 2)
    path = os.pathsep.join(sys.path)
    done = subprocess.run(
        [sys.executable, "-c", FORKING, str(url)],
        env={**os.environ, "PYTHONPATH": path},
        timeout=100,
        check=False,
    )
    assert done.returncode == 0
    found = read(pt.open_collection(url))
    assert state_of(found, at_once=frozenset({2, 3})) == {0, 1, 2, 3}
    assert listed(url / ".partita" / "scratch") == []


def listed(directory: Path) -> list[str]:
    return os.listdir(directory) if directory.exists() else []


def test_kill_writers_of_zarr_v2(tmp_path, zcollection):
    done = kill_often(tmp_path / "c", 2, kills=25, seed=len(zcollection.version))
    assert state_of(zcollection.load(tmp_path / "c")) == done
    assert zcollection.unreadable(tmp_path / "c") == []
    collection = pt.open_collection(tmp_path / "c")
    assert collection.collect_garbage(grace=dt.timedelta(0)).keys
    assert state_of(zcollection.load(tmp_path / "c")) == done
    assert state_of(read(collection)) == done


@contextmanager
def place(where: str, root: Path) -> Iterator[tuple[str, int, dict[str, str]]]:
    """A URL, a Zarr format, and the options of the store."""
    match where:
        case "zarr 2":
            yield str(root / "c"), 2, {}
        case "zarr 3":
            yield str(root / "c"), 3, {}
        case "icechunk":
            yield f"icechunk+file://{root / 'c'}", 3, {}
        case "icechunk in s3":
            with s3_server(root) as options:
                yield "icechunk+s3://test/lake/c", 3, options
        case "icechunk in an s3 that loses answers":
            with s3_server(root, "lost:7", "busy:29") as options:
                yield "icechunk+s3://test/lake/c", 3, options


@pytest.mark.parametrize(
    "where",
    ["zarr 2", "zarr 3", "icechunk", "icechunk in s3", "icechunk in an s3 that loses answers"],
)
def test_processes_merge_the_same_partitions(tmp_path, where):
    inserts = 10
    with place(where, tmp_path) as (url, zarr_format, options):
        create(url, zarr_format, options=options)
        processes = [start(insert_many, url, writer, inserts, options) for writer in (1, 2, 3)]
        for _, pipe in processes:
            pipe.send("go")
        collection = pt.open_collection(url, storage_options=options)
        seen = 0
        while any(process.is_alive() for process, _ in processes):
            rows = collection.read(variables=["t"]).sizes["t"]
            assert rows >= seen, "a later read saw fewer rows"
            assert rows % PARTITIONS == 0, "a read saw part of an insert"
            seen = rows
        for process, pipe in processes:
            process.join()
            assert process.exitcode == 0
            assert pipe.recv() == "done"
        ds = collection.read()
        expected = [0, *(writer * 1000 + n for writer in (1, 2, 3) for n in range(inserts))]
        for key in range(PARTITIONS):
            own = ds.isel(t=ds.p.values == key)
            assert own.number.values[5:].tolist() == expected
            assert own.t.values[5:].astype("M8[s]").astype(int).tolist() == [
                FIRST + number for number in expected
            ]
        assert collection.verify(data=True) == []
        operations = [commit.operation for commit in collection.history()]
        assert operations.count("insert") == 1 + 3 * inserts


@pytest.mark.parametrize("where", ["icechunk", "icechunk in s3"])
def test_processes_make_partitions_at_once(tmp_path, where):
    inserts = 15
    with place(where, tmp_path) as (url, zarr_format, options):
        create(url, zarr_format, options=options)
        processes = [start(insert_own, url, writer, inserts, options) for writer in (1, 2, 3)]
        for _, pipe in processes:
            pipe.send("go")
        for process, pipe in processes:
            assert pipe.recv() == "done"
            process.join()
        collection = pt.open_collection(url, storage_options=options)
        ds = collection.read("p >= 1000", variables=["p", "number"])
        made = [writer * 1000 + n for writer in (1, 2, 3) for n in range(inserts)]
        assert ds.number.values.tolist() == [key for key in made for _ in range(4)]
        assert collection.verify(data=True) == []
