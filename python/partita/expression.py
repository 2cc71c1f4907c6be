"""Predicates: which rows are wanted.

One kind of thing, written four ways; every ``where=`` takes any of them.

>>> import partita as pt
>>> str(pt.col("fare") > 10)
'fare > 10'

========== =====================================================
expression ``(pt.col("city") == "Oslo") & (pt.col("fare") > 10)``
text       ``"city == 'Oslo' and fare > 10"``
list (DNF) ``[[("city", "==", "Oslo"), ("fare", ">", 10)]]``
dictionary ``{"city": "Oslo", "year": [2021, 2022]}``
========== =====================================================
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NoReturn

from partita import _native
from partita._literals import is_values, literal, literals
from partita._text import text
from partita.errors import InvalidPredicate
from partita.records import PartitionKey

__all__ = ["Column", "Expr", "Where", "col", "predicate"]


class Expr:
    """A boolean expression over columns.

    Made by comparing a `col`, combined with ``&`` (and), ``|`` (or) and ``~`` (not). A comparison
    with a missing value is neither true nor false, as in SQL: such rows are not selected.

    Examples
    --------
    >>> import partita as pt
    >>> (pt.col("city") == "Oslo") & ~pt.col("rider").is_null()
    Expr("city == 'Oslo' and not rider is null")
    """

    __slots__ = ("_native",)

    def __init__(self, native: _native.Predicate) -> None:
        self._native = native

    @classmethod
    def parse(cls, text: str) -> Expr:
        """Read the text form.

        Examples
        --------
        >>> import partita as pt
        >>> pt.Expr.parse("year == 2022 and month in (1, 2)").columns
        ['month', 'year']
        """
        return cls(_native.Predicate.parse(text))

    @property
    def columns(self) -> list[str]:
        """The names of the columns that it looks at, sorted."""
        return sorted(self._native.columns())

    def __and__(self, other: Any) -> Expr:
        return Expr(self._native & _operand(other)) if _is_operand(other) else NotImplemented

    def __or__(self, other: Any) -> Expr:
        return Expr(self._native | _operand(other)) if _is_operand(other) else NotImplemented

    def __invert__(self) -> Expr:
        return Expr(~self._native)

    def __bool__(self) -> NoReturn:
        raise InvalidPredicate(
            "an expression is neither true nor false by itself: combine expressions with &, | and "
            "~ instead of and, or, not, and write (a < x) & (x < b) instead of a < x < b"
        )

    def equals(self, other: Expr) -> bool:
        """Whether both are written the same.

        Examples
        --------
        >>> import partita as pt
        >>> (pt.col("fare") > 5).equals(pt.Expr.parse("fare > 5"))
        True
        """
        return bool(self._native == other._native)

    def __str__(self) -> str:
        return str(self._native)

    def __repr__(self) -> str:
        return f'Expr("{self}")'

    def _repr_html_(self) -> str:
        from partita._notebook import expression_html

        return expression_html(self)

    def __reduce__(self) -> tuple[Any, ...]:
        # Parsing the text gives the same predicate.
        return Expr.parse, (str(self),)


class Column:
    """A column by name, to be compared; see `col`."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        if not isinstance(name, str) or not name:
            raise InvalidPredicate(f"a column is named by a non-empty string, not {name!r}")
        self.name = text("the name of a column", name)

    def _compare(self, op: str, value: Any) -> Expr:
        if isinstance(value, (Column, Expr)):
            raise InvalidPredicate(
                f"column {self.name} can be compared with a value, not with another column",
                context={"column": self.name},
            )
        if is_values(value):
            raise InvalidPredicate(
                f"column {self.name} can be compared with one value; use .isin for several",
                context={"column": self.name},
            )
        plain = literal(value)
        if plain is None:
            if op in ("==", "!="):
                return Expr(_native.Predicate.is_null(self.name, op == "!="))
            raise InvalidPredicate(
                f"column {self.name}: {op} with a missing value is never true",
                context={"column": self.name},
            )
        return Expr(_native.Predicate.compare(self.name, op, plain))

    def __eq__(self, value: Any) -> Expr:  # type: ignore[override]
        return self._compare("==", value)

    def __ne__(self, value: Any) -> Expr:  # type: ignore[override]
        return self._compare("!=", value)

    def __lt__(self, value: Any) -> Expr:
        return self._compare("<", value)

    def __le__(self, value: Any) -> Expr:
        return self._compare("<=", value)

    def __gt__(self, value: Any) -> Expr:
        return self._compare(">", value)

    def __ge__(self, value: Any) -> Expr:
        return self._compare(">=", value)

    __hash__ = None  # type: ignore[assignment]

    def isin(self, values: Iterable[Any]) -> Expr:
        """Rows whose value is one of `values`.

        Examples
        --------
        >>> import partita as pt
        >>> str(pt.col("month").isin([1, 2]))
        'month in (1, 2)'
        """
        return Expr(_native.Predicate.is_in(self.name, literals(self.name, values), False))

    def not_in(self, values: Iterable[Any]) -> Expr:
        """Rows whose value is none of `values`.

        Examples
        --------
        >>> import partita as pt
        >>> str(pt.col("month").not_in([1, 2]))
        'month not in (1, 2)'
        """
        return Expr(_native.Predicate.is_in(self.name, literals(self.name, values), True))

    def contains(self, value: Any) -> Expr:
        """Rows whose list has `value` as an item.

        Examples
        --------
        >>> import partita as pt
        >>> str(pt.col("tags").contains("late"))
        "'late' in tags"
        """
        (item,) = literals(self.name, [value])
        return Expr(_native.Predicate.contains(self.name, item))

    def is_null(self) -> Expr:
        """Rows without a value.

        Examples
        --------
        >>> import partita as pt
        >>> str(pt.col("fare").is_null())
        'fare is null'
        """
        return Expr(_native.Predicate.is_null(self.name, False))

    def is_not_null(self) -> Expr:
        """Rows with a value.

        Examples
        --------
        >>> import partita as pt
        >>> str(pt.col("fare").is_not_null())
        'fare is not null'
        """
        return Expr(_native.Predicate.is_null(self.name, True))

    def __bool__(self) -> NoReturn:
        raise InvalidPredicate(
            f"column {self.name} alone is not a condition: write col({self.name!r}) == True"
        )

    def __repr__(self) -> str:
        return f"col({self.name!r})"


