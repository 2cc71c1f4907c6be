"""The public behaviour of collections."""

from __future__ import annotations

import datetime as dt
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import partita as pt
from s3_server import s3_server

DAY = np.timedelta64(1, "D")


def along_track(start: str, days: int, *, step: int = 6, value: float = 1.0) -> xr.Dataset:
    """Rows every `step` hours."""
    first = np.datetime64(start, "us")
    time = first + np.arange(days * 24 // step) * np.timedelta64(step, "h")
    rows = time.size
    ssh = xr.Variable(
        ("time", "x"),
        (np.arange(rows * 3).reshape(rows, 3) % 97 * value).astype("f4"),
        {"units": "m"},
        {"_FillValue": np.float32("nan")},
    )
    return xr.Dataset(
        {"ssh": ssh, "lut": ("x", np.array([1, 2, 3], "i2"))},
        {"time": time, "cycle": ("time", (np.arange(rows) // 10).astype("i4"))},
        {"title": "tracks"},
    )


@pytest.fixture(params=["memory", "local", "unsynced", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """A URL with the options of its store."""
    if request.param == "memory":
        yield f"memory://collections-{os.urandom(4).hex()}/c", {}
    elif request.param == "local":
        yield f"{tmp_path}/c", {}
    elif request.param == "unsynced":
        yield f"{tmp_path}/c", {"sync": "false"}
    else:
        with s3_server(tmp_path / "s3") as options:
            yield "s3://test/c", options


@pytest.fixture
def url(place: tuple[str, dict[str, str]]) -> str:
    return place[0]


@pytest.fixture
def options(place: tuple[str, dict[str, str]]) -> dict[str, str]:
    return place[1]


@pytest.fixture(params=[2, 3])
def zarr_format(request: pytest.FixtureRequest) -> int:
    return int(request.param)


def create(url: str, ds: xr.Dataset, zarr_format: int = 2, **options: object) -> pt.Collection:
    return pt.create_collection(
        url,
        ds,
        axis="time",
        partition_by=pt.Date("time", "month"),
        zarr_format=zarr_format,
        **options,  # type: ignore[arg-type]
    )


def test_what_is_put_in_comes_out(url: str, zarr_format: int, options: dict[str, str]) -> None:
    ds = along_track("2022-01-20", 50)
    c = create(url, ds, zarr_format, storage_options=options)
    assert [p.path for p in c.partitions] == [
        "year=2022/month=01",
        "year=2022/month=02",
        "year=2022/month=03",
    ]
    reopened = pt.open(url, storage_options=options)
    assert isinstance(reopened, pt.Collection)
    found = reopened.read()
    xr.testing.assert_identical(found, ds)
    assert np.isnan(found.ssh.encoding["_FillValue"])
    part = reopened.read("time >= '2022-02-10' and time < '2022-02-12'", variables=["ssh", "time"])
    expected = ds.sel(time=slice("2022-02-10", "2022-02-11T23:59"))
    np.testing.assert_array_equal(part.ssh, expected.ssh)
    scattered = reopened.read("month == 2 and cycle in (9, 13)")
    wanted = ds.isel(time=(ds.time.dt.month == 2).values & ds.cycle.isin([9, 13]).values)
    xr.testing.assert_identical(scattered, wanted)
    assert reopened.read("year == 1999").sizes["time"] == 0


def test_partitions_are_values(tmp_path: Path, zarr_format: int) -> None:
    c = create(f"{tmp_path}/c", along_track("2022-01-30", 4), zarr_format)
    first, second = c.partitions
    assert first.key == {"year": 2022, "month": 1}
    assert first.path == "year=2022/month=01"
    assert (first.rows, first.bytes) == (None, None)
    assert repr(first) == "CollectionPartition(year=2022/month=01)"
    again = pt.CollectionPartition({"year": 2022, "month": 1}, "year=2022/month=01")
    assert again == first != second
    assert len({first, again, second}) == 2
    sized = c.list_partitions(sizes=True)
    assert pickle.loads(pickle.dumps(sized)) == sized != [first, second]
    assert f"{sized[0].rows} row" in repr(sized[0])
    with pytest.raises(AttributeError):
        first.path = "elsewhere"


def test_an_update_is_one_commit_and_sees_its_neighbours(tmp_path: Path, zarr_format: int) -> None:
    ds = along_track("2022-01-20", 50)
    c = create(f"{tmp_path}/c", ds, zarr_format)
    c.add_variable("smooth", ("time", "x"), "f8", fill_value=np.nan, attributes={"units": "m"})
    assert np.isnan(c.read()["smooth"]).all()

    def smooth(part: xr.Dataset, partition: pt.PartitionInfo) -> dict[str, xr.DataArray]:
        assert part.time[partition.rows].dt.month.values.max() == partition.key["month"]
        return {"smooth": part.ssh.astype("f8").rolling(time=5, center=True, min_periods=1).mean()}

    assert len(c.update(smooth, depth_rows=2)) == 3
    whole = ds.ssh.astype("f8").rolling(time=5, center=True, min_periods=1).mean()
    np.testing.assert_allclose(c.read()["smooth"], whole)
    # For a selection, the neighbours are still those of the whole collection.
    c.update(lambda part: {"smooth": part["smooth"] * 0}, "month == 2")
    c.update(smooth, "month == 2", depth=1)
    np.testing.assert_allclose(c.read()["smooth"], whole)
    before = c.read()

    def failing(part: xr.Dataset) -> dict[str, object]:
        if part.time.dt.month.values[0] == 2:
            raise ZeroDivisionError("in February")
        return {"ssh": part.ssh * 2}

    with pytest.raises(ZeroDivisionError, match="in February") as caught:
        c.update(failing)
    assert any("month=02" in note for note in getattr(caught.value, "__notes__", ["month=02"]))
    xr.testing.assert_identical(c.read(), before)
    with pytest.raises(pt.SchemaMismatch, match="ssh"):
        c.update(lambda part: {"ssh": part.ssh[:1]})
    with pytest.raises(pt.SchemaMismatch, match="nothing"):
        c.update(lambda part: {"nothing": part.ssh})
    c.drop_variable("smooth")
    assert "smooth" not in c.read()


def test_merges_take_functions_and_names(url: str, options: dict[str, str]) -> None:
    c = create(url, along_track("2022-01-20", 20), storage_options=options)
    again = along_track("2022-01-25", 2, value=5)
    c.insert(again, merge="upsert")
    found = c.read()
    assert found.time.size == 80
    np.testing.assert_array_equal(found.ssh.sel(time=again.time), again.ssh)
    c.insert(again, merge=lambda old, new: xr.concat([new, old], "time").drop_duplicates("time"))
    assert c.read("month == 1").time.size == 48
    with pytest.raises(pt.InvalidArgument, match="call the strategy"):
        c.insert(again, merge=pt.merge.upsert)  # type: ignore[arg-type]
    with pytest.raises(pt.InvalidArgument, match="sideways"):
        c.insert(again, merge="sideways")
    moved = again.assign_coords(time=again.time + 60 * DAY)
    with pytest.raises(pt.InvalidArgument, match="another partition"):
        c.insert(again, merge=lambda old, new: moved)
    shuffled = along_track("2022-03-01", 40).isel(time=np.random.default_rng(1).permutation(160))
    c.insert(shuffled, merge=pt.merge.time_series(tolerance=np.timedelta64(1, "D")))
    tail = c.read("month >= 3")
    xr.testing.assert_identical(tail, along_track("2022-03-01", 40))


def test_wrong_input_is_named_and_changes_nothing(tmp_path: Path) -> None:
    ds = along_track("2022-01-20", 20)
    c = create(f"{tmp_path}/c", ds)
    before = c.read()
    for bad, word in [
        (ds.assign(zzz=ds.cycle), "zzz"),
        (ds.assign(ssh=ds.ssh + 0.1j), "ssh"),
        (ds.isel(x=[0]), "x"),
        (ds.assign(lut=ds.lut + 1), "lut"),
        (ds.assign(ssh=ds.ssh.T), "ssh"),
    ]:
        with pytest.raises(pt.SchemaMismatch, match=word):
            c.insert(bad)
    nat = ds.assign_coords(time=ds.time.where(ds.time != ds.time[3]))
    with pytest.raises(pt.InvalidArgument, match="NaT"):
        c.insert(nat)
    with pytest.raises(pt.InvalidPredicate, match="nonsense"):
        c.read("nonsense == 1")
    with pytest.raises(pt.NotFound, match="nonsense"):
        c.read(variables=["nonsense"])
    with pytest.raises(pt.AlreadyExists):
        create(f"{tmp_path}/c", ds)
    with pytest.raises(pt.NotFound):
        pt.open_collection(f"{tmp_path}/other")
    with pytest.raises(pt.InvalidArgument, match="where="):
        c.drop_partitions()
    with pytest.raises(pt.ReadOnly):
        pt.open_collection(f"{tmp_path}/c", read_only=True).insert(ds)
    xr.testing.assert_identical(c.read(), before)
    assert c.verify(data=True) == []


def test_partitions_are_dropped_by_key_and_age(url: str, options: dict[str, str]) -> None:
    c = create(url, along_track("2022-01-20", 50), storage_options=options)
    assert c.drop_partitions(older_than=dt.timedelta(hours=1)) == []
    assert [p.key["month"] for p in c.drop_partitions("month in (1, 3)")] == [1, 3]
    assert [p.key["month"] for p in c.partitions] == [2]
    assert [commit.operation for commit in c.history()] == ["drop_partitions", "insert"]
    sizes = c.list_partitions(sizes=True)
    assert sizes[0].rows == 28 * 4
    assert sizes[0].bytes is not None and sizes[0].bytes > 1000


def test_sequences_are_ordered_by_value(tmp_path: Path, zarr_format: int) -> None:
    keys = np.repeat([10, 2, -3, 1], 2).astype("i4")
    ds = xr.Dataset({"p": ("n", keys), "v": ("n", np.arange(8.0))})
    sequence = pt.create_collection(
        f"{tmp_path}/s", ds, axis="p", partition_by=pt.Sequence(["p"]), zarr_format=zarr_format
    )
    assert [p.key["p"] for p in sequence.partitions] == [-3, 1, 2, 10]
    assert sequence.read("p > 1").v.values.tolist() == [2, 3, 0, 1]
    if zarr_format == 3:
        grouped = pt.create_collection(
            f"{tmp_path}/g",
            ds,
            axis="p",
            partition_by=pt.GroupedSequence(["p"], 5, 1),
            zarr_format=3,
            catalog=True,
        )
        assert [p.key["p"] for p in grouped.partitions] == [-4, 1, 6]
        assert pt.open_collection(f"{tmp_path}/g").partition_by == grouped.partition_by


def test_groups_make_a_tree(tmp_path: Path) -> None:
    ds = along_track("2022-01-20", 20)
    tree = xr.DataTree.from_dict({"/": ds, "/data/ku": ds[["ssh"]].rename(ssh="power")})
    c = create(f"{tmp_path}/c", tree, 3)  # type: ignore[arg-type]
    assert "data/ku/power" in c.variables
    c.update(lambda part: {"data/ku/power": part["data/ku/power"] * 3})
    found = c.read("month == 2")
    np.testing.assert_array_equal(
        found["data/ku/power"], ds.ssh.sel(time=ds.time.dt.month == 2) * 3
    )
    with pytest.raises(pt.InvalidArgument, match="group"):
        create(f"{tmp_path}/d", tree)  # type: ignore[arg-type]


def test_copies_move_between_formats_and_stores(
    tmp_path: Path, url: str, options: dict[str, str]
) -> None:
    ds = along_track("2022-01-20", 50)
    c = create(f"{tmp_path}/from", ds)
    copy = c.copy(url, zarr_format=3, where="month > 1", storage_options=options)
    assert copy.zarr_format == 3
    xr.testing.assert_identical(copy.read(), ds.sel(time=ds.time.dt.month > 1))
    back = copy.copy(f"{tmp_path}/back", zarr_format=2)
    xr.testing.assert_identical(back.read(), copy.read())
    for path in copy.partitions if os.path.exists(url) else []:
        opened = xr.open_zarr(f"{url}/{path.path}", consolidated=False)
        assert set(opened.variables) == {"ssh", "time", "cycle"}


def test_handles_travel_and_show_themselves(tmp_path: Path) -> None:
    c = create(f"{tmp_path}/c", along_track("2022-01-20", 5))
    there = pickle.loads(pickle.dumps(c))
    xr.testing.assert_identical(there.read(), c.read())
    assert "month" in repr(c) and "ssh" in repr(c)
    assert "<b>Collection c</b>" in c._repr_html_()
    assert [(info.name, info.kind) for info in pt.ls(str(tmp_path))] == [("c", "collection")]
    progress: list[tuple[int, int | None]] = []
    c.read(progress=lambda done, total: progress.append((done, total)))
    assert progress and progress[-1][0] == progress[-1][1]


def test_two_threads_merge_the_same_partitions(tmp_path: Path) -> None:
    c = create(f"{tmp_path}/c", along_track("2022-01-01", 2))
    failures: list[BaseException] = []

    def insert(hour: int) -> None:
        try:
            mine = pt.open_collection(f"{tmp_path}/c")
            for day in range(3):
                ds = along_track("2022-01-01", 60, step=24)
                ds = ds.assign_coords(time=ds.time + np.timedelta64(hour * 60 + day * 7 + 1, "m"))
                mine.insert(ds, merge="upsert")
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=insert, args=(hour,)) for hour in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert c.read().time.size == 8 + 4 * 3 * 60
    assert c.verify(data=True) == []


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "partita", *arguments], capture_output=True, text=True, check=False
    )


def test_the_command_line_knows_collections(tmp_path: Path) -> None:
    pytest.importorskip("scipy", reason="NetCDF needs a library that reads it")
    for month in (1, 2):
        ds = along_track(f"2022-0{month}-01", 20).drop_vars("lut")
        ds.ssh.encoding.clear()
        ds.to_netcdf(f"{tmp_path}/{month}.nc")
    url = f"{tmp_path}/c"
    made = run("import", url, f"{tmp_path}/*.nc", "--partition-by", "month")
    assert made.returncode == 0, made.stderr
    assert "collection" in run("info", url).stdout
    assert "year=2022/month=02" in run("partitions", url).stdout
    assert "ssh" in run("schema", url).stdout
    assert "insert" in run("history", url).stdout
    assert run("verify", url, "--data").stdout == "nothing is wrong\n"
    assert run("gc", url, "--grace", "0s").returncode == 0
    read = run("read", url, "-o", f"{tmp_path}/out.nc", "--where", "time < '2022-01-03'")
    assert read.returncode == 0, read.stderr
    assert xr.open_dataset(f"{tmp_path}/out.nc").sizes["time"] == 8
    copied = run("copy", url, f"{tmp_path}/copy", "--zarr", "3")
    assert copied.returncode == 0, copied.stderr
    assert pt.open_collection(f"{tmp_path}/copy").read().time.size == 160
    assert run("delete", url, "--where", "month == 1", "--yes").stdout == "removed 1 partition\n"
    nothing = run("info", f"{tmp_path}/nothing")
    assert nothing.returncode == 3 and "neither a table nor a collection" in nothing.stderr
    shown = run("read", url)
    assert shown.returncode == 1 and "--output rows.nc" in shown.stderr
    assert run("import", f"{tmp_path}/new", f"{tmp_path}/1.nc").returncode == 1
