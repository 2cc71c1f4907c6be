"""A commit of a collection that is repeated with the same key takes effect once."""

from __future__ import annotations

import datetime as dt
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import permutations

import numpy as np
import pytest
import xarray as xr

import partita as pt


def rows(cycles: list[int], value: float) -> dict:
    return {
        "cycle": ("n", np.repeat(cycles, 4)),
        "v": ("n", np.full(4 * len(cycles), value)),
        "w": ("n", np.arange(4.0 * len(cycles))),
    }


def create(url: str) -> pt.Collection:
    by = pt.Sequence(["cycle"])
    return pt.create_collection(url, rows([1, 2, 3], 1.0), axis="cycle", partition_by=by)


@pytest.fixture(params=["", "icechunk+"])
def collection(request, tmp_path) -> pt.Collection:
    return create(f"{request.param}{tmp_path / 'c'}")


OPERATIONS: dict[str, Callable[[pt.Collection, str], object]] = {
    "insert": lambda c, key: c.insert(rows([3, 4], 2.0), merge="concat", key=key),
    "update": lambda c, key: c.update(lambda ds: {"v": ds.v + 1}, key=key),
    "drop_partitions": lambda c, key: c.drop_partitions("cycle <= 2", key=key),
    "add_variable": lambda c, key: c.add_variable("flag", ["n"], "i2", fill_value=7, key=key),
    "drop_variable": lambda c, key: c.drop_variable("w", key=key),
    "set_attributes": lambda c, key: c.set_attributes({"title": "sea"}, key=key),
    "set_statistics": lambda c, key: c.set_statistics(["v"], key=key),
}


def operations(collection: pt.Collection) -> list[str]:
    """The recorded operations; in a repository, computing statistics is a commit too."""
    found = [commit.operation for commit in collection.history()]
    return [operation for operation in found if operation != "statistics"]


@pytest.mark.parametrize("operation", OPERATIONS)
def test_an_operation_with_a_key_counts_once(collection, operation):
    OPERATIONS[operation](collection, "delivery 7")
    once, done = collection.read(), operations(collection)
    assert done[0] == operation
    # The repetition may come from another process, and after other commits.
    pt.open(collection.url).set_attributes({"title": "other"}, variable="v")
    again = OPERATIONS[operation](pt.open(collection.url), "delivery 7")
    xr.testing.assert_equal(collection.read(), once)
    assert operations(collection) == ["set_attributes", *done]
    assert collection.committed("delivery 7").operation == operation
    assert collection.committed("delivery 8") is None
    if operation in ("update", "drop_partitions"):
        assert not again


@pytest.mark.parametrize("operation", ["insert", "update"])
def test_workers_and_a_key(collection, operation):
    pytest.importorskip("dask")
    lazy = xr.Dataset(rows([2, 4], 2.0)).chunk({"n": 3})

    def work() -> list[pt.CollectionPartition]:
        if operation == "insert":
            return collection.insert(lazy, merge="concat", key="delivery 7")
        return collection.update(lambda ds: {"v": ds.v + 1}, client=True, key="delivery 7")

    work()
    once, done = collection.read(), operations(collection)
    again = work()
    xr.testing.assert_equal(collection.read(), once)
    assert operations(collection) == done
    assert [one.path[-1] for one in again] == (["2", "4"] if operation == "insert" else [])


def test_a_view_and_a_key(collection, tmp_path):
    base = collection
    where = f"{'icechunk+' if base.branch else ''}{tmp_path / 'view'}"
    twice = pt.Variable("twice", ("n",), "f8", fill_value=0)
    view = pt.create_view(where, base, [twice])
    base.insert(rows([5], 1.0))
    assert len(view.sync(key="monday")) == 1
    base.insert(rows([6], 1.0))
    assert view.sync(key="monday") == []
    assert not view.is_synced()
    assert len(view.sync(key="tuesday")) == 1
    for _ in range(2):
        view.update(lambda ds: {"twice": ds.twice + 2}, key="once")
    assert set(view.read().twice.values) == {2.0}
    assert view.committed("monday").operation == "sync"


def test_a_commit_is_found_by_its_id(collection):
    last = collection.history()[0]
    assert collection.committed(last.id) == last
    assert collection.committed("no such id") is None


def test_a_key_holds_as_long_as_the_history(collection):
    OPERATIONS["update"](collection, "delivery 7")
    for number in range(70):
        collection.set_attributes({"number": number})
    commits = len(collection.history())
    assert not OPERATIONS["update"](pt.open(collection.url), "delivery 7")
    assert len(collection.history()) == commits
    assert set(collection.read().v.values) == {2.0}


@pytest.mark.parametrize(("first", "second"), permutations(OPERATIONS, 2))
def test_a_key_is_for_one_operation(first, second, tmp_path):
    collection = create(str(tmp_path / "c"))
    OPERATIONS[first](collection, "delivery 7")
    before, done = collection.read(), operations(collection)
    with pytest.raises(pt.InvalidArgument, match="used for another operation") as caught:
        OPERATIONS[second](pt.open(collection.url), "delivery 7")
    assert first in str(caught.value)
    assert operations(collection) == done
    xr.testing.assert_identical(collection.read(), before)


@pytest.mark.parametrize("late", [False, True], ids=["at once", "after the first"])
def test_many_callers_with_one_key_make_one_commit(collection, late):
    before = operations(collection)
    callers = [pt.open(collection.url) for _ in range(8)]
    if late:
        OPERATIONS["update"](collection, "delivery 7")
    with ThreadPoolExecutor(len(callers)) as threads:
        list(threads.map(lambda one: OPERATIONS["update"](one, "delivery 7"), callers))
    assert operations(collection) == ["update", *before]
    assert set(collection.read().v.values) == {2.0}


def test_a_key_whose_writer_died_before_its_commit_can_be_used(tmp_path):
    collection = create(str(tmp_path / "c"))
    with pytest.raises(pt.SchemaMismatch):
        collection.insert({"cycle": ("n", np.array([9])), "no": ("n", np.array([1]))}, key="one")
    for _ in range(2):
        collection.insert(rows([9], 3.0), merge="concat", key="one")
    assert operations(collection) == ["insert", "insert"]
    assert int((collection.read().v == 3.0).sum()) == 4


def test_objects_of_keys_go_after_their_records(tmp_path):
    collection = create(str(tmp_path / "c"))
    collection.set_attributes({"title": "sea"}, key="one")
    objects = tmp_path / "c" / ".partita" / "keys"
    assert len(list(objects.iterdir())) == 1
    collection.collect_garbage(grace=dt.timedelta(0))
    assert len(list(objects.iterdir())) == 1
    # A writer that took a key and died long ago leaves an object without a record.
    (objects / "0123456789abcdef0123456789abcdef.json").write_text("{}")
    long_ago = time.time() - 30 * 86400
    for path in objects.iterdir():
        os.utime(path, (long_ago, long_ago))
    collection.collect_garbage(grace=dt.timedelta(0))
    assert len(list(objects.iterdir())) == 1
    assert collection.committed("one") is not None
