"""Predicates in disjunctive normal form: their checks, and frames filtered by them."""

from __future__ import annotations

import datetime as dt
import decimal
import warnings
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from pandas.api.types import is_bool, is_float, is_integer, is_list_like, is_scalar

from partita.compat.plateau.serialization._names import ensure_string_type

__all__ = [
    "OPERATORS",
    "check_predicates",
    "columns_in_predicates",
    "filter_array_like",
    "filter_df",
    "filter_df_from_predicates",
    "filter_predicates_by_column",
    "is_null",
    "normalize_predicates",
    "normalize_value",
]

OPERATORS = ("==", "!=", "<", "<=", ">", ">=", "in", "not in", "is distinct from")


def is_null(value: Any) -> bool:
    """Whether `value` is one of the many forms of a missing value."""
    return bool(is_scalar(value) and pd.isnull(value))


def check_predicates(predicates: Any) -> None:
    """Check that predicates are well-formed.

    Raises
    ------
    ValueError
        If they are not.
    NotImplementedError
        If a value is a byte string that contains a zero byte.
    """
    if predicates is None:
        return
    if len(predicates) == 0:
        raise ValueError("Empty predicates")
    for place, conjunction in enumerate(predicates):
        if not isinstance(conjunction, list):
            raise ValueError(
                f"Invalid predicates: Conjunction {place} should be a list of 3-tuples, got object "
                f"of type {type(conjunction)} instead."
            )
        if not conjunction:
            raise ValueError(f"Invalid predicates: Conjunction {place} is empty")
        for number, clause in enumerate(conjunction):
            _check_clause(f"Clause {number} in conjunction {place}", clause)


def _check_clause(where: str, clause: Any) -> None:
    if not isinstance(clause, tuple) and len(clause) == 3:
        raise ValueError(
            f"Invalid predicates: {where} should be a 3-tuple, got object of type {type(clause)} "
            "instead"
        )
    _, op, value = clause
    several = value if isinstance(value, list) else [value]
    if any(isinstance(each, bytes) and b"\x00" in each for each in several):
        raise NotImplementedError(
            "Null-terminated binary strings are not supported as predicate values."
        )
    if is_null(value) and op not in ("==", "!=", "is distinct from"):
        raise ValueError(
            f"Invalid predicates: {where} with null value and operator '{op}'. Only operators "
            "supporting null values are '==', '!=', 'in' and 'is distinct from'."
        )
    kind = None
    if op in ("in", "not in"):
        kind = "tuple or list" if is_scalar(value) else None
    elif is_list_like(value):
        kind = "scalar type"
    if kind is not None:
        raise ValueError(
            f"Invalid predicates in {where.lower()} with operator '{op}' must be used with a "
            f"{kind}, got {type(value)} instead."
        )


def columns_in_predicates(predicates: Any) -> set[str]:
    """The columns that predicates name."""
    check_predicates(predicates)
    return {clause[0] for conjunction in predicates or () for clause in conjunction}


def filter_predicates_by_column(predicates: Any, columns: Iterable[str]) -> Any:
    """The predicates without the conditions on other columns; None if nothing is left."""
    if predicates is None:
        return None
    check_predicates(predicates)
    kept = [[clause for clause in each if clause[0] in columns] for each in predicates]
    return [conjunction for conjunction in kept if conjunction] or None


def filter_df(df: pd.DataFrame, filter_query: str | None = None) -> pd.DataFrame:
    """The rows of a frame for which a query of pandas holds."""
    return df.query(filter_query) if filter_query is not None and len(df) else df


def filter_df_from_predicates(
    df: pd.DataFrame, predicates: Any, strict_date_types: bool = False
) -> pd.DataFrame:
    """The rows of a frame for which predicates hold."""
    if predicates is None:
        return df
    chosen = np.zeros(len(df), dtype=bool)
    for conjunction in predicates:
        holds = np.ones(len(df), dtype=bool)
        for column, op, value in conjunction:
            name = ensure_string_type(column)
            holds = filter_array_like(
                df[name].values, op, value, holds, None, strict_date_types, name
            )
        chosen |= holds
    return df[chosen]


def filter_array_like(
    array_like: Any,
    op: str,
    value: Any,
    mask: Any = None,
    out: Any = None,
    strict_date_types: bool = False,
    column_name: str | None = None,
) -> Any:
    """Where a condition holds for the values of an array, as an array of booleans.

    Parameters
    ----------
    array_like
        The values.
    op, value
        The condition.
    mask
        Nothing is chosen where this is False.
    out
        An array to write the result to.
    strict_date_types
        Refuse to compare dates with timestamps.
    column_name
        The name that errors speak of.
    """
    if op not in OPERATORS:
        raise NotImplementedError("op not supported")
    result = np.ones(len(array_like), dtype=bool) if out is None else out
    if is_list_like(value) and len(value) == 0:
        holds: Any = np.zeros(len(array_like), dtype=bool)
    else:
        values, wanted = _comparable(array_like, value, strict_date_types, column_name)
        holds = _holds(values, op, wanted)
    np.logical_and(holds, True if mask is None else mask, out=result)
    return result


