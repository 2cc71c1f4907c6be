"""What grows with the number of files and of indexed values, beside plateau.

    python benches/scale.py

Both libraries work on copies of the same datasets. Every measurement is a process of its own.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from results import grid, machine, write_section

VALUES = 1_000_000
FILES = 100_000
SMALL = 10_000
PEERS = ["partita", "plateau"]
CASES = {
    "index-build": "Build an index of 1,000,000 distinct values",
    "index-point": "Read one row through that index",
    "index-append": "Append ten rows to that table",
    "files-read": "Open a table of 100,000 files, read ten rows",
    "files-commit": "Append ten rows to it",
    "small-read": "Read 10,000 files of one row",
}
TIMEOUT = 1800


def prepare(folder: Path) -> None:
    """Writes the datasets, and copies them for plateau."""
    import numpy as np
    import pandas as pd

    import partita as pt

    values = pd.DataFrame({"id": np.arange(VALUES), "fare": np.arange(VALUES) / 4})
    values["part"] = values["id"] % 8
    pt.create_table(folder / "partita" / "plain", values, partition_by="part")
    pt.create_table(folder / "partita" / "indexed", values, partition_by="part", index="id")
    for name, count in {"files": FILES, "small": SMALL}.items():
        frame = pd.DataFrame({"key": np.arange(count), "fare": np.arange(count) / 4})
        pt.create_table(folder / "partita" / name, frame, partition_by="key")
    shutil.copytree(folder / "partita", folder / "plateau")


def partita(folder: Path, case: str) -> Callable[[], int]:
    import partita as pt

    def at(name: str) -> Any:
        return pt.open_table(folder / "partita" / name)

    if case == "index-build":
        return lambda: at("plain").build_index("id").version
    if case == "index-point":
        return lambda: len(at("indexed").read(where={"id": 777_777}))
    if case == "index-append":
        return lambda: at("indexed").append(ten("id")).rows_added
    if case == "files-read":
        return lambda: len(at("files").read(where="key >= 500 and key < 510"))
    if case == "files-commit":
        return lambda: at("files").append(ten("key")).rows_added
    return lambda: len(at("small").read())


def plateau(folder: Path, case: str) -> Callable[[], int]:
    import warnings

    from plateau.io.eager import (
        build_dataset_indices,
        read_table,
        update_dataset_from_dataframes,
    )

    warnings.simplefilter("ignore")
    store = f"hfs://{folder / 'plateau'}"

    def update(name: str, column: str) -> int:
        update_dataset_from_dataframes([ten(column)], store=store, dataset_uuid=name)
        return 10

    def build() -> int:
        build_dataset_indices(store, "plain", ["id"])
        return 2

    if case == "index-build":
        return build
    if case == "index-point":
        return lambda: len(read_table("indexed", store, predicates=[[("id", "==", 777_777)]]))
    if case == "index-append":
        return lambda: update("indexed", "id")
    if case == "files-read":
        some = [[("key", ">=", 500), ("key", "<", 510)]]
        return lambda: len(read_table("files", store, predicates=some))
    if case == "files-commit":
        return lambda: update("files", "key")
    return lambda: len(read_table("small", store))


def ten(column: str) -> Any:
    """Ten rows whose values in `column` are new."""
    import numpy as np
    import pandas as pd

    frame = pd.DataFrame({column: np.arange(5_000_000, 5_000_010), "fare": 0.5})
    if column == "id":
        frame["part"] = frame["id"] % 8
    return frame


def measure(folder: Path, peer: str, case: str) -> None:
    """The body of a process: one measurement."""
    import pandas  # noqa: F401 - imports are not measured, of whichever library
    import pyarrow  # noqa: F401

    run = {"partita": partita, "plateau": plateau}[peer](folder, case)
    began = time.perf_counter()
    answer = run()
    print(json.dumps({"seconds": time.perf_counter() - began, "answer": answer}))


def run(folder: Path, peer: str, case: str) -> dict[str, Any]:
    command = [sys.executable, __file__, "--dir", str(folder), "--peer", peer, "--case", case]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT)
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def compare(folder: Path) -> None:
    """Measures everything, and writes the section of results."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    print("Writing the datasets", flush=True)
    prepare(folder)
    lines = []
    for case, title in CASES.items():
        found = {peer: run(folder, peer, case) for peer in PEERS}
        answers = {result["answer"] for result in found.values()}
        assert len(answers) == 1, f"the two disagree on {case}: {found}"
        ours, theirs = (found[peer]["seconds"] for peer in PEERS)
        lines.append([title, f"{ours:.3f}", f"{theirs:.3f}", f"{theirs / ours:.0f}×"])
        print(f"{title}: {ours:.3f} s, plateau {theirs:.3f} s, {theirs / ours:.0f}×", flush=True)
    write_section(
        "Scale",
        "Local files, seconds, one run.\n`make bench`\n\n"
        f"{machine('plateau', 'pyarrow', 'pandas')}\n\n"
        f"{grid(['', *PEERS, 'ratio'], lines)}",
    )
    shutil.rmtree(folder)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--dir", type=Path, default=Path("bench-data/scale"))
    options.add_argument("--peer", choices=PEERS)
    options.add_argument("--case", choices=CASES)
    given = options.parse_args()
    if given.peer and given.case:
        measure(given.dir, given.peer, given.case)
    else:
        compare(given.dir)


if __name__ == "__main__":
    main()
