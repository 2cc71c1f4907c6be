"""Which partitions are wanted: filters of programs into conditions of the engine."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from partita import Expr, col
from partita.compat.zcollection.expression import Expression

__all__ = ["Key", "PartitionFilter", "PartitionFilterCallback", "condition", "predicate_of"]

Key = tuple[tuple[str, int], ...]

PartitionFilterCallback = Callable[[dict[str, int]], bool]
"""A function of the fields of a key with their values."""

PartitionFilter = str | PartitionFilterCallback | None
"""An expression such as ``"year == 2000 and month % 2 == 0"``, a function, or None for all."""


def predicate_of(filters: PartitionFilter) -> Callable[[Key], bool]:
    """Whether a filter selects a key."""
    if isinstance(filters, str):
        expression = Expression(filters)
        return lambda key: bool(expression(dict(key)))
    if callable(filters):
        function = filters
        return lambda key: bool(function(dict(key)))
    return lambda key: True


def condition(keys: Iterable[Key]) -> Expr:
    """The condition that selects exactly these keys."""
    below: dict[tuple[tuple[str, int], ...], list[int]] = {}
    last = ""
    for key in keys:
        last = key[-1][0]
        below.setdefault(key[:-1], []).append(key[-1][1])
    found: Expr | None = None
    for outer, values in below.items():
        term = col(last).isin(values)
        for name, value in outer:
            term = (col(name) == value) & term
        found = term if found is None else found | term
    if found is None:
        raise ValueError("no partition is selected")
    return found


def nothing(fields: Sequence[str]) -> Expr:
    """A condition that no key fulfils."""
    return (col(fields[0]) == 0) & (col(fields[0]) == 1)


def as_key(fields: Mapping[str, Any] | Iterable[tuple[str, Any]]) -> Key:
    """A key in plain integers."""
    pairs = fields.items() if isinstance(fields, Mapping) else fields
    return tuple((name, int(value)) for name, value in pairs)
