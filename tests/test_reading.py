"""The ways of reading known from plateau, compared with plateau itself."""

from __future__ import annotations

import datetime as dt
import math
from decimal import Decimal
from typing import Any

import dask
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from plateau.io.dask.dataframe import collect_dataset_metadata
from plateau.io.eager import read_dataset_as_dataframes

import partita as pt
import partita.dask as ptd
from plateau_lake import Lake, same_frame, trips


@pytest.fixture
def lake(tmp_path) -> Lake:
    return Lake(tmp_path / "lake")


@pytest.fixture
def table(lake) -> pt.Table:
    table = lake.create("t", trips(), partition_by=["city", "paid"], index=["rider", "name"])
    table.append(trips(first=60))
    return table


def test_categories_are_the_same_for_all_rows(lake, table):
    frame = table.read(columns=["id", "name", "city"], categoricals=["name", "city"])
    theirs = lake.theirs_read("t", columns=["id", "name", "city"], categoricals=["name", "city"])
    assert set(frame["name"].cat.categories) == set(theirs["name"].cat.categories)
    same_frame(frame.astype(object), theirs.astype(object))
    with pytest.raises(pt.NotFound, match="nothing"):
        table.read(categoricals=["nothing"])


def test_dates_as_objects_or_not(table):
    assert type(table.read(columns=["day"])["day"].iloc[0]).__name__ == "date"
    frame = table.read(columns=["day"], dates_as_object=False)
    assert np.issubdtype(frame["day"].dtype, np.datetime64)


def test_pieces_by_partition_and_by_file(lake, table):
    pieces = list(table.scan(columns=["id", "fare"], where="id >= 10").by_partition())
    assert [key for key, _ in pieces] == [
        partition.key for partition in sorted(table.partitions, key=lambda p: p.path)
    ] or len(pieces) == 6
    whole = pd.concat([scan.to_pandas() for _, scan in pieces])
    same_frame(whole, table.read(columns=["id", "fare"], where="id >= 10"))
    for key, scan in pieces:
        cities = table.read(where={"city": key["city"]})["id"]
        assert set(scan.to_pandas()["id"]) <= set(cities)
    files = list(table.scan().by_file())
    assert len(files) == table.num_files == 12
    theirs = read_dataset_as_dataframes("t", lake.store)
    assert sorted(len(frame) for frame in theirs) == sorted(scan.count() for _, scan in files)
    assert [len(scan.explain().details) > 0 for _, scan in files[:1]] == [True]
    assert files[0][1].explain().details["files_read"] == 1


def test_pieces_by_value_lose_no_row(lake, table):
    pieces = list(table.scan().by_value("rider"))
    assert [key["rider"] for key, _ in pieces] == sorted(set(table.read()["rider"]))
    theirs = read_dataset_as_dataframes("t", lake.store, dispatch_by=["rider"])
    theirs = {frame["rider"].iloc[0]: frame for frame in theirs}
    for key, scan in pieces:
        frame = scan.to_pandas()
        assert set(frame["rider"]) == {key["rider"]}
        assert sorted(frame["id"]) == sorted(theirs[key["rider"]]["id"])
    two = list(table.scan(where="id < 30").by_value(["city", "name"]))
    assert sum(scan.count() for _, scan in two) == 30

    with_nulls = lake.create("n", {"a": [2, None, 2, None, 1], "b": [1, 2, 3, 4, 5]})
    found = [
        (key["a"], scan.to_pandas()["b"].tolist()) for key, scan in with_nulls.scan().by_value("a")
    ]
    assert found == [(1, [5]), (2, [1, 3]), (None, [2, 4])]
    with pytest.raises(pt.InvalidArgument):
        list(table.scan().by_value([]))
    with pytest.raises(pt.NotFound, match="nothing"):
        list(table.scan().by_value("nothing"))


KEYS: dict[str, tuple[pa.DataType, list[Any]]] = {
    "int": (pa.int8(), [1, -2]),
    "large": (pa.uint64(), [2**64 - 1, 2**63]),
    "half": (pa.float16(), [np.float16(0.1), np.float16("nan"), np.float16(-0.0), np.float16(0.0)]),
    "float": (pa.float32(), [0.1, math.nan, -0.0, 0.0, math.inf]),
    "double": (pa.float64(), [0.1, math.nan, -0.0, 0.0]),
    "decimal": (pa.decimal128(10, 2), [Decimal("1.50"), Decimal("-0.25")]),
    "bool": (pa.bool_(), [True, False]),
    "text": (pa.string(), ["", "it's", 'a "b"', "é"]),
    "view": (pa.string_view(), ["", "a"]),
    "bytes": (pa.binary(), [b"", b"\xff"]),
    "category": (pa.dictionary(pa.int8(), pa.string()), ["x", "y"]),
    "date": (pa.date32(), [dt.date(1969, 12, 31), dt.date(2022, 1, 1)]),
    "time": (pa.time64("us"), [dt.time(), dt.time(23, 59, 59, 1)]),
    "seconds": (pa.time32("s"), [dt.time(1, 2, 3)]),
    "moment": (pa.timestamp("ns"), [pd.Timestamp(1, unit="ns"), pd.Timestamp(2, unit="ns")]),
    "zoned": (pa.timestamp("us", "Europe/Oslo"), [dt.datetime(2022, 1, 1, tzinfo=dt.timezone.utc)]),
}


