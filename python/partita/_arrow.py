"""pyarrow, imported when it is first needed."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from partita.errors import InvalidArgument

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "Exported",
    "arrow_array",
    "optional",
    "pyarrow",
    "pyarrow_schema",
    "refuse_wide_decimals",
]


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


def arrow_array(values: Any, kind: Any = None, *, mask: Any = None) -> pa.Array:
    """An Arrow array of these values."""
    pa = pyarrow()
    dtype = getattr(values, "dtype", None)
    text = {"S": pa.binary(), "U": pa.string()}.get(getattr(dtype, "kind", ""))
    if text is not None:
        # Of texts and bytes of numpy, pyarrow would drop what comes after a zero character.
        values, kind = values.astype(object), kind or text
    return pa.array(values, kind, mask=mask)


class Exported:
    """A stream that was exported already."""

    def __init__(self, capsule: object) -> None:
        self._capsule = capsule

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        return self._capsule


class _Foreign:
    """Hides everything of an object but its schema from ``pyarrow.schema``."""

    def __init__(self, source: Any) -> None:
        self._source = source

    def __arrow_c_schema__(self) -> object:
        return self._source.__arrow_c_schema__()


def pyarrow_schema(source: Any) -> pa.Schema:
    """The pyarrow schema of an object with ``__arrow_c_schema__``."""
    return pyarrow("looking at a schema").schema(_Foreign(source))


def refuse_wide_decimals(schema: pa.Schema) -> None:
    """Raise an error for columns at which Polars panics."""
    for field in schema:
        if "decimal256" in str(field.type):
            raise InvalidArgument(
                "Polars has no decimals of more than 38 digits; leave the column out, or read with "
                "to_arrow()",
                context={"column": field.name},
            )
