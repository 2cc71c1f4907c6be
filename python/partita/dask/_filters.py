"""Filters of Dask as predicates, where both mean the same rows.

pandas and predicates differ in missing values. In a column of a numpy type a comparison with a
missing value is false, and ``!=`` is true; in one of a nullable type, as in a predicate, it is
missing, and a missing condition selects nothing. Where that makes a difference, under a negation
and for ``!=``, the predicate says so.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import numpy as np
from dask.dataframe.dask_expr import _expr as dx
from dask.delayed import DelayedLeaf

from partita._arrow import pyarrow
from partita.errors import PartitaError
from partita.expression import Column, Expr, col

__all__ = ["pushed"]

_COMPARE: dict[type, Callable[[Column, Any], Expr]] = {
    dx.LT: lambda column, value: column < value,
    dx.LE: lambda column, value: column <= value,
    dx.GT: lambda column, value: column > value,
    dx.GE: lambda column, value: column >= value,
    dx.EQ: lambda column, value: column == value,
    dx.NE: lambda column, value: column != value,
}
_MIRRORED = {dx.LT: dx.GT, dx.LE: dx.GE, dx.GT: dx.LT, dx.GE: dx.LE, dx.EQ: dx.EQ, dx.NE: dx.NE}


def pushed(read: Any, condition: Any) -> Expr | None:
    """The predicate that selects the rows that `condition` does; None if there is none."""
    try:
        return _predicate(read, condition, False)
    except (_Unfit, PartitaError):
        return None


class _Unfit(Exception):
    """A condition that is not to be told by a predicate."""


def _predicate(read: Any, condition: Any, negated: bool) -> Expr:
    """`negated` is set below a negation, where unknown and false are not the same."""
    if isinstance(condition, dx.And):
        left = _predicate(read, condition.left, negated)
        return left & _predicate(read, condition.right, negated)
    if isinstance(condition, dx.Or):
        left = _predicate(read, condition.left, negated)
        return left | _predicate(read, condition.right, negated)
    if isinstance(condition, dx.Invert):
        return ~_predicate(read, condition.frame, True)
    if isinstance(condition, dx.Isin):
        return _is_in(read, condition, negated)
    if isinstance(condition, (dx.IsNa, dx.NotNull)):
        return _is_null(read, condition)
    if isinstance(condition, dx.Between):
        return _between(read, condition, negated)
    for operator in _COMPARE:
        if type(condition) is operator:
            return _comparison(read, condition, operator, negated)
    raise _Unfit


def _comparison(read: Any, condition: Any, operator: type, negated: bool) -> Expr:
    left, right = condition.left, condition.right
    if not isinstance(right, dx.Expr):
        return _compared(read, _column(read, left), operator, right, negated)
    if not isinstance(left, dx.Expr):
        return _compared(read, _column(read, right), _MIRRORED[operator], left, negated)
    raise _Unfit


def _compared(read: Any, name: str, operator: type, value: Any, negated: bool) -> Expr:
    _check(read, name, value)
    compared = _COMPARE[operator](col(name), value)
    if _is_nullable(read, name):
        return compared
    if operator is dx.NE:
        return compared | col(name).is_null()
    return compared & col(name).is_not_null() if negated else compared


def _between(read: Any, condition: Any, negated: bool) -> Expr:
    lower, upper = {
        "both": (dx.GE, dx.LE),
        "neither": (dx.GT, dx.LT),
        "left": (dx.GE, dx.LT),
        "right": (dx.GT, dx.LE),
    }[condition.inclusive]
    name = _column(read, condition.frame)
    left = _compared(read, name, lower, condition.operand("left"), negated)
    return left & _compared(read, name, upper, condition.operand("right"), negated)


def _is_in(read: Any, condition: Any, negated: bool) -> Expr:
    name = _column(read, condition.frame)
    values = _values(condition.operand("values"))
    for value in values:
        _check(read, name, value)
    # In pandas a missing value is in no list, whatever the type.
    found = col(name).isin(values)
    return found & col(name).is_not_null() if negated else found


def _values(given: Any) -> list[Any]:
    """The values that stand in the condition; Dask wraps them as something delayed."""
    if isinstance(given, dx._DelayedExpr):
        held = given.operand("obj")
        if not isinstance(held, DelayedLeaf):
            raise _Unfit
        given = held._obj
        given = getattr(given, "value", given)
    if not isinstance(given, (list, tuple, set, frozenset, np.ndarray)):
        raise _Unfit
    return list(given)


def _is_null(read: Any, condition: Any) -> Expr:
    name = _column(read, condition.frame)
    if pyarrow().types.is_floating(_type(read, name)):
        # NaN is a missing value for pandas, but a value for a predicate.
        raise _Unfit
    column = col(name)
    return column.is_null() if isinstance(condition, dx.IsNa) else column.is_not_null()


def _column(read: Any, projection: Any) -> str:
    if (
        isinstance(projection, dx.Projection)
        and projection.ndim == 1
        and isinstance(projection.frame, type(read))
        and _same_rows(read, projection.frame)
    ):
        return projection.operand("columns")
    raise _Unfit


def _same_rows(read: Any, other: Any) -> bool:
    """Two reads whose rows are the same one by one; the columns may differ."""
    ignored = {"columns"}
    return all(
        read.operand(name) == other.operand(name)
        for name in read._parameters
        if name not in ignored
    )


def _type(read: Any, name: str) -> Any:
    return read.source.table().schema.field(name).type


def _is_nullable(read: Any, name: str) -> bool:
    import pandas as pd

    dtype = read.form.meta(_schema(read, name), read.source).dtypes[name]
    if isinstance(dtype, pd.CategoricalDtype):
        return False
    if isinstance(dtype, pd.DatetimeTZDtype):
        return False
    return isinstance(dtype, pd.api.extensions.ExtensionDtype)


def _schema(read: Any, name: str) -> Any:
    schema = read.source.table().schema
    index = read.form.index
    names = [name] if index in (None, name) else [name, index]
    return pyarrow().schema([schema.field(one) for one in names], schema.metadata)


def _check(read: Any, name: str, value: Any) -> None:
    """Refuses values that pandas and predicates compare differently with a column."""
    types = pyarrow().types
    kind = _type(read, name)
    if type(value).__name__ == "datetime64":
        fits_moment = types.is_timestamp(kind) and kind.tz is None and value == value
        if not fits_moment:
            raise _Unfit
        return
    if type(value).__module__ == "numpy" and hasattr(value, "item"):
        value = value.item()
    if any(name == category for category, _ in read.form.categoricals):
        raise _Unfit
    if types.is_integer(kind) or types.is_floating(kind):
        fits = isinstance(value, (int, float)) and not isinstance(value, bool) and value == value
    elif types.is_boolean(kind):
        fits = isinstance(value, bool)
    elif types.is_string(kind) or types.is_large_string(kind):
        fits = isinstance(value, str)
    elif types.is_timestamp(kind):
        fits = isinstance(value, dt.datetime) and value == value
        fits = fits and (value.tzinfo is None) == (kind.tz is None)
    elif types.is_date(kind):
        fits = read.form.dates_as_object and isinstance(value, dt.date)
        fits = fits and not isinstance(value, dt.datetime)
    else:
        fits = False
    if not fits:
        raise _Unfit
