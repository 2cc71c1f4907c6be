"""What is accepted as a store."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

StoreFactory = Callable[[], Any]
"""A callable that makes a minimalkv store."""

StoreInput = Any
"""A URL of minimalkv, a minimalkv store, or a callable that makes one."""
