"""Schemas that grow and change, against pyarrow as an oracle; plateau reads the result."""

from __future__ import annotations

import datetime as dt
import decimal
import subprocess
import sys

import hypothesis
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

import partita as pt
from plateau_lake import Lake


@pytest.fixture
def lake(tmp_path) -> Lake:
    return Lake(tmp_path / "lake")


D = decimal.Decimal
DAY = dt.date(2020, 2, 29)
NOON = dt.datetime(2020, 2, 29, 12)

VALUES: dict[str, tuple[pa.DataType, list]] = {
    "int8": (pa.int8(), [-128, None, 127]),
    "int32": (pa.int32(), [-(2**31), None, 2**31 - 1]),
    "int64": (pa.int64(), [-(2**52), None, 2**52]),
    "large_int64": (pa.int64(), [-(2**63), None, 2**63 - 1]),
    "uint8": (pa.uint8(), [0, None, 255]),
    "uint64": (pa.uint64(), [0, None, 2**64 - 1]),
    "float32": (pa.float32(), [-1.5, None, 0.25]),
    "float64": (pa.float64(), [0.1, None, -1e300]),
    "bool": (pa.bool_(), [True, None, False]),
    "string": (pa.string(), ["a", None, ""]),
    "large_string": (pa.large_string(), ["a", None, "b"]),
    "bytes": (pa.binary(), [b"\x00", None, b"ab"]),
    "fixed_bytes": (pa.binary(2), [b"ab", None, b"cd"]),
    "date": (pa.date32(), [DAY, None, dt.date(1700, 1, 1)]),
    "second": (pa.timestamp("s"), [NOON, None, NOON]),
    "nanos": (pa.timestamp("ns"), [NOON, None, NOON]),
    "utc": (pa.timestamp("us", "UTC"), [NOON, None, NOON]),
    "time_ms": (pa.time32("ms"), [dt.time(1, 2, 3), None, dt.time(0)]),
    "time_us": (pa.time64("us"), [dt.time(1, 2, 3, 4), None, dt.time(0)]),
    "decimal_5_2": (pa.decimal128(5, 2), [D("1.25"), None, D("-999.99")]),
    "decimal_10_4": (pa.decimal128(10, 4), [D("1.2500"), None, D("-999999.9999")]),
    "decimal_30_0": (pa.decimal128(30, 0), [D(10**29), None, D(0)]),
    "category": (pa.dictionary(pa.int8(), pa.string()), ["a", None, "b"]),
    "null": (pa.null(), [None, None, None]),
    "list_int": (pa.list_(pa.int32()), [[1], None, []]),
    "list_float": (pa.list_(pa.float64()), [[0.5], None, [None]]),
    "struct_a": (pa.struct({"a": pa.int32()}), [{"a": 1}, None, {"a": None}]),
    "struct_ab": (
        pa.struct({"a": pa.int64(), "b": pa.string()}),
        [{"a": 2**40, "b": "x"}, None, {"a": 1, "b": None}],
    ),
    "map": (pa.map_(pa.string(), pa.int32()), [[("k", 1)], None, []]),
}  # fmt: skip

# Columns that get a wider type where the data need it.
WIDENED = [
    ("int8", "float64"), ("int64", "float64"), ("uint8", "float32"),
    ("decimal_5_2", "decimal_10_4"), ("decimal_10_4", "decimal_30_0"),
    ("time_ms", "time_us"), ("fixed_bytes", "bytes"), ("struct_a", "struct_ab"),
    *[("null", other) for other in VALUES],
]  # fmt: skip

# Values that no type of both holds, or for which files would have to be written again.
REFUSED = [
    ("large_int64", "float64"), ("float64", "large_int64"), ("uint8", "int8"), ("int64", "string"),
    ("string", "int64"), ("bool", "int8"), ("float64", "decimal_5_2"), ("decimal_5_2", "float64"),
    ("date", "second"), ("int64", "decimal_30_0"), ("utc", "second"), ("second", "utc"),
    ("list_int", "list_float"), ("struct_a", "list_int"), ("map", "struct_a"),
]  # fmt: skip

# Types that a column takes by `widen_column`, at the cost of its files.
REWRITTEN = [("date", "second"), ("int64", "decimal_30_0"), ("int8", "decimal_30_0")]


def column(kind: str, first: int) -> pa.Table:
    data_type, values = VALUES[kind]
    ids = pa.array(range(first, first + len(values)), pa.int64())
    return pa.table({"id": ids, "c": pa.array(values, data_type)})


