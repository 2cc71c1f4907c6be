"""Types have the same names in Python and in the command."""

from __future__ import annotations

import datetime as dt
import decimal
import json
import re
import subprocess
import sys

import pyarrow as pa
import pytest

import partita as pt

COLUMNS = {
    "bool": pa.array([True]),
    "int64": pa.array([1]),
    "uint64": pa.array([1], pa.uint64()),
    "float64": pa.array([1.5]),
    "string": pa.array(["a"]),
    "binary": pa.array([b"a"]),
    "fixed_size_binary[4]": pa.array([b"abcd"], pa.binary(4)),
    "date": pa.array([dt.date(2020, 1, 1)]),
    "timestamp[us]": pa.array([dt.datetime(2020, 1, 1)]),
    "timestamp[us, tz=UTC]": pa.array([dt.datetime(2020, 1, 1)], pa.timestamp("us", "UTC")),
    "time[us]": pa.array([dt.time(1)], pa.time64("us")),
    "duration[us]": pa.array([dt.timedelta(1)]),
    "decimal(3, 2)": pa.array([decimal.Decimal("1.10")]),
    "list<int64>": pa.array([[1]]),
    "struct<a: int64, b: list<string>>": pa.array([{"a": 1, "b": ["x"]}]),
    "fixed_size_list<float64>[2]": pa.array([[1.0, 2.0]], pa.list_(pa.float64(), 2)),
    "map<string, float64>": pa.array([[("a", 1.0)]], pa.map_(pa.string(), pa.float64())),
    "null": pa.nulls(1),
}


ROWS = pa.table({f"c{number}": column for number, column in enumerate(COLUMNS.values())})
# The types of Rust, as it prints them.
RUST = re.compile(
    r"Utf8|Binary|Boolean|U?Int\d|Float\d|Date32|Time(stamp|64)\(|Struct\(|Map\(|Some\("
)


@pytest.fixture(scope="module")
def table(tmp_path_factory) -> pt.Table:
    return pt.create_table(tmp_path_factory.mktemp("types") / "t", ROWS)


@pytest.mark.parametrize(("place", "name"), list(enumerate(COLUMNS)), ids=list(COLUMNS))
def test_errors_have_them(table, place, name):
    told = []
    for value in (True, "x", 1):
        try:
            table.read(where=pt.col(f"c{place}") == value)
        except pt.PartitaError as error:
            told.append(str(error))
    for column in (pa.array([True]), pa.array(["x"]), pa.array([{"z": 1}])):
        try:
            table.stage(ROWS.set_column(place, f"c{place}", column))
        except pt.PartitaError as error:
            told.append(str(error))
    assert not [text for text in told if RUST.search(text)]
    assert name == "null" or any(name in text for text in told)


def test_the_representation_of_a_table_has_them(table):
    lines = [line.split(maxsplit=1) for line in repr(table).splitlines()]
    shown = [words[1] for words in lines if words[0].startswith("c") and words[0] != "columns"]
    assert shown == list(COLUMNS)


def test_a_notebook_has_them(table):
    for shown in (table._repr_html_(), table.scan()._repr_html_()):
        for name in ("large_string", "double", "date32"):
            assert name not in shown


def test_the_command_has_them(table):
    ran = subprocess.run(
        [sys.executable, "-m", "partita", "schema", table.url, "--json"],
        capture_output=True,
        check=True,
        timeout=60,
    )
    assert [column["type"] for column in json.loads(ran.stdout)] == list(COLUMNS)
