"""Conditions on dates of calendars that numpy does not have, and partitions by them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import partita as pt
from test_calendars import CALENDARS, OTHERS, create, data, dates


@pytest.fixture(params=[2, 3, "icechunk"])
def layout(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.mark.parametrize("calendar", CALENDARS)
def test_conditions_name_moments_of_the_calendar(layout: Any, calendar: str) -> None:
    time = dates(calendar)
    c = create(layout, data(time))
    seen = [i for i in range(12) if i != 1]
    conditions: list[tuple[Any, list[int]]] = [
        ("time >= '2000-02-26' and time < '2000-02-27T12:00'", [2, 3, 4]),
        (pt.col("time") >= time[9], [9, 10, 11]),
        (pt.col("time") == np.datetime64("2000-02-25T12:00"), [1]),
        ([("time", "in", [time[3], time[5]])], [3, 5]),
        ("time > '2000-02-25T12:00:00.000001'", list(range(2, 12))),
        ("time == '2000-02-25T00:00:00.0000001'", []),
        ("not time < '2000-02-26'", list(range(2, 12))),
        # A missing time compares as null with every moment.
        ("seen > '1000-01-01'", seen),
        ("seen < '3000-01-01'", seen),
        ("seen != '2000-02-25'", seen[1:]),
        ("seen not in ('2000-02-25')", seen[1:]),
    ]
    for where, rows in conditions:
        assert c.read(where).v.values.tolist() == rows, str(where)
        assert c.read(where, chunks={}).v.values.tolist() == rows, str(where)
    lacks = {"noleap": "2000-02-29", "360_day": "2000-01-31", "all_leap": "2001-02-30"}
    for wrong in ("yesterday", "2000-02-32", lacks.get(calendar, "2001-02-29")):
        with pytest.raises(pt.InvalidPredicate, match=f"calendar {calendar}") as refused:
            c.read(pt.col("time") > wrong)
        assert refused.value.context["column"] == "time"


RESOLUTIONS = ("year", "month", "day", "hour")
# The engine works out partitions in the same way wherever they are stored.
DATED: list[tuple[Any, str, str]] = [
    (2, "month", "i8"),
    *((3, resolution, dtype) for resolution in RESOLUTIONS for dtype in ("i8", "f8")),
    *zip(["icechunk"] * 4, RESOLUTIONS, ("i8", "f8", "i8", "f8"), strict=True),
]


@pytest.mark.parametrize("calendar", CALENDARS)
@pytest.mark.parametrize(("layout", "resolution", "dtype"), DATED)
def test_partitions_by_date(layout: Any, calendar: str, dtype: str, resolution: Any) -> None:
    # The last date is in the last days of February, which differ between calendars.
    time = dates(calendar, 9, "1999-12-20", "212h")
    given = data(time)
    given.time.encoding = {"units": "hours since 1850-01-01", "dtype": dtype}
    by = pt.Date("time", resolution)
    if layout == 2:
        with pytest.raises(pt.InvalidArgument, match="ZCollection could not open") as refused:
            create(layout, given, by)
        assert calendar in str(refused.value)
        return
    c = create(layout, given, by)
    fields = RESOLUTIONS[: RESOLUTIONS.index(resolution) + 1]
    wanted = sorted({tuple(getattr(one, field) for field in fields) for one in time})
    assert [tuple(p.key.values()) for p in c.partitions] == wanted
    assert c.verify(data=True) == []
    where = (pt.col("time") >= time[2]) & (pt.col("time") < time[7])
    assert c.read(where).v.values.tolist() == list(range(2, 7))
    february = [float(i) for i, one in enumerate(time) if one.month == 2]
    if resolution != "year":
        assert c.read("month == 2").v.values.tolist() == february
    # Deliveries may come in other units, and out of order.
    part = given.isel(time=[8, 1, 5])
    part = part.assign(v=part.v + 100)
    part.time.encoding = {"units": "days since 2000-01-01", "dtype": "f8"}
    c.insert(part, merge="upsert")
    expected = np.arange(9.0)
    expected[[8, 1, 5]] += 100
    assert c.read().v.values.tolist() == expected.tolist()
    c.update(lambda p: {"v": p.v - 1}, "month == 2" if resolution != "year" else None)
    again = pt.open_collection(c.url)
    assert again.partition_by == by and again.read().sizes["time"] == 9


def test_rows_without_a_time_belong_to_no_partition() -> None:
    encoded = {"units": "days since 2000-01-01", "calendar": "noleap"}
    c = create(3, {"time": ("time", [0.0, 40.0], encoded)}, pt.Date("time", "month"))
    for wrong in (np.nan, np.inf, 1e300):
        with pytest.raises(pt.PartitaError, match="time"):
            c.insert({"time": ("time", [wrong], encoded)}, merge="upsert")
    assert c.read().time.values.tolist() == [0.0, 40.0]
    with pytest.raises(pt.InvalidArgument, match="cannot be used for partitioning"):
        create(3, {"time": ("time", [0.0], {"units": "m"})}, pt.Date("time", "month"))


@pytest.mark.parametrize("calendar", OTHERS)
def test_files_of_models_are_imported_by_date(tmp_path: Path, calendar: str) -> None:
    pytest.importorskip("scipy", reason="NetCDF needs a library that reads it")
    time = dates(calendar, 90, "2000-01-01", "D")
    whole = xr.Dataset({"tas": (("time", "x"), np.arange(180.0).reshape(90, 2))}, {"time": time})
    for number in range(3):
        part = whole.isel(time=slice(number * 30, number * 30 + 30))
        part.time.encoding = {"units": "days since 1850-01-01", "dtype": "f8"}
        part.to_netcdf(tmp_path / f"{number}.nc")
    with pytest.raises(pt.InvalidArgument, match="--zarr 3"):
        pt.import_files(tmp_path / "2", f"{tmp_path}/*.nc", partition_by="month")
    pt.import_files(tmp_path / "3", f"{tmp_path}/*.nc", partition_by="month", zarr_format=3)
    found = pt.open_collection(tmp_path / "3").read(decode=True)
    assert list(found.time.values) == list(time)
    np.testing.assert_array_equal(found.tas, whole.tas)
