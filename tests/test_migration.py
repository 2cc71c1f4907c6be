"""Copies and migrations of collections: other formats, chunks and codecs, and kills in between."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import partita as pt
from collection_data import create, every_type, read, same_values

DAYS = 1500


def daily(url, days: int = DAYS, **options) -> pt.Collection:
    """Three rows a day, in one partition per day."""
    time_axis = np.datetime64("2000-01-01", "s") + np.arange(days * 3) * np.timedelta64(8, "h")
    data = xr.Dataset(
        {
            "v": (("time", "x"), np.arange(days * 6.0).reshape(-1, 2), {"units": "m"}),
            "name": ("time", np.array([f"row {i}" for i in range(days * 3)], dtype=object)),
            "angle": ("x", [1.0, 2.0]),
        },
        {"time": time_axis},
        {"title": "daily"},
    )
    by = pt.Date("time", "day")
    return pt.create_collection(url, data, axis="time", partition_by=by, **options)


def partita(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "partita", *arguments]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(partita(*arguments), capture_output=True, text=True, check=False)


def test_a_migration_killed_ten_times_is_exact(tmp_path):
    source = daily(tmp_path / "old")
    target = tmp_path / "new"
    moment = random.Random(4)
    kills = 0
    for _ in range(200):
        command = partita("migrate", source.url, str(target), "--zarr", "3", "--chunk", "time=2")
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            process.wait(moment.uniform(0.05, 0.6) if kills < 10 else 120)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            kills += 1
        if not (target / "_zcollection.json").exists():
            assert [found.name for found in pt.ls(tmp_path)] == ["old"]
            continue
        break
    assert kills >= 1, "it was done before it could be killed"
    new = pt.open_collection(target)
    assert new.zarr_format == 3
    xr.testing.assert_identical(new.read(), source.read())
    assert new.verify(data=True) == []
    assert not (target / ".partita" / "copy").exists()


@pytest.mark.parametrize("there", [2, 3])
def test_every_type_there_and_back(tmp_path, there):
    arrays = every_type()
    first = create(tmp_path / "a", arrays, "time", pt.Date("time", "month"), zarr_format=there)
    second = pt.migrate(first.url, tmp_path / "b", zarr_format=5 - there)
    third = pt.migrate(second.url, tmp_path / "c", zarr_format=there)
    for other in (second, third):
        same_values(read(other), read(first))
        assert other.verify(data=True) == []


def test_other_chunks_and_codecs(tmp_path):
    source = daily(tmp_path / "old", 40)
    encoding = {"*": {"compressor": {"id": "zstd", "level": 9}}, "v": {"compressor": None}}
    seen = []
    new = pt.migrate(
        source.url,
        tmp_path / "new",
        where="month == 1",
        chunks={"time": 2, "x": 1},
        encoding=encoding,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen[-1] == (31, 31)
    xr.testing.assert_identical(
        new.read().drop_encoding(), source.read("month == 1").drop_encoding()
    )
    day = tmp_path / "new" / "year=2000" / "month=01" / "day=01"
    v = json.loads((day / "v" / ".zarray").read_text())
    assert (v["chunks"], v["compressor"]) == ([2, 1], None)
    name = json.loads((day / "name" / ".zarray").read_text())
    assert name["compressor"]["level"] == 9
    new.insert(source.read("month == 2"))
    assert new.read().sizes["time"] == 120


def test_writers_may_go_on(tmp_path):
    source = daily(tmp_path / "old", 300)
    done = []

    def meddle(count: int, total: int | None) -> None:
        if count and not done:
            done.append(True)
            rows = source.read("day == 1 and month < 4")
            pt.open(source.url).insert(rows.assign(v=rows.v + 1))
            pt.open(source.url).drop_partitions("month == 10")

    new = source.copy(tmp_path / "new", zarr_format=3, verify=True, progress=meddle)
    xr.testing.assert_identical(new.read(), source.read())
    assert len(new.partitions) == 274


def test_what_is_refused(tmp_path):
    source = daily(tmp_path / "old", 3)
    with pytest.raises(pt.InvalidArgument, match="no dimension"):
        pt.migrate(source.url, tmp_path / "new", chunks={"y": 3})
    with pytest.raises(pt.InvalidArgument, match="no variable"):
        pt.migrate(source.url, tmp_path / "new", encoding={"w": {}})
    with pytest.raises(pt.AlreadyExists):
        pt.migrate(source.url, source.url, zarr_format=3)
    with pytest.raises(pt.NotFound):
        pt.migrate(tmp_path / "nothing", tmp_path / "new")
    assert [found.name for found in pt.ls(tmp_path)] == ["old"]
    assert not (tmp_path / "new").exists()


def test_the_command(tmp_path):
    daily(tmp_path / "old", 5)
    old, new = str(tmp_path / "old"), str(tmp_path / "new")
    done = run("migrate", old, new, "--zarr", "3", "--compressor", "gzip:4", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == {"url": new, "partitions": 5}
    day = tmp_path / "new" / "year=2000" / "month=01" / "day=01"
    codecs = json.dumps(json.loads((day / "v" / "zarr.json").read_text())["codecs"])
    assert '"gzip"' in codecs and '"level": 4' in codecs
    again = run("migrate", old, new)
    assert again.returncode == 1 and "a collection or a view here already" in again.stderr
    assert run("migrate", old, new, "--chunk", "time").returncode == 2
    pt.create_table(tmp_path / "table", {"a": [1]})
    table = run("migrate", str(tmp_path / "table"), f"{new}2")
    assert table.returncode == 1 and "partita copy" in table.stderr


def test_the_command_takes_views_and_indexes_along(tmp_path):
    old, new = daily(tmp_path / "old", 5), str(tmp_path / "new")
    twice = pt.Variable("twice", old.read().v.dims, "f8", fill_value=0.0)
    view = pt.create_view(tmp_path / "view", old, [twice], where="day > 1")
    view.update(lambda part: {"twice": part.v * 2.0})
    old.build_index("time", tmp_path / "time.parquet")
    command = ["migrate", old.url, new, "--zarr", "3", "--chunk", "time=1"]
    command += ["--view", view.url, f"{new}-view"]
    command += ["--index", str(tmp_path / "time.parquet"), f"{new}-time.parquet"]
    done = run(*command, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == {"url": new, "partitions": 5}
    copied = pt.open(f"{new}-view")
    assert (copied.zarr_format, copied.base.url, copied.where) == (3, new, "day > 1")
    assert copied.read().identical(view.read())
    found = pt.open_index(f"{new}-time.parquet", pt.open(new)).query()
    assert pt.open(new).read(rows=found).identical(old.read())

    # The interrupted migration is completed; then there is nothing left to do.
    shutil.rmtree(f"{new}-view")
    assert run(*command).returncode == 0
    assert pt.open(f"{new}-view").read().identical(view.read())
    again = run(*command)
    assert again.returncode == 1 and "here already" in again.stderr
    assert run("migrate", old.url, f"{new}2", "--view", view.url).returncode == 2
    missing = run("migrate", old.url, f"{new}2", "--view", old.url, f"{new}2-view")
    assert missing.returncode == 3 and "no view here" in missing.stderr
    assert not Path(f"{new}2").exists()
