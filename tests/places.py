"""Stores of every kind, each with its faults, as places where tests keep datasets."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest

from collection_writers import start
from refused_calls import BARE_FILES, CAN_REFUSE, refusing
from s3_server import s3_server
from scripted_gcs import scripted_gcs
from scripted_s3 import Request, ScriptedS3, scripted_s3

__all__ = ["Place", "place"]

SERVERS = Path(__file__).parent / "servers"


@dataclass(frozen=True)
class Place:
    """Where datasets are kept."""

    root: str
    options: dict[str, str]
    keys: Callable[[], list[str]] | None = None
    """Lists all objects, where that is possible without the engine."""
    tick: float = 1.1
    """At least the steps in which the clock of the store counts, in seconds."""
    server: ScriptedS3 | None = None
    refused: Mapping[str, int] = field(default_factory=dict)
    """System calls that fail in the processes that use the place, with their errors."""

    def with_options(self, **options: str) -> Place:
        """The same place with more options."""
        return replace(self, options=self.options | options)

    def start(self, job: Any, *arguments: Any) -> tuple[BaseProcess, Connection]:
        """A process that runs a job on the datasets of this place and is ready, and the pipe to
        it."""
        return start(refusing, self.refused, job, self.root, self.options, *arguments)


def lose_answers(every: int) -> Callable[[Request], int | None]:
    """A script that carries out conditional writes and answers some of them with an error."""
    done = iter(range(1, sys.maxsize))
    return lambda request: (
        500 if request.operation == "SWAP" and request.done and next(done) % every == 0 else None
    )


@contextmanager
def place(kind: str, folder: Path) -> Iterator[Place]:
    """A place of a kind, with the servers that it takes."""
    match kind:
        case "local files":
            yield local(folder)
        case "files without links":
            if not CAN_REFUSE:
                pytest.skip("no filter of system calls is known for this machine")
            yield replace(local(folder), refused=BARE_FILES)
        case "shared files":
            yield local(folder).with_options(shared_files="true")
        case "s3 that loses answers":
            with s3_server(folder, "lost:7", "busy:29") as options:
                yield Place("s3://test/lake", options, lambda: files_below(folder))
        case "scripted s3":
            with scripted_s3() as s3:
                yield Place("s3://test/lake", s3.options(), s3.keys, server=s3)
        case "gcs that loses answers":
            with scripted_gcs() as gcs:
                gcs.script = lose_answers(every=7)
                yield Place("gs://test/lake", gcs.options(), gcs.keys, server=gcs)
        case "azure":
            with served("azurite.py") as (found, why):
                if not found and os.environ.get("CI") != "true":
                    pytest.skip(why)
                assert found, why
                options = {
                    "account_name": found["account"],
                    "account_key": found["key"],
                    "endpoint": found["endpoint"],
                    "allow_http": "true",
                }
                yield Place(f"az://{found['container']}/lake", options)
        case "ceph":
            with ceph() as found:
                options = {
                    "endpoint_url": found["endpoint"],
                    "access_key_id": found["access_key"],
                    "secret_access_key": found["secret_key"],
                    "region": "us-east-1",
                }
                yield Place(f"s3://{found['bucket']}/lake-{os.getpid()}", options)


def local(folder: Path) -> Place:
    return Place(str(folder / "lake"), {}, lambda: files_below(folder), tick=0.02)


def files_below(folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]


@contextmanager
def served(program: str, *arguments: str) -> Iterator[tuple[dict[str, str], str]]:
    """Runs a program that says in a line of JSON what it serves, until its input ends. Where there
    is no such line, what it said instead."""
    server = subprocess.Popen(
        [sys.executable, str(SERVERS / program), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        line = server.stdout.readline()
        yield (json.loads(line), "") if line else ({}, server.stderr.read())
    finally:
        server.communicate(timeout=60)


@contextmanager
def ceph() -> Iterator[dict[str, str]]:
    """Ceph's gateway: that of `PARTITA_TEST_RGW`, or one of this test's own. Where it is not
    installed the test is skipped, except under ``CI=true``, where it is installed."""
    known = os.environ.get("PARTITA_TEST_RGW", "")
    if known:
        yield json.loads(known if known.lstrip().startswith("{") else Path(known).read_text())
        return
    required = os.environ.get("CI") == "true"
    with served("ceph_rgw.py", *(["--install"] if required else [])) as (found, why):
        if not found and not required:
            pytest.skip(why)
        assert found, why
        yield found