def _holds(values: pd.Series, op: str, value: Any) -> Any:
    nulls = values.isna().to_numpy()
    if op in ("in", "not in"):
        listed = list(value)
        found = values.isin([each for each in listed if not is_null(each)]).to_numpy(dtype=bool)
        if any(is_null(each) for each in listed):
            found |= nulls
        return found if op == "in" else ~found
    if op == "!=":
        warnings.warn(
            "The current behaviour of the != will be deprecated in version 5.0.0. The new "
            "behaviour will be SQL-like, i.e. NaN values will be filtered out.",
            DeprecationWarning,
            stacklevel=4,
        )
    if op in ("!=", "is distinct from"):
        return ~nulls if is_null(value) else ~_compared(values, "==", value, nulls)
    return nulls if is_null(value) else _compared(values, op, value, nulls)


_COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "==": lambda one, other: one == other,
    "<": lambda one, other: one < other,
    "<=": lambda one, other: one <= other,
    ">": lambda one, other: one > other,
    ">=": lambda one, other: one >= other,
}


def _compared(values: pd.Series, op: str, value: Any, nulls: Any) -> Any:
    holds = np.zeros(len(values), dtype=bool)
    holds[~nulls] = np.asarray(_COMPARE[op](values[~nulls], value), dtype=bool)
    return holds


# What may be compared although the kinds of numpy differ: of the value, of the array.
_COMPATIBLE = {
    ("u", "i"), ("i", "u"), ("O", "S"), ("O", "U"), ("S", "O"), ("U", "O"), ("b", "O"),
}  # fmt: skip


def _comparable(
    array_like: Any, value: Any, strict_date_types: bool, name: str | None
) -> tuple[pd.Series, Any]:
    values = pd.Series(array_like)
    if isinstance(values.dtype, pd.CategoricalDtype):
        values = values.astype(values.dtype.categories.dtype)
    given = pd.Series(list(value) if is_list_like(value) else [value]).dtype
    if values.dtype.kind == "f" and given.kind != "f" and values.isna().all():
        values = values.astype(object)
        return values, value
    kinds = (given.kind, values.dtype.kind)
    dates = kinds == ("O", "M") and not strict_date_types
    if len(set(kinds)) > 1 and kinds not in _COMPATIBLE and not dates:
        raise TypeError(
            f"Unexpected type for predicate: Column {name or '<unknown>'!r} has pandas type "
            f"'{values.dtype}', but predicate value {value!r} has pandas type '{given}' (Python "
            f"type '{type(value)}')."
        )
    if values.dtype.kind == "M":
        value = [pd.Timestamp(v) for v in value] if is_list_like(value) else pd.Timestamp(value)
    return values, value


def normalize_predicates(schema: pa.Schema, predicates: Any) -> Any:
    """Predicates with values of the types of their columns.

    A conjunction on a column that holds nothing but nulls is left out: it never holds.

    Raises
    ------
    KeyError
        If there is no such column.
    TypeError
        If a value is of a class that does not fit the column.
    """
    result = []
    for conjunction in predicates:
        normalized = []
        for column, op, value in conjunction:
            if schema.get_field_index(column) < 0:
                raise KeyError(column)
            kind = schema.field(column).type
            if pa.types.is_null(kind):
                break
            if op in ("in", "not in"):
                plain: Any = [normalize_value(kind, each, column) for each in value]
            else:
                plain = normalize_value(kind, value, column)
            normalized.append((column, op, plain))
        else:
            result.append(normalized)
    return result


def normalize_value(kind: pa.DataType, value: Any, column: str) -> Any:
    """One value as the type of its column has it."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    for fits, convert in _LITERALS:
        if fits(kind):
            found = convert(value)
            if found is not _MISFIT:
                return found
    raise TypeError(
        f"Unexpected type for predicate: Column {column!r} has Arrow type {kind}, but predicate "
        f"value {value!r} has pandas type '{pd.Series([value]).dtype}' (Python type "
        f"'{type(value)}')"
    )


_MISFIT = object()


def _text(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode()
    return value if isinstance(value, str) or is_null(value) else _MISFIT


def _binary(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode()
    return value if isinstance(value, bytes) or is_null(value) else _MISFIT


def _date(value: Any) -> Any:
    if isinstance(value, bytes):
        value = value.decode()
    if isinstance(value, str):
        return dt.datetime.strptime(value, "%Y-%m-%d").date()
    if isinstance(value, dt.datetime) or not isinstance(value, dt.date):
        return _MISFIT
    return value


def _moment(value: Any) -> Any:
    return value if isinstance(value, (dt.datetime, np.datetime64)) else _MISFIT


def _when(test: Callable[[Any], bool]) -> Callable[[Any], Any]:
    return lambda value: value if test(value) else _MISFIT


_LITERALS: list[tuple[Callable[[pa.DataType], bool], Callable[[Any], Any]]] = [
    (pa.types.is_string, _text),
    (pa.types.is_large_string, _text),
    (pa.types.is_binary, _binary),
    (pa.types.is_large_binary, _binary),
    (pa.types.is_integer, _when(is_integer)),
    (pa.types.is_floating, _when(is_float)),
    (pa.types.is_boolean, _when(is_bool)),
    (pa.types.is_timestamp, _moment),
    (pa.types.is_date, _date),
    (pa.types.is_decimal, _when(lambda value: isinstance(value, (decimal.Decimal, int)))),
    (pa.types.is_time, _when(lambda value: isinstance(value, (dt.time, str)))),
]
