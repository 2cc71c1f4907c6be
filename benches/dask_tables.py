"""A shuffled write by Dask, beside plateau: one file for each partition key.

    python benches/dask_tables.py --rows 10000000 --repeat 2

A local cluster of two workers, with the rows spread over the memory of both. Every measurement is a
cluster of its own, and what was written is read back and counted.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from results import grid, machine, write_section
from tables_data import trips

PEERS = ["partita", "plateau"]
PARTITIONS = 20
TIMEOUT = 1800


def rows_of(part: int, parts: int, rows: int) -> Any:
    """The rows of one partition of the Dask DataFrame, made where they are to be."""
    import pyarrow as pa

    count = rows // parts
    (batch,) = trips(count)
    frame = pa.table(batch).to_pandas()
    return frame.assign(trip=frame["trip"] + part * count)


def partita(ddf: Any, folder: Path) -> None:
    import partita.dask as ptd

    ptd.write_table(ddf, folder / "trips", partition_by="city", shuffle=True)


def plateau(ddf: Any, folder: Path) -> None:
    from plateau.io.dask.dataframe import store_dataset_from_ddf

    store_dataset_from_ddf(
        ddf,
        store=f"hfs://{folder}",
        dataset_uuid="trips",
        partition_on=["city"],
        shuffle=True,
        num_buckets=1,
    ).compute()


def measure(peer: str, folder: Path, rows: int) -> None:
    """One write; prints its seconds, and the rows and files found."""
    import dask.dataframe as dd
    from distributed import Client, LocalCluster, wait

    import partita as pt

    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with (
        LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None, memory_limit=0
        ) as cluster,
        Client(cluster),
    ):
        made = dd.from_map(
            rows_of,
            list(range(PARTITIONS)),
            parts=PARTITIONS,
            rows=rows,
            meta=rows_of(0, 1, 10).head(0),
        )
        ddf = made.persist()
        wait(ddf)
        began = time.perf_counter()
        {"partita": partita, "plateau": plateau}[peer](ddf, folder)
        seconds = time.perf_counter() - began
    table = pt.open_table(folder / "trips")
    print(json.dumps({"seconds": seconds, "rows": table.count(), "files": table.num_files}))
    shutil.rmtree(folder)


def run(peer: str, folder: Path, rows: int) -> dict[str, Any]:
    """The same in a process of its own."""
    command = [sys.executable, __file__, "--only", peer, "--rows", str(rows)]
    command += ["--folder", str(folder)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=TIMEOUT)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=Path("bench-data") / "dask")
    parser.add_argument("--only", choices=PEERS)
    given = parser.parse_args()
    folder = given.folder.absolute()
    if given.only is not None:
        measure(given.only, folder / given.only, given.rows)
        return
    best: dict[str, dict[str, Any]] = {}
    for _ in range(given.repeat):
        for peer in PEERS:
            found = run(peer, folder, given.rows)
            print(peer, found, flush=True)
            if peer not in best or found["seconds"] < best[peer]["seconds"]:
                best[peer] = found
    ours, theirs = best["partita"], best["plateau"]
    assert ours["rows"] == theirs["rows"] == given.rows // PARTITIONS * PARTITIONS
    ratio = theirs["seconds"] / ours["seconds"]
    print(f"ratio {ratio:.2f}")
    figures = [
        "Shuffled write, partitioned by city",
        f"{ours['seconds']:.2f}",
        f"{theirs['seconds']:.2f}",
        f"{ratio:.2f}×",
    ]
    write_section(
        "Dask",
        f"{given.rows:,} rows of 10 columns, in the memory of a local cluster of two workers with "
        f"one thread each; seconds, best of {given.repeat}. Both write one file for each of the 20 "
        f"cities (found: {ours['files']} and {theirs['files']}).\n\n"
        f"`python benches/dask_tables.py --rows {given.rows} --repeat {given.repeat}`\n\n"
        + machine("partita", "plateau", "dask", "distributed", "pandas", "pyarrow")
        + "\n\n"
        + grid(["", "partita", "plateau", "ratio"], [figures]),
    )


if __name__ == "__main__":
    main()
