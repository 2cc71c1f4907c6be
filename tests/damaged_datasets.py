"""Damages the files of datasets one by one and uses the datasets, in a process of its own.

Run as ``damaged_datasets.py DIRECTORY KIND SEED COUNT``. Prints one line for each case in which
something else happened than a result or an error of a kind, and a line of counts at the end.
"""

from __future__ import annotations

import collections
import datetime as dt
import json
import os
import random
import resource
import shutil
import struct
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import partita as pt

KINDS = ("json", "msgpack", "zarr2", "zarr3", "icechunk", "view")

# The memory that a case may use, in bytes, beyond what the loaded libraries use.
MEMORY = 3 << 30


def rows(count: int, start: int = 0) -> pd.DataFrame:
    """Trips in three cities."""
    number = np.arange(start, start + count)
    return pd.DataFrame(
        {
            "id": number,
            "city": np.array(["Oslo", "Rome", "Lima"])[number % 3],
            "rider": 5 + number % 4,
            "fare": number * 0.5,
        }
    )


def waves(start: str = "2022-01-20", days: int = 40) -> dict[str, Any]:
    """Heights along a time that spans three months."""
    time = np.arange(np.datetime64(start), np.datetime64(start) + days, np.timedelta64(6, "h"))
    number = np.arange(time.size)
    return {
        "time": ("time", time.astype("M8[us]")),
        "height": (("time", "x"), np.outer(number, [1.0, 2.0]).astype("f4")),
        "name": ("time", np.array(["ab", "c"], dtype="U2")[number % 2]),
        "cycle": ("time", (number // 8).astype("i4")),
    }


def make(kind: str, root: Path) -> str:
    """A healthy dataset, and its URL."""
    if kind in ("json", "msgpack"):
        options: dict[str, Any] = {"partition_by": "city", "index": ["rider"], "header": kind}
        table = pt.create_table(root / "t", rows(60), bloom_filters="fare", **options)
        table.append(rows(20, 60))
        table.delete(where="id == 5")
        return str(root / "t")
    url = f"icechunk+{root / 'c'}" if kind == "icechunk" else str(root / "c")
    formats = {"zarr2": 2, "zarr3": 3, "icechunk": 3, "view": 2}
    place = str(root / "base") if kind == "view" else url
    collection = pt.create_collection(
        place,
        waves(),
        axis="time",
        partition_by=pt.Date("time", "month"),
        zarr_format=formats[kind],
        chunks={"time": 16},
    )
    collection.insert(waves("2022-02-03", 5), merge="upsert")
    if kind == "view":
        view = pt.create_view(url, collection, [pt.Variable("twice", ("time", "x"), "f4")])
        view.update(lambda part: {"twice": part.height * 2}, variables=["height"])
    else:
        collection.set_statistics(["cycle"])
        collection.build_index("cycle", "cycle.parquet")
    return url


def uses(kind: str, url: str) -> list[Callable[[], Any]]:
    """The operations to try on a damaged dataset: reads first, then changes."""
    now = dt.timedelta(0)

    def opened() -> Any:
        return pt.open(url)

    if kind in ("json", "msgpack"):
        return [
            lambda: opened().read(),
            lambda: opened().read(where="rider == 7 and fare > 3"),
            lambda: opened().history(),
            lambda: opened().at(1).read(),
            lambda: opened().verify(data=True),
            lambda: opened().append(rows(3, 100)),
            lambda: opened().collect_garbage(grace=now),
            lambda: opened().verify(repair=True),
        ]
    return [
        lambda: opened().read(),
        lambda: opened().read("time >= '2022-02-01' and time < '2022-02-10'"),
        lambda: opened().history(),
        lambda: opened().verify(data=True),
        lambda: opened().read("cycle == 3"),
        (lambda: None)
        if kind == "view"
        else (lambda: pt.open_index("cycle.parquet", opened()).read("cycle == 3")),
        (lambda: opened().sync()) if kind == "view" else (lambda: opened().insert(waves(days=3))),
        lambda: opened().collect_garbage(grace=now),
        lambda: opened().verify(repair=True),
    ]


def bomb() -> bytes:
    """Some kilobytes of zstd that decompress to 16 GiB."""
    blocks, size = 1 << 17, 128 << 10
    frame = bytearray(struct.pack("<I", 0xFD2FB528) + bytes([0, 0x58]))
    for block in range(blocks):
        last = block == blocks - 1
        frame += struct.pack("<I", last | 1 << 1 | size << 3)[:3] + b"\0"
    return bytes(frame)


def gzip_bomb() -> bytes:
    """Some hundred kilobytes of gzip that decompress to 512 MiB."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    return b"".join([*(packer.compress(bytes(1 << 20)) for _ in range(512)), packer.flush()])


# The values that take the place of those in documents of JSON.
VALUES = ("18446744073709551616", "-1", "1.5", "NaN", "1e999", "null", "true", "[]", "{}", '""',
          '"../../x"', '".partita/log"', '"\\ud800"', "[" * 5000 + "]" * 5000)  # fmt: skip


def with_another_value(chance: random.Random, document: Any) -> bytes:
    """A document of JSON in which one value is another one, is missing, or comes twice."""
    places = []

    def walk(value: Any) -> None:
        keys = list(value) if isinstance(value, dict) else range(len(value))
        for key in keys:
            places.append((value, key))
            if isinstance(value[key], (dict, list)):
                walk(value[key])

    walk(document)
    if not places:
        return chance.choice(VALUES).encode()
    holder, key = chance.choice(places)
    if chance.randrange(6) == 0:
        del holder[key]
        return json.dumps(document).encode()
    marked = holder[key] if chance.randrange(6) == 0 else "@"
    holder[key] = "@"
    other = json.dumps(marked) if marked != "@" else chance.choice(VALUES)
    twice = f'{other}, "{key}": {other}' if isinstance(holder, dict) and marked != "@" else other
    return json.dumps(document).replace('"@"', twice).encode()


def replaced(chance: random.Random, file: Path) -> None:
    """Puts what is no file in the place of one."""
    file.unlink()
    match chance.choice(["pipe", "directory", "nothing", "link", "link", "link"]):
        case "pipe":
            os.mkfifo(file)
        case "directory":
            (file / "below").mkdir(parents=True)
        case "link":
            targets = ["/dev/zero", "/", "/etc/hostname", "/nowhere/at/all", file, file.parent]
            file.symlink_to(chance.choice(targets))


def damage(chance: random.Random, file: Path, bombs: list[bytes]) -> str:
    """Damages a file, and returns a description of the damage."""
    whole = file.read_bytes()
    how = chance.choice(
        ["cut", "flip", "flip", "flips", "end", "end", "other", "sparse", "replaced", "value"]
    )
    try:
        document = json.loads(whole)
    except ValueError:
        document = None
    if isinstance(document, (dict, list)) and how in ("flips", "end"):
        how = "value"
    content = bytearray(whole)
    if how == "cut":
        del content[chance.randrange(max(len(content), 1)) :]
    elif how in ("flip", "flips", "end") and content:
        first = max(len(content) - 300, 0) if how == "end" else 0
        for _ in range({"flip": 1, "flips": 12, "end": 2}[how]):
            content[chance.randrange(first, len(content))] ^= 1 << chance.randrange(8)
    elif how == "other":
        deep = [b"[" * 200_000, b'{"a":' * 200_000, b"", bytes(64), b"\xff\xfe", b"PAR1" * 2]
        content = bytearray(chance.choice([*deep, *bombs]))
    elif how == "value" and isinstance(document, (dict, list)):
        content = bytearray(with_another_value(chance, document))
    if how == "replaced":
        replaced(chance, file)
        return how
    file.unlink()
    file.write_bytes(content)
    if how == "sparse":
        with file.open("r+b") as opened:
            opened.truncate(1 << 40)
    return how


def main(directory: Path, kind: str, seed: int, count: int) -> None:
    """Runs the cases."""
    outside = directory / "outside"
    outside.mkdir()
    (outside / "kept.parquet").write_text("kept")
    healthy, case = directory / "healthy", directory / "case"
    healthy.mkdir()
    # A view refers to its base by URL, so it is created in the place where it is used.
    made = case if kind == "view" else healthy
    url = make(kind, made).replace(str(healthy), str(case))
    # Files that the engine removes in the background do not belong to the dataset.
    for scratch in made.rglob(".partita/scratch"):
        shutil.rmtree(scratch, ignore_errors=True)
    if kind == "view":
        healthy.rmdir()
        shutil.copytree(case, healthy)
    files = sorted(path.relative_to(healthy) for path in healthy.rglob("*") if path.is_file())
    bombs = [bomb(), gzip_bomb()]
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
    limit = used + MEMORY + (2 << 30)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    counts: collections.Counter[str] = collections.Counter()
    for number in range(count):
        chance = random.Random(f"{kind}-{seed}-{number}")
        shutil.rmtree(case, ignore_errors=True)
        shutil.copytree(healthy, case, symlinks=True)
        file = chance.choice(files)
        how = damage(chance, case / file, bombs)
        (case / "away").symlink_to(outside)
        for position, use in enumerate(uses(kind, url)):
            try:
                use()
                outcome = "done"
            except pt.PartitaError as error:
                outcome = error.kind
                if outcome == "Internal":
                    print("CASE", number, file, how, position, error, flush=True)
            except BaseException as error:
                outcome = type(error).__name__
                print("CASE", number, file, how, position, repr(error)[:500], flush=True)
            counts[outcome] += 1
        if [path.name for path in outside.iterdir()] != ["kept.parquet"]:
            print("CASE", number, file, how, "something was changed outside", flush=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
    if peak - used > MEMORY // 2:
        print("CASE memory grew by", (peak - used) >> 20, "MiB", flush=True)
    print("COUNTS", dict(counts))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
