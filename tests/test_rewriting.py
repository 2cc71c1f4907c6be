"""Row deletes, upserts, compaction, and later indices and columns; plateau reads the result."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import partita as pt
from plateau_lake import Lake, same_frame, trips


@pytest.fixture
def lake(tmp_path) -> Lake:
    return Lake(tmp_path / "lake")


@pytest.fixture(params=["ours", "theirs"])
def table(request, lake) -> pt.Table:
    """Sixty trips by city, with an index on rider, written by either library."""
    if request.param == "ours":
        return lake.create("t", trips(), partition_by="city", index=["rider", "name"])
    lake.theirs_create("t", trips(), partition_on=["city"], secondary_indices=["rider", "name"])
    return lake.open("t")


def check(lake: Lake, table: pt.Table, expected: pd.DataFrame) -> None:
    """Checks that both libraries read `expected`, as a whole and by index."""
    columns = list(expected.columns)
    for frame in (table.read(), lake.open("t").read(), lake.theirs_read("t")):
        same_frame(frame[columns], expected.reset_index(drop=True))
    for rider in (0, 3, 10, 77):
        want = sorted(expected["id"][expected["rider"] == rider])
        assert sorted(table.read(where={"rider": rider})["id"]) == want
        assert sorted(lake.theirs_read("t", [[("rider", "==", rider)]])["id"]) == want


def test_rows_are_deleted_inside_files(lake, table):
    frame = trips()
    commit = table.delete(where=(pt.col("rider") == 3) & (pt.col("fare") > 0.5))
    gone = (frame["rider"] == 3) & (frame["fare"] > 0.5)
    assert commit.rows_removed == gone.sum()
    check(lake, table, frame[~gone])
    commit = table.delete(where="city == 'Oslo' or id > 50")
    check(lake, table, frame[~gone & (frame["city"] != "Oslo") & (frame["id"] <= 50)])
    lake.theirs_update("t", trips(first=600))
    assert len(table.refresh().read(where="id >= 600")) == 60


def test_rows_are_replaced_by_any_condition(lake, table):
    frame = trips()
    fresh = trips(first=900, rows=6).assign(rider=77)
    table.replace(fresh, where={"rider": 3})
    check(lake, table, pd.concat([frame[frame["rider"] != 3], fresh]))


def test_upsert_moves_rows_to_their_new_partition(lake, table):
    frame = trips()
    changed = frame[frame["id"] % 7 == 0].assign(city="Bergen", rider=77)
    added = trips(first=1000, rows=5)
    commit = table.upsert(pd.concat([changed, added]), on="id")
    assert (commit.rows_added, commit.rows_removed) == (len(changed) + 5, len(changed))
    check(lake, table, pd.concat([frame[frame["id"] % 7 != 0], changed, added]))


@pytest.mark.parametrize(
    ("data", "on", "error", "named"),
    [
        ({"id": [1, 1]}, "id", pt.InvalidArgument, "twice"),
        ({"name": ["x", None]}, "name", pt.InvalidArgument, "null"),
        ({}, "nothing", pt.NotFound, "nothing"),
        ({}, [], pt.InvalidArgument, "key column"),
    ],
)
def test_bad_keys_change_nothing(lake, table, data, on, error, named):
    before = lake.files("t")
    with pytest.raises(error, match=named):
        table.upsert(trips(rows=2).assign(**data), on=on)
    assert lake.files("t") == before


def test_compaction_keeps_every_row_and_sorts(lake, table):
    frame = trips()
    for turn in range(5):
        more = trips(first=100 * (turn + 1), rows=9)
        table.append(more)
        frame = pd.concat([frame, more])
    commit = table.optimize(sort_by=["fare", "id"])
    assert (commit.rows_added, commit.rows_removed) == (0, 0)
    assert table.num_files == 3
    check(lake, table, frame)
    oslo = table.read(where={"city": "Oslo"})
    assert oslo[["fare", "id"]].apply(tuple, axis=1).is_monotonic_increasing
    lake.theirs_collect_garbage("t")
    check(lake, table, frame)


def test_an_index_built_later_is_kept_by_both(lake, table):
    table.build_index("day")
    assert sorted(table.index) == ["day", "name", "rider"]
    lake.theirs_update("t", trips(first=60))
    table.refresh().append(trips(first=120))
    frame = pd.concat([trips(), trips(first=60), trips(first=120)])
    day = frame["day"].iloc[70]
    want = sorted(frame["id"][frame["day"] == day])
    assert sorted(table.read(where={"day": day})["id"]) == want
    assert sorted(lake.theirs_read("t", [[("day", "==", day)]])["id"]) == want
    assert table.index_values("rider").to_pylist() == sorted(frame["rider"].unique())
    table.drop_index(["day", "name"])
    assert table.index == ["rider"]
    with pytest.raises(pt.NotFound, match="name"):
        table.index_values("name")
    lake.theirs_update("t", trips(first=180))
    assert table.refresh().index == ["rider"]


def test_columns_added_later(lake, table):
    table.add_columns({"tip": "float64"})
    more = trips(first=60, rows=6).assign(tip=0.5)
    table.append(more)
    lake.theirs_update("t", trips(first=66, rows=6).assign(tip=1.5))
    expected = pd.concat(
        [trips().assign(tip=np.nan), more, trips(first=66, rows=6).assign(tip=1.5)]
    )
    same_frame(table.refresh().read()[expected.columns], expected)
    same_frame(lake.theirs_read("t")[expected.columns], expected)
    with pytest.raises(pt.SchemaMismatch, match="tip"):
        table.append(trips(first=90, rows=2))
    with pytest.raises(pt.AlreadyExists, match="tip"):
        table.add_columns({"tip": "int64"})
    with pytest.raises(pt.InvalidArgument, match="type"):
        table.add_columns({"x": "no such type"})
