"""Locks that a program holds while it changes a collection.

Partita's commits are atomic, and writers at the same time are told apart by the store: programs
need no lock. One that is given is held all the same, so that programs may share it for their own
ends, or with others that still use ZCollection.
"""

from __future__ import annotations

import abc
import threading
from pathlib import Path
from types import TracebackType
from typing import IO, Any

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

__all__ = ["NoSync", "ProcessSync", "Sync"]


class Sync(abc.ABC):
    """What a collection holds while it changes."""

    @abc.abstractmethod
    def __enter__(self) -> bool:
        """Wait for the lock."""

    @abc.abstractmethod
    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Release it."""

    @abc.abstractmethod
    def is_locked(self) -> bool:
        """Whether somebody holds it."""


class NoSync(Sync):
    """No lock."""

    def __enter__(self) -> bool:
        return True

    def __exit__(self, *_: object) -> None:
        pass

    def is_locked(self) -> bool:
        """False."""
        return False


class _Lock:
    """The lock on one file, shared by this process: the system tells processes apart, no more."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.threads = threading.RLock()
        self.depth = 0
        self.file: IO[Any] | None = None


_LOCKS: dict[str, _Lock] = {}


class ProcessSync(Sync):
    """A lock on a file, between processes of one machine; the same that ZCollection takes."""

    def __init__(self, path: str) -> None:
        if fcntl is None:
            raise NotImplementedError("ProcessSync needs file locks of POSIX; leave it out")
        self.path = str(path)
        resolved = str(Path(self.path).resolve())
        self._lock = _LOCKS.setdefault(resolved, _Lock(resolved))

    def __enter__(self) -> bool:
        lock = self._lock
        lock.threads.acquire()
        try:
            if lock.file is None:
                file = open(lock.path, "a")
                fcntl.lockf(file, fcntl.LOCK_EX)
                lock.file = file
        except BaseException:
            lock.threads.release()
            raise
        lock.depth += 1
        return True

    def __exit__(self, *_: object) -> None:
        lock = self._lock
        lock.depth -= 1
        if lock.depth == 0 and lock.file is not None:
            lock.file.close()
            lock.file = None
        lock.threads.release()

    def is_locked(self) -> bool:
        """Whether this process or another one holds the lock now."""
        if self._lock.file is not None:
            return True
        try:
            with open(self._lock.path, "r+") as file:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except OSError:
            return True
        return False

    def __reduce__(self) -> tuple[Any, ...]:
        return ProcessSync, (self.path,)
