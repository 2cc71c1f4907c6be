"""Values of every type, on every way into a table and out of it: stored exactly, or refused by
name."""

from __future__ import annotations

import datetime as dt
import decimal
import itertools
import math
import pickle
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import partita as pt
from plateau_lake import Lake

_number = itertools.count()
D = decimal.Decimal
UTC = dt.timezone.utc
BIG = 2**53 + 1
UNITS = ("s", "ms", "us", "ns")


def url() -> str:
    return f"memory://values{next(_number)}/t"


# Values that reveal truncation, rounding, reordering or confusion with missing values. The types
# are those of the given columns.
TYPES: dict[str, tuple[pa.DataType, list[object]]] = {
    "bool": (pa.bool_(), [True, None, False]),
    "int8": (pa.int8(), [-128, None, 127]),
    "int16": (pa.int16(), [-(2**15), None, 2**15 - 1]),
    "int32": (pa.int32(), [-(2**31), None, 2**31 - 1]),
    "int64": (pa.int64(), [-(2**63), BIG, None]),
    "uint8": (pa.uint8(), [0, None, 255]),
    "uint32": (pa.uint32(), [0, None, 2**32 - 1]),
    "uint64": (pa.uint64(), [2**64 - 1, 0, None]),
    "float16": (pa.float16(), [np.float16(0.1), None, np.float16(-65504)]),
    "float32": (pa.float32(), [0.5, None, -1.5]),
    "float64": (pa.float64(), [0.1, math.inf, None, 5e-324]),
    "decimal": (pa.decimal128(38, 9), [D("12345678901234567890123456789.123456789"), None]),
    "text": (pa.string(), ["", None, "ø\U0001f600\x00"]),
    "decimal256": (pa.decimal256(60, 5), [D(10) ** 54, None, D("-0.00001")]),
    "large_text": (pa.large_string(), ["a", None, ""]),
    "text_view": (pa.string_view(), ["a view that is longer than twelve bytes", None, ""]),
    "bytes": (pa.binary(), [b"\x00\xff", None, b""]),
    "large_bytes": (pa.large_binary(), [b"\x00\xff", None, b""]),
    "fixed_bytes": (pa.binary(2), [b"\x00\xff", None]),
    "date": (pa.date32(), [dt.date(1, 1, 1), None, dt.date(9999, 12, 31)]),
    "date64": (pa.date64(), [dt.date(1900, 1, 1), None]),
    "time_ns": (pa.time64("ns"), [dt.time(1, 2, 3, 4), None]),
    "time": (pa.time64("us"), [dt.time(1, 2, 3, 4), None]),
    "time_s": (pa.time32("s"), [dt.time(1, 2, 3), None]),
    "naive": (pa.timestamp("us"), [dt.datetime(1970, 1, 1, 0, 0, 0, 1), None]),
    "naive_far": (pa.timestamp("us"), [dt.datetime(9999, 12, 31), None, dt.datetime(1, 1, 1)]),
    "naive_ms": (pa.timestamp("ms"), [dt.datetime(9999, 12, 31), None]),
    "naive_s": (pa.timestamp("s"), [dt.datetime(1, 1, 1), None]),
    "naive_ns": (pa.timestamp("ns"), [dt.datetime(2262, 4, 11), None]),
    "zoned": (pa.timestamp("us", "Europe/Oslo"), [dt.datetime(9999, 12, 30, tzinfo=UTC), None]),
    "zoned_ns": (pa.timestamp("ns", "UTC"), [pd.Timestamp(1001, tz="UTC"), None]),
    "zoned_ms": (pa.timestamp("ms", "UTC"), [dt.datetime(2020, 1, 1, tzinfo=UTC), None]),
    "duration": (pa.duration("us"), [dt.timedelta(microseconds=-1), None]),
    "category": (pa.dictionary(pa.int8(), pa.string()), ["b", None, "a"]),
    "category_int": (pa.dictionary(pa.int8(), pa.int64()), [BIG, None, -1]),
    "category_bool": (pa.dictionary(pa.int8(), pa.bool_()), [True, None, False]),
    "category_order": (pa.dictionary(pa.int8(), pa.string(), True), ["low", "high", None]),
    "large_category": (pa.dictionary(pa.int32(), pa.large_string()), ["b", None, "a"]),
    "list_int16": (pa.list_(pa.int16()), [[1, None], None, []]),
    "large_list": (pa.large_list(pa.float32()), [[0.5, None], None, []]),
    "list_strict": (pa.list_(pa.field("x", pa.int32(), nullable=False)), [[1], None, []]),
    "list": (pa.list_(pa.int64()), [[BIG, None], None, []]),
    "list_text": (pa.list_(pa.string()), [["", None], None, []]),
    "fixed_list": (pa.list_(pa.int64(), 2), [[1, BIG], None]),
    "struct": (
        pa.struct([("a", pa.int32()), ("b", pa.string())]),
        [{"a": 1, "b": None}, None, {"a": None, "b": ""}],
    ),
    "map": (pa.map_(pa.string(), pa.int64()), [[("a", BIG)], None, []]),
    "map_text": (pa.map_(pa.string(), pa.string()), [[("a", "b")], None, []]),
    "structs": (
        pa.list_(pa.struct([("d", pa.decimal128(5, 2)), ("t", pa.timestamp("us", "UTC"))])),
        [[{"d": D("1.10"), "t": dt.datetime(2020, 1, 1, tzinfo=UTC)}, None], [], None],
    ),
    "null": (pa.null(), [None, None]),
}  # fmt: skip


def column(name: str) -> pa.Table:
    kind, values = TYPES[name]
    if pa.types.is_dictionary(kind):
        array = pa.array(values, kind.value_type).dictionary_encode().cast(kind)
    else:
        array = pa.array(values, kind)
    return pa.table({"id": pa.array(range(len(values))), "c": array})


def read(table: pt.Table, where: object = None) -> list[object]:
    rows = table.scan(where=where).to_arrow()
    pairs = zip(rows["id"].to_pylist(), rows["c"].to_pylist(), strict=True)
    return [plain(value) for _, value in sorted(pairs, key=lambda pair: pair[0])]


def plain(value: object) -> object:
    """The value in a plain class, without the class that nanoseconds or a zone give it."""
    if isinstance(value, pd.Timestamp):
        if value.nanosecond:
            return value.value
        value = value.to_pydatetime(warn=False)
    if isinstance(value, pd.Timedelta):
        value = value.to_pytimedelta()
    if isinstance(value, dt.datetime) and value.tzinfo is not None:
        try:
            return value.astimezone(UTC)
        except OverflowError:
            return value.replace(tzinfo=None) - value.utcoffset()
    if isinstance(value, list):
        return [plain(one) for one in value]
    if isinstance(value, dict):
        return {name: plain(one) for name, one in value.items()}
    return value


