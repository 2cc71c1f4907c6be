"""Tables of the engine for datasets of plateau, and its errors as those of plateau."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import partita
from partita.compat.plateau._stores import Place, place_of
from partita.compat.plateau.core.naming import metadata_key_from_uuid

__all__ = ["Files", "files_of", "open_at", "translated"]

_KEPT = 32


@contextmanager
def translated(uuid: str) -> Iterator[None]:
    """Raise what plateau raises where the engine raises its own."""
    try:
        yield
    except partita.NotFound as error:
        raise KeyError(str(error)) from error
    except partita.SchemaMismatch as error:
        raise ValueError(
            f"Schemas for dataset '{uuid}' are not compatible!\n\nSchema violation\n\n{error}"
        ) from error
    except partita.AlreadyExists as error:
        raise RuntimeError(str(error)) from error


def open_at(place: Place, uuid: str) -> partita.Table:
    """Open the table of a dataset.

    Raises
    ------
    KeyError
        If there is none.
    """
    try:
        return partita.open_table(place.url, read_only=place.read_only, **place.arguments)
    except partita.NotFound as error:
        keys = [metadata_key_from_uuid(uuid, form) for form in ("json", "msgpack")]
        raise KeyError(f"Dataset does not exist. Tried {keys[0]} and {keys[1]}") from error


def plateau_types(scan: partita.Scan) -> partita.Scan:
    """The scan with the types that plateau makes of those that were given."""
    scan._native = scan._native.normalised()
    return scan


class Files:
    """The files of one version of a dataset, each as a read of its own."""

    def __init__(self, place: Place, uuid: str) -> None:
        self.table = open_at(place, uuid)
        # The name of the place is that of its store, which must not be used anew.
        self._store = place.store
        whole = plateau_types(self.table.scan())
        pieces = (piece for _, piece in whole._native.pieces(True))
        self.pieces: dict[str, Any] = dict(zip(whole._native.keys(), pieces, strict=True))


_OPEN: OrderedDict[str, Files] = OrderedDict()
_LOCK = threading.RLock()


def files_of(store: Any, uuid: str, key: str) -> Files | None:
    """Files of a dataset among which is that with a key; None if no version has it now.

    A file never changes, so that any version that has it will do.
    """
    place = place_of(store, uuid)
    with _LOCK:
        known = _OPEN.get(place.name)
        if known is None or key not in known.pieces:
            known = Files(place, uuid)
            _OPEN[place.name] = known
        _OPEN.move_to_end(place.name)
        while len(_OPEN) > _KEPT:
            _OPEN.popitem(last=False)
    return known if key in known.pieces else None
