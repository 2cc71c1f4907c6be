"""Stores of Python in the place of a URL: fsspec file systems, minimalkv stores, and your own.

Every function that takes a URL also takes ``filesystem=``; the URL is then a path in that store.
Use a URL alone if there is one: the engine then accesses the store without Python, and commits
safely beside other writers.
"""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable
from weakref import WeakValueDictionary

from partita import _native
from partita._arguments import options_text
from partita._fsspec import FsspecStore, path_of
from partita._minimalkv import MinimalkvStore
from partita._text import text
from partita.errors import InvalidArgument

__all__ = ["BatchStore", "FileSystem", "FsspecStore", "MinimalkvStore"]

FileSystem = Any
"""An ``fsspec.AbstractFileSystem``, a minimalkv ``KeyValueStore`` or a `BatchStore`."""

Entry = tuple[str, int, float | None]


@runtime_checkable
class BatchStore(Protocol):
    """What the engine asks of a store that is written in Python.

    Each method takes a list of requests that are independent of each other, and returns a list of
    as many answers in the same order. An answer may be the exception that the request met:
    ``FileNotFoundError`` or ``KeyError`` say that there is no such object. Keys are separated by
    ``/`` and do not begin with it. The methods are called from one thread, one at a time.

    It is pickled with the tables that are opened in it.
    """

    def get_ranges(
        self, requests: Sequence[tuple[str, int | None, int | None]]
    ) -> Sequence[bytes | Exception]:
        """Read bytes of objects: (key, start, end), None being the beginning and the end."""
        ...

    def put(self, objects: Sequence[tuple[str, bytes]]) -> Sequence[None | Exception]:
        """Write whole objects: (key, content). Readers see the old object or the new one."""
        ...

    def head(self, keys: Sequence[str]) -> Sequence[tuple[int, float | None] | Exception]:
        """The size of objects in bytes, and when they were written: in seconds since 1970 by the
        clock of the store, or None throughout if it does not tell."""
        ...

    def delete(self, keys: Sequence[str]) -> Sequence[None | Exception]:
        """Delete objects."""
        ...

    def copy(self, pairs: Sequence[tuple[str, str]]) -> Sequence[None | Exception]:
        """Copy objects: (from, to)."""
        ...

    def list(
        self, directories: Sequence[tuple[str, bool]]
    ) -> Sequence[tuple[list[Entry], list[str]] | Exception]:
        """List directories: (directory, recursive), the root being ``""``.

        The answer is the objects as (key, size, time), and the directories below by their keys
        unless the listing is recursive. A directory that does not exist is empty.
        """
        ...


def connection(
    url: str | os.PathLike[str],
    storage_options: Mapping[str, Any] | None,
    filesystem: FileSystem | None,
) -> tuple[str, dict[str, Any]]:
    """A URL, or a path in a file system, with the options as the engine takes them."""
    try:
        path = os.fspath(url)
    except TypeError:
        raise InvalidArgument(f"a URL is a string or a path, not {url!r}") from None
    path = text("a URL", path)
    if filesystem is None:
        return path, dict(options_text(storage_options))
    if storage_options:
        raise InvalidArgument(
            "storage_options are for URLs; what filesystem= is given has its options already"
        )
    path, client = _located(path, filesystem)
    # A bare name would be taken for one in the working directory.
    return path if "/" in path else f"/{path}", {"filesystem": client}


def _located(path: str, filesystem: FileSystem) -> tuple[str, _native.PythonStore]:
    if _is_fsspec(filesystem):
        path, root = path_of(filesystem, path)
        kind = type(filesystem).__name__
        name = f"the fsspec file system {kind} ({hash(filesystem) & 0xFFFFFFFF:08x})"
        return path, _client(filesystem, root, name, lambda: FsspecStore(filesystem, root))
    path = path.strip("/")
    kind = type(filesystem).__name__
    if isinstance(filesystem, BatchStore):
        name = f"the store {kind} ({id(filesystem):x})"
        return path, _client(filesystem, "", name, lambda: filesystem)
    if all(callable(getattr(filesystem, method, None)) for method in ("get", "open", "iter_keys")):
        name = f"the minimalkv store {kind} ({id(filesystem):x})"
        return path, _client(filesystem, "", name, lambda: MinimalkvStore(filesystem))
    raise InvalidArgument(
        "filesystem= is an fsspec file system (fsspec.implementations.arrow.ArrowFSWrapper makes "
        "one of those of pyarrow), a minimalkv store, or an object with the methods of "
        f"partita.stores.BatchStore, not {filesystem!r}"
    )


def _is_fsspec(filesystem: object) -> bool:
    fsspec = sys.modules.get("fsspec")
    return fsspec is not None and isinstance(filesystem, fsspec.AbstractFileSystem)


# A client keeps its file system alive, so an identity is not used again while it is here.
_CLIENTS: WeakValueDictionary[tuple[int, str], _native.PythonStore] = WeakValueDictionary()


def _client(filesystem: object, root: str, name: str, adapter: Any) -> _native.PythonStore:
    """The client of a file system: one for all tables in it, so that requests are batched."""
    client = _CLIENTS.get((id(filesystem), root))
    if client is None:
        client = _native.PythonStore(adapter(), name)
        _CLIENTS[(id(filesystem), root)] = client
    return client


# Before the interpreter ends, no thread of the engine may be inside it.
atexit.register(_native.close_stores)
# What is not removed when the process ends is garbage.
atexit.register(_native.finish_removals)
