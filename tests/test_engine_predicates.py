"""Conditions in the languages of other engines select what these engines select in memory.

What an engine makes of null, NaN and values of other types is its own affair, so each is compared
with itself: the same condition on the same rows, in memory.
"""

from __future__ import annotations

import datetime as dt
import decimal
import math
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pytest
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st

import partita as pt

UTC = dt.timezone.utc
NAN = math.nan

# The values of the rows for each type, and other values to compare with.
VALUES: dict[str, tuple[pa.DataType, list[Any], list[Any]]] = {
    "int": (pa.int64(), [-3, 0, 1, 2, 2**53, 2**53 + 1, -(2**63), 2**63 - 1], [5, 2**53 + 2]),
    "uint": (pa.uint64(), [0, 1, 2, 2**64 - 1], [7, 2**63]),
    "float": (pa.float64(), [-1.5, -0.0, 0.0, 0.1, 2.0, math.inf, -math.inf, NAN], [0.2, 3.0]),
    "bool": (pa.bool_(), [True, False], []),
    "text": (pa.string(), ["", "a", "A", "b", "é", "z\U0001f600", "it's"], ["aa", "ｚ"]),
    "bytes": (pa.binary(), [b"", b"\x00", b"a", b"\xff\xfe"], [b"b"]),
    "date": (pa.date32(), [dt.date(1969, 12, 31), dt.date(1970, 1, 1), dt.date(9999, 12, 31)],
             [dt.date(2020, 2, 29)]),
    "naive": (pa.timestamp("ns"), [dt.datetime(1969, 12, 31, 23), dt.datetime(2020, 1, 1),
              dt.datetime(2020, 1, 1, 0, 0, 0, 1)], [dt.datetime(2021, 5, 6, 7)]),
    "zoned": (pa.timestamp("us", "UTC"), [dt.datetime(1, 1, 1, tzinfo=UTC),
              dt.datetime(2020, 1, 1, tzinfo=UTC), dt.datetime(9999, 12, 31, tzinfo=UTC)],
              [dt.datetime(2020, 1, 1, 12, tzinfo=UTC)]),
    "decimal": (pa.decimal128(12, 2), [decimal.Decimal(one) for one in ("-1.50", "0.00", "2.25",
                "9999999999.99")], [decimal.Decimal("1.00")]),
    "category": (pa.dictionary(pa.int32(), pa.string()), ["x", "y", "w"], ["v"]),
}  # fmt: skip
OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def rows() -> pa.Table:
    """Each value of a column with values of the others, and nulls, in runs."""
    count = 48
    columns: dict[str, pa.Array] = {"row": pa.array(range(count)), "part": pa.array([0, 1, 2] * 16)}
    for place, (name, (kind, values, _)) in enumerate(VALUES.items()):
        # One value in a few rows is null; the others come in runs of a length of their own.
        given = [
            None if (row + place) % 7 == 0 else values[row // (place % 3 + 1) % len(values)]
            for row in range(count)
        ]
        columns[name] = pa.array(given, kind)
    return pa.table(columns)


@pytest.fixture(scope="module")
def table() -> pt.Table:
    data = rows()
    made = pt.create_table(
        "memory://engine-predicates/t", data.slice(0, 0), partition_by="part", index=["int", "text"]
    )
    for start in range(0, data.num_rows, 8):
        made.append(data.slice(start, 8), row_group_rows=2)
    return made


@dataclass(frozen=True)
class Compare:
    column: str
    op: str
    value: Any


@dataclass(frozen=True)
class IsIn:
    column: str
    values: tuple[Any, ...]


@dataclass(frozen=True)
class IsNull:
    column: str


@dataclass(frozen=True)
class Not:
    inner: Any


@dataclass(frozen=True)
class Both:
    left: Any
    right: Any
    op: str


def values(name: str) -> st.SearchStrategy[Any]:
    return st.sampled_from([*VALUES[name][1], *VALUES[name][2]])


def atoms_of(name: str) -> st.SearchStrategy[Any]:
    operators = ["==", "!="] if name == "bool" else list(OPERATORS)
    return st.one_of(
        st.builds(Compare, st.just(name), st.sampled_from(operators), values(name)),
        st.builds(IsIn, st.just(name), st.lists(values(name), min_size=1, max_size=4).map(tuple)),
        st.builds(IsNull, st.just(name)),
    )


atoms = st.sampled_from(list(VALUES)).flatmap(atoms_of)
conditions = st.recursive(
    atoms,
    lambda inner: st.one_of(
        st.builds(Not, inner), st.builds(Both, inner, inner, st.sampled_from(["and", "or"]))
    ),
    max_leaves=5,
)


def joined(condition: Any, build: Callable[[Any], Any]) -> Any:
    """A condition in a language whose expressions are joined by ``~``, ``&`` and ``|``."""
    match condition:
        case Not(inner):
            return ~joined(inner, build)
        case Both(left, right, op):
            left, right = joined(left, build), joined(right, build)
            return left & right if op == "and" else left | right
    return build(condition)


def native(condition: Any) -> pt.Expr:
    def build(one: Any) -> pt.Expr:
        column = pt.col(one.column)
        match one:
            case Compare(_, op, value):
                return OPERATORS[op](column, value)
            case IsIn(_, listed):
                return column.isin(listed)
        return column.is_null()

    return joined(condition, build)


def of_polars(condition: Any) -> pl.Expr:
    def build(one: Any) -> pl.Expr:
        column, kind = pl.col(one.column), SCHEMA[one.column]
        match one:
            case Compare(_, op, value):
                return OPERATORS[op](column, pl.lit(value, dtype=kind))
            case IsIn(_, listed):
                return column.is_in(pl.Series(listed, dtype=kind).implode())
        return column.is_null()

    return joined(condition, build)


def of_pyarrow(condition: Any) -> pc.Expression:
    def build(one: Any) -> pc.Expression:
        column, kind = ds.field(one.column), VALUES[one.column][0]
        if pa.types.is_dictionary(kind):
            kind = pa.string()
        match one:
            case Compare(_, op, value):
                return OPERATORS[op](column, pa.scalar(value, kind))
            case IsIn(_, listed):
                return column.isin(pa.array(listed, kind))
        return column.is_null()

    return joined(condition, build)


SQL_TYPES = {
    "int": "bigint", "uint": "ubigint", "float": "double", "bool": "boolean", "text": "varchar",
    "bytes": "blob", "date": "date", "naive": "timestamp_ns", "zoned": "timestamptz",
    "decimal": "decimal(12, 2)", "category": "varchar",
}  # fmt: skip


def of_sql(condition: Any) -> str:
    match condition:
        case Compare(column, op, value):
            return f"({column} {op} {sql_value(column, value)})"
        case IsIn(column, listed):
            return f"({column} in ({', '.join(sql_value(column, one) for one in listed)}))"
        case IsNull(column):
            return f"({column} is null)"
        case Not(inner):
            return f"(not {of_sql(inner)})"
        case Both(left, right, op):
            return f"({of_sql(left)} {op} {of_sql(right)})"
    raise AssertionError(condition)


def sql_value(column: str, value: Any) -> str:
    if isinstance(value, bytes):
        return "'" + "".join(f"\\x{byte:02x}" for byte in value) + "'::blob"
    if isinstance(value, dt.datetime):
        value = value.isoformat()
    text = str(value).replace("'", "''")
    return f"'{text}'::{SQL_TYPES[column]}"


def holds(condition: Any, row: dict[str, Any]) -> bool | None:
    """The documented meaning of predicates: three-valued logic, and NaN equals itself in a list."""
    match condition:
        case Not(inner):
            found = holds(inner, row)
            return None if found is None else not found
        case Both(left, right, op):
            found = {holds(left, row), holds(right, row)}
            decisive = op == "or"
            return decisive if decisive in found else None if None in found else not decisive
    value = row[condition.column]
    if isinstance(condition, IsNull):
        return value is None
    if value is None:
        return None
    if isinstance(condition, IsIn):
        return any(value == one or (value != value and one != one) for one in condition.values)
    return OPERATORS[condition.op](value, condition.value)


SCHEMA = pl.from_arrow(rows().cast(pa.schema([
    field.with_type(pa.string()) if pa.types.is_dictionary(field.type) else field
    for field in rows().schema
]))).schema  # fmt: skip


@pytest.fixture(scope="module")
def plain(table) -> pa.Table:
    """The rows as they are read, in memory."""
    return table.to_arrow()


def found(frame: Any) -> list[int]:
    return sorted(frame["row"].to_pylist() if isinstance(frame, pa.Table) else frame["row"])


PROPERTY = settings(
    deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


class TestEqualRows:
    @PROPERTY
    @given(condition=conditions)
    def test_native(self, table, plain, condition):
        expected = [row["row"] for row in plain.to_pylist() if holds(condition, row)]
        assert found(table.scan(["row"], native(condition)).to_arrow()) == sorted(expected)

    @PROPERTY
    @given(condition=conditions)
    def test_polars(self, table, plain, condition):
        told = of_polars(condition)
        expected = pl.from_arrow(plain).filter(told)
        assert found(table.lazy().filter(told).select("row").collect()) == found(expected)

    @PROPERTY
    @given(condition=conditions)
    def test_pyarrow_dataset(self, table, plain, condition):
        told = of_pyarrow(condition)
        dataset = table.to_pyarrow_dataset()
        expected = found(plain.filter(told))
        assert found(dataset.to_table(columns=["row"], filter=told)) == expected
        assert dataset.count_rows(filter=told) == len(expected)

    @PROPERTY
    @given(condition=conditions)
    def test_dataset_in_polars(self, table, plain, condition):
        told = of_polars(condition)
        frame = pl.scan_pyarrow_dataset(table.to_pyarrow_dataset())
        # Polars leaves it to the dataset what NaN is, and gives numbers types of its own.
        try:
            expected = pl.scan_pyarrow_dataset(ds.dataset(plain)).filter(told).collect()
        except pa.ArrowInvalid:
            reject()
        assert found(frame.filter(told).select("row").collect()) == found(expected)

    @PROPERTY
    @given(condition=conditions)
    def test_duckdb(self, table, plain, condition):
        query = f"select row from t where {of_sql(condition)}"
        with duckdb.connect() as connection:
            connection.register("t", plain)
            expected = connection.sql(query).to_arrow_table()
        assert found(table.sql(query).to_arrow()) == found(expected)


def pushed(table: pt.Table) -> bool:
    """Whether the scan did all of the filtering."""
    engine = table.last_run.explain().details["engine"]
    return engine["applied_after"] is None


@pytest.mark.parametrize("name", [name for name in VALUES])
@pytest.mark.parametrize("op", [*OPERATORS, "in", "is null"])
class TestPushed:
    """Comparisons with a value of the column's type are left to the scan, in each language."""

    def atom(self, name, op):
        value = VALUES[name][1][1]
        if op == "in":
            # To pyarrow's is_in zero has a sign, so conditions on floats may not name it.
            return IsIn(name, (VALUES[name][1][0], 0.1 if name == "float" else value))
        return IsNull(name) if op == "is null" else Compare(name, op, value)

    def test_polars(self, table, name, op):
        table.lazy().filter(of_polars(self.atom(name, op))).collect()
        assert pushed(table) == (name != "bool" or op in ("==", "!=", "in", "is null"))

    def test_pyarrow(self, table, name, op):
        table.to_pyarrow_dataset().to_table(filter=of_pyarrow(self.atom(name, op)))
        assert pushed(table) == (name != "bool" or op in ("==", "!=", "in", "is null"))


class TestLeftToTheEngine:
    """Conditions that no predicate says are applied to what was read, the rest is pushed."""

    def test_polars(self, table, plain):
        told = (
            (pl.col("part") == 1) & (pl.col("int") + 1 > 2) & (pl.col("text").str.len_chars() > 0)
        )
        got = table.lazy().filter(told).select("row").collect()
        assert found(got) == found(pl.from_arrow(plain).filter(told))
        account = table.last_run.explain()
        assert account.details["engine"]["columns"] is not None
        assert "part == 1" in str(account) and "applied after" in str(account)
        assert account.details["pruned_by_partition"] > 0

    def test_pyarrow(self, table, plain):
        told = (ds.field("part") == 1) & (ds.field("row") + 1 > 20)
        got = table.to_pyarrow_dataset().to_table(columns=["row"], filter=told)
        assert found(got) == found(plain.filter(told))
        account = table.last_run.explain()
        assert "applied after" in str(account)
        assert account.details["pruned_by_partition"] > 0

    def test_long_chains(self, table, plain):
        """Thousands of terms are no deeper than two."""
        of_arrow, of_frame = ds.field("int") == 0, pl.col("int") == 0
        for value in range(1, 2_000):
            of_arrow = of_arrow | (ds.field("int") == value)
        for value in range(1, 200):
            of_frame = of_frame | (pl.col("int") == value)
        expected = found(plain.filter(ds.field("int").isin([0, 1, 2])))
        assert found(table.to_pyarrow_dataset().to_table(filter=of_arrow)) == expected
        assert pushed(table)
        assert found(table.lazy().filter(of_frame).collect()) == expected
        assert pushed(table)

    @pytest.mark.parametrize(
        "told",
        [
            ds.field("row") == 7.0,
            ds.field("row") > 7.5,
            ds.field("decimal") > 2.2,
            ds.field("float").isin([0.0]),
            ~ds.field("float").isin([-0.0, NAN]),
            ds.field("float").is_null(nan_is_null=True),
            ~ds.field("float").is_null(nan_is_null=True),
            ds.field("int").isin([1, None]),
            ~ds.field("int").isin([1, None]),
            ~ds.field("int").isin([1]),
            ~ds.field("int").isin(pa.array([], pa.int64())),
            ds.field("float").is_nan(),
            ds.field("bool"),
            ~ds.field("bool"),
            ds.scalar(True),
            ds.scalar(False),
            pa.scalar(1) < ds.field("int"),
            ds.field("naive") == pa.scalar(1577836800000001000, pa.timestamp("ns")),
            ds.field("date") >= pa.scalar(dt.datetime(1970, 1, 1), pa.timestamp("us")),
            pc.if_else(ds.field("bool"), ds.field("int") > 1, ds.field("float") > 1),
            pc.equal(ds.field("int"), ds.field("row")),
            pc.match_substring(ds.field("text"), "a"),
        ],
        ids=str,
    )
    def test_corners_of_pyarrow(self, table, plain, told):
        dataset = table.to_pyarrow_dataset()
        expected = found(plain.filter(told))
        assert found(dataset.to_table(filter=told)) == expected
        assert dataset.count_rows(filter=told) == len(expected)
        assert found(dataset.filter(told).to_table()) == expected

    @pytest.mark.parametrize(
        "told",
        [
            pl.col("int") == 2.0**53,
            pl.col("int") > 0.5,
            pl.col("decimal") > 2.2,
            pl.col("float").is_nan(),
            pl.col("float").is_not_nan(),
            pl.col("float") > NAN,
            pl.col("float") <= NAN,
            ~(pl.col("float") <= NAN),
            pl.col("float").is_in([0.0, NAN]),
            pl.col("int").is_in([1, None]),
            ~pl.col("int").is_in([1, None]),
            pl.col("int").is_in([1, None], nulls_equal=True),
            pl.col("int").is_in([]),
            ~pl.col("int").is_in([]),
            pl.col("int").eq_missing(None),
            pl.col("int").ne_missing(1),
            pl.col("bool"),
            ~pl.col("bool"),
            pl.lit(True),
            pl.lit(False),
            pl.lit(1) < pl.col("int"),
            pl.col("int").is_between(0, 2, closed="left"),
            ~pl.col("float").is_between(0, 2, closed="right"),
            pl.col("naive") > dt.datetime(2020, 1, 1),
            pl.col("naive") == dt.datetime(2020, 1, 1),
            pl.col("naive") <= dt.date(2020, 1, 1),
            pl.col("zoned") <= dt.datetime(2020, 1, 1, tzinfo=UTC),
            pl.col("date") >= dt.datetime(1970, 1, 1),
            pl.col("int") == pl.col("row"),
            pl.col("text").str.starts_with("a"),
            pl.col("int").map_batches(lambda values: values > 1, return_dtype=pl.Boolean),
            pl.col("int") ^ pl.col("row") == 1,
        ],
        ids=str,
    )
    def test_corners_of_polars(self, table, plain, told):
        expected = found(pl.from_arrow(plain).filter(told))
        assert found(table.lazy().filter(told).collect()) == expected
        assert (
            found(table.lazy().filter(told).select("row").collect(engine="streaming")) == expected
        )