def given(kind: str) -> list[object]:
    return column(kind, 0)["c"].to_pylist()


def plain(value: object) -> object:
    """A value such that equal ones of different types are equal, and others are not."""
    if value is pd.NaT or value is pd.NA:
        return None
    match value:
        case bool() | np.bool_():
            return "true" if value else "false"
        case dict():
            return {name: plain(inner) for name, inner in value.items() if inner is not None}
        case list() | np.ndarray():
            return [plain(inner) for inner in value]
        case tuple():
            return tuple(plain(inner) for inner in value)
        case pd.Timestamp():
            return plain(value.to_pydatetime())
        case dt.datetime():
            return value.timestamp() if value.tzinfo else ("civil", value)
        case dt.date():
            return ("civil", dt.datetime.combine(value, dt.time()))
        case np.generic():
            return plain(value.item())
    return None if value != value else value


def values_of(table: pt.Table) -> list[object]:
    found = table.scan().to_arrow().sort_by("id")
    return [plain(value) for value in found["c"].to_pylist()]


def theirs_of(lake: Lake, name: str) -> list[object]:
    """The values as plateau reads them: integers with nulls are doubles there."""
    frame = lake.theirs_read(name).sort_values("id")
    return [plain(value) for value in frame["c"]]


def agree(theirs: list[object], ours: list[object]) -> bool:
    """The same values, as far as doubles tell integers with nulls apart."""
    close = [
        float(one) == float(other)
        if isinstance(one, float) and isinstance(other, int)
        else one == other
        for one, other in zip(theirs, ours, strict=True)
    ]
    return all(close)


def outcome(lake: Lake, name: str, change) -> str | None:
    """The kind of error, once it is known that nothing has changed then."""
    before = lake.open(name)
    try:
        change(lake.open(name))
    except (pt.SchemaMismatch, pt.InvalidArgument) as error:
        assert "column" in error.context, error
        after = lake.open(name)
        assert after.version == before.version
        assert values_of(after) == values_of(before)
        return error.kind
    return None


def readable_by_plateau(lake: Lake, name: str) -> bool:
    try:
        theirs_of(lake, name)
    except Exception:
        return False
    return True


@pytest.mark.parametrize("known", VALUES)
def test_merged_values_are_exact_or_refused(lake, known):
    """Every type appended to a column of every other, with plateau reading what was accepted."""
    merged = set()
    for found in VALUES:
        name = f"{known}-{found}"
        pt.create_table(lake.url(name), column(known, 0))
        theirs = readable_by_plateau(lake, name)
        refused = outcome(
            lake,
            name,
            lambda table, kind=found: table.append(column(kind, 10), schema_mode="merge"),
        )
        if refused:
            continue
        merged.add(found)
        table = lake.open(name)
        expected = [plain(value) for kind in (known, found) for value in given(kind)]
        assert values_of(table) == expected, found
        for value in table.scan().to_arrow()["c"]:
            if isinstance(value.as_py(), (bool, int, float, str)):
                assert table.count(pt.col("c") == value.as_py()) >= 1, (found, value)
        if theirs and readable_by_plateau(lake, name):
            assert agree(theirs_of(lake, name), expected), found
        else:
            assert not theirs, f"plateau reads {known} and not {found} beside it"
        table.optimize()
        assert values_of(table) == expected, found
        assert table.verify(data=True) == []
    assert known in merged
    wanted = {found for column, found in WIDENED if column == known}
    assert wanted <= merged
    assert not merged & {found for column, found in REFUSED if column == known}


@pytest.mark.parametrize("known", VALUES)
def test_widened_values_are_exact_or_refused(lake, known):
    """Every column given every other type."""
    widened = {}
    for to in VALUES:
        name = f"{known}-{to}"
        pt.create_table(lake.url(name), column(known, 0))
        theirs = readable_by_plateau(lake, name)
        files = lake.files(f"{name}/table")
        kind = VALUES[to][0]
        if outcome(lake, name, lambda table, kind=kind: table.widen_column("c", kind)):
            continue
        table = lake.open(name)
        expected = [plain(value) for value in given(known)]
        assert values_of(table) == expected, to
        kept = {key for key in lake.files(f"{name}/table") if key.endswith(".parquet")}
        widened[to] = kept == {key for key in files if key.endswith(".parquet")}
        table.append(column(to, 10))
        expected += [plain(value) for value in given(to)]
        assert values_of(table) == expected, to
        if theirs and readable_by_plateau(lake, name):
            assert agree(theirs_of(lake, name), expected), to
    for column_kind, to in REWRITTEN:
        if column_kind == known:
            assert widened[to] is False
    for column_kind, to in WIDENED:
        # The common type of two decimals may be a third one.
        if column_kind == known and known != "decimal_10_4":
            assert widened[to] is True


