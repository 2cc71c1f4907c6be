"""Older versions, restore, expiry and garbage collection, from Python and the command line."""

from __future__ import annotations

import datetime as dt
import pickle
import time

import pytest

import partita as pt
from command import answer, run
from plateau_lake import Lake, same_frame, trips

NOW = dt.timedelta(0)


@pytest.fixture
def lake(tmp_path) -> Lake:
    return Lake(tmp_path / "lake")


@pytest.fixture
def table(lake) -> pt.Table:
    """Version 1 has sixty trips, 2 has ten more, 3 has none in Rome."""
    table = lake.create("t", trips(), partition_by="city", index="rider")
    table.append(trips(first=60, rows=10))
    table.delete(where={"city": "Rome"})
    return table


def test_old_versions_are_read_as_they_were(lake, table):
    for old in (table.at(1), pt.open(table.url, at=1), pickle.loads(pickle.dumps(table.at(1)))):
        assert old.version == 1
        same_frame(old.read(), trips())
        same_frame(old.read(where="rider == 3"), trips().query("rider == 3"))
        with pytest.raises(pt.ReadOnly, match="restore"):
            old.append(trips(rows=1))
        assert old.refresh().version == 1
    first, second, third = reversed(table.history())
    for snapshot in (first, second, third):
        assert table.at(snapshot.time).version == snapshot.version
    assert table.at(third.time.isoformat()).version == 3
    for missing in (0, 4, "2001-01-01"):
        with pytest.raises(pt.NotFound):
            table.at(missing)
    for wrong in ("yesterday", 1.5, -1):
        with pytest.raises(pt.InvalidArgument):
            table.at(wrong)


def test_old_versions_keep_the_order_of_their_columns(lake):
    table = lake.create("o", {"z": [1], "a": [2]})
    table.add_columns({"m": "int64"})
    assert table.columns == ["z", "a", "m"]
    assert table.at(1).columns == ["z", "a"]
    table.restore(1)
    assert lake.open("o").columns == ["z", "a"]
    table.restore(2)
    assert lake.open("o").columns == ["z", "a", "m"]


def test_restoring_brings_plateau_back_too(lake, table):
    commit = table.restore(1)
    assert commit.version == 4
    same_frame(table.read(), trips())
    same_frame(lake.theirs_read("t")[list(trips().columns)], trips())
    assert sorted(lake.theirs_read("t", [[("rider", "==", 3)]])["id"]) == sorted(
        trips().query("rider == 3")["id"]
    )
    lake.theirs_update("t", trips(first=60, rows=5))
    assert len(table.refresh().read()) == 65
    assert [snapshot.operation for snapshot in table.history()] == [
        "restore", "delete", "append", "create",
    ]  # fmt: skip


def test_expired_versions_and_their_files_go(lake, table):
    files = len(lake.files("t"))
    assert table.collect_garbage(grace=NOW).keys == []
    assert table.expire(keep_within=dt.timedelta(days=1)) == 0
    assert table.expire(keep_last=1) == 2
    time.sleep(0.02)
    assert table.collect_garbage().keys == [], "younger than a day"
    told = table.collect_garbage(grace=NOW, dry_run=True)
    # Two snapshots have been removed, and the mark of the expiry was added.
    assert len(lake.files("t")) == files - 2 + 1
    assert table.collect_garbage(grace=NOW) == told
    assert len(lake.files("t")) == files - 2 + 1 - len(told.keys)
    assert len(table.read()) == len(lake.theirs_read("t"))
    with pytest.raises(pt.NotFound):
        table.at(2)
    for wrong in ({}, {"keep_last": 1, "keep_within": NOW}, {"keep_last": 0}, {"keep_within": 3}):
        with pytest.raises(pt.InvalidArgument):
            table.expire(**wrong)


ERASING = {
    "delete": lambda t: t.delete("rider == 7"),
    "replace": lambda t: t.replace({"rider": [7], "name": ["nobody"]}, "rider == 7"),
    "upsert": lambda t: t.upsert({"rider": [7], "name": ["nobody"]}, on="rider"),
    "delete by name": lambda t: t.delete("name == 'Kari'"),
}


@pytest.mark.parametrize("layout", [{}, {"index": "name"}, {"bloom_filters": "name"}])
@pytest.mark.parametrize("erase", ERASING)
def test_values_that_were_erased_are_in_no_file(tmp_path, erase, layout):
    data = {"rider": [7, 8], "name": ["Kari", "Ola"]}
    table = pt.create_table(tmp_path / "t", data, compression="none", **layout)
    ERASING[erase](table)
    table.expire(keep_last=1)
    time.sleep(0.02)
    table.collect_garbage(grace=NOW)
    stored = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"Kari" not in stored and b"Ola" in stored


def test_what_plateau_collected_is_told(lake, table):
    lake.theirs_collect_garbage("t")
    assert len(table.read()) == len(lake.theirs_read("t"))
    with pytest.raises(pt.Corrupt, match="garbage"):
        table.at(1).read(where={"city": "Rome"})
    before = lake.files("t")
    with pytest.raises(pt.NotFound, match="city=Rome"):
        table.restore(1)
    assert lake.files("t") == before


def test_garbage_of_a_dataset_of_plateau(lake):
    lake.theirs_create("p", trips(), partition_on=["city"], secondary_indices=["rider"])
    lake.theirs_update("p", trips(first=60), delete_scope=[{"city": "Rome"}])
    table = lake.open("p")
    expected = table.read()
    time.sleep(0.02)
    freed = table.collect_garbage(grace=NOW)
    assert any("city=Rome" in key for key in freed.keys)
    assert any("indices/rider" in key for key in freed.keys)
    same_frame(table.read(), expected)
    same_frame(lake.theirs_read("p")[expected.columns], expected)


def test_from_the_command_line(lake, table):
    url = table.url
    counted = run("read", url, "--at", "1", "--json", "--columns", "id").stdout
    assert len(counted.splitlines()) == 60
    assert answer("info", url, "--at", "2")["version"] == 2
    assert answer("restore", url, "1")["version"] == 4
    assert "no such version" in run("read", url, "--at", "9", code=3).stderr
    assert answer("expire", url, "--keep-last", "1")["expired"] == 3
    time.sleep(0.02)
    listed = run("gc", url, "--grace", "0s", "--dry-run").stdout.splitlines()
    assert listed[-1].startswith("would remove")
    done = answer("gc", url, "--grace", "0s")
    assert done["keys"] == listed[:-1]
    same_frame(table.refresh().read(), trips())
    assert "indexed: rider, day" in run("index", "build", url, "day").stdout
    run("optimize", url, "--sort-by", "fare,id")
    run("delete", url, "--yes", "--where", "id >= 10")
    assert table.refresh().count() == 10
