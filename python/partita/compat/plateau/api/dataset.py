"""Everything about datasets, in one place."""

from __future__ import annotations

import importlib
from typing import Any

from partita.compat.plateau.core import *  # noqa: F403
from partita.compat.plateau.core import __all__ as _core
from partita.compat.plateau.io.eager import *  # noqa: F403
from partita.compat.plateau.io.eager import __all__ as _eager
from partita.compat.plateau.io.iter import *  # noqa: F403
from partita.compat.plateau.io.iter import __all__ as _iter

_DASK = {
    "build_dataset_indices__bag": "bag",
    "read_dataset_as_dataframe_bag": "bag",
    "store_bag_as_dataset": "bag",
    "collect_dataset_metadata": "dataframe",
    "hash_dataset": "dataframe",
    "pack_payload": "dataframe",
    "pack_payload_pandas": "dataframe",
    "read_dataset_as_ddf": "dataframe",
    "store_dataset_from_ddf": "dataframe",
    "unpack_payload": "dataframe",
    "unpack_payload_pandas": "dataframe",
    "update_dataset_from_ddf": "dataframe",
    "delete_dataset__delayed": "delayed",
    "garbage_collect_dataset__delayed": "delayed",
    "read_dataset_as_delayed": "delayed",
    "store_delayed_as_dataset": "delayed",
    "update_dataset_from_delayed": "delayed",
}

__all__ = [*_core, *_eager, *_iter]


def __getattr__(name: str) -> Any:
    # dask is imported by those alone who use it.
    if name not in _DASK:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(f"partita.compat.plateau.io.dask.{_DASK[name]}")
    return getattr(module, name)
