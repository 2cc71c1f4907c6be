"""Partita and ZCollection on the same collections: what one writes, the other reads and changes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import partita as pt
from collection_data import (
    FILTERS,
    LOSSY,
    create,
    every_compressor,
    every_filter,
    every_type,
    read,
    same_arrays,
    same_values,
    texts,
)
from zcollection_peer import Arrays, Variable

MONTHLY = {"id": "Date", "variables": ["time"], "resolution": "M"}


def both(tmp_path, zcollection, arrays: Arrays) -> dict[str, pt.Collection]:
    """The same arrays by month, as Partita stores them and as ZCollection does."""
    create(tmp_path / "ours", arrays, "time", pt.Date("time", "month"))
    zcollection.create(tmp_path / "theirs", "time", MONTHLY, arrays)
    zcollection.insert(tmp_path / "theirs", arrays)
    return {name: pt.open_collection(tmp_path / name) for name in ("ours", "theirs")}


def all_read_alike(zcollection, collections: dict[str, pt.Collection]) -> Arrays:
    """Asserts that both read both collections alike, and returns what they read."""
    first = zcollection.load(collections["theirs"].url)
    for collection in collections.values():
        same_arrays(zcollection.load(collection.url), first)
        same_arrays(read(collection), first)
        assert zcollection.unreadable(collection.url) == []
        assert collection.verify(data=True) == []
    # Also compared where NaN, which does not equal itself, is among the attributes.
    ours, theirs = (documents(Path(collection.url)) for collection in collections.values())
    assert {name: repr(document) for name, document in ours.items()} == {
        name: repr(document) for name, document in theirs.items()
    }
    return first


def documents(root: Path) -> dict[str, Any]:
    """Every file of a collection: JSON documents as such, others as None; without what Partita
    adds."""
    found: dict[str, Any] = {}
    for path in root.rglob("*"):
        name = path.relative_to(root).as_posix()
        if path.is_file() and not name.startswith(".partita/"):
            is_text = path.name.startswith(".z")
            found[name] = json.loads(path.read_text()) if is_text else None
    found[".zcollection"].pop("partita", None)
    return found


class TestKinds:
    def test_every_type(self, tmp_path, zcollection):
        arrays = every_type()
        same_values(all_read_alike(zcollection, both(tmp_path, zcollection, arrays)), arrays)

    def test_every_compressor(self, tmp_path, zcollection):
        arrays = every_compressor()
        same_values(all_read_alike(zcollection, both(tmp_path, zcollection, arrays)), arrays)

    def test_every_filter(self, tmp_path, zcollection):
        arrays = every_filter()
        found = all_read_alike(zcollection, both(tmp_path, zcollection, arrays))
        same_values(found, arrays, dict.fromkeys(set(FILTERS) - LOSSY))
        for name in ("ours", "theirs"):
            same_values(zcollection.load(tmp_path / name, delayed=True), found)

    def test_texts(self, tmp_path, zcollection):
        arrays = texts()
        ours = create(tmp_path / "ours", arrays, "time", pt.Date("time", "month"))
        same_values(zcollection.load(ours.url), arrays)
        same_values(read(ours), arrays)


def moments(unit: str) -> Arrays:
    """Seven moments, in partitions of three, one and three, and in each several chunks."""
    start = np.datetime64("1999-12-31T23:59:58").astype(f"M8[{unit}]").astype("M8[s]")
    after = (start.astype(f"M8[{unit}]") + [1, 2, 3]).astype("M8[s]")
    time = np.concatenate([[start] * 3, after[:1], [after[2]] * 3]).astype("M8[us]")
    return Arrays(
        {
            "time": Variable(("time",), time + np.arange(7).astype("m8[us]")),
            "value": Variable(("time",), np.arange(7, dtype="f4")),
            "lut": Variable(("x",), np.array([1, 2], "i2")),
        },
        chunks={"time": 2},
    )


def counted(keys: list[tuple[int, ...]], dtype: str) -> Arrays:
    """Rows with these keys in variables `k0`, `k1`, …; the axis is another variable."""
    columns = np.array(keys, dtype).T
    variables = {f"k{number}": Variable(("row",), column) for number, column in enumerate(columns)}
    rows = np.arange(len(keys) * 2, dtype="i8").reshape(-1, 2)
    return Arrays(
        {"n": Variable(("row",), rows[:, 0]), "v": Variable(("row", "x"), rows)} | variables
    )


class TestPartitionings:
    def check(self, tmp_path, zcollection, arrays: Arrays, axis: str, ours, theirs) -> list[str]:
        first = create(tmp_path / "ours", arrays, axis, ours)
        zcollection.create(tmp_path / "theirs", axis, theirs, arrays)
        zcollection.insert(tmp_path / "theirs", arrays)
        second = pt.open_collection(tmp_path / "theirs")
        assert second.partition_by == ours
        same_values(all_read_alike(zcollection, {"ours": first, "theirs": second}), arrays)
        paths = zcollection.partitions(tmp_path / "theirs")
        assert zcollection.partitions(tmp_path / "ours") == paths
        assert [partition.path for partition in first.partitions] == paths
        assert [partition.path for partition in second.partitions] == paths
        return paths

    @pytest.mark.parametrize("unit", "YMDhms")
    def test_dates(self, tmp_path, zcollection, unit):
        names = dict(
            zip("YMDhms", ["year", "month", "day", "hour", "minute", "second"], strict=True)
        )
        theirs = {"id": "Date", "variables": ["time"], "resolution": unit}
        ours = pt.Date("time", names[unit])
        arrays = moments(unit)
        paths = self.check(tmp_path, zcollection, arrays, "time", ours, theirs)
        assert len(paths) == 3
        for field in ours.fields:
            for operator in ("==", ">", "!="):
                where = f"{field} {operator} 12"
                found = zcollection.load(tmp_path / "ours", filters=where)
                assert (found is None) == (
                    read(pt.open_collection(tmp_path / "ours"), where) is None
                )
                if found is not None:
                    same_values(read(pt.open_collection(tmp_path / "theirs"), where), found)

    @pytest.mark.parametrize("dtype", ["i1", "i2", "i4", "i8"])
    def test_sequences(self, tmp_path, zcollection, dtype):
        keys = [(-12,), (-1,), (-1,), (0,), (2,), (10,), (10,), (np.iinfo(dtype).max,)]
        theirs = {"id": "Sequence", "variables": ["k0"]}
        arrays = counted(keys, dtype)
        paths = self.check(tmp_path, zcollection, arrays, "n", pt.Sequence(["k0"]), theirs)
        assert paths[:4] == ["k0=-12", "k0=-1", "k0=0", "k0=2"]

    @pytest.mark.parametrize("dtype", ["u1", "u8"])
    def test_sequences_of_two(self, tmp_path, zcollection, dtype):
        keys = [(1, 2), (1, 10), (1, 10), (9, 1), (10, 0), (200, 255)]
        theirs = {"id": "Sequence", "variables": ["k0", "k1"]}
        arrays = counted(keys, dtype)
        paths = self.check(tmp_path, zcollection, arrays, "n", pt.Sequence(["k0", "k1"]), theirs)
        assert paths == ["k0=1/k1=2", "k0=1/k1=10", "k0=9/k1=1", "k0=10/k1=0", "k0=200/k1=255"]
