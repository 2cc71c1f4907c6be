"""Files and directories of any file system of fsspec."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

import fsspec

from partita.compat.zcollection._stores import file_system, normalized

__all__ = ["copy_file", "copy_files", "copy_tree", "fs_walk", "get_fs", "join_path"]

SEPARATOR = "/"


def join_path(*args: str) -> str:
    """The parts of a path as one."""
    return SEPARATOR.join(args)


def normalize_path(fs: fsspec.AbstractFileSystem, path: str) -> str:
    """A path as a file system names it, without its protocol."""
    return normalized(fs, path)


def get_fs(filesystem: fsspec.AbstractFileSystem | str | None = None) -> fsspec.AbstractFileSystem:
    """A file system, given as one, by its protocol, or not at all for local files."""
    return file_system(filesystem)


def fs_walk(
    fs: fsspec.AbstractFileSystem, path: str, sort: bool = False
) -> Iterator[tuple[str, list[str], list[str]]]:
    """A directory and all below it: each with the paths of its directories and the names of its
    files. A directory that cannot be listed is the name ``""`` without either.
    """
    try:
        listing = fs.ls(path, detail=True)
    except OSError:
        yield "", [], []
        return
    directories, files = [], []
    for info in listing:
        found = info["name"].rstrip(SEPARATOR)
        if info["type"] == "directory" and found != path:
            directories.append(found)
        else:
            files.append(found.rsplit(SEPARATOR, 1)[-1])
    if sort:
        directories.sort()
        files.sort()
    yield path.rstrip(SEPARATOR), directories, files
    for directory in directories:
        yield from fs_walk(fs, directory, sort=sort)


def copy_file(
    source: str,
    target: str,
    fs_source: fsspec.AbstractFileSystem,
    fs_target: fsspec.AbstractFileSystem,
) -> None:
    """Copy a file from one file system to another."""
    with fs_source.open(source, "rb") as stream, fs_target.open(target, "wb") as sink:
        sink.write(stream.read())


def copy_files(
    source: Sequence[str],
    target: str,
    fs_source: fsspec.AbstractFileSystem,
    fs_target: fsspec.AbstractFileSystem,
) -> None:
    """Copy files into a directory."""
    for path in source:
        copy_file(path, join_path(target, os.path.basename(path)), fs_source, fs_target)


def copy_tree(
    source: str,
    target: str,
    fs_source: fsspec.AbstractFileSystem,
    fs_target: fsspec.AbstractFileSystem,
) -> None:
    """Copy a directory with all that is below it.

    Raises
    ------
    ValueError
        If the target exists.
    """
    if fs_target.exists(target):
        raise ValueError(f"Target {target} already exists")
    fs_target.mkdir(target)
    for root, directories, files in list(fs_walk(fs_source, source)):
        below = join_path(target, os.path.relpath(root, source))
        for directory in directories:
            fs_target.mkdir(join_path(target, os.path.relpath(directory, source)))
        copy_files(
            [join_path(root, name) for name in files], os.path.normpath(below), fs_source, fs_target
        )