def returned(kind: pa.DataType) -> pa.DataType:
    """The type in which a column comes back: the given one, but that the files of a column may
    together hold more categories than a narrow index counts."""
    if pa.types.is_dictionary(kind) and not pa.types.is_boolean(kind.value_type):
        return pa.dictionary(pa.int32(), kind.value_type, kind.ordered)
    return kind.value_type if pa.types.is_dictionary(kind) else kind


@pytest.mark.parametrize("name", TYPES)
def test_what_is_written_is_read(name: str) -> None:
    rows = column(name)
    kind, values = TYPES[name]
    wanted = [plain(value) for value in values]
    table = pt.create_table(url(), rows)
    assert read(table) == wanted
    assert table.schema.field("c").type == returned(kind)
    assert table.scan().to_arrow().schema.field("c").type == returned(kind)
    assert pt.open_table(table.url).schema.field("c").type == returned(kind)
    # In pieces that share a file, and in row groups of one row.
    pieces = (rows.slice(place, 1) for place in range(len(rows)))
    assert read(pt.create_table(url(), pieces)) == wanted
    assert read(pt.create_table(url(), rows, row_group_rows=1)) == wanted
    table.append(rows)
    table.optimize()
    assert table.count() == 2 * len(rows)
    assert table.scan().to_arrow().schema.field("c").type == returned(kind)
    assert [one.kind for one in table.verify(data=True)] == []


@pytest.mark.parametrize("widened", [False, True])
def test_given_types_outlive_the_newest_snapshot(tmp_path: Path, widened: bool) -> None:
    def rows(first: int) -> pa.Table:
        return pa.table(
            {
                "id": pa.array([first, None], pa.int8()),
                "at": pa.array([dt.datetime(9999, 1, 1), None], pa.timestamp("s")),
                "c": pa.array(["b", "a"]).dictionary_encode(),
                "half": pa.array([np.float16(0.1), None], pa.float16()),
            }
        )

    table = pt.create_table(tmp_path / "t", rows(1))
    table.append(rows(2))
    made = table.schema
    if widened:
        table.widen_column("id", "int32")
    else:
        table.append(rows(3))
    wanted = table.scan().to_arrow()
    (newest,) = (tmp_path / "t" / "_partita" / "snapshots").glob("000000000003-*")
    newest.unlink()
    if widened:
        # No other snapshot has this schema: plateau's types hold the values that are within reach.
        found = pt.open_table(tmp_path / "t").scan(columns=["id", "half"]).to_arrow()
        assert found["id"].to_pylist() == wanted["id"].to_pylist()
        return
    found = pt.open_table(tmp_path / "t")
    assert found.schema == made
    assert found.scan().to_arrow() == wanted
    (problem,) = (p for p in found.verify(repair=True) if p.kind == "history")
    assert problem.repaired
    assert newest.exists()
    found = pt.open_table(tmp_path / "t")
    assert (found.schema, found.verify(data=True)) == (made, [])
    found.append(rows(4))
    assert found.scan().to_arrow().schema == wanted.schema


def test_nullability_and_metadata_are_kept() -> None:
    fields = [
        pa.field("a", pa.int32(), nullable=False, metadata={"unit": "m"}),
        pa.field(
            "b", pa.list_(pa.field("x", pa.int64(), metadata={"deep": "1"})), metadata={"k": ""}
        ),
    ]
    rows = pa.table({"a": [1], "b": [[2]]}, pa.schema(fields))
    table = pt.create_table(url(), rows)
    for found in (table.schema, table.scan().to_arrow().schema, pt.open_table(table.url).schema):
        for field in fields:
            assert found.field(field.name).equals(field, check_metadata=True)
    with pytest.raises(pt.SchemaMismatch, match="no nulls.*row: 1"):
        table.append(pa.table({"a": pa.array([1, None], pa.int32()), "b": [[1], [2]]}))
    assert table.count() == 1


@pytest.mark.parametrize("form", ["append", "pieces", "dask"])
def test_categories_keep_their_order(form: str) -> None:
    levels = pd.CategoricalDtype(["low", "middle", "high", "unused"], ordered=True)
    frame = pd.DataFrame({"c": pd.Categorical(["high", "low", None, "middle"], dtype=levels)})
    frame["id"] = range(4)
    table = pt.create_table(url(), frame if form != "pieces" else iter([frame[:1], frame[1:]]))
    if form == "append":
        table.append(frame.iloc[::-1])
        table.append(pd.DataFrame({"c": ["low"], "id": [9]}))
        table.optimize()
    found = table.read(columns=["c"]) if form != "dask" else table.to_dask().compute()
    assert found["c"].dtype == levels
    assert found["c"].min() == "low" and found["c"].max() == "high"
    with pytest.raises(pt.SchemaMismatch, match="ordered categories.*lowest"):
        table.append(pd.DataFrame({"c": ["low", "lowest"], "id": [10, 11]}))


LEVELS = pl.Enum(["low", "middle", "high"])


def levels(*values: str | None) -> pl.DataFrame:
    return pl.DataFrame({"c": pl.Series(values, dtype=LEVELS), "id": range(len(values))})


@pytest.mark.parametrize("made", ["no rows", "nulls", "added", "merged"])
def test_the_first_values_give_a_column_its_order(made: str) -> None:
    frame = levels("high", "low")
    schema = pa.schema([("c", pa.dictionary(pa.int8(), pa.string(), True)), ("id", pa.int64())])
    if made in ("added", "merged"):
        table = pt.create_table(url(), frame.select("id"))
        if made == "added":
            table.add_columns(pa.schema([schema.field("c")]))
    else:
        table = pt.create_table(url(), frame.clear() if made == "no rows" else levels(None))
    table.append(frame, schema_mode="merge" if made == "merged" else None)
    table.append({"c": ["middle"], "id": [9]})
    assert pd.CategoricalDtype(LEVELS.categories.to_list(), ordered=True) == table.read()["c"].dtype
    if made != "added":
        # The metadata of the field say that it is an Enum.
        assert table.to_polars()["c"].dtype == LEVELS
    with pytest.raises(pt.SchemaMismatch, match="ordered categories.*lowest"):
        table.append({"c": ["lowest"], "id": [10]})


@pytest.mark.parametrize("first", ["ordered", "text"])
def test_values_beside_the_order_end_it(first: str) -> None:
    frame = levels("high", "low")
    if first == "ordered":
        table = pt.create_table(url(), frame)
        table.append({"c": ["lowest"], "id": [2]}, schema_mode="merge")
        wanted = ["high", "low", "lowest"]
    else:
        table = pt.create_table(url(), frame.clear().to_pandas())
        table.append({"c": ["lowest"], "id": [2]})
        table.append(frame)
        wanted = ["lowest", "high", "low"]
    found = table.read()["c"]
    assert found.tolist() == wanted
    assert found.dtype == pd.CategoricalDtype(wanted, ordered=False)


