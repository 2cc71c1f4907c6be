"""Ctrl-C, sent as a signal to another process, ends whatever that process waits for."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import partita as pt
from scripted_s3 import Request, ScriptedS3, scripted_s3

fcntl = pytest.importorskip("fcntl")

TABLE, COLLECTION = "s3://test/lake/t", "s3://test/lake/c"
# Python ends itself with the signal if no handler catches it.
INTERRUPTED = (130, -signal.SIGINT)
HOURS = np.arange("2022-01-01", "2022-03-01", dtype="M8[h]").astype("M8[us]")
ROWS = {"time": ("time", HOURS), "v": ("time", np.arange(float(HOURS.size)))}
# Programs in which `t`, `c` and `more` are a table, a collection, and rows for it.
WAITS = {
    "read": "t.read()",
    "read a part": "t.read(where='a > 1')",
    "open": "pt.open('s3://test/lake/t', storage_options=options)",
    "ls": "pt.ls('s3://test/lake', storage_options=options)",
    "history": "t.history()",
    "append": "t.append({'a': [1]})",
    "upsert": "t.upsert({'a': [1]}, on='a')",
    "delete": "t.delete('a == 1')",
    "optimize": "t.optimize()",
    "verify": "t.verify(data=True)",
    "garbage": "t.collect_garbage()",
    "copy": "t.copy('memory://copies/t')",
    "restore": "t.restore(1)",
    "drop": "t.drop()",
    "read a collection": "c.read()",
    "read lazily": "c.read(chunks={}).v.values",
    "insert": "c.insert(more, merge='upsert')",
    "update": "c.update(lambda p: {'v': p.v + 1})",
    "verify a collection": "c.verify(data=True)",
    "garbage of a collection": "c.collect_garbage()",
    "copy a collection": "c.copy('memory://copies/c')",
    "rows for a table": "c.to_table('memory://copies/rows')",
    "import": "pt.import_files('s3://test/lake/c', sys.argv[1], storage_options=options)",
}
COMMANDS = {
    "read": ["read", TABLE],
    "append": ["append", TABLE, "{folder}/rows.csv"],
    "history": ["history", TABLE],
    "copy": ["copy", TABLE, "{folder}/copy"],
    "migrate": ["migrate", COLLECTION, "icechunk+{folder}/migrated"],
    "verify a collection": ["verify", COLLECTION, "--data"],
    "import arrays": ["import", COLLECTION, "{folder}/more.nc", "--merge", "upsert"],
    "read into a file": ["read", COLLECTION, "-o", "{folder}/out.nc"],
    "sql": ["sql", TABLE, "select count(*) from t"],
}
PROGRAM = """
import sys
import numpy as np
import partita as pt

options = {options!r}
t = pt.open_table({table!r}, storage_options=options)
c = pt.open_collection({collection!r}, storage_options=options)
hours = np.arange("2022-01-10", "2022-01-12", dtype="M8[h]").astype("M8[us]")
more = {{"time": ("time", hours), "v": ("time", np.zeros(hours.size))}}
for wait in {waits!r}:
    print("ready", flush=True)
    sys.stdin.readline()
    try:
        print("begun", flush=True)
        exec(wait)
        print("done", flush=True)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
"""


class Silent:
    """A script that answers no request of one client."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.over = threading.Event()

    def wait_for(self, running: subprocess.Popen[str]) -> None:
        """Waits until the process waits for an answer."""
        while not self.asked.wait(0.1):
            assert running.poll() is None, running.communicate()

    def __call__(self, request: Request) -> None:
        if request.client == "slow":
            self.asked.set()
            self.over.wait(120)


@pytest.fixture(scope="module")
def lake():
    with scripted_s3() as s3:
        options = s3.options()
        table = pt.create_table(TABLE, {"a": [1, 2]}, storage_options=options)
        table.append({"a": [3]})
        pt.create_collection(
            COLLECTION,
            ROWS,
            axis="time",
            partition_by=pt.Date("time", "month"),
            storage_options=options,
        )
        yield s3


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    xarray = pytest.importorskip("xarray")
    (tmp_path / "rows.csv").write_text("a\n7\n")
    some = {name: (dims, values[:48]) for name, (dims, values) in ROWS.items()}
    xarray.Dataset(some).to_netcdf(tmp_path / "more.nc")
    return tmp_path


def interrupted(running: subprocess.Popen[str]) -> str:
    """Interrupts a process that waits, and returns its standard error. Without the signal each wait
    would take longer than the test."""
    running.send_signal(signal.SIGINT)
    _, told = running.communicate(timeout=30)
    assert running.returncode in INTERRUPTED, told
    assert "panicked" not in told
    return told


