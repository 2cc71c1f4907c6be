"""Staged files, transactions, and options of writes."""

from __future__ import annotations

import pickle

import pandas as pd
import pyarrow.parquet as pq
import pytest

import partita as pt
from plateau_lake import Lake, same_frame, trips


@pytest.fixture
def lake(tmp_path) -> Lake:
    return Lake(tmp_path / "lake")


@pytest.fixture
def table(lake) -> pt.Table:
    return lake.create("t", trips(), partition_by="city", index="rider")


def test_staged_files_are_seen_once_committed(lake, table):
    staged = [table.stage(trips(first=60)), table.stage(trips(first=120))]
    assert [one.rows for one in staged] == [60, 60]
    assert all(one.bytes > 0 and len(one.keys) == 3 for one in staged)
    assert len(lake.open("t").read()) == 60
    sent = [pickle.loads(pickle.dumps(staged[0])), pt.Staged.from_bytes(staged[1].to_bytes())]
    commit = table.commit(sent, where={"city": "Oslo"}, metadata={"batch": 7})
    assert (commit.rows_added, commit.rows_removed) == (120, 20)
    expected = pd.concat([trips().query("city != 'Oslo'"), trips(first=60), trips(first=120)])
    same_frame(table.read(), expected)
    same_frame(lake.theirs_read("t")[list(expected.columns)], expected)
    assert lake.their_metadata("t")["batch"] == 7
    with pytest.raises(pt.Corrupt):
        pt.Staged.from_bytes(b"rubbish")
    with pytest.raises(pt.InvalidArgument):
        table.commit([trips()])


def test_a_commit_with_a_key_counts_once(table):
    staged = table.stage(trips(first=60))
    first = table.commit(staged, key="job 17")
    again = pt.open_table(table.url).commit(staged, key="job 17")
    assert (again.version, again.id, again.rows_added) == (first.version, first.id, 0)
    assert table.refresh().count() == 120
    table.commit(table.stage(trips(first=120)), key="job 18")
    assert table.count() == 180


def test_a_key_counts_beside_a_condition_on_rows_too(table):
    staged = table.stage(trips(first=60))
    for _ in range(2):
        table.commit(staged, where="rider == 3", key="job 19")
    assert table.count() == 120 - (trips()["rider"] == 3).sum()


def test_staged_files_are_committed_once(lake, table):
    staged = table.stage(trips(first=60))
    table.commit(staged)
    for options in ({}, {"where": {"city": "Oslo"}}, {"where": "rider == 3"}):
        with pytest.raises(pt.AlreadyExists, match="staged"):
            table.commit(staged, **options)
    table.discard(staged)
    same_frame(table.read(), pd.concat([trips(), trips(first=60)]))
    table.replace(trips(rows=1), where="id >= 0")
    with pytest.raises(pt.SchemaMismatch):
        table.append({"id": [1]})
    table.discard(staged)
    assert len(table.at(2).read()) == 120
    assert table.verify(data=True) == []


def test_a_commit_that_failed_can_be_tried_again(table):
    staged = table.stage(trips(first=60))
    with pytest.raises(pt.InvalidPredicate):
        table.commit(staged, where="nothing == 1")
    assert table.commit(staged).rows_added == 60


def test_discarded_files_are_gone(lake, table):
    before = lake.files("t")
    table.discard(table.stage(trips(first=60)))
    assert lake.files("t") == before


def test_nothing_to_delete_is_no_commit(table):
    for where in ({"city": "Nowhere"}, "rider == 99"):
        assert table.delete(where=where).version == 1
    assert len(table.history()) == 1


def test_a_transaction_is_one_commit(lake, table):
    with table.transaction(metadata={"why": "corrections"}) as tx:
        tx.append(trips(first=60))
        tx.delete(where="rider == 3")
        tx.replace(trips(first=900, rows=3), where={"city": "Oslo"})
        assert lake.open("t").version == 1
    assert tx.commit.version == 2
    kept = trips().query("rider != 3 and city != 'Oslo'")
    same_frame(table.read(), pd.concat([kept, trips(first=60), trips(first=900, rows=3)]))
    assert table.metadata["why"] == "corrections"
    with pytest.raises(pt.InvalidArgument):
        tx.append(trips())
    with table.transaction() as idle:
        pass
    assert idle.commit is None
    assert table.refresh().version == 2