def test_narrow_columns_take_what_fits() -> None:
    table = pt.create_table(
        url(), pa.table({"i": pa.array([1], pa.int8()), "x": pa.array([0.1], pa.float32())})
    )
    table.append(pa.table({"i": pa.array([127], pa.int64()), "x": pa.array([0.5], pa.float64())}))
    for wrong in ({"i": [128], "x": [0.5]}, {"i": [1], "x": [0.1]}, {"i": [2**40], "x": [1.0]}):
        with pytest.raises(pt.SchemaMismatch, match="row: 0"):
            table.append(pa.table(wrong))
    table.append(pa.table({"i": [128], "x": [0.1]}), schema_mode="merge")
    assert table.schema.types == [pa.int64(), pa.float64()]
    assert table.at(2).schema.types == [pa.int8(), pa.float32()]
    assert table.scan(where="i == 128").to_arrow()["x"].to_pylist() == [0.1]
    narrow = pt.create_table(url(), pa.table({"i": pa.array([1], pa.int8())}))
    narrow.widen_column("i", pa.int16())
    assert narrow.schema.field("i").type == pa.int16()
    with pytest.raises(pt.SchemaMismatch, match="wider"):
        narrow.widen_column("i", pa.int8())


def test_literals_are_rounded_to_narrow_floats() -> None:
    values = [0.1, 0.2, 0.30000001192092896]
    rows = pa.table(
        {"x": pa.array(values, pa.float32()), "h": pa.array(map(np.float16, values), pa.float16())}
    )
    for made in ({}, {"index": ["x"]}, {"bloom_filters": ["x"]}, {"row_group_rows": 1}):
        table = pt.create_table(url(), rows, **made)
        for where, count in (
            ("x == 0.1", 1), ("x in [0.1, 0.2]", 2), ("x != 0.1", 2), ("x <= 0.1", 1),
            ("x < 0.1", 0), ("x > 0.1", 2), ("h == 0.1", 1), ("x == 0.3", 1),
            ("x < 1e300", 3), ("h < 1e300", 3),
        ):  # fmt: skip
            assert table.count(where) == count, (where, made)


LISTS = {
    "list": pa.list_(pa.string()),
    "large": pa.large_list(pa.large_string()),
    "view": pa.list_(pa.string_view()),
    "fixed": pa.list_(pa.string(), 2),
}


@pytest.mark.parametrize("kind", LISTS)
def test_conditions_on_the_items_of_lists(kind: str) -> None:
    values = [["a", "b"], None, ["b", None], ["c", "c"]]
    rows = pa.table({"id": range(4), "tags": pa.array(values, LISTS[kind])})
    for made in ({}, {"row_group_rows": 1}):
        table = pt.create_table(url(), rows, **made)
        for where, found in {
            "'b' in tags": [0, 2],
            "'b' not in tags": [3],
            "not 'b' in tags": [3],
            "'x' in tags": [],
            "'b' in tags and id > 0": [2],
        }.items():
            assert table.scan(where=where).to_arrow()["id"].to_pylist() == found, where
            assert str(pt.Expr.parse(str(pt.Expr.parse(where)))) == str(pt.Expr.parse(where))
        assert table.count(pt.col("tags").contains("c")) == 1
    floats = pt.create_table(
        url(), pa.table({"x": pa.array([[0.1], [0.2]], pa.list_(pa.float32()))})
    )
    assert floats.count("0.1 in x") == 1
    with pytest.raises(pt.InvalidPredicate, match="lists"):
        table.count("1 in id")
    with pytest.raises(pt.InvalidPredicate, match="does not fit"):
        table.count("1 in tags")
    with pytest.raises(pt.InvalidPredicate, match="null"):
        table.count("null in tags")


