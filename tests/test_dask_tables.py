"""Tables read and written by Dask: threads, processes, and a cluster whose workers may die."""

from __future__ import annotations

import os
import pickle
import re
import signal
import sys
import time
from pathlib import Path
from typing import Any

import dask
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from dask.delayed import Delayed

import partita as pt
import partita.dask as ptd
from partita._credentials import referenced, resolved
from partita.dask._read import ReadTable
from plateau_lake import Lake, same_frame
from s3_server import s3_server
from worker_signals import begun

ROWS = 240


def trips(first: int = 0, rows: int = ROWS) -> pd.DataFrame:
    """Trips in three cities, some without a fare or a rider."""
    numbers = np.arange(first, first + rows)
    return pd.DataFrame(
        {
            "id": numbers,
            "city": np.array(["Oslo", "Rome", "Lima"])[numbers % 3],
            "rider": numbers // 10,
            "fare": np.where(numbers % 7 == 0, np.nan, numbers / 4),
            "note": pd.Series([None if n % 5 == 0 else f"n{n % 4}" for n in numbers]),
            "at": (pd.Timestamp("2026-01-01") + pd.to_timedelta(numbers, unit="h")).as_unit("ns"),
        }
    )


def plain(frame: pd.DataFrame) -> pd.DataFrame:
    """A frame with pandas' text type, not Arrow's."""
    frame = frame.reset_index(drop=True)
    for name, dtype in frame.dtypes.items():
        if isinstance(dtype, pd.StringDtype):
            frame[name] = frame[name].astype(object).where(frame[name].notna(), None)
    return frame


def same(one: pd.DataFrame, other: pd.DataFrame) -> None:
    """Asserts the same rows in any order."""
    columns = sorted(other.columns)
    same_frame(plain(one)[columns], plain(other)[columns])


@pytest.fixture
def url(tmp_path) -> str:
    return str(tmp_path / "lake" / "trips")


@pytest.fixture
def table(url) -> pt.Table:
    table = pt.create_table(url, trips(rows=80), partition_by="city", index="rider")
    for first in range(80, ROWS, 80):
        table.append(trips(first, 80))
    return table


