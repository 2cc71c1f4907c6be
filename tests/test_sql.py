"""SQL over tables, as DuckDB runs it."""

from __future__ import annotations

import json
import sys

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import partita as pt
from command import run

CITIES = {"city": ["Oslo", "Rome"], "country": ["Norway", "Italy"]}


class TestQueries:
    def test_forms_of_a_result(self, trips):
        query = trips.sql("select city, sum(fare) as fare from t group by city order by city")
        expected = {"city": ["Oslo", "Rome", "São Paulo"], "fare": [42.5, 20.5, 20.0]}
        assert query.to_arrow().to_pydict() == expected
        assert query.to_pandas().to_dict("list") == expected
        assert query.to_polars().to_dict(as_series=False) == expected
        assert pa.Table.from_batches(query.to_batches()).to_pydict() == expected
        assert pl.DataFrame(query).to_dict(as_series=False) == expected
        assert query.schema == query.to_arrow().schema

    @pytest.mark.parametrize(
        "given", [CITIES, pd.DataFrame(CITIES), pl.DataFrame(CITIES), pa.table(CITIES)], ids=type
    )
    def test_tables_meet_rows_in_memory(self, trips, given):
        query = pt.sql(
            "select country, count(*) as n from trips join cities using (city) group by country "
            "order by country",
            trips=trips,
            cities=given,
        )
        assert query.to_arrow().to_pydict() == {"country": ["Italy", "Norway"], "n": [3, 2]}

    def test_a_scan_is_what_it_reads(self, trips):
        scan = trips.scan(["fare"], "city == 'Rome'", limit=2)
        assert scan.sql("select * from t").to_arrow().to_pydict() == {"fare": [9.0, 4.0]}

    def test_two_tables_and_one_twice(self, trips, memory):
        other = pt.create_table(f"{memory}/cities", CITIES)
        query = pt.sql(
            "select a.city, country from a join b on a.rider = b.rider and a.fare < b.fare "
            "join c on a.city = c.city order by 1",
            a=trips,
            b=trips,
            c=other,
        )
        assert query.to_arrow().to_pylist() == [{"city": "Rome", "country": "Italy"}]

    def test_a_query_stays_at_its_version_and_runs_again(self, trips, trips_frame):
        query = trips.sql("select count(*) as n from t")
        trips.append(trips_frame)
        assert [query.to_arrow()["n"].to_pylist() for _ in range(2)] == [[6], [6]]
        assert trips.sql("select count(*) as n from t").to_arrow()["n"].to_pylist() == [12]

    def test_results_larger_than_a_batch(self, memory):
        table = pt.create_table(f"{memory}/t", {"a": range(200_000)})
        batches = list(table.sql("select a from t where a % 2 = 0").to_batches())
        assert len(batches) > 1
        assert sum(batch.num_rows for batch in batches) == 100_000

    def test_a_result_need_not_be_read_to_its_end(self, memory):
        table = pt.create_table(f"{memory}/t", {"a": range(200_000)})
        batches = table.sql("select a from t").to_batches()
        assert next(batches).num_rows > 0
        batches.close()
        assert table.sql("select a from t limit 3").to_arrow().num_rows == 3

    def test_variables_of_the_caller_are_no_tables(self, trips):
        hidden = pd.DataFrame(CITIES)
        with pytest.raises(pt.InvalidArgument, match="hidden does not exist"):
            trips.sql("select * from hidden").to_arrow()
        assert len(hidden) == 2

    @pytest.mark.parametrize(
        ("query", "told"),
        [
            ("selec 1", "syntax error"),
            ("select 1; select 2", "one statement that gives rows, not SELECT, SELECT"),
            ("create table x as select 1", "one statement that gives rows, not CREATE"),
            ("", "not nothing"),
            (7, "a query is text"),
        ],
    )
    def test_what_is_no_query_is_told_at_once(self, trips, query, told):
        with pytest.raises(pt.InvalidArgument, match=told):
            trips.sql(query)

    @pytest.mark.parametrize(
        "query",
        ["select fair from t", "select cast(city as integer) from t", "select t.x.y from t"],
    )
    def test_what_cannot_be_run(self, trips, query):
        with pytest.raises(pt.InvalidArgument, match="DuckDB refuses the query"):
            trips.sql(query).to_arrow()

    def test_rows_that_duckdb_does_not_know(self, trips):
        with pytest.raises(pt.InvalidArgument, match="DuckDB refuses the query"):
            pt.sql("select 1", t=7)

    def test_without_duckdb_it_says_what_to_install(self, trips, monkeypatch):
        monkeypatch.setitem(sys.modules, "duckdb", None)
        with pytest.raises(ImportError, match=r"pip install 'partita\[sql\]'"):
            trips.sql("select 1")


class TestTheCommand:
    QUERY = "select city, sum(fare) as fare from t where city = 'Oslo' group by city"

    def test_it_prints_as_read_does(self, local_trips):
        shown = run("sql", local_trips.url, self.QUERY).stdout
        assert [line.split() for line in shown.splitlines()] == [["city", "fare"], ["Oslo", "42.5"]]
        assert json.loads(run("sql", local_trips.url, self.QUERY, "--json").stdout) == {
            "city": "Oslo",
            "fare": 42.5,
        }
        table = run("sql", "--format", "csv", local_trips.url, self.QUERY).stdout
        assert table == "city,fare\nOslo,42.5\n"

    def test_it_writes_files(self, local_trips, tmp_path):
        run("sql", local_trips.url, self.QUERY, "--output", tmp_path / "out.parquet")
        assert pq.read_table(tmp_path / "out.parquet").to_pydict() == {
            "city": ["Oslo"],
            "fare": [42.5],
        }

    def test_it_explains(self, local_trips):
        told = run("sql", local_trips.url, self.QUERY, "--explain").stdout
        assert "engine               DuckDB" in told
        details = json.loads(run("sql", local_trips.url, self.QUERY, "--explain", "--json").stdout)
        assert details["pruned_by_partition"] == 2
        assert details["engine"]["columns"] == ["city", "fare"]

    def test_an_older_version(self, local_trips, trips_frame):
        local_trips.append(trips_frame)
        shown = run("sql", local_trips.url, "select count(*) as n from t", "--at", 1, "--json")
        assert json.loads(shown.stdout) == {"n": 6}

    def test_failures(self, local_trips, tmp_path):
        assert "syntax error" in run("sql", local_trips.url, "selec", code=1).stderr
        told = json.loads(run("sql", tmp_path / "none", "select 1", "--json", code=3).stderr)
        assert told["error"]["kind"] == "NotFound"
        run("sql", local_trips.url, code=2)
