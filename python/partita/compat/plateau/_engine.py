"""Tables of the engine for datasets of plateau, and its errors as those of plateau."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import partita
from partita.compat.plateau._stores import Place, place_of, reading
from partita.compat.plateau.core.naming import metadata_key_from_uuid
from partita.compat.plateau.core.utils import ensure_store

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
        table = partita.open_table(
            place.url, storage_options=place.options, read_only=place.read_only
        )
    except partita.NotFound as error:
        keys = [metadata_key_from_uuid(uuid, form) for form in ("json", "msgpack")]
        raise KeyError(f"Dataset does not exist. Tried {keys[0]} and {keys[1]}") from error
    return table


class Files:
    """The files of one version of a dataset, each as a read of its own."""

    def __init__(self, store: Any, uuid: str) -> None:
        with reading(store, uuid) as place:
            self.table = open_at(place, uuid)
            self._keep = (place.keep, store)
        whole = self.table.scan()
        pieces = (piece for _, piece in whole._native.pieces(True))
        self.pieces: dict[str, Any] = dict(zip(whole._native.keys(), pieces, strict=True))


_OPEN: OrderedDict[tuple[str, str], Files] = OrderedDict()
_LOCK = threading.RLock()


def files_of(store: Any, uuid: str, key: str) -> Files | None:
    """Files of a dataset among which is that with a key; None if no version has it now.

    A file never changes, so that any version that has it will do.
    """
    opened = ensure_store(store)
    place = place_of(opened, uuid)
    name = str(id(opened)) if place is None else f"{place.url} {sorted(place.options.items())}"
    with _LOCK:
        known = _OPEN.get((name, uuid))
        if known is None or key not in known.pieces:
            known = Files(opened, uuid)
            _OPEN[name, uuid] = known
        _OPEN.move_to_end((name, uuid))
        while len(_OPEN) > _KEPT:
            _OPEN.popitem(last=False)
    return known if key in known.pieces else None
