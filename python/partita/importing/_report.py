"""The report of an import."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

__all__ = ["ImportReport"]


@dataclass
class ImportReport:
    """The report of `import_files`: which files were imported, skipped or refused."""

    url: str
    """The collection."""
    imported: list[str] = field(default_factory=list)
    """The files whose rows were committed."""
    skipped: list[str] = field(default_factory=list)
    """Files that had been imported before, for ``skip_existing=True``."""
    failed: dict[str, str] = field(default_factory=dict)
    """Files that do not fit or cannot be read, with the reason, for ``on_error="skip"``."""
    rows: int = 0
    """Rows of the files that were imported."""
    partitions: list[str] = field(default_factory=list)
    """The paths of the partitions that they belong to."""
    commits: list[int] = field(default_factory=list)
    """The numbers of the commits."""

    def to_dict(self) -> dict[str, Any]:
        """The report in types of JSON.

        Examples
        --------
        >>> import partita as pt
        >>> report = pt.ImportReport("memory://lake/ssh", failed={"a.nc": "it has no axis"})
        >>> report.to_dict()["failed"]
        [{'file': 'a.nc', 'reason': 'it has no axis'}]
        """
        failed = [{"file": file, "reason": reason} for file, reason in self.failed.items()]
        return {**vars(self), "failed": failed}
