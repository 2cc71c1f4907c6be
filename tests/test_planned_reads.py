"""What xarray and Dask ask of the store for data: the same objects and bytes as the native read."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import dask
import numpy as np
import pandas as pd
import pytest
import xarray as xr

import partita as pt
import partita.dask as ptd
from scripted_s3 import ScriptedS3, scripted_s3

DAYS = 90
ROWS = 120_000
TABLE, COLLECTION = "s3://test/t", "s3://test/c"


def table_data() -> pd.DataFrame:
    rows = np.arange(ROWS)
    return pd.DataFrame(
        {
            "id": rows,
            "city": np.array(["Lima", "Oslo", "Rome"])[rows * 3 // ROWS],
            "rider": rows // 1000,
            "noise": np.random.default_rng(11).integers(0, 2**40, ROWS),
        }
    )


def tracks() -> xr.Dataset:
    """Three months of rows with three pixels."""
    time = np.datetime64("2022-01-01", "us") + np.arange(DAYS) * np.timedelta64(1, "D")
    values = np.arange(DAYS * 3.0).reshape(DAYS, 3)
    return xr.Dataset(
        {
            "ssh": (("time", "pixel"), values),
            "swh": (("time", "pixel"), values / 8),
            "cycle": ("time", (np.arange(DAYS) // 10).astype("i4")),
            "angle": ("pixel", np.arange(3.0)),
        },
        {"time": time},
    )


@pytest.fixture(scope="module")
def s3() -> Iterator[ScriptedS3]:
    with scripted_s3() as server:
        options = server.options()
        pt.create_table(
            TABLE,
            table_data(),
            partition_by="city",
            index="rider",
            compression="none",
            row_group_rows=20_000,
            storage_options=options,
        )
        for zarr_format in (2, 3):
            pt.create_collection(
                f"{COLLECTION}{zarr_format}",
                tracks(),
                axis="time",
                partition_by=pt.Date("time", "month"),
                chunks={"time": 7},
                zarr_format=zarr_format,
                storage_options=options,
            )
        yield server


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch) -> Iterator[None]:
    # Tasks do not carry secrets.
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    with dask.config.set(scheduler="synchronous"):
        yield


def counted(s3: ScriptedS3, read: Callable[[], Any], part: str) -> tuple[Any, list[Any]]:
    """The result of a read, and its requests for data, each with its bytes."""
    s3.served.clear()
    found = read()
    made = sorted(one for one in s3.served if re.search(part, one[0]))
    assert made
    return found, made


# Tables in Dask


def by_file(**read: Any) -> Any:
    return ptd.read_table(TABLE, **read).compute()


def by_partition(**read: Any) -> Any:
    return ptd.read_table(TABLE, by="partition", **read).compute()


def by_scan(storage_options: Any, **read: Any) -> Any:
    table = pt.open_table(TABLE, storage_options=storage_options)
    return table.scan(**read).to_dask().compute()


def delayed(**read: Any) -> Any:
    return pd.concat(dask.compute(*ptd.read_delayed(TABLE, **read)))


def bag(**read: Any) -> Any:
    return pd.concat(ptd.read_bag(TABLE, **read).compute())


@pytest.mark.parametrize("read", [by_file, by_partition, by_scan, delayed, bag])
@pytest.mark.parametrize(
    "where",
    [
        None,
        "city == 'Oslo'",
        "rider == 77",
        "id >= 30_000 and id < 31_000",
        {"noise": table_data()["noise"][1_000:11_000].tolist()},
    ],
    ids=["projection", "partition", "index", "range of pages", "long list"],
)
def test_tables(s3, read, where):
    table = pt.open_table(TABLE, storage_options=s3.options())
    native = table.scan(["id", "noise"], where)
    expected, requests = counted(s3, native.to_pandas, "/table/")
    given = {"columns": ["id", "noise"], "where": where, "storage_options": s3.options()}
    got, made = counted(s3, lambda: read(**given), "/table/")
    pd.testing.assert_frame_equal(
        *(one.sort_values("id", ignore_index=True) for one in (got, expected))
    )
    assert made == requests


# Collections in xarray and Dask


def opened(collection: pt.Collection, s3: ScriptedS3, where: str, **options: Any) -> xr.Dataset:
    return xr.open_dataset(
        collection.url,
        engine="partita",
        where=where,
        drop_variables=["swh", "cycle", "angle"],
        storage_options=s3.options(),
        **options,
    )


def lazy(collection: pt.Collection, s3: ScriptedS3, where: str) -> xr.Dataset:
    return opened(collection, s3, where).load()


def opened_in_dask(collection: pt.Collection, s3: ScriptedS3, where: str) -> xr.Dataset:
    return opened(collection, s3, where, chunks={}).compute()


def in_dask(collection: pt.Collection, s3: ScriptedS3, where: str) -> xr.Dataset:
    return collection.read(where, variables=["ssh", "time"], chunks={}).compute()


def as_rows(collection: pt.Collection, s3: ScriptedS3, where: str) -> xr.Dataset:
    rows = collection.scan(["ssh"], where).to_pandas()
    return rows.set_index(["time", "pixel"]).to_xarray().drop_vars("pixel")


@pytest.mark.parametrize("read", [lazy, opened_in_dask, in_dask, as_rows])
@pytest.mark.parametrize(
    "where",
    ["month >= 1", "month == 2", "time >= '2022-02-08' and time < '2022-02-16'", "cycle == 3"],
    ids=["projection", "partition", "range of chunks", "another variable"],
)
@pytest.mark.parametrize("zarr_format", [2, 3])
def test_collections(s3, read, where, zarr_format):
    collection = pt.open_collection(f"{COLLECTION}{zarr_format}", storage_options=s3.options())
    chunk = r"/\w+/(c/)?[\d./]+$"
    expected, requests = counted(
        s3, lambda: collection.read(where, variables=["ssh", "time"]), chunk
    )
    got, made = counted(s3, lambda: read(collection, s3, where), chunk)
    xr.testing.assert_equal(got, expected)
    assert made == requests


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_rows_that_are_chosen_later(s3, zarr_format):
    collection = pt.open_collection(f"{COLLECTION}{zarr_format}", storage_options=s3.options())
    days = slice("2022-02-08", "2022-02-15")
    where = "time >= '2022-02-08' and time < '2022-02-16'"
    chunk = r"/ssh/(c/)?[\d./]+$"
    expected, requests = counted(
        s3, lambda: collection.read(where, variables=["ssh", "time"]), chunk
    )
    whole = [
        opened(collection, s3, "month >= 1"),
        collection.read(variables=["ssh", "time"], chunks={}),
    ]
    for one in whole:
        got, made = counted(s3, lambda one=one: one.sel(time=days).compute(), chunk)
        xr.testing.assert_equal(got, expected)
        assert made == requests


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_the_state_of_a_collection_is_asked_for_once_before_all_blocks(s3, zarr_format):
    collection = pt.open_collection(f"{COLLECTION}{zarr_format}", storage_options=s3.options())
    head = r"/\.partita/head\.json$"
    found, made = counted(s3, lambda: collection.read(variables=["ssh"], chunks={}), head)
    # Before it is read, and after it, when it must not have changed.
    assert len(made) == 2
    blocks = found["ssh"].data.npartitions
    got, made = counted(s3, found["ssh"].compute, head)
    assert len(made) == blocks > 3
    np.testing.assert_array_equal(got, tracks()["ssh"])
