"""Tables partitioned by the parts of a date."""

from __future__ import annotations

import datetime as dt

import pandas as pd
import pytest

import partita as pt
from plateau_lake import Lake, same_frame


@pytest.fixture
def lake(tmp_path) -> Lake:
    return Lake(tmp_path / "lake")


def frame(first: str = "2025-11-20", rows: int = 90, zone: str | None = None) -> pd.DataFrame:
    at = pd.date_range(first, periods=rows, freq="17h", tz=zone).as_unit("ns")
    return pd.DataFrame({"id": range(rows), "at": at, "site": ["a", "b", "c"] * (rows // 3)})


def test_keys_are_derived_on_every_write(lake):
    data = frame()
    table = lake.create("t", data, partition_by=[pt.Date("at", "month"), "site"], index="id")
    assert table.partition_by == ["year", "month", "site"]
    assert table.partitions[0].path == "year=2025/month=11/site=a"
    more = frame("2026-03-01").assign(id=lambda f: f["id"] + 1000)
    table.append(more)
    table.upsert(more.assign(site="z"), on="id")
    table.replace(frame("2025-11-20", 3), where="at < '2025-12-01'")
    kept = data[data["at"] >= "2025-12-01"]
    expected = pd.concat([kept, more.assign(site="z"), frame("2025-11-20", 3)])
    read = table.read()
    same_frame(
        read[["id", "at", "site"]], expected.astype({"at": "datetime64[ns]"}), by=["id", "at"]
    )
    assert (read["month"] == read["at"].dt.month).all()
    assert (read["year"] == read["at"].dt.year).all()
    theirs = lake.theirs_read("t")[["id", "at", "site"]]
    same_frame(theirs, read[["id", "at", "site"]], by=["id", "at"])
    # The result of a read can be written back.
    table.append(read.head(3))
    assert table.count() == len(expected) + 3
    assert pt.open_table(table.url).copy(lake.url("c")).append(more.head(2)).rows_added == 2


def test_conditions_on_the_date_leave_out_partitions(lake):
    table = lake.create("t", frame(), partition_by=pt.Date("at", "day"))
    for where in ("at >= '2026-01-01' and at < '2026-01-03'", "year == 2026 and month == 1"):
        plan = table.scan(where=where).explain().details
        found = table.read(where=where)
        assert plan["files_read"] == found["at"].dt.date.nunique()
        assert len(found) == len(
            frame().query(where.replace("year", "at.dt.year").replace("month", "at.dt.month"))
        )


def test_zones_count_in_utc(lake):
    data = pd.DataFrame({"at": pd.to_datetime(["2026-01-01 00:30"]).tz_localize("Europe/Oslo")})
    table = lake.create("t", data.assign(v=1), partition_by=pt.Date("at", "hour"))
    assert table.partitions[0].path == "year=2025/month=12/day=31/hour=23"
    days = lake.create(
        "d", {"day": [dt.date(2026, 2, 3)], "v": [1]}, partition_by=pt.Date("day", "day")
    )
    assert days.partitions[0].path == "year=2026/month=2/day=3"


@pytest.mark.parametrize(
    "change", [pt.Table.append, lambda table, data: table.upsert(data, on="id"), pt.Table.stage]
)
@pytest.mark.parametrize(
    ("partition_by", "missing"), [(pt.Date("at", "month"), "at"), (pt.Bucket("id", 4), "id")]
)
def test_data_without_the_column_that_partitions_are_made_of(lake, change, partition_by, missing):
    table = lake.create("t", frame(), partition_by=partition_by)
    with pytest.raises(pt.SchemaMismatch, match="missing from the data") as caught:
        change(table, frame().drop(columns=missing))
    assert caught.value.context["column"] == missing
    assert table.version == 1


def test_what_has_no_date_is_refused(lake):
    cases = [
        ({"at": [1], "v": [1]}, "month", pt.InvalidArgument, "at"),
        ({"v": [1]}, "month", pt.NotFound, "at"),
        ({"at": [dt.date(2026, 1, 1)], "v": [1]}, "hour", pt.InvalidArgument, "hour"),
        ({"at": [dt.datetime(2026, 1, 1), None], "v": [1, 2]}, "year", pt.InvalidArgument, "null"),
        ({"at": [dt.datetime(2026, 1, 1)], "v": [1]}, "week", pt.InvalidArgument, "minute"),
    ]
    for data, resolution, error, named in cases:
        with pytest.raises(error, match=named):
            lake.create("t", data, partition_by=pt.Date("at", resolution))
    with pytest.raises(pt.InvalidArgument, match="one date"):
        lake.create("t", frame(), partition_by=[pt.Date("at", "year"), pt.Date("at", "month")])
    assert lake.files(".") == {}
