"""What the command prints, line by line, compared with `golden/command.txt`.

Times, ids, sizes and the version are left out. ``SNAPSHOT=write`` stores what is printed, to be
looked at as a change of the repository.
"""

from __future__ import annotations

import difflib
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

GOLDEN = Path(__file__).parent / "golden" / "command.txt"

LINES = """
partita
partita ls .
partita create trips --columns id:int64,city:string,fare:float64,at:timestamp[us] \
--partition-by city
partita append trips first.csv --key monday
partita append trips first.csv --key monday --json
partita append trips second.jsonl --json
partita upsert trips third.csv --on id
partita info trips
partita info trips --json
partita schema trips
partita schema trips --json
partita partitions trips
partita partitions trips --json
partita history trips
partita history trips --json
partita read trips --where "fare > 10" --columns id,fare
partita read trips --columns id,at --json --limit 2
partita read trips --format csv --at 2
partita read trips --where "city == 'Oslo'" --explain
partita index build trips id
partita index list trips
partita index drop trips id --dry-run
partita index drop trips id --json
partita columns add trips tip:float64
partita columns rename trips tip extra --json
partita columns drop trips extra --dry-run
partita columns history trips
partita delete trips --where "id == 1" --dry-run
partita delete trips --where "id == 1" --yes
partita optimize trips --key compaction
partita restore trips 2
partita expire trips --keep-last 3 --dry-run
partita gc trips --grace 0s --dry-run --json
partita verify trips --data
partita verify trips --data --json
partita copy trips copied
partita export trips out.csv
partita import imported first.csv --partition-by city
partita report trips --output report.html
partita drop copied --dry-run
partita drop copied --yes
partita ls .
partita ls . --json
partita info ssh
partita info ssh --json
partita schema ssh
partita schema ssh --json
partita partitions ssh
partita partitions ssh --json
partita history ssh
partita history ssh --json
partita index build ssh x
partita index list ssh --json
partita index drop ssh x.parquet --dry-run
partita delete ssh --where "month == 1" --yes
partita restore ssh 1
partita expire ssh --keep-last 1 --dry-run
partita verify ssh --data
partita migrate ssh migrated --zarr 2
partita info absent
partita info absent --json
partita read trips --columns toll
partita read trips --where "fare >"
partita read trips --at 99
partita read trips --nonsense --json
partita drop trips
partita drop ssh --yes
partita restore ssh 99
partita sql trips 'select 1'
"""

_RUN = """
import os, shlex, sys
import numpy as np
import partita as pt

time = np.array(["2022-01-05", "2022-01-20", "2022-02-03"], "M8[us]")
rows = {"time": ("time", time), "x": ("time", np.array([7, 7, 8], "i4"))}
pt.create_collection(
    "ssh", rows, axis="time", partition_by=pt.Date("time", "month"), zarr_format=3
)
for line in sys.stdin.read().strip().splitlines():
    print("$", line, flush=True)
    if code := pt._native.main(shlex.split(line)):
        print("exit code", code, flush=True)
"""

# What differs from run to run, with the spaces that align it.
_VARYING = (
    (r"\d{4}-\d\d-\d\dT[\d:.]+(Z|\+00:00)", "TIME"),
    (r"\b[0-9a-f]{32}\b", "ID"),
    (r"\b\d+(\.\d)? (B|KiB|MiB)\b", "SIZE"),
    (r'("bytes\w*":)\d+', r"\1SIZE"),
    (r"\b\d+ bytes", "SIZE"),
    (r" {2,}", "  "),
    (r" +$", ""),
)


def masked(text: str, folder: Path) -> str:
    text = text.replace(str(folder), "FOLDER")
    for pattern, word in _VARYING:
        text = re.sub(pattern, word, text, flags=re.MULTILINE)
    return text


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a short path, since the command cuts long ones."""
    with tempfile.TemporaryDirectory() as path:
        yield Path(path)


def test_what_the_command_prints(folder: Path) -> None:
    (folder / "first.csv").write_text(
        "id,city,fare,at\n1,Oslo,12.5,2026-01-31T12:00:00\n2,Rome,9,2026-01-31T12:30:00\n"
    )
    (folder / "second.jsonl").write_text('{"id": 3, "city": "Oslo", "fare": 30.0, "at": null}\n')
    (folder / "third.csv").write_text("id,city,fare,at\n2,Rome,21,2026-02-01T08:00:00\n")
    ran = subprocess.run(
        [sys.executable, "-c", _RUN],
        cwd=folder,
        input=LINES,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, "COLUMNS": "100"},
        text=True,
        check=True,
        timeout=120,
    )
    printed = masked(ran.stdout, folder)
    if os.environ.get("SNAPSHOT") == "write":
        GOLDEN.write_text(printed)
    stored = GOLDEN.read_text()
    lines = difflib.unified_diff(stored.splitlines(), printed.splitlines(), lineterm="", n=2)
    assert stored == printed, "\n".join(lines)
