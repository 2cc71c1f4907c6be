"""Commits of collections in Icechunk repositories are done, proven not done, or unknown, and
committed data can be read."""

from __future__ import annotations

import _thread
import datetime as dt
import os
import threading

import numpy as np
import pytest

import partita as pt
from partita._functions import Inserting
from scripted_s3 import NO_ANSWER, Request, ScriptedS3, scripted_s3

URL = "icechunk+s3://test/lake/c"
NOTHING = dt.timedelta(0)


def rows(value: int, cycle: int = 0) -> dict:
    return {
        "time": ("n", np.arange(600).astype("M8[s]")),
        "cycle": ("n", np.full(600, cycle, "i4")),
        # Chunks that are too large to be inlined in a manifest.
        "v": ("n", np.random.default_rng(value).permutation(600) * 1000 + value),
    }


def value_of(collection: pt.Collection, where: str = "cycle == 0") -> int:
    (value,) = set(pt.open(collection.url, **opened(collection)).read(where).v.values % 1000)
    return int(value)


def opened(collection: pt.Collection) -> dict:
    return {"storage_options": collection._storage_options}


def create(url: str, **options) -> pt.Collection:
    by = pt.Sequence(["cycle"])
    return pt.create_collection(url, rows(1), axis="time", partition_by=by, **options)


@pytest.fixture
def s3():
    with scripted_s3() as server:
        yield server


@pytest.fixture
def collection(s3: ScriptedS3) -> pt.Collection:
    return create(URL, storage_options=s3.options())


def is_commit(request: Request) -> bool:
    """Whether a request swaps the object that records the heads of the branches."""
    return request.operation == "SWAP" and request.key == "lake/c/repo"


class Once:
    """Answers the first commit in one way, and all later requests in another."""

    def __init__(self, answer: int, *, carried_out: bool, then: dict[str, tuple[int, int]]) -> None:
        self._answer, self._carried_out = answer, carried_out
        # By operation: an answer, and the number of times it is given.
        self._then = dict(then)
        self.met = False

    def __call__(self, request: Request) -> int | None:
        if is_commit(request) and not self.met and request.done is self._carried_out:
            self.met = True
            return self._answer
        if self.met and not request.done and request.key == "lake/c/repo":
            answer, times = self._then.get(request.operation, (0, 0))
            if times > 0:
                self._then[request.operation] = answer, times - 1
                return answer
        return None


