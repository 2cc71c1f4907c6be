"""Processes that write to a table, for the tests of concurrency and of crashes.

Run as a program, it does one job and tells what it did, a line for each commit:

    python tests/writers.py append URL OPTIONS WRITER COUNT
    python tests/writers.py churn URL OPTIONS FIRST

It prints ``ready``, waits for a line on standard input, so that many begin together, and works.
"""

from __future__ import annotations

import json
import subprocess
import sys

import pandas as pd

import partita as pt

__all__ = ["CITIES", "Writer", "churn_data", "churn_state", "step", "trips_of"]

CITIES = ["Lima", "Oslo", "Rome", "Seoul"]
_ROWS = 250


def trips_of(writer: int, number: int) -> pd.DataFrame:
    """The rows of append `number` of `writer`: two rows in two cities, one file each."""
    return pd.DataFrame(
        {
            "city": [CITIES[number % 4], CITIES[(number + 1) % 4]],
            "writer": [writer, writer],
            "number": [number, number],
            "rider": [writer * 1000 + number, number],
        }
    )


def churn_data(operation: int) -> pd.DataFrame:
    """The rows of an operation of `churn`: an even one appends to all cities, an odd one replaces
    Oslo."""
    cities = CITIES if operation % 2 == 0 else ["Oslo"]
    return pd.DataFrame(
        {
            "city": [city for city in cities for _ in range(_ROWS)],
            "operation": operation,
            "row": [row for _ in cities for row in range(_ROWS)],
            "text": [f"{city} {operation} {row}" for city in cities for row in range(_ROWS)],
        }
    )


def churn_state(operations: int) -> dict[tuple[str, int], int]:
    """The rows of each operation in each city after the given number of operations."""
    state: dict[tuple[str, int], int] = {}
    for operation in range(operations):
        if operation % 2 == 1:
            state = {key: rows for key, rows in state.items() if key[0] != "Oslo"}
        for city in CITIES if operation % 2 == 0 else ["Oslo"]:
            state[city, operation] = _ROWS
    return state


def step(table: pt.Table, operation: int) -> None:
    """Carries out one operation of `churn`."""
    if operation % 2 == 0:
        table.append(churn_data(operation))
    else:
        table.replace(churn_data(operation), where={"city": "Oslo"})


class Writer:
    """The test's handle of a process that writes to a table."""

    def __init__(self, job: str, url: str, options: dict[str, str], *arguments: int) -> None:
        self.process = subprocess.Popen(
            [sys.executable, __file__, job, url, json.dumps(options), *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def wait_until_ready(self) -> None:
        """Waits for the imports and the open table."""
        line = self.process.stdout.readline()
        assert line == "ready\n", line + self.process.stderr.read()

    def go(self) -> None:
        """Starts the work."""
        self.process.stdin.write("go\n")
        self.process.stdin.flush()

    def finish(self, timeout: float = 240) -> list[str]:
        """Waits for its end; returns its output after checking that it succeeded."""
        said, complaints = self.process.communicate(timeout=timeout)
        assert self.process.returncode == 0, complaints
        return said.splitlines()

    def kill(self) -> list[str]:
        """Kills it without warning; returns the complete lines of its output so far."""
        self.process.kill()
        said, complaints = self.process.communicate(timeout=60)
        assert "Traceback" not in complaints, complaints
        return [line[:-1] for line in said.splitlines(keepends=True) if line.endswith("\n")]


def _append(table: pt.Table, writer: int, count: int) -> None:
    for number in range(count):
        commit = table.append(trips_of(writer, number))
        print(f"{number} {commit.attempts}", flush=True)


def _churn(table: pt.Table, first: int) -> None:
    operation = first
    while True:
        step(table, operation)
        print(operation, flush=True)
        operation += 1


def _main(job: str, url: str, options: str, *arguments: str) -> None:
    table = pt.open_table(url, storage_options=json.loads(options))
    print("ready", flush=True)
    sys.stdin.readline()
    {"append": _append, "churn": _churn}[job](table, *map(int, arguments))


if __name__ == "__main__":
    _main(*sys.argv[1:])
