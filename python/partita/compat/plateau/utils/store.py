"""Copies between stores."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from partita.compat.plateau.core.utils import ensure_store

__all__ = ["copy_keys"]


def copy_keys(keys: Iterable[str], src_store: Any, tgt_store: Any) -> None:
    """Copy objects from one store to another, under the same keys."""
    source, target = ensure_store(src_store), ensure_store(tgt_store)
    for key in sorted(keys):
        target.put(key, source.get(key))
