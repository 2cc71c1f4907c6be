"""Tables as tasks name them: a URL, options by reference, and a version."""

from __future__ import annotations

import functools
import os
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from partita._arguments import Version
from partita._credentials import referenced, resolved
from partita.dataset import open_table
from partita.table import Table

__all__ = ["Options", "Source", "opened"]

Options = tuple[tuple[str, str], ...]

_OPEN = 16


@dataclass(frozen=True)
class Source:
    """One version of a table, small enough to be part of every task."""

    url: str
    options: Options
    version: int | None
    """None for a table that partita has never written, whose versions have no number. Its files
    are named by key then, and a read of files that are gone fails."""
    token: str
    """What tells apart versions without a number."""

    @classmethod
    def find(
        cls, url: str | os.PathLike[str], at: Version | None, options: Mapping[str, Any] | None
    ) -> tuple[Source, Table]:
        """The source at `url`, kept at the version that is there now or was `at`, and its table."""
        references = referenced(options)
        table = open_table(url, at=at, storage_options=resolved(references), read_only=True)
        return cls.of(table, references), table

    @classmethod
    def of(cls, table: Table, options: Options) -> Source:
        """The version that `table` reads."""
        token = uuid.uuid4().hex if table.version is None else ""
        return cls(table.url, options, table.version, token)

    def table(self) -> Table:
        """The table, opened once in each process."""
        return opened(self.url, self.options, self.version, self.token, os.getpid())


@functools.lru_cache(maxsize=_OPEN)
def opened(url: str, options: Options, version: int | None, token: str, process: int) -> Table:
    """The table at a version; a process opens it for its first task and keeps it for the others."""
    return open_table(url, at=version, storage_options=resolved(options), read_only=True)
