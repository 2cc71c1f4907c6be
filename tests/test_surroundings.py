"""Forked processes, users that share directories, and full disks."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

import partita as pt
from scripted_s3 import scripted_s3

IS_ROOT = hasattr(os, "geteuid") and os.geteuid() == 0


def rows(value: float, cycle: int, count: int = 10) -> dict:
    return {
        "time": ("n", np.arange(count).astype("M8[s]")),
        "cycle": ("n", np.full(count, cycle, "i4")),
        "v": ("n", np.random.default_rng(cycle).random(count)),
        "n": ("n", np.full(count, value)),
    }


def create(url, count: int = 10, **options) -> pt.Collection:
    by = pt.Sequence(["cycle"])
    return pt.create_collection(url, rows(0, 0, count), axis="time", partition_by=by, **options)


FORKING = """
import os, sys
import numpy as np
import partita as pt
from test_surroundings import rows

options = {"storage_options": dict(zip(sys.argv[2::2], sys.argv[3::2]))}
collection = pt.open_collection(sys.argv[1], **options)
collection.read()

def forked(what):
    child = os.fork()
    if child == 0:
        try:
            what()
        except BaseException as error:
            print(repr(error), flush=True)
            os._exit(1)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0

forked(lambda: collection.read())
forked(lambda: collection.insert(rows(1, 1)))
forked(lambda: pt.open_collection(sys.argv[1], **options).insert(rows(2, 2)))
forked(lambda: collection.update(lambda ds: {"n": ds.n + 10}, "cycle == 1"))
collection.insert(rows(3, 3))
print(*sorted(set(collection.read().n.values)))
"""


@pytest.mark.parametrize("place", ["", "icechunk+"])
def test_children_use_what_their_parent_opened(place):
    """Connections and threads do not survive a fork."""
    with scripted_s3() as s3:
        url, options = f"{place}s3://test/lake/c", s3.options()
        create(url, storage_options=options)
        given = [part for pair in options.items() for part in pair]
        done = subprocess.run(
            [sys.executable, "-c", FORKING, url, *given],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    assert done.stdout == "0 2 3 11\n", done.stderr


class Users:
    """Users of one group, who share a directory in which each may replace the files of the
    other."""

    def __init__(self, folder: Path) -> None:
        self.lake = folder / "lake"
        while folder != Path("/tmp") and folder != folder.parent:
            folder.chmod(0o755)
            folder = folder.parent
        self.lake.mkdir()
        os.chown(self.lake, 4001, 4242)
        self.lake.chmod(0o2775)

    def run(self, user: int, program: str) -> str:
        """Runs a program in a fork of this process, since other users cannot read the Python
        installation."""
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                os.setgroups([])
                os.setgid(4242)
                os.setuid(user)
                os.umask(0o002)
                told: list[object] = []
                names = {"pt": pt, "dt": dt, "rows": rows, "create": create}
                exec(textwrap.dedent(program), {**names, "lake": self.lake, "told": told})
                os.write(write, " ".join(map(str, told)).encode())
            except BaseException as error:
                os.write(write, repr(error).encode())
            finally:
                os._exit(0)
        os.close(write)
        with os.fdopen(read) as pipe:
            told = pipe.read()
        os.waitpid(child, 0)
        return told


@pytest.fixture
def as_user(tmp_path):
    if not IS_ROOT:
        pytest.skip("needs to be root, to act as other users")
    return Users(tmp_path).run


def test_two_users_of_a_group(tmp_path, as_user):
    # Lazy imports are done before, since the users could not import these modules.
    known = create(f"memory://{tmp_path.name}/c")
    known.update(lambda ds: {"n": ds.n + 1})
    known.copy(f"memory://{tmp_path.name}/copy").read()
    first, second = 4001, 4002
    assert as_user(first, "create(lake / 'c', chunks={'n': 4})") == ""
    assert (
        as_user(
            second,
            """
            c = pt.open_collection(lake / "c")
            c.insert(rows(1, 0), merge="upsert")
            c.insert(rows(1, 1))
            """,
        )
        == ""
    )
    assert (
        as_user(
            first,
            """
            c = pt.open_collection(lake / "c")
            c.insert(rows(2, 0), merge="upsert")
            c.insert(rows(2, 1))
            c.update(lambda ds: {"n": ds.n + 1}, "cycle == 1")
            told += [sorted(set(c.read().n.values.tolist())), c.verify(data=True)]
            """,
        )
        == "[2, 3] []"
    )
    assert (
        as_user(
            second,
            """
            c = pt.open_collection(lake / "c")
            c.collect_garbage(grace=dt.timedelta(0))
            c.copy(lake / "copy")
            c.drop_partitions("cycle == 0")
            told.append(sorted(set(c.read().n.values.tolist())))
            """,
        )
        == "[3]"
    )


def test_two_users_of_a_table(tmp_path, as_user):
    known = pt.create_table(f"memory://{tmp_path.name}/t", {"p": [1], "a": [1]}, partition_by="p")
    known.upsert({"p": [1], "a": [1]}, on="a")
    known.read()
    first, second = 4001, 4002
    made = 'pt.create_table(lake / "t", {"p": [1, 2], "a": [1, 2]}, partition_by="p", index="a")'
    assert as_user(first, made) == ""
    for n, user in enumerate([second, first, second], start=3):
        program = f"""
            t = pt.open_table(lake / "t")
            t.append({{"p": [1], "a": [{n}]}})
            t.upsert({{"p": [2], "a": [2]}}, on="a")
            t.delete("a == {n - 1} and p == 1")
            t.optimize()
            t.expire(keep_last=1)
            t.collect_garbage(grace=dt.timedelta(0))
            told += [sorted(t.read()["a"].tolist()), t.verify(data=True)]
            """
        assert as_user(user, program) == f"{[1, 2, n]} []"
    assert as_user(second, 'pt.open_table(lake / "t").drop()') == ""
    assert list((tmp_path / "lake").rglob("*.parquet")) == []


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 24 MB with 4 MB free."""
    place = tmp_path / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(place)], check=True)
    try:
        (place / "ballast").write_bytes(b"x" * (20 << 20))
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.mark.skipif(not IS_ROOT or not shutil.which("mount"), reason="needs to be root to mount")
@pytest.mark.parametrize("place", ["", "icechunk+"])
def test_a_full_disk(small_disk, place):
    """Committed data stays although nothing more fits, and writes continue once there is space."""
    url = f"{place}{small_disk / 'c'}"
    collection = create(url, 60_000)
    expected, failures = {0: 0.0}, 0
    for value in range(1, 40):
        cycle = value % 12
        try:
            collection.insert(rows(value, cycle, 60_000))
            expected[cycle] = float(value)
        except pt.PartitaError:
            failures += 1
        found = pt.open_collection(url).read(variables=["cycle", "n"])
        pairs = zip(found.cycle.values.tolist(), found.n.values.tolist(), strict=True)
        assert set(pairs) == set(expected.items())
    assert failures
    (small_disk / "ballast").unlink()
    collection.insert(rows(99, 0, 100))
    assert set(collection.read("cycle == 0").n.values) == {99.0}
    collection.collect_garbage(grace=dt.timedelta(0))
    assert collection.verify(data=True) == []


