"""Files by which workers of a cluster signal that they have begun, for tests that kill them."""

from __future__ import annotations

import time
from pathlib import Path

__all__ = ["begun"]


def begun(signals: Path, workers: int) -> list[int]:
    """The processes that have begun, once there are the given number of them."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        found = [int(path.name.split("-")[1]) for path in signals.glob("began-*")]
        if len(found) >= workers:
            return found
        time.sleep(0.02)
    raise AssertionError("the workers never began")
