"""Reads of collections as rows, described first and run afterwards."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import cached_property
from typing import TYPE_CHECKING, Any

from partita._arrays import fill_of
from partita._arrow import optional, pyarrow
from partita._packing import Packing
from partita._pandas import to_pandas
from partita.engines._request import EngineRequest, LastRun
from partita.errors import InvalidArgument, NotFound
from partita.expression import Expr, predicate
from partita.partitioning import Sequence as Keys
from partita.partitioning import partitioning_of
from partita.records import Explain

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa

    from partita._convert import LongForm
    from partita.collection import Collection
    from partita.engines._sql import Query
    from partita.engines.dataset import CollectionDataset

__all__ = ["CollectionScan"]

_COMPARED = re.compile(r"[<>|=]?(b1|[iu][1248]|f[48]|M8\[\d*(W|D|h|m|s|ms|us|ns)\])")


class CollectionScan:
    """A read of variables of a collection as rows; made by `Collection.scan`.

    There is a row for each item of the variables with the most dimensions, as in a table that
    `Collection.to_table` makes. Nothing is read until the rows are asked for in a form, or by an
    engine; each time the newest state is read, piece by piece, with bounded memory. It is also an
    Arrow stream (``__arrow_c_stream__``).

    Examples
    --------
    >>> import partita as pt
    >>> c = pt.create_collection(
    ...     "memory://collection_scan/c",
    ...     {"cycle": ("n", [1, 2]), "v": (("n", "x"), [[1.0, 2.0], [5.0, 6.0]])},
    ...     axis="cycle",
    ...     partition_by=pt.Sequence(["cycle"]),
    ... )
    >>> c.scan(["v"], where="cycle == 2").to_pandas()
       cycle  x    v
    0      2  0  5.0
    1      2  1  6.0
    """

    def __init__(
        self,
        form: LongForm,
        described: str,
        remake: tuple[Any, ...] | None,
        where: Expr | None,
        *,
        columns: Sequence[str] | None = None,
        last_run: LastRun[CollectionScan] | None = None,
        request: EngineRequest | None = None,
        whole: pa.Schema | None = None,
    ) -> None:
        self._form = form
        self._described = described
        self._remake = remake
        self._where = where
        self._columns = columns
        self._last_run = LastRun(last_run)
        self._request = request
        self._whole = whole

    @cached_property
    def schema(self) -> pa.Schema:
        """The schema of the rows; metadata of the variables is read for it once."""
        whole = self._form.schema() if self._whole is None else self._whole
        if self._columns is None:
            return whole
        return pyarrow().schema([whole.field(name) for name in self._columns])

    def to_batches(self) -> Iterator[pa.RecordBatch]:
        """Read one record batch after the other, with bounded memory.

        Examples
        --------
        >>> import partita as pt
        >>> c = pt.create_collection(
        ...     "memory://collection_scan/batches",
        ...     {"cycle": ("n", [1, 2]), "v": ("n", [1.0, 2.0])},
        ...     axis="cycle",
        ...     partition_by=pt.Sequence(["cycle"]),
        ... )
        >>> sum(batch.num_rows for batch in c.scan().to_batches())
        2
        """
        return self._batches()

    def to_arrow(self) -> pa.Table:
        """Read into a pyarrow Table.

        Examples
        --------
        >>> import partita as pt
        >>> c = pt.create_collection(
        ...     "memory://collection_scan/arrow",
        ...     {"cycle": ("n", [1, 2]), "v": ("n", [1.0, 2.0])},
        ...     axis="cycle",
        ...     partition_by=pt.Sequence(["cycle"]),
        ... )
        >>> c.scan(where="v > 1").to_arrow()["cycle"].to_pylist()
        [2]
        """
        pa = pyarrow("reading into pyarrow")
        return pa.Table.from_batches(list(self._batches()))

    def to_pandas(self) -> pd.DataFrame:
        """Read into a pandas DataFrame; `Collection.read` gives arrays.

        Examples
        --------
        >>> import partita as pt
        >>> c = pt.create_collection(
        ...     "memory://collection_scan/pandas",
        ...     {"cycle": ("n", [1, 2]), "v": ("n", [1.0, 2.0])},
        ...     axis="cycle",
        ...     partition_by=pt.Sequence(["cycle"]),
        ... )
        >>> c.scan().to_pandas()["v"].tolist()
        [1.0, 2.0]
        """
        return to_pandas(self.to_arrow())

    def to_polars(self) -> pl.DataFrame:
        """Read into a Polars DataFrame.

        Examples
        --------
        >>> import partita as pt
        >>> c = pt.create_collection(
        ...     "memory://collection_scan/polars",
        ...     {"cycle": ("n", [1, 2]), "v": ("n", [1.0, 2.0])},
        ...     axis="cycle",
        ...     partition_by=pt.Sequence(["cycle"]),
        ... )
        >>> c.scan().to_polars()["v"].sum()
        3.0
        """
        polars = optional("polars", "reading into Polars")
        frame: pl.DataFrame = polars.from_arrow(self.to_arrow())
        return frame

    def to_pyarrow_dataset(self) -> CollectionDataset:
        """The rows as a dataset of pyarrow, for engines that read such.

        Examples
        --------
        >>> import partita as pt
        >>> c = pt.create_collection(
        ...     "memory://collection_scan/dataset",
        ...     {"cycle": ("n", [1, 2]), "v": ("n", [1.0, 2.0])},
        ...     axis="cycle",
        ...     partition_by=pt.Sequence(["cycle"]),
        ... )
        >>> c.scan().to_pyarrow_dataset().to_table(columns=["v"])["v"].to_pylist()
        [1.0, 2.0]
        """
        from partita.engines.dataset import CollectionDataset

        return CollectionDataset(self)

    def sql(self, query: str) -> Query:
        """Describe a query in SQL, in which the rows are the table ``t``; DuckDB runs it.

        Examples
        --------
        >>> import partita as pt
        >>> c = pt.create_collection(
        ...     "memory://collection_scan/sql",
        ...     {"cycle": ("n", [1, 1, 2]), "v": ("n", [1.0, 2.0, 5.0])},
        ...     axis="cycle",
        ...     partition_by=pt.Sequence(["cycle"]),
        ... )
        >>> c.scan(["v"]).sql("select avg(v) as mean from t where cycle = 1").to_pandas()
           mean
        0   1.5
        """
        from partita.engines._sql import sql

        return sql(query, t=self)

    @property
    def last_run(self) -> CollectionScan | None:
        """The scan that another engine ran last of these rows; None if there was none."""
        return self._last_run.scan

    def explain(self) -> Explain:
        """Which variables, partitions and rows of the collection a read takes.

        Only the variables of the condition are read.

        Examples
        --------
        >>> import partita as pt
        >>> c = pt.create_collection(
        ...     "memory://collection_scan/explain",
        ...     {"cycle": ("n", [1, 1, 2]), "v": ("n", [1.0, 2.0, 5.0])},
        ...     axis="cycle",
        ...     partition_by=pt.Sequence(["cycle"]),
        ... )
        >>> _ = c.sql("select avg(v) from t where cycle = 1").to_arrow()
        >>> print(c.last_run.explain())
        engine               DuckDB
        columns              v
        where                cycle == 1
        variables            v
        partitions           1 of 2
        rows                 2
        """
        form, where = self._form, None if self._where is None else predicate(self._where)
        wanted = form.columns if self._columns is None else self._columns
        _, places = form.native.plan(where, [form.widest])
        details: dict[str, Any] = {
            "where": None if self._where is None else str(self._where),
            "variables": [name for name in form.names if name in wanted],
            "partitions": len(form.native.partitions(None)),
            "partitions_read": len(places),
            "rows": sum(stop - start for (_, runs), _ in places for start, stop in runs),
        }
        told = {
            "where": details["where"],
            "variables": ", ".join(details["variables"]) or "none",
            "partitions": f"{details['partitions_read']} of {details['partitions']}",
            "rows": details["rows"],
        }
        lines = [f"{name:<21}{value}" for name, value in told.items() if value is not None]
        if self._request is not None:
            lines.insert(0, self._request.text())
            details["engine"] = asdict(self._request)
        return Explain("\n".join(lines), details)

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        reader = pyarrow().RecordBatchReader.from_batches(self.schema, self._batches())
        return reader.__arrow_c_stream__(requested_schema)

    def __repr__(self) -> str:
        return f"CollectionScan({self._described})"

    def __reduce__(self) -> tuple[Any, ...]:
        if self._remake is None:
            raise InvalidArgument("what an engine requested cannot be pickled; pickle its scan")
        return _remade, self._remake

    def _batches(self) -> Iterator[pa.RecordBatch]:
        where = None if self._where is None else predicate(self._where)
        return self._form.read(where, self._columns)

    @cached_property
    def _selectable(self) -> pa.Schema:
        """The columns on which a condition means the same for rows as for the collection."""
        config = self._form.native.config()
        by = partitioning_of(config)
        # A field of keys with the name of a variable has other values than that, save in a key of
        # the variables themselves.
        keys = by.variables if isinstance(by, Keys) else []
        hidden = set(config["fields"]) - set(keys)
        return pyarrow().schema(
            [
                field
                for field in self.schema
                if field.name not in hidden
                and _is_selectable(self._form.described.get(field.name), config["dimension"])
            ]
        )

    def _pushed_down(
        self, request: EngineRequest, columns: list[str] | None, where: Expr | None
    ) -> CollectionScan:
        """This scan with what an engine requests, noted as its last run."""
        for name in columns or ():
            if name not in self.schema.names:
                raise NotFound(f"the rows have no column {name!r}", context={"column": name})
        parts = [self._described]
        if columns is not None:
            parts.append(f"columns={columns}")
        both = self._where
        if where is not None:
            parts.append(f"where={where}")
            both = where if both is None else both & where
        scan = CollectionScan(
            self._form,
            ", ".join(parts),
            None,
            both,
            columns=columns,
            request=request,
            whole=self.schema,
        )
        self._last_run.note(scan)
        return scan


def _remade(collection: Collection, variables: Sequence[str] | None, where: Expr | None) -> Any:
    return collection.scan(variables, where)


def _is_selectable(variable: dict[str, Any] | None, dimension: str) -> bool:
    """Whether the values of rows are the stored numbers, and none stands for a missing one."""
    if variable is None or list(variable["dimensions"]) != [dimension]:
        return False
    dtype = variable["dtype"]
    if not _COMPARED.fullmatch(dtype):
        return False
    fill = fill_of(dtype, variable["fill"])
    packing = Packing.of(variable["attributes"], fill, dtype)
    # In both, "not a time" is null.
    is_missing = [one for one in packing.fills if "M8" not in dtype or str(one) != "NaT"]
    if is_missing:
        return False
    # Conditions on integers that count times may name moments of the calendar.
    counts = packing.calendar == "standard" and re.search("[iu]", dtype) is not None
    return packing.is_trivial or (counts and not packing.is_scaled and not packing.unsigned)
