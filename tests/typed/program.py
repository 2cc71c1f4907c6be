"""A program of a user, checked by mypy and pyright in their strict modes, and run by the tests.

``assert_type`` says what an editor should show.
"""

from __future__ import annotations

import datetime as dt
import tempfile
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

import partita as pt

if TYPE_CHECKING:
    from typing_extensions import assert_type
else:

    def assert_type(value, kind):
        return value


def tables(url: str) -> None:
    schema = pa.schema({"id": pa.int64(), "city": pa.string(), "fare": pa.float64()})
    table = pt.create_table(url, schema, partition_by=["city"], index="id")
    assert_type(table, pt.Table)
    commit = table.append({"id": [1, 2], "city": ["Oslo", "Rome"], "fare": [12.5, 9.0]})
    assert_type(commit, pt.Commit)
    assert_type(commit.version, int)
    assert_type(table.count(where=pt.col("fare") > 10), int)
    assert_type(table.version, "int | None")
    scan = table.scan(columns=["fare"], where={"city": "Oslo"}, limit=1)
    assert_type(scan, pt.Scan)
    assert_type(scan.explain().text, str)
    for key, piece in table.scan().by_partition():
        assert_type(key, dict[str, str])
        assert_type(piece, pt.Scan)
    with table.transaction() as tx:
        tx.delete(where="fare < 10")
    for snapshot in table.history():
        assert_type(snapshot, pt.Snapshot)
        assert_type(snapshot.time, dt.datetime)
    staged = table.stage({"id": [3], "city": ["Lima"], "fare": [1.0]})
    assert_type(staged.to_bytes(), bytes)
    table.commit([pt.Staged.from_bytes(staged.to_bytes())], key="once")
    assert_type(table.at(1), pt.Table)
    assert_type([partition.rows for partition in table.partitions], "list[int | None]")
    condition = (pt.col("city") == "Oslo") & ~pt.col("fare").is_null()
    assert_type(condition, pt.Expr)


def arrays(url: str) -> None:
    time = np.arange("2022-01-01", "2022-03-01", dtype="M8[D]").astype("M8[us]")
    ssh = pt.create_collection(
        url,
        {"time": ("time", time), "ssh": ("time", np.zeros(time.size))},
        axis="time",
        partition_by=pt.Date("time", "month"),
    )
    assert_type(ssh, pt.Collection)
    ssh.update(lambda part: {"ssh": part.ssh + 1})
    assert_type([partition.path for partition in ssh.partitions], list[str])
    for commit in ssh.history():
        assert_type(commit, pt.CollectionCommit)


def failures(url: str) -> str:
    try:
        pt.open_table(url)
    except pt.NotFound as error:
        assert_type(error.context, dict[str, str])
        return error.kind
    return ""


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        tables(f"{folder}/trips")
        arrays(f"{folder}/ssh")
        print(failures(f"{folder}/absent"))
