"""How the variables of a collection are cut into chunks: a text and a drawing."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from partita.records import human_bytes

__all__ = ["Cut", "chunk_picture", "chunk_text", "cuts_of"]

_CELL = 9
_MOST_CELLS = 8
# Of a dimension whose size is not known, such as the partitioned one, so many chunks are drawn.
_CELLS_OF_UNKNOWN_SIZE = 3


@dataclass(frozen=True)
class Cut:
    """How one dimension is cut."""

    size: int | None
    """The number of items; None for the partitioned dimension, and where it is not known."""
    chunk: int | str
    """The number of items of a chunk, ``whole`` or ``auto``."""

    @property
    def cells(self) -> int:
        """How many chunks are drawn."""
        if not isinstance(self.chunk, int) or self.chunk <= 0:
            return 1
        if self.size is None:
            return _CELLS_OF_UNKNOWN_SIZE
        return min(max(1, math.ceil(self.size / self.chunk)), _MOST_CELLS)


def cuts_of(names: Sequence[str], dimensions: Sequence[Mapping[str, Any]]) -> list[Cut]:
    """How the dimensions of these names are cut; one that is not described is stored as a whole."""
    known = {dimension["name"]: dimension for dimension in dimensions}
    return [
        Cut(known.get(name, {}).get("size"), known.get(name, {}).get("chunks") or "whole")
        for name in names
    ]


def chunk_text(cuts: Sequence[Cut], dtype: str) -> str:
    """The shape of a chunk, and its size in memory where that is known.

    Examples
    --------
    >>> chunk_text([Cut(None, 500), Cut(300, 100)], "<f4")
    '500 × 100, 195.3 KiB'
    >>> chunk_text([Cut(None, 500), Cut(9, "whole")], "<f4"), chunk_text([Cut(9, "whole")], "<f4")
    ('500 × 9, 17.6 KiB', 'whole')
    """
    if all(cut.chunk == "whole" for cut in cuts) and cuts:
        return "whole"
    lengths = [cut.size if cut.chunk == "whole" and cut.size else cut.chunk for cut in cuts]
    shape = " × ".join(str(length) for length in lengths)
    counted = [length for length in lengths if isinstance(length, int)]
    width = re.fullmatch(r"[<>|=]?[biufcmM](\d+)(?:\[.*\])?", dtype)
    if width is None or len(counted) < len(cuts):
        return shape
    return f"{shape}, {human_bytes(math.prod(counted) * int(width[1]))}"


def chunk_picture(cuts: Sequence[Cut], told: str) -> str:
    """The chunks along the first and the last dimension; one of them is marked."""
    if not cuts:
        return ""
    down = cuts[0].cells
    across = cuts[-1].cells if len(cuts) > 1 else 1
    cells = [
        f'<rect class="{"partita-empty" if row or column else "partita-mark"}" '
        f'x="{column * _CELL}" y="{row * _CELL}" width="{_CELL - 1}" height="{_CELL - 1}"/>'
        for row in range(down)
        for column in range(across)
    ]
    return (
        f'<svg role="img" aria-label="chunks of {escape(told)}" width="{across * _CELL}" '
        f'height="{down * _CELL}">{"".join(cells)}</svg>'
    )
