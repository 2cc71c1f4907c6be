"""Processes that insert deliveries into one partition at once: nothing is lost, and none fails."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import partita as pt
from s3_server import PROGRAM, s3_server

WRITERS, FILES, ROWS = 6, 10, 50
CONTEXT = multiprocessing.get_context("spawn")


def delivery(number: int) -> xr.Dataset:
    """One of the sixty files of a month; it overlaps with the next by a row of the same value."""
    seconds = number * ROWS + np.arange(ROWS + 1)
    time = np.datetime64("2022-01-01", "us") + seconds * np.timedelta64(1, "s")
    return xr.Dataset({"v": (("time", "x"), np.tile(seconds[:, None] * 1.0, 3))}, {"time": time})


def insert(url: str, options: dict[str, str], writer: int, merge: str) -> None:
    collection = pt.open_collection(url, storage_options=options)
    for file in range(FILES):
        collection.insert(delivery(file * WRITERS + writer), merge=merge)


@pytest.fixture(params=["local", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    if request.param == "local":
        yield str(tmp_path), {}
        return
    if not PROGRAM.exists():
        pytest.skip("the S3 server of the tests is not built")
    with s3_server(tmp_path) as options:
        yield "s3://test", options


@pytest.mark.parametrize(
    ("layout", "merge"), [(2, "time_series"), (3, "upsert"), ("icechunk", "upsert")]
)
def test_six_processes_insert_sixty_files_into_one_month(
    place: tuple[str, dict[str, str]], layout: Any, merge: str
) -> None:
    url, options = f"{place[0]}/c", place[1]
    url = f"icechunk+{url}" if layout == "icechunk" else url
    created = pt.create_collection(
        url,
        delivery(0),
        axis="time",
        partition_by=pt.Date("time", "month"),
        zarr_format=2 if layout == 2 else 3,
        chunks={"time": 500},
        insert=False,
        storage_options=options,
    )
    writers = [
        CONTEXT.Process(target=insert, args=(url, options, writer, merge))
        for writer in range(WRITERS)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0] * WRITERS
    found = created.refresh().read()
    wanted = np.arange(WRITERS * FILES * ROWS + 1)
    np.testing.assert_array_equal(found.v[:, 2], wanted)
    assert [commit.operation for commit in created.history()].count("insert") == WRITERS * FILES
    assert created.verify(data=True) == []
