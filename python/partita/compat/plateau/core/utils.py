"""Stores out of everything that is accepted as one."""

from __future__ import annotations

import pickle
from functools import partial
from typing import Any

from partita._arrow import optional
from partita.compat.plateau.core.naming import MAX_METADATA_VERSION, MIN_METADATA_VERSION
from partita.compat.plateau.serialization._names import ensure_string_type

__all__ = ["ensure_store", "ensure_string_type", "lazy_store", "verify_metadata_version"]


def ensure_store(store: Any) -> Any:
    """The minimalkv store that is meant by `store`."""
    return store if _is_store(store) else lazy_store(store)()


def lazy_store(store: Any) -> Any:
    """A callable that makes the minimalkv store that is meant by `store`.

    Raises
    ------
    TypeError
        If it is no store, or one that cannot be pickled.
    """
    if callable(store):
        return store
    if isinstance(store, str):
        return partial(_from_url, store)
    if not _is_store(store):
        raise TypeError(
            f"Provided incompatible store type. Got {type(store)} but expected a URL, a "
            "minimalkv.KeyValueStore or a callable that returns one."
        )
    try:
        pickle.dumps(store, pickle.HIGHEST_PROTOCOL)
    except Exception as error:
        raise TypeError("KeyValueStore not serializable.") from error
    return partial(_itself, store)


def verify_metadata_version(metadata_version: int) -> None:
    """Refuse versions of the format other than the one there is."""
    if metadata_version < MIN_METADATA_VERSION:
        raise NotImplementedError(
            f"Minimal supported metadata version is 4. You requested {metadata_version} instead."
        )
    if metadata_version > MAX_METADATA_VERSION:
        raise NotImplementedError(f"Future metadata version `{metadata_version}` encountered.")


def _is_store(given: Any) -> bool:
    # Decorators of minimalkv are no subclasses of its stores.
    return hasattr(given, "iter_prefixes")


def _itself(store: Any) -> Any:
    return store


def _from_url(url: str) -> Any:
    return optional("minimalkv", "a store given as a URL").get_store_from_url(url)
