"""Copies of objects with some attributes changed."""

from __future__ import annotations

import inspect
from typing import Any


class Copying:
    """Has `copy`, which calls the constructor with the attributes of the same names."""

    def copy(self, **changed: Any) -> Any:
        """The same with some attributes changed."""
        names = list(inspect.signature(type(self).__init__).parameters)[1:]
        kept = {name: getattr(self, name) for name in names if hasattr(self, name)}
        return type(self)(**{**kept, **changed})
