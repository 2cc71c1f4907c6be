"""The columns and limits that an engine requested from a scan, and the last scan that ran."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

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

    @classmethod
    def of(
        cls, name: str, columns: Iterable[str] | None, applied_after: object | None
    ) -> EngineRequest:
        """The request with its condition as text."""
        return cls(
            name,
            None if columns is None else tuple(columns),
            None if applied_after is None else str(applied_after),
        )

    def text(self) -> str:
        """The lines for people, in the form of `Explain`."""
        columns = "all" if self.columns is None else ", ".join(self.columns)
        lines = [f"{'engine':<21}{self.name}", f"{'columns':<21}{columns}"]
        if self.applied_after is not None:
            lines.append(f"{'applied after':<21}{self.applied_after}")
        return "\n".join(lines)


AnyScan = TypeVar("AnyScan")


class LastRun(Generic[AnyScan]):
    """The scan that an engine ran last of a table, a collection or a scan."""

    def __init__(self, above: LastRun[AnyScan] | None = None) -> None:
        self.scan: AnyScan | None = None
        self._above = above

    def note(self, scan: AnyScan) -> None:
        """Remembers a scan that is about to run."""
        self.scan = scan
        if self._above is not None:
            self._above.note(scan)
