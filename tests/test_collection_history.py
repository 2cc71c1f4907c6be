"""Older versions of collections in plain stores: read, restored, expired, and their storage."""

from __future__ import annotations

import datetime as dt
import pickle
import random
import shutil

import numpy as np
import pytest
import xarray as xr

import partita as pt
from scripted_s3 import scripted_s3

KEPT = dt.timedelta(days=1)
NOTHING = dt.timedelta(0)


def rows(value: float, cycles: list[int], count: int = 6, at: int = 0) -> xr.Dataset:
    size = count * len(cycles)
    return xr.Dataset(
        {"v": ("time", np.full(size, value)), "cycle": ("time", np.repeat(cycles, count))},
        {"time": np.tile(np.arange(at, at + count), len(cycles)).astype("M8[s]").astype("M8[us]")},
    )


@pytest.fixture(params=["zarr 2", "zarr 3", "s3"])
def collection(request, tmp_path):
    options, url = {}, str(tmp_path / "c")
    with scripted_s3() as s3:
        if request.param == "s3":
            options, url = {"storage_options": s3.options()}, "s3://test/lake/c"
        made = pt.create_collection(
            url,
            rows(1.0, [0, 1, 2]),
            axis="time",
            partition_by=pt.Sequence(["cycle"]),
            chunks={"time": 4},
            zarr_format=2 if request.param == "zarr 2" else 3,
            **options,
        )
        made.set_retention(keep_within=KEPT)
        yield made


CHANGES = {
    "insert": lambda c, n: c.insert(rows(n, [n % 4])),
    "upsert": lambda c, n: c.insert(rows(n, [n % 4, (n + 1) % 4], at=n % 5), merge="upsert"),
    "shorter": lambda c, n: c.insert(rows(n, [n % 3], count=2)),
    "update": lambda c, n: c.update(lambda ds: {"v": ds.v + n}, f"cycle == {n % 3}"),
    "drop": lambda c, n: c.drop_partitions(f"cycle == {n % 5}"),
    "add": lambda c, n: c.add_variable(f"a{n}", ["time"], "i4", fill_value=n),
    "remove": lambda c, n: [c.drop_variable(v) for v in c.variables if v.startswith("a")][:1],
    "attributes": lambda c, n: c.set_attributes({"n": n}),
}


@pytest.mark.parametrize("seed", range(3))
def test_every_state_that_is_kept_can_be_read(collection, seed):
    chance = random.Random(seed)
    states = {collection.history()[0].number: collection.read()}
    for n in range(2, 24):
        CHANGES[chance.choice(list(CHANGES))](collection, n)
        states[collection.history()[0].number] = collection.read()
    for number, state in states.items():
        old = collection.at(number)
        xr.testing.assert_identical(old.read(), state)
        xr.testing.assert_identical(
            pickle.loads(pickle.dumps(old)).read("cycle == 1"),
            collection.at(number).read("cycle == 1"),
        )
        with pytest.raises(pt.ReadOnly):
            old.insert(rows(0.0, [0]))
    assert collection.verify(data=True) == []


def test_states_by_time(collection):
    first = collection.history()[0]
    collection.insert(rows(2.0, [0]))
    second = collection.history()[0]
    assert set(collection.at(second.time).read("cycle == 0").v.values) == {2.0}
    before = first.time + (second.time - first.time) / 2
    assert set(collection.at(before).read().v.values) == {1.0}
    with pytest.raises(pt.NotFound):
        collection.at(first.time - dt.timedelta(hours=1))
    with pytest.raises(pt.NotFound):
        collection.at(second.number + 1)


def test_a_lazy_read_of_an_older_state(collection):
    pytest.importorskip("dask")
    first = collection.history()[0].number
    state = collection.read()
    lazy = collection.at(first).read(chunks={})
    collection.insert(rows(2.0, [0, 1]))
    collection.drop_partitions("cycle == 2")
    xr.testing.assert_identical(lazy.compute(), state)


def test_restoring_is_a_commit(collection):
    state, number = collection.read(), collection.history()[0].number
    collection.insert(rows(2.0, [0, 7]))
    collection.drop_partitions("cycle == 1")
    collection.add_variable("flag", ["time"], "i2", fill_value=3)
    left = collection.read()
    last = collection.history()[0].number
    collection.restore(number)
    xr.testing.assert_identical(pt.open(collection.url, **opened(collection)).read(), state)
    assert collection.history()[0].operation == "restore"
    assert collection.variables == list(state.variables) or set(collection.variables) == set(
        state.variables
    )
    # The reverted commit is in the history, too.
    xr.testing.assert_identical(collection.at(last).read(), left)
    collection.restore(last)
    xr.testing.assert_identical(collection.read(), left)
    assert collection.verify(data=True) == []


def test_a_restoration_under_a_key_counts_once(collection):
    number = collection.history()[0].number
    collection.insert(rows(2.0, [0]))
    collection.restore(number, key="undo")
    commits = len(collection.history())
    collection.insert(rows(3.0, [0]))
    collection.restore(number, key="undo")
    assert set(collection.read("cycle == 0").v.values) == {3.0}
    assert len(collection.history()) == commits + 1