@pytest.fixture(scope="module")
def client():
    from distributed import Client, LocalCluster

    with (
        LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None, memory_limit=0
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


def reads(ddf: dd.DataFrame) -> list[ReadTable]:
    """The reads that remain in a Dask DataFrame after optimisation."""
    return list(ddf.optimize(fuse=False).expr.find_operations(ReadTable))


def files_of(read: ReadTable) -> set[str]:
    return {key for piece in read.plan.pieces for key in piece.files}


# Reading


def test_all_rows_come_back_one_partition_for_each_file(table):
    ddf = ptd.read_table(table.url)
    assert ddf.npartitions == table.num_files == 9
    same(ddf.compute(scheduler="sync"), trips())
    pieces = [part.compute(scheduler="sync") for part in ddf.partitions]
    for piece in pieces:
        assert piece.dtypes.equals(ddf.dtypes)


def test_projections_reach_the_files(table):
    ddf = ptd.read_table(table.url)
    for query, columns in [
        (ddf["fare"].sum(), ["fare"]),
        (ddf[["id", "fare"]], ["id", "fare"]),
        (ddf[ddf.at.dt.day == 3][["id"]], ["id", "at"]),
        (ddf.groupby("city").fare.mean(), ["city", "fare"]),
        (ddf.index, []),
    ]:
        assert [read.columns for read in reads(query)] == [columns]
    expected = trips().groupby("city").fare.mean()
    found = ddf.groupby("city").fare.mean().compute(scheduler="sync").sort_index()
    np.testing.assert_allclose(found.to_numpy(), expected.sort_index().to_numpy())


def test_filters_leave_out_files(table):
    ddf = ptd.read_table(table.url)
    query = ddf[(ddf.city == "Oslo") & (ddf.rider == 17)][["id"]]
    (read,) = reads(query)
    explained = table.scan(where="city == 'Oslo' and rider == 17").explain().details
    assert len(files_of(read)) == read.npartitions == explained["files_read"] == 1
    assert read.columns == ["id"]
    assert sorted(query.compute(scheduler="sync")["id"]) == [171, 174, 177]


def test_rows_that_are_used_twice_stay_side_by_side(table):
    ddf = ptd.read_table(table.url)
    whole = dd.from_pandas(trips(), npartitions=1)
    some = ddf[ddf.city == "Rome"]
    rome = trips().query("city == 'Rome'")
    found = (some.fare / (some.id + 1)).sum().compute(scheduler="sync")
    assert found == pytest.approx((rome.fare / (rome.id + 1)).sum())
    few = ddf.assign(few=ddf[ddf.id < 100].fare)
    expected = whole.assign(few=whole[whole.id < 100].fare)
    same(few.compute(scheduler="sync"), expected.compute(scheduler="sync"))
    share = (some.id.sum() / ddf.id.sum()).compute(scheduler="sync")
    assert share == pytest.approx(rome.id.sum() / trips().id.sum())


FILTERS = {
    "less": lambda f: f.fare < 20,
    "not less": lambda f: ~(f.fare < 20),
    "unequal": lambda f: f.fare != 20,
    "unequal text": lambda f: f.note != "n1",
    "not equal text": lambda f: ~(f.note == "n1"),
    "in": lambda f: f.note.isin(["n1", "n2"]),
    "not in": lambda f: ~f.note.isin(["n1", "n2"]),
    "missing": lambda f: f.note.isna(),
    "missing number": lambda f: f.fare.isna(),
    "not missing": lambda f: f.note.notnull() & (f.id > 200),
    "either": lambda f: (f.id < 5) | (f.city == "Rome"),
    "neither": lambda f: ~((f.fare < 20) | (f.city == "Rome")),
    "between": lambda f: f.id.between(10, 20, inclusive="left"),
    "mirrored": lambda f: 30 > f.id,
    "moment": lambda f: f.at >= pd.Timestamp("2026-01-05"),
    "numpy moment": lambda f: f.at < np.datetime64("2026-01-05"),
    "arithmetic": lambda f: f.id + 1 == 5,
    "columns": lambda f: f.id > f.rider * 9,
    "reduction": lambda f: f.id > f.id.mean(),
}


@pytest.mark.parametrize("name", FILTERS)
def test_a_filter_means_what_it_means_in_pandas(table, name):
    condition = FILTERS[name]
    ddf = ptd.read_table(table.url)
    plain_ddf = dd.from_pandas(trips(), npartitions=2)
    same(
        ddf[condition(ddf)].compute(scheduler="sync"),
        plain_ddf[condition(plain_ddf)].compute(scheduler="sync"),
    )


@pytest.mark.parametrize(
    "name", ["less", "not less", "unequal", "not in", "either", "neither", "between", "mirrored"]
)
def test_what_a_predicate_can_tell_is_not_filtered_again(table, name):
    from dask.dataframe.dask_expr._expr import Filter

    ddf = ptd.read_table(table.url, where="id >= 3")
    query = ddf[FILTERS[name](ddf)]
    query = query[query.city != "Lima"].optimize(fuse=False)
    assert list(query.expr.find_operations(Filter)) == []
    expected = trips().query("id >= 3 and city != 'Lima'")
    same(query.compute(scheduler="sync"), expected[FILTERS[name](expected)])


def test_the_length_is_known_without_reading(table):
    whole = len(ptd.read_table(table.url))
    for path in Path(table.url.removeprefix("file://")).rglob("*.parquet"):
        if "_partita" not in path.parts and "indices" not in path.parts:
            path.write_bytes(b"gone")
    pruned = ptd.read_table(table.url)
    assert len(pruned) == whole == ROWS
    assert len(pruned["id"]) == len(pruned[["id", "fare"]]) == ROWS


def test_all_tasks_read_the_version_of_the_graph(table):
    ddf = ptd.read_table(table.url)
    old = ptd.read_table(table.url, at=1)
    table.replace(trips(1000, 30), where="id >= 0")
    same(ddf.compute(scheduler="sync"), trips())
    assert len(old.compute(scheduler="sync")) == 80
    same(ptd.read_table(table.url).compute(scheduler="sync"), trips(1000, 30))


def test_a_table_of_plateau_is_read_as_it_was(tmp_path):
    lake = Lake(tmp_path / "theirs")
    lake.theirs_create("t", trips(), partition_on=["city"], secondary_indices=["rider"])
    by_file = ptd.read_table(lake.url("t"))
    by_rider = ptd.read_table(lake.url("t"), index="rider")
    same(by_file[by_file.rider > 3].compute(scheduler="sync"), trips().query("rider > 3"))
    lake.theirs_update("t", trips(ROWS, 30))
    same(by_file.compute(scheduler="sync"), trips())
    same(by_rider.reset_index().compute(scheduler="sync"), trips())
    lake.theirs_update("t", None, delete_scope=[{"city": "Oslo"}])
    fresh = pt.open_table(lake.url("t"))
    gone = ptd.read_table(fresh.url)
    lake.theirs_update("t", None, delete_scope=[{"city": "Rome"}])
    from partita.dask._source import opened

    opened.cache_clear()  # as in a worker that begins now
    with pytest.raises(pt.NotFound, match="changed"):
        gone.compute(scheduler="sync")


def test_pieces_have_the_promised_types_and_lose_no_digit(memory):
    kinds = {
        f"{sign}int{bits}": getattr(pa, f"{sign}int{bits}")()
        for sign in ("", "u")
        for bits in (8, 64)
    }
    kinds |= {"bool": pa.bool_(), "list": pa.list_(pa.int64()), "float": pa.float64()}
    most = {"int64": 2**53 + 1, "uint64": 2**64 - 1, "bool": True, "list": [2**53 + 1, None]}
    known = {f"{name} {form}": kind for name, kind in kinds.items() for form in ("full", "holes")}
    schema = pa.schema({"row": pa.int64(), **known})

    def rows(first: int, *, holes: bool) -> pa.Table:
        columns = [pa.array([first, first + 1])]
        for name, kind in known.items():
            value = most.get(name.split()[0], 7)
            columns.append(pa.array([value, None if holes and "holes" in name else value], kind))
        return pa.table(columns, schema=schema)

    table = pt.create_table(f"{memory}/t", rows(0, holes=True))
    table.append(rows(2, holes=False))
    ddf = table.to_dask()
    pieces = [ddf.get_partition(place).compute() for place in range(2)]
    for piece in pieces:
        assert piece.dtypes.astype(str).equals(ddf.dtypes.astype(str))
        assert str(piece["int64 full"].dtype) == "int64"
        assert str(piece["int64 holes"].dtype) == "Int64"
    got, expected = pd.concat(pieces, ignore_index=True), table.to_arrow()

    def of_list(value: Any) -> Any:
        return value.tolist() if isinstance(value, np.ndarray) else value

    for name in schema.names:
        values = [None if one is pd.NA or one != one else one for one in map(of_list, got[name])]
        assert values == expected[name].to_pylist(), name


def test_pieces_by_partition_and_by_value(table):
    by_key = ptd.read_table(table.url, by="partition")
    assert by_key.npartitions == 3
    assert sorted(by_key.map_partitions(len).compute(scheduler="sync")) == [80, 80, 80]
    small = ptd.read_table(table.url, by="partition", piece_bytes=1)
    assert small.npartitions == 9
    assert ptd.read_table(table.url, piece_bytes=1 << 30).npartitions == 1
    by_rider = ptd.read_table(table.url, by=["rider"], where="rider < 7")
    assert by_rider.npartitions == 7
    assert by_rider.map_partitions(lambda f: f.rider.nunique()).compute().tolist() == [1] * 7
    same(by_rider.compute(scheduler="sync"), trips().query("rider < 7"))
    with pytest.raises(pt.InvalidArgument):
        ptd.read_table(table.url, by=["rider"], piece_bytes=100)


@pytest.mark.parametrize("index", ["rider", "city"])
def test_divisions_are_known(table, index):
    ddf = ptd.read_table(table.url, index=index)
    assert ddf.known_divisions
    assert ddf.divisions[0] == trips()[index].min() and ddf.divisions[-1] == trips()[index].max()
    for place, part in enumerate(ddf.partitions):
        frame = part.compute(scheduler="sync")
        assert frame.index.is_monotonic_increasing
        assert (frame.index >= ddf.divisions[place]).all()
        assert (frame.index <= ddf.divisions[place + 1]).all()
    same(ddf.reset_index().compute(scheduler="sync"), trips())
    value = trips()[index].iloc[100]
    found = ddf.loc[value].compute(scheduler="sync")
    assert len(found) == (trips()[index] == value).sum()
    narrow = ddf[ddf.fare > 20][["id"]].compute(scheduler="sync")
    assert sorted(narrow["id"]) == sorted(trips().query("fare > 20")["id"])
    with pytest.raises(pt.InvalidArgument, match="index"):
        ptd.read_table(table.url, index="fare")


def test_nothing_matches(table):
    ddf = ptd.read_table(table.url, where={"city": "Nowhere"})
    assert len(ddf) == 0
    frame = ddf.compute(scheduler="sync")
    assert list(frame.columns) == table.columns and frame.dtypes.equals(ddf.dtypes)
    with pytest.raises(pt.InvalidPredicate):
        ptd.read_table(table.url, where="nothing == 1")
    with pytest.raises(pt.NotFound):
        ptd.read_table(table.url, columns=["nothing"])


def test_categories_of_an_index_are_known(url):
    frame = trips()
    pt.create_table(url, frame, partition_by="city", index="note")
    ddf = ptd.read_table(url, categoricals=["note", "city"])
    assert ddf.note.cat.known and not ddf.city.cat.known
    read = ddf.compute(scheduler="sync")
    same(read.assign(**{name: read[name].astype("string") for name in ("note", "city")}), frame)
    assert len(ddf[ddf.note == "n1"].compute(scheduler="sync")) == (frame.note == "n1").sum()


def test_a_table_and_a_scan_become_dask(table):
    same(table.to_dask(where="id > 9").compute(scheduler="sync"), trips().query("id > 9"))
    assert list(table.scan(columns=["id"]).to_dask().columns) == ["id"]
    with pytest.raises(pt.InvalidArgument, match="limit"):
        table.scan(limit=3).to_dask()


def test_other_ways_to_read(table):
    frames = dask.compute(*ptd.read_delayed(table.url, where="rider == 3"), scheduler="sync")
    same(pd.concat(frames), trips().query("rider == 3"))
    bag = ptd.read_bag(table.url, by="partition", partition_size=2)
    assert bag.npartitions == 2
    same(pd.concat(bag.compute(scheduler="sync")), trips())


def test_hashes_tell_tables_apart(table, tmp_path):
    other = pt.create_table(tmp_path / "other", trips().sample(frac=1, random_state=0))
    by_city = [
        ptd.hash_table(one.url, by="city").compute(scheduler="sync").sort_index()
        for one in (table, other)
    ]
    pd.testing.assert_series_equal(*by_city)
    whole = ptd.hash_table(table.url, subset=["id"]).compute(scheduler="sync")
    hashes = pd.util.hash_pandas_object(trips()[["id"]], index=False)
    assert whole.sum() == hashes.sum() and whole.dtype == "uint64"
    other.delete("id == 3")
    changed = ptd.hash_table(other.url, by="city").compute(scheduler="sync").sort_index()
    assert (changed != by_city[0]).tolist() == [False, True, False]
    known = ptd.statistics(table.url, where={"city": "Rome"})
    assert known["rows"].sum() == 80 and set(known["city"]) == {"Rome"}


# Writing


def test_a_table_made_by_many(url):
    frame = trips()
    ddf = dd.from_pandas(frame, npartitions=4)
    commit = ptd.write_table(ddf, url, partition_by="city", index="rider", metadata={"owner": "me"})
    table = pt.open_table(url)
    assert (commit.version, commit.rows_added, commit.files_added) == (1, ROWS, 12)
    assert (table.partition_by, table.index, table.metadata["owner"]) == (["city"], ["rider"], "me")
    same(table.read(), frame)
    assert table.verify(data=True) == []
    with pytest.raises(pt.AlreadyExists):
        ptd.write_table(ddf, url)


def test_append_replace_and_upsert(table):
    ddf = dd.from_pandas(trips(ROWS, 60), npartitions=3)
    assert ptd.write_table(ddf, table.url, mode="append").rows_added == 60
    same(table.refresh().read(), trips(rows=ROWS + 60))

    oslo = trips(1000, 30).assign(city="Oslo")
    new = dd.from_pandas(oslo, npartitions=2)
    ptd.write_table(new, table.url, mode="replace", where={"city": "Oslo"})
    expected = pd.concat([trips(rows=ROWS + 60).query("city != 'Oslo'"), oslo])
    same(table.refresh().read(), expected)

    changed = expected.head(50).assign(fare=1.5)
    both = pd.concat([changed, trips(5000, 10)])
    commit = ptd.write_table(
        dd.from_pandas(both, npartitions=4), table.url, mode="upsert", on=["id", "city"]
    )
    same(table.refresh().read(), pd.concat([both, expected.iloc[50:]]))
    assert table.verify(data=True) == [] and commit.rows_added == 60

    ptd.write_table(dd.from_pandas(trips(rows=9), npartitions=2), table.url, mode="replace")
    same(table.refresh().read(), trips(rows=9))
    assert (table.partition_by, table.index) == (["city"], ["rider"])
    assert table.at(1).count() == 80


def data_files(table: pt.Table) -> int:
    root = Path(table.url.removeprefix("file://")) / "table"
    return len(list(root.rglob("*.parquet")))


def test_an_upsert_refuses_a_key_twice(table):
    before = data_files(table)
    twice = dd.from_pandas(pd.concat([trips(rows=3), trips(rows=3)]), npartitions=2, sort=False)
    with pytest.raises(pt.InvalidArgument, match="twice"):
        ptd.write_table(twice, table.url, mode="upsert", on="id")
    same(table.refresh().read(), trips())
    assert data_files(table) == before


@pytest.mark.parametrize("buckets", [None, 3])
def test_a_shuffle_makes_one_file_of_each_key_and_bucket(url, buckets):
    frame = trips()
    ddf = dd.from_pandas(frame, npartitions=5)
    commit = ptd.write_table(
        ddf, url, partition_by="city", shuffle=True, buckets=buckets, bucket_by="rider"
    )
    assert commit.files_added == 3 * (buckets or 1)
    table = pt.open_table(url)
    same(table.read(), frame)
    for _, scan in table.scan().by_file():
        riders = scan.to_pandas()[["rider"]]
        places = pd.util.hash_pandas_object(riders, index=False) % (buckets or 1)
        assert places.nunique() == 1


def test_a_shuffle_by_month(url):
    frame = trips()
    ddf = dd.from_pandas(frame.assign(at=frame["at"] + pd.Timedelta(days=25)), npartitions=3)
    commit = ptd.write_table(ddf, url, partition_by=pt.Date("at", "month"), shuffle=True)
    assert commit.files_added == 2 == len(pt.open_table(url).partitions)
    assert pt.open_table(url).count() == ROWS
    with pytest.raises(pt.NotFound, match="Date"):
        ptd.write_table(ddf, url, mode="append", shuffle=True)
    month = pt.Date("at", "month")
    again = ptd.write_table(ddf, url, mode="append", partition_by=month, shuffle=True)
    assert again.files_added == 2


def test_no_row_without_a_key_is_dropped_in_silence(url):
    frame = trips()
    frame.loc[3, "city"] = None
    for shuffle in (False, True):
        with pytest.raises(pt.InvalidArgument, match="null"):
            ptd.write_table(
                dd.from_pandas(frame, npartitions=2), url, partition_by="city", shuffle=shuffle
            )
    with pytest.raises(pt.NotFound):
        pt.open_table(url)


def test_pieces_without_values_take_the_type_of_the_others(url):
    frame = pd.DataFrame({"n": [1, 2, 3, 4], "s": [None, None, "a", "b"], "k": [1, 1, 2, 2]})
    ptd.write_table(dd.from_pandas(frame, npartitions=2), url, partition_by="k")
    same_frame(plain(pt.open_table(url).read()), plain(frame), by=["n"])
    nothing = dd.from_pandas(frame.head(0), npartitions=1)
    ptd.write_table(nothing, url, mode="append")
    assert pt.open_table(url).count() == 4
    ptd.write_table(nothing, f"{url}-empty", partition_by="k")
    assert pt.open_table(f"{url}-empty").columns == ["n", "s", "k"]


def test_a_write_that_is_delayed_counts_once(url):
    ddf = dd.from_pandas(trips(), npartitions=3)
    written = ptd.write_table(ddf, url, compute=False)
    assert isinstance(written, Delayed)
    with pytest.raises(pt.NotFound):
        pt.open_table(url)
    first = written.compute(scheduler="sync")
    again = written.compute(scheduler="sync")
    assert (first.rows_added, again.rows_added, again.id) == (ROWS, 0, first.id)
    appended = ptd.write_table(ddf, url, mode="append", compute=False)
    for _ in range(2):
        appended.compute(scheduler="sync")
    assert pt.open_table(url).count() == 2 * ROWS
    for _ in range(2):
        ptd.write_table(ddf, url, mode="append", key="night of the 3rd")
    assert pt.open_table(url).count() == 3 * ROWS


def test_other_ways_to_write(url, table):
    made = [dask.delayed(trips)(first, 40) for first in range(0, ROWS, 40)]
    ptd.write_delayed([*made, dask.delayed(lambda: None)()], f"{url}-delayed", partition_by="city")
    same(pt.open_table(f"{url}-delayed").read(), trips())
    bag = ptd.read_bag(table.url).map(lambda frame: frame.assign(fare=0.0))
    ptd.write_bag(bag, f"{url}-bag", partition_by="city")
    same(pt.open_table(f"{url}-bag").read(), trips().assign(fare=0.0))


def test_a_write_that_fails_leaves_the_table(table):
    def broken(frame, partition_info=None):
        if (frame["id"] >= 400).any():
            raise RuntimeError("bad row")
        return frame

    ddf = dd.from_pandas(trips(300, 200), npartitions=4)
    ddf = ddf.map_partitions(broken, meta=ddf._meta)
    for mode in ({"mode": "append"}, {"mode": "replace", "where": "id >= 0"}):
        with pytest.raises(RuntimeError, match="bad row"):
            ptd.write_table(ddf, table.url, **mode)
    assert table.refresh().version == 3
    same(table.read(), trips())


def test_arguments_that_do_not_fit(table):
    ddf = dd.from_pandas(trips(), npartitions=2)
    for wrong in (
        {"mode": "insert"},
        {"mode": "upsert"},
        {"mode": "append", "on": "id"},
        {"mode": "append", "buckets": 3},
        {"mode": "append", "partition_by": "rider"},
        {"mode": "append", "index": "fare"},
        {"mode": "replace", "where": "nothing == 1"},
    ):
        with pytest.raises((pt.InvalidArgument, pt.SchemaMismatch, pt.InvalidPredicate)):
            ptd.write_table(ddf, table.url, **wrong)
    assert table.refresh().version == 3


# Receipts


def test_of_a_task_that_ran_twice_one_run_counts(url):
    writer = ptd.Writer.to(url, partition_by="city", index="rider")
    runs = [writer.stage(trips(n * 40, 40), task=f"task {n}") for n in (0, 1, 2, 1, 0)]
    sent = [pickle.loads(pickle.dumps(run)) for run in runs]
    left, right = ptd.merge_receipts(sent[:3]), ptd.merge_receipts(sent[3:])
    together = ptd.merge_receipts([left, right, left])
    assert (len(together), together.rows) == (3, 120)
    assert writer.commit(together).rows_added == 120
    table = pt.open_table(url)
    same(table.read(), trips(rows=120))
    assert table.verify(data=True) == []
    # Two tasks may well have staged the same rows.
    more = ptd.Writer.to(url, mode="append")
    more.commit(ptd.merge_receipts([more.stage(trips(rows=3), f"task {n}") for n in range(2)]))
    assert table.refresh().count() == 126


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux forgets the peak of a process")
def test_many_receipts_take_little_room(memory):
    writer = ptd.Writer.to(f"{memory}/t")
    one = writer.stage({"a": list(range(10)), "b": ["x"] * 10}, task="one")
    (staged,) = one.staged
    renamed = _renaming(staged)

    def receipts():
        for number in range(100_000):
            yield ptd.Receipts.of(f"task {number}", [renamed(number)])
            if number % 10 == 0:
                yield ptd.Receipts.of(f"task {number}", [renamed(1_000_000 + number)])

    def peak() -> int:
        status = Path("/proc/self/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) * 1024

    Path("/proc/self/clear_refs").write_text("5")
    before = peak()
    together = ptd.merge_receipts(receipts())
    grown = peak() - before
    assert (len(together), together.rows, len(together.staged)) == (100_000, 1_000_000, 1)
    assert len(set(together.keys)) == 100_000
    assert 0 < grown < 300 << 20


def _renaming(staged: pt.Staged):
    """Produces the same staged file under other keys, without writing it."""
    import base64
    import json

    document = json.loads(staged.to_bytes())
    with pa.ipc.open_stream(base64.b64decode(document["manifest"])) as reader:
        batch = reader.read_next_batch()
    label, key = batch["label"][0].as_py(), batch["key"][0].as_py()

    columns = batch.columns
    places = [batch.schema.get_field_index(name) for name in ("label", "key")]

    def renamed(number: int) -> pt.Staged:
        new = f"{label}-{number}"
        for place, value in zip(places, (new, key.replace(label, new)), strict=True):
            columns[place] = pa.array([value], batch.schema.types[place])
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, batch.schema) as writer:
            writer.write_batch(pa.record_batch(columns, schema=batch.schema))
        manifest = base64.b64encode(sink.getvalue()).decode()
        return pt.Staged.from_bytes(json.dumps({**document, "manifest": manifest}).encode())

    return renamed


# Credentials


def test_secrets_do_not_travel(table, monkeypatch):
    monkeypatch.setenv("LAKE_TIMEOUT", "30s")
    ddf = ptd.read_table(table.url, storage_options={"lock_timeout": "env:LAKE_TIMEOUT"})
    graph = pickle.dumps(dict(ddf.optimize().__dask_graph__()))
    assert b"env:LAKE_TIMEOUT" in graph and b"30s" not in graph
    assert len(ddf.compute(scheduler="sync")) == ROWS

    with pytest.raises(pt.InvalidArgument, match="env:NAME"):
        referenced({"aws_secret_access_key": "hush"})
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush")
    options = referenced({"secret_access_key": "hush", "region": "eu-north-1"})
    assert "hush" not in str(options)
    assert resolved(options) == {"secret_access_key": "hush", "region": "eu-north-1"}
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(pt.InvalidArgument, match="AWS_SECRET_ACCESS_KEY"):
        resolved(options)


def test_a_writer_in_a_pickle_holds_no_secret(url, monkeypatch):
    monkeypatch.setenv("LAKE_TIMEOUT", "31s")
    writer = ptd.Writer.to(url, storage_options={"lock_timeout": "env:LAKE_TIMEOUT"})
    assert b"31s" not in pickle.dumps(writer)
    written = ptd.write_table(
        dd.from_pandas(trips(), npartitions=2),
        url,
        storage_options={"lock_timeout": "env:LAKE_TIMEOUT"},
    )
    assert written.rows_added == ROWS


def test_workers_find_secrets_in_their_environment(tmp_path, monkeypatch):
    with s3_server(tmp_path) as options:
        monkeypatch.setenv("LAKE_SECRET", options["secret_access_key"])
        options["secret_access_key"] = "env:LAKE_SECRET"
        ddf = dd.from_pandas(trips(), npartitions=3)
        with dask.config.set(scheduler="processes", num_workers=2):
            ptd.write_table(
                ddf, "s3://test/lake/trips", partition_by="city", storage_options=options
            )
            read = ptd.read_table("s3://test/lake/trips", storage_options=options)
            same(read.compute(), trips())
            with pytest.raises(pt.PartitaError):
                ptd.read_table(
                    "s3://test/lake/trips",
                    storage_options={**options, "secret_access_key": "env:LAKE_OTHER"},
                )


# Schedulers


@pytest.mark.parametrize("scheduler", ["threads", "processes"])
def test_schedulers_of_one_machine(table, url, scheduler):
    with dask.config.set(scheduler=scheduler, num_workers=2):
        same(ptd.read_table(table.url).compute(), trips())
        ddf = ptd.read_table(table.url)
        ptd.write_table(ddf[ddf.fare > 20], f"{url}-copy", partition_by="city", shuffle=True)
    same(pt.open_table(f"{url}-copy").read(), trips().query("fare > 20"))


def test_a_cluster_reads_and_writes(client, table, url):
    ddf = ptd.read_table(table.url)
    same(ddf.compute(), trips())
    assert ddf[ddf.city == "Rome"].id.sum().compute() == trips().query("city == 'Rome'").id.sum()
    commit = ptd.write_table(
        ddf, f"{url}-copy", partition_by="city", index="rider", shuffle=True, buckets=2
    )
    assert commit.files_added == 6
    copied = pt.open_table(f"{url}-copy")
    same(copied.read(), trips())
    assert copied.verify(data=True) == []


def slowly(frame: pd.DataFrame, signals: str) -> pd.DataFrame:
    """Signals that it has begun, and waits for permission to continue."""
    began = Path(signals) / f"began-{os.getpid()}"
    began.touch()
    while not (Path(signals) / "go").exists():
        time.sleep(0.02)
    return frame


def test_a_worker_killed_in_the_middle_of_a_write(client, table, tmp_path):
    signals = tmp_path / "signals"
    signals.mkdir()
    frame = trips(ROWS, 400)
    ddf = dd.from_pandas(frame, npartitions=8)
    quick, slow = ddf.partitions[:4], ddf.partitions[4:]
    slow = slow.map_partitions(slowly, str(signals), meta=ddf._meta)
    delayed = ptd.write_table(dd.concat([quick, slow]), table.url, mode="append", compute=False)
    future = client.compute(delayed, retries=5)
    victim = begun(signals, 2)[0]
    os.kill(victim, signal.SIGKILL)
    (signals / "go").touch()
    commit = future.result(timeout=120)
    assert commit.rows_added == 400
    same(table.refresh().read(), trips(rows=ROWS + 400))
    assert table.verify(data=True) == []


def test_a_write_that_is_cancelled_leaves_the_table(client, table, tmp_path):
    signals = tmp_path / "signals"
    signals.mkdir()
    client.wait_for_workers(2, timeout=60)
    ddf = dd.from_pandas(trips(ROWS, 400), npartitions=4)
    ddf = ddf.map_partitions(slowly, str(signals), meta=ddf._meta)
    delayed = ptd.write_table(ddf, table.url, mode="replace", where="id >= 0", compute=False)
    future = client.compute(delayed)
    begun(signals, 1)
    future.cancel()
    (signals / "go").touch()
    deadline = time.monotonic() + 60
    while client.run_on_scheduler(lambda dask_scheduler: len(dask_scheduler.tasks)):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert table.refresh().version == 3
    same(table.read(), trips())
