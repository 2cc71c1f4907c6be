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
from pathlib import Path

from results import grid, machine, write_section

CASES = {
    "insert": "Insert {mb} MB, zstd 3, twelve months",
    "load": "Load everything",
    "merge": "Merge a delivery of {part} MB into a month",
    "update": "Update one variable from another",
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
    "ZCollection runs on two threads of Dask. Partita waits until what it writes is on the disk, "
    "ZCollection does not. Inserts, merges and updates of large chunks take the time that zstd "
    "takes on both cores, and so does loading them. The function of the index is given the time "
    "alone (`variables=`); that of ZCollection loads what it looks at."
)


def run(python: str, peer: str, case: str, arguments: argparse.Namespace) -> dict[str, float]:
    program = str(Path(__file__).with_name("arrays_peers.py"))
    numbers = [str(arguments.megabytes), str(arguments.partitions)]
    command = [python, program, peer, case, str(arguments.dir), *numbers]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    if done.returncode:
        sys.stderr.write(done.stderr)
        raise SystemExit(f"{peer} failed at {case}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


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
    peers = {"partita": sys.executable, "zcollection": arguments.peer_python}
    shutil.rmtree(arguments.dir, ignore_errors=True)
    arguments.dir.mkdir(parents=True)
    run(sys.executable, "partita", "many", arguments)
    best = {(peer, case): math.inf for peer in peers for case in CASES}
    peaks: dict[str, float] = {}
    repository = math.inf
    for _ in range(arguments.repeat):
        for case in CASES:
            for peer, python in peers.items():
                if case in WRITTEN:
                    name = peer if case == "insert" else f"{peer}-{case}"
                    shutil.rmtree(arguments.dir / name, ignore_errors=True)
                if case == "index":
                    (arguments.dir / f"{peer}.parquet").unlink(missing_ok=True)
                found = run(python, peer, case, arguments)
                best[peer, case] = min(best[peer, case], found["seconds"])
                if case == "load":
                    peaks[peer] = found["peak"] - found["before"]
                print(f"{peer:<12} {case:<8} {found['seconds']:8.3f} s", flush=True)
        shutil.rmtree(arguments.dir / "partita-repository", ignore_errors=True)
        found = run(sys.executable, "partita", "repository", arguments)
        repository = min(repository, found["seconds"])
    rows = []
    for case, title in CASES.items():
        ours, theirs = best["partita", case], best["zcollection", case]
        part, many = arguments.megabytes // 30, arguments.partitions
        text = title.format(mb=arguments.megabytes, part=part, many=many)
        rows.append([text, f"{ours:.3f}", f"{theirs:.3f}", f"{theirs / ours:.1f}"])
    size = arguments.megabytes * 1e6
    memory = ", ".join(f"{peer} {peak / size:.2f}" for peer, peak in peaks.items())
    table = grid(["", "Partita", "ZCollection", "ratio"], rows)
    text = (
        f"{INTRODUCTION}\n\n{table}\n\n"
        f"Peak memory of loading everything, over the size of the result: {memory}.\n\n"
        f"The insert of {arguments.megabytes} MB into an Icechunk repository, with the codecs that "
        f"Partita chooses there: {repository:.3f} s.\n\n"
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
