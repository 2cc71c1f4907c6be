"""Tables in other engines: what these ask of the store, what they cannot do, and their errors."""

from __future__ import annotations

import itertools
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pytest

import partita as pt
import partita.dask as ptd
from scripted_s3 import Request, ScriptedS3, scripted_s3

ROWS = 240_000
CITIES = ["Lima", "Oslo", "Rome"]


@pytest.fixture(scope="module")
def data() -> pa.Table:
    chance = np.random.default_rng(11)
    return pa.table(
        {
            "id": np.arange(ROWS),
            "city": np.array(CITIES)[np.arange(ROWS) * 3 // ROWS],
            "rider": np.arange(ROWS) // 1000,
            "noise": chance.integers(0, 2**40, ROWS),
            "fare": chance.random(ROWS).round(3),
        }
    )


@dataclass
class Place:
    """A table, with the store that counts what is read of it."""

    table: pt.Table
    options: dict[str, str]
    s3: ScriptedS3 | None

    def read(self, face: Face, asked: Asked) -> tuple[list[Any], list[tuple[str, int]]]:
        """The rows of a read, and the requests for data and indices that the server received."""
        if self.s3 is None:
            return sorted(face(self, asked)), []
        self.s3.served.clear()
        found = sorted(face(self, asked))
        # Workers of Dask open the table for themselves, which costs requests for its state.
        made = [one for one in self.s3.served if "/table/" in one[0] or "/indices/" in one[0]]
        assert made
        return found, sorted(made)


@pytest.fixture(scope="module", params=["local", "s3"])
def place(request, tmp_path_factory, data) -> Iterator[Place]:
    with scripted_s3() as s3:
        on_s3 = request.param == "s3"
        url = "s3://test/lake/t" if on_s3 else str(tmp_path_factory.mktemp("lake") / "t")
        table = pt.create_table(
            url,
            data,
            partition_by="city",
            index="rider",
            compression="none",
            row_group_rows=80_000,
            storage_options=s3.options() if on_s3 else None,
        )
        yield Place(table, s3.options() if on_s3 else {}, s3 if on_s3 else None)


@dataclass(frozen=True)
class Asked:
    """A query in the language of each engine."""

    columns: list[str]
    tested: list[str]
    where: pt.Expr | None
    polars: pl.Expr | None
    pyarrow: pc.Expression | None
    sql: str
    dask: Callable[[Any], Any]


def queries(data: pa.Table) -> dict[str, Asked]:
    chosen = data["noise"].slice(1_000, 10_000).to_pylist()
    listed = ", ".join(map(str, chosen))
    return {
        "projection": Asked(["fare"], [], None, None, None, "", lambda frame: frame),
        "partition": Asked(
            ["id"],
            ["city"],
            pt.col("city") == "Oslo",
            pl.col("city") == "Oslo",
            ds.field("city") == "Oslo",
            "where city = 'Oslo'",
            lambda frame: frame[frame.city == "Oslo"],
        ),
        "index point": Asked(
            ["fare"],
            ["rider"],
            pt.col("rider") == 77,
            pl.col("rider") == 77,
            ds.field("rider") == 77,
            "where rider = 77",
            lambda frame: frame[frame.rider == 77],
        ),
        "range of pages": Asked(
            ["noise"],
            ["id"],
            (pt.col("id") >= 30_000) & (pt.col("id") < 31_000),
            pl.col("id").is_between(30_000, 31_000, closed="left"),
            (ds.field("id") >= 30_000) & (ds.field("id") < 31_000),
            "where id >= 30000 and id < 31000",
            lambda frame: frame[(frame.id >= 30_000) & (frame.id < 31_000)],
        ),
        "long list or a value": Asked(
            ["id"],
            ["noise", "rider"],
            pt.col("noise").isin(chosen) | (pt.col("rider") == 3),
            pl.col("noise").is_in(chosen) | (pl.col("rider") == 3),
            ds.field("noise").isin(chosen) | (ds.field("rider") == 3),
            f"where noise in ({listed}) or rider = 3",
            lambda frame: frame[frame.noise.isin(chosen) | (frame.rider == 3)],
        ),
    }


QUERIES = ["projection", "partition", "index point", "range of pages", "long list or a value"]


Face = Callable[[Place, Asked], list[Any]]


def by_native(place: Place, asked: Asked) -> list[Any]:
    scan = place.table.scan(asked.columns, asked.where)
    return scan.to_arrow()[asked.columns[0]].to_pylist()


def of_frame(frame: pl.LazyFrame, asked: Asked, engine: Any = "auto") -> list[Any]:
    if asked.polars is not None:
        frame = frame.filter(asked.polars)
    return frame.select(asked.columns).collect(engine=engine)[asked.columns[0]].to_list()


def by_polars(place: Place, asked: Asked) -> list[Any]:
    return of_frame(place.table.lazy(), asked)


def by_streaming(place: Place, asked: Asked) -> list[Any]:
    return of_frame(place.table.lazy(), asked, "streaming")


def by_dataset(place: Place, asked: Asked) -> list[Any]:
    dataset = place.table.to_pyarrow_dataset()
    found = dataset.to_table(columns=asked.columns, filter=asked.pyarrow)
    return found[asked.columns[0]].to_pylist()


def by_dataset_in_polars(place: Place, asked: Asked) -> list[Any]:
    return of_frame(pl.scan_pyarrow_dataset(place.table.to_pyarrow_dataset()), asked)


def by_sql(place: Place, asked: Asked) -> list[Any]:
    query = place.table.sql(f"select {asked.columns[0]} from t {asked.sql}")
    return query.to_arrow()[asked.columns[0]].to_pylist()


def by_duckdb(place: Place, asked: Asked) -> list[Any]:
    with duckdb.connect() as connection:
        connection.register("trips", place.table.to_pyarrow_dataset())
        found = connection.sql(f"select {asked.columns[0]} from trips {asked.sql}").fetchall()
    return [value for (value,) in found]


def by_dask(place: Place, asked: Asked) -> list[Any]:
    options = dict(place.options)
    if options:
        options["secret_access_key"] = "env:PARTITA_TEST_SECRET"
    frame = ptd.read_table(place.table.url, storage_options=options)
    return asked.dask(frame)[asked.columns[0]].compute(scheduler="sync").tolist()


FACES = [by_polars, by_streaming, by_dataset, by_dataset_in_polars, by_sql, by_duckdb, by_dask]


@pytest.mark.parametrize("name", QUERIES)
@pytest.mark.parametrize("face", FACES)
def test_an_engine_reads_what_the_native_read_does(place, data, name, face, monkeypatch):
    monkeypatch.setenv("PARTITA_TEST_SECRET", "secret")
    asked = queries(data)[name]
    columns = asked.columns
    if face in (by_polars, by_streaming, by_dataset_in_polars):
        # Polars wants the columns of the condition as well.
        columns = columns + asked.tested
    rows, requests = place.read(by_native, replace(asked, columns=columns))
    scan = place.table.scan(columns, asked.where)
    scan.to_arrow()
    cost = scan.explain().details["last_run"]
    got, made = place.read(face, asked)
    assert got == rows
    if face is by_dataset_in_polars and name == "long list or a value":
        # Polars tells a dataset of pyarrow no long list.
        assert place.table.last_run.explain().details["predicate"] is None
        return
    if face is by_dask:
        # Each task looks up the index for itself.
        assert [one for one in made if "/table/" in one[0]] == [
            one for one in requests if "/table/" in one[0]
        ]
    else:
        assert made == requests
        assert place.table.last_run.explain().details["last_run"] == cost


def test_pages_are_left_out(place, data):
    asked = queries(data)["range of pages"]
    by_sql(place, asked)
    assert place.table.last_run.explain().details["last_run"]["pages_pruned"] > 0


@pytest.fixture
def trips(memory) -> pt.Table:
    data = {
        "city": ["Oslo", "Oslo", "Rome", "Lima"],
        "fare": [12.5, 30.0, 9.0, None],
        "tags": [["a"], [], None, ["b", "c"]],
    }
    return pt.create_table(f"{memory}/trips", data, partition_by="city")


class TestLazyFrames:
    def test_of_a_url_a_table_and_a_scan(self, trips):
        for source in (trips.url, trips, trips.scan()):
            frame = pt.scan_polars(source)
            assert frame.collect().equals(trips.to_polars())

    def test_the_schema_is_known_without_reading(self, trips):
        assert trips.lazy().collect_schema() == trips.to_polars().schema
        assert trips.last_run is None

    def test_options_are_for_urls(self, trips):
        trips.append({"city": ["Oslo"], "fare": [1.0], "tags": [[]]})
        assert pt.scan_polars(trips.url, at=1).collect().height == 4
        with pytest.raises(pt.InvalidArgument, match="at: these are for URLs"):
            pt.scan_polars(trips, at=1)

    def test_a_frame_stays_at_its_version(self, trips):
        frame = trips.lazy()
        trips.append({"city": ["Oslo"], "fare": [1.0], "tags": [[]]})
        assert frame.collect().height == frame.head(10).collect().height == 4
        assert trips.lazy().collect().height == 5

    @pytest.mark.parametrize("engine", ["in-memory", "streaming"])
    def test_limits_and_slices(self, trips, engine):
        frame, whole = trips.lazy(), trips.to_polars()
        for first, count in [(0, 0), (0, 3), (1, 2), (3, 9), (-2, 1)]:
            got = frame.slice(first, count).collect(engine=engine)
            assert got.equals(whole.slice(first, count))
        some = frame.filter(pl.col("fare") > 10).head(1).collect(engine=engine)
        assert some["fare"].to_list() == [12.5]
        odd = frame.filter(pl.col("fare") * 2 > 20).head(1).collect(engine=engine)
        assert odd["fare"].to_list() == [12.5]
        assert frame.select(pl.len()).collect(engine=engine).item() == 4

    @pytest.mark.parametrize("engine", ["in-memory", "streaming"])
    def test_limits_and_conditions_in_every_order(self, trips, engine):
        steps: dict[str, Callable[[pl.LazyFrame], pl.LazyFrame]] = {
            "head": lambda frame: frame.head(3),
            "slice": lambda frame: frame.slice(1, 2),
            "pushed": lambda frame: frame.filter(pl.col("fare") > 10),
            "applied after": lambda frame: frame.filter(pl.col("fare") * 2 < 40),
            "columns": lambda frame: frame.select("fare"),
        }
        whole = trips.to_polars().lazy()
        for order in itertools.permutations(steps, 3):
            frame, expected = trips.lazy(), whole
            for name in order:
                frame, expected = steps[name](frame), steps[name](expected)
            assert frame.collect(engine=engine).equals(expected.collect()), order

    def test_a_limit_reads_less(self, tmp_path):
        table = pt.create_table(tmp_path / "t", ({"a": range(n, n + 9)} for n in range(3)))
        assert table.lazy().head(2).collect()["a"].to_list() == [0, 1]
        assert repr(table.last_run) == "Scan(t, limit=2)"

    def test_a_scan_with_a_limit_is_limited_first(self, trips):
        scan = trips.scan(limit=2)
        rows = scan.to_polars()
        assert (
            scan.lazy()
            .filter(pl.col("city") == "Rome")
            .collect()
            .equals(rows.filter(pl.col("city") == "Rome"))
        )
        assert scan.lazy().collect().equals(rows)
        expected = scan.to_arrow().filter(ds.field("city") == "Rome")
        dataset = scan.to_pyarrow_dataset()
        assert dataset.to_table(filter=ds.field("city") == "Rome").equals(expected)
        assert dataset.count_rows(filter=ds.field("city") == "Rome") == expected.num_rows
        assert scan.sql("select * from t where city = 'Rome'").to_arrow().num_rows == 0

    def test_a_piece_of_a_scan(self, trips):
        for key, piece in trips.scan().by_partition():
            found = piece.lazy().filter(pl.col("fare") > 5).collect()
            assert set(found["city"]) <= {key["city"]}
            assert piece.to_pyarrow_dataset().count_rows() == len(piece) == piece.head().shape[0]

    def test_frames_are_joined_with_themselves(self, trips):
        frame = trips.lazy()
        other = (
            frame.filter(pl.col("fare") > 10).group_by("city").agg(pl.col("fare").max().alias("m"))
        )
        found = frame.join(other, on="city").select("fare", "m").sort("fare").collect()
        assert found.rows() == [(12.5, 30.0), (30.0, 30.0)]

    def test_nothing_but_the_columns_of_the_query_is_read(self, trips):
        trips.lazy().select("fare").collect()
        assert repr(trips.last_run) == "Scan(trips, columns=['fare'])"


class TestDatasets:
    @pytest.fixture
    def dataset(self, trips):
        return trips.to_pyarrow_dataset()

    def test_it_is_a_dataset(self, dataset, trips):
        assert isinstance(dataset, ds.Dataset)
        assert dataset.schema == trips.schema
        assert repr(dataset) == "TableDataset(trips)"

    def test_columns_as_expressions(self, dataset):
        found = dataset.to_table(
            columns={"twice": ds.field("fare") * 2, "city": ds.field("city")},
            filter=ds.field("fare") > 10,
        )
        assert found.to_pydict() == {"twice": [25.0, 60.0], "city": ["Oslo", "Oslo"]}
        assert "columns=['city', 'fare']" in repr(dataset.last_run)

    def test_no_columns(self, dataset):
        assert dataset.to_table(columns=[]).num_rows == 4
        assert dataset.count_rows() == 4

    def test_a_column_that_is_not_there(self, dataset):
        with pytest.raises(pt.NotFound, match="no such column"):
            dataset.to_table(columns=["fair"])

    def test_an_expression_that_does_not_fit(self, dataset):
        with pytest.raises(pt.InvalidArgument, match="Expression, not str"):
            dataset.scanner(filter="fare > 10")

    def test_first_rows_and_chosen_rows(self, dataset, trips):
        whole = trips.to_arrow()
        assert dataset.head(2) == whole.slice(0, 2)
        assert dataset.head(0).num_rows == 0
        assert dataset.head(9, columns=["fare"]) == whole.select(["fare"])
        assert dataset.take([3, 0]) == whole.take([3, 0])

    def test_batches(self, dataset):
        batches = list(dataset.to_batches(columns=["fare"], batch_size=1))
        assert {batch.num_rows for batch in batches} == {1}
        assert len(batches) == 4

    def test_filters_add_up(self, dataset):
        some = dataset.filter(ds.field("city") == "Oslo").filter(ds.field("fare") > 20)
        assert some.to_table()["fare"].to_pylist() == [30.0]
        assert some.count_rows(filter=ds.field("fare") > 40) == 0

    def test_fragments(self, dataset):
        pieces = list(dataset.get_fragments(filter=ds.field("city") != "Lima"))
        assert [piece.count_rows() for piece in pieces] == [2, 1]
        assert pieces[1].to_table()["city"].to_pylist() == ["Rome"]

    def test_it_travels(self, dataset):
        some = dataset.filter(ds.field("city") == "Rome")
        assert pickle.loads(pickle.dumps(some)).to_table()["fare"].to_pylist() == [9.0]

    def test_it_is_written_elsewhere(self, dataset, tmp_path):
        ds.write_dataset(dataset, tmp_path, format="parquet")
        assert ds.dataset(tmp_path).count_rows() == 4

    @pytest.mark.parametrize(
        "use",
        [
            lambda one: one.children,
            lambda one: one.replace_schema(one.schema),
            lambda one: one.sort_by("fare"),
            lambda one: one.join(one, "city"),
            lambda one: one.join_asof(one, "fare", "city", 1),
            lambda one: one.scanner(fragment_scan_options=ds.ParquetFragmentScanOptions()),
            lambda one: ds.Scanner.from_dataset(one).to_table(),
            lambda one: ds.dataset([one]).to_table(),
            lambda one: list(ds.dataset([one]).get_fragments())[0].to_table(),
        ],
    )
    def test_what_it_cannot_do_is_refused(self, dataset, use):
        with pytest.raises(pt.InvalidArgument, match="a dataset of a table does not have"):
            use(dataset)

    def test_a_scan_with_a_limit_has_no_fragments(self, trips):
        with pytest.raises(pt.InvalidArgument, match="fragments of a scan with a limit"):
            list(trips.scan(limit=1).to_pyarrow_dataset().get_fragments())


class TestErrors:
    """Errors of the store come through each engine as ours, and so does Ctrl-C."""

    @pytest.fixture
    def broken(self, tmp_path):
        table = pt.create_table(tmp_path / "t", {"a": [1, 2, 3]})
        for file in (tmp_path / "t").glob("table/*.parquet"):
            file.unlink()
        return table

    @pytest.mark.parametrize(
        "run",
        [
            lambda table: table.lazy().collect(engine="in-memory"),
            lambda table: table.lazy().filter(pl.col("a") > 1).collect(engine="streaming"),
            lambda table: table.to_pyarrow_dataset().to_table(),
            lambda table: table.to_pyarrow_dataset().head(1),
            lambda table: pl.scan_pyarrow_dataset(table.to_pyarrow_dataset()).collect(),
            lambda table: table.sql("select sum(a) from t").to_arrow(),
            lambda table: list(table.sql("select a from t").to_batches()),
        ],
    )
    def test_a_file_that_is_gone(self, broken, run):
        with pytest.raises(pt.Corrupt) as caught:
            run(broken)
        assert caught.value.context["key"].endswith(".parquet")

    def test_duckdb_says_what_was_wrong(self, broken):
        with duckdb.connect() as connection:
            connection.register("t", broken.to_pyarrow_dataset())
            with pytest.raises(duckdb.Error, match="a file that the dataset names"):
                connection.sql("select a from t").fetchall()

    @pytest.mark.parametrize(
        "read",
        [
            "table.lazy().collect(engine='in-memory')",
            "table.lazy().collect(engine='streaming')",
            "table.to_pyarrow_dataset().to_table()",
            "table.sql('select sum(a) from t').to_arrow()",
            "list(table.sql('select a from t').to_batches())",
        ],
    )
    def test_an_interrupt(self, read):
        """In a process of its own, since Polars leaves the signal to Python after it has raised."""
        with scripted_s3() as s3:
            options = s3.options("reader")
            pt.create_table("s3://test/lake/t", {"a": [1, 2, 3]}, storage_options=options)
            program = f"""
import signal, sys
import partita as pt
table = pt.open("s3://test/lake/t", storage_options={options})
try:
    try:
        {read}
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
except KeyboardInterrupt:
    sys.exit(7)
"""
            started: list[subprocess.Popen[str]] = []

            def interrupt(request: Request) -> None:
                if request.operation == "GET" and "/table/" in request.key:
                    s3.script = None
                    started[0].send_signal(signal.SIGINT)

            s3.script = interrupt
            started.append(
                subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE, text=True)
            )
            _, told = started[0].communicate(timeout=300)
        assert (started[0].returncode, told) == (7, "")
