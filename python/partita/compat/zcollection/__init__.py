"""The interface of ZCollection, over Partita's collections.

A program that was written for ZCollection 2024.2.0 or 2026.6.0 changes its import lines:

>>> from partita.compat import zcollection
>>> zcollection.partitioning.Date(("time",), "M").join((("year", 2000), ("month", 1)), "/")
'year=2000/month=01'

What is stored is the same, and both libraries open it. No client of Dask is needed, and every
change is one commit. ``docs/compat-zcollection.md`` lists what is refused and what is different.
"""

from partita.compat.zcollection import (
    dask_utils,
    fs_utils,
    indexing,
    merging,
    meta,
    partitioning,
    sync,
    view,
)
from partita.compat.zcollection.collection import Collection
from partita.compat.zcollection.collection.abc import (
    Indexer,
    PartitionFilter,
    PartitionFilterCallback,
)
from partita.compat.zcollection.collection.callable_objects import (
    MapCallable,
    PartitionCallable,
    UpdateCallable,
)
from partita.compat.zcollection.convenience import (
    create_collection,
    create_view,
    open_collection,
    open_view,
)
from partita.compat.zcollection.dataset import Dataset, Expression
from partita.compat.zcollection.meta import Attribute
from partita.compat.zcollection.variable import Array, DelayedArray, Variable
from partita.compat.zcollection.version import __version__
from partita.compat.zcollection.view import View, ViewReference, ViewUpdateCallable

__all__ = [
    "Array",
    "Attribute",
    "Collection",
    "Dataset",
    "DelayedArray",
    "Expression",
    "Indexer",
    "MapCallable",
    "PartitionCallable",
    "PartitionFilter",
    "PartitionFilterCallback",
    "UpdateCallable",
    "Variable",
    "View",
    "ViewReference",
    "ViewUpdateCallable",
    "__version__",
    "create_collection",
    "create_view",
    "dask_utils",
    "fs_utils",
    "indexing",
    "merging",
    "meta",
    "open_collection",
    "open_view",
    "partitioning",
    "sync",
    "view",
]
