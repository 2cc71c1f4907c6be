"""Merges of a collection follow the definitions of `partita.merge`, row by row, for any rows."""

from __future__ import annotations

import datetime as dt
import itertools
import shutil
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import partita as pt
from partita import merge

NUMBERS = itertools.count()

Row = tuple[int, int | None, int]
"""Which partition, where on the axis, and which row it is."""


def expected(strategy: merge.Strategy, steps: int | None, old: list[Row], new: list[Row]) -> Any:
    """The definitions of the merges, for the rows of one partition; `steps` is the tolerance."""
    if strategy.name == "replace":
        return new
    if strategy.name == "concat":
        return old + new
    moments = sorted(at for _, at, _ in new if at is not None)
    if strategy.name == "upsert":
        near = steps or 0

        def is_replaced(at: int) -> bool:
            return any(abs(at - moment) <= near for moment in moments)
    else:

        def is_replaced(at: int) -> bool:
            return at in moments or any(
                first <= at <= second and (steps is None or second - first <= steps)
                for first, second in itertools.pairwise(moments)
            )

    kept = [row for row in old if row[1] is None or not is_replaced(row[1])]
    # Rows without a value on the axis stay behind all others.
    return sorted(kept + new, key=lambda row: (row[1] is None, row[1] or 0))


def dataset(rows: list[Row], dtype: str) -> dict[str, Any]:
    """The rows, in chunks of five; a second variable has another dimension as well."""
    keys, moments, numbers = zip(*rows, strict=True) if rows else ((), (), ())
    nat = np.iinfo("i8").min
    axis = np.array([nat if at is None else at for at in moments], "i8").astype(dtype)
    numbers = np.array(numbers, "i8")
    return {
        "t": ("t", axis),
        "p": ("t", np.array(keys, "i4")),
        "v": ("t", numbers),
        "w": (("t", "x"), np.stack([numbers, -numbers], axis=1).astype("f4")),
    }


def stored(collection: pt.Collection) -> list[Row]:
    """All rows, partition by partition."""
    ds = collection.read()
    # Zarr v2 cannot store the size of a dimension before there are rows.
    if ds.sizes["t"]:
        np.testing.assert_array_equal(ds.w.values.T, [ds.v.values, -ds.v.values])
    axis = ds.t.values
    is_time = axis.dtype.kind in "mM"
    moments = [
        None if is_time and np.isnat(at) else int(count)
        for at, count in zip(axis, axis.astype("i8"), strict=True)
    ]
    return list(zip(ds.p.values.tolist(), moments, ds.v.values.tolist(), strict=True))


@st.composite
def inserts(draw: st.DrawFn, dtype: str) -> list[tuple[list[Row], merge.Strategy, int | None]]:
    """Inserts with rows that overlap, are unordered, equal, missing, far apart, or empty."""
    moments = st.integers(0, 25) | st.sampled_from([0, 60, 100])
    if dtype[1] in "mM":
        moments |= st.none()
    if dtype[1] != "u":
        moments |= st.integers(-5, -1)
    runs = st.builds(lambda first, count: [(0, first + n) for n in range(count)],
                     st.integers(0, 20), st.integers(0, 12))  # fmt: skip
    scattered = st.lists(st.tuples(st.integers(-1, 1), moments), max_size=14)
    numbers = itertools.count()
    found = []
    for _ in range(draw(st.integers(1, 4))):
        rows = [(key, at, next(numbers)) for key, at in draw(runs | scattered)]
        steps = draw(st.none() | st.integers(0, 6))
        name = draw(st.sampled_from(["replace", "concat", "time_series", "upsert"]))
        tolerance = draw(tolerances(steps, dtype)) if name in ("time_series", "upsert") else None
        if tolerance is None:
            steps = None
        found.append((rows, merge.Strategy(name, tolerance), steps))
    return found


