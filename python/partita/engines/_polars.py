"""Tables as lazy frames of Polars."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from partita._arrow import optional, refuse_wide_decimals
from partita.dataset import open_table
from partita.engines._batches import Batches
from partita.engines._request import EngineRequest
from partita.errors import InvalidArgument
from partita.scan import Scan
from partita.table import Table

if TYPE_CHECKING:
    import polars as pl

__all__ = ["lazy_frame", "scan_polars"]


def scan_polars(source: str | os.PathLike[str] | Table | Scan, **options: Any) -> pl.LazyFrame:
    """A table as a lazy frame of Polars, which reads what its query needs.

    The columns of a query, its conditions and its limit become those of a scan, so that partitions,
    indices, statistics, bloom filters and pages leave out what they can. The rest of a condition is
    applied to what was read. The schema is known without reading rows. The version is settled here.

    Parameters
    ----------
    source : str, path-like, Table or Scan
        The table, or a read of some of it.
    **options
        For a URL: ``at``, ``storage_options`` and ``filesystem``, as for `open_table`.

    Returns
    -------
    polars.LazyFrame

    Examples
    --------
    >>> import partita as pt
    >>> import polars as pl
    >>> table = pt.create_table(
    ...     "memory://engines/polars",
    ...     {"city": ["Oslo", "Oslo", "Rome"], "fare": [12.5, 30.0, 9.0]},
    ...     partition_by="city",
    ... )
    >>> frame = pt.scan_polars(table.url)
    >>> frame.filter(pl.col("city") == "Oslo").select(pl.col("fare").sum()).collect().item()
    42.5
    """
    if not isinstance(source, (Table, Scan)):
        return open_table(source, read_only=True, **options).lazy()
    if options:
        raise InvalidArgument(f"{', '.join(options)}: these are for URLs, and the table is open")
    return source.lazy()


def lazy_frame(scan: Scan) -> pl.LazyFrame:
    """A scan as a lazy frame."""
    polars = optional("polars", "reading into Polars")
    plugins = optional("polars.io.plugins", "reading into Polars")
    refuse_wide_decimals(scan.schema)
    empty = polars.from_arrow(scan.schema.empty_table())
    try:
        # The version of a scan is fixed, so Polars may read once what a query uses twice.
        frame: pl.LazyFrame = plugins.register_io_source(
            _Source(scan), schema=empty.schema, is_pure=True
        )
    except TypeError as error:
        raise ImportError(
            f"lazy frames need Polars 1.38 or later, and this is {polars.__version__}: "
            "pip install -U polars"
        ) from error
    return frame


class _Source:
    """The IO source: Polars calls it with the columns, condition and limit of a query."""

    def __init__(self, scan: Scan) -> None:
        self._scan = scan

    def __call__(
        self,
        columns: list[str] | None,
        condition: pl.Expr | None,
        limit: int | None,
        batch_rows: int | None,
    ) -> Iterator[pl.DataFrame]:
        where, after = None, condition
        # With a limit, the condition is for the rows that the limit leaves.
        if condition is not None and limit is None and not self._scan._is_limited:
            from partita.engines._polars_predicate import predicate_of

            where, exact = predicate_of(condition, self._scan.schema)
            after = None if exact else condition
        needed = columns
        if columns is not None and after is not None:
            needed = list(dict.fromkeys([*columns, *after.meta.root_names()]))
        request = EngineRequest.of("Polars", columns, after)
        scan = self._scan._pushed_down(request, needed, where, limit, batch_rows)
        return _Frames(scan, columns, after, limit)


class _Frames(Iterator["pl.DataFrame"]):
    """The frames of a scan. It is not a generator, for the reason that `Batches` names."""

    def __init__(
        self,
        scan: Scan,
        columns: list[str] | None,
        after: pl.Expr | None,
        limit: int | None,
    ) -> None:
        self._batches = Batches(scan)
        self._columns = columns
        self._after = after
        self._left = limit

    def __next__(self) -> pl.DataFrame:
        import polars as pl

        if self._left == 0:
            raise StopIteration
        frame = pl.from_arrow(next(self._batches))
        assert isinstance(frame, pl.DataFrame)
        if self._left is not None:
            frame = frame.head(self._left)
            self._left -= frame.height
        if self._after is not None:
            frame = frame.filter(self._after)
        return frame if self._columns is None else frame.select(self._columns)
