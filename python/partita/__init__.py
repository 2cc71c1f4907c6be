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

A *table* holds rows in Parquet files; a *collection* holds labelled arrays in Zarr groups:

>>> import numpy as np
>>> days = np.arange("2022-01", "2022-03", dtype="M8[D]").astype("M8[us]")
>>> ssh = pt.create_collection(
...     "memory://intro/ssh",
...     {"time": ("time", days), "ssh": ("time", np.arange(59.0))},
...     axis="time",
...     partition_by=pt.Date("time", "month"),
... )
>>> ssh.read(where="month == 2 and time < '2022-02-04'").ssh.values
array([31., 32., 33.])
"""

from partita import aio, merge
from partita._functions import PartitionInfo
from partita._metrics import Metrics, metrics
from partita._native import VERSION as __version__
from partita.collection import Collection
from partita.collection_scan import CollectionScan
from partita.dataset import (
    DatasetInfo,
    create_collection,
    create_table,
    create_view,
    ls,
    migrate,
    open,
    open_collection,
    open_table,
    open_view,
    rebuild,
    report,
)
from partita.engines._polars import scan_polars
from partita.engines._sql import Query, sql
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
    OutOfSync,
    PartitaError,
    ReadOnly,
    SchemaMismatch,
    StagedExpired,
    StaleIndex,
    StoreError,
)
from partita.expression import Column, Expr, col
from partita.importing import ImportReport, import_files
from partita.index import Index, Selection, open_index
from partita.partitioning import Bucket, Date, GroupedSequence, Sequence
from partita.records import (
    CollectionCommit,
    CollectionPartition,
    Commit,
    Explain,
    Garbage,
    History,
    Partition,
    Problem,
    Retained,
    SchemaVersion,
    Snapshot,
)
from partita.scan import Scan
from partita.staged_partitions import StagedPartitions
from partita.staging import Staged, Transaction
from partita.table import Table
from partita.view import Variable, View

__all__ = [
    "AlreadyExists",
    "Collection",
    "CollectionCommit",
    "CollectionPartition",
    "CollectionScan",
    "Column",
    "Commit",
    "CommitConflict",
    "CommitUnknown",
    "CommitUnsupported",
    "Corrupt",
    "DatasetInfo",
    "Bucket",
    "Date",
    "Explain",
    "Expr",
    "Garbage",
    "GroupedSequence",
    "History",
    "ImportReport",
    "Index",
    "Interrupted",
    "InvalidArgument",
    "InvalidPredicate",
    "Metrics",
    "NotFound",
    "OutOfSync",
    "Partition",
    "PartitionInfo",
    "PartitaError",
    "Problem",
    "Query",
    "ReadOnly",
    "Retained",
    "Scan",
    "SchemaMismatch",
    "Selection",
    "Sequence",
    "SchemaVersion",
    "Snapshot",
    "Staged",
    "StagedExpired",
    "StagedPartitions",
    "StaleIndex",
    "StoreError",
    "Table",
    "Transaction",
    "Variable",
    "View",
    "__version__",
    "aio",
    "col",
    "create_collection",
    "create_table",
    "create_view",
    "import_files",
    "ls",
    "merge",
    "metrics",
    "migrate",
    "open",
    "open_collection",
    "open_index",
    "open_table",
    "open_view",
    "rebuild",
    "report",
    "scan_polars",
    "sql",
]
