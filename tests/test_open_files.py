"""Processes that may have few files open."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np

import partita as pt

FEW_FILES = """
import resource, sys
import numpy as np
import partita as pt

resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
root = sys.argv[1]
table = pt.open_table(root + "/t")
assert len(table.read()) == 300_200, "table"
assert table.verify() == [] and table.verify(data=True) == [], "table"
for name in ("large2", "large3"):
    collection = pt.open(root + "/" + name)
    assert collection.verify() == [] and collection.verify(data=True) == [], name
for name in ("c2", "c3", "i"):
    collection = pt.open(("icechunk+" if name == "i" else "") + root + "/" + name)
    assert collection.read().sizes["time"] == 24 * 40, name
    assert collection.verify() == [] and collection.verify(data=True) == [], name
"""


def test_a_check_takes_few_open_files(tmp_path: Path) -> None:
    rows = np.arange(100)
    data: dict[str, object] = {"p": rows, "a": rows, "b": rows * 0.5}
    table = pt.create_table(tmp_path / "t", data, partition_by="p", index=["a"], bloom_filters="b")
    # Of large files ranges are read, several at a time.
    wide = {"p": np.repeat(rows[:3], 100_000), "a": np.arange(300_000)}
    wide["b"] = np.random.default_rng(1).random(300_000)
    table.append(wide, row_group_rows=10_000)
    table.append(data)
    by = pt.Date("time", "day")
    for url, options in (("c2", {"zarr_format": 2}), ("c3", {"zarr_format": 3}), ("i", {})):
        place = ("icechunk+" if url == "i" else "") + str(tmp_path / url)
        hours = np.arange(24 * 40)
        time = (np.datetime64("2022-01-01T00") + hours).astype("M8[us]")
        days = {"time": ("time", time), "v": ("time", hours * 1.0)}
        made = {"axis": "time", "partition_by": by, "chunks": {"time": 2}, **options}
        pt.create_collection(place, days, **made)
    # Files of larger chunks are opened ahead of the threads that decode them.
    seconds = np.arange("2022-01-01", "2022-01-09", dtype="M8[s]")
    many = {"time": ("time", seconds.astype("M8[us]")), "v": ("time", np.arange(seconds.size))}
    for zarr_format in (2, 3):
        pt.create_collection(
            tmp_path / f"large{zarr_format}",
            many,
            axis="time",
            partition_by=by,
            chunks={"time": 5000},
            zarr_format=zarr_format,
        )
    ran = subprocess.run(
        [sys.executable, "-c", FEW_FILES, tmp_path], capture_output=True, text=True, timeout=300
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