def test_a_transaction_that_fails_changes_nothing(lake, table):
    before = lake.files("t")
    with pytest.raises(ZeroDivisionError), table.transaction() as tx:
        tx.append(trips(first=60))
        raise ZeroDivisionError
    with pytest.raises(pt.SchemaMismatch), table.transaction() as tx:
        tx.append(trips(first=60))
        tx.append({"id": [1]})
    with pytest.raises(pt.InvalidPredicate), table.transaction() as tx:
        tx.append(trips(first=60))
        tx.delete(where="nothing == 1")
    assert lake.files("t") == before


def test_metadata_alone(lake, table):
    table.set_metadata({"a": [1, {"b": "ü"}], "gone": 1})
    table.set_metadata({"gone": None, "_partita": "mine"})
    assert lake.their_metadata("t")["a"] == [1, {"b": "ü"}]
    assert "gone" not in lake.open("t").metadata
    assert "_partita" not in lake.open("t").metadata
    assert lake.open("t").version == 3


def test_files_are_sorted_and_compressed_as_asked(lake):
    frame = trips(rows=300).sample(frac=1, random_state=1)
    table = lake.create(
        "t",
        frame,
        partition_by="city",
        sort_by=["rider", "id"],
        compression={"name": "none", "blob": "gzip", "*": "zstd(7)"},
        row_group_rows=40,
    )
    table.append(
        frame.assign(id=frame["id"] + 1000),
        sort_by="fare",
        row_group_rows=50,
        target_file_bytes=2000,
    )
    files = sorted((lake.root / "t" / "table").rglob("*.parquet"))
    assert len(files) > 6
    for file in files:
        found = pq.read_table(file).to_pandas()
        by = ["rider", "id"] if found["id"].max() < 1000 else ["fare"]
        assert found[by].apply(tuple, axis=1).is_monotonic_increasing
    whole = [file for file in files if pq.read_table(file)["id"].to_pandas().max() < 1000]
    group = pq.ParquetFile(whole[0]).metadata.row_group(0)
    codecs = {group.column(i).path_in_schema: group.column(i).compression for i in range(8)}
    assert (codecs["name"], codecs["blob"], codecs["id"]) == ("UNCOMPRESSED", "GZIP", "ZSTD")
    assert pq.ParquetFile(whole[0]).num_row_groups == 3
    expected = pd.concat([frame, frame.assign(id=frame["id"] + 1000)])
    same_frame(table.read(), expected)
    same_frame(lake.theirs_read("t")[list(expected.columns)], expected)
    for wrong in ({"sort_by": "nothing"}, {"compression": {"nothing": "zstd"}}):
        with pytest.raises(pt.NotFound, match="nothing"):
            table.append(frame, **wrong)
    for wrong in ({"compression": {"id": 3}}, {"target_file_bytes": 0}):
        with pytest.raises(pt.InvalidArgument):
            table.append(frame, **wrong)


def test_headers_in_msgpack(lake):
    table = lake.create("t", trips(), partition_by="city", index="rider", header="msgpack")
    table.append(trips(first=60))
    table.delete(where="rider == 3")
    assert [path.name for path in lake.root.iterdir() if path.is_file()] == [
        "t.by-dataset-metadata.msgpack.zstd"
    ]
    expected = pd.concat([trips(), trips(first=60)]).query("rider != 3")
    same_frame(lake.open("t").read(), expected)
    same_frame(lake.theirs_read("t")[list(expected.columns)], expected)
    assert len(table.history()) == 3
    with pytest.raises(pt.InvalidArgument, match="msgpack"):
        lake.create("u", trips(), header="yaml")
    # plateau's update writes a JSON header beside it, which all readers prefer from then on.
    lake.theirs_update("t", trips(first=120))
    assert lake.open("t").count() == len(expected) + 60
    assert [problem.kind for problem in lake.open("t").verify()] == ["header"]