def test_columns_that_plateau_wrote_wider(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
    rows = {"i": pa.array([1], pa.int8()), "s": ["a"], "k": pa.array(["x"]).dictionary_encode()}
    pt.create_table(lake.url("t"), pa.table(rows))
    lake.theirs_update("t", pd.DataFrame({"i": [1000], "s": ["b"], "k": ["y"]}))
    table = lake.open("t")
    assert sorted(table.scan().to_arrow()["i"].to_pylist()) == [1, 1000]
    assert table.schema.field("i").type == pa.int64()
    assert pa.types.is_dictionary(table.schema.field("k").type)
    table.append(pa.table({"i": [2**40], "s": ["c"], "k": ["z"]}))
    assert lake.open("t").count("i == 1099511627776") == 1


MOMENT = dt.datetime(2020, 1, 1, 0, 0, 0, 123456)
FAR = dt.datetime(9999, 1, 1)
CATEGORY = pa.dictionary(pa.int32(), pa.string())

# The type of a column, a value of it, what plateau writes into it, and the type of both.
WIDER: dict[str, tuple[pa.DataType, object, object, pa.DataType]] = {
    **{f"int{n}": (getattr(pa, f"int{n}")(), 1, 2**40, pa.int64()) for n in (8, 16, 32, 64)},
    **{
        f"uint{n}": (getattr(pa, f"uint{n}")(), 1, np.uint64(2**40), pa.uint64())
        for n in (8, 16, 32, 64)
    },
    "float16": (pa.float16(), np.float16(0.5), 0.1, pa.float64()),
    "float32": (pa.float32(), 0.5, 0.1, pa.float64()),
    **{unit: (pa.timestamp(unit), FAR, MOMENT, pa.timestamp("us")) for unit in UNITS[:3]},
    "ns": (pa.timestamp("ns"), dt.datetime(2000, 1, 1), MOMENT, pa.timestamp("ns")),
    "text": (pa.string(), "a", "b", pa.string()),
    "category": (CATEGORY, "a", "b", CATEGORY),
    "category of int8": (pa.dictionary(pa.int32(), pa.int8()), 1, 2**40, pa.int64()),
    "order": (pa.dictionary(pa.int32(), pa.string(), True), "a", "b", CATEGORY),
    "list of int8": (pa.list_(pa.int8()), [1], [2**40], pa.list_(pa.field("element", pa.int64()))),
    "list of seconds": (pa.list_(pa.timestamp("s")), [FAR], [MOMENT], pa.list_(pa.timestamp("us"))),
    "strict list": (
        pa.list_(pa.field("x", pa.int64(), nullable=False)),
        [1],
        [2**40, None],
        pa.list_(pa.field("x", pa.int64())),
    ),
    "struct": (
        pa.struct([pa.field("x", pa.timestamp("s"), nullable=False)]),
        {"x": FAR},
        {"x": MOMENT},
        pa.struct([("x", pa.timestamp("us"))]),
    ),
}  # fmt: skip


def test_what_plateau_writes_into_typed_columns_is_read(tmp_path: Path) -> None:
    columns = {}
    for name, (kind, ours, _, _) in WIDER.items():
        is_category = pa.types.is_dictionary(kind)
        values = pa.array([ours], kind.value_type if is_category else kind)
        columns[name] = values.dictionary_encode().cast(kind) if is_category else values
    lake = Lake(tmp_path / "lake")
    pt.create_table(lake.url("t"), pa.table(columns))
    theirs = {name: pd.Series([value]) for name, (_, _, value, _) in WIDER.items()}
    lake.theirs_update("t", pd.DataFrame(theirs))
    for _ in range(2):
        table = lake.open("t")
        found = table.scan().to_arrow()
        for name, (_, ours, theirs, both) in WIDER.items():
            values = [plain(value) for value in found[name].to_pylist()]
            assert values in ([ours, theirs], [theirs, ours]), (name, values)
            assert table.schema.field(name).type == both, name
        # The next commit of Partita records the types.
        table.set_metadata({"a": 1})


@pytest.mark.parametrize("name", TYPES)
@pytest.mark.parametrize("form", ["read", "to_arrow", "to_polars", "pyarrow"])
def test_what_is_read_can_be_written_again(name: str, form: str) -> None:
    table = pt.create_table(url(), column(name))
    scan = table.scan()
    if form == "read":
        again: object = table.read()
    elif form == "pyarrow":
        again = table.read(dtype_backend="pyarrow")
    elif form == "to_polars" and name == "decimal256":
        with pytest.raises(pt.InvalidArgument, match="38 digits"):
            scan.to_polars()
        return
    else:
        again = getattr(scan, form)()
    before = read(table)
    table.append(again)
    table.upsert(again, on="id") if table.count() == len(before) else None
    assert read(table) == [value for value in before for _ in range(2)]
    single = pt.create_table(url(), column(name))
    single.upsert(again, on="id")
    assert read(single) == before


KEYED = [
    "bool", "int8", "int64", "uint64", "float64", "text", "date", "naive", "zoned", "decimal",
    "category", "bytes", "time", "fixed_bytes",
]  # fmt: skip

MADE = {
    "plain": {},
    "index": {"index": ["c"]},
    "bloom": {"bloom_filters": ["c"]},
    "groups": {"row_group_rows": 1},
    "partition": {"partition_by": "c"},
}


@pytest.mark.parametrize("name", KEYED)
@pytest.mark.parametrize("made", MADE)
def test_pruning_finds_what_reading_finds(name: str, made: str) -> None:
    kind, values = TYPES[name]
    rows = column(name)
    if made == "partition":
        if name == "bytes":
            pytest.skip("bytes that are no text cannot partition")
        rows = rows.filter(rows["c"].is_valid())
    try:
        table = pt.create_table(url(), rows, **MADE[made])
    except pt.InvalidArgument as error:
        assert "cannot" in str(error) or "nanosecond" in str(error)
        return
    if made == "partition":
        values = [value for value in values if value is not None]
    some = next(value for value in values if value is not None)
    same = [plain(value) for value in values if value == some]
    other = [plain(value) for value in values if value is not None and value != some]
    missing = [value for value in values if value is None]
    if name in ("time",):
        some = some.isoformat()
    c = pt.col("c")
    assert read(table, c == some) == same
    assert read(table, c.isin([some])) == same
    assert read(table, c.not_in([some])) == other
    assert read(table, c.is_null()) == missing
    if name != "bool":
        below = [plain(v) for v in values if v is not None and plain(v) < same[0]]
        assert read(table, c < some) == below


INT = pa.int64()
MAP = pa.map_(pa.string(), INT)

FITTING: list[tuple[str, pa.Array, pa.DataType]] = [
    ("int32 into int64", pa.array([1, None], pa.int32()), pa.int64()),
    ("whole floats into integers", pa.array([2.0, None]), pa.int64()),
    ("integers into floats", pa.array([2**53, None]), pa.float64()),
    ("unsigned into signed", pa.array([1], pa.uint64()), pa.int64()),
    ("integers into decimals", pa.array([12]), pa.decimal128(5, 2)),
    ("decimals of another scale", pa.array([D("1.500")]), pa.decimal128(5, 2)),
    ("dates into times", pa.array([dt.date(2020, 1, 1)]), pa.timestamp("us")),
    ("midnight into dates", pa.array([dt.datetime(2020, 1, 1)]), pa.date32()),
    ("another zone", pa.array([0], pa.timestamp("us", "Asia/Tokyo")), pa.timestamp("us", "UTC")),
    ("whole microseconds", pa.array([1000], pa.timestamp("ns", "UTC")), pa.timestamp("us", "UTC")),
    ("another unit of time", pa.array([1], pa.time32("s")), pa.time64("us")),
    ("bytes of the right length", pa.array([b"ab"]), pa.binary(2)),
    ("nulls of another type", pa.array([None], pa.float64()), pa.string()),
    ("nulls within", pa.array([{"a": None}]), pa.struct([("a", pa.string())])),
    ("fields in any order", pa.array([{"b": 1, "a": 2}]), pa.struct([("a", INT), ("b", INT)])),
    ("lists of a fixed length", pa.array([[1, 2]]), pa.list_(pa.int64(), 2)),
    ("keys of maps", pa.array([[("a", 1)]], pa.map_(pa.large_string(), pa.int64())), MAP),
]  # fmt: skip

NANOS = pa.list_(pa.timestamp("ns"))

UNFIT: list[tuple[str, pa.Array, pa.DataType]] = [
    ("fractions into integers", pa.array([1.0, 2.5]), pa.int64()),
    ("large into unsigned", pa.array([0, -1]), pa.uint64()),
    ("integers that floats round", pa.array([0, BIG]), pa.float64()),
    ("infinity into integers", pa.array([0.0, math.inf]), pa.int64()),
    ("digits of decimals", pa.array([D("0.000"), D("1.239")]), pa.decimal128(5, 2)),
    ("large decimals", pa.array([D("0.00"), D("12345.00")]), pa.decimal128(4, 2)),
    ("time of day into dates", pa.array([0, 1], pa.timestamp("s")), pa.date32()),
    ("naive into zoned", pa.array([0, 1], pa.timestamp("us")), pa.timestamp("us", "UTC")),
    ("zoned into naive", pa.array([0, 1], pa.timestamp("us", "UTC")), pa.timestamp("us")),
    ("nanoseconds within", pa.array([[0], [1]], NANOS), pa.list_(pa.timestamp("us"))),
    ("nanoseconds", pa.array([0, 1], pa.timestamp("ns", "UTC")), pa.timestamp("us", "UTC")),
    ("far times", pa.array([0, 253402300799], pa.timestamp("s")), pa.timestamp("ns")),
    ("durations", pa.array([0, 1500], pa.duration("ms")), pa.duration("s")),
    ("booleans into integers", pa.array([True]), pa.int64()),
    ("integers into booleans", pa.array([7]), pa.bool_()),
    ("text into numbers", pa.array(["1"]), pa.int64()),
    ("numbers into text", pa.array([1]), pa.string()),
    ("bytes into text", pa.array([b"a"]), pa.string()),
    ("bytes of another length", pa.array([b"ab", b"abc"]), pa.binary(2)),
    ("lists of another length", pa.array([[1, 2], [1]]), pa.list_(pa.int64(), 2)),
    ("within lists", pa.array([[1.0], [2.5]]), pa.list_(pa.int64())),
    ("within structs", pa.array([{"a": 1.0}, {"a": 2.5}]), pa.struct([("a", pa.int64())])),
    ("other fields", pa.array([{"a": 1, "x": 1}]), pa.struct([("a", pa.int64())])),
]  # fmt: skip


def empty(kind: pa.DataType) -> pt.Table:
    return pt.create_table(url(), pa.schema([("id", pa.int64()), ("c", kind)]))


@pytest.mark.parametrize(("values", "kind"), [c[1:] for c in FITTING], ids=[c[0] for c in FITTING])
@pytest.mark.parametrize("by", ["append", "pieces", "upsert"])
def test_what_means_the_same_is_taken(values: pa.Array, kind: pa.DataType, by: str) -> None:
    table = empty(kind)
    rows = pa.table({"id": range(len(values)), "c": values})
    given(table, rows, by)
    meant = [plain(value) for value in values.to_pylist()]
    if pa.types.is_date(values.type):
        meant = [dt.datetime.combine(value, dt.time()) for value in meant]
    elif pa.types.is_date(kind):
        meant = [value.date() for value in meant]
    assert read(table) == meant


@pytest.mark.parametrize(("values", "kind"), [c[1:] for c in UNFIT], ids=[c[0] for c in UNFIT])
@pytest.mark.parametrize("by", ["append", "pieces", "upsert"])
def test_what_would_change_is_refused_by_row(values: pa.Array, kind: pa.DataType, by: str) -> None:
    table = empty(kind)
    rows = pa.table({"id": range(len(values)), "c": values})
    with pytest.raises(pt.SchemaMismatch) as caught:
        given(table, rows, by)
    context = caught.value.context
    assert context["column"].split(".")[0] == "c"
    assert table.count() == 0


def given(table: pt.Table, rows: pa.Table, by: str) -> None:
    if by == "append":
        table.append(rows)
    elif by == "pieces":
        table.append(rows.slice(place, 1) for place in range(len(rows)))
    else:
        table.upsert(rows, on="id")


def test_a_refusal_names_row_value_and_types() -> None:
    table = empty(pa.int64())
    rows = pa.table({"id": range(5), "c": [1.0, 2.0, 3.0, 2.5, 4.0]})
    with pytest.raises(pt.SchemaMismatch) as caught:
        table.append(rows.slice(place, 2) for place in (0, 2, 4))
    assert caught.value.context["row"] == "3"
    assert caught.value.context["value"] == "2.5"


def test_pieces_settle_on_a_type() -> None:
    def made(*pieces: object) -> list[object]:
        rows = (pa.table({"id": [place], "c": piece}) for place, piece in enumerate(pieces))
        return read(pt.create_table(url(), rows))

    assert made(pa.nulls(1), ["x"]) == [None, "x"]
    assert made(pa.array([1], pa.int32()), [2**40]) == [1, 2**40]
    assert made([[]], [[1]], [[None]]) == [[], [1], [None]]
    assert made([1.5], [2]) == [1.5, 2.0]
    for pieces in (([1], [2.5]), ([True], [7]), ([1], ["x"])):
        with pytest.raises(pt.SchemaMismatch):
            made(*pieces)
    with pytest.raises(pt.SchemaMismatch):
        pt.create_table(url(), iter([pa.table({"a": [1]}), pa.table({"a": [1], "b": [2]})]))


def written(*pieces: pa.Array) -> pa.ChunkedArray:
    """The column of a table that is made of these pieces, in their order."""
    rows = (pa.table({"c": piece}) for piece in pieces)
    return pt.create_table(url(), rows).scan().to_arrow()["c"]


TIMES = {
    "timestamp": lambda unit: pa.timestamp(unit),
    "zoned": lambda unit: pa.timestamp(unit, "Europe/Oslo"),
    "duration": lambda unit: pa.duration(unit),
    "time": lambda unit: (pa.time32 if unit in ("s", "ms") else pa.time64)(unit),
}


@pytest.mark.parametrize("kind", TIMES)
def test_pieces_of_a_new_table_take_the_finest_unit(kind: str) -> None:
    of = TIMES[kind]
    for units in (*itertools.product(UNITS, repeat=2), *itertools.permutations(UNITS, 3)):
        finest = max(units, key=UNITS.index)
        # One of its unit is no whole number of a coarser one.
        found = written(*(pa.array([1, None], of(unit)) for unit in units))
        assert found.type == of(finest), units
        factors = [1000 ** (UNITS.index(finest) - UNITS.index(unit)) for unit in units]
        wide = pa.int32() if pa.types.is_time32(found.type) else pa.int64()
        assert found.cast(wide).to_pylist() == [n for factor in factors for n in (factor, None)]


@pytest.mark.parametrize("kind", ["timestamp", "zoned", "duration"])
def test_pieces_beyond_nanoseconds_are_refused_beside_them(kind: str) -> None:
    of = TIMES[kind]
    fine = pa.array([1], of("ns"))
    for place, unit in enumerate(UNITS[:3]):
        last = (2**63 - 1) // 1000 ** (3 - place)
        for sign in (1, -1):
            near, far = (pa.array([sign * n], of(unit)) for n in (last, last + 1))
            assert sorted(written(near, fine).cast(pa.int64()).to_pylist()) == sorted(
                [sign * last * 1000 ** (3 - place), 1]
            )
            for pieces in ((far, fine), (fine, far), (near, far, fine)):
                with pytest.raises(pt.SchemaMismatch) as caught:
                    written(*pieces)
                assert caught.value.context["column"] == "c", (unit, sign)


# Types in the order in which each holds the values of those before it, with a value that it alone
# and those after it hold.
CHAINS: dict[str, list[tuple[pa.DataType, object]]] = {
    "signed": [(getattr(pa, f"int{n}")(), -(2 ** (n - 1))) for n in (8, 16, 32, 64)],
    "unsigned": [(getattr(pa, f"uint{n}")(), 2**n - 1) for n in (8, 16, 32, 64)],
    "float": [
        (pa.float16(), np.float16(0.1)),
        (pa.float32(), float(np.float32(0.1))),
        (pa.float64(), 0.1),
    ],
    "decimal": [
        (pa.decimal128(5, 2), D("123.45")),
        (pa.decimal128(7, 4), D("123.4567")),
        (pa.decimal128(38, 9), D("12345678901234567890123456789.123456789")),
    ],
    "bytes": [(pa.binary(2), b"ab"), (pa.binary(), b"abc")],
    "large_bytes": [(pa.binary(2), b"ab"), (pa.large_binary(), b"abc")],
    "list": [(pa.list_(pa.int8()), [127]), (pa.list_(pa.int64()), [BIG])],
    "struct": [
        (pa.struct([("x", pa.int8())]), {"x": 127}),
        (pa.struct([("x", pa.int64())]), {"x": BIG}),
    ],
    "map": [
        (pa.map_(pa.string(), pa.int8()), [("k", 127)]),
        (pa.map_(pa.string(), pa.int64()), [("k", BIG)]),
    ],
}


@pytest.mark.parametrize("name", CHAINS)
def test_pieces_of_a_new_table_take_the_wider_type(name: str) -> None:
    chain = list(enumerate(CHAINS[name]))
    for pieces in (*itertools.product(chain, repeat=2), *itertools.permutations(chain, 3)):
        found = written(*(pa.array([value, None], kind) for _, (kind, value) in pieces))
        _, (widest, _) = max(pieces, key=lambda piece: piece[0])
        assert found.type == widest, pieces
        wanted = [each for _, (kind, value) in pieces for each in (value, None)]
        assert found.to_pylist() == wanted


def test_pieces_that_no_type_holds_are_refused_by_name() -> None:
    apart = [
        (pa.array([2**64 - 1], pa.uint64()), pa.array([-1])),
        (pa.array([2**64 - 1], pa.uint64()), pa.array([0.5])),
        (pa.array([D(10) ** 30], pa.decimal128(38, 0)), pa.array([D("1.5")])),
        (pa.array([True]), pa.array([7])),
        (pa.array([1], pa.timestamp("us")), pa.array([1], pa.timestamp("us", "UTC"))),
        (pa.array([{"x": 1}]), pa.array([{"x": 1, "y": 2}])),
        (pa.array([[BIG]]), pa.array([[0.5]])),
        (pa.array([b"ab"], pa.binary(2)), pa.array(["ab"])),
    ]
    date = (pa.array([dt.date(2020, 1, 1)]), pa.array([dt.datetime(2020, 1, 1, 23)]))
    for pieces in (date, *apart, *(pair[::-1] for pair in apart)):
        with pytest.raises(pt.SchemaMismatch) as caught:
            written(*pieces)
        assert caught.value.context["column"].split(".")[0] == "c", pieces


@pytest.mark.parametrize(
    "kinds",
    [
        (pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string())),
        (pa.binary(), pa.large_binary(), pa.binary_view(), pa.binary(2)),
        (pa.date32(), pa.date64()),
        (pa.list_(pa.int64()), pa.large_list(pa.int64()), pa.list_(pa.int64(), 2)),
    ],
    ids=lambda kinds: str(kinds[0]),
)
def test_pieces_keep_the_first_of_types_with_the_same_values(
    kinds: tuple[pa.DataType, ...],
) -> None:
    values = {"string": "ab", "binary": b"ab", "date32[day]": dt.date(2020, 1, 1)}
    value = values.get(str(kinds[0]), [1, 2])
    for first, second in itertools.permutations(kinds, 2):
        found = written(*(pa.array([value, None], kind) for kind in (first, second)))
        assert found.type == returned(first)
        assert found.to_pylist() == [value, None] * 2


