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


def _pace(done: int, total: int | None, seconds: float) -> str:
    """The rate, and how long the rest takes at this rate; nothing before there is a rate.

    Examples
    --------
    >>> _pace(500, 1000, 2.0), _pace(1000, 1000, 4.0), _pace(0, 1000, 1.0)
    (', 250/s, 2 s left', ', 250/s', '')
    """
    if done <= 0 or seconds <= 0:
        return ""
    rate = done / seconds
    pace = f", {human_count(round(rate))}/s" if rate >= 1 else ""
    left = (total - done) / rate if total and total > done else 0
    return pace + (f", {left:.0f} s left" if left >= 1 else "")


class _Bar:
    """One line that is overwritten; where there is no terminal, its last state alone."""

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
        self._line = f"{what}: {count} in {seconds:.1f} s{_pace(done, total, seconds)}"
        if self._watched:
            self._out.write("\r" + self._line.ljust(width))
            self._out.flush()

    def close(self) -> None:
        if self._line:
            self._out.write("\n" if self._watched else self._line + "\n")
            self._out.flush()
