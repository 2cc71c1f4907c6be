"""Tables in stores implemented in Python: fsspec file systems, minimalkv stores and batch
stores."""

from __future__ import annotations

import _thread
import datetime as dt
import itertools
import multiprocessing
import os
import pickle
import subprocess
import sys
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fsspec.implementations.asyn_wrapper import AsyncFileSystemWrapper
from fsspec.implementations.dirfs import DirFileSystem
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.implementations.zip import ZipFileSystem
from minimalkv._hstores import HDictStore, HFilesystemStore
from minimalkv.decorator import PrefixDecorator, ReadOnlyDecorator, URLEncodeKeysDecorator
from minimalkv.memory import DictStore
from plateau.io.eager import read_table

import partita as pt
from partita.stores import BatchStore, FsspecStore

_numbers = itertools.count()


class Dictionary:
    """A batch store over a dictionary, which counts its requests."""

    def __init__(self, objects: dict[str, bytes] | None = None) -> None:
        self.objects = {} if objects is None else objects
        self.calls: list[tuple[str, int]] = []

    def _each(self, name, work, requests):
        self.calls.append((name, len(requests)))
        answers = []
        for request in requests:
            try:
                answers.append(work(request))
            except Exception as error:
                answers.append(error)
        return answers

    def get_ranges(self, requests):
        return self._each("get_ranges", lambda r: self.objects[r[0]][r[1] : r[2]], requests)

    def put(self, objects):
        return self._each("put", lambda item: self.objects.update([item]), objects)

    def head(self, keys):
        return self._each("head", lambda key: (len(self.objects[key]), None), keys)

    def delete(self, keys):
        return self._each("delete", self.objects.pop, keys)

    def copy(self, pairs):
        put = self.objects.update
        return self._each("copy", lambda pair: put({pair[1]: self.objects[pair[0]]}), pairs)

    def list(self, directories):
        def one(request):
            directory, recursive = request
            below = f"{directory}/" if directory else ""
            keys = [key for key in self.objects if key.startswith(below)]
            deep = [key for key in keys if "/" in key[len(below) :]]
            level = keys if recursive else sorted(set(keys) - set(deep))
            names = {below + key[len(below) :].split("/")[0] for key in deep}
            objects = [(key, len(self.objects[key]), None) for key in level]
            return objects, [] if recursive else sorted(names)

        return self._each("list", one, directories)

    def requests(self, name):
        return sum(count for kind, count in self.calls if kind == name)

    def crossings(self, name):
        return sum(kind == name for kind, _ in self.calls)


PLACES = {
    "memory": lambda tmp: (MemoryFileSystem(), f"/lake-{next(_numbers)}/trips"),
    "memory url": lambda tmp: (MemoryFileSystem(), f"memory://lake-{next(_numbers)}/trips"),
    "local": lambda tmp: (LocalFileSystem(), tmp / "new" / "lake" / "trips"),
    "directory": lambda tmp: (DirFileSystem(str(tmp), LocalFileSystem()), "trips"),
    "async": lambda tmp: (
        AsyncFileSystemWrapper(LocalFileSystem(auto_mkdir=True), asynchronous=False),
        f"{tmp}/lake/trips",
    ),
    "dict": lambda tmp: (HDictStore(), "lake/trips"),
    "files": lambda tmp: (HFilesystemStore(str(tmp)), "lake/trips"),
    "quoted": lambda tmp: (URLEncodeKeysDecorator(DictStore()), "a/lake/trips"),
    "prefixed": lambda tmp: (PrefixDecorator("p", HDictStore()), "trips"),
    "batch": lambda tmp: (Dictionary(), "lake/trips"),
}


@pytest.fixture(params=PLACES)
def place(request, tmp_path):
    """A store implemented in Python, and the path of a table in it."""
    return PLACES[request.param](tmp_path)


@pytest.fixture
def table(place, trips_frame) -> pt.Table:
    filesystem, path = place
    return pt.create_table(
        path,
        trips_frame,
        partition_by="city",
        index="rider",
        filesystem=filesystem,
        single_writer=True,
    )


def fares(table: pt.Table, **options) -> list[float]:
    return sorted(table.read(columns=["fare"], **options)["fare"])


def parent(path) -> str:
    return str(path).rpartition("/")[0]