@pytest.mark.parametrize("name", KEYS)
def test_each_value_of_each_type_is_one_piece(memory, name):
    kind, values = KEYS[name]
    # Each file has a dictionary of its own.
    files = [[*values, None], [*reversed(values)], [None]]
    rows = [
        pa.table({"a": pa.array(one, kind), "b": [place] * len(one)})
        for place, one in enumerate(files)
    ]
    table = pt.create_table(f"{memory}/t", rows[0])
    for one in rows[1:]:
        table.append(one)
    # The two zeros are one value.
    different = len({repr(one).replace("-0.0", "0.0") for one in values})
    pieces = [scan.to_arrow() for _, scan in table.scan().by_value("a")]
    in_dask = ptd.read_delayed(table.url, by="a")
    for sizes in ([len(one) for one in pieces], [len(one) for one in dask.compute(*in_dask)]):
        assert len(sizes) == different + 1
        assert sum(sizes) == len(table) == 2 * len(values) + 2
        assert min(sizes) >= 2
    pairs = table.scan().by_value(["a", "b", "a"])
    assert sum(scan.count() for _, scan in pairs) == len(table)


@pytest.mark.parametrize(
    "kind", [pa.duration("s"), pa.list_(pa.int64()), pa.struct({"x": pa.int64()})], ids=str
)
def test_what_cannot_be_grouped_by_is_refused(memory, kind):
    table = pt.create_table(f"{memory}/t", pa.table({"a": pa.nulls(2, kind)}))
    with pytest.raises(pt.InvalidArgument, match="column a of type .* cannot be grouped by"):
        list(table.scan().by_value("a"))


@pytest.mark.parametrize("limit", [0, 5, 10**6])
@pytest.mark.parametrize(
    "divide",
    [pt.Scan.by_partition, pt.Scan.by_file, lambda scan: scan.by_value("rider")],
    ids=["partition", "file", "value"],
)
def test_a_scan_with_a_limit_is_not_divided(table, divide, limit):
    with pytest.raises(pt.InvalidArgument, match="without the limit"):
        list(divide(table.scan(limit=limit)))
    assert len(table.scan(limit=limit).to_arrow()) == min(limit, 120)
    pieces = [scan for _, scan in divide(table.scan())]
    # A piece of a scan without a limit has none either, and can be divided again.
    assert sum(scan.count() for scan in pieces) == 120
    assert sum(scan.count() for _, scan in divide(pieces[0])) == pieces[0].count()


def test_sizes_are_known_without_reading(lake, table):
    table.append(trips(first=120, rows=30), row_group_rows=2)
    known = {partition.path: partition for partition in table.partitions}
    theirs = collect_dataset_metadata(lake.store, "t").compute()
    for path, group in theirs.groupby(theirs["partition_label"].str.rpartition("/")[0]):
        found = known[path.replace("%20", " ").replace("%C3%A3", "ã")]
        files = group.drop_duplicates("partition_label")
        assert (found.files, found.rows, found.row_groups) == (
            len(files), files["number_rows_total"].sum(), files["number_row_groups"].sum(),
        )  # fmt: skip
        assert found.bytes > 0


def test_nothing_keeps_its_schema(table):
    empty = table.read(where="id < 0")
    pd.testing.assert_series_equal(empty.dtypes, table.read().dtypes)
    assert list(table.scan(where="id < 0").by_partition()) == []
    assert list(table.scan(where="id < 0").by_value("rider")) == []
    assert table.scan(columns=["fare"], where="id < 0").to_arrow().schema.names == ["fare"]


def test_data_larger_than_what_is_held_is_pulled_piece_by_piece(lake):
    """The generator is never far ahead of the writes."""
    ahead = []
    table = lake.create("s", {"n": [0], "text": ["x"]}, partition_by="n")

    def pieces():
        for number in range(200):
            written = len([key for key in lake.files("s/table") if key.endswith(".parquet")])
            ahead.append(number - written)
            yield {"n": [number] * 1000, "text": [f"{number} {row}" * 8 for row in range(1000)]}

    commit = table.append(pieces(), target_file_bytes=20_000, row_group_rows=500)
    assert commit.rows_added == 200_000
    assert max(ahead) < 120
    assert table.count() == 200_001
