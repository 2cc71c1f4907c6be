"""What `describe` tells of a table without reading its rows."""

from __future__ import annotations

import datetime as dt
import decimal
import math

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import partita as pt
from plateau_lake import Lake, every_type
from scripted_s3 import scripted_s3

UTC = dt.timezone.utc
VALUES = {
    "integers": (pa.int64(), [2**53 + 1, -(2**63), None, 2**63 - 1]),
    "unsigned": (pa.uint64(), [2**64 - 1, 2**53 + 1, None, 7]),
    "floats": (pa.float64(), [0.1, math.nan, None, -math.inf]),
    "booleans": (pa.bool_(), [True, True, None, True]),
    "decimals": (
        pa.decimal128(38, 2),
        [decimal.Decimal("9" * 36 + ".78"), None, decimal.Decimal("-0.01")],
    ),
    "dates": (pa.date32(), [dt.date(1, 1, 1), None, dt.date(9999, 12, 31)]),
    "times": (
        pa.timestamp("ns"),
        [pd.Timestamp("1677-09-22 00:00:00.000001"), None, pd.Timestamp("2262-04-11")],
    ),
    "zoned": (
        pa.timestamp("us", "Europe/Oslo"),
        [dt.datetime(1, 6, 1, tzinfo=UTC), None, dt.datetime(2024, 2, 29, 23, 0, 0, 1, UTC)],
    ),
    "texts": (pa.string(), ["São Paulo", None, "a" * 64, "😀"]),
    "nothing": (pa.int64(), [None, None]),
}


def expected(values: list[object]) -> tuple[int, object, object]:
    known = [one for one in values if one is not None and one == one]
    return values.count(None), min(known, default=None), max(known, default=None)


@pytest.mark.parametrize("kind", VALUES)
@pytest.mark.parametrize("files", [1, 2])
def test_values_are_exact(memory, kind, files):
    type_, values = VALUES[kind]
    table = pt.create_table(f"{memory}/t", pa.table({"v": pa.array(values, type_)}))
    if files == 2:
        table.append(pa.table({"v": pa.array(values[:1], type_)}))
        values = values + values[:1]
    told = table.describe().loc["v"]
    nulls, smallest, largest = expected(values)
    assert (told["rows"], told["nulls"]) == (len(values), nulls)
    assert (told["smallest"], told["largest"], bool(told["exact"])) == (smallest, largest, True)
    assert type(told["smallest"]) is type(told["largest"])


def test_times_beyond_python_are_told_as_text(memory):
    beyond = pa.array([10**18], pa.timestamp("us", "UTC"))
    told = pt.create_table(f"{memory}/t", pa.table({"v": beyond})).describe().loc["v"]
    assert told["smallest"] == "1000000000000000000 us since 1970-01-01"


@pytest.mark.parametrize("value", ["x" * 65, "ü" * 40, "a" + "\x7f" * 80, "\U0010ffff" * 20])
@pytest.mark.parametrize("other", ["A", "\U0010ffff" * 21])
def test_a_text_that_was_cut_is_not_told_as_a_value(memory, value, other):
    table = pt.create_table(f"{memory}/t", {"v": [value, other], "short": ["a", "b"]})
    told = table.describe()
    assert told.loc["short", ["smallest", "largest", "exact"]].tolist() == ["a", "b", True]
    smallest, largest, exact = told.loc["v", ["smallest", "largest", "exact"]]
    if exact:
        assert (smallest, largest) == (min(value, other), max(value, other))
    elif smallest is not None:
        assert smallest <= min(value, other) <= max(value, other) <= largest
        assert (smallest, largest) != (min(value, other), max(value, other))


def test_types_without_bounds(memory):
    data = {"tags": [["a"], None], "blob": [b"x", None], "id": [1, 2]}
    told = pt.create_table(f"{memory}/t", data).describe()
    assert told["smallest"].tolist() == [None, None, 1]
    assert told["exact"].tolist() == [False, False, True]
    assert told.loc["blob", "nulls"] == 1
    assert told.loc["tags", "nulls"] is pd.NA


