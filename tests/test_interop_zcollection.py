"""Partita and ZCollection on the same collections: each reads and changes the data of the other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

import partita as pt
from collection_data import (
    FILTERS,
    LOSSY,
    create,
    documents,
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
    """The same arrays by month, stored by Partita and by ZCollection."""
    create(tmp_path / "ours", arrays, "time", pt.Date("time", "month"))
    zcollection.create(tmp_path / "theirs", "time", MONTHLY, arrays)
    zcollection.insert(tmp_path / "theirs", arrays)
    return {name: pt.open_collection(tmp_path / name) for name in ("ours", "theirs")}


def all_read_alike(zcollection, collections: dict[str, pt.Collection]) -> Arrays:
    """Asserts that both libraries read both collections with the same result, and returns it."""
    first = zcollection.load(collections["theirs"].url)
    for collection in collections.values():
        same_arrays(zcollection.load(collection.url), first)
        same_arrays(read(collection), first)
        assert zcollection.unreadable(collection.url) == []
        assert collection.verify(data=True) == []
    # A comparison that also works with NaN, which does not equal itself, among the attributes.
    ours, theirs = (described(Path(collection.url)) for collection in collections.values())
    assert {name: repr(document) for name, document in ours.items()} == {
        name: repr(document) for name, document in theirs.items()
    }
    return first


def described(root: Path) -> dict[str, Any]:
    """The files of a collection, without Partita's additions."""
    found = documents(root, is_json=lambda path: path.name.startswith(".z"))
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
    """Seven moments, in partitions of three, one and three, each with several chunks."""
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


class TestIndexes:
    COLUMNS = [{"cycle": 1}, {"cycle": [0, 2], "month": 2}, {"cycle": 99}, {}]

    @pytest.fixture
    def collections(self, tmp_path, zcollection) -> pt.Collection:
        time = np.arange("2022-01-20", "2022-03-05", dtype="M8[6h]").astype("M8[us]")
        arrays = Arrays(
            {
                "time": Variable(("time",), time),
                "cycle": Variable(("time",), (np.arange(time.size) // 17 % 4).astype("u2")),
                "v": Variable(("time",), np.arange(time.size, dtype="f8")),
            },
            chunks={"time": 20},
        )
        return create(tmp_path / "c", arrays, "time", pt.Date("time", "month"))

    @staticmethod
    def found(index: pt.Index, columns: dict[str, Any], **options: Any) -> list[list[Any]]:
        return [
            [partition.key, run.start, run.stop]
            for partition, runs in index.query(columns or None, **options).slices
            for run in runs
        ]

    def test_partitas_are_zcollections(self, zcollection, collections, tmp_path):
        for url in ("cycle.parquet", tmp_path / "elsewhere.parquet"):
            index = collections.build_index("cycle", url)
            assert zcollection.partitions(collections.url) == [
                partition.path for partition in collections.partitions
            ]
            for columns in self.COLUMNS:
                assert zcollection.query_index(index.url, columns) == self.found(index, columns)
            loaded = zcollection.load_indexed(collections.url, index.url, {"cycle": 1})
            np.testing.assert_array_equal(
                loaded.variables["v"].data, index.read("cycle == 1").v.values
            )

    def test_zcollections_are_partitas(self, zcollection, collections, tmp_path):
        file = tmp_path / "theirs.parquet"
        zcollection.build_index(collections.url, file)
        ours = collections.build_index("cycle", tmp_path / "ours.parquet")
        theirs = pt.open_index(file, collections)
        assert ours.to_arrow().equals(theirs.to_arrow())
        assert ours.to_arrow().schema.equals(theirs.to_arrow().schema)
        for columns in self.COLUMNS:
            found = self.found(theirs, columns, stale="allow")
            assert found == zcollection.query_index(file, columns) == self.found(ours, columns)
        with pytest.raises(pt.StaleIndex):
            theirs.query("cycle == 1")

    def test_both_keep_one_file(self, zcollection, collections, tmp_path):
        file = tmp_path / "both.parquet"
        zcollection.build_index(collections.url, file)

        def runs(part: Any) -> dict[str, Any]:
            cycle = part.cycle.values
            starts = np.r_[0, np.flatnonzero(np.diff(cycle)) + 1]
            return {"start": starts, "stop": np.r_[starts[1:], cycle.size], "cycle": cycle[starts]}

        theirs = pt.open_index(file, collections, function=runs)
        collections.drop_partitions("month == 1")
        assert theirs.query("cycle >= 0").rows == collections.read().sizes["time"]
        theirs.refresh()
        fresh = collections.build_index("cycle", tmp_path / "fresh.parquet")
        assert theirs.to_arrow().equals(fresh.to_arrow())
        assert b"made by" in pq.read_schema(file).metadata
        # ZCollection does not record a commit, so the refresh has to include all partitions.
        zcollection.build_index(collections.url, file)
        assert pt.open_index(file, collections).commit is None
        assert pt.open_index(file, collections, function=runs).refresh(all=True) == 2
        assert zcollection.query_index(file, {"cycle": 1}) == self.found(fresh, {"cycle": 1})
