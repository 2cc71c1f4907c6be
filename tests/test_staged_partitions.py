"""Collections that many processes stage for and one commits to, as in job arrays and MPI."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import partita as pt

JOB = """
import pickle, sys
import numpy as np
import partita as pt

url, number, folder = sys.argv[1], int(sys.argv[2]), sys.argv[3]
c = pt.open_collection(url)
time = np.datetime64("2022-01-01", "us") + (np.arange(40) + 40 * number) * np.timedelta64(1, "D")
rows = {"time": ("time", time), "v": ("time", np.full(40, float(number)))}
rows = c.stage(rows, shared=False)
with open(f"{folder}/{number}", "wb") as file:
    pickle.dump(rows, file)
"""


def days(first: int, count: int, value: float = 0.0) -> xr.Dataset:
    time = np.datetime64("2022-01-01", "us") + (np.arange(count) + first) * np.timedelta64(1, "D")
    return xr.Dataset({"v": ("time", np.full(count, value))}, {"time": time})


@pytest.fixture(params=[2, 3, "icechunk"])
def c(request: pytest.FixtureRequest, tmp_path: Path) -> pt.Collection:
    place: Any = tmp_path / "c"
    if request.param == "icechunk":
        place = f"icechunk+{place}"
    zarr_format = None if request.param == "icechunk" else request.param
    by = pt.Date("time", "day")
    return pt.create_collection(
        place, days(0, 1), axis="time", partition_by=by, insert=False, zarr_format=zarr_format
    )


def test_jobs_stage_and_one_commits(c: pt.Collection, tmp_path: Path) -> None:
    jobs = [
        subprocess.Popen([sys.executable, "-c", JOB, c.url, str(number), str(tmp_path)])
        for number in range(3)
    ]
    assert [job.wait() for job in jobs] == [0, 0, 0]
    assert c.partitions == []
    staged = [pickle.loads((tmp_path / str(number)).read_bytes()) for number in range(3)]
    before = len(c.history())
    c.commit(staged, key="all of them")
    assert len(c.history()) == before + 1
    found = c.read()
    assert found.v.values.tolist() == [0.0] * 40 + [1.0] * 40 + [2.0] * 40
    assert np.unique(np.diff(found.time)) == np.timedelta64(1, "D")
    # A commit with a lost answer is repeated.
    c.commit(staged, key="all of them")
    assert len(c.history()) == before + 1 and c.verify(data=True) == []


def test_what_was_changed_since_is_staged_again(c: pt.Collection) -> None:
    c.insert(days(0, 3))
    staged = c.stage(days(1, 2, 5.0), merge="upsert")
    c.insert(days(2, 1, 7.0), merge="upsert")
    with pytest.raises(pt.CommitConflict) as refused:
        c.commit(staged)
    assert "day=03" in refused.value.context["partition"]
    assert c.read().v.values.tolist() == [0, 0, 7]
    c.discard(staged)
    c.commit(c.stage(days(1, 2, 5.0), merge="upsert"))
    assert c.read().v.values.tolist() == [0, 5, 5]


def test_a_partition_is_staged_in_one_place(c: pt.Collection) -> None:
    one, two = c.stage(days(0, 2, 1.0)), c.stage(days(1, 2, 2.0))
    with pytest.raises(pt.InvalidArgument, match="twice") as refused:
        c.commit([one, two])
    assert "day=02" in refused.value.context["partition"]
    assert c.partitions == []
    c.commit([one, one])
    assert c.read().v.values.tolist() == [1, 1]


def test_updates_are_staged_too(c: pt.Collection) -> None:
    c.insert(days(0, 4, 1.0))
    staged = [
        c.stage_update(lambda part: {"v": part.v + 1}, f"day in ({day}, {day + 1})")
        for day in (1, 3)
    ]
    sent = [pt.StagedPartitions.from_bytes(one.to_bytes()) for one in staged]
    c.commit(sent, operation="update")
    assert c.read().v.values.tolist() == [2.0] * 4
    assert c.history()[0].operation == "update"


def test_what_is_no_staged_partition_is_refused(c: pt.Collection, tmp_path: Path) -> None:
    other = pt.create_collection(
        tmp_path / "other", days(0, 1), axis="time", partition_by=pt.Date("time", "day")
    )
    for wrong in (other.stage(days(0, 1)), [b"x"], [None]):
        with pytest.raises(pt.InvalidArgument):
            c.commit(wrong)
    with pytest.raises(pt.InvalidArgument):
        pt.StagedPartitions.from_bytes(b"[1, 2]")


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        b"{}",
        b"[]",
        b"[" * 100_000,
        b"\xff\xfe",
        b'["memory://x/c", ["p=1"], Infinity, ["{}"]]',
        b'["memory://x/c", ["p=1"], NaN, ["{}"]]',
        b'["memory://x/c", [1], 5, ["{}"]]',
        b'[7, ["p=1"], 5, ["{}"]]',
        b'["memory://x/c", ["p=1", "p=2"], 5, ["{}"]]',
        b'["memory://x/c", ["p=1"], 5, [1]]',
    ],
)
def test_damaged_bytes_are_nothing_that_was_staged(damaged):
    with pytest.raises(pt.InvalidArgument, match="nothing that Collection.stage gave"):
        pt.StagedPartitions.from_bytes(damaged)


@pytest.mark.parametrize("path", ["", ".partita/log", "..", "cycle=1/../../other", "/etc"])
def test_a_change_of_another_place_is_refused(memory, path):
    rows = {"cycle": ("n", [1, 2])}
    by = pt.Sequence(["cycle"])
    c = pt.create_collection(f"{memory}/c", rows, axis="cycle", partition_by=by)
    url, paths, size, forms = json.loads(c.stage(rows).to_bytes())
    change = json.loads(forms[0])
    text = json.dumps(change).replace(json.dumps(paths[0]), json.dumps(path))
    assert text != json.dumps(change)
    staged = pt.StagedPartitions.from_bytes(json.dumps([url, [path], size, [text]]).encode())
    for use in (c.commit, c.discard):
        with pytest.raises(pt.PartitaError) as raised:
            use(staged)
        assert raised.value.kind in ("Corrupt", "InvalidArgument")
    assert c.read().sizes["n"] == 2
    assert len(c.history()) == 1