def test_more_categories_than_an_index_counts() -> None:
    def frame(start: int, count: int) -> pd.DataFrame:
        names = pd.Categorical([f"v{i}" for i in range(start, start + count)])
        return pd.DataFrame({"id": range(start, start + count), "c": names})

    for count in (100, 20_000):
        table = pt.create_table(url(), [frame(0, count), frame(count, count)])
        table.append(frame(2 * count, count))
        table.optimize()
        table.delete("id == 5")
        wanted = [f"v{i}" for i in range(3 * count) if i != 5]
        assert table.read()["c"].tolist() == wanted


def test_floats_as_keys() -> None:
    """NaN is a single key, and so are both zeros."""
    values = [math.nan, 0.0, -0.0, 1.0]
    rows = pa.table({"id": range(4), "c": values})
    table = pt.create_table(url(), rows)
    assert [len(scan.to_arrow()) for _, scan in table.scan().by_value("c")] == [2, 1, 1]
    assert table.count(pt.col("c").isin([math.nan])) == 1
    assert table.count(pt.col("c").isin([0.0])) == 2
    assert table.count(pt.col("c") == math.nan) == 0
    table.upsert(pa.table({"id": [9, 9], "c": [math.nan, -0.0]}), on="c")
    assert table.count() == 3
    with pytest.raises(pt.InvalidArgument, match="twice"):
        table.upsert(pa.table({"id": [1, 2], "c": [0.0, -0.0]}), on="c")
    parts = pt.create_table(url(), rows, partition_by="c")
    assert len(parts.partitions) == 3
    assert parts.count(pt.col("c") == 0.0) == 2
    assert parts.count(pt.col("c").isin([math.nan])) == 1


