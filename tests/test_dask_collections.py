"""Collections in xarray and Dask: lazy reads, changes by many tasks, one commit."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

import partita as pt
from s3_server import PROGRAM, s3_server
from worker_signals import begun

dask = pytest.importorskip("dask")
da = pytest.importorskip("dask.array")

ROWS = 2160
MONTHS = [408, 672, 744, 336]


def tracks(start: int = 0, rows: int = ROWS, shift: float = 0.0) -> xr.Dataset:
    """Hourly rows from the middle of January, in chunks of at most 500 rows per month."""
    hours = np.datetime64("2022-01-15", "h") + np.arange(start, start + rows)
    values = np.arange(start, start + rows, dtype="f4")[:, None] + np.arange(5, dtype="f4") / 8
    data = xr.Dataset(
        {
            "ssh": (("time", "x"), values + np.float32(shift), {"units": "m"}),
            "flag": ("time", np.arange(start, start + rows, dtype="i2") % 3),
            "name": ("time", np.array([f"row {i}" for i in range(start, start + rows)], object)),
            "angle": ("x", np.linspace(-1, 1, 5)),
        },
        {"time": hours.astype("M8[us]")},
        {"title": "tracks"},
    )
    data.ssh.encoding["_FillValue"] = np.float32("nan")
    return data


def empty(url, **options) -> pt.Collection:
    by = pt.Date("time", "month")
    chunks = {"time": 500}
    return pt.create_collection(
        url, tracks(), axis="time", partition_by=by, chunks=chunks, insert=False, **options
    )


@pytest.fixture
def collection(tmp_path) -> pt.Collection:
    made = empty(tmp_path / "lake" / "tracks")
    made.insert(tracks())
    return made


@pytest.fixture(scope="module")
def client():
    from distributed import Client, LocalCluster

    options = {"threads_per_worker": 1, "dashboard_address": ":0", "memory_limit": 0}
    with LocalCluster(n_workers=2, **options) as cluster, Client(cluster) as client:
        yield client


# Reading


def test_blocks_are_stored_chunks(collection):
    lazy = collection.read(chunks={})
    assert lazy.chunks["time"] == (408, 500, 172, 500, 244, 336)
    xr.testing.assert_identical(lazy.compute(), collection.read())


@pytest.mark.parametrize(
    ("chunks", "blocks"),
    [
        ({"time": 700}, (908, 916, 336)),
        ({"time": -1}, (ROWS,)),
        ("auto", (ROWS,)),
        (600, (908, 672, 580)),
    ],
)
def test_blocks_put_together(collection, chunks, blocks):
    assert collection.read(variables=["ssh", "time"], chunks=chunks).chunks["time"] == blocks


def test_other_dimensions_are_cut_as_asked(collection):
    assert collection.read(chunks={"x": 2}).chunks["x"] == (2, 2, 1)


@pytest.mark.parametrize(
    "where",
    [
        "month == 2",
        "time >= '2022-02-10' and time < '2022-03-12'",
        "flag == 1 and month < 3",
        "time > '2030-01-01'",
    ],
)
@pytest.mark.parametrize("decode", [False, True])
def test_conditions_are_those_of_a_read(collection, where, decode):
    lazy = collection.read(where, chunks={}, decode=decode)
    xr.testing.assert_identical(lazy.compute(), collection.read(where, decode=decode))


def test_only_the_blocks_asked_for_are_read(collection):
    lazy = collection.read(chunks={})
    os.rename(Path(collection.url) / "year=2022/month=03", Path(collection.url) / "gone")
    part = lazy.isel(time=slice(0, 1000)).compute()
    xr.testing.assert_identical(part, tracks(0, 1000).assign_coords(time=part.time))
    with pytest.raises(pt.errors.PartitaError, match="incomplete"):
        lazy.ssh.compute()


def test_a_change_meanwhile_is_told(collection):
    lazy = collection.read(chunks={})
    later = pickle.loads(pickle.dumps(lazy))
    pt.open(collection.url).insert(tracks(0, 10, shift=1), merge="upsert")
    assert float(lazy.ssh[-1, 0].compute()) == ROWS - 1
    for stale in (lazy, later):
        with pytest.raises(pt.errors.CommitConflict, match="month=01"):
            stale.ssh[:20].compute()


def test_types_that_xarray_lacks(tmp_path):
    days = np.arange("2022-01-20", "2022-02-10", dtype="M8[D]")
    data = {
        "day": ("day", days),
        "quarter": ("day", np.arange(21).astype("m8[15m]")),
        "big": ("day", np.arange(21, dtype=">i4")),
        "text": ("day", np.array(["é", "", "long"] * 7)),
    }
    by = pt.Date("day", "month")
    made = pt.create_collection(tmp_path / "odd", data, axis="day", partition_by=by)
    xr.testing.assert_equal(made.read(chunks={}).compute(), made.read())


def test_a_dimension_that_is_not_the_first(tmp_path):
    data = tracks()[["ssh", "time"]].transpose("x", "time")
    by = pt.Date("time", "month")
    made = pt.create_collection(tmp_path / "turned", data, axis="time", partition_by=by)
    lazy = made.read(chunks={})
    xr.testing.assert_identical(
        lazy[{"time": slice(300, 900, 7)}].compute(), made.read()[{"time": slice(300, 900, 7)}]
    )


@pytest.fixture(scope="module")
def opened(tmp_path_factory) -> tuple[xr.Dataset, xr.Dataset]:
    made = empty(tmp_path_factory.mktemp("backend") / "tracks")
    made.insert(tracks())
    return xr.open_dataset(made.url, engine="partita"), made.read(decode=True)


def slices(size: int) -> st.SearchStrategy[slice]:
    """Slices, except for empty ones with a negative step, on which xarray itself fails."""

    def works(one: slice) -> bool:
        return (one.step or 1) > 0 or len(range(*one.indices(size))) > 0

    return st.slices(size).filter(works)


INDEX = st.one_of(
    st.integers(-ROWS, ROWS - 1),
    slices(ROWS),
    st.lists(st.integers(-ROWS, ROWS - 1), max_size=6),
)


@given(row=INDEX, across=st.one_of(st.integers(-5, 4), slices(5)))
@settings(deadline=None, max_examples=60)
def test_any_index_of_the_backend(opened, row, across):
    lazy, whole = opened
    chosen = {"time": row, "x": across}
    xr.testing.assert_identical(lazy.isel(chosen).compute(), whole.isel(chosen))


def test_the_backend_of_xarray(collection):
    found = xr.open_dataset(collection.url, engine="partita", where="month == 2", chunks={})
    assert found.chunks["time"] == (500, 172)
    xr.testing.assert_identical(found.compute(), collection.read("month == 2", decode=True))
    raw = xr.open_dataset(
        collection.url, engine="partita", decode_cf=False, drop_variables=["name", "angle"]
    )
    assert set(raw.variables) == {"ssh", "flag", "time"}
    with pytest.raises(pt.errors.NotFound):
        xr.open_dataset(f"{collection.url}-not", engine="partita")
    with pytest.raises(pt.errors.InvalidArgument, match="no groups"):
        xr.open_dataset(collection.url, engine="partita", group="ku")


def test_groups_of_the_backend(tmp_path):
    time_axis = tracks().time.values
    data = {
        "time": ("time", time_axis),
        "ku/power": (("time", "x"), np.arange(ROWS * 2.0).reshape(ROWS, 2)),
        "ku/deep/count": ("time", np.arange(ROWS)),
    }
    by = pt.Date("time", "month")
    made = pt.create_collection(
        tmp_path / "groups", data, axis="time", partition_by=by, zarr_format=3
    )
    tree = xr.open_datatree(made.url, engine="partita", chunks={})
    xr.testing.assert_identical(tree.compute(), made.read(decode=True))
    ku = xr.open_dataset(made.url, engine="partita", group="ku")
    np.testing.assert_array_equal(ku.power, data["ku/power"][1])
    lazy = made.read("month == 2", chunks={})
    xr.testing.assert_identical(lazy.compute(), made.read("month == 2"))


# Changing


@pytest.mark.parametrize("merge", [None, "concat", "upsert", "time_series"])
def test_an_insert_of_many_is_that_of_one(tmp_path, collection, merge):
    other = collection.copy(tmp_path / "other")
    rows = tracks(300, 900, shift=0.5)
    rows = rows.isel(time=np.random.default_rng(1).permutation(900))
    collection.insert(rows, merge=merge)
    written = other.insert(rows.chunk({"time": 130}), merge=merge)
    assert [partition.path[-2:] for partition in written] == ["01", "02", "03"]
    xr.testing.assert_identical(other.read(), collection.read())
    assert len(other.history()) == 1
    assert other.verify(data=True) == []


def test_the_first_insert_brings_what_is_not_partitioned(tmp_path):
    made = empty(tmp_path / "first")
    made.insert(tracks().chunk({"time": 100}))
    xr.testing.assert_identical(made.read()[list(tracks().variables)], tracks())
    with pytest.raises(pt.errors.SchemaMismatch, match="other values"):
        made.insert(tracks().assign(angle=("x", np.zeros(5))).chunk({"time": 100}))


def test_what_others_change_meanwhile_is_kept(collection):
    """The rows of a task are merged again if a commit came between the task and the final
    commit."""
    done = []

    def meddling(block: np.ndarray) -> np.ndarray:
        if not done:
            done.append(True)
            pt.open(collection.url).insert(tracks(350, 5, shift=2), merge="upsert")
        return block

    rows = tracks(300, 10, shift=1).chunk({"time": 10})
    rows["ssh"] = rows.ssh.copy(
        data=rows.ssh.data.map_blocks(meddling, meta=np.empty((0, 0), "f4"))
    )
    with dask.config.set(scheduler="synchronous"):
        collection.insert(rows, merge="upsert")
    found = collection.read(variables=["ssh"]).ssh.values[:, 0] - np.arange(ROWS)
    assert list(np.flatnonzero(found == 1)) == list(range(300, 310))
    assert list(np.flatnonzero(found == 2)) == list(range(350, 355))


def test_a_task_that_fails_leaves_the_collection(collection):
    def failing(block: np.ndarray) -> np.ndarray:
        if block.size and block[0, 0] >= 600:
            raise ValueError("an instrument failed")
        return block

    rows = tracks(shift=1).chunk({"time": 100})
    rows["ssh"] = rows.ssh.copy(data=rows.ssh.data.map_blocks(failing, meta=np.empty((0, 0), "f4")))
    with pytest.raises(ValueError, match="an instrument failed"):
        collection.insert(rows)
    assert len(collection.history()) == 1
    with pytest.raises(pt.errors.SchemaMismatch, match="wrong"):
        collection.insert(tracks().assign(wrong=("time", np.zeros(ROWS))).chunk({"time": 100}))
    assert len(collection.history()) == 1


def test_an_insert_with_a_key_counts_once(collection):
    for _ in range(2):
        collection.insert(tracks(0, 50).chunk({"time": 20}), merge="concat", key="delivery 7")
    assert collection.read().sizes["time"] == ROWS + 50


def double(part: xr.Dataset, partition: pt.collection.PartitionInfo) -> dict:
    if partition.key["month"] == 4 and part.attrs.get("title") != "tracks":
        raise ValueError("no title")
    return {"ssh": part.ssh * 2}


def test_functions_on_workers(client, collection):
    collection.update(double, "month < 4", client=client)
    expected = tracks().ssh.values * np.where(np.arange(ROWS) < sum(MONTHS[:3]), 2, 1)[:, None]
    np.testing.assert_array_equal(collection.read().ssh.values, expected)
    seen: list[tuple[int, int | None]] = []
    found = collection.map_overlap(
        lambda part: part.sizes["time"],
        depth=1,
        client=client,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert list(found.values()) == [1080, 1824, 1752, 1080]
    assert seen[-1] == (4, 4)
    assert collection.map(lambda part: part.sizes["time"], client=True) == {
        (2022, month): rows for month, rows in enumerate(MONTHS, 1)
    }


def test_a_function_that_fails_on_a_worker(client, collection):
    def fails(part: xr.Dataset) -> dict:
        if part.time.values[0] >= np.datetime64("2022-03-01"):
            raise ValueError("no such weather")
        return {"ssh": part.ssh + 1}

    with pytest.raises(ValueError, match="no such weather"):
        collection.update(fails, client=client)
    xr.testing.assert_identical(collection.read(), collection.read())
    assert len(collection.history()) == 1


def test_a_cluster_reads_and_writes(client, collection, tmp_path):
    lazy = collection.read(chunks={})
    assert float(lazy.ssh.mean().compute()) == pytest.approx(float(tracks().ssh.mean()))
    other = empty(tmp_path / "other")
    other.insert(lazy.assign(ssh=lazy.ssh + 1), client=client)
    np.testing.assert_array_equal(other.read().ssh, tracks(shift=1).ssh)


def slowly(block: np.ndarray, signals: str) -> np.ndarray:
    """Signals that it has begun, and waits for permission to continue."""
    if block.size:
        (Path(signals) / f"began-{os.getpid()}").touch()
        while not (Path(signals) / "go").exists():
            time.sleep(0.02)
    return block


def waiting(signals: Path) -> xr.Dataset:
    rows = tracks(shift=1).chunk({"time": 400})
    meta = np.empty((0, 0), "f4")
    return rows.assign(
        ssh=rows.ssh.copy(data=rows.ssh.data.map_blocks(slowly, str(signals), meta=meta))
    )


@pytest.mark.parametrize("ends", ["killed", "interrupted"])
def test_an_insert_whose_worker_ends(client, collection, tmp_path, ends):
    from concurrent.futures import ThreadPoolExecutor

    signals = tmp_path / "signals"
    signals.mkdir()
    client.wait_for_workers(2, timeout=60)
    with ThreadPoolExecutor() as threads:
        inserting = threads.submit(collection.insert, waiting(signals), client=client)
        victim = begun(signals, 2)[0]
        if ends == "killed":
            os.kill(victim, signal.SIGKILL)
            (signals / "go").touch()
            inserting.result(timeout=120)
        else:
            from distributed.client import Future, FutureCancelledError

            futures = [Future(key, client) for key in list(client.futures)]
            client.cancel(futures, force=True)
            (signals / "go").touch()
            with pytest.raises(FutureCancelledError):
                inserting.result(timeout=120)
    same = tracks(shift=1 if ends == "killed" else 0)
    np.testing.assert_array_equal(collection.read().ssh, same.ssh)
    assert collection.verify(data=True) == []


@pytest.mark.skipif(not PROGRAM.exists(), reason="the S3 server of the tests is not built")
def test_secrets_do_not_travel(tmp_path, monkeypatch):
    with s3_server(tmp_path) as options:
        made = empty("s3://test/tracks", storage_options=options)
        made.insert(tracks())
        with pytest.raises(pt.errors.InvalidArgument, match="would travel in every task"):
            pickle.dumps(made.read(chunks={}))
        for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY"):
            monkeypatch.setenv(f"AWS_{name}", options[name.lower()])
        graph = pickle.dumps(made.read(chunks={}))
        assert options["secret_access_key"].encode() not in graph
        with dask.config.set(scheduler="processes"):
            xr.testing.assert_identical(pickle.loads(graph).compute(), made.read())
            made.insert(tracks(100, 900, shift=1).chunk({"time": 100}), merge="upsert")
        assert made.read().ssh.values[100, 0] == 101


# Concurrent writers, and interruptions


def cycles(keys: list[int], value: float, rows: int = 4, at: int = 0) -> dict:
    times = np.tile(np.arange(at, at + rows).astype("M8[s]"), len(keys))
    size = rows * len(keys)
    return {
        "time": ("n", times),
        "cycle": ("n", np.repeat(keys, rows).astype("i4")),
        "v": ("n", np.full(size, value)),
        "w": ("n", np.full(size, -1.0)),
    }


def many(url, partitions: int, **options) -> pt.Collection:
    by = pt.Sequence(["cycle"])
    data = cycles(list(range(partitions)), 7.0)
    return pt.create_collection(url, data, axis="time", partition_by=by, zarr_format=3, **options)


def raised(part: xr.Dataset) -> dict:
    return {"w": part.v + 100}


MEDDLING = {
    "rows of the first": lambda c: c.insert(cycles([0], 8.0, at=100), merge="upsert"),
    "rows of several": lambda c: c.insert(cycles([1, 6, 11], 8.0, at=100), merge="upsert"),
    "rows of a new one": lambda c: c.insert(cycles([50], 8.0)),
    "rows that take the place of others": lambda c: c.insert(cycles([3], 9.0, rows=2)),
    "a partition goes": lambda c: c.drop_partitions("cycle == 4"),
    "another update": lambda c: c.update(lambda part: {"v": part.v + 1}, "cycle in (0, 5)"),
    "attributes change": lambda c: c.set_attributes({"title": "new"}),
}


@pytest.mark.parametrize("place", ["", "icechunk+"])
@pytest.mark.parametrize("meddling", MEDDLING)
def test_an_update_of_many_beside_another_writer(tmp_path, monkeypatch, place, meddling):
    """Affected partitions are computed again; the other staged changes of the same tasks are
    kept."""
    from partita.dask import _collections

    monkeypatch.setattr(_collections, "_BATCHES", 1)
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    url = f"{place}{tmp_path / 'c'}"
    collection, seen, done = many(url, 12), set(), []

    def function(part: xr.Dataset, partition: pt.collection.PartitionInfo) -> dict:
        seen.add(partition.key["cycle"])
        if len(seen) == 12 and not done:
            done.append(True)
            MEDDLING[meddling](pt.open(url))
        return raised(part)

    with dask.config.set(scheduler="synchronous"):
        collection.update(function, client=True)
    assert done
    found = pt.open(url).read()
    old = found.cycle.values != 50
    np.testing.assert_array_equal(found.w.values, np.where(old, found.v.values + 100, -1))
    assert found.sizes["n"] == {
        "rows of the first": 52,
        "rows of several": 60,
        "rows of a new one": 52,
        "rows that take the place of others": 46,
        "a partition goes": 44,
    }.get(meddling, 48)
    assert collection.verify(data=True) == []


def test_what_is_not_partitioned_is_staged_again(tmp_path):
    """Another writer adds it first, between the staging and the commit."""
    made, done = empty(tmp_path / "first"), []

    def meddling(block: np.ndarray) -> np.ndarray:
        if block.size and not done:
            done.append(True)
            pt.open(made.url).insert(tracks(0, 3))
        return block

    rows = tracks().chunk({"time": 700})
    rows["ssh"] = rows.ssh.copy(
        data=rows.ssh.data.map_blocks(meddling, meta=np.empty((0, 0), "f4"))
    )
    with dask.config.set(scheduler="synchronous"):
        made.insert(rows)
    xr.testing.assert_identical(made.read()[list(tracks().variables)], tracks())
    assert made.verify(data=True) == []


class Breaking:
    """The engine's collection, whose commit of staged changes fails."""

    def __init__(self, native, error: BaseException, *, after: bool) -> None:
        self._native, self._error, self._after = native, error, after

    def __getattr__(self, name: str):
        return getattr(self._native, name)

    def commit_staged(self, operation, staged, key):
        if staged and self._after:
            self._native.commit_staged(operation, staged, key)
        if staged:
            raise self._error
        return self._native.commit_staged(operation, staged, key)


