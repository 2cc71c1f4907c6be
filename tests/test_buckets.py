"""Tables partitioned by the hash buckets of a column."""

from __future__ import annotations

import datetime as dt

import pandas as pd
import pytest

import partita as pt
from plateau_lake import Lake, same_frame


@pytest.fixture
def lake(tmp_path) -> Lake:
    return Lake(tmp_path / "lake")


def frame(rows: int = 200, first: int = 0) -> pd.DataFrame:
    """Rows in which each rider occurs twice."""
    riders = [first + row // 2 for row in range(rows)]
    return pd.DataFrame(
        {"rider": riders, "name": [f"r{rider}" for rider in riders], "row": range(rows)}
    )


@pytest.mark.parametrize("column", ["rider", "name"])
def test_a_value_is_in_one_bucket(lake, column):
    table = lake.create("t", frame(), partition_by=pt.Bucket(column, 8))
    assert table.partition_by == [f"{column}_bucket"]
    assert len(table.partitions) == 8
    table.append(frame(first=50))
    for value in frame()[column].unique()[::10]:
        scan = table.scan(where=[(column, "==", value)])
        expected = pd.concat([frame(), frame(first=50)]).query(f"{column} == @value")
        same_frame(scan.to_pandas()[["rider", "name", "row"]], expected, by=["rider", "row"])
        plan = scan.explain().details
        assert plan["files_read"] <= 2
        assert plan["pruned_by_partition"] >= 14
    read = table.read()
    same_frame(lake.theirs_read("t")[list(read)], read, by=["rider", "row", f"{column}_bucket"])


def test_buckets_go_with_dates_and_columns(lake):
    data = frame().assign(at=dt.datetime(2026, 1, 31, 12), city=["a", "b"] * 100)
    by = ["city", pt.Date("at", "month"), pt.Bucket("rider", 4)]
    table = lake.create("t", data, partition_by=by, index="name")
    assert table.partition_by == ["city", "year", "month", "rider_bucket"]
    assert table.partitions[0].path.startswith("city=a/year=2026/month=1/rider_bucket=")
    # The result of a read can be written back.
    table.append(table.read(limit=10))
    assert table.count() == 210
    assert table.scan(where="rider in (3, 4) and city == 'a'").explain().details["files_read"] <= 4


def test_buckets_of_other_writers_are_not_relied_on(lake):
    table = lake.create("t", frame(), partition_by=pt.Bucket("rider", 4))
    [own] = table.read(where="rider == 7")["rider_bucket"].unique()
    stray = frame(2, first=7).assign(rider_bucket=(own + 1) % 4)
    lake.theirs_update("t", stray)
    table.refresh()
    assert table.count(where="rider == 7") == 4
    table.append(frame(2, first=300))
    assert table.count(where="rider == 7") == 4
    # After another write they are in the right partitions.
    table.optimize()
    assert table.count(where="rider == 7") == 4


def test_what_makes_no_buckets_is_refused(lake):
    data = frame()
    for by, error, named in [
        (pt.Bucket("rider", 0), pt.InvalidArgument, "bucket"),
        (pt.Bucket("driver", 4), pt.NotFound, "driver"),
        ([pt.Bucket("rider", 4), pt.Bucket("name", 4)], pt.InvalidArgument, "one column"),
    ]:
        with pytest.raises(error, match=named):
            lake.create("t", data, partition_by=by)
    with pytest.raises(pt.InvalidArgument, match="bucket"):
        lake.create("t", data.assign(x=0.5), partition_by=pt.Bucket("x", 4))
