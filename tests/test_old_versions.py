"""Versions of before the second format refuse datasets of it, and change nothing."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import partita as pt

BEFORE = os.environ.get("PARTITA_BEFORE")
pytestmark = pytest.mark.skipif(
    BEFORE is None,
    reason="PARTITA_BEFORE names the Python of an environment with an older version; `make soak` "
    "builds one",
)


def contents(directory: Path) -> dict[str, bytes]:
    """Every file but locks, which are taken before anything is read."""
    files = (path for path in directory.rglob("*") if path.is_file())
    return {str(path): path.read_bytes() for path in files if path.suffix != ".lock"}


def make_table(url: Path) -> None:
    table = pt.create_table(url, {"id": [1, 2], "city": ["Oslo", "Rome"]}, partition_by="city")
    table.append({"id": [3], "city": ["Lima"]})


def make_collection(url: Path) -> None:
    rows = {"time": ("time", np.arange(4)), "v": ("time", np.arange(4.0))}
    by = pt.GroupedSequence(["time"], size=2)
    collection = pt.create_collection(url, rows, axis="time", partition_by=by, zarr_format=3)
    collection.insert(rows, merge="upsert")


# What that version says: it knows no list of required features of tables, and fails at the type
# of a column that is there for it.
REFUSAL = {"table": "needs a later release of partita", "collection": "Corrupt"}

MADE: dict[str, Callable[[Path], None]] = {"table": make_table, "collection": make_collection}
DONE = {
    "open": "d.read()",
    "write": "d.append({'id': [4], 'city': ['Oslo']}) if hasattr(d, 'append') else "
    "d.insert({'time': ('time', [9]), 'v': ('time', [1.0])})",
    "collect": "d.collect_garbage(grace=dt.timedelta(0))",
}


@pytest.mark.parametrize("done", DONE)
@pytest.mark.parametrize("kind", MADE)
def test_an_older_version_refuses_and_changes_nothing(kind, done, tmp_path):
    MADE[kind](tmp_path / "d")
    before = contents(tmp_path)
    program = (
        f"import datetime as dt, partita as pt\nd = pt.open({str(tmp_path / 'd')!r})\n{DONE[done]}"
    )
    ended = subprocess.run([BEFORE, "-c", program], capture_output=True, text=True, timeout=120)
    assert ended.returncode != 0
    assert REFUSAL[kind] in ended.stderr, ended.stderr
    assert contents(tmp_path) == before


def test_datasets_of_an_older_version_go_on(tmp_path):
    program = (
        "import numpy as np, partita as pt\n"
        f"pt.create_table({str(tmp_path / 't')!r}, {{'id': [1], 'city': ['Oslo']}},"
        " partition_by='city').append({'id': [2], 'city': ['Rome']})\n"
        "rows = {'time': ('time', np.arange(4)), 'v': ('time', np.arange(4.0))}\n"
        f"pt.create_collection({str(tmp_path / 'c')!r}, rows, axis='time',"
        " partition_by=pt.GroupedSequence(['time'], size=2)).insert(rows, merge='upsert')\n"
    )
    subprocess.run([BEFORE, "-c", program], check=True, timeout=120)
    table, collection = pt.open(tmp_path / "t"), pt.open(tmp_path / "c")
    table.append({"id": [3], "city": ["Oslo"]})
    assert table.read()["id"].tolist() == [1, 3, 2]
    assert [commit.version for commit in table.history()] == [3, 2, 1]
    collection.update(lambda ds: {"v": ds.v + 1})
    assert collection.read().v.values.tolist() == [1.0, 2.0, 3.0, 4.0]
    assert table.verify(data=True) == [] and collection.verify(data=True) == []
