"""Files of arrays that lie in a store: found, read and imported as local ones are."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import partita as pt
from partita.importing._sources import find
from s3_server import PROGRAM, s3_server

pytest.importorskip("scipy", reason="NetCDF needs a library that reads it")
pytestmark = pytest.mark.skipif(not PROGRAM.exists(), reason="the test server is not built")


def day(number: int) -> xr.Dataset:
    time = np.datetime64("2022-01-01", "ns") + number * np.timedelta64(1, "D")
    time = time + np.arange(4) * np.timedelta64(1, "h")
    values = np.full((4, 3), float(number))
    return xr.Dataset({"ssh": (("time", "x"), values), "lon": ("x", [1.0, 2, 3])}, {"time": time})


@pytest.fixture
def bucket(tmp_path: Path) -> Iterator[tuple[Path, dict[str, str]]]:
    """The folder of the bucket ``test``, with files, and the options to reach it."""
    root = tmp_path / "test"
    (root / "in" / "deep").mkdir(parents=True)
    for number in range(5):
        day(number * 10).to_netcdf(root / "in" / f"day{number}.nc")
    day(50).to_netcdf(root / "in" / "deep" / "day5.nc")
    day(60).to_zarr(root / "in" / "day6.zarr", zarr_format=2)
    day(61).to_zarr(root / "in" / "deep" / "day7.zarr", zarr_format=3, consolidated=False)
    (root / "in" / "notes.txt").write_text("nothing")
    (root / "in" / "day[x].nc").write_bytes((root / "in" / "day0.nc").read_bytes())
    with s3_server(tmp_path) as options:
        yield root, options


NAMES = [
    "in",
    "in/",
    "in/day1.nc",
    "in/day6.zarr",
    "in/*.nc",
    "in/day?.nc",
    "in/day[0-2].nc",
    "in/day[!0-2].nc",
    "in/day[[]x].nc",
    "in/*.zarr",
    "in/*",
    "in/**/*.nc",
    "in/**/day*",
    "**/deep/*.zarr",
    "in/de*",
    "*/day0.nc",
]


@pytest.mark.parametrize("name", NAMES)
def test_names_in_a_store_stand_for_the_same_files(
    bucket: tuple[Path, dict[str, str]], name: str
) -> None:
    root, options = bucket
    local = {str(Path(file).relative_to(root)) for file in find([root / name])}
    there = {file.removeprefix("s3://test/") for file in find([f"s3://test/{name}"], options)}
    assert there == local and there


def test_names_that_stand_for_nothing_are_refused(bucket: tuple[Path, dict[str, str]]) -> None:
    for name in ("in/none.nc", "none/*.nc", "in/day", "in/day6.zarr/lon/*.nc"):
        with pytest.raises(pt.NotFound, match="there is no file"):
            find([f"s3://test/{name}"], bucket[1])
    with pytest.raises(pt.PartitaError):
        find(["nowhere://bucket/*.nc"], {})


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("to_store", [False, True])
def test_files_of_a_store_are_imported(
    bucket: tuple[Path, dict[str, str]], tmp_path: Path, workers: int, to_store: bool
) -> None:
    root, options = bucket
    (root / "in" / "day[x].nc").unlink()
    broken = root / "in" / "day9.nc"
    broken.write_bytes(b"CDF\x01garbage")
    url = "s3://test/lake/ssh" if to_store else str(tmp_path / "ssh")
    given: dict[str, Any] = (
        {"storage_options": options} if to_store else {"source_options": options}
    )
    report = pt.import_files(
        url, "s3://test/in", partition_by="month", on_error="skip", workers=workers, **given
    )
    assert len(report.imported) == 8 and all(n.startswith("s3://test/in/") for n in report.imported)
    assert list(report.failed) == ["s3://test/in/day9.nc"] and len(report.commits) == 1
    c = pt.open_collection(url, storage_options=options if to_store else None)
    wanted = xr.concat(
        [day(n) for n in (0, 10, 20, 30, 40, 50, 60, 61)], "time", data_vars="minimal"
    )
    np.testing.assert_array_equal(c.read().ssh, wanted.ssh)
    assert c.verify(data=True) == []
    broken.unlink()
    again = pt.import_files(
        url, "s3://test/in/**/day*", skip_existing=True, workers=workers, **given
    )
    assert (len(again.skipped), again.imported) == (8, [])
    day(0).assign(ssh=day(0).ssh + 1).to_netcdf(root / "in" / "day0.nc")
    again = pt.import_files(url, "s3://test/in/*.nc", merge="upsert", skip_existing=True, **given)
    assert again.imported == ["s3://test/in/day0.nc"]
    assert c.refresh().read().ssh.values[0, 0] == 1


def test_copies_of_files_are_few_and_taken_away(
    bucket: tuple[Path, dict[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "temporary"
    own.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(own))
    most = []

    def count(done: int, total: int | None) -> None:
        most.append(len(list(own.glob("*/*/*"))))

    pt.import_files(
        tmp_path / "c",
        "s3://test/in/day?.nc",
        partition_by="month",
        workers=0,
        source_options=bucket[1],
        progress=count,
    )
    assert 0 < max(most) <= 4
    assert list(own.iterdir()) == []


def test_the_command_imports_from_a_store(
    bucket: tuple[Path, dict[str, str]], tmp_path: Path
) -> None:
    options = [
        text for name, value in bucket[1].items() for text in ("--source-option", f"{name}={value}")
    ]
    done = subprocess.run(
        [
            *(
                sys.executable,
                "-m",
                "partita",
                "import",
                str(tmp_path / "c"),
                "s3://test/in/day?.nc",
            ),
            *("--partition-by", "month", "--json", *options),
        ],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["imported"]) == 5
    assert "partita-secret" not in done.stdout + done.stderr
