"""Conditions of Polars as predicates.

Polars joins conditions by three-valued logic, as predicates do. They differ in NaN, which in Polars
equals itself and is larger than all other values; the predicate says so.
"""

from __future__ import annotations

import functools
import io
import json
import operator
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from partita.engines._conditions import UNTRANSLATED, Conditions, Unfit, constant
from partita.expression import Expr

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa

__all__ = ["predicate_of"]

_COMPARE = {"Eq": "==", "NotEq": "!=", "Lt": "<", "LtEq": "<=", "Gt": ">", "GtEq": ">="}
_MIRRORED = {"==": "==", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
_BETWEEN = {"Both": (">=", "<="), "Left": (">=", "<"), "Right": (">", "<="), "None": (">", "<")}
_AND, _OR = ("And", "LogicalAnd"), ("Or", "LogicalOr")

Node = Mapping[str, Any]


def predicate_of(condition: pl.Expr, schema: pa.Schema) -> tuple[Expr | None, bool]:
    """A predicate for all rows that a condition selects, and whether it is for these alone.

    Without a predicate no file can be left out.
    """
    import polars as pl

    translator = _Translator(schema)
    try:
        parts = _terms(json.loads(condition.meta.serialize(format="json")), _AND)
    except (pl.exceptions.PolarsError, ValueError, RecursionError):
        return None, False
    found: Expr | None = None
    exact = True
    for part in parts:
        try:
            term = translator.condition(part)
        except (pl.exceptions.PolarsError, *UNTRANSLATED):
            exact = False
        else:
            found = term if found is None else found & term
    return found, exact


def _terms(node: Any, ops: tuple[str, ...]) -> list[Any]:
    """The operands of nested uses of one operator; another node is its own only operand."""
    terms = []
    left = [node]
    while left:
        one = left.pop()
        kind, inner = _named(one)
        if kind == "BinaryExpr" and inner.get("op") in ops:
            left += [inner["right"], inner["left"]]
        else:
            terms.append(one)
    return terms


def _named(node: Any) -> tuple[str, Any]:
    """The kind of a node and its content; an unknown kind for a node in another form."""
    if isinstance(node, Mapping) and len(node) == 1:
        ((kind, inner),) = node.items()
        return kind, inner
    return "", {}


class _Translator:
    def __init__(self, schema: pa.Schema) -> None:
        self._conditions = Conditions(schema)

    def condition(self, node: Any) -> Expr:
        kind, inner = _named(node)
        if kind == "Column":
            return self._conditions.is_true(inner)
        if kind == "Literal":
            return self._constant(node)
        if kind == "BinaryExpr":
            return self._binary(node, inner)
        if kind == "Function":
            function, options = _boolean(inner["function"])
            return self._function(function, options, inner["input"])
        raise Unfit

    def _constant(self, node: Any) -> Expr:
        value = _values(node)[0].as_py()
        if not isinstance(value, bool):
            raise Unfit
        return constant(value)

    def _binary(self, node: Any, inner: Node) -> Expr:
        op, left, right = inner["op"], inner["left"], inner["right"]
        for ops, join in ((_AND, operator.and_), (_OR, operator.or_)):
            if op in ops:
                return functools.reduce(join, map(self.condition, _terms(node, ops)))
        if op not in _COMPARE:
            raise Unfit
        if _named(left)[0] == "Column":
            return self._compared(_column(left), _COMPARE[op], right)
        return self._compared(_column(right), _MIRRORED[_COMPARE[op]], left)

    def _compared(self, name: str, op: str, node: Any) -> Expr:
        values = _values(node)
        if not self._conditions.is_float(name):
            return self._conditions.compare(name, op, values)
        nan = self._conditions.is_nan(name)
        if values[0].as_py() == values[0].as_py():
            found = self._conditions.compare(name, op, values)
            return found | nan if op in (">", ">=") else found
        if op in ("==", ">="):
            return nan
        if op in ("!=", "<"):
            return ~nan
        raise Unfit

    def _function(self, function: str, options: Node, given: list[Any]) -> Expr:
        if function == "Not":
            return ~self.condition(given[0])
        name = _column(given[0])
        if function == "IsNull":
            return self._conditions.is_null(name)
        if function == "IsNotNull":
            return self._conditions.is_not_null(name)
        if function == "IsNan":
            return self._conditions.is_nan(name)
        if function == "IsNotNan":
            return ~self._conditions.is_nan(name)
        if function == "IsIn" and options.get("nulls_equal") is False:
            return self._conditions.is_in(name, _values(given[1], listed=True).drop_null())
        if function == "IsBetween":
            lower, upper = _BETWEEN[options["closed"]]
            left = self._compared(name, lower, given[1])
            return left & self._compared(name, upper, given[2])
        raise Unfit


def _boolean(function: Any) -> tuple[str, Node]:
    """The name of a function of booleans, and its options."""
    kind, inner = _named(function)
    if kind != "Boolean":
        raise Unfit
    return (inner, {}) if isinstance(inner, str) else _named(inner)


def _column(node: Any) -> str:
    kind, name = _named(node)
    if kind != "Column" or not isinstance(name, str):
        raise Unfit
    return name


def _values(node: Any, listed: bool = False) -> pa.Array:
    """The value of a literal, or those of a list, as Polars evaluates it."""
    import polars as pl

    if _named(node)[0] != "Literal":
        raise Unfit
    expression = pl.Expr.deserialize(io.StringIO(json.dumps(node)), format="json")
    found = pl.select(expression).to_series()
    if listed != isinstance(found.dtype, pl.List) or len(found) != 1:
        raise Unfit
    if listed:
        found = found.item()
    return found.to_arrow(compat_level=pl.CompatLevel.oldest())
