"""Dates of cftime: of calendars that numpy does not have."""

from __future__ import annotations

import uuid
from typing import Any

import numpy as np
import pytest
import xarray as xr

import partita as pt

cftime = pytest.importorskip("cftime")

CALENDARS = ["noleap", "360_day", "all_leap", "julian", "standard", "proleptic_gregorian"]
OTHERS = CALENDARS[:4]
"""The calendars whose dates numpy cannot represent."""


@pytest.fixture(params=[2, 3, "icechunk"])
def layout(request: pytest.FixtureRequest) -> Any:
    return request.param


def create(layout: Any, data: Any, by: Any = None, **options: Any) -> pt.Collection:
    url = f"memory://calendars/{uuid.uuid4().hex}/c"
    return pt.create_collection(
        f"icechunk+{url}" if layout == "icechunk" else url,
        data,
        axis="time",
        partition_by=by or pt.Sequence(["year"]),
        zarr_format=2 if layout == 2 else 3,
        **options,
    )


def dates(calendar: str, count: int = 12, start: str = "2000-02-25", freq: str = "12h") -> Any:
    return xr.date_range(start, periods=count, freq=freq, calendar=calendar, use_cftime=True)


def data(time: Any, **encoding: Any) -> xr.Dataset:
    seen = np.array(time, object)
    seen[1] = None
    found = xr.Dataset(
        {
            "v": ("time", np.arange(float(len(time)))),
            "seen": ("time", seen),
            "year": ("time", np.array([one.year for one in time])),
        },
        {"time": time},
    )
    found.seen.encoding = {"_FillValue": -99, **encoding}
    return found


def as_text(values: Any) -> list[str]:
    """Dates and times in one form, microseconds left out."""
    items = values.astype("M8[us]").tolist() if values.dtype.kind == "M" else values.tolist()
    return ["missing" if item is None else item.isoformat() for item in items]


@pytest.mark.parametrize("calendar", CALENDARS)
def test_dates_are_numbers_with_units_and_calendar(layout: Any, calendar: str) -> None:
    time = dates(calendar)
    given = data(time)
    c = create(layout, given)
    stored = c.read()
    assert stored.time.dtype == "i8" and stored.time.attrs["calendar"] == calendar
    for found in (c.read(decode=True), c.read(decode=True, chunks={})):
        assert as_text(found.time.values) == [one.isoformat() for one in time]
    found = c.read(decode=True)
    assert as_text(found.seen.values) == [
        "missing" if i == 1 else time[i].isoformat() for i in range(12)
    ]
    # A repeated delivery changes nothing, in any form.
    again = [
        lambda: given,
        lambda: found,
        lambda: stored,
        lambda: c.read(chunks={}),
        lambda: dict(given.variables),
    ]
    for one in again:
        c.insert(one(), merge="upsert")
        xr.testing.assert_identical(c.read(), stored)


@pytest.mark.parametrize("fill", [-99, None])
@pytest.mark.parametrize("calendar", CALENDARS)
def test_missing_dates_are_the_same_when_they_are_read_later(
    layout: Any, calendar: str, fill: int | None
) -> None:
    time = dates(calendar)
    kind = {"dtype": "f8"} if fill is None else {}
    c = create(layout, data(time, _FillValue=fill, units="hours since 1850-01-01", **kind))
    whole = c.read(decode=True)
    later = {
        "Dask": lambda: c.read(decode=True, chunks={}),
        "one block": lambda: c.read(decode=True, chunks=-1),
        "engine": lambda: xr.open_dataset(c.url, engine="partita"),
    }
    for how, read in later.items():
        found = read()
        assert as_text(found.seen.values) == as_text(whole.seen.values), how
        assert as_text(found.seen[::-2].values) == as_text(whole.seen.values[::-2]), how
        assert found.seen.attrs == whole.seen.attrs, how
        for key in ("units", "calendar", "_FillValue", "dtype"):
            assert found.seen.encoding.get(key) == whole.seen.encoding.get(key), (how, key)
        c.insert(found, merge="upsert")
        xr.testing.assert_identical(c.read(decode=True), whole)
    seen = c.map(lambda part: as_text(part.seen.values), decode=True)
    assert sum(seen.values(), []) == as_text(whole.seen.values)
    if layout == 2:
        raw = xr.open_dataset(c.url, engine="partita", decode_times=False)
        assert raw.seen.dtype.kind == "f" and raw.seen.isnull().values[1]


