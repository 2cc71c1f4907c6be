"""Two processes copy a collection to one place: one of them completes the copy, and the other
writes nothing once it has lost the lease."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
import pytest
import xarray as xr

import partita as pt
from scripted_s3 import Request, scripted_s3

PARTITIONS = 6
LEASE = "lake/copy/.partita/copying"


def rows(value: int, cycles: range | list[int]) -> dict:
    count = len(cycles)
    return {
        "time": ("n", np.tile(np.arange(4).astype("M8[s]"), count)),
        "cycle": ("n", np.repeat(list(cycles), 4).astype("i4")),
        "v": ("n", np.full(4 * count, value)),
    }


@pytest.fixture
def source(tmp_path) -> pt.Collection:
    return pt.create_collection(
        tmp_path / "c",
        rows(1, range(PARTITIONS)),
        axis="time",
        partition_by=pt.Sequence(["cycle"]),
        zarr_format=3,
    )


@pytest.fixture
def s3():
    with scripted_s3() as server:
        yield server


class Running(threading.Thread):
    """A call in a thread, and its outcome."""

    def __init__(self, call: Callable[[], object]) -> None:
        super().__init__(daemon=True)
        self._call = call
        self.error: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            self._call()
        except BaseException as error:
            self.error = error

    def finished(self) -> BaseException | None:
        self.join(timeout=120)
        assert not self.is_alive()
        return self.error


def copying(source: pt.Collection, options: dict, where: str) -> Running:
    return Running(lambda: pt.open(source.url).copy(where, storage_options=options))


@pytest.mark.parametrize("place", ["s3://test/lake/copy", "icechunk+s3://test/lake/copy"])
def test_a_copier_that_lost_its_lease_writes_nothing_more(s3, source, place):
    """The first copier is suspended while a second one takes over and completes the copy."""
    held, release, fenced = threading.Event(), threading.Event(), threading.Event()
    late: list[Request] = []

    def script(request: Request) -> int | None:
        if request.client != "first":
            return None
        if request.key == LEASE and held.is_set():
            # Its renewals fail until the other copy has ended.
            if request.operation == "SWAP" and not request.done:
                release.wait(60)
                fenced.set()
            return None
        written = request.operation in ("PUT", "SWAP", "DELETE", "COPY")
        if written and request.key.startswith("lake/copy/") and ".partita" not in request.key:
            if fenced.is_set() and not request.done:
                late.append(request)
            if not held.is_set() and not request.done:
                held.set()
            if not fenced.is_set() and not request.done:
                release.wait(60)
                return 500
        return None

    s3.script = script
    first = copying(source, s3.options("first"), place)
    assert held.wait(60)
    # By the clock of the store its lease expired long ago.
    s3.age(LEASE, 3600)
    assert copying(source, s3.options("second"), place).finished() is None
    copy = pt.open(place, storage_options=s3.options())
    xr.testing.assert_identical(copy.read(), source.read())
    copy.insert(rows(9, range(PARTITIONS)))
    release.set()
    error = first.finished()
    # The time for its write may have passed before it notices that it has lost the lease.
    assert isinstance(error, (pt.CommitConflict, pt.AlreadyExists, pt.StoreError)), error
    assert set(pt.open(place, storage_options=s3.options()).read().v.values) == {9}
    assert copy.verify(data=True) == []


def test_what_was_asked_for_before_is_carried_out_during_the_next_copy(s3, source):
    """Late deletes and writes of a dead copier affect objects that the next one has copied
    already."""
    entries: list[str] = []

    def dying(request: Request) -> int | None:
        """The first copier ends at its journal."""
        return 403 if request.operation == "PUT" and "/copy/0" in request.key else None

    s3.script = dying
    assert copying(source, s3.options("first"), "s3://test/lake/copy").finished() is not None
    before = {key: s3.objects[key] for key in s3.keys("cycle=2")}
    assert before

    def spoiling(request: Request) -> int | None:
        if request.operation == "PUT" and "/copy/0" in request.key and request.done and not entries:
            entries.append(request.key)
            with s3.lock:
                for key in s3.keys("cycle=1/v/c"):
                    del s3.objects[key]
                for key in s3.keys("cycle=2/v/c"):
                    s3.objects[key].content += b"x"
        return None

    s3.script = spoiling
    copy = source.copy("s3://test/lake/copy", storage_options=s3.options("second"))
    assert entries
    xr.testing.assert_identical(copy.read(), source.read())
    assert copy.verify(data=True) == []


def test_a_copy_that_is_finished_is_left_alone(s3, source):
    copy = source.copy("s3://test/lake/copy", storage_options=s3.options())
    copy.insert(rows(9, [0]))
    written: list[Request] = []

    def script(request: Request) -> int | None:
        if request.operation in ("PUT", "SWAP", "COPY", "DELETE"):
            written.append(request)
        return None

    s3.script = script
    with pytest.raises(pt.AlreadyExists):
        source.copy("s3://test/lake/copy", storage_options=s3.options())
    assert written == []
