"""pandas frames of the same types for every piece."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from partita._arrow import pyarrow
from partita._pandas import to_pandas
from partita.errors import NotFound

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from partita.table import Table

__all__ = ["Form", "form_of"]

_MOST_CATEGORIES = 100_000


@dataclass(frozen=True)
class Form:
    """How Arrow becomes pandas, on every worker alike."""

    dates_as_object: bool
    arrow_strings: bool
    """Text as ``string[pyarrow]``, as Dask's own readers have it; else as Python objects."""
    categoricals: tuple[tuple[str, tuple[Any, ...] | None], ...]
    """Columns to return as categories, with all of these where an index knows them."""
    index: str | None

    def frame(self, table: pa.Table) -> pd.DataFrame:
        """The frame of some rows."""
        categoricals = {name: values for name, values in self.categoricals}
        wanted = [name for name in categoricals if name in table.column_names]
        options: dict[str, Any] = {"types_mapper": self._mapped} if self.arrow_strings else {}
        frame = to_pandas(table, None, self.dates_as_object, **options)
        for name in wanted:
            frame[name] = _categories(frame[name], categoricals[name])
        if self.index is None:
            return frame
        return frame.set_index(self.index).sort_index(kind="stable")

    def meta(self, schema: pa.Schema) -> pd.DataFrame:
        """An empty frame with the columns and types of every piece."""
        frame = self.frame(schema.empty_table())
        for name, values in self.categoricals:
            if values is None and name in frame.columns:
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

    known: Mapping[str, tuple[Any, ...] | None] = {
        name: _known(table, name) for name in categoricals or ()
    }
    strings = dask.config.get("dataframe.convert-string", None)
    return Form(dates_as_object, strings is None or bool(strings), tuple(known.items()), index)


def _known(table: Table, name: str) -> tuple[Any, ...] | None:
    if name not in table.columns:
        raise NotFound(f"there is no column {name!r} to return as categories")
    if name not in table.index:
        return None
    values = table.index_values(name)
    return tuple(values.to_pylist()) if len(values) <= _MOST_CATEGORIES else None


def _categories(series: pd.Series, values: tuple[Any, ...] | None) -> pd.Series:
    import pandas as pd

    if values is None:
        return series.astype("category")
    return series.astype(pd.CategoricalDtype(list(values)))
