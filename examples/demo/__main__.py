"""A table of taxi trips and a collection of altimetry, told step by step.

python examples/demo [--rows 1000000] [--url demo-data/trips]
"""

from __future__ import annotations

import argparse
import datetime as dt
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from collection import show_collection
from telling import timed, title
from trips import trips

import partita as pt

DEFAULT_URL = Path(__file__).parents[2] / "demo-data" / "trips"


def main() -> None:
    arguments = parsed()
    url = arguments.url
    table = create(url, arguments.rows)
    read(table)
    change(table, arguments.rows)
    show_history(table)
    if "://" not in url:
        show_files(Path(url))
    show_with_command(url)
    show_with_plateau(url, table)
    show_collection(arguments.arrays, arguments.years)


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000, help="trips to begin with")
    parser.add_argument("--url", default=str(DEFAULT_URL), help="where the table is to be")
    parser.add_argument("--years", type=int, default=10, help="years of altimetry")
    parser.add_argument("--arrays", default=str(DEFAULT_URL.with_name("ssh")), help="and where")
    return parser.parse_args()


def create(url: str, rows: int) -> pt.Table:
    title("Create")
    with suppress(pt.NotFound):
        pt.open_table(url).drop()
    with timed(f"made up {rows:,} trips"):
        frame = trips(rows).to_pandas()
    with timed("created the table, partitioned by city, with an index on rider") as note:
        table = pt.create_table(
            url,
            frame,
            partition_by="city",
            index=["rider"],
            metadata={"source": "demo"},
        )
        note(f"{len(table.partitions)} partitions")
    print()
    print(table)
    print()
    for partition in table.partitions:
        print(f"    {partition}")
    return table


def read(table: pt.Table) -> None:
    title("Read")
    city, fare = pt.col("city"), pt.col("fare")
    with timed("all of it, as a pandas DataFrame") as note:
        note(rows(table.read()))
    with timed('city == "Oslo", two columns') as note:
        note(rows(table.read(columns=["pickup", "fare"], where=city == "Oslo")))
    with timed("one city and dear trips, as Arrow") as note:
        where = (city == "Dallas/Fort Worth") & (fare > 60)
        note(rows(table.scan(where=where).to_arrow()))
    with timed("one rider, through the index") as note:
        note(rows(table.read(where="rider == 77")))
    with timed("one week without a comment, from a string") as note:
        where = "pickup >= '2024-03-04' and pickup < '2024-03-11' and comment is null"
        note(rows(table.read(where=where)))
    print("\nWhat the read of one rider left alone:")
    print(indented(str(table.scan(where="rider == 77").explain())))


def change(table: pt.Table, existing: int) -> None:
    title("Change")
    more = trips(existing // 10, seed=1, first=existing, start=dt.datetime(2025, 1, 1))
    with timed("appended trips of the year after, from Arrow") as note:
        note(table.append(more))
    with timed("replaced Oslo, fares in whole kroner") as note:
        oslo = table.read(where={"city": "Oslo"})
        oslo["fare"] = oslo["fare"].round()
        note(table.replace(oslo, where={"city": "Oslo"}))
    with timed("deleted Lima") as note:
        note(table.delete(where={"city": "Lima"}))
    with timed("deleted trips with a fare above 60, wherever they are") as note:
        note(table.delete(where="fare > 60"))
    with timed("corrected a thousand trips by their number") as note:
        some = table.read(where=f"trip < {existing // 500}").head(1000)
        some["tip"] = 0.0
        note(table.upsert(some, on="trip"))
    with timed("put small files together") as note:
        note(table.optimize())
    with timed("counted what is left") as note:
        note(f"{table.count():,} rows")


def show_history(table: pt.Table) -> None:
    title("History, newest first")
    for snapshot in table.history():
        print(f"    {snapshot}")
    with timed("counted the trips of the first version") as note:
        note(f"{table.at(1).count():,} rows")
    with timed("checked every file, statistic and index") as note:
        note(f"{len(table.verify())} problems")


def show_files(root: Path) -> None:
    title("Where the files are")
    files = [file for file in root.parent.rglob("*") if file.is_file() and root.name in str(file)]
    groups = {
        "header, which is the commit point": f"{root.name}.by-dataset-metadata.json",
        "schema": f"{root.name}/table/_common_metadata",
        "data, old versions included": f"{root.name}/table/",
        "indices": f"{root.name}/indices/",
        "snapshots": f"{root.name}/_partita/",
    }
    for label, prefix in groups.items():
        sizes = [
            file.stat().st_size
            for file in files
            if file.relative_to(root.parent).as_posix().startswith(prefix)
        ]
        place = root.parent / prefix
        print(f"    {label:34} {len(sizes):4} files {sum(sizes) / 2**20:9.2f} MiB  {place}")


def show_with_command(url: str) -> None:
    title(f"partita info {url}")
    sys.stdout.flush()
    subprocess.run([sys.executable, "-m", "partita", "info", url], check=True)


def show_with_plateau(url: str, table: pt.Table) -> None:
    title("The same table through plateau")
    try:
        import plateau
        from plateau.io.eager import read_table
    except ImportError:
        print("    plateau is not installed; pip install plateau==4.6.2 to see it")
        return
    if "://" in url:
        print("    only for tables in a local directory")
        return
    root = Path(url).resolve()
    store = f"hfs://{root.parent}"
    with timed(f"plateau {plateau.__version__} read one city") as note:
        theirs = read_table(root.name, store, predicates=[[("city", "==", "Seoul")]])
        note(rows(theirs))
    ours = table.read(where={"city": "Seoul"})
    order = ["trip"]
    # plateau has numbers of 64 bits where the table keeps the types that it was given.
    same = (
        theirs.sort_values(order, ignore_index=True)
        .reindex(columns=ours.columns)
        .equals(ours.sort_values(order, ignore_index=True).astype(theirs.dtypes))
    )
    print(f"    the two frames are {'equal' if same else 'DIFFERENT'}")
    if not same:
        sys.exit(1)


def rows(table: object) -> str:
    return f"{len(table):,} rows"  # type: ignore[arg-type]


def indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())


if __name__ == "__main__":
    main()
