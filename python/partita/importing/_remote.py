"""Files in stores: listed by the engine, and read from local copies."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from partita import _native
from partita.errors import NotFound

__all__ = ["GROUP_DOCUMENTS", "Reading", "find_in_store", "is_url"]

GROUP_DOCUMENTS = (".zgroup", ".zmetadata", "zarr.json")
# Copies that a process keeps, because the files of one partition are often read again.
_KEPT = 4


def is_url(name: str) -> bool:
    """Whether a name is one in a store, and not that of a local file."""
    return re.match(r"[a-z][a-z0-9+]*://", name) is not None


def find_in_store(name: str, options: Mapping[str, str], is_wanted: Any) -> list[str]:
    """The files and groups of Zarr that a name, a folder or a pattern in a store stands for.

    Parameters
    ----------
    is_wanted : callable
        Whether a file of that name in a folder holds arrays.
    """
    scheme, _, path = name.partition("://")
    path = path.rstrip("/")
    fixed = re.split(r"[*?\[]", path, maxsplit=1)[0]
    parent = fixed.rpartition("/")[0]
    prefix = fixed[len(parent) + 1 :]
    root = f"{scheme}://{parent}"
    keys = [key for key, _ in _native.objects(root, options, prefix)]
    groups = _groups(keys)
    pattern = _pattern(path[len(parent) + 1 :])
    found: dict[str, None] = {}
    for key in keys:
        own = next((group for group in groups if key.startswith(f"{group}/")), key)
        below = pattern.match(own)
        if below is None:
            continue
        # The pattern names a folder: its files count if their own names are those of data files.
        is_named = below.end() == len(own)
        if is_named or own in groups or (own[below.end()] == "/" and is_wanted(own)):
            found[f"{root}/{own}"] = None
    return list(found)


def _groups(keys: list[str]) -> set[str]:
    """The groups of Zarr that lie in no other one."""
    all_of_them = {key.rpartition("/")[0] for key in keys if _is_document(key)} - {""}
    return {
        one
        for one in all_of_them
        if not any(one != other and one.startswith(f"{other}/") for other in all_of_them)
    }


def _is_document(key: str) -> bool:
    return key.rpartition("/")[2] in GROUP_DOCUMENTS


# The tokens of a pattern.
_TOKEN = re.compile(r"\*|\?|\[!?[^\]]+\]|.", re.DOTALL)


def _pattern(text: str) -> re.Pattern[str]:
    """A pattern of files, in which ``**`` stands for any folders, or of a folder above them."""
    parts = (
        "(?:[^/]+/)*" if part == "**" else _TOKEN.sub(_translated, part) + "/"
        for part in text.split("/")
    )
    return re.compile("".join(parts).removesuffix("/") + "(?=/|$)")


def _translated(token: re.Match[str]) -> str:
    found = token[0]
    if found in ("*", "?"):
        return "[^/]*" if found == "*" else "[^/]"
    if len(found) > 1:
        negated, chosen = ("^", found[2:-1]) if found[1] == "!" else ("", found[1:-1])
        return f"[{negated}{chosen.replace('[', chr(92) + '[')}]"
    return re.escape(found)


@dataclass
class Reading:
    """How files are read; may travel to other processes."""

    groups: bool
    """Whether the groups of files are read too."""
    options: Mapping[str, str] = field(default_factory=dict)
    """The options of the store of files that are named by URLs."""
    folder: str = ""
    """The folder for temporary local copies of such files."""

    def local(self, path: str) -> str:
        """The file, or a local copy of it.

        Raises
        ------
        NotFound
            If there is no such file.
        """
        if not is_url(path):
            return path
        own = os.path.join(self.folder, str(os.getpid()))
        os.makedirs(own, exist_ok=True)
        # Libraries name the copy in their errors, and the URL may hold a password.
        digest = hashlib.blake2b(path.encode(), digest_size=8).hexdigest()
        name = re.sub(r"[^\w.-]", "_", path.rpartition("/")[2])
        place = os.path.join(own, f"{digest}_{name}")
        if not os.path.exists(place):
            self._fetch(path, place)
        os.utime(place)
        kept = sorted((os.path.join(own, one) for one in os.listdir(own)), key=os.path.getmtime)
        for old in kept[:-_KEPT]:
            _remove(old)
        return place

    def _fetch(self, path: str, place: str) -> None:
        root, _, name = path.rpartition("/")
        found = [
            (key, size)
            for key, size in _native.objects(root, self.options, name)
            if key == name or key.startswith(f"{name}/")
        ]
        if not found:
            raise NotFound(f"there is no file {path}", context={"file": path})
        part = f"{place}.part"
        _remove(part)
        for key, size in found:
            target = part + key[len(name) :]
            os.makedirs(os.path.dirname(target), exist_ok=True)
            _native.download(root, self.options, key, size, target)
        os.rename(part, place)


def _remove(path: str) -> None:
    if os.path.isdir(path):
        shutil.rmtree(path)
    elif os.path.exists(path):
        os.unlink(path)
