"""Ctrl-C during a change of a collection: the caller learns the outcome of the commit."""

from __future__ import annotations

import _thread
import threading
from collections.abc import Callable

import numpy as np
import pytest

import partita as pt
from scripted_s3 import NO_ANSWER, Request, ScriptedS3, scripted_s3

URL = "s3://test/lake/c"


def rows(value: float, cycles: list[int]) -> dict:
    return {
        "time": ("n", np.tile(np.arange(4).astype("M8[s]"), len(cycles))),
        "cycle": ("n", np.repeat(cycles, 4).astype("i4")),
        "v": ("n", np.full(4 * len(cycles), value)),
    }


@pytest.fixture
def s3():
    with scripted_s3() as server:
        yield server


@pytest.fixture
def collection(s3: ScriptedS3) -> pt.Collection:
    return pt.create_collection(
        URL,
        rows(1.0, [0, 1, 2]),
        axis="time",
        partition_by=pt.Sequence(["cycle"]),
        zarr_format=3,
        storage_options=s3.options(),
    )


@pytest.fixture
def slow(s3: ScriptedS3, collection: pt.Collection) -> pt.Collection:
    """The same collection, opened by a client that is interrupted."""
    return pt.open(URL, storage_options=s3.options("slow"))


def changed(ds) -> dict:
    return {"v": ds.v + 1}


CHANGES: dict[str, Callable[[pt.Collection], object]] = {
    "insert": lambda c: c.insert(rows(2.0, [0, 1, 2])),
    "update": lambda c: c.update(changed),
    "update on workers": lambda c: c.update(changed, client=True),
}


def values(s3: ScriptedS3) -> set[float]:
    found = pt.open(URL, storage_options=s3.options())
    return set(found.read("cycle < 3").v.values)


def next_writer(s3: ScriptedS3) -> None:
    # By the clock of the store, the lease of the interrupted process expired long ago.
    s3.age("/.partita/publish", 3600)
    pt.open(URL, storage_options=s3.options()).insert(rows(9.0, [9]), merge="upsert")


def is_record(request: Request) -> bool:
    return request.operation == "SWAP" and "/.partita/log/" in request.key


class Interrupting:
    """Interrupts the main thread at the first matching request, and answers the request
    afterwards."""

    def __init__(self, meant: Callable[[Request], bool], answer: int | None = None) -> None:
        self._meant, self._answer = meant, answer
        self._release = threading.Event()
        self.met = False

    def __call__(self, request: Request) -> int | None:
        if request.client == "slow" and not self.met and self._meant(request):
            self.met = True
            _thread.interrupt_main()
            self._release.wait(60)
            return self._answer
        return None

    def release(self) -> None:
        self._release.set()


@pytest.fixture(autouse=True)
def synchronous():
    dask = pytest.importorskip("dask")
    with dask.config.set(scheduler="synchronous"):
        yield


@pytest.mark.parametrize("change", CHANGES)
def test_before_the_commit(s3, slow, change):
    script = s3.script = Interrupting(lambda r: r.operation == "PUT" and "/stage/" in r.key)
    with pytest.raises(KeyboardInterrupt) as caught:
        CHANGES[change](slow)
    script.release()
    assert script.met
    assert not hasattr(caught.value, "committed")
    assert values(s3) == {1.0}
    next_writer(s3)
    assert values(s3) == {1.0}


@pytest.mark.parametrize("carried_out", [False, True])
@pytest.mark.parametrize("change", CHANGES)
def test_while_the_commit_is_under_way(s3, slow, change, carried_out):
    """Its answer does not come in time, and in one of two cases the request is carried out much
    later."""
    meant = Interrupting(lambda r: is_record(r) and not r.done, None if carried_out else 403)
    done = threading.Event()

    def script(request: Request) -> int | None:
        if meant.met and request.done and is_record(request):
            done.set()
        return meant(request)

    s3.script = script
    with pytest.raises(pt.CommitUnknown) as caught:
        CHANGES[change](slow)
    assert isinstance(caught.value.__cause__, KeyboardInterrupt)
    assert values(s3) == {1.0}
    meant.release()
    assert not carried_out or done.wait(60)
    found = pt.open(URL, storage_options=s3.options()).committed(caught.value.context["commit"])
    assert (found is not None) is carried_out
    for _ in range(2):
        assert values(s3) == ({2.0} if carried_out else {1.0})
        next_writer(s3)


@pytest.mark.parametrize("change", CHANGES)
def test_after_the_commit(s3, slow, change):
    """The interruption comes during the publication, which takes long."""
    script = s3.script = Interrupting(lambda r: r.operation == "COPY")
    with pytest.raises(KeyboardInterrupt) as caught:
        CHANGES[change](slow)
    script.release()
    assert script.met
    (commit,) = caught.value.committed
    assert commit in str(getattr(caught.value, "__notes__", commit))
    assert pt.open(URL, storage_options=s3.options()).committed(commit) is not None
    for _ in range(2):
        assert values(s3) == {2.0}
        next_writer(s3)


@pytest.mark.parametrize("change", CHANGES)
def test_an_answer_that_was_lost_and_found(s3, slow, change):
    """The commit was carried out, and Ctrl-C comes while its outcome is being determined."""
    script = s3.script = Interrupting(lambda r: is_record(r) and r.done, NO_ANSWER)
    script.release()
    with pytest.raises(KeyboardInterrupt) as caught:
        CHANGES[change](slow)
    assert script.met
    assert len(caught.value.committed) == 1
    assert values(s3) == {2.0}