def started(program: list[object]) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [sys.executable, *map(str, program)], stdin=pipe, stdout=pipe, stderr=pipe, text=True
    )


def test_a_store_that_is_silent(lake: ScriptedS3, folder: Path) -> None:
    waits = list(WAITS.values())
    code = PROGRAM.format(
        options=lake.options("slow"), table=TABLE, collection=COLLECTION, waits=waits
    )
    running = started(["-c", code, folder / "more.nc"])
    # An operation that is not interrupted would wait for minutes.
    timer = threading.Timer(240, running.kill)
    timer.start()
    for name in WAITS:
        assert running.stdout.readline() == "ready\n", (name, running.communicate())
        script = lake.script = Silent()
        running.stdin.write("\n")
        running.stdin.flush()
        assert running.stdout.readline() == "begun\n", (name, running.communicate())
        script.wait_for(running)
        running.send_signal(signal.SIGINT)
        assert running.stdout.readline() == "interrupted\n", (name, running.communicate())
        script.over.set()
        lake.script = None
    timer.cancel()
    running.communicate(timeout=60)
    options = lake.options()
    assert pt.open_table(TABLE, storage_options=options).count() == 3
    found = pt.open_collection(COLLECTION, storage_options=options)
    assert found.read().sizes["time"] == HOURS.size


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_at_a_store_that_is_silent(lake: ScriptedS3, folder: Path, name: str) -> None:
    script = lake.script = Silent()
    given = [part for item in lake.options("slow").items() for part in ("-O", "=".join(item))]
    words = [word.format(folder=folder) for word in COMMANDS[name]]
    running = started(["-m", "partita", *words, *given])
    script.wait_for(running)
    try:
        assert "Traceback" not in interrupted(running)
        assert running.returncode == 130
    finally:
        script.over.set()
    assert pt.open_table(TABLE, storage_options=lake.options()).count() == 3


WAITING = """
import sys
import partita as pt

print("ready", flush=True)
{wait}
"""


@pytest.mark.parametrize(
    ("lock", "wait"),
    [
        (
            ".t.by-dataset-metadata.json.lock",
            "pt.open_table(sys.argv[1] + '/t').append({'a': [2]})",
        ),
        (
            "c/.partita/.publish.lock",
            "pt.open(sys.argv[1] + '/c').drop_partitions('month == 1')",
        ),
    ],
)
def test_a_lock_that_another_process_holds(tmp_path: Path, lock: str, wait: str) -> None:
    pt.create_table(tmp_path / "t", {"a": [1]})
    pt.create_collection(tmp_path / "c", ROWS, axis="time", partition_by=pt.Date("time", "month"))
    with (tmp_path / lock).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        running = started(["-c", WAITING.format(wait=wait), tmp_path])
        assert running.stdout.readline() == "ready\n", running.communicate()
        time.sleep(1)
        assert running.poll() is None, running.communicate()
        told = interrupted(running)
        assert "KeyboardInterrupt" in told and "CommitUnknown" not in told
    assert pt.open_table(tmp_path / "t").count() == 1


def test_a_lease_that_another_process_holds(tmp_path: Path) -> None:
    by = pt.Date("time", "month")
    c = pt.create_collection(tmp_path / "c", ROWS, axis="time", partition_by=by)
    lease = tmp_path / "c/.partita/publish"
    lease.write_text("held by another machine")
    code = WAITING.format(wait="pt.open(sys.argv[1]).drop_partitions('month == 1')")
    running = started(["-c", code, tmp_path / "c"])
    assert running.stdout.readline() == "ready\n", running.communicate()
    time.sleep(1)
    assert running.poll() is None, running.communicate()
    # The record was made before: readers see it, and the next writer publishes it.
    assert "was made before the call was interrupted" in interrupted(running)
    lease.unlink()
    assert [p.path for p in c.refresh().partitions] == ["year=2022/month=02"]


def test_repeated_requests_to_a_store_that_refuses() -> None:
    options = {
        "endpoint_url": "http://127.0.0.1:9",
        "access_key_id": "a",
        "secret_access_key": "b",
        "region": "us-east-1",
    }
    code = WAITING.format(wait=f"pt.open({TABLE!r}, storage_options={options!r})")
    running = started(["-c", code])
    assert running.stdout.readline() == "ready\n", running.communicate()
    time.sleep(1)
    assert running.poll() is None, running.communicate()
    assert "KeyboardInterrupt" in interrupted(running)