def test_text_that_is_not_utf8_is_refused() -> None:
    bad = pa.array([b"ok", b"caf\xe9"]).view(pa.string())
    nested = pa.StructArray.from_arrays([bad], ["s"])
    for column in (bad, nested, bad.dictionary_encode()):
        with pytest.raises(pt.InvalidArgument, match="UTF-8"):
            pt.create_table(url(), pa.table({"c": column}))
    table = pt.create_table(url(), {"c": ["a"]})
    with pytest.raises(pt.InvalidArgument, match="UTF-8"):
        table.append(pa.table({"c": bad}))
    assert table.count() == 1


@pytest.mark.parametrize("form", [np.array, list, pd.Series, pl.Series, pa.array, np.ma.array])
def test_zero_characters_are_characters(form: Any) -> None:
    texts, items = ["a\0b", "", "\0c"], [b"a\0b", b"", b"\0c"]
    data = {"text": form(texts), "item": form(items)}
    table = pt.create_table(f"memory://values/{uuid.uuid4().hex}/t", data)
    assert table.to_arrow().to_pydict() == {"text": texts, "item": items}
    assert table.count(where=pt.col("text") == "a\0b") == 1


def test_arrays_of_texts_without_items_keep_their_type() -> None:
    data = {"text": np.array([], "U3"), "item": np.array([], "S3")}
    table = pt.create_table(f"memory://values/{uuid.uuid4().hex}/t", data)
    assert [str(field.type) for field in table.schema] == ["string", "binary"]


