"""What a table holds, in numbers: hashes of its rows, and statistics of its files."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from partita._arguments import Version, names
from partita._arrow import optional
from partita.dask._read import read_table
from partita.dask._source import Source
from partita.expression import Where

if TYPE_CHECKING:
    import pandas as pd
    from dask.dataframe import Series

__all__ = ["hash_table", "statistics"]


def hash_table(
    url: str | os.PathLike[str],
    subset: Sequence[str] | None = None,
    by: str | Sequence[str] | None = None,
    *,
    where: Where | None = None,
    at: Version | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> Series:
    """Hash the rows of a table; tables with the same rows have the same hashes.

    The hash of some rows is the sum of those of each, so their order does not count.

    Parameters
    ----------
    url : str or path-like
        Where the table is.
    subset : sequence of str, optional
        The columns that count; all of them if left out.
    by : str or sequence of str, optional
        One hash for each combination of values of these columns. One for each file if left out.
    where, at, storage_options
        As for `read_table`.

    Returns
    -------
    dask.dataframe.Series
        Of ``uint64``.

    Examples
    --------
    >>> import partita as pt
    >>> import partita.dask as ptd
    >>> one = pt.create_table("memory://hash/one", {"k": [1, 2, 2], "v": [1, 2, 3]})
    >>> two = pt.create_table("memory://hash/two", {"k": [2, 1, 2], "v": [3, 1, 2]})
    >>> ptd.hash_table(one.url, by="k").compute().equals(ptd.hash_table(two.url, by="k").compute())
    True
    """
    pandas = optional("pandas", "hashing a table")
    keys = names("by", by)
    columns = None if subset is None else list(dict.fromkeys([*subset, *keys]))
    ddf = read_table(url, columns, where, at=at, storage_options=storage_options)
    counted = list(ddf.columns) if subset is None else list(subset)
    if not keys:
        meta = pandas.Series([], dtype="uint64", name="hash")
        return ddf.map_partitions(hash_rows, counted, meta=meta)
    meta = ddf._meta[keys].assign(hash=pandas.Series([], dtype="uint64"))
    hashed = ddf.map_partitions(hash_groups, counted, keys, meta=meta)
    return hashed.groupby(keys[0] if len(keys) == 1 else keys)["hash"].sum()


def hash_rows(frame: pd.DataFrame, columns: list[str]) -> pd.Series:
    """One hash of all rows."""
    import pandas as pd

    total = pd.util.hash_pandas_object(frame[columns], index=False).sum()
    return pd.Series([total], dtype="uint64", name="hash")


def hash_groups(frame: pd.DataFrame, columns: list[str], keys: list[str]) -> pd.DataFrame:
    """The keys of each row and its hash."""
    import pandas as pd

    return frame[keys].assign(hash=pd.util.hash_pandas_object(frame[columns], index=False))


def statistics(
    url: str | os.PathLike[str],
    where: Where | None = None,
    *,
    at: Version | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> pd.DataFrame:
    """The files that a read would look into: partition values as in paths, rows and bytes.

    Nothing is computed by workers: the table's own metadata tells.

    Examples
    --------
    >>> import partita as pt
    >>> import partita.dask as ptd
    >>> data = {"y": [1, 2, 2], "v": [3, 4, 5]}
    >>> table = pt.create_table("memory://files/t", data, partition_by="y")
    >>> ptd.statistics(table.url, where="y == 2")[["y", "rows"]]
       y  rows
    0  2     2
    """
    pandas = optional("pandas", "telling statistics")
    _, table = Source.find(url, at, storage_options)
    found = table.scan(where=where)._native.files()
    columns = {
        name: [dict(pairs).get(name) for _, pairs, _, _ in found] for name in table.partition_by
    }
    sizes = {
        "rows": pandas.array([rows for _, _, rows, _ in found], dtype="Int64"),
        "bytes": pandas.array([size for _, _, _, size in found], dtype="Int64"),
    }
    return pandas.DataFrame({"file": [key for key, _, _, _ in found], **columns, **sizes})