FAULTS = {
    "no answer": Once(NO_ANSWER, carried_out=True, then={}),
    "an error after it was carried out": Once(500, carried_out=True, then={}),
    "an error, then refused": Once(500, carried_out=True, then={"SWAP": (403, 1)}),
    "an error, then refused and not read": Once(
        500, carried_out=True, then={"SWAP": (403, 1), "GET": (403, 1)}
    ),
    "no answer, and not read for long": Once(NO_ANSWER, carried_out=True, then={"GET": (403, 6)}),
    "no answer, and never read": Once(NO_ANSWER, carried_out=True, then={"GET": (403, 999)}),
    "not carried out, and no answer": Once(NO_ANSWER, carried_out=False, then={}),
    "not carried out, and not read for long": Once(
        NO_ANSWER, carried_out=False, then={"GET": (403, 6)}
    ),
    "refused": Once(403, carried_out=False, then={"SWAP": (403, 999)}),
    "refused, and never read": Once(403, carried_out=False, then={"GET": (403, 999)}),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_outcome_of_a_commit_is_told(s3, collection, fault):
    before = len(collection.history())
    s3.script = FAULTS[fault]
    try:
        collection.insert(rows(2))
        told = "done"
    except pt.CommitUnknown as error:
        told = error.context["commit"]
    except pt.PartitaError:
        told = "not done"
    assert s3.script.met
    s3.script = None
    commits = len(pt.open(URL, storage_options=s3.options()).history()) - before
    assert commits <= 1
    if told == "done":
        assert commits == 1
    elif told == "not done":
        assert commits == 0
    else:
        assert "never read" in fault
        assert (collection.committed(told) is not None) is (commits == 1)
    assert value_of(collection) == 1 + commits
    if "refused" in fault and "carried" not in fault and "error" not in fault:
        assert commits == 0
    elif told != "not done" and "never read" not in fault:
        assert commits == 1
    assert collection.verify(data=True) == []


def test_another_writer_builds_upon_a_commit_whose_answer_was_lost(s3, collection):
    meddled = []

    def script(request: Request) -> int | None:
        if is_commit(request) and request.client == "slow" and request.done and not meddled:
            meddled.append(True)
            pt.open(URL, storage_options=s3.options("other")).insert(rows(9, cycle=9))
            return NO_ANSWER
        return None

    s3.script = script
    before = len(collection.history())
    pt.open(URL, storage_options=s3.options("slow")).insert(rows(2))
    s3.script = None
    assert meddled
    assert len(collection.history()) == before + 2
    assert (value_of(collection), value_of(collection, "cycle == 9")) == (2, 9)


@pytest.mark.parametrize("carried_out", [False, True])
def test_an_interrupted_commit_says_what_became_of_it(s3, collection, carried_out):
    """Ctrl-C while the commit is in flight: its answer comes too late."""
    release, ended = threading.Event(), threading.Event()
    met = []

    def script(request: Request) -> int | None:
        if is_commit(request) and request.client == "slow" and not request.done and not met:
            met.append(True)
            _thread.interrupt_main()
            release.wait(60)
            return None if carried_out else 403
        if met and is_commit(request) and request.done:
            ended.set()
        return None

    s3.script = script
    with pytest.raises(pt.CommitUnknown) as caught:
        pt.open(URL, storage_options=s3.options("slow")).insert(rows(2))
    assert isinstance(caught.value.__cause__, KeyboardInterrupt)
    release.set()
    if carried_out:
        assert ended.wait(60)
    found = collection.committed(caught.value.context["commit"])
    assert (found is not None) is carried_out
    assert value_of(collection) == (2 if carried_out else 1)


def test_an_interruption_before_the_commit(s3, collection):
    met, release = [], threading.Event()

    def script(request: Request) -> int | None:
        if "/chunks/" in request.key and request.client == "slow" and not met:
            met.append(True)
            _thread.interrupt_main()
            release.wait(60)
        return None

    s3.script = script
    with pytest.raises(KeyboardInterrupt) as caught:
        pt.open(URL, storage_options=s3.options("slow")).insert(rows(2))
    release.set()
    assert met
    assert not hasattr(caught.value, "committed")
    assert value_of(collection) == 1
    assert collection.verify(data=True) == []


def staged(collection: pt.Collection, value: int) -> list[bytes]:
    writer = pt.open(collection.url, **opened(collection))
    return [form for *_, form in Inserting(None, False).stage(writer._native, rows(value), True)]


def commit(collection: pt.Collection, forms: list[bytes]) -> None:
    pt.open(collection.url, **opened(collection))._native.commit_staged("insert", forms, None)


@pytest.mark.parametrize("place", ["files", "s3"])
def test_what_was_collected_is_not_committed(tmp_path, s3, place):
    collection = (
        create(f"icechunk+{tmp_path / 'c'}")
        if place == "files"
        else create(URL, storage_options=s3.options())
    )
    forms = staged(collection, 2)
    s3.age("/chunks/", 60)
    for path in tmp_path.glob("c/chunks/*"):
        os.utime(path, (path.stat().st_atime, path.stat().st_mtime - 60))
    assert collection.collect_garbage(grace=NOTHING).keys
    with pytest.raises(pt.StagedExpired, match="stage it again") as caught:
        commit(collection, forms)
    assert caught.value.context["partition"] == "cycle=0"
    assert value_of(collection) == 1
    assert collection.verify(data=True) == []
    commit(collection, staged(collection, 3))
    assert value_of(collection) == 3


@pytest.mark.parametrize(("hours", "expires"), [(11, False), (13, True)])
def test_what_was_staged_long_ago_is_not_committed(s3, collection, hours, expires):
    """Half of the day for which garbage collection keeps it."""
    s3.age("/chunks/", 3600 * 100)
    forms = staged(collection, 2)
    new = [key for key in s3.keys("/chunks/") if s3.objects[key].time > s3.now() - 3600]
    for key in new:
        s3.age(key, 3600 * hours)
    if expires:
        with pytest.raises(pt.StagedExpired, match="stage it again"):
            commit(collection, forms)
    else:
        commit(collection, forms)
    assert value_of(collection) == (1 if expires else 2)
    assert collection.verify(data=True) == []


def test_a_copy_that_takes_days(s3, tmp_path):
    """It continues from its journal, however old its first chunks are at the time of its commit."""
    by = pt.Sequence(["cycle"])
    plain = pt.create_collection(tmp_path / "c", rows(1), axis="time", partition_by=by)
    for cycle in range(1, 70):
        plain.insert(rows(1, cycle))
    entries = set()

    def script(request: Request) -> int | None:
        """The copy ends at the second entry of its journal."""
        if request.operation == "PUT" and "/copy/0" in request.key:
            entries.add(request.key)
            return 403 if len(entries) > 1 else None
        return None

    s3.script = script
    with pytest.raises(pt.StoreError):
        plain.copy(URL, storage_options=s3.options())
    s3.script = None
    s3.age("/chunks/", 3600 * 100)
    first, *_, lost = s3.keys("/chunks/")
    del s3.objects[lost]
    copy = plain.copy(URL, storage_options=s3.options())
    assert first in s3.objects
    assert sorted(set(copy.read().cycle.values)) == list(range(70))
    assert copy.verify(data=True) == []
