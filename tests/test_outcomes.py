"""Outcomes of commits: one commit per key, correct reports after Ctrl-C, and rejections."""

from __future__ import annotations

import datetime as dt
import itertools
import json
import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest

import partita as pt

CHANGES = {
    "append": lambda t, key: t.append({"p": [1], "a": [7]}, key=key),
    "replace": lambda t, key: t.replace({"p": [1], "a": [7]}, "p == 1", key=key),
    "delete": lambda t, key: t.delete("p == 2", key=key),
    "upsert": lambda t, key: t.upsert({"p": [1], "a": [1]}, on="a", key=key),
    "commit": lambda t, key: t.commit(t.stage({"p": [1], "a": [7]}), key=key),
    "set_metadata": lambda t, key: t.set_metadata({"n": 1}, key=key),
    "optimize": lambda t, key: t.optimize(sort_by="a", key=key),
    "build_index": lambda t, key: t.build_index("a", key=key),
    "restore": lambda t, key: t.restore(1, key=key),
}


@pytest.fixture
def table(tmp_path):
    return pt.create_table(tmp_path / "t", {"p": [1, 2], "a": [1, 2]}, partition_by="p")


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_with_a_key_is_made_once(table, name):
    first = CHANGES[name](table, "k")
    for again in (table, pt.open_table(table.url)):
        repeated = CHANGES[name](again, "k")
        assert (repeated.version, repeated.id, repeated.attempts) == (2, first.id, 0)
    assert [s.version for s in table.history()] == [2, 1]
    assert table.committed("k") == table.committed(first.id) == table.history()[0]
    assert table.committed("other") is None
    with pytest.raises(pt.InvalidArgument, match="another operation"):
        table.add_columns({"note": "string"}, key="k")


@pytest.mark.parametrize(("first", "second"), list(itertools.permutations(CHANGES, 2)))
def test_a_key_belongs_to_one_operation(table, first, second):
    CHANGES[first](table, "k")
    # A commit of staged files is an append.
    if {first, second} == {"append", "commit"}:
        assert CHANGES[second](table, "k").attempts == 0
    else:
        with pytest.raises(pt.InvalidArgument, match="another operation"):
            CHANGES[second](table, "k")
    assert [s.version for s in table.history()] == [2, 1]


def test_a_transaction_with_a_key_is_made_once(table):
    for _ in range(2):
        with table.transaction(key="night") as tx:
            tx.append({"p": [3], "a": [3]})
            tx.delete("p == 2")
        assert tx.commit.version == 2
    assert sorted(table.read()["a"]) == [1, 3]


def test_staged_files_are_committed_once_and_only_while_they_are_there(table):
    staged = table.stage({"p": [1], "a": [7]})
    table.commit(staged)
    table.optimize()
    with pytest.raises(pt.AlreadyExists, match="committed before"):
        table.commit(staged)
    late = table.stage({"p": [1], "a": [8]})
    with pytest.raises(pt.StagedExpired, match="long enough"):
        table.commit(late, grace=dt.timedelta(0))
    table.collect_garbage(grace=dt.timedelta(0))
    with pytest.raises(pt.StagedExpired, match="is gone"):
        table.commit(pt.Staged.from_bytes(late.to_bytes()))
    assert sorted(table.read()["a"]) == [1, 2, 7]


def test_ctrl_c_says_whether_the_commit_was_made(tmp_path):
    """Interrupts appends at many moments; each reports the outcome correctly, and none is lost or
    doubled."""
    program = textwrap.dedent("""
        import json, signal, sys
        import partita as pt

        url = sys.argv[1]
        table = pt.create_table(url, {"a": [-1]})
        def ring(*_):
            raise KeyboardInterrupt
        signal.signal(signal.SIGALRM, ring)
        said = {}
        for n in range(60):
            try:
                signal.setitimer(signal.ITIMER_REAL, 0.0005 + n * 0.0003)
                table.append({"a": [n]}, key=str(n))
                signal.setitimer(signal.ITIMER_REAL, 0)
                said[n] = "returned"
            except KeyboardInterrupt as interrupt:
                said[n] = "made" if getattr(interrupt, "committed", None) else "raised"
            except pt.CommitUnknown:
                said[n] = "unknown"
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
        print(json.dumps(said))
    """)
    url = str(tmp_path / "t")
    done = subprocess.run(
        [sys.executable, "-c", program, url], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    table = pt.open_table(url)
    there = table.read()["a"].tolist()
    assert len(there) == len(set(there))
    for n, words in said.items():
        made = table.committed(n) is not None
        assert made == (int(n) in there)
        if words in ("returned", "made"):
            assert made, (n, words)
    assert "returned" in said.values()


@pytest.mark.skipif(
    not sys.platform.startswith("linux") or os.geteuid() != 0,
    reason="takes a process that may act as other users",
)
@pytest.mark.parametrize("mask", [0o022, 0o077])
def test_a_lock_file_of_another_user_who_died_is_in_nobodys_way(tmp_path_factory, mask):
    import shutil
    import tempfile

    # Other users have no access to the directories of pytest.
    folder = tempfile.mkdtemp()
    try:
        os.chmod(folder, 0o777)
        pt.create_table(f"{folder}/t", {"a": [0]})
        for directory, _, files in os.walk(folder):
            os.chmod(directory, 0o777)
            for name in files:
                os.chmod(f"{directory}/{name}", 0o666)
        lock = f"{folder}/.t.by-dataset-metadata.json.lock"
        child = os.fork()
        if child == 0:
            os.setuid(4001)
            os.umask(mask)
            os.open(lock, os.O_CREAT | os.O_WRONLY, 0o666)
            os._exit(0)
        os.waitpid(child, 0)
        assert os.path.exists(lock)
        # Other users may not be able to read the interpreter, so it is loaded before.
        append = (
            "import os, sys\nimport partita as pt\n"
            "pt.create_table('memory://loaded/t', {'a': [0]}).append({'a': [1]})\n"
            "os.setuid(4002)\npt.open_table(sys.argv[1]).append({'a': [1]})"
        )
        done = subprocess.run(
            [sys.executable, "-c", append, f"{folder}/t"],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        assert pt.open_table(f"{folder}/t").count() == 2
    finally:
        shutil.rmtree(folder)


def test_no_dataset_is_made_over_or_inside_another(tmp_path):
    def collection(url):
        time = np.arange("2022-01", "2022-03", dtype="M8[D]").astype("M8[us]")
        rows = {"time": ("time", time), "v": ("time", np.arange(59.0))}
        return pt.create_collection(url, rows, axis="time", partition_by=pt.Date("time", "month"))

    pt.create_table(tmp_path / "t", {"a": [1]})
    collection(tmp_path / "c")
    for place in ("c", "c/x", "c/x/y", "t/x"):
        with pytest.raises(pt.AlreadyExists, match="another dataset"):
            pt.create_table(tmp_path / place, {"a": [1]}, overwrite=True)
    for place in ("t", "t/x", "c/x"):
        with pytest.raises(pt.AlreadyExists, match="another dataset"):
            collection(tmp_path / place)
    assert pt.open_table(tmp_path / "t").count() == 1
    assert pt.open_collection(tmp_path / "c").verify() == []