def tolerances(steps: int | None, dtype: str) -> st.SearchStrategy[Any]:
    """The ways to specify a tolerance of a number of steps of the axis."""
    if steps is None:
        return st.none()
    if dtype[1] in "iu":
        return st.just(steps)
    return st.sampled_from(
        [
            steps,
            dt.timedelta(milliseconds=steps),
            np.timedelta64(steps, "ms"),
            np.timedelta64(steps * 1000, "us"),
            np.timedelta64(steps * 10**6, "ns"),
        ]
    )


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("dtype", ["<M8[ms]", "<m8[ms]", "<i4", "<u1", "<i8"])
@settings(max_examples=60, deadline=None)
@given(st.data())
def test_every_strategy(zarr_format, dtype, data):
    steps = data.draw(inserts(dtype))
    collection = pt.create_collection(
        f"memory://merges-{next(NUMBERS)}",
        dataset([], dtype),
        axis="t",
        partition_by=pt.Sequence(["p"]),
        zarr_format=zarr_format,
        chunks={"t": 5},
        insert=False,
    )
    model: dict[int, list[Row]] = {}
    for rows, strategy, tolerance in steps:
        touched = collection.insert(dataset(rows, dtype), merge=strategy)
        for key in {row[0] for row in rows}:
            new = [row for row in rows if row[0] == key]
            model[key] = expected(strategy, tolerance, model.get(key, []), new)
        assert [partition.key["p"] for partition in touched] == sorted({row[0] for row in rows})
        assert stored(collection) == [row for key in sorted(model) for row in model[key]]
    assert collection.verify(data=True) == []


