"""One entry of a header: the files of a partition."""

from __future__ import annotations

from typing import Any

__all__ = ["Partition"]


class Partition:
    """A label and the keys of the files that go by it, one for each table."""

    def __init__(
        self,
        label: str,
        files: dict[str, str] | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        self.label = label
        self.files = files or {}

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Partition):
            return False
        return self.label == other.label and self.files == other.files

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Partition(label={self.label!r}, files={self.files!r})"

    @staticmethod
    def from_dict(label: str, dct: Any) -> Partition:
        """The partition of an entry of a header."""
        if isinstance(dct, str):
            raise ValueError(
                "Trying to load a partition from a string. Probably the dataset file uses the "
                "multifile feature."
            )
        return Partition(label, files=dct.get("files", {}))

    def to_dict(self, version: Any = None) -> dict[str, dict[str, str]]:
        """The entry of a header."""
        return {"files": self.files}
