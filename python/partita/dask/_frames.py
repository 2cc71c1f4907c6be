"""pandas frames of the same types for every piece."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from partita._arrow import pyarrow
from partita._data import stream
from partita._pandas import to_pandas
from partita.errors import NotFound, SchemaMismatch

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from partita.dask._source import Source
    from partita.table import Table

__all__ = ["Form", "form_of", "typed", "types_of"]

_MOST_CATEGORIES = 100_000


@dataclass(frozen=True)
class Form:
    """How Arrow becomes pandas, on every worker alike."""

    dates_as_object: bool
    arrow_strings: bool
    """Text as ``string[pyarrow]``, as Dask's own readers have it; else as Python objects."""
    categoricals: tuple[tuple[str, bool], ...]
    """Columns to return as categories, and whether an index knows all of them."""
    nullable: frozenset[str]
    """Columns that may have nulls in some piece, so that all have a type that holds these."""
    index: str | None

    def frame(self, table: pa.Table, source: Source) -> pd.DataFrame:
        """The frame of some rows of `source`."""
        import pandas as pd

        options: dict[str, Any] = {"types_mapper": self._mapped} if self.arrow_strings else {}
        frame = to_pandas(table, None, self.dates_as_object, nullable=self.nullable, **options)
        for field in table.schema:
            if field.name in self.nullable and str(field.type) == "bool":
                frame[field.name] = frame[field.name].astype(object)
        for name, known in self.categoricals:
            if name in frame.columns:
                kind = pd.CategoricalDtype(_categories(source, name)) if known else "category"
                frame[name] = frame[name].astype(kind)
        if self.index is None:
            return frame
        return frame.set_index(self.index).sort_index(kind="stable")

    def meta(self, schema: pa.Schema, source: Source) -> pd.DataFrame:
        """An empty frame with the columns and types of every piece."""
        frame = self.frame(schema.empty_table(), source)
        for name, known in self.categoricals:
            if not known and name in frame.columns:
                from dask.dataframe.utils import clear_known_categories

                frame = clear_known_categories(frame, [name])
        return frame

    @staticmethod
    def _mapped(kind: Any) -> Any:
        import pandas as pd

        pa = pyarrow()
        text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
        return pd.StringDtype("pyarrow") if text else None


def form_of(
    table: Table,
    categoricals: Sequence[str] | None,
    dates_as_object: bool,
    index: str | None,
) -> Form:
    """The form of a read of `table`."""
    import dask

    known = {name: _is_known(table, name) for name in categoricals or ()}
    strings = dask.config.get("dataframe.convert-string", None)
    arrow_strings = strings is None or bool(strings)
    nullable = frozenset(name for name in _with_nulls(table) if name != index)
    return Form(dates_as_object, arrow_strings, tuple(known.items()), nullable, index)


def _with_nulls(table: Table) -> list[str]:
    """The columns of integers and booleans that may have nulls."""
    kinds = pyarrow().types
    types = {field.name: field.type for field in table.schema}
    affected = {n for n, kind in types.items() if kinds.is_integer(kind) or kinds.is_boolean(kind)}
    for footers in (False, True):
        _, columns, _ = table._native.statistics(footers)
        nulls = {name: count for name, count, _, _ in columns if name in affected}
        # Of files of plateau only the footers tell how many nulls there are.
        if None not in nulls.values():
            break
    return [name for name, count in nulls.items() if count != 0]


def _is_known(table: Table, name: str) -> bool:
    if name not in table.columns:
        raise NotFound(f"there is no column {name!r} to return as categories")
    return name in table.index and len(table.index_values(name)) <= _MOST_CATEGORIES


@functools.lru_cache(maxsize=16)
def _categories(source: Source, name: str) -> list[Any]:
    """The values of an indexed column, asked for once in each process."""
    return source.table().index_values(name).to_pylist()


def typed(frame: Any, types: Any, like: pa.Schema | None = None) -> Any:
    """The rows of a pandas frame with the types that its Dask frame promises.

    A piece without a value in a column, or with missing integers, would have another type than the
    others have. `like` is the schema of the table that takes the rows, if there is one: it tells
    which columns are maps.
    """
    pa = pyarrow("storing a pandas DataFrame")
    if not hasattr(frame, "dtypes") or types is None:
        return frame
    with stream(frame, like) as source:
        table = pa.table(source)
    for place, column in enumerate(table.schema):
        wanted = types.get(column.name)
        if wanted is None or column.type == wanted:
            continue
        try:
            cast = table.column(place).cast(wanted)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise SchemaMismatch(
                f"a piece of column {column.name} holds {column.type}, and does not fit the "
                f"{wanted} that the Dask DataFrame promises: {error}",
                context={"column": column.name},
            ) from error
        table = table.set_column(place, column.with_type(wanted), cast)
    return table


def types_of(meta: Any) -> dict[str, Any]:
    """The Arrow types of the columns of a Dask frame, as far as its empty frame knows them."""
    pa = pyarrow("storing a pandas DataFrame")
    schema = pa.Schema.from_pandas(meta, preserve_index=False)
    known = {}
    for column in schema:
        if not (pa.types.is_null(column.type) or pa.types.is_dictionary(column.type)):
            known[column.name] = column.type
    return known
