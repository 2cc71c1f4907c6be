"""``progress=``: a bar on standard error, or a callable."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from partita.errors import InvalidArgument
from partita.records import human_count

__all__ = ["Progress", "Report", "reporting"]

Progress = bool | Callable[[int, int | None], object]
"""What ``progress=`` takes: True for a bar, or a callable of (done, total)."""

Report = Callable[[str, int, int | None], object]

_WIDTH = 30


@contextmanager
def reporting(progress: Progress) -> Iterator[Report | None]:
    """What the engine is to call, or None."""
    if progress is False or progress is None:
        yield None
    elif progress is True:
        bar = _Bar(sys.stderr)
        try:
            yield bar.update
        finally:
            bar.close()
    elif callable(progress):
        tell = progress
        yield lambda _what, done, total: tell(done, total)
    else:
        raise InvalidArgument(
            f"progress= takes True, False or a callable of (done, total), not {progress!r}"
        )


class _Bar:
    """One line that is written over. Where nobody watches, only its last state is written."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._watched = out.isatty()
        self._began = time.monotonic()
        self._line = ""

    def update(self, what: str, done: int, total: int | None) -> None:
        seconds = time.monotonic() - self._began
        if total:
            share = min(done / total, 1.0)
            filled = int(_WIDTH * share)
            bar = "#" * filled + "-" * (_WIDTH - filled)
            count = f"{share:4.0%} [{bar}] {human_count(done)}/{human_count(total)}"
        else:
            count = human_count(done)
        width = len(self._line)
        self._line = f"{what}: {count} in {seconds:.1f} s"
        if self._watched:
            self._out.write("\r" + self._line.ljust(width))
            self._out.flush()

    def close(self) -> None:
        if self._line:
            self._out.write("\n" if self._watched else self._line + "\n")
            self._out.flush()