FRAME = {
    "city": ["Oslo", "Rome", "Oslo"],
    "id": [1, 2, 3],
    "n": [10, 20, 30],
    "text": ["a", None, "c"],
    "day": [DAY, DAY, None],
    "record": [{"a": 1}, {"a": 2}, {"a": None}],
}


def same_rows(frame: pd.DataFrame, expected: dict) -> None:
    frame = frame.sort_values("id")
    assert set(frame.columns) == set(expected)
    for name, values in expected.items():
        assert [plain(value) for value in frame[name]] == [plain(value) for value in values], name


@pytest.mark.parametrize("column", [name for name in FRAME if name not in ("city", "id")])
@pytest.mark.parametrize("writer", ["ours", "theirs"])
def test_plateau_reads_renamed_and_dropped_columns(lake, column, writer):
    frame = pd.DataFrame(FRAME)
    if writer == "ours":
        lake.create("t", frame, partition_by="city", index=["id", "n"])
    else:
        lake.theirs_create("t", frame, partition_on=["city"], secondary_indices=["id", "n"])
    table = lake.open("t")
    before = table.column_ids[column]
    table.rename_column(column, "new")
    assert table.column_ids["new"] == before
    expected = {"new" if name == column else name: values for name, values in FRAME.items()}
    for found in (table.read(), lake.open("t").read(), lake.theirs_read("t")):
        same_rows(found, expected)
    assert set(table.index) == ({"id", "new"} if column == "n" else {"id", "n"})
    if column == "n":
        assert len(lake.theirs_read("t", [[("new", "==", 20)]])) == 1
        assert table.scan(where={"new": 20}).explain().details["files_read"] == 1
    more = pd.DataFrame(expected)
    lake.theirs_update("t", more.assign(id=[11, 12, 13]))
    table.refresh().append(more.assign(id=[21, 22, 23]))
    assert table.count() == 9
    assert table.verify(data=True) == []
    if writer == "ours":
        same_rows(table.at(1).read(), FRAME)
    table.drop_column("new")
    for found in (lake.open("t").read(), lake.theirs_read("t")):
        assert set(found.columns) == set(FRAME) - {column}
        assert len(found) == 9
    assert table.verify(data=True) == []


def test_plateau_reads_and_goes_on_after_merged_appends(lake):
    lake.theirs_create("t", pd.DataFrame(FRAME), partition_on=["city"], secondary_indices=["id"])
    table = lake.open("t")
    more = pd.DataFrame({"city": ["Bergen"], "id": [4], "tip": [0.5]})
    table.append(more, schema_mode="merge")
    expected = {name: [*values, None] for name, values in FRAME.items()}
    expected |= {"city": ["Oslo", "Rome", "Oslo", "Bergen"], "id": [1, 2, 3, 4]}
    expected["tip"] = [None, None, None, 0.5]
    for found in (table.read(), lake.theirs_read("t")):
        same_rows(found, expected)
    lake.theirs_update("t", pd.DataFrame({**FRAME, "id": [7, 8, 9], "tip": [1.0, 2.0, 3.0]}))
    assert sorted(table.refresh().read(where="tip >= 1")["tip"]) == [1.0, 2.0, 3.0]
    table.append(more.assign(id=10), schema_mode="merge")
    assert len(lake.theirs_read("t")) == 8
    assert table.column_ids["tip"] == len(FRAME) + 1
    assert table.verify(data=True) == []


@pytest.mark.parametrize(
    "change",
    [
        {"schema_mode": "overwrite"},
        {"schema_mode": True},
    ],
)
def test_only_merge_is_a_mode(memory, change):
    table = pt.create_table(f"{memory}/t", {"a": [1]})
    with pytest.raises(pt.InvalidArgument, match="merge"):
        table.append({"a": [2]}, **change)


