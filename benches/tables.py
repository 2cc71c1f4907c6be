"""Tables beside plateau, pyarrow and Polars: written with and without an index, read in five ways.

    python benches/tables.py --rows 10000000 --repeat 3

Every measurement is a process of its own, which prints seconds, rows and its peak of memory as
JSON. The data are made once for a number of rows and kept in the folder given with ``--dir``.
``--smoke`` tries everything on few rows, and leaves the file of results alone.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from results import grid, machine, write_section
from tables_data import DEAR, RIDER, data_file, generate
from tables_peers import PEERS, Query

SMOKE = 100_000
TIMEOUT = 1200


@dataclass(frozen=True)
class Case:
    """Something to measure: a write if there is no query."""

    title: str
    peers: tuple[str, ...] = tuple(PEERS)
    query: Query | None = None
    index: bool = False
    pandas: bool = False


EVERYTHING = Query()
CASES = {
    "write": Case("Write, partitioned by city"),
    "write-index": Case("The same, with an index on rider", ("partita", "plateau"), index=True),
    "arrow": Case("Read everything, into Arrow", ("partita", "pyarrow", "polars"), EVERYTHING),
    "pandas": Case("Read everything, into pandas", query=EVERYTHING, pandas=True),
    "city": Case(
        "Read three columns of one city",
        query=Query(("trip", "pickup", "fare"), ("city", "==", "Lima")),
    ),
    "rider": Case("Read the rows of one rider", query=Query(None, ("rider", "==", RIDER))),
    "fare": Case(
        "Read two columns where fare is in the top 1 %",
        query=Query(("trip", "fare"), ("fare", ">", DEAR)),
    ),
}


@dataclass(frozen=True)
class Outcome:
    """What the runs of one case by one peer came to."""

    seconds: float = math.inf
    peak: int = 0
    rows: int | None = None
    failure: str = ""


# The measurements


def measure(folder: Path, rows: int, peer_name: str, case: Case) -> None:
    """The body of a process: one measurement, printed as JSON.

    Imports, the conversion of what is to be written and the counting of rows are not measured.
    """
    import pandas  # noqa: F401
    import pyarrow as pa

    indexed = case.index or (case.query is not None and peer_name in CASES["write-index"].peers)
    peer = PEERS[peer_name](place(folder, peer_name, indexed))
    if case.query is None:
        with pa.memory_map(str(data_file(folder, rows))) as source:
            data = peer.prepared(pa.ipc.open_file(source).read_all())
        began = time.perf_counter()
        peer.write(data, "city", "rider" if case.index else None)
    else:
        began = time.perf_counter()
        found = peer.to_pandas(case.query) if case.pandas else peer.read(case.query)
    seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    count = len(peer.read(Query(("trip",)))) if case.query is None else len(found)
    print(json.dumps({"seconds": seconds, "rows": count, "peak": peak}))


def place(folder: Path, peer: str, indexed: bool) -> Path:
    """Where a peer writes."""
    return folder / peer / ("indexed" if indexed else "plain")


def child(folder: Path, rows: int, *arguments: str) -> str:
    """What a process of this script prints. Raises RuntimeError if it fails.

    This process imports no library: a child's peak of memory is never below its parent's.
    """
    command = [sys.executable, __file__, "--dir", str(folder), "--rows", str(rows), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"not done in {TIMEOUT} s") from None
    if done.returncode < 0:
        raise RuntimeError(f"ended by signal {-done.returncode}")
    if done.returncode > 0:
        print(done.stderr, file=sys.stderr)
        error = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise RuntimeError(error.partition(":")[0])
    return done.stdout.splitlines()[-1] if done.stdout else ""


def outcome(folder: Path, rows: int, peer: str, name: str, repeat: int) -> Outcome:
    """The fastest of several runs, and the highest peak of memory among them."""
    case = CASES[name]
    best = Outcome()
    for _ in range(repeat):
        if case.query is None:
            shutil.rmtree(place(folder, peer, case.index), ignore_errors=True)
        try:
            run = json.loads(child(folder, rows, "--peer", peer, "--case", name))
        except RuntimeError as error:
            return Outcome(failure=str(error))
        best = Outcome(min(best.seconds, run["seconds"]), max(best.peak, run["peak"]), run["rows"])
    return best


# The report


def time_cell(found: Outcome | None, ours: Outcome) -> str:
    """Seconds, and how many times as long as Partita."""
    if found is None:
        return "–"
    if found.failure:
        return f"failed: {found.failure}"
    seconds = f"{found.seconds:.3f}"
    return seconds if found is ours or ours.failure else f"{seconds} ({_ratio(found, ours)})"


def _ratio(found: Outcome, ours: Outcome) -> str:
    return f"{found.seconds / ours.seconds:.2f}×"


def peak_cell(found: Outcome | None) -> str:
    """The peak of memory."""
    return "–" if found is None or found.failure else f"{found.peak / 2**20:,.0f}"


def compare(folder: Path, rows: int, repeat: int, *, keep_results: bool) -> bool:
    """Measures everything and reports it; whether no peer failed and all agree."""
    folder.mkdir(parents=True, exist_ok=True)
    print(f"Making {rows:,} rows", flush=True)
    child(folder, rows, "--generate")
    times, peaks, problems = [], [], []
    for name, case in CASES.items():
        print(case.title, flush=True)
        found = {peer: outcome(folder, rows, peer, name, repeat) for peer in case.peers}
        for peer, result in found.items():
            print(f"  {peer:8} {time_cell(result, found['partita'])}", flush=True)
            if result.failure:
                problems.append(f"{case.title}: {peer} failed: {result.failure}.")
        counts = {peer: result.rows for peer, result in found.items() if not result.failure}
        if case.query in (None, EVERYTHING):
            counts["the data"] = rows
        if len(set(counts.values())) > 1:
            said = ", ".join(f"{peer} {count}" for peer, count in counts.items())
            problems.append(f"{case.title}: the numbers of rows differ: {said}.")
        times.append([case.title, *(time_cell(found.get(p), found["partita"]) for p in PEERS)])
        peaks.append([case.title, *(peak_cell(found.get(p)) for p in PEERS)])
    for peer in PEERS:
        shutil.rmtree(folder / peer, ignore_errors=True)
    text = section(rows, repeat, times, peaks, problems)
    print(f"\n{text}")
    if keep_results:
        write_section("Tables", text)
    return not problems


def section(
    rows: int, repeat: int, times: list[list[str]], peaks: list[list[str]], problems: list[str]
) -> str:
    """The section of the file of results."""
    return "\n\n".join(
        [
            f"{rows:,} rows of 10 columns in local files that the system has in its cache; all "
            "compress with Snappy, other settings are the defaults. A rider takes 98 of 100 trips "
            "in one of the 20 cities. What Partita and plateau read has the index. Opening is "
            "part of a read. Into Arrow, Polars makes its own frame. Partita waits until what it "
            "writes is on the disk, the others do not.",
            f"`make bench ROWS={rows} REPEAT={repeat}`",
            machine("partita", "plateau", "pyarrow", "polars", "pandas"),
            *problems,
            "Seconds (ratio):",
            grid(["", *PEERS], times),
            "Highest memory of the process in MiB; for writes with what is written, which plateau "
            "takes as a DataFrame and Polars as its own frame:",
            grid(["", *PEERS], peaks),
        ]
    )


def main() -> None:
    options = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    options.add_argument("--rows", type=_positive, default=10_000_000)
    options.add_argument("--repeat", type=_positive, default=3, help="the fastest run counts")
    options.add_argument("--dir", type=Path, default=Path("bench-data"), help="for data and tables")
    options.add_argument("--smoke", action="store_true", help=f"{SMOKE:,} rows; results not kept")
    options.add_argument("--peer", choices=PEERS, help="measure one case here, with --case")
    options.add_argument("--case", choices=CASES)
    options.add_argument("--generate", action="store_true", help="only make the data")
    given = options.parse_args()
    rows = SMOKE if given.smoke else given.rows
    if (given.peer is None) != (given.case is None):
        options.error("--peer and --case go together")
    if given.generate:
        given.dir.mkdir(parents=True, exist_ok=True)
        generate(given.dir, rows)
    elif given.case:
        measure(given.dir, rows, given.peer, CASES[given.case])
    elif not compare(given.dir, rows, given.repeat, keep_results=not given.smoke):
        sys.exit(1)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"a number above 0 is needed, not {text!r}")
    return int(text)


if __name__ == "__main__":
    main()
