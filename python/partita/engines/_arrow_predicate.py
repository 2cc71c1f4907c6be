"""Filters of pyarrow as predicates.

Both compare as IEEE 754 has it, and join conditions by three-valued logic. They differ in
``is_in``, which is never null in pyarrow: where that makes a difference, under a negation, the
predicate says so.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable
from typing import TYPE_CHECKING

from partita._arrow import pyarrow
from partita.engines._arrow_tree import Call, Field, Literal, Node, tree_of
from partita.engines._conditions import UNTRANSLATED, Conditions, Unfit, constant
from partita.expression import Expr

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.compute as pc

__all__ = ["predicate_of"]

_COMPARE = {
    "equal": "==",
    "not_equal": "!=",
    "less": "<",
    "less_equal": "<=",
    "greater": ">",
    "greater_equal": ">=",
}
_MIRRORED = {"==": "==", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
_JOINED: dict[str, Callable[[Expr, Expr], Expr]] = {
    "and_kleene": operator.and_,
    "or_kleene": operator.or_,
}
_MATCH, _SKIP = 0, 1


def predicate_of(condition: pc.Expression, schema: pa.Schema) -> tuple[Expr | None, bool]:
    """A predicate for all rows that a filter selects, and whether it is for these alone.

    Without a predicate no file can be left out.
    """
    translator = _Translator(schema)
    try:
        parts = _terms(tree_of(condition), "and_kleene")
    except Unfit:
        return None, False
    found: Expr | None = None
    exact = True
    for part in parts:
        try:
            term = translator.condition(part, False)
        except UNTRANSLATED:
            exact = False
        else:
            found = term if found is None else found & term
    return found, exact


def _terms(node: Node, function: str) -> list[Node]:
    """The operands of nested calls of one function; another node is its own only operand."""
    terms: list[Node] = []
    left = [node]
    while left:
        one = left.pop()
        if isinstance(one, Call) and one.function == function:
            left += reversed(one.arguments)
        else:
            terms.append(one)
    return terms


class _Translator:
    def __init__(self, schema: pa.Schema) -> None:
        self._conditions = Conditions(schema)

    def condition(self, node: Node, negated: bool) -> Expr:
        """`negated` is set below a negation, where null and false are not the same."""
        if isinstance(node, Field):
            return self._conditions.is_true(node.name)
        if isinstance(node, Literal):
            return self._constant(node)
        if node.function in _COMPARE:
            return self._comparison(node)
        if node.function in _JOINED:
            terms = [self.condition(one, negated) for one in _terms(node, node.function)]
            return functools.reduce(_JOINED[node.function], terms)
        if node.function == "invert":
            return ~self.condition(node.arguments[0], True)
        if node.function == "is_in":
            return self._is_in(node, negated)
        if node.function == "if_else":
            return self._known_in(node)
        return self._test(node)

    def _constant(self, node: Literal) -> Expr:
        value = node.value[0].as_py()
        if not isinstance(value, bool):
            raise Unfit
        return constant(value)

    def _comparison(self, node: Call) -> Expr:
        left, right = node.arguments
        op = _COMPARE[node.function]
        if isinstance(left, Field) and isinstance(right, Literal):
            return self._conditions.compare(left.name, op, right.value)
        if isinstance(left, Literal) and isinstance(right, Field):
            return self._conditions.compare(right.name, _MIRRORED[op], left.value)
        raise Unfit

    def _is_in(self, node: Call, negated: bool) -> Expr:
        name, found, has_null = self._listed(node)
        if has_null:
            return found | self._conditions.is_null(name)
        return found & self._conditions.is_not_null(name) if negated else found

    def _known_in(self, node: Call) -> Expr:
        """``if_else(is_valid(x), is_in(x), null)``, which is the ``in`` of predicates."""
        test, chosen, other = node.arguments
        if not (isinstance(test, Call) and isinstance(chosen, Call) and isinstance(other, Literal)):
            raise Unfit
        if (test.function, chosen.function) != ("is_valid", "is_in") or other.value[0].is_valid:
            raise Unfit
        name, found, _ = self._listed(chosen)
        if _field(test) != name:
            raise Unfit
        return found

    def _listed(self, node: Call) -> tuple[str, Expr, bool]:
        """The column of an ``is_in``, a condition for the values, and whether null is listed."""
        name = _field(node)
        values = node.options["value_set"]
        matching = node.options["null_matching_behavior"][0].as_py()
        if matching not in (_MATCH, _SKIP) or not pyarrow().types.is_list(values.type):
            raise Unfit
        values = values.flatten()
        plain = values.drop_null()
        if self._conditions.is_float(name) and 0.0 in plain.to_pylist():
            # To this function zero has a sign.
            raise Unfit
        return (
            name,
            self._conditions.is_in(name, plain),
            bool(values.null_count and matching == _MATCH),
        )

    def _test(self, node: Call) -> Expr:
        name = _field(node)
        if node.function == "is_valid":
            return self._conditions.is_not_null(name)
        if node.function == "is_nan":
            return self._conditions.is_nan(name)
        if node.function != "is_null":
            raise Unfit
        missing = self._conditions.is_null(name)
        if node.options["nan_is_null"][0].as_py() and self._conditions.is_float(name):
            return missing | self._conditions.is_nan(name)
        return missing


def _field(node: Call) -> str:
    match node.arguments:
        case [Field(name)]:
            return name
    raise Unfit