@pytest.mark.parametrize(
    ("units", "calendar", "first"),
    [
        ("days since 2000-01-01", "365_day", "2000-01-02"),
        ("days since 2000-01-01", "366_day", "2000-01-02"),
        ("days since 0001-01-01", "standard", "0001-01-02"),
        ("days since 9000-01-01", "proleptic_gregorian", "9000-01-02"),
    ],
)
def test_missing_dates_of_other_names_and_far_ones(
    layout: Any, units: str, calendar: str, first: str
) -> None:
    meaning = {"units": units, "calendar": calendar, "_FillValue": np.int32(-1)}
    given = {
        "time": ("time", np.arange("2000-01-01", "2000-01-04", dtype="M8[D]").astype("M8[us]")),
        "seen": ("time", np.array([1, -1, 3], "i4"), meaning),
        "year": ("time", np.full(3, 2000)),
    }
    c = create(layout, given)
    found = c.read(decode=True)
    texts = [None if one is None else one.isoformat()[:10] for one in found.seen.values]
    assert texts == [first, None, f"{first[:-1]}4"]
    with pytest.raises(pt.InvalidArgument, match="variable seen holds dates of the calendar"):
        c.to_table(f"memory://calendars/{uuid.uuid4().hex}/t")
    # The decoded values are stored again.
    for merge in ("upsert", "time_series"):
        c.insert(found, merge=merge)
        assert c.read().seen.values.tolist() == [1, -1, 3]
    c.update(lambda part: {"seen": part.seen}, decode=True)
    assert c.read().seen.values.tolist() == [1, -1, 3]


@pytest.mark.parametrize("calendar", CALENDARS)
def test_functions_get_dates_and_return_them(calendar: str) -> None:
    c = create(3, data(dates(calendar)))
    day = np.timedelta64(1, "D").astype("m8[us]").item()

    def later(part: xr.Dataset) -> dict[str, Any]:
        seen = part.seen.values
        if seen.dtype.kind == "M":
            return {"seen": seen + np.timedelta64(1, "D")}
        return {"seen": np.array([None if one is None else one + day for one in seen], object)}

    before = as_text(c.read(decode=True).seen.values)
    c.update(later, decode=True)
    after = as_text(c.read(decode=True).seen.values)
    assert after[0] == before[2] and after[1] == "missing"


def test_units_of_the_encoding_are_kept_or_values_are_refused(layout: Any) -> None:
    time = dates("noleap", freq="D")
    given = data(time, units="days since 1850-01-01", dtype="f8")
    c = create(layout, given)
    assert c.read().seen.dtype == "f8"
    assert c.read().seen.attrs["units"] == "days since 1850-01-01"
    half = data(time)
    half.seen.values[0] = time[0] + (time[1] - time[0]) / 2
    c.insert(half, merge="upsert")
    assert c.read(decode=True).seen.values[0] == half.seen.values[0]
    whole = create(layout, data(time, units="days since 1850-01-01", dtype="i4"))
    with pytest.raises(pt.SchemaMismatch, match="variable seen") as refused:
        whole.insert(half, merge="upsert")
    assert refused.value.context["row"] == "0"


@pytest.mark.parametrize("stored", CALENDARS)
@pytest.mark.parametrize("given", CALENDARS)
def test_dates_of_another_calendar_are_refused(stored: str, given: str) -> None:
    c = create(2, data(dates(stored)))
    before = c.read()
    if stored == given:
        return
    with pytest.raises(pt.SchemaMismatch, match=f"calendar {stored}"):
        c.insert(data(dates(given)), merge="upsert")
    times = np.arange("2000-02-25", "2000-03-02", dtype="M8[D]").astype("M8[us]")
    rows = {
        "time": ("time", times),
        "v": ("time", np.zeros(6)),
        "seen": ("time", times),
        "year": ("time", np.full(6, 2000)),
    }
    if stored in OTHERS:
        with pytest.raises(pt.SchemaMismatch, match=f"calendar {stored}"):
            c.insert(rows, merge="upsert")
        xr.testing.assert_identical(c.read(), before)
    else:
        c.insert(rows, merge="upsert")
        assert c.read().sizes["time"] == 12 - 6 + 6


def test_dates_for_times_of_numpy() -> None:
    times = np.arange("2000-02-25", "2000-03-02", dtype="M8[D]").astype("M8[us]")
    c = create(2, {"time": ("time", times), "year": ("time", np.full(6, 2000))})
    for calendar in ("standard", "proleptic_gregorian"):
        given = dates(calendar, 6, freq="D")
        c.insert({"time": ("time", given), "year": ("time", np.full(6, 2000))})
        np.testing.assert_array_equal(c.read().time, times)
    for calendar in OTHERS:
        with pytest.raises(pt.SchemaMismatch, match=f"calendar {calendar}"):
            c.insert({"time": ("time", dates(calendar, 2)), "year": ("time", [2000, 2000])})


def test_what_is_no_date_of_one_calendar_is_refused() -> None:
    mixed = np.array([dates("noleap", 1)[0], dates("360_day", 1)[0]], object)
    with pytest.raises(pt.InvalidArgument, match="360_day.*noleap"):
        create(2, {"time": ("time", mixed), "year": ("time", [2000, 2000])})
    missing = np.array([dates("noleap", 1)[0], None], object)
    with pytest.raises(pt.InvalidArgument, match="variable time has missing values"):
        create(2, {"time": ("time", missing), "year": ("time", [2000, 2000])})
