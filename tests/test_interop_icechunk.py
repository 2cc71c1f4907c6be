"""The Python package icechunk opens repositories of Partita, and vice versa.

ZCollection's own development head cannot be installed here; what it does with a repository is done
by hand, and the document of its collection is one that it wrote.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr

import partita as pt
from s3_server import s3_server

icechunk = pytest.importorskip(
    "icechunk", minversion="2.3", reason="icechunk 2.3 for Python needs Python 3.12"
)

GOLDEN = Path(__file__).parent / "golden" / "zcollection" / "v3-icechunk"


def at(path: Path) -> icechunk.Repository:
    return icechunk.Repository.open(icechunk.local_filesystem_storage(str(path)))


def passes(start: str, days: int, cycle: int) -> xr.Dataset:
    """Ten rows a day, with the variables of the golden collection."""
    time = np.datetime64(start, "us") + np.arange(days * 10) * np.timedelta64(144, "m")
    return xr.Dataset({"time": ("time", time), "cycle": ("time", np.full(days * 10, cycle, "i4"))})


def many(tmp_path: Path, **options) -> tuple[pt.Collection, xr.Dataset]:
    """A collection with several types and nested dimensions, in chunks and shards."""
    days = np.datetime64("2022-01-01") + np.arange(90)
    random = np.random.default_rng(3)
    ds = xr.Dataset(
        {
            "ssh": (("time", "x"), random.normal(size=(90, 5)).astype("f4")),
            "flag": ("time", (np.arange(90) % 3).astype("i1")),
            "label": ("time", np.array([f"day {n}" for n in range(90)], "U6")),
            "angle": ("x", np.linspace(0, 1, 5)),
        },
        {"time": days.astype("M8[us]")},
        {"title": "sea"},
    )
    ssh = pt.create_collection(
        f"icechunk+{tmp_path / 'ssh'}",
        ds,
        axis="time",
        partition_by=pt.Date("time", "month"),
        chunks={"time": 7},
        **options,
    )
    return ssh, ds


def check_same(store: icechunk.IcechunkStore, ds: xr.Dataset) -> None:
    """Checks that each partition read by zarr and xarray has the rows of its month."""
    for month in np.unique(ds.time.dt.month):
        group = f"year=2022/month={month:02d}"
        found = xr.open_zarr(store, group=group, consolidated=False, decode_cf=False)
        own = ds.isel(time=ds.time.dt.month == month)
        for name in found.variables:
            np.testing.assert_array_equal(found[name].values, own[name].values, err_msg=name)
            assert found[name].dims == own[name].dims
        assert {"time", "ssh", "flag", "label"} <= set(found.variables)
    angle = zarr.open_array(store, path="_immutable/angle", mode="r")
    np.testing.assert_array_equal(angle[:], ds.angle.values)


def test_icechunk_reads_what_partita_wrote(tmp_path):
    ssh, ds = many(tmp_path)
    ssh.create_tag("v1")
    newer = ds.isel(time=slice(20, 45)).assign(flag=("time", np.full(25, 9, "i1")))
    ssh.insert(newer, merge="upsert")
    ssh.create_branch("trial")
    ssh.on_branch("trial").drop_partitions("month < 3")

    repository = at(tmp_path / "ssh")
    merged = ds.copy(deep=True)
    merged.flag[20:45] = 9
    check_same(repository.readonly_session("main").store, merged)
    check_same(repository.readonly_session(tag="v1").store, ds)
    assert repository.list_branches() == {"main", "trial"}
    trial = zarr.open_group(repository.readonly_session("trial").store, mode="r")
    assert list(trial["year=2022"].group_keys()) == ["month=03"]
    log = list(repository.ancestry(branch="main"))
    ours = [commit.id for commit in ssh.history()]
    assert [commit.id for commit in log][:-1] == ours
    assert log[0].message.startswith("insert: year=2022/month=01 and 1 more")
    assert log[0].metadata["partita"]["operation"] == "insert"
    document = zarr.open_group(repository.readonly_session("main").store, mode="r")
    payload = json.loads(document["_zc_meta/_zcollection.json"].attrs["_payload"])
    assert payload["axis"] == "time"


def test_files_lie_where_icechunk_puts_them(tmp_path):
    ssh, _ = many(tmp_path)
    ssh.drop_partitions("month == 1")
    found = {path.name for path in (tmp_path / "ssh").iterdir()}
    assert found == {path.name for path in GOLDEN.iterdir()}


def test_partita_reads_and_continues_what_zcollection_wrote(tmp_path):
    shutil.copytree(GOLDEN, tmp_path / "c")
    theirs = at(tmp_path / "c")
    ours = pt.open_collection(f"icechunk+{tmp_path / 'c'}")
    before = ours.read()
    store = theirs.readonly_session("main").store
    for partition in ours.partitions:
        found = xr.open_zarr(store, group=partition.path, consolidated=False, decode_cf=False)
        own = ours.read(" and ".join(f"{name} == {value}" for name, value in partition.key.items()))
        for name in ("time", "cycle"):
            np.testing.assert_array_equal(own[name].values, found[name].values)
    assert [commit.operation for commit in ours.history()][0] == "zcollection mutation"

    added = passes("2022-03-01", 31, 9)
    ours.insert(added)
    store = theirs.readonly_session("main").store
    found = xr.open_zarr(store, group="year=2022/month=03", consolidated=False, decode_cf=False)
    np.testing.assert_array_equal(found.cycle.values, added.cycle.values)
    listed = zarr.open_group(store, mode="r")["_zc_meta/_catalog__state.json"].attrs["_payload"]
    assert json.loads(listed)["paths"][-1] == "year=2022/month=03"

    # They commit while we have it open.
    session = theirs.writable_session("main")
    cycle = zarr.open_array(session.store, path="year=2022/month=03/cycle", mode="r+")
    cycle[:5] = 77
    session.commit("zcollection mutation")
    ours.insert(passes("2022-03-31", 2, 5), merge="upsert")
    month = ours.read("month == 3")
    assert month.cycle.values[:5].tolist() == [77] * 5
    assert month.cycle.values[-10:].tolist() == [5] * 10
    assert ours.read("month == 4").cycle.values.tolist() == [5] * 10
    xr.testing.assert_identical(ours.at(3).read(), before)
    assert ours.verify(data=True) == []
    operations = [commit.operation for commit in ours.history()]
    assert operations[:3] == ["insert", "zcollection mutation", "insert"]


def test_staging_on_what_others_change_is_done_again(tmp_path):
    """Their commit comes between our read and our commit."""
    shutil.copytree(GOLDEN, tmp_path / "c")
    ours = pt.open_collection(f"icechunk+{tmp_path / 'c'}")
    theirs = at(tmp_path / "c")
    seen = []

    def merge(old: xr.Dataset, new: xr.Dataset) -> xr.Dataset:
        if not seen:
            session = theirs.writable_session("main")
            zarr.open_array(session.store, path="year=2022/month=01/cycle", mode="r+")[0] = 500
            session.commit("meanwhile")
        seen.append(int(old.cycle[0]))
        return xr.concat([old, new], "time")

    ours.insert(passes("2022-01-31", 1, 8), merge=merge)
    assert seen[-1] == 500
    january = ours.read("month == 1").cycle.values
    assert january[0] == 500
    assert january[-10:].tolist() == [8] * 10


def test_commits_of_both_are_in_one_history(tmp_path):
    ssh, ds = many(tmp_path)
    repository = at(tmp_path / "ssh")
    session = repository.writable_session("main")
    zarr.open_group(session.store, path="year=2022/month=02", mode="r+").attrs["note"] = "seen"
    theirs = session.commit("a note")
    ssh.insert(ds.isel(time=slice(0, 31)))
    assert [commit.operation for commit in ssh.history()] == [
        "insert",
        "a note",
        "insert",
        "create",
    ]
    assert [commit.number for commit in ssh.history()] == [4, 3, 2, 1]
    assert ssh.at(theirs).read().sizes["time"] == 90
    repository.create_tag("theirs", snapshot_id=theirs)
    assert ssh.tags() == ["theirs"]
    check_same(repository.readonly_session("main").store, ds)


def test_icechunk_reads_from_s3_what_partita_wrote(tmp_path):
    with s3_server(tmp_path) as options:
        days = np.datetime64("2022-01-01") + np.arange(40)
        data = {"time": ("time", days.astype("M8[us]")), "v": ("time", np.arange(40.0))}
        pt.create_collection(
            "icechunk+s3://test/lake/c",
            data,
            axis="time",
            partition_by=pt.Date("time", "month"),
            storage_options=options,
        )
        storage = icechunk.s3_storage(
            bucket="test",
            prefix="lake/c",
            endpoint_url=options["endpoint_url"],
            access_key_id=options["access_key_id"],
            secret_access_key=options["secret_access_key"],
            region=options["region"],
            allow_http=True,
            force_path_style=True,
        )
        store = icechunk.Repository.open(storage).readonly_session("main").store
        found = zarr.open_array(store, path="year=2022/month=02/v", mode="r")
        assert found[:].tolist() == list(range(31, 40))


@pytest.mark.parametrize("version", [1, 2])
def test_a_repository_that_icechunk_made(tmp_path, version):
    """An empty repository, in either version of the format, and then one of our collections."""
    storage = icechunk.local_filesystem_storage(str(tmp_path / "c"))
    icechunk.Repository.create(storage, spec_version=version)
    days = np.datetime64("2022-01-01") + np.arange(40)
    data = {"time": ("time", days.astype("M8[us]")), "v": ("time", np.arange(40.0))}
    url = f"icechunk+{tmp_path / 'c'}"
    ours = pt.create_collection(url, data, axis="time", partition_by=pt.Date("time", "month"))
    ours.create_tag("v1")
    ours.drop_partitions("month == 1")
    store = at(tmp_path / "c").readonly_session("main").store
    found = zarr.open_array(store, path="year=2022/month=02/v", mode="r")
    assert found[:].tolist() == list(range(31, 40))
    assert ours.at("v1").read().sizes["time"] == 40
    assert ours.verify(data=True) == []
