"""The recipes of ``docs/howto/cluster.md`` for job arrays and MPI, run as processes."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import partita as pt

pytest.importorskip("scipy", reason="NetCDF needs a library that reads it")

PAGE = Path(__file__).parents[1] / "docs" / "howto" / "cluster.md"
SCRIPTS = re.compile(r"^```py\n(# (\w+\.py).*?)^```$", re.MULTILINE | re.DOTALL)
DAYS = [(1, 5), (1, 6), (2, 1), (4, 30)]


def day(month: int, number: int, value: float) -> xr.Dataset:
    start = np.datetime64(f"2022-{month:02d}-{number:02d}", "ns")
    time = start + np.arange(24) * np.timedelta64(1, "h")
    ssh = ("time", np.full(24, value))
    return xr.Dataset({"ssh": ssh, "level": ("z", [1.0, 2.0])}, {"time": time})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the scripts, the files, and a collection that has rows of one month."""
    for script, name in SCRIPTS.findall(PAGE.read_text()):
        (tmp_path / name).write_text(script)
    for name in ("deliveries", "receipts"):
        (tmp_path / name).mkdir()
    for month, number in DAYS:
        file = tmp_path / "deliveries" / f"2022-{month:02d}-{number:02d}.nc"
        day(month, number, month + number / 100).to_netcdf(file)
    first = day(1, 1, 0.0)
    by = pt.Date("time", "month")
    pt.create_collection(tmp_path / "ssh", first, axis="time", partition_by=by)
    return tmp_path


def run(folder: Path, *command: str, **environment: str) -> subprocess.Popen[str]:
    environment = {**os.environ, **environment}
    return subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True)


def ended(process: subprocess.Popen[str]) -> None:
    _, complaints = process.communicate(timeout=240)
    assert process.returncode == 0, complaints


def check(folder: Path, commits: int) -> None:
    ssh = pt.open_collection(folder / "ssh")
    parts = [day(1, 1, 0.0), *(day(m, n, m + n / 100) for m, n in DAYS)]
    wanted = xr.concat(parts, "time", data_vars="minimal")
    found = ssh.read()
    np.testing.assert_array_equal(found.ssh, wanted.ssh)
    np.testing.assert_array_equal(found.time.values.astype("M8[ns]"), wanted.time)
    assert [commit.operation for commit in ssh.history()].count("insert") == commits
    assert ssh.verify(data=True) == []


def test_a_job_array_stages_and_one_job_commits(folder: Path) -> None:
    before = pt.open_collection(folder / "ssh").read()
    tasks = [
        run(
            folder,
            *(sys.executable, "stage.py", "ssh", "deliveries", "receipts"),
            SLURM_ARRAY_TASK_ID=str(task),
        )
        for task in range(1, 5)
    ]
    for task in tasks:
        ended(task)
    xr.testing.assert_identical(pt.open_collection(folder / "ssh").read(), before)
    # A scheduler may run a job again.
    for _ in range(2):
        ended(run(folder, sys.executable, "commit.py", "ssh", "receipts", "4711"))
        check(folder, 2)


def test_ranks_of_mpi_stage_and_one_commits(folder: Path) -> None:
    pytest.importorskip("mpi4py", reason="the recipe uses mpi4py")
    mpiexec = shutil.which("mpiexec", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if mpiexec is None:
        pytest.skip("there is no mpiexec")
    python = (sys.executable, "-m", "mpi4py")
    ended(run(folder, mpiexec, "-n", "3", *python, "ranks.py", "ssh", "deliveries"))
    check(folder, 2)
    # A rank that fails ends all of them, and nothing is committed.
    (folder / "deliveries" / "2022-02-02.nc").write_bytes(b"CDF\x01garbage")
    failed = run(folder, mpiexec, "-n", "3", *python, "ranks.py", "ssh", "deliveries")
    failed.communicate(timeout=240)
    assert failed.returncode != 0
    check(folder, 2)
