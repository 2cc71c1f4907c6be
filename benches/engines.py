"""Tables in other engines, beside Polars on the same files.

    python benches/engines.py --repeat 5

Every measurement is a process of its own, which opens the table and reads it. It has done the same
with a small table before, so that imports are not counted. The engines take turns, and the fastest
run of each counts.
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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow.dataset as ds
from results import grid, machine, write_section
from tables_data import RIDER, trips

import partita as pt
import partita.dask as ptd

TIMEOUT = 600
LISTED = list(range(0, 10_000_000, 1_000))

Column = Callable[[str], Any]
"""Makes a column of its name, in any of the engines."""


@dataclass(frozen=True)
class Query:
    """Some columns of the rows that match; all where nothing is said."""

    title: str
    columns: list[str] | None = None
    where: Callable[[Column], Any] | None = None
    sql: str = ""


def is_listed(column: Any) -> Any:
    return column.is_in(LISTED) if hasattr(column, "is_in") else column.isin(LISTED)


PAIR = ["trip", "fare"]
QUERIES = {
    "everything": Query("Everything"),
    "projection": Query("One column", ["fare"]),
    "partition": Query(
        "Two columns of one city", PAIR, lambda c: c("city") == "Oslo", "where city = 'Oslo'"
    ),
    "index": Query(
        "One rider, by the index", PAIR, lambda c: c("rider") == RIDER, f"where rider = {RIDER}"
    ),
    "range": Query(
        "10,000 neighbouring trips, which lie in few pages",
        PAIR,
        lambda c: (c("trip") >= 40_000) & (c("trip") < 50_000),
        "where trip >= 40000 and trip < 50000",
    ),
    "list": Query(
        "A list of 10,000 trips, or one rider",
        PAIR,
        lambda c: is_listed(c("trip")) | (c("rider") == RIDER),
        f"where trip in ({', '.join(map(str, LISTED))}) or rider = {RIDER}",
    ),
}


def native(url: Path, query: Query) -> Any:
    where = None if query.where is None else query.where(pt.col)
    return pt.open_table(url).scan(query.columns, where).to_arrow()


def polars(url: Path, query: Query) -> Any:
    return of_frame(pt.scan_polars(url), query)


def scan_parquet(url: Path, query: Query) -> Any:
    return of_frame(pl.scan_parquet(url / "table/**/*.parquet", hive_partitioning=True), query)


def of_frame(frame: Any, query: Query) -> Any:
    rows = frame if query.where is None else frame.filter(query.where(pl.col))
    return rows.select(query.columns or pl.all()).collect()


def in_duckdb(url: Path, query: Query) -> Any:
    columns = ", ".join(query.columns or "*")
    with duckdb.connect() as connection:
        connection.register("trips", pt.open_table(url).to_pyarrow_dataset())
        return connection.sql(f"select {columns} from trips {query.sql}").to_arrow_table()


def dataset(url: Path, query: Query) -> Any:
    where = None if query.where is None else query.where(ds.field)
    return pt.open_table(url).to_pyarrow_dataset().to_table(columns=query.columns, filter=where)


def dask(url: Path, query: Query) -> Any:
    frame = ptd.read_table(url)
    rows = frame if query.where is None else frame[query.where(frame.__getitem__)]
    return (rows if query.columns is None else rows[query.columns]).compute()


ENGINES: dict[str, Callable[[Path, Query], Any]] = {
    "native": native,
    "Polars": polars,
    "DuckDB": in_duckdb,
    "pyarrow": dataset,
    "Dask": dask,
    "scan_parquet": scan_parquet,
}


def prepare(folder: Path, rows: int) -> None:
    """Writes the table, and the small one."""
    shutil.rmtree(folder, ignore_errors=True)
    for name, count in (("small", 1_000), ("trips", rows)):
        pt.create_table(folder / name, trips(count), partition_by="city", index="rider")


def measure(folder: Path, engine: str, name: str) -> dict[str, Any]:
    """The body of a process: seconds and rows of a query."""
    read, query = ENGINES[engine], QUERIES[name]
    read(folder / "small", query)
    began = time.perf_counter()
    found = read(folder / "trips", query)
    return {"seconds": time.perf_counter() - began, "rows": len(found)}


def child(folder: Path, engine: str, name: str) -> dict[str, Any]:
    """The same in a process of its own."""
    command = [sys.executable, __file__, "--dir", str(folder), "--measure", engine, name]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout.splitlines()[-1]))


def compare(folder: Path, rows: int, repeat: int) -> list[list[str]]:
    """The lines of the table of results."""
    best = {(engine, name): math.inf for engine in ENGINES for name in QUERIES}
    for turn in range(repeat):
        for name in QUERIES:
            # The engine that is measured first in one turn is measured last in the next.
            order = list(ENGINES)[:: -1 if turn % 2 else 1]
            found = {engine: child(folder, engine, name) for engine in order}
            counts = {engine: one["rows"] for engine, one in found.items()}
            assert len(set(counts.values())) == 1, (name, counts)
            for engine, one in found.items():
                best[engine, name] = min(best[engine, name], one["seconds"])
        print(f"{turn + 1} of {repeat} turns", flush=True)
    lines = []
    for name, query in QUERIES.items():
        peer = best["scan_parquet", name]
        ours = [best[engine, name] for engine in ENGINES if engine != "scan_parquet"]
        cells = [f"{seconds:.3f} ({seconds / peer:.2f}×)" for seconds in ours]
        lines.append([query.title, *cells, f"{peer:.3f}"])
    return lines


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rows", type=int, default=10_000_000)
    options.add_argument("--repeat", type=int, default=5)
    options.add_argument("--dir", type=Path, default=Path("bench-data/engines"))
    options.add_argument("--measure", nargs=2, metavar=("ENGINE", "QUERY"))
    given = options.parse_args()
    if given.measure:
        print(json.dumps(measure(given.dir, *given.measure)))
        return
    prepare(given.dir, given.rows)
    lines = compare(given.dir, given.rows, given.repeat)
    text = (
        f"{given.rows:,} rows of 10 columns in local files that the system has in its cache, "
        f"partitioned by city, with an index on rider. Seconds, the fastest of {given.repeat} "
        "runs, and how many times as long that is as `polars.scan_parquet` takes for the same "
        "files: below 1, Partita is faster. Opening is part of a read. Native, DuckDB and pyarrow "
        "give Arrow, Polars its own frame, and Dask pandas.\n\n"
        f"`python benches/engines.py --rows {given.rows} --repeat {given.repeat}`\n\n"
        f"{machine('partita', 'polars', 'duckdb', 'pyarrow', 'dask')}\n\n"
        f"{grid(['', *ENGINES], lines)}"
    )
    print(text)
    write_section("Engines", text)
    shutil.rmtree(given.dir)


if __name__ == "__main__":
    main()