def test_a_table_lives_there(place, table, trips_frame):
    filesystem, path = place
    assert fares(table) == sorted(trips_frame["fare"])
    assert fares(table, where="rider == 1") == [9.0, 12.5]
    table.append({**trips_frame.iloc[:1].to_dict("list"), "fare": [99.0], "rider": [8]})
    table.upsert(trips_frame.iloc[:1].assign(fare=1.0), on=["at", "rider"])
    table.delete(where="city == 'Rome' and fare < 8")
    table.build_index("fare")
    table.optimize()
    expected = [1.0, 9.0, 20.0, 30.0]
    # The appended row has the time of the first one, but another rider.
    assert fares(table) == [*expected, 99.0]
    again = pt.open(path, filesystem=filesystem)
    assert fares(again) == [*expected, 99.0]
    assert fares(again.at(1)) == sorted(trips_frame["fare"])
    assert again.verify(data=True) == []
    assert len(table.history()) == 6
    table.restore(1)
    assert fares(again.refresh()) == sorted(trips_frame["fare"])
    assert pt.open_table(table.url, filesystem=filesystem).count() == 6


def test_listing(place, table):
    filesystem, path = place
    pt.create_table(f"{parent(path)}/second", {"a": [1]}, filesystem=filesystem, single_writer=True)
    found = pt.ls(parent(path), filesystem=filesystem)
    assert [dataset.name for dataset in found] == ["second", "trips"]
    assert [pt.open(one.url, filesystem=filesystem).count() for one in found] == [1, 6]


def test_garbage_is_collected(table):
    table.replace({**table.read().iloc[:1].to_dict("list")}, where={"city": "Oslo"})
    assert table.expire(keep_last=1) == 1
    assert table.collect_garbage().keys == []
    keys = table.collect_garbage(grace=dt.timedelta(0)).keys
    assert any("/city=Oslo/" in key for key in keys)
    assert table.collect_garbage(grace=dt.timedelta(0)).keys == []
    assert table.verify(data=True) == []
    assert table.count() == 5


def test_everything_is_dropped(place, table):
    filesystem, path = place
    assert table.drop() > 0
    assert pt.ls(parent(path), filesystem=filesystem) == []
    with pytest.raises(pt.NotFound):
        pt.open(path, filesystem=filesystem)


def test_writes_need_a_single_writer(place, table, trips_frame):
    filesystem, path = place
    before = fares(table)
    plain = pt.open_table(path, filesystem=filesystem)
    for write in (
        lambda: plain.append(trips_frame),
        lambda: plain.delete(where="fare > 0"),
        lambda: plain.collect_garbage(grace=dt.timedelta(0)),
        lambda: plain.drop(),
        lambda: pt.create_table(f"{parent(path)}/new", {"a": [1]}, filesystem=filesystem),
        lambda: plain.copy(f"{parent(path)}/copy", filesystem=filesystem),
    ):
        with pytest.raises(pt.CommitUnsupported, match=r"conditional writes.*single_writer"):
            write()
    assert fares(plain.refresh()) == before
    # Nothing was started either.
    assert table.expire(keep_last=1) == 0
    assert table.collect_garbage(grace=dt.timedelta(0)).keys == []


def test_a_lost_race_is_seen(place, table, trips_frame):
    """The comparison is done by the client, without the store's help."""
    filesystem, path = place
    other = pt.open_table(path, filesystem=filesystem, single_writer=True)
    other.append(trips_frame)
    assert table.append(trips_frame).version == 3
    assert table.count() == 3 * len(trips_frame)


def test_pickled_tables_read_on(table, trips_frame):
    table.append(trips_frame)
    again, old = pickle.loads(pickle.dumps((table, table.at(1))))
    assert (again.count(), old.count()) == (12, 6)
    again.append(trips_frame)
    assert again.count() == 18


def test_pickled_tables_read_on_in_another_process(tmp_path, trips_frame):
    for number, filesystem in enumerate([LocalFileSystem(), HFilesystemStore(str(tmp_path))]):
        root = tmp_path if number == 0 else "files"
        table = pt.create_table(
            f"{root}/t{number}", trips_frame, filesystem=filesystem, single_writer=True
        )
        code = "import pickle, sys; t = pickle.load(sys.stdin.buffer); print(t.count())"
        ran = subprocess.run(
            [sys.executable, "-c", code], input=pickle.dumps(table), capture_output=True, check=True
        )
        assert int(ran.stdout) == 6


