"""Collections beside ZCollection: inserted, merged, loaded, updated, listed.

    python benches/arrays.py --peer-python PATH --megabytes 1500 --repeat 3

Every measurement is a process of its own, ``arrays_peers.py``. ZCollection needs an older zarr
than the tests here: it runs under the Python given with ``--peer-python``, in an environment that
has ``zcollection``. The two take turns. ``--smoke`` tries everything on little data, and leaves the
file of results alone.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

from results import grid, machine, write_section

BULK = {
    "insert": "Insert {mb} MB, zstd 3, twelve months",
    "load": "Load everything",
    "merge": "Merge a delivery of {part} MB into a month",
    "again": "Merge it again",
    "update": "Update one variable from another",
}
KINDS = {
    "rounded": "float32 rounded to 1 mm",
    "packed": "int32 in units of 0.1 mm, a third of it land",
    "full": "float32 as it was computed",
}
# What is there when the others are measured.
KIND = list(KINDS)[-1]
CASES = {
    "tiny": "Insert 300 days of ten rows",
    "one": "Load one variable of {many:,} partitions",
    "list": "List {many:,} partitions",
    "above": "Load fifty rows of them by a value, of which there are statistics",
    "view": "Fill a variable of a view over {mb} MB",
    "through": "Load it with one of its base",
    "index": "Build an index of half orbits",
    "pass": "Load the rows of one of them",
    "cluster": "Insert {mb} MB of arrays of Dask, two workers",
}
# These write into a directory of their own.
WRITTEN = ("insert", "tiny", "view", "cluster")
TIMEOUT = 3000
INTRODUCTION = (
    "Local files that the system has in its cache; along-track fields of four variables. "
    "ZCollection runs on two threads of Dask. Partita waits until what it writes is on the disk; "
    "ZCollection does not, and neither does Partita with the option `sync=false`. What is large "
    "takes the time of the codec, and so depends on the values: three kinds of them. The function "
    "of the index is given the time alone (`variables=`); that of ZCollection loads what it looks "
    "at."
)


def run(
    python: str, peer: str, case: str, kind: str, arguments: argparse.Namespace
) -> dict[str, float]:
    program = str(Path(__file__).with_name("arrays_peers.py"))
    numbers = [str(arguments.megabytes), str(arguments.partitions)]
    command = [python, program, peer, case, kind, str(arguments.dir), *numbers]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    if done.returncode:
        sys.stderr.write(done.stderr)
        raise SystemExit(f"{peer} failed at {case}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peer-python", required=True)
    parser.add_argument("--megabytes", type=int, default=1500)
    parser.add_argument("--partitions", type=int, default=10_000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--dir", type=Path, default=Path("bench-data/collections"))
    parser.add_argument("--smoke", action="store_true")
    arguments = parser.parse_args()
    if arguments.smoke:
        arguments.megabytes, arguments.partitions, arguments.repeat = 30, 60, 1
    ours = {"partita": sys.executable, "unsynced": sys.executable}
    theirs = {"zcollection": arguments.peer_python}
    shutil.rmtree(arguments.dir, ignore_errors=True)
    arguments.dir.mkdir(parents=True)
    run(sys.executable, "partita", "many", KIND, arguments)
    measured = [(case, kind) for kind in KINDS for case in BULK] + [(case, KIND) for case in CASES]
    best: dict[tuple[str, str, str], float] = defaultdict(lambda: math.inf)
    stored: dict[tuple[str, str], float] = {}
    peaks: dict[tuple[str, str], float] = {}
    repository = math.inf
    for _ in range(arguments.repeat):
        for case, kind in measured:
            for peer, python in {**ours, **theirs}.items():
                if peer == "unsynced" and (case not in BULK or case == "load"):
                    continue
                if case in WRITTEN:
                    name = peer if case == "insert" else f"{peer}-{case}"
                    shutil.rmtree(arguments.dir / name, ignore_errors=True)
                if case == "index":
                    (arguments.dir / f"{peer}.parquet").unlink(missing_ok=True)
                found = run(python, peer, case, kind, arguments)
                best[peer, case, kind] = min(best[peer, case, kind], found["seconds"])
                if case == "insert":
                    stored[peer, kind] = size_of(arguments.dir / peer)
                elif case == "load":
                    peaks[peer, kind] = found["peak"] - found["before"]
                print(f"{peer:<12} {case:<8} {kind:<8} {found['seconds']:8.3f} s", flush=True)
        shutil.rmtree(arguments.dir / "partita-repository", ignore_errors=True)
        found = run(sys.executable, "partita", "repository", KIND, arguments)
        repository = min(repository, found["seconds"])
    part, many = arguments.megabytes // 30, arguments.partitions
    fill = {"mb": arguments.megabytes, "part": part, "many": many}

    def cells(case: str, kind: str, *peers: str) -> list[str]:
        theirs = best["zcollection", case, kind]
        times = [best[peer, case, kind] for peer in peers]
        ours = [f"{time:.3f} ({theirs / time:.1f}×)" if time < math.inf else "" for time in times]
        return [f"{theirs:.3f}", *ours]

    tables = []
    size = arguments.megabytes * 1e6
    for kind, title in KINDS.items():
        rows = [
            [text.format(**fill), *cells(case, kind, "unsynced", "partita")]
            for case, text in BULK.items()
        ]
        for text, found in (
            ("Stored, over the size in memory", stored),
            ("Peak memory of loading, over the size of the result", peaks),
        ):
            values = [found.get((peer, kind)) for peer in ("zcollection", "unsynced", "partita")]
            rows.append([text, *(f"{value / size:.2f}" if value else "" for value in values)])
        head = [title, "ZCollection", "Partita, `sync=false`", "Partita"]
        tables.append(grid(head, rows))
    rows = [[text.format(**fill), *cells(case, KIND, "partita")] for case, text in CASES.items()]
    tables.append(grid([KINDS[KIND], "ZCollection", "Partita"], rows))
    text = (
        f"{INTRODUCTION}\n\n"
        + "\n\n".join(tables)
        + f"\n\nThe insert of {arguments.megabytes} MB into an Icechunk repository, with the "
        f"codecs that Partita chooses there: {repository:.3f} s.\n\n"
        f"{machine('partita', 'numpy', 'xarray')} ZCollection 2026.6.0.\n\n"
        "    python benches/arrays.py --peer-python PATH "
        f"--megabytes {arguments.megabytes} --repeat {arguments.repeat}\n"
    )
    print(text)
    if not arguments.smoke:
        write_section("Collections", text)
    shutil.rmtree(arguments.dir)


if __name__ == "__main__":
    main()
