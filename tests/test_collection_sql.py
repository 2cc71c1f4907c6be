"""Rows of collections in SQL and in other engines, and what is read for them."""

from __future__ import annotations

import json
import pickle
import re

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pytest
import xarray as xr

import partita as pt
from command import run
from scripted_s3 import Request, scripted_s3

DAYS = 90


def tracks() -> xr.Dataset:
    """Three months of rows with three pixels; variables with and without missing values."""
    time = np.datetime64("2022-01-01", "us") + np.arange(DAYS) * np.timedelta64(1, "D")
    ssh = np.arange(DAYS * 3.0).reshape(DAYS, 3)
    ssh[4, 1] = np.nan
    quality = (np.arange(DAYS) % 4).astype("i2")
    return xr.Dataset(
        {
            "ssh": (("time", "pixel"), ssh, {}, {"_FillValue": np.nan}),
            "cycle": ("time", (np.arange(DAYS) // 10).astype("i4")),
            "quality": ("time", quality, {}, {"_FillValue": np.int16(3)}),
            "station": ("time", np.array([f"s{n % 5}" for n in range(DAYS)], dtype=object)),
            "pixel": ("pixel", [10, 20, 30]),
        },
        {"time": time},
    )


def made(url, **options) -> pt.Collection:
    return pt.create_collection(
        url,
        tracks(),
        axis="time",
        partition_by=pt.Date("time", "month"),
        chunks={"time": 7},
        **options,
    )


@pytest.fixture(params=[2, 3])
def collection(request, memory) -> pt.Collection:
    return made(f"{memory}/c", zarr_format=request.param)


CONDITIONS = [
    "true",
    "time >= timestamp '2022-02-01'",
    "time < timestamp '2022-01-15' or time > timestamp '2022-03-20'",
    "time in (timestamp '2022-01-05', timestamp '2022-03-05')",
    "not (time >= timestamp '2022-02-01')",
    "time is null",
    "time > timestamp '2030-01-01'",
    "cycle = 3",
    "cycle in (1, 7) and ssh > 50",
    "quality = 3",
    "quality <> 2",
    "not (quality in (1, 2))",
    "quality is null and time < timestamp '2022-02-01'",
    "ssh is null",
    "pixel = 20 and cycle < 2",
    "station = 's3'",
    "year(time) = 2022 and month(time) = 2",
]


@pytest.mark.parametrize("condition", CONDITIONS)
def test_rows_are_those_of_the_table(collection, memory, condition):
    rows = collection.to_table(f"{memory}/t").to_arrow()
    query = f"select * from c where {condition} order by time, pixel"
    got, expected = (pt.sql(query, c=one).to_arrow() for one in (collection, rows))
    assert got.to_pylist() == expected.to_pylist()


@pytest.mark.parametrize("columns", ["count(*)", "max(cycle)", "min(pixel)", "count(ssh)"])
def test_the_number_of_rows_does_not_depend_on_the_columns(collection, memory, columns):
    rows = collection.to_table(f"{memory}/t").to_arrow()
    query = f"select {columns} as n, count(*) as every from t"
    got = collection.sql(query).to_arrow().to_pylist()
    assert got == pt.sql(query, t=rows).to_arrow().to_pylist()
    assert got[0]["every"] == DAYS * 3
    flat = collection.scan(["cycle", "quality"])
    query = query.replace("pixel", "cycle").replace("ssh", "cycle")
    assert flat.sql(query).to_arrow()["every"].to_pylist() == [DAYS]


def test_a_collection_meets_a_table(collection, memory):
    cycles = pt.create_table(f"{memory}/cycles", {"cycle": [0, 1], "name": ["first", "second"]})
    query = pt.sql(
        "select name, count(*) as n from c join cycles using (cycle) group by name order by name",
        c=collection,
        cycles=cycles,
    )
    assert query.to_arrow().to_pydict() == {"name": ["first", "second"], "n": [30, 30]}


def test_only_what_a_query_needs_is_read():
    with scripted_s3() as s3:
        collection = made("s3://test/c", zarr_format=2, storage_options=s3.options())

        def read(query: str) -> set[tuple[str, str]]:
            s3.served.clear()
            collection.sql(query).to_arrow()
            found = (re.search(r"(\d+)/(\w+)/[\d.]+$", key) for key, _ in s3.served)
            # Where the bounds of a month do not decide, its times are read.
            return {(one[1], one[2]) for one in found if one and one[2] != "time"}

        months = ["01", "02", "03"]
        assert read("select max(cycle) from t") == {(month, "cycle") for month in months}
        february = "time >= timestamp '2022-02-01' and time < timestamp '2022-03-01'"
        assert read(f"select max(cycle) from t where {february}") <= {("02", "cycle")}
        assert read(f"select avg(ssh) from t where {february}") <= {("02", "ssh")}
        assert read("select avg(ssh) from t where cycle = 0") == {
            *((month, "cycle") for month in months),
            ("01", "ssh"),
        }
        s3.served.clear()
        collection.sql("select avg(ssh) from t where cycle = 0").to_arrow()
        # Ten of the rows lie in two chunks of seven.
        assert len({key for key, _ in s3.served if re.search(r"/ssh/[\d.]+$", key)}) == 2
        details = collection.last_run.explain().details
        assert (details["partitions_read"], details["partitions"], details["rows"]) == (1, 3, 10)
        assert details["engine"]["applied_after"] is None


def test_a_condition_that_cannot_choose_rows_is_applied_after(collection):
    collection.sql("select cycle from t where quality = 1 and cycle = 2").to_arrow()
    run_ = collection.last_run
    assert "where=cycle == 2" in repr(run_)
    assert "quality" in run_.explain().details["engine"]["applied_after"]


class TestKeysThatAreVariables:
    def test_of_a_sequence_choose_partitions(self, memory):
        collection = pt.create_collection(
            f"{memory}/c",
            {"cycle": ("n", [1, 1, 2]), "v": ("n", [1.0, 2.0, 5.0])},
            axis="cycle",
            partition_by=pt.Sequence(["cycle"]),
        )
        assert collection.sql("select v from t where cycle = 1").to_arrow()["v"].to_pylist() == [
            1.0,
            2.0,
        ]
        assert collection.last_run.explain().details["partitions_read"] == 1

    def test_of_groups_do_not(self, memory):
        collection = pt.create_collection(
            f"{memory}/c",
            {"n": ("n", [0, 1, 5]), "v": ("n", [1.0, 2.0, 5.0])},
            axis="n",
            partition_by=pt.GroupedSequence(["n"], size=5),
            zarr_format=3,
        )
        assert collection.sql("select v from t where n = 1").to_arrow()["v"].to_pylist() == [2.0]

    def test_a_variable_named_as_a_part_of_the_date(self, memory):
        data = tracks()[["ssh"]].assign(month=("time", np.arange(DAYS) % 5))
        collection = pt.create_collection(
            f"{memory}/c", data, axis="time", partition_by=pt.Date("time", "month")
        )
        found = collection.sql("select count(*) as n from t where month = 4").to_arrow()
        assert found["n"].to_pylist() == [DAYS // 5 * 3]


def test_times_that_are_counted(memory):
    time = xr.Variable(
        "time", np.arange(60), {"units": "days since 2022-01-01", "calendar": "standard"}
    )
    data = xr.Dataset({"v": ("time", np.arange(60.0))}, {"time": time})
    by = pt.Date("time", "month")
    collection = pt.create_collection(
        f"{memory}/c", data, axis="time", partition_by=by, zarr_format=3
    )
    query = "select v from t where time >= timestamp '2022-02-28'"
    assert collection.sql(query).to_arrow()["v"].to_pylist() == [58.0, 59.0]


def test_variables_of_different_dimensions_are_chosen(memory):
    data = tracks()[["ssh"]].assign(wave=(("time", "bin"), np.zeros((DAYS, 2))))
    collection = pt.create_collection(
        f"{memory}/c", data, axis="time", partition_by=pt.Date("time", "month")
    )
    with pytest.raises(pt.InvalidArgument, match="different dimensions"):
        collection.sql("select 1 from t")
    found = pt.sql(
        "select count(*) as n from w", w=collection.scan(["wave"], where="time < '2022-02-01'")
    )
    assert found.to_arrow()["n"].to_pylist() == [62]


def test_rows_come_in_batches(monkeypatch, memory):
    monkeypatch.setattr("partita._convert._ROWS", 12)
    collection = made(f"{memory}/c")
    sizes = [batch.num_rows for batch in collection.scan().to_batches()]
    assert max(sizes) == 12
    assert sum(sizes) == DAYS * 3
    batches = iter(collection.sql("select ssh from t").to_batches())
    assert next(batches).num_rows > 0


class TestForms:
    def test_of_the_rows(self, collection):
        scan = collection.scan(["cycle"], where="cycle < 2")
        expected = tracks().cycle.values[:20].tolist()
        assert scan.schema.names == ["time", "cycle"]
        assert scan.to_arrow()["cycle"].to_pylist() == expected
        assert scan.to_pandas()["cycle"].tolist() == expected
        assert scan.to_polars()["cycle"].to_list() == expected
        assert pa.table(scan).equals(scan.to_arrow())
        assert pickle.loads(pickle.dumps(scan)).to_arrow().equals(scan.to_arrow())
        assert repr(scan) == "CollectionScan(c, variables=['cycle'], where=cycle < 2)"

    def test_without_rows(self, collection):
        scan = collection.scan(where="time > '2030-01-01'")
        assert scan.to_arrow().num_rows == 0
        assert scan.to_arrow().schema == scan.schema == collection.scan().to_arrow().schema
        assert collection.sql("select * from t where cycle = 99").to_arrow().num_rows == 0

    def test_in_duckdb_and_polars(self, collection):
        rows = collection.scan().to_pyarrow_dataset()
        with duckdb.connect() as connection:
            connection.register("c", rows)
            found = connection.sql("select count(*) from c where cycle = 3").fetchall()
        assert found == [(30,)]
        frame = pl.scan_pyarrow_dataset(rows).filter(pl.col("cycle") == 3)
        assert frame.select("ssh").collect().height == 30
        assert rows.count_rows(filter=ds.field("cycle") == 3) == 30
        assert rows.head(4).num_rows == 4
        assert rows.filter(ds.field("cycle") == 3).to_table(columns=["pixel"]).num_rows == 30

    def test_of_what_is_refused(self, collection):
        rows = collection.scan().to_pyarrow_dataset()
        with pytest.raises(pt.InvalidArgument, match="a dataset of a collection does not have"):
            rows.get_fragments()
        with pytest.raises(pt.InvalidArgument, match="a dataset of a collection does not have"):
            ds.Scanner.from_dataset(rows).to_table()
        with pytest.raises(pt.NotFound, match="no column 'nothing'"):
            rows.to_table(columns=["nothing"])
        with pytest.raises(pt.InvalidArgument, match="list of names"):
            collection.scan("ssh")


def test_an_error_of_the_store_comes_through():
    def script(request: Request) -> int | None:
        is_chunk = re.search(r"/cycle/\d", request.key)
        return 403 if request.operation == "GET" and is_chunk else None

    with scripted_s3() as s3:
        collection = made("s3://test/c", zarr_format=2, storage_options=s3.options())
        query = collection.sql("select sum(cycle) from t")
        s3.script = script
        with pytest.raises(pt.PartitaError, match="cycle"):
            query.to_arrow()


class TestTheCommand:
    QUERY = "select cycle, avg(ssh) as mean from t where cycle < 2 group by cycle order by cycle"

    def test_it_prints(self, tmp_path):
        collection = made(tmp_path / "c")
        shown = run("sql", collection.url, self.QUERY, "--json").stdout
        rows = [json.loads(line) for line in shown.splitlines()]
        assert [row["cycle"] for row in rows] == [0, 1]
        told = run("sql", collection.url, self.QUERY, "--explain").stdout
        assert "partitions           1 of 3" in told

    def test_it_takes_variables(self, tmp_path, local_trips):
        collection = made(tmp_path / "c")
        query = "select count(*) as n from t"
        shown = run("sql", collection.url, query, "--variables", "cycle,quality", "--json")
        assert json.loads(shown.stdout) == {"n": DAYS}
        told = run("sql", local_trips.url, query, "--variables", "fare", code=1).stderr
        assert "--variables is for collections" in told
