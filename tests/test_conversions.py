"""Conversion of collections to tables, and of tables to collections."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import partita as pt


def tracks() -> xr.Dataset:
    time = np.datetime64("2022-01-20", "us") + np.arange(60) * np.timedelta64(12, "h")
    power = np.arange(180, dtype="i2").reshape(60, 3)
    data = xr.Dataset(
        {
            "ssh": (("time", "pixel"), np.arange(180.0).reshape(60, 3)),
            "power": (("pixel", "time"), power.T),
            "flag": ("time", np.arange(60, dtype="u1") % 3),
            "name": ("time", np.array([f"r{i}" for i in range(60)], dtype=object)),
            "angle": ("pixel", [-1.0, 0.0, 1.0]),
            "pixel": ("pixel", [10, 20, 30]),
        },
        {"time": time},
    )
    data.ssh.values[4, 1] = np.nan
    data.ssh.encoding["_FillValue"] = np.nan
    data.power.encoding["_FillValue"] = np.int16(7)
    return data


def collection(url, **options) -> pt.Collection:
    by = pt.Date("time", "month")
    return pt.create_collection(url, tracks(), axis="time", partition_by=by, **options)


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_rows_of_a_collection(tmp_path, zarr_format):
    made = collection(tmp_path / "c", zarr_format=zarr_format, chunks={"time": 7})
    seen = []
    table = made.to_table(
        tmp_path / "lake" / "t",
        partition_by=pt.Date("time", "month"),
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen[-1] == (60, 60)
    assert len(table.history()) == 1
    frame = table.read(["time", "pixel", "ssh", "power", "flag", "name"])
    expected = tracks().drop_vars("angle").to_dataframe().reset_index()
    expected["power"] = expected.power.astype("float").where(expected.power != 7)
    frame = frame.sort_values(["time", "pixel"], ignore_index=True)
    pd.testing.assert_frame_equal(
        frame,
        expected[frame.columns].sort_values(["time", "pixel"], ignore_index=True),
        check_dtype=False,
    )


def test_some_rows_of_some_variables(tmp_path):
    made = collection(tmp_path / "c")
    table = made.to_table(
        tmp_path / "lake" / "t", variables=["flag"], where="time < '2022-01-22' and flag > 0"
    )
    assert table.columns == ["time", "flag"]
    assert table.read().flag.tolist() == [1, 2]
    none = made.to_table(tmp_path / "lake" / "none", where="time > '2030-01-01'")
    assert set(none.columns) == {"time", "pixel", "ssh", "power", "flag", "name"}
    assert none.count() == 0
    with pytest.raises(pt.InvalidArgument, match="angle has no dimension time"):
        made.to_table(tmp_path / "lake" / "x", variables=["angle"])
    with pytest.raises(pt.NotFound, match="nothing"):
        made.to_table(tmp_path / "lake" / "x", variables=["nothing"])
    assert [found.name for found in pt.ls(tmp_path / "lake")] == ["none", "t"]


def test_different_dimensions_make_no_rows(tmp_path):
    data = tracks()[["ssh", "time"]].assign(wave=(("time", "bin"), np.zeros((60, 2))))
    by = pt.Date("time", "month")
    made = pt.create_collection(tmp_path / "c", data, axis="time", partition_by=by)
    with pytest.raises(pt.InvalidArgument, match="two tables"):
        made.to_table(tmp_path / "t")


@pytest.mark.parametrize("partition", ["month", "day", "sequence"])
def test_there_and_back(tmp_path, partition):
    made = collection(tmp_path / "c")
    table = made.to_table(tmp_path / "lake" / "t", partition_by="flag", sort_by="time")
    by = pt.Sequence(["flag"]) if partition == "sequence" else pt.Date("time", partition)
    back = table.to_collection(
        tmp_path / "back",
        axis="time",
        partition_by=by,
        dimensions=["pixel"],
        flat=["flag", "name"],
        chunks={"time": 7},
    )
    assert len(back.history()) == 1 and back.verify(data=True) == []
    found = back.read(decode=True).sortby("time")
    np.testing.assert_array_equal(found.ssh, tracks().ssh)
    np.testing.assert_array_equal(found.flag, tracks().flag)
    np.testing.assert_array_equal(found.name, tracks().name)
    np.testing.assert_array_equal(found.pixel, [10, 20, 30])
    power = tracks().power.T.astype(float)
    np.testing.assert_array_equal(found.power, power.where(power != 7))


def test_items_that_no_row_gives_are_missing(tmp_path):
    rows = {"cycle": [1, 1, 2, 4], "x": ["a", "b", "b", "a"], "v": [1, 2, None, 5]}
    table = pt.create_table(tmp_path / "lake" / "t", pd.DataFrame(rows).astype({"v": "Int64"}))
    made = table.to_collection(
        tmp_path / "c",
        axis="cycle",
        partition_by=pt.Sequence(["cycle"]),
        dimensions=["x"],
        where="cycle < 4",
    )
    found = made.read(decode=True)
    assert found.x.values.tolist() == ["a", "b"]
    np.testing.assert_array_equal(found.v, [[1, 2], [np.nan, np.nan]])
    with pytest.raises(pt.InvalidArgument, match="several rows have the same cycle"):
        table.to_collection(tmp_path / "d", axis="cycle", partition_by=pt.Sequence(["cycle"]))
    with pytest.raises(pt.InvalidArgument, match="no rows"):
        table.to_collection(
            tmp_path / "d", axis="cycle", partition_by=pt.Sequence(["cycle"]), where="cycle > 9"
        )
