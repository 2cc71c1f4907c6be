"""Partitioned tables and arrays in object stores.

A *dataset* is a named set of partitions with one schema, living in a store that a URL names: a
local directory, ``memory://``, ``s3://``, ``gs://``, ``az://`` or, for reading, ``http(s)://``.
Every change is one atomic commit: readers and writers on other machines see all of it or nothing.

Examples
--------
>>> import partita as pt
>>> trips = pt.create_table(
...     "memory://intro/trips",
...     {"city": ["Oslo", "Oslo", "Rome"], "fare": [12.5, 30.0, 9.0]},
...     partition_by="city",
... )
>>> trips.read(where=(pt.col("city") == "Oslo") & (pt.col("fare") > 20))
   city  fare
0  Oslo  30.0
"""

from partita._native import VERSION as __version__
from partita.dataset import DatasetInfo, Date, create_table, ls, open, open_table
from partita.errors import (
    AlreadyExists,
    CommitConflict,
    CommitUnknown,
    CommitUnsupported,
    Corrupt,
    Interrupted,
    InvalidArgument,
    InvalidPredicate,
    NotFound,
    PartitaError,
    ReadOnly,
    SchemaMismatch,
    StoreError,
)
from partita.expression import Column, Expr, col
from partita.records import Commit, Explain, Garbage, Partition, Problem, Snapshot
from partita.scan import Scan
from partita.staging import Staged, Transaction
from partita.table import Table

__all__ = [
    "AlreadyExists",
    "Column",
    "Commit",
    "CommitConflict",
    "CommitUnknown",
    "CommitUnsupported",
    "Corrupt",
    "DatasetInfo",
    "Date",
    "Explain",
    "Expr",
    "Garbage",
    "Interrupted",
    "InvalidArgument",
    "InvalidPredicate",
    "NotFound",
    "Partition",
    "PartitaError",
    "Problem",
    "ReadOnly",
    "Scan",
    "SchemaMismatch",
    "Snapshot",
    "Staged",
    "StoreError",
    "Table",
    "Transaction",
    "__version__",
    "col",
    "create_table",
    "ls",
    "open",
    "open_table",
]
