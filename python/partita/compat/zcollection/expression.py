"""Filters of partitions written as text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from partita.compat.zcollection._evaluate import Evaluator

__all__ = ["Expression"]


class Expression:
    """A condition on the fields of the keys of partitions, such as ``"day % 2 == 0"``.

    Examples
    --------
    >>> from partita.compat.zcollection.expression import Expression
    >>> Expression("year == 2000 and month in range(1, 3)")({"year": 2000, "month": 2})
    True
    """

    BUILTINS: ClassVar[dict[str, Any]] = {"range": range}

    def __init__(self, expression: str) -> None:
        self._evaluator = Evaluator(expression, self.BUILTINS)

    def __call__(self, variables: Mapping[str, Any]) -> Any:
        """What the condition is for one key.

        Raises
        ------
        NameError
            If it names what the key does not have.
        """
        for name in self._evaluator.names:
            if name not in variables:
                raise NameError(f"name {name!r} is not defined")
        return self._evaluator(variables)