@pytest.mark.parametrize("zarr_format", [2, 3])
@settings(max_examples=40, deadline=None)
@given(
    old=st.lists(st.integers(0, 80), max_size=30),
    new=st.lists(st.integers(0, 80), max_size=30),
    name=st.sampled_from(["time_series", "upsert", "concat", "replace"]),
    steps=st.none() | st.integers(0, 8),
)
def test_dates(zarr_format, old, new, name, steps):
    """Each day is merged separately: no period extends from one to the next."""

    def rows(hours: list[int], first: int) -> list[Row]:
        return [(hour // 24, hour, first + number) for number, hour in enumerate(hours)]

    def hourly(given: list[Row]) -> dict[str, Any]:
        arrays = dataset(given, "<i8")
        return {**arrays, "t": ("t", arrays["t"][1].astype("M8[h]").astype("M8[us]"))}

    before, after = rows(old, 0), rows(new, 1000)
    if name in ("concat", "replace"):
        steps = None
    collection = pt.create_collection(
        f"memory://merges-{next(NUMBERS)}",
        hourly(before),
        axis="t",
        partition_by=pt.Date("t", "day"),
        zarr_format=zarr_format,
        chunks={"t": 5},
    )
    tolerance = None if steps is None else dt.timedelta(hours=steps)
    collection.insert(hourly(after), merge=merge.Strategy(name, tolerance))
    wanted: list[Row] = []
    for day in range(4):
        own = [[row for row in side if row[0] == day] for side in (before, after)]
        wanted += expected(merge.Strategy(name), steps, *own) if own[1] else own[0]
    ds = collection.read()
    assert ds.v.values.tolist() == [row[2] for row in wanted]
    assert ds.t.values.astype("M8[h]").astype(int).tolist() == [row[1] for row in wanted]
    assert collection.verify(data=True) == []


LITTLE = {"name": "bytes", "configuration": {"endian": "little"}}
ENCODINGS: dict[int, list[dict[str, Any]]] = {
    2: [{}, {"order": "F"}, {"filters": [{"id": "delta", "dtype": "<f4"}]}, {"compressor": None}],
    3: [{}, {"serializer": LITTLE, "shard_bytes": 100}, {"compressors": None}],
}


@pytest.mark.parametrize("zarr_format", [2, 3])
@settings(max_examples=60, deadline=None)
@given(st.data())
def test_every_form_of_a_variable(zarr_format, data):
    """Texts, several chunks, shards, codecs, and variables with transposed dimensions."""
    encoding = data.draw(st.sampled_from(ENCODINGS[zarr_format]))
    width = data.draw(st.integers(1, 3))
    across = data.draw(st.booleans())

    def forms(rows: list[Row]) -> dict[str, Any]:
        arrays = dataset(rows, "<i8")
        numbers = arrays["v"][1]
        wide = np.stack([numbers, numbers + 1, numbers + 2], axis=1).astype("f4")
        arrays["s"] = ("t", np.array([f"row {number}" for number in numbers], object))
        arrays["f"] = (("t", "y"), wide, {}, encoding)
        if across:
            arrays["a"] = (("y", "t"), wide.T)
        return arrays

    collection = pt.create_collection(
        f"memory://merges-{next(NUMBERS)}",
        forms([(0, 0, 0)]),
        axis="t",
        partition_by=pt.Sequence(["p"]),
        zarr_format=zarr_format,
        chunks={"t": 5, "y": width},
        insert=False,
    )
    model: dict[int, list[Row]] = {}
    for rows, strategy, tolerance in data.draw(inserts("<i8")):
        if not rows:
            continue
        collection.insert(forms(rows), merge=strategy)
        for key in {row[0] for row in rows}:
            new = [row for row in rows if row[0] == key]
            model[key] = expected(strategy, tolerance, model.get(key, []), new)
        assert stored(collection) == [row for key in sorted(model) for row in model[key]]
        ds = collection.read()
        wide = np.add.outer(ds.v.values, np.arange(3))
        np.testing.assert_array_equal(ds.f.values, wide)
        assert ds.s.values.tolist() == [f"row {number}" for number in ds.v.values]
        if across:
            np.testing.assert_array_equal(ds.a.values, wide.T)
    assert collection.verify(data=True) == []


def test_old_rows_of_a_variable_that_is_new_are_filled(tmp_path):
    """In Zarr v3 a partition may lack an array."""
    old, new = [(0, at, at) for at in range(0, 24, 2)], [(0, at, at) for at in range(5, 17, 2)]
    collection = pt.create_collection(
        str(tmp_path / "c"),
        dataset(old, "<i8"),
        axis="t",
        partition_by=pt.Sequence(["p"]),
        zarr_format=3,
        chunks={"t": 5},
    )
    (document,) = tmp_path.glob("c/p=*/v/zarr.json")
    shutil.rmtree(document.parent)
    collection.insert(dataset(new, "<i8"), merge="upsert")
    ds = collection.read()
    assert ds.t.values.tolist() == sorted(at for _, at, _ in old + new)
    assert ds.v.values.tolist() == [at if at % 2 else 0 for at in ds.t.values]


MERGE = """
import os, re, sys
from pathlib import Path

# More cores work on more chunks.
os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
import numpy as np
import partita as pt

def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])

collection = pt.open_collection(sys.argv[1])
first = {"t": ("t", np.array([int(sys.argv[2])])), "p": ("t", np.array([0], "i4")),
         "v": (("t", "x"), np.zeros((1, 2000), "f4"))}
before = peak()
collection.insert(first, merge="time_series")
print(peak() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the peak of one program")
def test_a_merge_takes_the_memory_of_some_chunks(tmp_path):
    rows = 15_000
    values = np.random.default_rng(1).random((rows, 2000), "f4")
    data = {
        "t": ("t", np.arange(rows)),
        "p": ("t", np.zeros(rows, "i4")),
        "v": (("t", "x"), values),
    }
    url = str(tmp_path / "c")
    collection = pt.create_collection(
        url, data, axis="t", partition_by=pt.Sequence(["p"]), chunks={"t": 125}
    )

    def grown(first: int) -> int:
        program = [sys.executable, "-c", MERGE, url, str(first)]
        ran = subprocess.run(program, check=True, capture_output=True, text=True)
        return int(ran.stdout) << 10

    # Every row moves by one. What threads hold at the same time depends on what else the machine
    # does, so one of three merges has to keep within the bound.
    assert any(0 < grown(first) < 60_000_000 < values.nbytes for first in (-1, -2, -3))
    found = collection.refresh().read(variables=["v"])
    np.testing.assert_array_equal(found.v.values[-rows:], values)
