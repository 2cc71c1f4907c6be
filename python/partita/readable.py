"""The base class of tables and scans, whose rows other libraries can read."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from partita._arguments import whole
from partita._progress import Progress
from partita.engines._request import LastRun

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa

    from partita.engines._sql import Query
    from partita.engines.dataset import TableDataset
    from partita.scan import Scan

__all__ = ["Readable"]


class Readable(ABC):
    """The methods of `Table` and `Scan` that give their rows in the forms of other libraries.

    Examples
    --------
    >>> import partita as pt
    >>> table = pt.create_table("memory://readable/t", {"a": [1, 2, 3]})
    >>> len(table), len(table.scan(where="a > 1"))
    (3, 2)
    """

    _last_run: LastRun[Scan]

    @abstractmethod
    def _rows(self) -> Scan:
        """The read that gives them."""

    def to_arrow(self, *, progress: Progress = False) -> pa.Table:
        """Read into a pyarrow Table; see `Scan.to_arrow`.

        Examples
        --------
        >>> import partita as pt
        >>> table = pt.create_table("memory://readable/arrow", {"a": [1, 2, 3]})
        >>> table.to_arrow().num_rows
        3
        """
        return self._rows().to_arrow(progress=progress)

    def to_pandas(self, **options: Any) -> pd.DataFrame:
        """Read into a pandas DataFrame, with the options of `Scan.to_pandas`.

        Examples
        --------
        >>> import partita as pt
        >>> table = pt.create_table("memory://readable/pandas", {"a": [1, 2]})
        >>> table.to_pandas()
           a
        0  1
        1  2
        """
        return self._rows().to_pandas(**options)

    def to_polars(self, *, progress: Progress = False) -> pl.DataFrame:
        """Read into a Polars DataFrame; see `Scan.to_polars`.

        Examples
        --------
        >>> import partita as pt
        >>> table = pt.create_table("memory://readable/polars", {"a": [1, 2, 3]})
        >>> table.to_polars()["a"].sum()
        6
        """
        return self._rows().to_polars(progress=progress)

    def head(self, rows: int = 5) -> pd.DataFrame:
        """The first rows as a pandas DataFrame.

        Examples
        --------
        >>> import partita as pt
        >>> table = pt.create_table("memory://readable/head", {"a": range(100)})
        >>> table.head(2)
           a
        0  0
        1  1
        """
        return self._rows()._first(whole("rows", rows, 0) or 0)

    def lazy(self) -> pl.LazyFrame:
        """The rows as a lazy frame of Polars, which reads what its query needs.

        See `scan_polars`. The frame reads the version that reads see now.

        Examples
        --------
        >>> import partita as pt
        >>> import polars as pl
        >>> table = pt.create_table("memory://readable/lazy", {"a": [1, 2, 3], "b": [4, 5, 6]})
        >>> table.lazy().filter(pl.col("a") > 1).select("b").collect()["b"].to_list()
        [5, 6]
        """
        from partita.engines._polars import lazy_frame

        return lazy_frame(self._rows())

    def to_pyarrow_dataset(self) -> TableDataset:
        """The rows as a dataset of pyarrow, for engines that read such.

        Its ``scanner`` runs a scan with the columns and the filter it is given, which leaves out
        what that can, and applies the rest of the filter to what was read. It reads the version
        that reads see now. What it cannot do raises `InvalidArgument`.

        Examples
        --------
        >>> import partita as pt
        >>> import pyarrow.dataset as ds
        >>> table = pt.create_table("memory://readable/dataset", {"a": [1, 2, 3], "b": [4, 5, 6]})
        >>> dataset = table.to_pyarrow_dataset()
        >>> dataset.to_table(columns=["b"], filter=ds.field("a") > 1)["b"].to_pylist()
        [5, 6]
        """
        from partita.engines.dataset import TableDataset

        return TableDataset(self._rows())

    def sql(self, query: str) -> Query:
        """Describe a query in SQL, in which the rows are the table ``t``; DuckDB runs it.

        See `partita.sql` for queries over several tables.

        Examples
        --------
        >>> import partita as pt
        >>> table = pt.create_table("memory://readable/sql", {"a": [1, 1, 2], "b": [4, 5, 6]})
        >>> table.sql("select a, sum(b) as b from t where b > 4 group by a order by a").to_pandas()
           a  b
        0  1  5
        1  2  6
        """
        from partita.engines._sql import sql

        return sql(query, t=self)

    @property
    def last_run(self) -> Scan | None:
        """The scan that another engine ran last of these rows; None if there was none.

        Its ``explain()`` shows what the engine requested, what was left out, and what it cost.

        Examples
        --------
        >>> import partita as pt
        >>> import polars as pl
        >>> data = {"a": [1, 2], "b": [4, 5], "c": [7, 8]}
        >>> table = pt.create_table("memory://readable/run", data)
        >>> _ = table.lazy().filter(pl.col("a") > 1).select("b").collect()
        >>> table.last_run
        Scan(run, columns=['a', 'b'], where=a > 1)
        >>> table.last_run.explain().details["last_run"]["requests"]
        1
        """
        return self._last_run.scan

    def __len__(self) -> int:
        return self._rows().count()

    def __bool__(self) -> bool:
        # A table without rows is a table; to ask for its truth makes no request.
        return True
