"""pyarrow, imported when it is first needed."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["optional", "pyarrow", "pyarrow_schema"]


def optional(module: str, purpose: str) -> Any:
    """Import an optional dependency, or say what it is needed for."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(
            f"{purpose} needs {module}, which is not installed: pip install {module}"
        ) from error


def pyarrow(purpose: str = "exchanging data with Python") -> Any:
    """pyarrow, or an ImportError that says what it is needed for."""
    return optional("pyarrow", purpose)


class _Foreign:
    """Hides everything of an object but its schema from ``pyarrow.schema``."""

    def __init__(self, source: Any) -> None:
        self._source = source

    def __arrow_c_schema__(self) -> object:
        return self._source.__arrow_c_schema__()


def pyarrow_schema(source: Any) -> pa.Schema:
    """The pyarrow schema of an object with ``__arrow_c_schema__``."""
    return pyarrow("looking at a schema").schema(_Foreign(source))
