"""The ways of reading known from plateau, compared with plateau itself."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from plateau.io.dask.dataframe import collect_dataset_metadata
from plateau.io.eager import read_dataset_as_dataframes

import partita as pt
from plateau_lake import Lake, same_frame
from test_interop_plateau import trips


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
