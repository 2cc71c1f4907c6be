"""Where the engine finds what a store of minimalkv holds.

Stores of files and of S3 have a URL that the engine opens itself, with the same keys. All others
are asked through Python, with the promise that nobody else writes, which plateau makes as well.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from partita.compat.plateau.core.utils import ensure_store

__all__ = ["Place", "changing", "place_of"]

_LOCK = threading.RLock()


@dataclass(frozen=True)
class Place:
    """Where a dataset is, as the engine opens it."""

    url: str
    options: dict[str, str] = field(default_factory=dict)
    read_only: bool = False
    store: Any = None
    """The store that is asked through Python; None if the engine opens the URL."""

    @property
    def arguments(self) -> dict[str, Any]:
        """How to open it, beside its URL."""
        if self.store is None:
            return {"storage_options": self.options}
        return {"filesystem": self.store, "single_writer": not self.read_only}

    @property
    def name(self) -> str:
        """What is the same for the same place, as long as its store is in use."""
        if self.store is not None:
            return f"{id(self.store)} {self.url}"
        return f"{self.url} {sorted(self.options.items())}"


def place_of(store: Any, uuid: str) -> Place:
    """Where a dataset of a store is."""
    given = ensure_store(store)
    opened, prefix, read_only, encoded = _unwrapped(given)
    if _is(opened, "FilesystemStore") and not encoded and prefix.rpartition("/")[2] == "":
        return Place(f"{Path(opened.root).absolute() / prefix}/{uuid}", {}, read_only)
    if _is(opened, "S3FSStore") and not encoded:
        base = f"{opened.object_prefix}{prefix}"
        if base.rpartition("/")[2] == "":
            url = f"s3://{opened.bucket.name}/{base}{uuid}"
            return Place(url, _s3_options(opened), read_only)
    return Place(uuid, {}, read_only, given)


@contextmanager
def changing(store: Any, uuid: str) -> Iterator[Place]:
    """The place of a dataset, to change it; one thread at a time where only one may write."""
    place = place_of(store, uuid)
    with nullcontext() if place.store is None else _LOCK:
        yield place


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
