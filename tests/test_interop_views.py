"""Partita and ZCollection on the same views."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import zarr

import partita as pt
from collection_data import create, documents
from zcollection_peer import Arrays, Variable

GOLDEN = Path(__file__).parent / "golden" / "zcollection"
LEVEL = pt.Variable("level", ("time", "x"), "f8", fill_value=-1.0, attributes={"units": "m"})


def months(count: int, value: float = 1.0, skip: int = 0) -> Arrays:
    """Days of 2022, a number of months from the first of January."""
    time = np.arange("2022-01-01", f"2022-{count + 1:02}-01", dtype="M8[D]").astype("M8[us]")[skip:]
    ssh = np.arange(time.size * 3, dtype="f8").reshape(-1, 3) * value
    return Arrays(
        {"time": Variable(("time",), time), "ssh": Variable(("time", "x"), ssh)},
        chunks={"time": 20},
    )


@pytest.fixture
def base(tmp_path) -> pt.Collection:
    return create(tmp_path / "ssh", months(3), "time", pt.Date("time", "month"))


def described(view: Path) -> dict[str, Any]:
    """The files of a view, without Partita's additions and parts that may differ."""
    found = documents(view, is_json=lambda path: path.name in (".view", ".zattrs", ".zarray"))
    found[".view"].pop("partita", None)
    found[".view"].pop("base_dir")
    # The name that newer releases of fsspec give to a class.
    base = found[".view"]["view_ref"]["fs"]
    base["cls"] = base["cls"].replace(":", ".")
    for name, document in found.items():
        # Other chunk sizes are equally valid.
        if name.endswith(".zarray"):
            document.pop("chunks")
    return found


@pytest.mark.parametrize("where", [None, "month in (1, 2)"])
def test_a_view_is_stored_as_zcollection_stores_it(tmp_path, zcollection, base, where):
    ours = pt.create_view(tmp_path / "ours", base, [LEVEL], where=where)
    empty = np.empty((0, 3))
    blosc = {"id": "blosc", "cname": "zstd", "clevel": 3, "shuffle": 1}
    level = Variable(("time", "x"), empty, -1.0, blosc, attributes={"units": "m"})
    zcollection.create_view(tmp_path / "theirs", base.url, Arrays({"level": level}), where)
    theirs = pt.open_view(tmp_path / "theirs")
    assert theirs.where == ours.where == where
    assert zcollection.view_filters(ours.url) == where

    for view in (ours, theirs):
        view.update(lambda ds: {"level": ds.ssh.values * 2})
        assert view.is_synced()
        assert zcollection.is_synced(view.url) is (where is None)
        found = zcollection.load_view(view.url).variables["level"]
        assert found.attributes == {"units": "m"}
        np.testing.assert_array_equal(found.data, view.read().level.values)
        zcollection.update_view(view.url, "level", "ssh", 3.0)
        np.testing.assert_array_equal(view.read().level.values, view.read().ssh.values * 3)
        assert view.verify(data=True) == []
    assert described(tmp_path / "ours") == described(tmp_path / "theirs")


def test_both_agree_on_what_is_synced(tmp_path, zcollection, base):
    view = pt.create_view(tmp_path / "view", base, [LEVEL])
    view.update(lambda ds: {"level": ds.ssh.values})
    before = view.read("month != 2")

    # Partita follows the changes of ZCollection to the base: earlier rows, and one more month.
    zcollection.insert(base.url, months(4, value=5.0, skip=10))
    assert zcollection.is_synced(view.url) is False
    assert not view.is_synced()
    with pytest.raises(pt.OutOfSync, match="sync") as raised:
        view.read()
    assert raised.value.context["partition"] == "year=2022/month=01"
    written = view.sync()
    assert [place.path for place in written] == ["year=2022/month=01", "year=2022/month=04"]
    assert view.is_synced()
    assert zcollection.is_synced(view.url) is True
    after = view.read("month < 4")
    kept = before.level.sel(time=after.time[np.isin(after.time, before.time)])
    np.testing.assert_array_equal(after.level.sel(time=kept.time), kept)
    assert (view.read("month == 4").level == -1).all()
    np.testing.assert_array_equal(
        zcollection.load_view(view.url).variables["level"].data, view.read().level
    )

    # And vice versa.
    extra = months(5, value=7.0)
    base.insert({name: (one.dimensions, one.data) for name, one in extra.variables.items()})
    assert not view.is_synced()
    zcollection.sync_view(view.url)
    assert zcollection.is_synced(view.url) is True
    assert view.is_synced()
    assert len(view.partitions) == 5
    assert view.verify(data=True) == []
    view.update(lambda ds: {"level": ds.ssh.values}, "month == 5")
    np.testing.assert_array_equal(view.read("month == 5").level, view.read("month == 5").ssh)


def test_variables_of_both_are_seen_by_both(tmp_path, zcollection, base):
    view = pt.create_view(tmp_path / "view", base)
    view.add_variable("flag", ["time"], "i2", fill_value=-1)
    view.add_variable("level", ["time", "x"], "f4", fill_value=np.nan)
    view.update(lambda ds: {"flag": np.arange(ds.sizes["time"])})
    found = zcollection.load_view(view.url).variables
    assert set(found) == {"time", "ssh", "flag", "level"}
    np.testing.assert_array_equal(found["flag"].data, view.read().flag)
    assert np.isnan(found["level"].data).all()
    view.drop_variable("flag")
    assert set(zcollection.load_view(view.url).variables) == {"time", "ssh", "level"}


def test_the_golden_view_is_read_alike(tmp_path, zcollection):
    for name in ("date", "view"):
        shutil.copytree(GOLDEN / f"v1-{name}", tmp_path / name)
    document = tmp_path / "view" / ".view"
    moved = document.read_text().replace("/data/golden/v1", str(tmp_path))
    with pytest.raises(pt.NotFound, match="base"):
        pt.open_view(GOLDEN / "v1-view")
    # If both were moved together, the base is found.
    ours = pt.open(tmp_path / "view").read()
    document.write_text(moved)
    theirs = zcollection.load_view(tmp_path / "view")
    assert set(theirs.variables) <= set(ours.variables)
    for name, variable in theirs.variables.items():
        np.testing.assert_array_equal(ours[name].values, variable.data)
    assert ours.v2.dtype == "f4"


def test_the_golden_view_of_the_development_head_is_read(tmp_path):
    for name in ("date", "view"):
        shutil.copytree(GOLDEN / f"v3-{name}", tmp_path / name)
    january = "year=2022/month=01"
    below = pt.open(tmp_path / "date")
    ours = pt.open_view(tmp_path / "view", base=below).read()
    stored = zarr.open_group(tmp_path / "view" / january, mode="r")
    np.testing.assert_array_equal(ours.v2.values, stored["v2"][:])
    # The base has groups, so both are trees.
    ours.dataset = ours.to_dataset().drop_vars("v2")
    xr.testing.assert_identical(ours, below.read("month == 1"))


def test_nothing_is_unpickled(tmp_path, base):
    view = pt.create_view(tmp_path / "view", base)
    document = Path(view.url) / ".view"
    stored = json.loads(document.read_text())
    stored["filters"] = "gASVHQAAAAAAAACMBXBvc2l4lIwGc3lzdGVtlJOUjAJsc5SFlFKULg=="
    document.write_text(json.dumps(stored))
    with pytest.raises(pt.InvalidArgument, match="unpickled"):
        pt.open(view.url)