def test_extension_types_keep_their_meaning() -> None:
    ids = pa.array([uuid.UUID(int=1).bytes], pa.uuid())
    table = pt.create_table(url(), pa.table({"u": ids}))
    assert table.schema.field("u").type == pa.uuid()
    table.append(table.scan().to_arrow())
    table.append(table.scan().to_polars())
    assert table.scan().to_arrow()["u"].to_pylist() == [uuid.UUID(int=1)] * 4
    periods = pd.DataFrame({"c": pd.period_range("2020-01", periods=2, freq="M")})
    table = pt.create_table(url(), periods)
    table.append(periods)
    assert table.read()["c"].tolist() == periods["c"].tolist() * 2
    with pytest.raises(pt.SchemaMismatch):
        pt.create_table(url(), {"c": [1]}).append(periods)


@pytest.mark.parametrize(
    "data",
    [
        pl.DataFrame({"c": pl.Series([object()], dtype=pl.Object)}),
        pd.DataFrame({"c": pd.arrays.SparseArray([0, 1])}),
        pd.DataFrame({"c": [2**64, 1]}, dtype=object),
        {"c": [2**64, 1]},
        {"": ["v"]},
    ],
    ids=["object", "sparse", "large integers", "large in lists", "no name"],
)
def test_what_cannot_be_kept_is_refused_by_name(data: object) -> None:
    with pytest.raises((pt.InvalidArgument, pt.SchemaMismatch)):
        pt.create_table(url(), data)


def test_nulls_of_polars() -> None:
    nulls = pl.DataFrame({"id": [1], "n": [None], "l": [[None]], "s": [{"x": None}]})
    table = pt.create_table(url(), nulls)
    table.append(nulls)
    table.append(nulls.head(0).lazy())
    assert table.scan().to_arrow()["l"].to_pylist() == [[None], [None]]
    texts = pt.create_table(url(), {"id": [1], "n": ["x"]})
    texts.upsert(nulls.select("id", "n"), on="id")
    assert texts.scan().to_arrow()["n"].to_pylist() == [None]


def test_integers_with_nulls_keep_their_digits_in_pandas() -> None:
    table = pt.create_table(url(), pl.DataFrame({"id": [1, 2], "a": [BIG, None]}))
    frame = table.read()
    assert frame["a"].dtype == "Int64"
    assert int(frame["a"][0]) == BIG
    assert table.read(dtype_backend="pyarrow")["a"].dtype == pd.ArrowDtype(pa.int64())
    assert table.read(dtype_backend="numpy_nullable")["id"].dtype == "Int64"
    assert table.read(where="id == 1")["a"].dtype == np.dtype("int64")


def test_rows_as_dictionaries() -> None:
    rows = [{"a": 1}, {"a": 2, "b": "x"}]
    assert pt.create_table(url(), rows).to_arrow()["b"].to_pylist() == [None, "x"]
    assert pt.create_table(url(), iter(rows)).count() == 2
    assert pt.create_table(url(), [{"a": [1, 2]}, {"a": [3]}]).count() == 3


def test_scans_travel_and_count_without_columns(tmp_path: Path) -> None:
    table = pt.create_table(f"{tmp_path}/t", {"a": [1, 2, 3]})
    scan = table.scan(where="a > 1")
    table.append({"a": [4]})
    again = pickle.loads(pickle.dumps(scan))
    assert again.to_arrow()["a"].to_pylist() == [2, 3]
    pieces = [pickle.loads(pickle.dumps(s)).count() for _, s in table.scan().by_value("a")]
    assert pieces == [1, 1, 1, 1]
    assert table.read(columns=[]).shape == (4, 0)
    assert table.read(columns=[], where="a > 1").shape == (3, 0)


def command(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "partita", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
    )


def every_column() -> pa.Table:
    """A column of every type, and nulls where it has no more values."""
    columns = {name: column(name)["c"] for name in TYPES if name != "null"}
    rows = max(len(values) for values in columns.values())
    full = {
        name: pa.concat_arrays([*values.chunks, pa.nulls(rows - len(values), values.type)])
        for name, values in columns.items()
    }
    return pa.table({"id": range(rows), **full})


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_files_bring_every_value_back(tmp_path: Path, form: str) -> None:
    """A table with a column of every type is exported to a file and read back."""
    one = pt.create_table(f"{tmp_path}/one", every_column())
    two = pt.create_table(f"{tmp_path}/two", one.schema)
    file = tmp_path / f"rows.{form}"
    done = command("export", one.url, file)
    assert done.returncode == 0, done.stderr
    done = command("append", two.url, file)
    assert done.returncode == 0, done.stderr
    wanted, found = (pt.open_table(table.url).scan().to_arrow() for table in (one, two))
    assert found.schema == wanted.schema
    assert found.to_pylist() == wanted.to_pylist()
    assert command("read", one.url).returncode == 0


def test_a_file_of_parquet_makes_the_same_table(tmp_path: Path) -> None:
    strict = pa.field("strict", pa.int32(), nullable=False)
    noted = pa.field("noted", pa.int8(), metadata={"unit": "km"})
    named = pa.field("named", pa.uuid())
    rows = every_column()
    for field in (strict, noted, named):
        values = [b"\x01" * 16] * len(rows) if field is named else [1] * len(rows)
        rows = rows.append_column(field, pa.array(values, field.type))
    one = pt.create_table(tmp_path / "one", rows)
    file = tmp_path / "rows.parquet"
    for arguments in (("export", one.url, file), ("import", tmp_path / "two", file, file)):
        done = command(*arguments)
        assert done.returncode == 0, done.stderr
    two = pt.open_table(tmp_path / "two")
    wide = {"string": pa.large_string(), "binary": pa.large_binary()}
    for field in one.schema:
        # Text of a file has 64-bit offsets, and categories are those of text and bytes.
        kind = wide.get(str(field.type), field.type)
        if field.name == "category_int":
            kind = field.type.value_type
        assert two.schema.field(field.name).equals(field.with_type(kind), check_metadata=True)
    assert two.scan().to_arrow().to_pylist() == one.scan().to_arrow().to_pylist() * 2


