"""The names of columns."""

from __future__ import annotations

from typing import Any

__all__ = ["ensure_string_type"]


def ensure_string_type(obj: Any) -> str:
    """Text, out of bytes or anything else."""
    return obj.decode() if isinstance(obj, bytes) else str(obj)
