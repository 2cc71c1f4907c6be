"""How the demo tells what it does."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["timed", "title"]


def title(text: str) -> None:
    print(f"\n{text}\n{'-' * len(text)}")


@contextmanager
def timed(what: str) -> Iterator[Callable[[object], None]]:
    notes: list[str] = []
    began = time.perf_counter()
    yield lambda note: notes.append(str(note))
    elapsed = time.perf_counter() - began
    print(f"    {elapsed:7.3f} s  {what}{': ' if notes else ''}{', '.join(notes)}")
