"""Comparisons of engines as predicates, where both mean the same rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from partita import _native
from partita._arrow import pyarrow
from partita._literals import literal
from partita.errors import PartitaError
from partita.expression import Expr, col

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["UNTRANSLATED", "Conditions", "Unfit", "constant"]

_PER_NANOSECOND = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}


class Unfit(Exception):
    """No predicate means the same as the condition."""


UNTRANSLATED = (Unfit, PartitaError, RecursionError, LookupError, ValueError, TypeError)
"""The exceptions raised for a condition that no predicate expresses, or of an unknown form."""


class Conditions:
    """Makes predicates over the columns of a schema out of values of Arrow.

    Values are compared exactly, so a value of another type than its column is taken only if it is
    converted without loss. What is not known to mean the same is `Unfit`.
    """

    def __init__(self, schema: pa.Schema) -> None:
        self._schema = schema

    def compare(self, name: str, op: str, values: pa.Array) -> Expr:
        """A comparison with the one value of an array."""
        has_order = not pyarrow().types.is_boolean(self._kind(name)) and not self._is_ordered(name)
        if op not in ("==", "!=") and not has_order:
            raise Unfit
        (value,) = self._plain(name, values)
        return Expr(_native.Predicate.compare(name, op, value))

    def is_in(self, name: str, values: pa.Array) -> Expr:
        """Whether the column has one of some values, none of them null."""
        return Expr(_native.Predicate.is_in(name, self._plain(name, values), False))

    def is_true(self, name: str) -> Expr:
        """A column of booleans as a condition."""
        if not pyarrow().types.is_boolean(self._kind(name)):
            raise Unfit
        return col(name) == True  # noqa: E712

    def is_null(self, name: str) -> Expr:
        """Whether the column has no value."""
        self._kind(name)
        return col(name).is_null()

    def is_not_null(self, name: str) -> Expr:
        """Whether the column has a value."""
        self._kind(name)
        return col(name).is_not_null()

    def is_nan(self, name: str) -> Expr:
        """Whether a column of floats has the value NaN."""
        if not self.is_float(name):
            raise Unfit
        return col(name).isin([float("nan")])

    def is_float(self, name: str) -> bool:
        """Whether a column has floats."""
        return pyarrow().types.is_floating(self._kind(name))

    def _kind(self, name: str) -> pa.DataType:
        kind = self._field(name).type
        return kind.value_type if pyarrow().types.is_dictionary(kind) else kind

    def _is_ordered(self, name: str) -> bool:
        # Engines compare ordered categories, and the Enum of Polars, by place; Partita by value.
        field = self._field(name)
        is_enum = any(key.startswith(b"_PL_ENUM") for key in field.metadata or {})
        return is_enum or bool(pyarrow().types.is_dictionary(field.type) and field.type.ordered)

    def _field(self, name: str) -> pa.Field:
        # A name that occurs twice has the place -1 too.
        place = self._schema.get_field_index(name)
        if place < 0:
            raise Unfit
        return self._schema.field(place)

    def _plain(self, name: str, values: pa.Array) -> list[Any]:
        """The values as the engine takes them, in the type of the column."""
        pa = pyarrow()
        kind = self._kind(name)
        if values.null_count or not _is_comparable(pa.types, kind, values.type):
            raise Unfit
        try:
            converted = values.cast(kind)
        except pa.ArrowException:
            raise Unfit from None
        # Partita rounds numbers to a column of narrower floats, which not every engine does.
        if pa.types.is_floating(kind) and not _same_floats(converted, values):
            raise Unfit
        return _plain_of(pa.types, converted)


def _same_floats(converted: pa.Array, given: pa.Array) -> bool:
    pairs = zip(converted.to_pylist(), given.to_pylist(), strict=True)
    return all(one == other or one != one and other != other for one, other in pairs)


def constant(value: bool) -> Expr:
    """A condition that is the same for all rows."""
    return Expr.parse("true" if value else "false")


def _is_comparable(types: Any, kind: pa.DataType, other: pa.DataType) -> bool:
    """Whether the engines compare by value what is converted between two types without loss."""
    if types.is_timestamp(kind):
        return types.is_timestamp(other) and (kind.tz is None) == (other.tz is None)
    if types.is_floating(kind) and types.is_integer(other):
        return True
    families: list[Callable[[Any], bool]] = [
        types.is_integer,
        types.is_floating,
        types.is_decimal,
        types.is_boolean,
        types.is_date,
        lambda one: str(one) in ("string", "large_string", "string_view"),
        lambda one: str(one) in ("binary", "large_binary", "binary_view"),
    ]
    return any(family(kind) and family(other) for family in families)


def _plain_of(types: Any, values: pa.Array) -> list[Any]:
    kind = values.type
    if types.is_date(kind):
        days = values.cast("date32").cast("int32").to_pylist()
        return [("date", day) for day in days]
    if types.is_timestamp(kind):
        per = _PER_NANOSECOND[kind.unit]
        numbers = values.cast("int64").to_pylist()
        return [("timestamp", number * per, kind.tz is not None) for number in numbers]
    plain = [literal(value) for value in values.to_pylist()]
    if types.is_decimal(kind) and not all(isinstance(value, tuple) for value in plain):
        # A number of more digits than the engine takes is a float by now.
        raise Unfit
    return plain