def test_between_stores(place, table, tmp_path):
    filesystem, path = place
    native = table.copy(tmp_path / "native" / "trips")
    back = native.copy(f"{parent(path)}/back", filesystem=filesystem, single_writer=True)
    assert fares(back) == fares(native) == fares(table)
    assert back.verify(data=True) == []
    with pytest.raises(pt.InvalidArgument, match="itself"):
        table.copy(path, filesystem=filesystem, single_writer=True, overwrite=True)


def test_the_same_path_of_another_file_system_is_another_place(tmp_path):
    path = f"{tmp_path}/trips"
    table = pt.create_table(path, {"a": [1]}, filesystem=LocalFileSystem(), single_writer=True)
    copy = table.copy(path, filesystem=MemoryFileSystem(), single_writer=True)
    table.append({"a": [2]})
    assert (table.count(), copy.refresh().count()) == (2, 1)


def test_local_files_are_those_of_a_url(tmp_path, trips_frame):
    there = pt.create_table(tmp_path / "t", trips_frame, partition_by="city")
    table = pt.open_table(tmp_path / "t", filesystem=LocalFileSystem(), single_writer=True)
    table.append(trips_frame)
    assert there.refresh().count() == 12
    # A partial file is never visible, not even for a moment.
    assert not [path for path in tmp_path.rglob("*") if "#" in path.name]
    assert there.verify(data=True) == []


def test_plateau_reads_the_same_store(trips_frame):
    store = HDictStore()
    frame = trips_frame.drop(columns="rider")
    pt.create_table("trips", frame, partition_by="city", filesystem=store, single_writer=True)
    theirs = read_table("trips", store=store)
    assert sorted(theirs["fare"]) == sorted(frame["fare"])


def test_large_objects(place):
    """Objects larger than the size that other stores write by one request."""
    filesystem, path = place
    text = [bytes([65 + n]) * (7 << 20) for n in range(3)]
    table = pt.create_table(
        path, {"text": text}, filesystem=filesystem, single_writer=True, compression="none"
    )
    assert table.read()["text"].tolist() == text


def test_a_collection_lives_there(place):
    filesystem, path = place
    time = np.arange("2022-01-01", "2022-03-01", dtype="M8[D]").astype("M8[us]")

    def rows(value: float) -> dict:
        return {"time": ("time", time), "ssh": ("time", np.full(len(time), value))}

    url = f"{parent(path)}/ssh"
    collection = pt.create_collection(
        url,
        rows(1.0),
        axis="time",
        partition_by=pt.Date("time", "month"),
        filesystem=filesystem,
        single_writer=True,
    )
    collection.insert(rows(2.0))
    found = pt.open_collection(url, filesystem=filesystem)
    assert found.read(where="month == 2")["ssh"].values.tolist() == [2.0] * 28
    assert found.verify(data=True) == []
    with pytest.raises(pt.CommitUnsupported):
        found.insert(rows(3.0))
    assert isinstance(pt.open(url, filesystem=filesystem), pt.Collection)
    copy = found.copy(f"{url}-copy", filesystem=filesystem, single_writer=True)
    assert pickle.loads(pickle.dumps(copy)).read()["ssh"].values.tolist() == [2.0] * 59


class TestArchive:
    @pytest.fixture
    def archive(self, local_trips, tmp_path) -> Path:
        lake = tmp_path / "lake"
        with zipfile.ZipFile(tmp_path / "lake.zip", "w") as archive:
            for path in lake.rglob("*"):
                archive.write(path, path.relative_to(tmp_path))
        return tmp_path / "lake.zip"

    def test_reads(self, archive, trips_frame):
        filesystem = ZipFileSystem(str(archive))
        table = pt.open("lake/trips", filesystem=filesystem)
        assert fares(table) == sorted(trips_frame["fare"])
        assert table.verify(data=True) == []
        assert [one.name for one in pt.ls("lake", filesystem=filesystem)] == ["trips"]

    def test_is_not_written_to(self, archive, trips_frame):
        before = archive.read_bytes()
        filesystem = ZipFileSystem(str(archive))
        with pytest.raises(pt.CommitUnsupported):
            pt.open("lake/trips", filesystem=filesystem).append(trips_frame)
        table = pt.open("lake/trips", filesystem=filesystem, single_writer=True)
        with pytest.raises(pt.PartitaError):
            table.append(trips_frame)
        assert archive.read_bytes() == before


