"""Indexes of collections: queries, reads and updates by index, and keeping indexes up to date."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
import warnings

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

import partita as pt

HOURS = np.arange("2022-01-30", "2022-02-02", dtype="M8[h]").astype("M8[us]")


def orbits(times=HOURS, shift: int = 0) -> xr.Dataset:
    """Seventy-two hours with a cycle every ten of them, and a pass every four."""
    hours = ((times - HOURS[0]) // np.timedelta64(1, "h")).astype("i8") + shift
    return xr.Dataset(
        {
            "cycle": ("time", (hours // 10).astype("u2")),
            "pass": ("time", (hours // 4 % 3).astype("i1")),
            "ssh": (("time", "x"), np.stack([hours, -hours], 1).astype("f8")),
        },
        {"time": times},
    )


@pytest.fixture(params=[2, 3])
def collection(request, memory) -> pt.Collection:
    return pt.create_collection(
        f"{memory}/orbits",
        orbits(),
        axis="time",
        partition_by=pt.Date("time", "day"),
        chunks={"time": 5},
        zarr_format=request.param,
    )


def frame(dataset: xr.Dataset) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "cycle": dataset["cycle"].values,
            "pass_": dataset["pass"].values,
            "day": dataset["time"].dt.day.values,
            "month": dataset["time"].dt.month.values,
            "ssh": dataset["ssh"].values[:, 0],
        }
    )


def conditions() -> st.SearchStrategy[str]:
    operators = st.sampled_from(["==", "!=", "<", ">="])
    single = st.one_of(
        st.builds("cycle {} {}".format, operators, st.integers(0, 8)),
        st.builds("pass_ {} {}".format, operators, st.integers(0, 3)),
        st.builds("day {} {}".format, operators, st.sampled_from([1, 30, 31])),
        st.just("month == 2"),
        st.just("cycle in (1, 3, 6)"),
    )
    return st.recursive(
        single,
        lambda inner: st.builds("({} {} {})".format, inner, st.sampled_from(["and", "or"]), inner),
        max_leaves=4,
    )


@settings(max_examples=60, deadline=None)
@given(condition=conditions(), other=conditions())
def test_queries_find_what_pandas_finds(shared, condition, other):
    collection, index = shared
    table = frame(collection.read())

    def ssh(selection) -> list[float]:
        return collection.read(rows=selection).ssh.values.reshape(-1, 2)[:, 0].tolist()

    first = index.query(condition.replace("pass_", "pass"))
    second = index.query(other.replace("pass_", "pass"))
    mine, theirs = table.eval(condition), table.eval(other)
    assert ssh(first) == table.ssh[mine].tolist()
    assert first.rows == int(mine.sum())
    assert ssh(first & second) == table.ssh[mine & theirs].tolist()
    assert ssh(first | second) == table.ssh[mine | theirs].tolist()
    assert ssh(first - second) == table.ssh[mine & ~theirs].tolist()
    assert ssh(first ^ second) == table.ssh[mine ^ theirs].tolist()


@pytest.fixture(scope="module")
def shared():
    made = pt.create_collection(
        "memory://test-indexes/shared",
        orbits(),
        axis="time",
        partition_by=pt.Date("time", "day"),
        chunks={"time": 5},
    )
    return made, made.build_index(["cycle", "pass"], "orbits.parquet")


def test_an_index_of_variables(collection):
    index = collection.build_index(["cycle", "pass"], "orbits.parquet")
    assert collection.indexes == ["orbits.parquet"]
    assert index.variables == ["cycle", "pass"]
    table = index.to_pandas()
    if collection.zarr_format == 2:
        assert list(table) == ["start", "stop", "cycle", "pass", "year", "month", "day"]
        assert table.dtypes.astype(str).tolist() == [
            *["int64", "int64", "uint16", "int8", "uint16", "uint8", "uint8"]
        ]
    else:
        assert list(table) == ["_start", "_stop", "cycle", "pass", "_partition"]
    found = index.query({"cycle": 2, "month": 1})
    assert [(p.path.split("/")[-1], runs) for p, runs in found.slices] == [
        ("day=30", [slice(20, 24)]),
        ("day=31", [slice(0, 6)]),
    ]
    assert [p.key["day"] for p in index.partitions(pt.col("cycle") == 2)] == [30, 31]
    with pytest.raises(pt.InvalidPredicate, match="color"):
        index.query("color == 1")
    assert "cycle, pass" in repr(index) and "10 rows of 2 partitions" in repr(found)


def test_rows_and_conditions_and_lazy_reads(collection):
    index = collection.build_index("cycle", "cycle.parquet")
    rows = index.query("cycle in (1, 3)")
    whole = collection.read()
    expected = whole.isel(time=np.isin(whole.cycle, [1, 3]))
    xr.testing.assert_identical(collection.read(rows=rows), expected)
    xr.testing.assert_identical(index.read("cycle in (1, 3)"), expected)
    read = collection.read("time >= '2022-01-31' and cycle < 5", rows=rows, variables=["ssh"])
    later = expected.ssh[expected.time >= np.datetime64("2022-01-31")]
    np.testing.assert_array_equal(read.ssh, later)
    assert collection.read(rows=index.query("cycle == 99")).sizes["time"] == 0
    lazy = collection.read(rows=rows, chunks={})
    assert lazy.ssh.chunks[0] == (5, 5, 5, 1, 4) or sum(lazy.ssh.chunks[0]) == rows.rows
    xr.testing.assert_identical(lazy.compute(), expected)
    assert pickle.loads(pickle.dumps(rows)) == rows
    sums = collection.map(lambda part: float(part.ssh[:, 0].sum()), rows=rows)
    assert sum(sums.values()) == float(expected.ssh[:, 0].sum())
    with pytest.raises(pt.InvalidArgument, match="rows="):
        collection.read(rows=[1, 2])


def test_only_the_rows_found_are_updated(collection):
    index = collection.build_index("cycle", "cycle.parquet", attach=True)
    whole = collection.read()
    seen = []

    def mirrored(part: xr.Dataset) -> dict:
        seen.append(part.sizes["time"])
        assert set(np.unique(part.cycle)) <= {1, 4}
        return {"ssh": part.ssh * 100}

    rows = index.query("cycle == 1 or cycle == 4")
    written = collection.update(mirrored, rows=rows)
    assert sorted(seen) == sorted(sum(s.stop - s.start for s in runs) for _, runs in rows.slices)
    assert [p.path for p in written] == [p.path for p in rows.partitions]
    factor = xr.where(whole.cycle.isin([1, 4]), 100, 1)
    np.testing.assert_array_equal(collection.read().ssh, whole.ssh * factor)
    # By now, the rows are those of an earlier commit.
    with pytest.raises(pt.CommitConflict, match="choose them again"):
        collection.update(mirrored, rows=rows)
    with pytest.raises(pt.CommitConflict, match="choose them again"):
        collection.read(rows=rows)

    def failing(part: xr.Dataset) -> dict:
        raise RuntimeError("no")

    before = collection.history()[0].number
    with pytest.raises(RuntimeError, match="no"):
        collection.update(failing, rows=index.query("cycle == 1"))
    with pytest.raises(pt.SchemaMismatch, match="number of rows"):
        collection.update(lambda part: {"ssh": whole.ssh}, rows=index.query("cycle == 1"))
    with pytest.raises(pt.InvalidArgument, match="neighbours"):
        collection.update(mirrored, rows=index.query("cycle == 1"), depth=1)
    assert collection.history()[0].number == before


def test_rows_of_its_base_are_those_of_a_view(collection, tmp_path):
    index = collection.build_index("cycle", "cycle.parquet")
    flag = pt.Variable("flag", ("time",), "i4", fill_value=0)
    view = pt.create_view(tmp_path / "view", collection, [flag])
    rows = index.query("cycle in (1, 3)")
    ones = lambda part: {"flag": np.ones(part.sizes["time"], "i4")}  # noqa: E731
    written = view.update(ones, rows=rows)
    assert written == rows.partitions
    read = view.read()
    np.testing.assert_array_equal(read.flag == 1, np.isin(read.cycle, [1, 3]))
    some = view.read(rows=rows, variables=["flag", "ssh"])
    assert some.flag.sum() == rows.rows == some.sizes["time"]
    xr.testing.assert_identical(view.read(rows=rows, chunks={}).compute(), view.read(rows=rows))
    collection.update(lambda part: {"ssh": part.ssh + 1}, rows=rows)
    with pytest.raises(pt.CommitConflict, match="choose them again"):
        view.read(rows=rows)


def test_updates_on_workers(collection):
    index = collection.build_index("cycle", "cycle.parquet")
    whole = collection.read()
    rows = index.query("cycle == 2")
    collection.update(lambda part: {"ssh": part.ssh + 1}, rows=rows, client=True)
    np.testing.assert_array_equal(collection.read().ssh, whole.ssh + (whole.cycle == 2))
    sums = collection.map(
        lambda part: part.sizes["time"], rows=index.query("cycle == 2"), client=True
    )
    assert list(sums.values()) == [4, 6]


def test_an_attached_index_stays_true(collection):
    index = collection.build_index(["cycle"], "cycle.parquet", attach=True)

    def is_true() -> bool:
        fresh = collection.build_index(["cycle"], "fresh.parquet", overwrite=True)
        stored = pt.open_index("cycle.parquet", collection)
        assert stored.commit is not None
        return index.to_arrow().equals(fresh.to_arrow()) and stored.to_arrow().equals(
            fresh.to_arrow()
        )

    collection.insert(orbits(HOURS[10:40], shift=3), merge="upsert")
    assert is_true()
    collection.insert(orbits(HOURS[-5:] + np.timedelta64(9, "D")))
    assert is_true()
    collection.drop_partitions("day == 31")
    assert is_true()
    collection.update(lambda part: {"cycle": part.cycle + 1})
    assert is_true()
    assert index.refresh() == 0
    assert index.refresh(all=True) == len(collection.partitions)
    assert is_true()


def test_an_index_that_is_gone_leaves_the_commit(collection, tmp_path):
    index = collection.build_index("cycle", tmp_path / "cycle.parquet", attach=True)
    (tmp_path / "cycle.parquet").unlink()
    with pytest.warns(UserWarning, match="behind"):
        collection.drop_partitions("day == 31")
    assert len(collection.partitions) == 2
    assert index.query("day == 31").rows == 0


def passes(part: xr.Dataset) -> pd.DataFrame:
    number = part["pass"].values
    starts = np.r_[0, np.flatnonzero(np.diff(number)) + 1]
    return pd.DataFrame(
        {"number": number[starts], "start": starts, "stop": np.r_[starts[1:], number.size]}
    )


def forms() -> dict[str, object]:
    def structured(part: xr.Dataset):
        return passes(part).astype({"start": "i8", "stop": "i8"}).to_records(index=False)

    return {
        "frame": passes,
        "arrow": lambda part: pa.Table.from_pandas(passes(part)),
        "arrays": lambda part: {name: column.values for name, column in passes(part).items()},
        "structured": structured,
        "underscores": lambda part: passes(part).rename(
            columns={"start": "_start", "stop": "_stop"}
        ),
    }


@pytest.mark.parametrize("form", list(forms()))
def test_an_index_of_a_function(collection, form):
    index = collection.build_index(forms()[form], "passes.parquet", variables=["pass"])
    assert index.variables is None
    expected = collection.read("pass == 1")
    xr.testing.assert_identical(index.read("number == 1"), expected)
    stored = pt.open_index("passes.parquet", collection)
    # Data that the function does not receive may change.
    collection.update(lambda part: {"ssh": part.ssh + 1})
    assert stored.query("number == 1").rows == expected.sizes["time"]
    collection.drop_partitions("day == 31")
    assert stored.query("number == 1").rows == collection.read("pass == 1").sizes["time"]
    collection.insert(orbits(HOURS[30:40]))
    with pytest.raises(pt.StaleIndex, match="function"):
        stored.query("number == 1")
    assert stored.query("number == 1", stale="allow").rows > 0
    assert index.query("number == 1").rows == collection.read("pass == 1").sizes["time"]
    with_function = pt.open_index("passes.parquet", collection, function=forms()[form])
    assert with_function.refresh() == 1
    assert (
        pt.open_index("passes.parquet", collection).query("number == 1").rows
        == collection.read("pass == 1").sizes["time"]
    )


def test_what_a_function_does_wrong(collection):
    def failing(part: xr.Dataset):
        raise KeyError("mine")

    for function, error, text in [
        (failing, KeyError, "mine"),
        (lambda part: {"start": [0]}, pt.SchemaMismatch, "lacks a column"),
        (lambda part: {"start": [0], "stop": [1000]}, pt.InvalidArgument, "reaches beyond"),
        (lambda part: 3, pt.InvalidArgument, "cannot be stored"),
    ]:
        with pytest.raises(error, match=text):
            collection.build_index(function, "bad.parquet")
    assert collection.indexes == []
    nothing = collection.build_index(lambda part: None, "empty.parquet")
    assert nothing.query().rows == 0
    with pytest.raises(pt.AlreadyExists):
        collection.build_index("cycle", "empty.parquet")
    with pytest.raises(pt.NotFound):
        pt.open_index("absent.parquet", collection)


def test_files_elsewhere_and_travelling(tmp_path):
    made = pt.create_collection(
        tmp_path / "c", orbits(), axis="time", partition_by=pt.Date("time", "day")
    )
    index = made.build_index("cycle", tmp_path / "deep" / "cycle.parquet")
    assert (tmp_path / "deep" / "cycle.parquet").exists() and made.indexes == []
    again = pickle.loads(pickle.dumps(index))
    assert again.query("cycle == 1") == index.query("cycle == 1")
    beside = made.build_index("cycle", "cycle.parquet")
    assert [p.path for p in made.partitions] == [
        f"year=2022/month={m}/day={d}" for m, d in [("01", 30), ("01", 31), ("02", "01")]
    ]
    assert made.verify(data=True) == []
    made.collect_garbage(grace=pd.Timedelta(0).to_pytimedelta())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert beside.refresh() == 0
    reader = pt.open_collection(tmp_path / "c", read_only=True)
    assert pt.open_index("cycle.parquet", reader).query("cycle == 1").rows == 10
    with pytest.raises(pt.ReadOnly):
        reader.build_index("cycle", "other.parquet")


def test_partitions_by_sequence(memory):
    ds = xr.Dataset(
        {"cycle": ("n", [1, 1, 2, 2, 2]), "pass": ("n", [1, 2, 1, 1, 3]), "v": ("n", np.arange(5))}
    )
    made = pt.create_collection(
        f"{memory}/sequence", ds, axis="cycle", partition_by=pt.Sequence(["cycle"])
    )
    index = made.build_index(["cycle", "pass"], "pass.parquet")
    assert index.to_arrow().column_names == ["start", "stop", "pass", "cycle"]
    assert index.read("cycle == 2 and pass == 1").v.values.tolist() == [2, 3]


def test_groups_of_a_sequence_are_found_by_their_values(memory):
    ds = xr.Dataset({"cycle": ("n", [1, 1, 2, 12, 13]), "v": ("n", np.arange(5))})
    made = pt.create_collection(
        f"{memory}/grouped",
        ds,
        axis="cycle",
        partition_by=pt.GroupedSequence(["cycle"], size=10),
        zarr_format=3,
    )
    index = made.build_index("cycle", "cycle.parquet")
    assert index.read("cycle in (2, 13)").v.values.tolist() == [2, 4]


def test_the_command(tmp_path):
    made = pt.create_collection(
        tmp_path / "c", orbits(), axis="time", partition_by=pt.Date("time", "day")
    )

    def answer(*arguments: str, code: int = 0) -> dict:
        done = subprocess.run(
            [sys.executable, "-m", "partita", "index", *arguments, "--json"],
            capture_output=True,
            text=True,
        )
        assert done.returncode == code, done.stderr
        return json.loads(done.stdout or done.stderr)

    built = answer("build", made.url, "cycle", "pass")
    assert built["url"].endswith("cycle-pass.parquet") and built["commit"] == 1
    answer("build", made.url, "cycle", "--name", "mine.parquet")
    assert answer("list", made.url)["index"] == ["cycle-pass.parquet", "mine.parquet"]
    assert pt.open_index("mine.parquet", made).query("cycle == 1").rows == 10
    assert answer("drop", made.url, "mine.parquet")["index"] == made.indexes
    answer("drop", made.url, "mine.parquet", code=3)
    answer("build", made.url, "ssh", code=1)


def test_indexes_go_along_with_copies(collection, tmp_path):
    ix = collection.build_index("cycle", "cycle.parquet")
    elsewhere = tmp_path / "passes.parquet"
    days = collection.build_index(passes, elsewhere)
    new = pt.migrate(
        collection.url,
        tmp_path / "new",
        zarr_format=5 - collection.zarr_format,
        indexes={elsewhere: tmp_path / "new-passes.parquet"},
    )
    assert new.indexes == ["cycle.parquet"]
    moved = pt.open_index("cycle.parquet", new)
    assert moved.query("cycle == 3").slices == ix.query("cycle == 3").slices
    assert ("_partition" in moved.to_pandas()) == (new.zarr_format == 3)
    assert moved.read("cycle == 3").identical(ix.read("cycle == 3"))
    found = pt.open_index(tmp_path / "new-passes.parquet", new)
    assert found.query().slices == days.query().slices

    part = collection.copy(tmp_path / "part", where="day == 31")
    assert len(pt.open_index("cycle.parquet", part).query().partitions) == 1

    collection.insert(orbits(HOURS[:5], shift=100), merge="upsert")
    with pytest.raises(pt.StaleIndex):
        pt.open_index(elsewhere, collection).copy(tmp_path / "behind.parquet", new)
    with pytest.raises(pt.AlreadyExists):
        ix.copy("cycle.parquet", new)
