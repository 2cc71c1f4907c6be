"""Reading a table into a Dask DataFrame."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from dask._task_spec import Task
from dask.dataframe.dask_expr import new_collection
from dask.dataframe.dask_expr._expr import (
    Filter,
    Index,
    Lengths,
    Literal,
    PartitionsFiltered,
    determine_column_projection,
)
from dask.dataframe.dask_expr._reductions import Len
from dask.dataframe.dask_expr.io.io import BlockwiseIO

from partita._arguments import Version, columns_of, whole
from partita._arrow import pyarrow
from partita.dask._filters import pushed
from partita.dask._frames import Form, form_of
from partita.dask._pieces import Piece, Plan, by_of, plan
from partita.dask._source import Source
from partita.errors import InvalidArgument
from partita.expression import Expr, Where, predicate

if TYPE_CHECKING:
    import pandas as pd
    from dask.dataframe import DataFrame

    from partita.table import Table

__all__ = ["read", "read_piece", "read_table"]


def read_table(
    url: str | os.PathLike[str],
    columns: Sequence[str] | None = None,
    where: Where | None = None,
    *,
    by: str | Sequence[str] | None = None,
    index: str | None = None,
    piece_bytes: int | None = None,
    categoricals: Sequence[str] | None = None,
    dates_as_object: bool = True,
    at: Version | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> DataFrame:
    """Read a table into a Dask DataFrame.

    The version is settled here: all tasks read the same, whatever is committed before they run.
    Only the columns that are used are read, and filters on columns leave out files and row groups.

    Parameters
    ----------
    url : str or path-like
        Where the table is. The workers must reach it too.
    columns : sequence of str, optional
        The columns, in this order; all of them if left out.
    where : Expr, str, list or dict, optional
        Which rows, as for `Table.read`.
    by : str or sequence of str, optional
        What one partition of the result is: ``"file"`` (the default), ``"partition"`` for the rows
        of one partition key, or names of columns for the rows of one combination of their values.
    index : str, optional
        A partition column, or one with a secondary index, to be the sorted index of the result,
        with known divisions.
    piece_bytes : int, optional
        By file: put neighbouring small files together up to so many stored bytes. By partition, and
        with `index`: about so many stored bytes in one piece at most, 256 MiB if left out.
    categoricals : sequence of str, optional
        Columns to return as categories; those of an indexed column are known.
    dates_as_object : bool, default True
        Dates as ``datetime.date``; as timestamps if False.
    at : int, datetime or str, optional
        Read an older version; see `Table.at`.
    storage_options : mapping, optional
        Options of the store. Secrets are named, not given: ``{"secret_access_key": "env:NAME"}`` is
        read from the environment of each worker.

    Examples
    --------
    >>> import partita as pt
    >>> import partita.dask as ptd
    >>> table = pt.create_table(
    ...     "memory://dask-read/t", {"y": [1, 1, 2], "v": [1, 2, 3]}, partition_by="y"
    ... )
    >>> ddf = ptd.read_table(table.url)
    >>> ddf.npartitions, len(ddf)
    (2, 3)
    >>> ddf[ddf.y == 2].optimize().npartitions
    1
    """
    source, table = Source.find(url, at, storage_options)
    return read(
        source,
        table,
        columns,
        where,
        by=by,
        index=index,
        piece_bytes=piece_bytes,
        categoricals=categoricals,
        dates_as_object=dates_as_object,
    )


def read(
    source: Source,
    table: Table,
    columns: Sequence[str] | None,
    where: Where | None,
    *,
    by: str | Sequence[str] | None = None,
    index: str | None = None,
    piece_bytes: int | None = None,
    categoricals: Sequence[str] | None = None,
    dates_as_object: bool = True,
) -> DataFrame:
    """The same of a table that is open."""
    if index is not None and by is not None:
        raise InvalidArgument("a read is divided by index= or by=, not by both")
    limit = whole("piece_bytes", piece_bytes, 1)
    if limit is not None and isinstance(by_of(by), tuple):
        raise InvalidArgument("all rows of a value are in one piece: piece_bytes= cannot be kept")
    names = columns_of(columns)
    if names is not None and index in names:
        names.remove(index)
    text = None if where is None else str(Expr(predicate(where)))
    # Errors in the arguments are raised here, and not by a worker.
    table.scan(names, where).schema  # noqa: B018
    plan(source, text, by_of(by), index, limit)
    form = form_of(table, categoricals, dates_as_object, index)
    return new_collection(ReadTable(source, names, text, by_of(by), limit, form))


def read_piece(
    source: Source,
    piece: Piece,
    columns: Sequence[str] | None,
    where: str | None,
    form: Form,
) -> pd.DataFrame:
    """One partition of the result, read on a worker."""
    if columns is not None and form.index is not None:
        columns = [*columns, form.index]
    return form.frame(piece.scan(source, columns, where).to_arrow(), source)


class ReadTable(PartitionsFiltered, BlockwiseIO):  # type: ignore[misc]
    """A read of a table in Dask's expressions: projections and filters move into it."""

    _parameters = ["source", "columns", "predicate", "by", "limit", "form", "_partitions"]
    _defaults = {"columns": None, "predicate": None, "limit": None, "_partitions": None}
    _absorb_projections = True
    _filter_passthrough = True
    _pickle_functools_cache = False

    @property
    def source(self) -> Source:
        """The version of the table."""
        return self.operand("source")

    @property
    def form(self) -> Form:
        """How Arrow becomes pandas."""
        return self.operand("form")

    @property
    def predicate(self) -> str | None:
        """The condition on rows, in its text form."""
        return self.operand("predicate")

    @cached_property
    def plan(self) -> Plan:
        """The pieces that the condition leaves."""
        form = self.form
        return plan(
            self.source, self.predicate, self.operand("by"), form.index, self.operand("limit")
        )

    @property
    def columns(self) -> list[str]:
        """The names of the columns read."""
        return list(self._meta.columns)

    @property
    def _funcname(self) -> str:
        return "read-table"

    @cached_property
    def _name(self) -> str:
        return f"{self._funcname}-{self.deterministic_token}"

    @cached_property
    def _meta(self) -> pd.DataFrame:
        schema = self.source.table().schema
        columns = self.operand("columns")
        if columns is not None:
            index = [] if self.form.index is None else [self.form.index]
            fields = [schema.field(name) for name in [*columns, *index]]
            schema = pyarrow().schema(fields, schema.metadata)
        return self.form.meta(schema, self.source)

    def _divisions(self) -> tuple[Any, ...]:
        found = self.plan
        return found.divisions or (None,) * (len(found.pieces) + 1)

    def _filtered_task(self, name: Any, index: int) -> Task:
        columns = self.operand("columns")
        piece = self.plan.pieces[index]
        return Task(
            name,
            read_piece,
            self.source,
            piece,
            columns,
            self.predicate,
            self.form,
            _data_producer=True,
        )

    def _filter_passthrough_available(self, parent: Any, dependents: Any) -> bool:
        # Other expressions that use the same rows rely on this number of partitions.
        return (
            not self._filtered
            and super()._filter_passthrough_available(parent, dependents)
            and pushed(self, parent.predicate) is not None
        )

    def _simplify_up(self, parent: Any, dependents: Any) -> Any:
        if isinstance(parent, Index):
            columns = determine_column_projection(self, parent, dependents)
            kept = [name for name in self.columns if name in columns]
            if kept == self.columns:
                return None
            return Index(self.substitute_parameters({"columns": kept}))
        if isinstance(parent, Filter):
            return self._with_filter(parent, dependents)
        if isinstance(parent, (Lengths, Len)):
            return self._with_lengths(parent)
        return super()._simplify_up(parent, dependents)

    def _with_filter(self, parent: Any, dependents: Any) -> Any:
        if parent.frame._name != self._name:
            return None
        if not self._filter_passthrough_available(parent, dependents):
            return None
        condition = pushed(self, parent.predicate)
        assert condition is not None
        if self.predicate is not None:
            condition = Expr.parse(self.predicate) & condition
        return self.substitute_parameters({"predicate": str(condition)})

    def _with_lengths(self, parent: Any) -> Any:
        if not self.plan.exact:
            return None
        lengths = [self.plan.pieces[place].rows for place in self._partitions]
        known = [length for length in lengths if length is not None]
        if len(known) < len(lengths):
            return None
        return Literal(tuple(known)) if isinstance(parent, Lengths) else Literal(sum(known))