BREAKS = [
    KeyboardInterrupt(),
    SystemExit(1),
    MemoryError(),
    RuntimeError("any other"),
    pt.CommitUnknown("no answer"),
    pt.StoreError("no answer"),
    pt.Corrupt("misread"),
    pt.Interrupted("stopped"),
]


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("error", BREAKS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("operation", ["insert", "update"])
def test_what_may_be_committed_is_not_removed(tmp_path, operation, error, after):
    from partita._functions import Calling, Inserting, Updating
    from partita.collection import map_arguments
    from partita.dask import _collections

    collection = many(tmp_path / "c", 4)
    reference = collection._reference()
    reference = type("Reference", (), {"native": Breaking(reference.native, error, after=after)})()
    with dask.config.set(scheduler="synchronous"), pytest.raises(type(error)):
        if operation == "insert":
            rows = xr.Dataset(cycles([0, 1, 2, 3], 107.0)).chunk({"n": 3})
            stage = Inserting(None, False).stage
            options = {"encode": False, "key": None, "client": True, "report": None}
            _collections.insert(reference, rows, stage, **options)
        else:
            known = {"w": {"dimensions": ["n"], "dtype": "f8", "fill": None, "attributes": {}}}
            arguments = map_arguments(None, None, 0, 0, None)
            options = {"key": None, "client": True, "report": None}
            updating = Updating(Calling(raised), "n", known)
            _collections.update(reference, updating, arguments, **options)
    new = {"insert": ("v", 107.0, 7.0), "update": ("w", 107.0, -1.0)}[operation]
    for _ in range(2):
        found = pt.open(collection.url).read("cycle < 4")
        assert set(found[new[0]].values) == {new[1] if after else new[2]}
        assert collection.verify(data=True) == []
        # The next writer publishes the commit.
        pt.open(collection.url).insert(cycles([9], 1.0), merge="upsert")


def test_what_a_task_staged_twice_counts_once(tmp_path):
    collection = many(tmp_path / "c", 3)
    tasks = []

    def twice(part: xr.Dataset, partition: pt.collection.PartitionInfo) -> dict:
        tasks.append(partition.key["cycle"])
        if tasks.count(1) == 1 and partition.key["cycle"] == 1:
            raise ConnectionError("the worker went away")
        return {"v": part.v + len(tasks)}

    retry = {"scheduler": "synchronous"}
    with dask.config.set(retry), pytest.raises(ConnectionError):
        collection.update(twice, client=True)
    assert len(collection.history()) == 1
    with dask.config.set(retry):
        collection.update(raised, client=True)
    assert set(collection.read().w.values) == {107.0}
    assert len(collection.history()) == 2


PEAK = """
import re, sys
from pathlib import Path
import dask, dask.array as da, numpy as np, xarray as xr
import partita as pt

def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])

dask.config.set(scheduler="threads", num_workers=2)
how, url, encode = sys.argv[1], sys.argv[2], sys.argv[3] == "packed"
days = np.arange("2022-01-01", "2022-09-01", dtype="M8[D]").astype("M8[us]")
values = da.ones((len(days), 150_000), chunks=(5, 150_000))
data = xr.Dataset({"v": (("time", "x"), values)}, {"time": days})
if encode:
    data.v.encoding = {"dtype": "i4", "scale_factor": 0.5, "_FillValue": -1}
by = {"axis": "time", "partition_by": pt.Date("time", "month"), "encode": encode}
warm = data.isel(time=slice(0, 1), x=slice(0, 10))
pt.create_collection("memory://peak/warm", warm, **by)
before = peak()
if how == "create":
    pt.create_collection(url, data, **by)
else:
    c = pt.create_collection(url, data, insert=False, **by)
    c.insert(data, encode=encode)
print(peak() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the peak of one program")
@pytest.mark.parametrize("packed", ["plain", "packed"])
def test_creating_of_lazy_data_takes_the_memory_of_inserting_it(tmp_path, packed):
    grown = {}
    for how in ("insert", "create"):
        url = str(tmp_path / how)
        done = subprocess.run(
            [sys.executable, "-c", PEAK, how, url, packed],
            check=True,
            capture_output=True,
            text=True,
        )
        grown[how] = int(done.stdout) << 10
        assert pt.open_collection(url).read(variables=["time"]).sizes["time"] == 243
    # All of it takes 290 MB in memory, and two months are in the works at once.
    assert grown["create"] < 1.3 * grown["insert"], grown
    assert grown["create"] < 280_000_000, grown
