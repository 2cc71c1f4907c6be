"""Tables in Dask: read by many workers, written by many workers, committed once.

Reading gives a ``dask.dataframe`` whose projections and filters reach the files. Writing lets each
worker stage files that nobody can see, gathers small receipts of them, and commits all of them at
once from one place. A task that ran twice counts once; a computation that fails or is cancelled
leaves the table as it was.

Examples
--------
>>> import pandas as pd
>>> import dask.dataframe as dd
>>> import partita.dask as ptd
>>> trips = pd.DataFrame({"city": ["Oslo", "Rome", "Rome"], "fare": [12.5, 9.0, 4.0]})
>>> ptd.write_table(
...     dd.from_pandas(trips, npartitions=2), "memory://dask/trips", partition_by="city"
... ).rows_added
3
>>> ddf = ptd.read_table("memory://dask/trips")
>>> float(ddf[ddf.city == "Rome"].fare.sum().compute())
13.0
"""

from partita._arrow import optional as _optional

_optional("dask.dataframe", "partita.dask")

from partita.dask._delayed import (  # noqa: E402
    read_bag,
    read_delayed,
    write_bag,
    write_delayed,
)
from partita.dask._hash import hash_table, statistics  # noqa: E402
from partita.dask._read import read_table  # noqa: E402
from partita.dask._receipts import Receipts, merge_receipts  # noqa: E402
from partita.dask._write import write_table  # noqa: E402
from partita.dask._writer import Writer  # noqa: E402

__all__ = [
    "Receipts",
    "Writer",
    "hash_table",
    "merge_receipts",
    "read_bag",
    "read_delayed",
    "read_table",
    "statistics",
    "write_bag",
    "write_delayed",
    "write_table",
]
