"""The columns and limits that an engine requested from a scan, and the last scan that ran."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from partita.scan import Scan

__all__ = ["EngineRequest", "LastRun"]


@dataclass(frozen=True)
class EngineRequest:
    """The request of an engine, except for the condition that was pushed down into the scan."""

    name: str
    """The engine."""
    columns: tuple[str, ...] | None
    """The columns; None for all."""
    applied_after: str | None
    """The condition that is applied to the rows of the scan, unless it was pushed down whole."""

    def text(self) -> str:
        """The lines for people, in the form of `Explain`."""
        columns = "all" if self.columns is None else ", ".join(self.columns)
        lines = [f"{'engine':<21}{self.name}", f"{'columns':<21}{columns}"]
        if self.applied_after is not None:
            lines.append(f"{'applied after':<21}{self.applied_after}")
        return "\n".join(lines)


class LastRun:
    """The scan that an engine ran last of a table or a scan."""

    def __init__(self, above: LastRun | None = None) -> None:
        self.scan: Scan | None = None
        self._above = above

    def note(self, scan: Scan) -> None:
        """Remembers a scan that is about to run."""
        self.scan = scan
        if self._above is not None:
            self._above.note(scan)
