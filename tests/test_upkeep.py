"""Copies and verification: plateau's view of copies, and the detection and repair of damage."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

import partita as pt
from command import answer, run
from plateau_lake import Lake, same_frame, trips
from s3_server import s3_server


@pytest.fixture
def lake(tmp_path) -> Lake:
    return Lake(tmp_path / "lake")


@pytest.fixture(params=["ours", "theirs"])
def table(request, lake) -> pt.Table:
    if request.param == "ours":
        table = lake.create("t", trips(), partition_by="city", index="rider", metadata={"a": [1]})
        table.append(trips(first=60))
        return table
    lake.theirs_create(
        "t", trips(), partition_on=["city"], secondary_indices=["rider"], metadata={"a": [1]}
    )
    lake.theirs_update("t", trips(first=60))
    return lake.open("t")


def test_a_copy_is_a_table_of_both(lake, table):
    copy = table.copy(lake.url("c"))
    same_frame(copy.read(), table.read())
    assert (copy.index, copy.partition_by, copy.metadata["a"]) == (["rider"], ["city"], [1])
    assert copy.verify(data=True) == []
    table.drop()
    theirs = lake.theirs_read("c")
    same_frame(copy.read()[list(theirs.columns)], theirs)
    assert sorted(lake.theirs_read("c", [[("rider", "==", 3)]])["id"]) == sorted(
        copy.read(where="rider == 3")["id"]
    )
    lake.theirs_update("c", trips(first=120))
    assert len(copy.refresh().read()) == 180


def test_copies_of_some_rows_and_of_old_versions(lake):
    table = lake.create("t", trips(), partition_by="city", index="rider")
    table.append(trips(first=60))
    some = table.copy(lake.url("some"), where="rider == 3 and city == 'Oslo'")
    same_frame(some.read(), table.read(where="rider == 3 and city == 'Oslo'"))
    assert some.index == ["rider"]
    same_frame(table.at(1).copy(lake.url("old")).read(), trips())
    with pytest.raises(pt.AlreadyExists):
        table.copy(lake.url("old"))
    assert table.copy(lake.url("old"), overwrite=True).count() == 120
    same_frame(pt.open_table(lake.url("old"), at=1).read(), trips())
    with pytest.raises(pt.InvalidArgument, match="itself"):
        table.copy(table.url, overwrite=True)


def test_a_copy_to_another_store_and_back(lake, tmp_path):
    table = lake.create("t", trips(), partition_by="city", index="rider")
    with s3_server(tmp_path / "s3") as options:
        there = table.copy("s3://test/lake/t", storage_options=options)
        there.append(trips(first=60))
        back = there.copy(lake.url("back"))
        same_frame(back.read(), there.read())
    assert lake.theirs_read("back")["id"].nunique() == 120


def test_a_copy_that_fails_leaves_nothing(lake):
    table = lake.create("t", trips(), partition_by="city")
    victim = sorted((lake.root / "t" / "table").rglob("*.parquet"))[-1]
    victim.unlink()
    with pytest.raises(pt.Corrupt, match=victim.stem):
        table.copy(lake.url("c"))
    assert lake.files("c") == {}
    assert pt.ls(lake.root) == pt.ls(lake.root)[:1]


def data_file(lake: Lake) -> Path:
    return sorted((lake.root / "t" / "table").rglob("city=Oslo/*.parquet"))[0]


def kinds(table: pt.Table, **options: bool) -> list[tuple[str, bool]]:
    return [(problem.kind, problem.repaired) for problem in table.verify(**options)]


def test_a_sound_table_has_no_problems(table):
    assert table.verify(data=True) == []
    table.delete(where="rider == 3")
    table.optimize()
    assert table.verify(data=True) == []


def test_a_missing_file_is_named(lake, table):
    victim = data_file(lake)
    victim.unlink()
    (problem,) = [found for found in table.verify() if found.kind == "missing"]
    assert problem.key.endswith(victim.name)
    assert "1 problem" in run("verify", table.url, code=1).stderr


def test_damage_inside_a_file_is_found(lake, table):
    victim = data_file(lake)
    raw = bytearray(victim.read_bytes())
    raw[4:60] = bytes(56)
    victim.write_bytes(raw)
    assert ("damaged", False) in kinds(table, data=True)
    victim.write_bytes(raw[: len(raw) // 2])
    assert ("damaged", False) in kinds(table)


def test_a_file_swapped_for_another_is_found(lake):
    table = lake.create("t", trips(), partition_by="city")
    victim = data_file(lake)
    pq.write_table(pq.read_table(victim).slice(0, 3), victim)
    assert kinds(table) == [("damaged", False)]


def test_an_index_that_lost_values_is_rebuilt(lake, table):
    for path in (lake.root / "t" / "indices").rglob("*.parquet"):
        pq.write_table(pq.read_table(path).slice(4), path)
    expected = {("index", True), ("header", True)}
    (lake.root / "t.by-dataset-metadata.msgpack.zstd").write_bytes(b"stale")
    if table.version:
        # Datasets of plateau have no other copy of their schema.
        (lake.root / "t" / "table" / "_common_metadata").write_bytes(b"rubbish")
        expected.add(("schema", True))
    assert {kind for kind, _ in kinds(table)} == {kind for kind, _ in expected}
    assert set(kinds(table, repair=True)) == expected
    assert table.verify(data=True) == []
    for rider in range(11):
        want = sorted(n for n in range(120) if n // 5 % 11 == rider)
        assert sorted(table.read(where={"rider": rider})["id"]) == want
        assert sorted(lake.theirs_read("t", [[("rider", "==", rider)]])["id"]) == want


@pytest.mark.parametrize("how", [{}, {"where": "city == 'Nowhere'"}, {"on": "id"}])
def test_files_staged_before_an_index_are_in_it(lake, how):
    table = lake.create("t", trips(), partition_by="city")
    new = trips(first=600, rows=6).assign(rider=77)
    staged = table.stage(new)
    lake.open("t").build_index(["rider", "name"])
    table.commit(staged, **how)
    theirs = lake.theirs_read("t", [[("rider", "==", 77)]])
    for found in (table.refresh().read(where={"rider": 77}), theirs):
        assert sorted(found["id"]) == list(new["id"])
    assert table.scan(where="rider == 77").explain().details["indices"] == ["rider"]
    assert table.verify() == []


def test_a_dropped_table_leaves_nothing(lake, tmp_path):
    table = lake.create("t", trips())
    table.append(trips(first=600))
    table.build_index("rider")
    table.expire(keep_last=1)
    table.drop()
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_from_the_command_line(lake):
    table = lake.create("t", trips(), partition_by="city", index="rider")
    done = answer("copy", table.url, lake.url("c"), "--where", "id < 7")
    assert done["rows"] == 7
    assert run("verify", lake.url("c"), "--data").stdout == "nothing is wrong\n"
    assert "--overwrite" in run("copy", table.url, lake.url("c"), code=1).stderr
    (lake.root / "c" / "table" / "_common_metadata").unlink()
    (problem,) = answer("verify", lake.url("c"), "--repair")
    assert (problem["kind"], problem["repaired"]) == ("schema", True)
    assert run("verify", lake.url("c")).stdout == "nothing is wrong\n"
