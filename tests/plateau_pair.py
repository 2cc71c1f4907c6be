"""Comparison of one program run through plateau and through its interface over Partita."""

from __future__ import annotations

import importlib
import math
import tempfile
import warnings
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd

__all__ = ["BOTH", "Library", "outcome", "same", "same_outcome"]


class Library:
    """One of the two libraries, with a separate store."""

    def __init__(self, root: str) -> None:
        self.root = root
        self._directory = tempfile.TemporaryDirectory()
        self.store = f"hfs://{self._directory.name}"

    def module(self, name: str) -> ModuleType:
        return importlib.import_module(f"{self.root}.{name}")

    def __getattr__(self, name: str) -> Any:
        for module in ("api.dataset", "api.serialization", *_INNER):
            found = getattr(self.module(module), name, None)
            if found is not None:
                return found
        raise AttributeError(name)

    def keys(self) -> list[str]:
        return sorted(self.ensure_store(self.store).keys())


_INNER = (
    "io.eager",
    "io.iter",
    "io_components.metapartition",
    "io_components.utils",
    "io_components.read",
    "core.dataset",
    "core.common_metadata",
    "core.urlencode",
    "core.naming",
    "core.index",
)
BOTH = ("plateau", "partita.compat.plateau")


def outcome(program: Callable[[Library], Any], root: str) -> Any:
    """The result of a program, or the type of the exception that it raises."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return program(Library(root))
        except Exception as error:
            return _Raised(error)


class _Raised:
    """A raised exception, compared by its type; a type and its subclasses are equal."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Raised):
            return False
        mine, theirs = type(self.error), type(other.error)
        return issubclass(mine, theirs) or issubclass(theirs, mine)

    __hash__ = None

    def __repr__(self) -> str:
        return f"raises {self.error!r}"


def same_outcome(program: Callable[[Library], Any]) -> None:
    """Asserts that a program has the same outcome in both libraries."""
    expected, found = (outcome(program, root) for root in BOTH)
    same(found, expected, "the outcome")


def same(found: Any, expected: Any, where: str) -> None:
    if isinstance(expected, _Raised) or isinstance(found, _Raised):
        assert isinstance(found, _Raised) and found == expected, (where, found, expected)
    elif isinstance(expected, pd.DataFrame):
        pd.testing.assert_frame_equal(found, expected)
    elif isinstance(expected, pd.Series):
        pd.testing.assert_series_equal(found, expected)
    elif isinstance(expected, np.ndarray):
        assert found.tolist() == expected.tolist() and found.dtype == expected.dtype, where
    elif isinstance(expected, Mapping):
        assert list(found) == list(expected), where
        for key, value in expected.items():
            same(found[key], value, f"{where}[{key!r}]")
    elif isinstance(expected, (list, tuple)):
        assert len(found) == len(expected), (where, found, expected)
        for number, value in enumerate(expected):
            same(found[number], value, f"{where}[{number}]")
    elif isinstance(expected, float) and math.isnan(expected):
        assert math.isnan(found), where
    else:
        assert found == expected, (where, found, expected)