class TestErrors:
    class Failing(Dictionary):
        """A store that fails on demand."""

        failure: BaseException | None = None
        fails = "get_ranges"

        def _each(self, name, work, requests):
            if self.failure is not None and name == self.fails:
                raise self.failure
            return super()._each(name, work, requests)

    @pytest.fixture
    def store(self):
        return self.Failing()

    @pytest.fixture
    def table(self, store):
        return pt.create_table("t", {"a": [1, 2]}, filesystem=store, single_writer=True)

    @pytest.mark.parametrize(
        ("failure", "kind"),
        [
            (FileNotFoundError("gone away"), pt.Corrupt),
            (KeyError("gone away"), pt.Corrupt),
            (PermissionError("gone away"), pt.StoreError),
            (OSError("gone away"), pt.StoreError),
            (NotImplementedError("gone away"), pt.StoreError),
            (ZeroDivisionError("gone away"), pt.StoreError),
            (SystemExit("gone away"), pt.StoreError),
        ],
        ids=lambda value: type(value).__name__,
    )
    def test_kinds(self, store, table, failure, kind):
        store.failure = failure
        with pytest.raises(pt.PartitaError) as raised:
            table.read()
        assert isinstance(raised.value, kind)
        # A file that the header names is missing; without a header there is no table.
        missing = kind is pt.Corrupt
        assert missing or "gone away" in str(raised.value)
        with pytest.raises(pt.NotFound if missing else kind):
            pt.open("t", filesystem=store)
        store.failure = None
        assert table.count() == 2

    def test_what_cannot_be_written_changes_nothing(self, store, table):
        store.fails, store.failure = "put", OSError("disk full")
        with pytest.raises(pt.PartitaError, match="disk full"):
            table.append({"a": [3]})
        store.failure = None
        assert table.refresh().read()["a"].tolist() == [1, 2]
        assert table.append({"a": [3]}).version == 2

    @pytest.mark.parametrize(
        "answers", [None, 3, [], ["text"], [b"", b""], [None]], ids=lambda answers: repr(answers)
    )
    def test_answers_that_are_none(self, store, table, answers, monkeypatch):
        monkeypatch.setattr(store, "get_ranges", lambda requests: answers)
        with pytest.raises(pt.StoreError):
            table.read()

    def test_short_answers(self, store, table, monkeypatch):
        monkeypatch.setattr(store, "get_ranges", lambda requests: [b"PAR" for _ in requests])
        with pytest.raises(pt.Corrupt):
            table.read()

    def test_keys_that_a_store_refuses(self):
        with pytest.raises(pt.StoreError, match="HDictStore"):
            pt.create_table("lake/t", {"a": [1]}, filesystem=DictStore(), single_writer=True)

    def test_read_only_stores(self, trips_frame):
        inner = HDictStore()
        pt.create_table("lake/t", trips_frame, filesystem=inner, single_writer=True)
        store = ReadOnlyDecorator(inner)
        table = pt.open_table("lake/t", filesystem=store, single_writer=True)
        assert table.count() == 6
        assert [one.name for one in pt.ls("lake", filesystem=store)] == ["t"]
        with pytest.raises(pt.PartitaError):
            table.append(trips_frame)
        assert table.refresh().count() == 6

    def test_arguments(self, tmp_path):
        with pytest.raises(pt.InvalidArgument, match="BatchStore"):
            pt.open("t", filesystem=object())
        with pytest.raises(pt.InvalidArgument, match="storage_options"):
            pt.open("t", filesystem=HDictStore(), storage_options={"key": "k"})
        with pytest.raises(pt.InvalidArgument):
            pt.create_table("", {"a": [1]}, filesystem=HDictStore(), single_writer=True)
        with pytest.raises(pt.InvalidArgument, match="asynchronous"):
            wrapped = AsyncFileSystemWrapper(LocalFileSystem(), asynchronous=True)
            pt.open(f"{tmp_path}/t", filesystem=wrapped)
        with pytest.raises(pt.NotFound):
            pt.open("no/such/table", filesystem=MemoryFileSystem())
        assert pt.ls("no/such/lake", filesystem=MemoryFileSystem()) == []


