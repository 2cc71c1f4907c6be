"""A commit of a collection that is asked for again under the same key is not made again."""

from __future__ import annotations

from collections.abc import Callable

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
    """What was done; what is found out of values is a commit in a repository, too."""
    found = [commit.operation for commit in collection.history()]
    return [operation for operation in found if operation != "statistics"]


@pytest.mark.parametrize("operation", OPERATIONS)
def test_an_operation_with_a_key_counts_once(collection, operation):
    OPERATIONS[operation](collection, "delivery 7")
    once, done = collection.read(), operations(collection)
    assert done[0] == operation
    # Whoever asks again may be another process, and may ask after other commits.
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
