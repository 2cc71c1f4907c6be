"""Which lines of a program a notebook shows for an error of partita."""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path
from types import TracebackType

__all__ = ["rendered", "without_partita"]

_PACKAGE = str(Path(__file__).parent) + os.sep


def without_partita(frames: TracebackType | None) -> TracebackType | None:
    """The same frames without those of this package, so that the last one is the caller's line."""
    kept = []
    while frames is not None:
        if not frames.tb_frame.f_code.co_filename.startswith(_PACKAGE):
            kept.append(frames)
        frames = frames.tb_next
    shown = None
    for frame in reversed(kept):
        shown = TracebackType(shown, frame.tb_frame, frame.tb_lasti, frame.tb_lineno)
    return shown


def rendered(error: BaseException) -> list[str]:
    """The lines that IPython shows for an error; ``PARTITA_DEBUG`` keeps the frames of partita."""
    frames = error.__traceback__
    if not os.environ.get("PARTITA_DEBUG"):
        frames = without_partita(frames)
    # A notebook has imported IPython; nothing else calls this.
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    if shell is None:
        return "".join(traceback.format_exception(type(error), error, frames)).splitlines()
    lines: list[str] = shell.InteractiveTB.structured_traceback(type(error), error, frames)
    return lines