def test_merging_is_an_option_of_every_way_to_write(memory):
    table = pt.create_table(f"{memory}/t", {"id": [1, 2], "a": [1, 2]})
    table.replace({"id": [1], "b": ["x"]}, where="id == 1", schema_mode="merge")
    table.upsert({"id": [2], "c": [0.5]}, on="id", schema_mode="merge")
    staged = pt.Staged.from_bytes(
        table.stage({"id": [3], "a": [0.5], "d": [True]}, schema_mode="merge").to_bytes()
    )
    table.commit(staged)
    with table.transaction() as tx:
        tx.append({"id": [4], "e": [b"x"]}, schema_mode="merge")
        tx.append({"id": [5], "f": [1], "e": [b"y"]}, schema_mode="merge")
    found = table.scan().to_arrow().sort_by("id").to_pylist()
    assert [{name: value for name, value in row.items() if value is not None} for row in found] == [
        {"id": 1, "b": "x"},
        {"id": 2, "c": 0.5},
        {"id": 3, "a": 0.5, "d": True},
        {"id": 4, "e": b"x"},
        {"id": 5, "e": b"y", "f": 1},
    ]
    assert sorted(table.column_ids.values()) == [1, 2, 3, 4, 5, 6, 7]
    assert [one.operation for one in table.schema_history()] == [
        "append",
        "append",
        "upsert",
        "replace",
        "create",
    ]


class TestCommand:
    def run(self, *arguments) -> subprocess.CompletedProcess:
        words = [sys.executable, "-m", "partita", *map(str, arguments)]
        return subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)

    @pytest.mark.parametrize(
        ("name", "content"),
        [
            ("more.csv", "code,id,n,tip\n007,3,2.5,new\n"),
            ("more.jsonl", '{"code": "007", "id": 3, "n": 2.5, "tip": "new"}\n'),
        ],
    )
    def test_files_are_merged(self, tmp_path, name, content):
        url = tmp_path / "t"
        pt.create_table(url, {"code": ["001"], "id": [1], "n": [1], "at": [NOON]})
        (tmp_path / name).write_text(content)
        refused = self.run("append", url, tmp_path / name)
        assert refused.returncode != 0
        done = self.run("append", url, tmp_path / name, "--merge-schema")
        assert done.returncode == 0, done.stderr
        rows = pt.open_table(url).scan().to_arrow().sort_by("id").to_pylist()
        assert rows == [
            {"code": "001", "id": 1, "n": 1.0, "at": NOON, "tip": None},
            {"code": "007", "id": 3, "n": 2.5, "at": None, "tip": "new"},
        ]


NAMES = ["a", "b", "c", "d"]
STEPS = st.one_of(
    st.tuples(
        st.just("append"),
        st.dictionaries(st.sampled_from(NAMES), st.sampled_from([1, 2.5, 2**53 + 1]), min_size=1),
    ),
    st.tuples(st.just("rename"), st.tuples(st.sampled_from(NAMES), st.sampled_from(NAMES))),
    st.tuples(st.just("drop"), st.sampled_from(NAMES)),
    st.tuples(st.just("optimize"), st.none()),
    st.tuples(st.just("restore"), st.integers(0, 5)),
)


@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
@hypothesis.given(steps=st.lists(STEPS, max_size=8))
def test_a_table_is_its_model(tmp_path_factory, steps):
    """Random changes of the schema, with a list of dictionaries as the model."""
    lake = Lake(tmp_path_factory.mktemp("lake"))
    table = lake.create("t", pd.DataFrame({"id": [0], "a": [1]}))
    rows: list[dict] = [{"id": 0, "a": 1}]
    versions = {table.version: rows}
    for number, (what, how) in enumerate(steps, start=1):
        try:
            if what == "append":
                table.append(pd.DataFrame([{"id": number, **how}]), schema_mode="merge")
                rows = [*rows, {"id": number, **how}]
            elif what == "rename":
                table.rename_column(*how)
                rows = [{how[1] if n == how[0] else n: v for n, v in row.items()} for row in rows]
            elif what == "drop":
                table.drop_column(how)
                rows = [{n: v for n, v in row.items() if n != how} for row in rows]
            elif what == "optimize":
                table.optimize()
            else:
                version = sorted(versions)[how % len(versions)]
                table.restore(version)
                rows = versions[version]
        except (pt.SchemaMismatch, pt.NotFound, pt.AlreadyExists):
            pass
        versions[table.version] = rows
        found = lake.open("t").scan().to_arrow().sort_by("id").to_pylist()
        kept = [{n: v for n, v in row.items() if v is not None} for row in found]
        assert kept == sorted(rows, key=lambda row: row["id"])
        theirs = lake.theirs_read("t").sort_values("id").to_dict("records")
        for one, other in zip(theirs, kept, strict=True):
            known = {n: plain(v) for n, v in one.items() if plain(v) is not None}
            assert set(known) == set(other)
            assert agree([known[n] for n in other], list(other.values()))
    assert table.verify(data=True) == []
