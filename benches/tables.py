"""Tables beside plateau, pyarrow and Polars: write, and read in four ways.

    python benches/tables.py --rows 10000000 --repeat 3

Every measurement is a process of its own, which prints seconds, rows and its peak of memory.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from results import grid, machine, write_section

CITIES = 20
RIDERS = 100_000
RIDER, CITY, DEAR = 4_242, "city07", 98.0
PEERS = ["partita", "plateau", "pyarrow", "polars"]
CASES = {
    "write": "Write, partitioned by city (Partita and plateau with an index on rider)",
    "all": "Read everything, to Arrow (plateau: to pandas)",
    "pandas": "Read everything, to pandas",
    "city": "Read three columns of one city",
    "rider": "Read the rows of one rider",
    "dear": "Read two columns of the dearest two of a hundred",
}
TIMEOUT = 1800


def batches(rows: int) -> Any:
    """The data, a million rows at a time: the same for the same number of rows."""
    import numpy as np
    import pyarrow as pa

    cities = pa.array([f"city{n:02}" for n in range(CITIES)])
    words = pa.array(["card", "cash", "app", None])
    for first in range(0, rows, 1_000_000):
        count = min(1_000_000, rows - first)
        random = np.random.default_rng(first)
        start = np.datetime64("2025-01-01", "us") + (first + np.arange(count)) * np.timedelta64(
            3, "s"
        )
        notes = pa.array(random.integers(0, 5000, count).astype(str))
        yield pa.record_batch(
            {
                "trip": np.arange(first, first + count),
                "city": cities.take(pa.array(random.integers(0, CITIES, count))),
                "rider": random.integers(0, RIDERS, count),
                "pickup": start,
                "minutes": random.integers(1, 90, count).astype("int32"),
                "fare": random.random(count) * 100,
                "distance": random.gamma(2.0, 3.0, count),
                "shared": random.random(count) < 0.2,
                "payment": words.take(pa.array(random.integers(0, 4, count))),
                "note": notes,
            }
        )


def load(folder: Path) -> Any:
    """The data as one Arrow table, mapped from disk."""
    import pyarrow as pa

    with pa.memory_map(str(folder / "data.arrow")) as source:
        return pa.ipc.open_file(source).read_all()


def partita(folder: Path, case: str) -> Callable[[], int]:
    import partita as pt

    url = str(folder / "partita" / "trips")
    if case == "write":
        data = load(folder)
        return lambda: pt.create_table(url, data, partition_by="city", index="rider").count()
    if case == "pandas":
        return lambda: len(pt.open_table(url).read())
    read: dict[str, dict[str, Any]] = {
        "all": {},
        "city": {"columns": ["trip", "fare", "pickup"], "where": {"city": CITY}},
        "rider": {"where": {"rider": RIDER}},
        "dear": {"columns": ["trip", "fare"], "where": pt.col("fare") > DEAR},
    }
    return lambda: pt.open_table(url).scan(**read[case]).to_arrow().num_rows


def plateau(folder: Path, case: str) -> Callable[[], int]:
    import warnings

    from plateau.io.eager import read_table, store_dataframes_as_dataset

    warnings.simplefilter("ignore")
    store = f"hfs://{folder / 'plateau'}"
    (folder / "plateau").mkdir(parents=True, exist_ok=True)
    if case == "write":
        frame = load(folder).to_pandas()

        def write() -> int:
            store_dataframes_as_dataset(
                store, "trips", [frame], partition_on=["city"], secondary_indices=["rider"]
            )
            return len(frame)

        return write
    read: dict[str, dict[str, Any]] = {
        "all": {},
        "pandas": {},
        "city": {"columns": ["trip", "fare", "pickup"], "predicates": [[("city", "==", CITY)]]},
        "rider": {"predicates": [[("rider", "==", RIDER)]]},
        "dear": {"columns": ["trip", "fare"], "predicates": [[("fare", ">", DEAR)]]},
    }
    return lambda: len(read_table("trips", store, **read[case]))


def arrow(folder: Path, case: str) -> Callable[[], int]:
    import pyarrow.dataset as ds

    place = str(folder / "pyarrow")
    if case == "write":
        data = load(folder)

        def write() -> int:
            parts = ds.partitioning(data.select(["city"]).schema, flavor="hive")
            ds.write_dataset(data, place, format="parquet", partitioning=parts)
            return data.num_rows

        return write
    if case == "pandas":
        return lambda: len(ds.dataset(place, partitioning="hive").to_table().to_pandas())
    field = ds.field
    read: dict[str, dict[str, Any]] = {
        "all": {},
        "city": {"columns": ["trip", "fare", "pickup"], "filter": field("city") == CITY},
        "rider": {"filter": field("rider") == RIDER},
        "dear": {"columns": ["trip", "fare"], "filter": field("fare") > DEAR},
    }
    return lambda: ds.dataset(place, partitioning="hive").to_table(**read[case]).num_rows


def polars(folder: Path, case: str) -> Callable[[], int]:
    import polars as pl

    place = folder / "polars"
    if case == "write":
        frame = pl.from_arrow(load(folder))
        place.mkdir(parents=True, exist_ok=True)

        def write() -> int:
            frame.write_parquet(place, partition_by=["city"], compression="snappy")
            return frame.height

        return write

    def read() -> int:
        lazy = pl.scan_parquet(place, hive_partitioning=True)
        if case == "city":
            lazy = lazy.filter(pl.col("city") == CITY).select("trip", "fare", "pickup")
        elif case == "rider":
            lazy = lazy.filter(pl.col("rider") == RIDER)
        elif case == "dear":
            lazy = lazy.filter(pl.col("fare") > DEAR).select("trip", "fare")
        frame = lazy.collect()
        return len(frame.to_pandas()) if case == "pandas" else len(frame.to_arrow())

    return read


def measure(folder: Path, peer: str, case: str) -> None:
    """The body of a process: one measurement."""
    import pandas  # noqa: F401 - imports are not measured, of whichever library
    import pyarrow  # noqa: F401

    work = {"partita": partita, "plateau": plateau, "pyarrow": arrow, "polars": polars}[peer]
    run = work(folder, case)
    began = time.perf_counter()
    rows = run()
    seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"seconds": seconds, "rows": rows, "peak": peak}))


def best(folder: Path, peer: str, case: str, repeat: int) -> dict[str, Any] | None:
    """The fastest of several runs; None if the peer failed, which is said."""
    runs = []
    for _ in range(repeat):
        if case == "write":
            shutil.rmtree(folder / peer, ignore_errors=True)
        command = [sys.executable, __file__, "--dir", str(folder), "--peer", peer, "--case", case]
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT)
        if done.returncode != 0:
            print(f"  {peer} failed: {done.stderr.strip().splitlines()[-1:]}")
            return None
        runs.append(json.loads(done.stdout.splitlines()[-1]))
    return min(runs, key=lambda run: float(run["seconds"]))


def cell(found: dict[str, Any] | None, ours: dict[str, Any] | None) -> str:
    if found is None:
        return "failed"
    text = f"{found['seconds']:.3f}"
    if ours is not None and found is not ours:
        text += f" ({found['seconds'] / ours['seconds']:.1f}×)"
    return f"{text}, {found['peak'] / 2**30:.1f} GiB"


def compare(folder: Path, rows: int, repeat: int) -> None:
    """Measures everything, and writes the section of results."""
    import pyarrow as pa

    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    pieces = batches(rows)
    first = next(pieces)
    with pa.ipc.new_file(str(folder / "data.arrow"), first.schema) as sink:
        sink.write_batch(first)
        for batch in pieces:
            sink.write_batch(batch)
    lines = []
    for case, title in CASES.items():
        print(title, flush=True)
        found = {peer: best(folder, peer, case, repeat) for peer in PEERS}
        counts = {run["rows"] for run in found.values() if run is not None}
        assert len(counts) == 1, f"the peers disagree: {found}"
        cells = [cell(found[peer], found["partita"]) for peer in PEERS]
        print("  " + "  ".join(f"{p} {c}" for p, c in zip(PEERS, cells, strict=True)), flush=True)
        lines.append([title, *cells])
    write_section(
        "Tables",
        f"{rows:,} rows of 10 columns, local files: seconds (ratio), and the peak of the process's "
        f"memory.\n`make bench ROWS={rows} REPEAT={repeat}`\n\n"
        f"{machine('plateau', 'pyarrow', 'polars', 'pandas')}\n\n{grid(['', *PEERS], lines)}",
    )
    shutil.rmtree(folder)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rows", type=int, default=10_000_000)
    options.add_argument("--repeat", type=int, default=3)
    options.add_argument("--dir", type=Path, default=Path("bench-data"))
    options.add_argument("--peer", choices=PEERS)
    options.add_argument("--case", choices=CASES)
    given = options.parse_args()
    if given.peer and given.case:
        measure(given.dir, given.peer, given.case)
    else:
        compare(given.dir, given.rows, given.repeat)


if __name__ == "__main__":
    main()
