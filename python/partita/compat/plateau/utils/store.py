"""Copies between stores."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from partita.compat.plateau.core.utils import ensure_store

__all__ = ["copy_keys"]

# The keys that stores of minimalkv take that have directories.
_KEY = re.compile(r"""[\\`!"#$%&'()+,\-.<=>?@\[\]^_{}~/ 0-9a-zA-Z]+\Z""")


def copy_keys(keys: Iterable[str], src_store: Any, tgt_store: Any) -> None:
    """Copy objects from one store to another, under the same keys.

    Raises
    ------
    ValueError
        If a key has characters that stores do not take; nothing is copied then.
    """
    source, target = ensure_store(src_store), ensure_store(tgt_store)
    wanted = sorted(keys)
    for key in wanted:
        if not _KEY.match(key) or key == "/":
            raise ValueError(f"Illegal key: {key}")
    for key in wanted:
        target.put(key, source.get(key))
