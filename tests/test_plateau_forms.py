"""Forms of plateau's datasets that are rarely or no longer written: CSV, indices in the header."""

from __future__ import annotations

import datetime as dt
import json

import numpy as np
import pandas as pd
import pytest
from plateau.serialization import CsvSerializer

import partita as pt
from plateau_lake import Lake


@pytest.fixture
def lake(tmp_path) -> Lake:
    return Lake(tmp_path / "lake")


def frame() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "id": range(6),
            "city": ["Oslo", "Rome", "Oslo", "Rome", "Oslo", "Lima"],
            "fare": [1.5, np.nan, -0.25, 1e300, 7.0, 8.0],
            "note": ["a;b", None, 'say "x"', "two\nlines", "é", "NA"],
            "paid": [True, False, True, True, False, False],
            "at": pd.to_datetime(["2026-01-01", "2026-01-02 03:04:05.678"] * 3, format="ISO8601"),
            "day": [dt.date(2026, 1, day) for day in range(1, 7)],
        }
    )


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("by", [None, ["city"]])
def test_partitions_in_csv_are_read_like_those_in_parquet(lake, packed, by):
    serializer = CsvSerializer(compress=packed)
    lake.theirs_create("csv", frame(), partition_on=by, df_serializer=serializer)
    lake.theirs_create("parquet", frame(), partition_on=by)
    ours, same = lake.open("csv"), lake.open("parquet")
    assert set(ours.columns) == set(same.columns) == set(frame())
    assert all((".csv.gz" if packed else ".csv") in key for key in _keys(lake, "csv"))
    for where in (None, "city == 'Oslo'", "fare > 1", "note is null", "at >= '2026-01-02'"):
        for columns in (ours.columns, ["note", "id"], ["city"]):
            expected = same.scan(columns, where).to_arrow().to_pylist()
            read = ours.scan(columns, where).to_arrow()
            assert read.schema.equals(same.scan(columns, where).schema)
            assert sorted(map(str, read.to_pylist())) == sorted(map(str, expected))
        assert ours.count(where=where) == same.count(where=where)
    if by:
        assert ours.scan(where="city == 'Oslo'").explain().details["files_read"] == 1


def test_tables_in_csv_are_read_only(lake):
    lake.theirs_create("t", frame(), df_serializer=CsvSerializer())
    before = lake.files("")
    table = lake.open("t")
    for change in (
        lambda: table.append(frame()),
        lambda: table.delete(where="id == 1"),
        lambda: table.optimize(),
        lambda: table.set_metadata({"a": 1}),
    ):
        with pytest.raises(pt.ReadOnly, match="CSV"):
            change()
    assert lake.files("") == before


def test_damaged_csv_is_named(lake):
    lake.theirs_create("t", frame(), df_serializer=CsvSerializer(compress=False))
    [file] = lake.root.glob("t/table/*.csv")
    for damaged in ("id;fare\n1;2;3\n", "id;fare\nx;1\n", "id;fare\n1.5;1\n"):
        file.write_text(damaged)
        with pytest.raises(pt.Corrupt, match=r"\.csv"):
            lake.open("t").read(columns=["id"])
    file.write_text("")
    assert lake.open("t").count() == 0


def _keys(lake: Lake, name: str) -> list[str]:
    header = json.loads((lake.root / f"{name}.by-dataset-metadata.json").read_text())
    return [key for part in header["partitions"].values() for key in part["files"].values()]


def _embed(lake: Lake, name: str, column: str) -> None:
    """Embeds an index in the header, as old datasets have it."""
    found = lake.their_index(name, column).index_dct
    path = lake.root / f"{name}.by-dataset-metadata.json"
    header = json.loads(path.read_text())
    header["indices"][column] = {
        str(pd.Timestamp(value) if column == "at" else value): list(labels)
        for value, labels in found.items()
    }
    path.write_text(json.dumps(header))


@pytest.mark.parametrize("column", ["id", "city", "at"])
def test_an_index_in_the_header_leaves_out_files(lake, column):
    frames = [frame().iloc[[row]] for row in range(6)]
    lake.theirs_create("t", frames[0], secondary_indices=[column])
    for one in frames[1:]:
        lake.theirs_update("t", one)
    expected = {
        value: lake.open("t").count(where=[(column, "==", value)]) for value in _values(column)
    }
    _embed(lake, "t", column)
    table = lake.open("t")
    for value, count in expected.items():
        scan = table.scan(where=[(column, "==", value)])
        assert scan.count() == count
        plan = scan.explain().details
        assert (plan["indices"], plan["files_read"]) == ([column], count)
    # The next commit converts it to a file.
    table.append(frames[2])
    assert table.index == [column]
    value = frames[2][column].iloc[0]
    scan = table.scan(where=[(column, "==", value)])
    assert scan.count() == expected[pd.Timestamp(value) if column == "at" else value] + 1
    assert table.verify(data=True) == []
    assert len(lake.their_index("t", column).index_dct) == len(expected)


def _values(column: str) -> list:
    return (
        list(frame()[column].unique()) if column != "at" else list(frame()["at"].drop_duplicates())
    )


def test_a_function_works_out_metadata(lake):
    table = lake.create("t", frame(), metadata={"runs": 1, "old": True})
    other = lake.open("t")
    count = lambda present: {"runs": present["runs"] + 1}  # noqa: E731
    other.append(frame(), metadata=count)
    # On a table object that has not loaded the other's commit.
    table.append(frame(), metadata=count)
    table.delete(where="id == 1", metadata=lambda present: {"old": None, **count(present)})
    with table.transaction(metadata=count) as tx:
        tx.append(frame())
    table.set_metadata(count)
    assert table.metadata["runs"] == 6
    assert "old" not in table.metadata
    before = table.version
    with pytest.raises(KeyError, match="missing"):
        table.append(frame(), metadata=lambda present: present["missing"])
    with pytest.raises(pt.InvalidArgument, match="JSON"):
        table.set_metadata(lambda present: {"at": dt.date(2026, 1, 1)})
    assert lake.open("t").version == before