def test_sizes_are_those_of_the_column_chunks(tmp_path, trips_frame):
    table = pt.create_table(tmp_path / "t", trips_frame, partition_by="city")
    sizes = dict.fromkeys(trips_frame, 0)
    for file in (tmp_path / "t").rglob("table/**/*.parquet"):
        footer = pq.read_metadata(file)
        for group in range(footer.num_row_groups):
            for place in range(footer.num_columns):
                chunk = footer.row_group(group).column(place)
                sizes[chunk.path_in_schema] += chunk.total_compressed_size
    told = table.describe()
    assert told["bytes"].to_dict() == sizes
    assert sizes["city"] == 0 < sizes["fare"]
    assert told.loc["city", ["nulls", "smallest", "largest"]].tolist() == [0, "Oslo", "São Paulo"]


@pytest.mark.parametrize(
    "remove",
    [
        lambda table: table.delete("v == 99"),
        lambda table: table.replace({"p": [1], "v": [5], "t": ["n"], "k": [3]}, where="v == 99"),
        lambda table: table.upsert({"p": [1], "v": [5], "t": ["n"], "k": [2]}, on="k"),
        lambda table: table.delete({"p": 2}),
    ],
    ids=["rows", "replace", "upsert", "partition"],
)
@pytest.mark.parametrize("footers", [True, False])
def test_deleted_values_are_not_told(memory, remove, footers):
    data = {"p": [1, 1, 2], "v": [1, 99, 99], "t": ["m", "secret", "secret"], "k": [1, 2, 2]}
    table = pt.create_table(f"{memory}/t", data, partition_by="p")
    remove(table)
    kept = table.read()
    told = table.describe(footers=footers)
    for column in data:
        assert told.loc[column, "smallest"] == kept[column].min()
        assert told.loc[column, "largest"] == kept[column].max()


def test_one_request_for_each_file_or_none(trips_frame):
    with scripted_s3() as s3:
        table = pt.create_table(
            "s3://test/lake/t", trips_frame, partition_by="city", storage_options=s3.options()
        )
        s3.served.clear()
        told = table.describe(footers=False)
        assert not s3.served
        assert told["bytes"].isna().all()
        assert told["exact"].all()  # city is a partition column, and no other is a text
        whole = table.describe()
        assert len(s3.served) == table.num_files == 3
        pd.testing.assert_frame_equal(whole.drop(columns="bytes"), told.drop(columns="bytes"))


def test_texts_count_as_cut_without_footers(memory):
    data = pa.table({"v": ["a", "b"], "none": pa.nulls(2, pa.string())})
    table = pt.create_table(f"{memory}/t", data)
    assert table.describe(footers=False)["exact"].to_dict() == {"v": False, "none": True}


def test_columns_that_old_files_lack(memory):
    table = pt.create_table(f"{memory}/t", {"a": [1, 2]})
    table.append({"a": [3], "b": [0.5]}, schema_mode="merge")
    told = table.describe().loc["b"]
    assert (told["nulls"], told["smallest"], told["largest"]) == (2, 0.5, 0.5)
    assert table.describe(footers=False).loc["b", "smallest"] is None


def test_tables_of_plateau(tmp_path):
    lake = Lake(tmp_path / "lake")
    frame = every_type(12)
    lake.theirs_create("t", frame)
    table = lake.open("t")
    told, rows = table.describe(), table.read()
    assert told["rows"].tolist() == [12] * len(told)
    assert (told["bytes"] > 0).all()
    for column in rows.select_dtypes("number"):
        known = told.loc[column]
        assert known["nulls"] == rows[column].isna().sum()
        assert (known["smallest"], known["largest"]) == (rows[column].min(), rows[column].max())
    without = table.describe(footers=False)
    assert without[["rows", "nulls"]].isna().all(axis=None)
    assert not without["exact"].any()


def test_empty_tables_and_older_versions(memory):
    table = pt.create_table(f"{memory}/t", pa.schema({"a": pa.int64(), "b": pa.string()}))
    table.append({"a": [1], "b": ["x"]})
    empty = table.at(1).describe()
    assert empty["rows"].tolist() == [0, 0]
    assert empty["exact"].all()
    assert empty["smallest"].isna().all()
    assert empty["bytes"].tolist() == [0, 0]
    assert table.describe().loc["a", "smallest"] == 1


def test_a_file_that_is_gone(tmp_path):
    table = pt.create_table(tmp_path / "t", {"a": [1]})
    for file in (tmp_path / "t").glob("table/*.parquet"):
        file.unlink()
    with pytest.raises(pt.Corrupt, match="is not in the store"):
        table.describe()
    assert table.describe(footers=False).loc["a", "largest"] == 1
