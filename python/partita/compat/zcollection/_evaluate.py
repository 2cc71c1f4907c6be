"""Expressions in the grammar of Python, evaluated node by node.

Only names, constants, arithmetic, comparisons, logic and calls of named functions are evaluated;
nothing is compiled, and no attribute is looked up.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["Evaluator"]

_BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
    ast.BitAnd: operator.and_,
    ast.BitOr: operator.or_,
    ast.BitXor: operator.xor,
}
_UNARY: dict[type[ast.unaryop], Callable[[Any], Any]] = {
    ast.Not: operator.not_,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
    ast.Invert: operator.invert,
}
_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Is: operator.is_,
    ast.IsNot: operator.is_not,
    ast.In: lambda item, items: item in items,
    ast.NotIn: lambda item, items: item not in items,
}

# Whole numbers with larger exponents take longer than anybody waits.
_LARGEST_EXPONENT = 64


class Evaluator:
    """One expression, with the functions and constants that it may name."""

    def __init__(self, text: str, known: Mapping[str, Any]) -> None:
        self.text = text
        self._tree = ast.parse(text, mode="eval").body
        self._known = known
        self.names = self._names()
        """The names that it looks up, without the known ones."""

    def _names(self) -> list[str]:
        found: list[str] = []
        for node in ast.walk(self._tree):
            name = node.id if isinstance(node, ast.Name) else None
            name = node.attr if isinstance(node, ast.Attribute) else name
            if name is not None and name not in self._known and name not in found:
                found.append(name)
        return found

    def __call__(self, values: Mapping[str, Any]) -> Any:
        return self._value(self._tree, {**self._known, **values})

    def _value(self, node: ast.expr, names: Mapping[str, Any]) -> Any:
        if isinstance(node, ast.Constant):
            return node.value
        if isinstance(node, ast.Name):
            return names[node.id]
        if isinstance(node, (ast.Tuple, ast.List, ast.Set)):
            items = [self._value(item, names) for item in node.elts]
            kinds: dict[type[ast.expr], type] = {ast.Tuple: tuple, ast.List: list, ast.Set: set}
            return kinds[type(node)](items)
        if isinstance(node, ast.BoolOp):
            return self._logic(node, names)
        if isinstance(node, ast.UnaryOp):
            return _UNARY[type(node.op)](self._value(node.operand, names))
        if isinstance(node, ast.BinOp):
            return self._arithmetic(node, names)
        if isinstance(node, ast.Compare):
            return self._comparison(node, names)
        if isinstance(node, ast.IfExp):
            chosen = node.body if self._value(node.test, names) else node.orelse
            return self._value(chosen, names)
        if isinstance(node, ast.Call):
            return self._call(node, names)
        raise self._refused(node)

    def _logic(self, node: ast.BoolOp, names: Mapping[str, Any]) -> Any:
        stops = isinstance(node.op, ast.Or)
        value: Any = None
        for operand in node.values:
            value = self._value(operand, names)
            if bool(value) == stops:
                return value
        return value

    def _arithmetic(self, node: ast.BinOp, names: Mapping[str, Any]) -> Any:
        function = _BINARY.get(type(node.op))
        left, right = self._value(node.left, names), self._value(node.right, names)
        if function is None or any(isinstance(x, (str, bytes, tuple, list)) for x in (left, right)):
            raise self._refused(node)
        if isinstance(node.op, ast.Pow) and isinstance(right, int) and right > _LARGEST_EXPONENT:
            raise self._refused(node)
        return function(left, right)

    def _comparison(self, node: ast.Compare, names: Mapping[str, Any]) -> Any:
        left = self._value(node.left, names)
        result: Any = True
        for op, comparator in zip(node.ops, node.comparators, strict=True):
            right = self._value(comparator, names)
            result = _COMPARE[type(op)](left, right)
            if len(node.ops) > 1 and not result:
                return result
            left = right
        return result

    def _call(self, node: ast.Call, names: Mapping[str, Any]) -> Any:
        if not isinstance(node.func, ast.Name) or node.func.id not in self._known:
            raise self._refused(node)
        positional = [self._value(argument, names) for argument in node.args]
        named = {
            keyword.arg: self._value(keyword.value, names)
            for keyword in node.keywords
            if keyword.arg is not None
        }
        return self._known[node.func.id](*positional, **named)

    def _refused(self, node: ast.expr) -> ValueError:
        return ValueError(f"{ast.unparse(node)!r} cannot be evaluated in {self.text!r}")
