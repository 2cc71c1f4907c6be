"""This version of Partita beside an earlier one, in one run.

    python benches/versions.py --before PYTHON --repeat 5

``PYTHON`` is the interpreter of an environment in which the earlier version is installed; this
version is that of the running interpreter. Every measurement is a process of its own, in which
imports and preparation are not counted. The two take turns, and the fastest run of each counts.
Remote stores are the small S3 server, which delays every request by 30 ms.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from results import grid, machine, write_section

ROWS = 1_000_000
FILES = 100_000
TIMEOUT = 1800
TABLES = {
    "append": "Append 100,000 rows to a table of 1,000,000 with an index",
    "replace": "Replace one of its eight partitions",
    "upsert": "Upsert 1,000 rows of it",
    "delete": "Delete half of a partition",
    "read": "Read all of it",
    "many-commit": "Append ten rows to a table of 100,000 files",
    "remote-append": "Append ten rows to a table on a store with 30 ms a request",
    "remote-read": "Open that table and read it",
}
COLLECTIONS = {
    "insert": "Insert 300 MB in twelve months",
    "load": "Load everything",
    "merge": "Merge a delivery of 10 MB into a month",
    "again": "Merge it again",
    "update": "Update one variable from another",
    "tiny": "Insert 300 days of ten rows",
    "one": "Load one variable of 1,000 partitions",
    "remote-insert": "Insert twelve months of 2,000 rows on a store with 30 ms a request",
    "remote-merge": "Merge a delivery into one of those months",
    "remote-load": "Open that collection and load one month",
}
CASES = {**TABLES, **COLLECTIONS}
# Cases that `arrays_peers` measures, with its kinds of values.
SHARED = ("insert", "load", "merge", "again", "update", "tiny", "one")
MEGABYTES, PARTITIONS = 300, 1_000


def frame(first: int, count: int) -> Any:
    """Rows with an `id` that is counted from `first`."""
    import numpy as np
    import pandas as pd

    ids = np.arange(first, first + count)
    random = np.random.default_rng(first)
    return pd.DataFrame(
        {"id": ids, "part": ids % 8, "fare": random.random(count), "name": (ids % 977).astype(str)}
    )


def months() -> Any:
    """Twelve months of an axis with 24,000 rows, and a field of 16 columns."""
    import numpy as np
    import xarray as xr

    axis = np.datetime64("2022-01-01", "us") + np.arange(24_000) * np.timedelta64(1313, "s")
    field = np.random.default_rng(1).random((axis.size, 16), dtype="f4")
    return xr.Dataset({"ssh": (("time", "x"), field)}, {"time": axis})


class Run:
    """One measurement in this process. A method prepares, and returns what is measured."""

    def __init__(self, folder: Path, options: dict[str, str] | None) -> None:
        import partita

        self.pt, self.folder = partita, folder
        self.prefix = options.pop("prefix") if options else ""
        self.options: dict[str, Any] = {"storage_options": options} if options else {}

    def place(self, name: str) -> str:
        return f"s3://test/{self.prefix}/{name}" if self.options else str(self.folder / name)

    def table(self, name: str) -> Any:
        return self.pt.open_table(self.place(name), **self.options)

    def prepare(self) -> None:
        self.pt.create_table(
            self.place("plain"), frame(0, ROWS), partition_by="part", index="id", **self.options
        )
        import numpy as np
        import pandas as pd

        many = pd.DataFrame({"key": np.arange(FILES), "fare": np.arange(FILES) / 4})
        self.pt.create_table(self.place("many"), many, partition_by="key", **self.options)

    def prepare_remote(self) -> None:
        self.pt.create_table(
            self.place("rows"), frame(0, 1000), partition_by="part", index="id", **self.options
        )
        self.empty().insert(months())

    def empty(self) -> Any:
        name = f"months-{time.time_ns()}"
        (self.folder / "months").write_text(name)
        return self.pt.create_collection(
            self.place(name),
            months(),
            axis="time",
            partition_by=self.pt.Date("time", "month"),
            insert=False,
            **self.options,
        )

    def months(self) -> str:
        return self.place((self.folder / "months").read_text())

    def append(self) -> Callable[[], object]:
        data, table = frame(10 * ROWS + time.time_ns() % ROWS * 1000, 100_000), self.table("plain")
        return lambda: table.append(data)

    def replace(self) -> Callable[[], object]:
        data, table = frame(0, ROWS), self.table("plain")
        data = data[data["part"] == 3]
        return lambda: table.replace(data, where={"part": 3})

    def upsert(self) -> Callable[[], object]:
        data, table = frame(ROWS // 2, 1000), self.table("plain")
        return lambda: table.upsert(data, on="id")

    def delete(self) -> Callable[[], object]:
        table = self.table("plain")
        return lambda: table.delete(where="part == 5 and fare < 0.5")

    def read(self) -> Callable[[], object]:
        return lambda: self.table("plain").scan().to_arrow()

    def many_commit(self) -> Callable[[], object]:
        import pandas as pd

        start = FILES + time.time_ns() % 10**9
        data = pd.DataFrame({"key": range(start, start + 10), "fare": 0.5})
        return lambda: self.table("many").append(data)

    def remote_append(self) -> Callable[[], object]:
        data = frame(time.time_ns() % 10**12, 10)
        return lambda: self.table("rows").append(data)

    def remote_read(self) -> Callable[[], object]:
        return lambda: self.table("rows").scan().to_arrow()

    def remote_insert(self) -> Callable[[], object]:
        collection, data = self.empty(), months()
        return lambda: collection.insert(data)

    def remote_merge(self) -> Callable[[], object]:
        data = months().isel(time=slice(500, 900)) + 1
        url = self.months()
        return lambda: self.pt.open_collection(url, **self.options).insert(
            data, merge="time_series"
        )

    def remote_load(self) -> Callable[[], object]:
        url = self.months()
        return lambda: self.pt.open_collection(url, **self.options).read("month == 3")


def measure(folder: Path, case: str, options: dict[str, str] | None) -> float:
    """The body of a process: seconds of one case, or zero for what only prepares."""
    import pandas  # noqa: F401 - imports are not measured
    import pyarrow  # noqa: F401

    run = Run(folder, options)
    if case.startswith("prepare"):
        getattr(run, case.replace("-", "_"))()
        return 0.0
    action = getattr(run, case.replace("-", "_"))()
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


# The directories that cases of `arrays_peers` create, and that must not exist before.
WRITTEN = {"insert": "partita", "tiny": "partita-tiny", "many": "many"}


def child(python: str, folder: Path, case: str, options: dict[str, str] | None = None) -> float:
    """Runs one case in a process of its own; its seconds."""
    if case in (*SHARED, "many"):
        if case in WRITTEN:
            shutil.rmtree(folder / WRITTEN[case], ignore_errors=True)
        program = Path(__file__).with_name("arrays_peers.py")
        arguments = ["partita", case, "full", str(folder), str(MEGABYTES), str(PARTITIONS)]
    else:
        program = Path(__file__)
        arguments = ["--dir", str(folder / "own"), "--case", case]
        if options:
            arguments += ["--options", json.dumps(options)]
    done = subprocess.run(
        [python, str(program), *arguments], capture_output=True, text=True, timeout=TIMEOUT
    )
    assert done.returncode == 0, done.stderr
    return float(json.loads(done.stdout.splitlines()[-1])["seconds"])


def compare(arguments: argparse.Namespace) -> None:
    """Measures everything, and writes the section of results."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    from s3_server import s3_server

    pythons = {"before": arguments.before, "after": sys.executable}
    folders = {name: arguments.dir / name for name in pythons}
    shutil.rmtree(arguments.dir, ignore_errors=True)
    for folder in folders.values():
        (folder / "own").mkdir(parents=True)
    best = {(name, case): math.inf for name in pythons for case in CASES}
    with s3_server(arguments.dir / "objects", "slow:30") as options:
        for name, python in pythons.items():
            print(f"Writing the datasets of the version {name}", flush=True)
            remote = {**options, "prefix": name}
            for step in ("many", "prepare"):
                child(python, folders[name], step)
            child(python, folders[name], "prepare-remote", remote)
        for turn in range(arguments.repeat):
            for case in [case for case in CASES if arguments.only in case]:
                # The version that is measured first in one turn is measured last in the next.
                for name in sorted(pythons, reverse=turn % 2 == 1):
                    remote = {**options, "prefix": name} if case.startswith("remote") else None
                    seconds = child(pythons[name], folders[name], case, remote)
                    best[name, case] = min(best[name, case], seconds)
            print(f"{turn + 1} of {arguments.repeat} turns", flush=True)
    lines = []
    for case, title in CASES.items():
        before, after = best["before", case], best["after", case]
        if after < math.inf:
            lines.append([title, f"{before:.3f}", f"{after:.3f}", f"{after / before:.2f}"])
    text = (
        f"Seconds, the fastest of {arguments.repeat} runs; {arguments.title}. The last column is "
        f"the time of this version over that of the earlier one.\n\n"
        f"{grid(['', 'before', 'this version', 'ratio'], lines)}\n\n"
        f"{machine('pandas', 'pyarrow', 'xarray')}\n\n"
        f"    python benches/versions.py --before PYTHON --repeat {arguments.repeat}"
    )
    print(text)
    if not arguments.only:
        write_section(f"Versions: {arguments.title}", text)
    shutil.rmtree(arguments.dir)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--before", help="Python with the earlier version")
    options.add_argument("--title", default="an earlier version")
    options.add_argument("--repeat", type=int, default=5)
    options.add_argument("--only", default="", help="cases whose name has this; results not kept")
    options.add_argument("--dir", type=Path, default=Path("bench-data/versions"))
    options.add_argument("--case")
    options.add_argument("--options", type=json.loads)
    given = options.parse_args()
    if given.case:
        print(json.dumps({"seconds": measure(given.dir, given.case, given.options)}))
    else:
        compare(given)


if __name__ == "__main__":
    main()
