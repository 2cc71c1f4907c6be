"""The statistics of the columns of a table as a frame."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from partita import _native
from partita._arrow import Exported, optional, pyarrow
from partita._type_names import column_type_name

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

__all__ = ["described"]

_PURPOSE = "describing a table"


def described(native: _native.Table, footers: bool) -> pd.DataFrame:
    """A row for each column of the table."""
    pandas = optional("pandas", _PURPOSE)
    rows, columns, exported = native.statistics(footers)
    bounds: pa.Table = pyarrow(_PURPOSE).table(Exported(exported))
    smallest, largest = ([_value(one[row]) for one in bounds.columns] for row in (0, 1))

    index = pandas.Index([name for name, _, _, _ in columns])

    def counts(values: list[int | None]) -> Any:
        return pandas.array(values, dtype="Int64")

    def objects(values: list[Any]) -> Any:
        # The types differ from column to column, and no digit may be lost.
        return pandas.Series(values, index, dtype=object)

    return pandas.DataFrame(
        {
            "type": [column_type_name(field.type) for field in bounds.schema],
            "rows": counts([rows] * len(columns)),
            "nulls": counts([nulls for _, nulls, _, _ in columns]),
            "smallest": objects(smallest),
            "largest": objects(largest),
            "exact": [exact for _, _, _, exact in columns],
            "bytes": counts([size for _, _, size, _ in columns]),
        },
        index,
    )


def _value(scalar: pa.Scalar) -> Any:
    try:
        return scalar.as_py()
    except (ValueError, OverflowError):
        # Python has no times after the year 9999, and pyarrow no right texts of those after 32767.
        return f"{scalar.value} {scalar.type.unit} since 1970-01-01"
