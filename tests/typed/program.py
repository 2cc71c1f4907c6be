"""A program of a user, checked by mypy and pyright in their strict modes, and run by the tests.

``assert_type`` says what an editor should show. A call with a ``type: ignore`` is one that both
checkers must refuse: they report an ignored line that has no error. pyarrow has no types of its
own, so what comes from it is not known to pyright.
"""

from __future__ import annotations

import datetime as dt
import tempfile
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import xarray as xr

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
    assert_type(table.sql("select fare from t"), pt.Query)
    assert_type(table.last_run, "pt.Scan | None")
    assert_type(len(scan), int)
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
    changes(table)


def changes(table: pt.Table) -> None:
    with table.transaction(key="monday") as tx:
        assert_type(tx, pt.Transaction)
        tx.append({"id": [7], "city": ["Oslo"], "fare": [3.0]})
    assert_type(tx.commit, "pt.Commit | None")
    assert_type(table.upsert({"id": [7], "city": ["Oslo"], "fare": [4.0]}, on="id"), pt.Commit)
    assert_type(table.delete(where=[[("id", "==", 7)]]), pt.Commit)
    assert_type(table.optimize(), pt.Commit)
    assert_type(table.set_metadata(lambda present: {"runs": len(present)}), pt.Commit)
    assert_type(table.committed("monday"), "pt.Snapshot | None")
    assert_type(table.verify(), "list[pt.Problem]")
    assert_type(table.expire(keep_within=dt.timedelta(days=30)), int)
    assert_type(table.collect_garbage(dry_run=True), pt.Garbage)
    assert_type(table.columns, "list[str]")
    for problem in table.verify(data=True):
        assert_type(problem.message, str)


def refused(url: str) -> None:
    """Wrong calls that a type checker reports; the function is never called."""
    pt.create_table(url, {"a": [1]}, header="xml")  # type: ignore[arg-type]
    pt.open_table(url).read(dtype_backend="numpy")  # type: ignore[arg-type]
    pt.Date("time", "week")  # type: ignore[arg-type]
    pt.open_collection(url).insert({}, merge="newest")  # type: ignore[arg-type]
    pt.open_table(url).append()  # type: ignore[call-arg]


def arrays(url: str) -> None:
    time = np.arange("2022-01-01", "2022-03-01", dtype="M8[D]").astype("M8[us]")
    ssh = pt.create_collection(
        url,
        {"time": ("time", time), "ssh": ("time", np.zeros(time.size))},
        axis="time",
        partition_by=pt.Date("time", "month"),
    )
    assert_type(ssh, pt.Collection)
    ssh.update(raised)
    assert_type([partition.path for partition in ssh.partitions], list[str])
    for commit in ssh.history():
        assert_type(commit, pt.CollectionCommit)
    assert_type(ssh.coverage(), "dict[str, float]")
    assert_type(ssh.at(1), pt.Collection)
    found = ssh.build_index("ssh", "ssh.parquet")
    assert_type(found, pt.Index)
    rows = found.query("ssh > 0") & found.query(stale="allow")
    assert_type(rows, pt.Selection)
    assert_type(rows.rows, int)
    view = pt.create_view(f"{url}-view", ssh, [pt.Variable("twice", ("time",), "f8")])
    assert_type(view, pt.View)
    assert_type(view.base, pt.Collection)
    assert_type(view.is_synced(), bool)


def raised(part: xr.Dataset) -> dict[str, Any]:
    return {"ssh": part.ssh + 1}


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