@pytest.mark.skipif(not IS_ROOT or not shutil.which("mount"), reason="needs to be root to mount")
def test_a_table_on_a_full_disk(small_disk):
    def wide(value: int, part: int, count: int = 40_000) -> dict:
        noise = np.random.default_rng(value).random(count)
        return {"p": np.full(count, part), "n": np.full(count, value), "v": noise}

    table = pt.create_table(small_disk / "t", wide(0, 0), partition_by="p")
    expected, failures = {0: 0}, 0
    for value in range(1, 30):
        try:
            table.replace(wide(value, value % 8), {"p": value % 8})
            expected[value % 8] = value
        except pt.PartitaError:
            failures += 1
        if value % 5 == 0:
            with contextlib.suppress(pt.PartitaError):
                table.optimize(sort_by="v")
        found = pt.open_table(small_disk / "t").read(columns=["p", "n"]).drop_duplicates()
        assert dict(zip(found["p"].tolist(), found["n"].tolist(), strict=True)) == expected
    assert failures
    (small_disk / "ballast").unlink()
    table.replace(wide(99, 0, 100), {"p": 0})
    assert set(table.read(where={"p": 0})["n"]) == {99}
    table.expire(keep_last=1)
    table.collect_garbage(grace=dt.timedelta(0))
    assert table.verify(data=True) == []
    assert len(list((small_disk / "t").rglob("table/*/*.parquet"))) == table.num_files