def col(name: str) -> Column:
    """The column `name`, to be compared with values.

    Parameters
    ----------
    name : str
        The name of the column.

    Returns
    -------
    Column
        Compare it with ``== != < <= > >=``, or call ``isin``, ``not_in``, ``is_null``,
        ``is_not_null``.

    Examples
    --------
    >>> import partita as pt
    >>> pt.col("fare") >= 10
    Expr("fare >= 10")
    """
    return Column(name)


Where = (
    Expr
    | str
    | Mapping[str, Any]
    | Sequence[tuple[str, str, Any]]
    | Sequence[Sequence[tuple[str, str, Any]]]
)
"""What ``where=`` takes."""


def predicate(where: Where) -> _native.Predicate:
    """The engine's form of whatever ``where=`` was given."""
    if isinstance(where, Expr):
        return where._native
    if isinstance(where, str):
        return _native.Predicate.parse(text("where=", where))
    if isinstance(where, Mapping):
        return _equalities(where)
    if isinstance(where, (list, tuple)):
        return _disjunction(where)
    if isinstance(where, Column):
        raise InvalidPredicate(
            f"column {where.name} alone is not a condition: write col({where.name!r}) == True"
        )
    raise InvalidPredicate(
        "where= takes an expression, a string, a list of lists of (column, operator, value) or a "
        f"dictionary of column to value, not {type(where).__name__}"
    )


def _equalities(where: Mapping[str, Any]) -> _native.Predicate:
    if not where:
        raise InvalidPredicate("where={} says nothing; leave it out to mean every row")
    if isinstance(where, PartitionKey):
        where = where.values_of_columns()
    result: Expr | None = None
    for name, value in where.items():
        column = Column(name)
        term = column.isin(value) if is_values(value) else column == value
        result = term if result is None else result & term
    assert result is not None
    return result._native


def _disjunction(where: Sequence[Any]) -> _native.Predicate:
    # pyarrow also takes one conjunction without the outer list.
    if where and all(_is_term(term) for term in where):
        where = [where]
    terms: list[list[tuple[str, str, Any]]] = []
    for conjunction in where:
        if not isinstance(conjunction, (list, tuple)) or not all(map(_is_term, conjunction)):
            raise InvalidPredicate(
                "a where= list is a list of lists of (column, operator, value), the outer joined "
                f"by or, the inner by and: {conjunction!r} does not fit"
            )
        terms.append([(name, op, _operator_value(name, op, v)) for name, op, v in conjunction])
    return _native.Predicate.from_dnf(terms)


def _is_term(term: Any) -> bool:
    return (
        isinstance(term, (list, tuple))
        and len(term) == 3
        and isinstance(term[0], str)
        and isinstance(term[1], str)
    )


def _operator_value(name: str, op: str, value: Any) -> Any:
    return literals(name, value) if is_values(value) else literal(value)


def _is_operand(other: Any) -> bool:
    return isinstance(other, (Expr, Column))


def _operand(other: Expr | Column) -> _native.Predicate:
    return predicate(other)  # type: ignore[arg-type]
