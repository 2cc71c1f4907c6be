"""Predicates of plateau as expressions of the engine.

The two differ in nulls: in plateau ``!=`` holds for a null, and so does ``not in``.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Iterable
from typing import Any

import pyarrow as pa

from partita.compat.plateau.core.index import IndexBase
from partita.compat.plateau.serialization._predicates import (
    OPERATORS,
    check_predicates,
    columns_in_predicates,
    is_null,
    normalize_predicates,
)
from partita.expression import Expr, col

__all__ = ["checked", "expression", "scope_expression"]

_NEVER = "false"


def checked(predicates: Any, schema: pa.Schema) -> Any:
    """Predicates with values of the types of their columns; None if there are none.

    Raises what plateau raises for those that are malformed or do not fit the schema.
    """
    if predicates is None:
        return None
    check_predicates(predicates)
    for conjunction in predicates:
        for column, op, _ in conjunction:
            if op not in OPERATORS:
                raise NotImplementedError("op not supported")
            if schema.get_field_index(column) < 0:
                raise KeyError(column)
    columns_in_predicates(predicates)
    return normalize_predicates(schema, predicates)


def expression(predicates: Iterable[Iterable[tuple[str, str, Any]]]) -> Expr:
    """Predicates that have been checked, as an expression."""
    either = [
        functools.reduce(operator.and_, (_condition(*clause) for clause in conjunction))
        for conjunction in predicates
    ]
    return functools.reduce(operator.or_, either) if either else Expr.parse(_NEVER)


def _condition(column: str, op: str, value: Any) -> Expr:
    this = col(column)
    if op in ("in", "not in"):
        return _membership(column, op == "not in", list(value))
    if op in ("!=", "is distinct from"):
        return this.is_not_null() if is_null(value) else (this != value) | this.is_null()
    if is_null(value):
        return this.is_null()
    return this._compare(op, value)


def _membership(column: str, negated: bool, values: list[Any]) -> Expr:
    this = col(column)
    plain = [value for value in values if not is_null(value)]
    nulls = len(plain) < len(values)
    found = this.isin(plain) if plain else Expr.parse(_NEVER)
    if not negated:
        return found | this.is_null() if nulls else found
    if not plain:
        return this.is_not_null() if nulls else Expr.parse("true")
    return this.not_in(plain) if nulls else this.not_in(plain) | this.is_null()


def scope_expression(delete_scope: Any, dataset: Any) -> Expr | None:
    """What `delete_scope` selects; None for nothing.

    Raises
    ------
    ValueError
        If it is empty or names a column that is neither a partition column nor indexed: it would
        not select what was meant.
    """
    either = [_equalities(scope, dataset) for scope in delete_scope or ()]
    return functools.reduce(operator.or_, either) if either else None


def _equalities(scope: Any, dataset: Any) -> Expr:
    unknown = set(scope) - set(dataset.index_columns)
    if unknown or not scope:
        what = f"{sorted(unknown)} in it is no such column" if unknown else "this one is empty"
        raise ValueError(
            f"A delete_scope names partition columns and indexed columns and {what}. Such a column "
            f"is one of {sorted(dataset.index_columns)}"
        )
    conditions = []
    for column, value in scope.items():
        kind = dataset.schema.field(column).type
        conditions.append(col(column) == IndexBase.normalize_value(kind, value))
    return functools.reduce(operator.and_, conditions)