def test_dask_reads_and_writes_every_value(tmp_path: Path) -> None:
    ptd = pytest.importorskip("partita.dask")
    rows = every_column()
    one = pt.create_table(tmp_path / "one", rows.slice(0, 2))
    one.append(rows.slice(2))
    ddf = one.to_dask()
    for piece in ddf.partitions:
        # Categories are those of the piece.
        kinds = piece.compute(scheduler="sync").dtypes.astype(str)
        assert kinds.to_dict() == ddf.dtypes.astype(str).to_dict()
    frame, wanted = ddf.compute(scheduler="sync"), one.read()
    for name in rows.column_names:
        found, expected = frame[name], wanted[name]
        # Dask has text in a type of its own, and so has pandas 3.
        if "text" in name:
            found, expected = (
                of.astype(object).where(of.notna(), None) for of in (found, expected)
            )
        assert repr(found.tolist()) == repr(expected.tolist()), name

    two = pt.create_table(tmp_path / "two", one.schema)
    ptd.write_table(ddf, two.url, mode="append")
    found = pt.open_table(two.url).scan().to_arrow()
    assert found.schema == one.scan().to_arrow().schema
    assert found.to_pylist() == one.scan().to_arrow().to_pylist()

    # Of objects, pandas knows no types: maps have none, and decimals have those of each piece.
    ddf = ddf.drop(columns=["map", "map_text", "decimal256"])
    ptd.write_table(ddf, tmp_path / "three")
    found = pt.open_table(tmp_path / "three").scan()
    for name in found.schema.names:
        values, wanted = (of.to_arrow()[name].to_pylist() for of in (found, one.scan()))
        assert [plain(value) for value in values] == [plain(value) for value in wanted], name


def test_files_of_others(tmp_path: Path) -> None:
    """Types are reconciled over all files; a value that no common type represents is refused,
    naming the file."""

    def imported(*columns: pa.Array) -> list[object] | str:
        place = tmp_path / str(next(_number))
        place.mkdir()
        for number, values in enumerate(columns):
            rows = pa.table({"id": pa.array([number] * len(values)), "c": values})
            pq.write_table(rows, place / f"{number}.parquet")
        done = command("import", place / "table", *sorted(place.glob("*.parquet")))
        return done.stderr if done.returncode else read(pt.open_table(f"{place}/table"))

    assert imported(pa.array([1], pa.int32()), pa.array([2**40])) == [1, 2**40]
    assert imported(pa.array([1]), pa.array([2.5])) == [1.0, 2.5]
    assert imported(pa.nulls(1), pa.array(["x"])) == [None, "x"]
    for pair in (
        (pa.array([1]), pa.array(["abc"])),
        (pa.array([BIG]), pa.array([2.5])),
        (pa.array([1], pa.uint64()), pa.array([-1])),
        (pa.array([dt.date(2020, 1, 1)]), pa.array(["soon"])),
    ):
        error = imported(*pair)
        assert isinstance(error, str) and ".parquet" in error and "column: c" in error


def test_times_of_old_writers(tmp_path: Path) -> None:
    far = pa.table({"id": [0, 1], "c": pa.array([0, 253402214400000], pa.timestamp("ms"))})
    near = pa.table({"id": [0], "c": pa.array([1001], pa.timestamp("ns"))})
    for name, rows in (("far", far), ("near", near)):
        pq.write_table(rows, tmp_path / f"{name}.parquet", use_deprecated_int96_timestamps=True)
    done = command("import", tmp_path / "far", tmp_path / "far.parquet")
    assert done.returncode != 0 and "INT96" in done.stderr and "row: 1" in done.stderr
    done = command("import", tmp_path / "near", tmp_path / "near.parquet")
    assert done.returncode == 0, done.stderr
    found = pt.open_table(f"{tmp_path}/near").scan().to_arrow()["c"]
    assert found.cast(pa.int64()).to_pylist() == [1001]


def test_the_key_of_a_partition_is_a_condition() -> None:
    rows = {
        "i": [1, 1, 2],
        "f": [0.5, 0.5, math.nan],
        "b": [True, True, False],
        "d": [D("1.10"), D("1.10"), D("2.00")],
        "t": pd.to_datetime(["2020-01-01", "2020-01-01", "2021-06-01"]).tz_localize("Europe/Oslo"),
        "s": ["a/b", "a/b", ""],
        "v": [1, 2, 3],
    }
    table = pt.create_table(url(), rows, partition_by=["i", "f", "b", "d", "t", "s"])
    counts = [table.count(pickle.loads(pickle.dumps(one.key))) for one in table.partitions]
    assert counts == [one.rows for one in table.partitions] == [2, 1]


def patched(file: Path, old: bytes, new: bytes) -> None:
    """Changes bytes of the footer of a Parquet file."""
    raw = file.read_bytes()
    footer = len(raw) - 8 - int.from_bytes(raw[-8:-4], "little")
    assert raw[footer:].count(old) == 1
    file.write_bytes(raw[:footer] + raw[footer:].replace(old, new))


def test_parquet_files_of_old_writers(tmp_path: Path) -> None:
    # A column without values, marked with a converted type that never became part of the format.
    rows = pa.table({"a": [1, 2], "n": pa.array([None, None], pa.string())})
    file = tmp_path / "nulls.parquet"
    pq.write_table(rows, file, version="1.0", store_schema=False, use_dictionary=False)
    element = b"\x15\x0c\x25\x02\x18\x01n\x25"
    patched(file, element + b"\x00", element + b"\x30")
    done = command("import", tmp_path / "lake/imported", file)
    assert done.returncode == 0, done.stderr
    assert pt.open_table(f"{tmp_path}/lake/imported").read()["a"].tolist() == [1, 2]
    table = pt.create_table(f"{tmp_path}/lake/own", rows)
    (stored,) = (tmp_path / "lake/own").glob("**/table/*.parquet")
    stored.write_bytes(file.read_bytes())
    unchecked = pt.open_table(table.url, storage_options={"checksums": "false"})
    assert unchecked.read()["a"].tolist() == [1, 2]


def test_a_footer_that_miscounts_its_rows_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"a": pa.array(range(6), pa.int32())}), file)
    patched(file, b"\x16\x0c\x19", b"\x16\x00\x19")
    done = command("import", tmp_path / "t", file)
    assert done.returncode == 1 and "rows.parquet" in done.stderr and "6" in done.stderr
    assert not (tmp_path / "t").exists()


@pytest.mark.parametrize(
    "kind", ["Int8", "Int32", "Int64", "UInt16", "UInt64", "Float32", "boolean"]
)
def test_nullable_types_of_pandas_keep_their_width(kind: str) -> None:
    given = pd.DataFrame({"id": [0, 1], "c": pd.array([1, None], kind)})
    assert pt.create_table(url(), given).read()["c"].dtype == kind
