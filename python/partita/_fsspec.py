"""fsspec file systems as stores."""

from __future__ import annotations

import datetime as dt
import random
import re
from collections.abc import Mapping, Sequence
from email.utils import parsedate_to_datetime
from typing import Any

from partita._answers import answer, each, one_by_one
from partita.errors import InvalidArgument

__all__ = ["FsspecStore", "path_of"]

# The names under which file systems report when a file was written. The last one is the time of its
# creation, which is the same for files that are never changed.
_TIMES = (
    *("mtime", "LastModified", "last_modified", "updated", "modified", "Last-Modified"),
    *("creation_time", "created"),
)

# The names of the engine's temporary files, which listings leave out.
_TEMPORARY = re.compile(r"#\d+$")

# Characters that some file systems take for a pattern when several files are deleted by one call.
_MAGIC = re.compile(r"[*?\[\]]")


def path_of(filesystem: Any, url: str) -> tuple[str, str]:
    """The path of a URL in a file system, and what its paths begin with beside the key."""
    path: str = filesystem._strip_protocol(url)
    if filesystem.root_marker and path.startswith(filesystem.root_marker):
        return path, filesystem.root_marker
    return path.strip("/"), ""


class FsspecStore:
    """An fsspec file system as a `BatchStore`.

    Parameters
    ----------
    filesystem : fsspec.AbstractFileSystem
        The file system.
    root : str
        What its paths begin with: a slash, or nothing.
    """

    def __init__(self, filesystem: Any, root: str = "") -> None:
        from fsspec.archive import AbstractArchiveFileSystem
        from fsspec.implementations.dirfs import DirFileSystem
        from fsspec.implementations.local import LocalFileSystem
        from fsspec.implementations.memory import MemoryFileSystem

        if getattr(filesystem, "asynchronous", False):
            raise InvalidArgument(
                "the file system belongs to a running event loop: make one without asynchronous="
            )
        self._filesystem = filesystem
        self._root = root
        inner = filesystem
        while isinstance(inner, DirFileSystem):
            inner = inner.fs
        self._is_async = bool(inner.async_impl)
        self._is_local = isinstance(inner, LocalFileSystem)
        # An archive is one open file, and builds its table of contents during requests.
        waits_for_nothing = isinstance(inner, (MemoryFileSystem, AbstractArchiveFileSystem))
        self._answers = one_by_one if waits_for_nothing else each
        # Where directories exist as such, they stay when their last file is deleted.
        self._keeps_directories = not (self._is_async or waits_for_nothing)

    def __reduce__(self) -> tuple[Any, ...]:
        return FsspecStore, (self._filesystem, self._root)

    def get_ranges(self, requests: Sequence[tuple[str, int | None, int | None]]) -> list[Any]:
        """Read bytes of files."""
        if not self._is_async:
            return self._answers(self._read, requests)
        paths = [self._path(key) for key, _, _ in requests]
        starts = [start for _, start, _ in requests]
        ends = [end for _, _, end in requests]
        answers = self._filesystem.cat_ranges(paths, starts, ends, on_error="return")
        return [one if isinstance(one, Exception) else bytes(one) for one in answers]

    def _read(self, request: tuple[str, int | None, int | None]) -> bytes:
        key, start, end = request
        return bytes(self._filesystem.cat_file(self._path(key), start=start, end=end))

    def put(self, objects: Sequence[tuple[str, bytes]]) -> list[Any]:
        """Write whole files, with the directories that they need."""
        return self._answers(self._write, objects)

    def _write(self, item: tuple[str, bytes]) -> None:
        key, content = item
        path = self._path(key)
        self._in_directory(path, lambda: self._pipe(path, content))

    def _pipe(self, path: str, content: bytes) -> None:
        if not self._is_local:
            self._filesystem.pipe_file(path, content)
            return
        # The file is renamed into place, so that readers do not see half of it.
        temporary = f"{path}#{random.getrandbits(63)}"
        try:
            self._filesystem.pipe_file(temporary, content)
            self._filesystem.mv(temporary, path)
        except BaseException:
            answer(self._filesystem.rm_file, temporary)
            raise

    def _in_directory(self, path: str, work: Any) -> None:
        try:
            work()
        except FileNotFoundError:
            # In an object store the bucket is missing, which is not created here.
            if self._is_async:
                raise
            self._filesystem.makedirs(self._filesystem._parent(path), exist_ok=True)
            work()

    def head(self, keys: Sequence[str]) -> list[Any]:
        """The size and the time of files."""
        self._filesystem.invalidate_cache()
        return self._answers(self._head, keys)

    def _head(self, key: str) -> tuple[int, float | None]:
        info = self._filesystem.info(self._path(key))
        if info["type"] == "directory":
            raise IsADirectoryError(key)
        return int(info["size"]), _time(info)

    def delete(self, keys: Sequence[str]) -> list[Any]:
        """Delete files: by one call where the file system deletes in bulk."""
        paths = [self._path(key) for key in keys]
        if self._is_async and len(paths) > 1 and not any(map(_MAGIC.search, paths)):
            try:
                self._filesystem.rm(paths)
                return [None] * len(paths)
            except FileNotFoundError:
                pass
        return self._answers(self._remove, paths)

    def _remove(self, path: str) -> None:
        self._filesystem.rm_file(path)

    def copy(self, pairs: Sequence[tuple[str, str]]) -> list[Any]:
        """Copy files."""
        return self._answers(self._copy, pairs)

    def _copy(self, pair: tuple[str, str]) -> None:
        source, target = (self._path(key) for key in pair)
        self._in_directory(target, lambda: self._filesystem.cp_file(source, target))

    def list(self, directories: Sequence[tuple[str, bool]]) -> Sequence[Any]:
        """List directories."""
        self._filesystem.invalidate_cache()
        # Listing one directory may take many requests, so each listing uses all threads.
        return one_by_one(self._list, directories)

    def _list(self, request: tuple[str, bool]) -> tuple[Sequence[Any], Sequence[str]]:
        directory, recursive = request
        found = self._found(self._path(directory), recursive)
        below = f"{directory}/" if directory else ""
        files: dict[str, Mapping[str, Any]] = {}
        directories = []
        for name, info in found.items():
            key = self._key(name)
            if not key.startswith(below) or key == below:
                continue
            if info["type"] == "directory":
                directories.append(key)
            elif info["type"] == "file" and not _TEMPORARY.search(key):
                files[key] = info
        if self._keeps_directories and not recursive:
            held = self._answers(self._holds, directories)
            directories = [key for key, holds in zip(directories, held, strict=True) if holds]
        return self._entries(files), directories

    def _holds(self, directory: str) -> bool:
        """Whether there are files in a directory or below."""
        return any(files for _, _, files in self._filesystem.walk(self._path(directory)))

    def _found(self, path: str, recursive: bool) -> dict[str, Mapping[str, Any]]:
        try:
            if recursive:
                return dict(self._filesystem.find(path, detail=True))
            return {info["name"]: info for info in self._filesystem.ls(path, detail=True)}
        except (FileNotFoundError, NotADirectoryError):
            return {}

    def _entries(self, files: Mapping[str, Mapping[str, Any]]) -> Sequence[Any]:
        entries = [(key, info["size"], _time(info)) for key, info in files.items()]
        missing = [key for key, size, time in entries if size is None or time is None]
        if not missing:
            return entries
        # These times are compared with those of `head`, and come from there if only it has them.
        first = self._head(missing[0])
        if first[1] is None and all(size is not None for _, size, _ in entries):
            return entries
        heads = dict(zip(missing, self._answers(self._head, missing), strict=True))
        for error in heads.values():
            if isinstance(error, Exception) and not isinstance(error, FileNotFoundError):
                raise error
        gone = {key for key, head in heads.items() if isinstance(head, Exception)}
        known = [entry for entry in entries if entry[0] not in gone]
        return [(key, *heads[key]) if key in heads else (key, s, t) for key, s, t in known]

    def _path(self, key: str) -> str:
        return self._root + key

    def _key(self, path: str) -> str:
        key: str = self._filesystem._strip_protocol(path)
        return key.strip("/")


def _time(info: Mapping[str, Any]) -> float | None:
    """When a file was written, in seconds since 1970."""
    for name in _TIMES:
        value = info.get(name)
        if isinstance(value, str):
            value = _parsed(value)
        if isinstance(value, dt.datetime):
            zoned = value if value.tzinfo else value.replace(tzinfo=dt.timezone.utc)
            return zoned.timestamp()
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return float(value)
    return None


def _parsed(text: str) -> dt.datetime | None:
    try:
        return dt.datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        try:
            return parsedate_to_datetime(text)
        except ValueError:
            return None