def test_what_expired_is_gone(collection):
    numbers = [collection.history()[0].number]
    for value in (2.0, 3.0, 4.0):
        collection.insert(rows(value, [0]))
        numbers.append(collection.history()[0].number)
    assert collection.expire(keep_within=KEPT) == 0
    assert collection.expire(keep_last=2) == 2
    collection.collect_garbage(grace=NOTHING)
    for number in numbers[:2]:
        with pytest.raises(pt.NotFound, match="expired"):
            collection.at(number)
        with pytest.raises(pt.NotFound, match="expired"):
            collection.restore(number)
    assert set(collection.at(numbers[2]).read("cycle == 0").v.values) == {3.0}
    assert set(collection.read("cycle == 0").v.values) == {4.0}
    assert collection.verify(data=True) == []


def test_without_retention_older_states_are_not_kept(collection):
    """Without a retention, older versions are only kept for the grace period."""
    number = collection.history()[0].number
    collection.set_retention(keep_within=None)
    collection.insert(rows(2.0, [0, 1, 2]))
    collection.collect_garbage(grace=NOTHING)
    with pytest.raises(pt.NotFound):
        collection.at(number).read()
    assert set(collection.read().v.values) == {2.0}


def test_the_history_of_a_view(collection, tmp_path):
    options = opened(collection)
    url = "s3://test/lake/view" if options["storage_options"] else str(tmp_path / "view")
    twice = pt.Variable("twice", ("time",), "f8", fill_value=0)
    view = pt.create_view(url, collection, [twice], **options)
    view.set_retention(keep_within=KEPT)
    number = view.history()[0].number
    view.update(lambda ds: {"twice": ds.v * 2})
    assert set(view.at(number).read().twice.values) == {0.0}
    view.restore(number)
    assert set(view.read().twice.values) == {0.0}


@pytest.mark.parametrize("data", [b"", b"\x00" * 40])
def test_a_damaged_chunk_is_found_and_mended(tmp_path, data):
    collection = pt.create_collection(
        tmp_path / "c",
        rows(1.0, [0, 1]),
        axis="time",
        partition_by=pt.Sequence(["cycle"]),
        chunks={"time": 4},
        zarr_format=3,
    )
    collection.set_retention(keep_within=KEPT)
    state = collection.read()
    chunk = tmp_path / "c" / "cycle=0" / "v" / "c" / "0"
    # In a separate file: it must not change the data that the history reads.
    chunk.unlink()
    chunk.write_bytes(data)
    problems = collection.verify(data=True)
    assert problems and all("cycle=0" in problem.key for problem in problems)
    assert any(problem.repaired for problem in collection.verify(data=True, repair=True))
    assert collection.verify(data=True) == []
    xr.testing.assert_identical(pt.open(collection.url).read(), state)


def test_a_chunk_that_vanished_is_found_and_mended(tmp_path):
    collection = pt.create_collection(
        tmp_path / "c",
        rows(1.0, [0, 1]),
        axis="time",
        partition_by=pt.Sequence(["cycle"]),
        chunks={"time": 4},
        zarr_format=3,
    )
    collection.set_retention(keep_within=KEPT)
    state = collection.read()
    (tmp_path / "c" / "cycle=1" / "v" / "c" / "1").unlink()
    assert collection.verify(data=True)
    collection.verify(data=True, repair=True)
    assert collection.verify(data=True) == []
    xr.testing.assert_identical(pt.open(collection.url).read(), state)


def opened(collection: pt.Collection) -> dict:
    return {"storage_options": collection._storage_options}


def test_a_partition_that_vanished_is_found_and_mended(tmp_path):
    made = pt.create_collection(
        str(tmp_path / "c"),
        rows(1.0, [0, 1, 2]),
        axis="time",
        partition_by=pt.Sequence(["cycle"]),
    )
    made.drop_partitions("cycle == 2")
    before = made.read()
    shutil.rmtree(tmp_path / "c" / "cycle=1")
    assert [one.key for one in made.verify(data=True)] == ["cycle=1"]
    assert made.verify(data=True, where="cycle == 0") == []
    assert [one.repaired for one in made.verify(data=True, repair=True)] == [True]
    xr.testing.assert_identical(made.read(), before)
    assert made.verify(data=True) == []


def test_history_is_cut_to_a_number_of_bytes(collection):
    collection.set_retention(keep_within=KEPT, max_bytes=1, grace=NOTHING)
    for n in range(4):
        CHANGES["upsert"](collection, n)
    newest = len(collection.history()) - 1
    with pytest.raises(pt.NotFound, match="expired"):
        collection.at(1).read()
    collection.collect_garbage(grace=NOTHING)
    kept = collection.retained()
    collection.set_retention(keep_within=KEPT, max_bytes=10**9, grace=NOTHING)
    before = collection.read()
    for n in range(4):
        CHANGES["upsert"](collection, n)
    xr.testing.assert_identical(collection.at(newest + 1).read(), before)
    assert collection.retained().bytes > kept.bytes


def test_collected_changes_leave_no_directories(tmp_path):
    url = tmp_path / "c"
    made = pt.create_collection(
        str(url), rows(1.0, [0, 1]), axis="time", partition_by=pt.Sequence(["cycle"])
    )
    made.stage(rows(2.0, [1]))
    made.set_retention(grace=NOTHING)
    for _ in range(3):
        made.collect_garbage(grace=NOTHING)
    stages = list((url / ".partita" / "stage").rglob("*"))
    assert [path for path in stages if path.is_dir() and not any(path.iterdir())] == []