class TestBatching:
    FILES = 500

    class Distant(Dictionary):
        """A store with the latency of a remote one."""

        def _each(self, name, work, requests):
            time.sleep(0.001)
            return super()._each(name, work, requests)

    @pytest.fixture
    def store(self):
        return self.Distant()

    @pytest.fixture
    def table(self, store):
        frame = pd.DataFrame({"part": range(self.FILES), "value": range(self.FILES)})
        return pt.create_table(
            "lake/t", frame, partition_by="part", filesystem=store, single_writer=True
        )

    def test_many_requests_share_few_crossings(self, store, table):
        assert isinstance(store, BatchStore)
        store.calls.clear()
        assert table.read()["value"].sum() == sum(range(self.FILES))
        assert store.requests("get_ranges") >= self.FILES
        assert store.crossings("get_ranges") < store.requests("get_ranges") / 3

    def test_deletions_are_one_call(self, store, table):
        store.calls.clear()
        removed = table.drop()
        assert removed >= self.FILES
        assert store.crossings("delete") <= 10
        assert store.objects == {}

    def test_threads_share_a_store(self, store, table):
        def count(part: int) -> int:
            return int(table.read(where=f"part < {part}")["value"].sum())

        parts = [*range(0, self.FILES, 50)] * 4
        with ThreadPoolExecutor(8) as threads:
            assert list(threads.map(count, parts)) == [sum(range(part)) for part in parts]


def test_threads_read_files(tmp_path):
    frame = pd.DataFrame({"part": range(60), "value": range(60)})
    table = pt.create_table(
        tmp_path / "t",
        frame,
        partition_by="part",
        filesystem=LocalFileSystem(),
        single_writer=True,
    )
    with ThreadPoolExecutor(8) as threads:
        sums = list(threads.map(lambda _: table.read()["value"].sum(), range(24)))
    assert set(sums) == {sum(range(60))}


def test_ctrl_c_ends_a_read(trips_frame):
    class Interrupting(Dictionary):
        armed = False

        def get_ranges(self, requests):
            if self.armed:
                _thread.interrupt_main()
            return super().get_ranges(requests)

    store = Interrupting()
    table = pt.create_table("t", trips_frame, filesystem=store, single_writer=True)
    store.armed = True
    with pytest.raises(KeyboardInterrupt):
        for _ in range(1000):
            table.read()
    store.armed = False
    assert table.count() == 6


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_has_a_thread_of_its_own(tmp_path, trips_frame):
    for filesystem in (LocalFileSystem(), HFilesystemStore(str(tmp_path))):
        path = tmp_path / "a" if isinstance(filesystem, LocalFileSystem) else "b"
        table = pt.create_table(path, trips_frame, filesystem=filesystem, single_writer=True)
        assert table.count() == 6
        with multiprocessing.get_context("fork").Pool(2) as pool:
            assert pool.map(_count, [table] * 4) == [6] * 4
        child = multiprocessing.get_context("fork").Process(target=table.append, args=[trips_frame])
        child.start()
        child.join()
        assert child.exitcode == 0
        assert table.refresh().count() == 12


def _count(table: pt.Table) -> int:
    return table.count()


def test_the_interpreter_ends_while_a_read_runs(tmp_path):
    code = f"""
import partita as pt
from fsspec.implementations.local import LocalFileSystem
columns = {{"part": list(range(200)), "value": list(range(200))}}
table = pt.create_table(
    {str(tmp_path / "t")!r},
    columns,
    partition_by="part",
    overwrite=True,
    filesystem=LocalFileSystem(),
    single_writer=True,
)
batches = iter(table.scan().to_batches())
next(batches)
"""
    for _ in range(3):
        ran = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
        assert (ran.returncode, ran.stderr) == (0, b"")


def test_ages_come_from_wherever_the_file_system_tells_them():
    class Silent(MemoryFileSystem):
        """A store that only reports times for single files."""

        cachable = False
        protocol = "silent"
        store: dict = {}

        def ls(self, path, detail=True, **kwargs):
            found = super().ls(path, detail=detail, **kwargs)
            for info in found if detail else []:
                info.pop("created", None)
            return found

    filesystem = Silent()
    store = FsspecStore(filesystem, "/")
    store.put([("a/b", b"12"), ("a/c", b"345")])
    (entries, directories), *_ = store.list([("a", True)])
    assert {(key, size) for key, size, _ in entries} == {("a/b", 2), ("a/c", 3)}
    assert all(time is not None for _, _, time in entries)
    assert directories == []
