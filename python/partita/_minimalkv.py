"""minimalkv stores, which plateau uses, as stores."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any

from partita._answers import each

__all__ = ["MinimalkvStore"]


class MinimalkvStore:
    """A minimalkv ``KeyValueStore`` as a `BatchStore`.

    It does not tell when an object was written, and sizes are learned by opening.

    Parameters
    ----------
    store : minimalkv.KeyValueStore
        The store. Its keys must take slashes, as those of ``HDictStore`` or ``hfs://`` do.
    """

    def __init__(self, store: Any) -> None:
        self._store = store

    def get_ranges(self, requests: Sequence[tuple[str, int | None, int | None]]) -> list[Any]:
        """Read bytes of objects; all of them where the store cannot skip to a place."""
        return each(self._read, requests)

    def _read(self, request: tuple[str, int | None, int | None]) -> bytes:
        key, start, end = request
        if start is None and end is None:
            return bytes(self._named(lambda: self._store.get(key)))
        with closing(self._named(lambda: self._store.open(key))) as file:
            if _can_seek(file):
                file.seek(start or 0)
                return _exactly(file, None if end is None else end - (start or 0))
        return bytes(self._store.get(key))[start:end]

    def put(self, objects: Sequence[tuple[str, bytes]]) -> list[Any]:
        """Write whole objects."""
        return each(self._write, objects)

    def _write(self, item: tuple[str, bytes]) -> None:
        key, content = item
        self._named(lambda: self._store.put(key, content))

    def head(self, keys: Sequence[str]) -> list[Any]:
        """The size of objects."""
        return each(lambda key: (self._size(key), None), keys)

    def _size(self, key: str) -> int:
        with closing(self._named(lambda: self._store.open(key))) as file:
            if _can_seek(file):
                file.seek(0, os.SEEK_END)
                return int(file.tell())
        return len(self._store.get(key))

    def delete(self, keys: Sequence[str]) -> list[Any]:
        """Delete objects."""
        return each(self._remove, keys)

    def _remove(self, key: str) -> None:
        try:
            self._named(lambda: self._store.delete(key))
        except OSError as error:
            # On files it also removes empty directories, and two deletes may collide there.
            if error.errno not in (errno.ENOENT, errno.ENOTEMPTY, errno.EEXIST):
                raise

    def copy(self, pairs: Sequence[tuple[str, str]]) -> list[Any]:
        """Copy objects, by way of this machine where the store cannot."""
        return each(self._copy, pairs)

    def _copy(self, pair: tuple[str, str]) -> None:
        source, target = pair
        try:
            self._store.copy(source, target)
        except AttributeError:
            self._store.put(target, bytes(self._store.get(source)))

    def list(self, directories: Sequence[tuple[str, bool]]) -> Sequence[Any]:
        """List directories. The sizes cost a request for each object."""
        return [self._list(directory, recursive) for directory, recursive in directories]

    def _list(self, directory: str, recursive: bool) -> Any:
        below = f"{directory}/" if directory else ""
        try:
            names = list(self._names(below, recursive))
        except Exception as error:
            return error
        keys = [name for name in names if not name.endswith("/")]
        directories = [name.rstrip("/") for name in names if name.endswith("/") and name != below]
        entries = []
        for key, size in zip(keys, each(self._size, keys), strict=True):
            if not isinstance(size, Exception):
                entries.append((key, size, None))
            elif not isinstance(size, (KeyError, FileNotFoundError)):
                return size
        return entries, directories

    def _names(self, below: str, recursive: bool) -> Any:
        if recursive:
            return self._store.iter_keys(below)
        try:
            return self._store.iter_prefixes("/", below)
        except AttributeError:
            # A read-only decorator passes on only some methods.
            keys = [key[len(below) :] for key in self._store.iter_keys(below)]
            parts = (key.partition("/") for key in keys)
            return {below + name + slash for name, slash, _ in parts}

    def _named(self, work: Callable[[], Any]) -> Any:
        """Runs what names an object, and says what to do where its name is refused."""
        try:
            return work()
        except ValueError as error:
            raise ValueError(
                f"{error} Use the form of the store whose keys take slashes, such as HDictStore or "
                "an hfs:// URL, or minimalkv.decorator.URLEncodeKeysDecorator"
            ) from error


def _can_seek(file: Any) -> bool:
    seekable = getattr(file, "seekable", None)
    return bool(seekable and seekable())


def _exactly(file: Any, length: int | None) -> bytes:
    """Reads to the length, or to the end of the file."""
    pieces = []
    while length is None or length > 0:
        piece = bytes(file.read(-1 if length is None else length))
        if not piece:
            break
        pieces.append(piece)
        length = None if length is None else length - len(piece)
    return b"".join(pieces)
