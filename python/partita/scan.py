"""Reads that are described first and run afterwards."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from partita import _native
from partita._arrow import optional, pyarrow, pyarrow_schema
from partita._pandas import to_pandas
from partita._progress import Progress, reporting
from partita.records import Explain

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa

__all__ = ["Scan"]


class Scan:
    """A read of some rows and columns of a table at one version; made by `Table.scan`.

    Nothing is read until it is asked for in a form: `to_pandas`, `to_arrow`, `to_polars`,
    `to_batches`, `count`. A scan may be run any number of times. It is also an Arrow stream
    (``__arrow_c_stream__``), so pyarrow, Polars, DuckDB and others read it batch by batch.

    Examples
    --------
    >>> import partita as pt
    >>> table = pt.create_table("memory://scan/t", {"a": [1, 2, 3], "b": ["x", "y", "z"]})
    >>> scan = table.scan(columns=["b"], where="a > 1")
    >>> scan.to_pandas()
       b
    0  y
    1  z
    >>> scan.count()
    2
    """

    def __init__(self, native: _native.Scan, described: str) -> None:
        self._native = native
        self._described = described

    @property
    def schema(self) -> pa.Schema:
        """The schema of the result."""
        return pyarrow_schema(self._native)

    def to_arrow(self, *, progress: Progress = False) -> pa.Table:
        """Read into a pyarrow Table."""
        pa = pyarrow("reading into pyarrow")
        return pa.table(self._collect(progress))

    def to_pandas(self, *, progress: Progress = False, **options: Any) -> pd.DataFrame:
        """Read into a pandas DataFrame.

        Parameters
        ----------
        progress : bool or callable, default False
            True shows a bar on standard error; a callable is called with (done, total).
        **options
            Passed on to ``pyarrow.Table.to_pandas``, such as ``types_mapper``.
        """
        return to_pandas(self.to_arrow(progress=progress), **options)

    def to_polars(self, *, progress: Progress = False) -> pl.DataFrame:
        """Read into a Polars DataFrame."""
        polars = optional("polars", "reading into Polars")
        return polars.DataFrame(self._collect(progress))

    def to_batches(self) -> Iterator[pa.RecordBatch]:
        """Read one record batch after the other, with bounded memory.

        Examples
        --------
        >>> import partita as pt
        >>> table = pt.create_table("memory://scan/batches", {"a": [1, 2, 3]})
        >>> sum(batch.num_rows for batch in table.scan().to_batches())
        3
        """
        pa = pyarrow("reading record batches")
        batches = self._native.batches()
        return _closing(batches, pa)

    def count(self) -> int:
        """The number of rows, without reading more than it takes to know."""
        return self._native.count()

    def explain(self) -> Explain:
        """What would be read and what was ruled out by what."""
        text, details = self._native.explain()
        return Explain(text, json.loads(details))

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        return self._native.__arrow_c_stream__(requested_schema)

    def __arrow_c_schema__(self) -> object:
        return self._native.__arrow_c_schema__()

    def __repr__(self) -> str:
        return f"Scan({self._described})"

    def _collect(self, progress: Progress) -> _native.Batches:
        with reporting(progress) as report:
            return self._native.collect(report)


def _closing(batches: _native.BatchIterator, pa: Any) -> Iterator[pa.RecordBatch]:
    try:
        for batch in batches:
            yield pa.record_batch(batch)
    finally:
        batches.close()
