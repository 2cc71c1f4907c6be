"""Collections with nested groups: every operation includes the groups."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import xarray as xr

import partita as pt

START = np.datetime64("2022-01-01", "ns")
HOURS = 2000


def tree(first: int, number: int, factor: float = 1.0) -> xr.DataTree:
    """Rows by the hour: `power` and `lat` can be computed from the hour."""
    hours = np.arange(first, first + number)
    root = xr.Dataset(
        {"ssh": (("time", "x"), np.stack([hours, -hours], 1).astype("f4"))},
        {"time": START + hours * np.timedelta64(1, "h")},
    )
    group = xr.Dataset({"lat": ("time", latitude(hours)), "lut": ("x", np.array([7.0, 9.0]))})
    band = xr.Dataset({"power": (("time", "x"), np.stack([hours, hours], 1) * factor)})
    band["power"].encoding["_FillValue"] = -1.0
    return xr.DataTree.from_dict({"/": root, "/data_01": group, "/data_01/ku": band})


def latitude(hours):
    return hours % 180 - 90.0


@pytest.fixture
def collection(tmp_path):
    return pt.create_collection(
        tmp_path / "grouped",
        tree(0, HOURS),
        axis="time",
        partition_by=pt.Date("time", "month"),
        chunks={"time": 100},
        zarr_format=3,
    )


def hours_of(data: xr.DataTree) -> np.ndarray:
    return (data["time"].values - START) // np.timedelta64(1, "h")


def test_rows_are_inserted_and_merged_in_all_groups(collection):
    collection.insert(tree(1900, 300, factor=2.0), merge="time_series")
    data = collection.read()
    hours = hours_of(data)
    assert hours.tolist() == list(range(2200))
    expected = np.where(hours < 1900, hours, hours * 2.0)
    assert (data["data_01/ku/power"].values == expected[:, None]).all()
    assert (data["data_01/lat"].values == latitude(hours)).all()
    assert data["data_01/lut"].values.tolist() == [7.0, 9.0]
    collection.insert(tree(2190, 20), merge=lambda old, new: new)
    assert hours_of(collection.read("month == 4")).tolist() == list(range(2190, 2210))
    assert collection.verify(data=True) == []


def test_conditions_name_variables_of_groups(collection):
    expected = [hour for hour in range(HOURS) if latitude(np.array(hour)) > 80 and hour < 744]
    where = (pt.col("data_01/lat") > 80) & (pt.col("month") == 1)
    found = collection.read(where, variables=["time", "data_01/ku/power"])
    assert hours_of(found).tolist() == expected
    assert found["data_01/ku/power"].values[:, 0].tolist() == expected
    collection.set_statistics(["data_01/lat"])
    assert hours_of(collection.read("`data_01/lat` > 80 and month == 1")).tolist() == expected


@pytest.mark.parametrize("form", ["mapping", "tree"])
def test_functions_see_and_return_variables_of_groups(collection, form):
    def double(data):
        doubled = data["data_01/ku/power"] * 2
        if form == "mapping":
            return {"data_01/ku/power": doubled}
        return xr.DataTree.from_dict({"/data_01/ku": xr.Dataset({"power": doubled})})

    assert len(collection.update(double, where="month < 3")) == 2
    data = collection.read()
    factor = np.where(data["time"].dt.month < 3, 2.0, 1.0)
    assert (data["data_01/ku/power"].values[:, 0] == hours_of(data) * factor).all()
    sums = collection.map(lambda data: float(data["data_01/lat"].sum()))
    assert sum(sums.values()) == latitude(np.arange(HOURS)).sum()
    seen = collection.map_overlap(lambda data: data["data_01/lat"].size, depth=1)
    assert seen[(2022, 2)] == HOURS


def test_variables_and_groups_come_and_go(collection):
    collection.add_variable("data_01/flag", ["time"], "i1", fill_value=3)
    collection.add_variable("data_20/c/power", ["time", "x"], "f4", fill_value=-1.0)
    assert {"data_01/flag", "data_20/c/power"} <= set(collection.variables)
    data = collection.read("month == 2")
    assert (data["data_01/flag"].values == 3).all()
    assert data["data_20/c/power"].shape == (672, 2)
    collection.set_attributes({"units": "dB"}, "data_01/ku/power")
    collection.set_attributes({"band": "Ku"}, "data_01/ku")
    data = collection.read("month == 2")
    assert data["data_01/ku/power"].attrs["units"] == "dB"
    assert data["data_01/ku"].attrs == {"band": "Ku"}
    collection.drop_variable("data_01/ku/power")
    assert "data_01/ku/power" not in collection.variables
    collection.insert(tree(2000, 30)["data_01"].parent.drop_nodes("data_01"), merge="concat")
    assert (collection.read("month == 3")["data_01/flag"].values == 3).all()
    assert collection.verify(data=True) == []
    with pytest.raises(pt.NotFound, match="data_09"):
        collection.set_attributes({}, "data_09")


def test_copies_and_tables_hold_groups(collection, tmp_path):
    copy = collection.copy(tmp_path / "copy", where="month < 3", chunks={"time": 50})
    assert copy.read().identical(collection.read("month < 3"))
    with pytest.raises(pt.InvalidArgument, match="no nested groups"):
        collection.copy(tmp_path / "flat", zarr_format=2)
    rows = collection.to_table(
        tmp_path / "rows", variables=["data_01/lat", "data_01/ku/power"], where="month == 2"
    ).read()
    assert set(rows.columns) == {"time", "x", "data_01/lat", "data_01/ku/power"}
    hours = (rows["time"].to_numpy() - START) // np.timedelta64(1, "h")
    assert len(rows) == 672 * 2
    assert (rows["data_01/ku/power"] == hours).all()
    assert (rows["data_01/lat"] == latitude(hours)).all()


def test_lazy_reads_show_groups(collection):
    lazy = collection.read(chunks={}, where="time >= '2022-02-01'")
    power = lazy["data_01/ku/power"]
    # An object contains four chunks.
    assert power.chunks[0][:2] == (400, 272)
    assert power.values[:, 0].tolist() == list(range(744, HOURS))
    with xr.open_datatree(collection.url, engine="partita") as opened:
        assert opened["data_01/lat"].values.tolist() == latitude(np.arange(HOURS)).tolist()
    with xr.open_dataset(collection.url, engine="partita", group="data_01/ku") as opened:
        assert opened["power"].shape == (HOURS, 2)


def test_the_command_writes_groups(collection, tmp_path):
    output = tmp_path / "out.zarr"
    command = [sys.executable, "-m", "partita", "read", collection.url, "-o", str(output)]
    done = subprocess.run([*command, "-w", "month == 2"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    opened = xr.open_datatree(output, engine="zarr")
    assert opened["data_01/ku/power"].values[:, 1].tolist() == list(range(744, 744 + 672))
