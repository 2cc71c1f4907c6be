"""Where the engine finds what a store of minimalkv holds.

Stores of files and of S3 have a URL that the engine opens itself, with the same keys. Stores in
the memory of this process are copied to a directory for each operation, and what it changed is
copied back.
"""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from partita.compat.plateau.core.naming import METADATA_BASE_SUFFIX
from partita.compat.plateau.core.utils import ensure_store

__all__ = ["Place", "changing", "place_of", "reading"]

_LOCK = threading.RLock()


@dataclass(frozen=True)
class Place:
    """Where a dataset is, as the engine opens it."""

    url: str
    options: dict[str, str] = field(default_factory=dict)
    read_only: bool = False
    keep: Any = None
    """What must live as long as the place is used."""


def place_of(store: Any, uuid: str) -> Place | None:
    """The URL of a dataset in a store; None if the store is one of memory.

    Raises
    ------
    NotImplementedError
        If the engine cannot reach what the store holds.
    """
    opened, prefix, read_only, encoded = _unwrapped(ensure_store(store))
    files = _is(opened, "FilesystemStore")
    if _is(opened, "DictStore") or (encoded and files):
        return None
    if files and prefix.rpartition("/")[2] == "":
        return Place(f"{Path(opened.root).absolute() / prefix}/{uuid}", {}, read_only)
    if _is(opened, "S3FSStore") and not encoded:
        base = f"{opened.object_prefix}{prefix}"
        if base.rpartition("/")[2] == "":
            url = f"s3://{opened.bucket.name}/{base}{uuid}"
            return Place(url, _s3_options(opened), read_only)
    raise NotImplementedError(
        f"a store of class {type(opened).__name__} cannot be opened: use a store of files "
        "(hfs://), of S3 (hs3://) or of memory, with a prefix that ends in a slash if there is one"
    )


@contextmanager
def reading(store: Any, uuid: str) -> Iterator[Place]:
    """The place of a dataset, to read from."""
    place = place_of(store, uuid)
    if place is None:
        with _LOCK:
            place = _Copy(ensure_store(store), uuid).place
    yield place


@contextmanager
def changing(store: Any, uuid: str) -> Iterator[Place]:
    """The place of a dataset, to change it."""
    place = place_of(store, uuid)
    if place is not None:
        yield place
        return
    with _LOCK:
        copy = _Copy(ensure_store(store), uuid)
        yield copy.place
        copy.write_back()


class _Copy:
    """The objects of a dataset in a directory of their own."""

    def __init__(self, store: Any, uuid: str) -> None:
        self._store = store
        self._uuid = uuid
        self._directory = tempfile.TemporaryDirectory(prefix="partita-")
        self._root = Path(self._directory.name)
        self._objects = {key: store.get(key) for key in store.keys(uuid) if self._owns(key)}
        for key, data in self._objects.items():
            path = self._root / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)

    @property
    def place(self) -> Place:
        return Place(str(self._root / self._uuid), {}, keep=self._directory)

    def write_back(self) -> None:
        """Copy what has changed to the store, the header after all it refers to."""
        now = {
            path.relative_to(self._root).as_posix(): path.read_bytes()
            for path in self._root.rglob("*")
            if path.is_file()
        }
        changed = [key for key, data in now.items() if self._objects.get(key) != data]
        for key in sorted(filter(self._owns, changed), key=lambda key: METADATA_BASE_SUFFIX in key):
            self._store.put(key, now[key])
        for key in self._objects.keys() - now.keys():
            self._store.delete(key)

    def _owns(self, key: str) -> bool:
        return key.startswith((f"{self._uuid}.", f"{self._uuid}/"))


def _unwrapped(store: Any) -> tuple[Any, str, bool, bool]:
    """The store under its decorators; their prefix; whether it is read-only; whether keys are
    encoded."""
    prefix, read_only, encoded = "", False, False
    while "_dstore" in getattr(store, "__dict__", ()):
        kind = type(store).__name__
        if kind == "PrefixDecorator":
            prefix = store.prefix + prefix
        elif kind == "ReadOnlyDecorator":
            read_only = True
        elif kind == "URLEncodeKeysDecorator":
            encoded = True
        store = vars(store)["_dstore"]
    return store, prefix, read_only, encoded


def _is(store: Any, name: str) -> bool:
    # By name, so that stores are known without importing what they need.
    return any(kind.__name__ == name for kind in type(store).__mro__)


def _s3_options(store: Any) -> dict[str, str]:
    options = {}
    if store.endpoint_url:
        options["endpoint_url"] = store.endpoint_url
        if store.endpoint_url.startswith("http://"):
            options["allow_http"] = "true"
    if store.region_name:
        options["region"] = store.region_name
    credentials = store.credentials
    if credentials is not None and credentials.access_key_id:
        options["access_key_id"] = credentials.access_key_id
        options["secret_access_key"] = credentials.secret_access_key
        if credentials.session_token:
            options["session_token"] = credentials.session_token
    return options
