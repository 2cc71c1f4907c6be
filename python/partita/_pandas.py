"""pandas out of Arrow."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

from partita._arrow import optional, pyarrow
from partita.errors import InvalidArgument, NotFound

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

__all__ = ["to_pandas"]


def to_pandas(
    table: pa.Table,
    categoricals: Sequence[str] | None = None,
    dates_as_object: bool = True,
    dtype_backend: str | None = None,
    nullable: Collection[str] | None = None,
    **options: Any,
) -> pd.DataFrame:
    """The frame of a table, with the pandas types that its schema remembers.

    A stored table has no index: rows are numbered from zero, whatever index the frames had that
    went in. Integers with nulls get the nullable type of pandas: as floats they would lose digits.
    `nullable` names the columns that get it, by default those that have nulls.
    """
    pyarrow("reading into pandas")
    pandas = optional("pandas", "reading into pandas")
    if dtype_backend is not None:
        options["types_mapper"] = _mapper(pandas, dtype_backend)
    plain = table.replace_schema_metadata(_without_index(table.schema))
    for name in categoricals or ():
        if name not in plain.column_names:
            raise NotFound(f"there is no column {name!r} to return as categories")
    try:
        frame: pd.DataFrame = plain.to_pandas(
            categories=list(categoricals or ()), date_as_object=dates_as_object, **options
        )
    except (ValueError, TypeError, OverflowError, NotImplementedError) as error:
        raise InvalidArgument(
            f"the rows have values that pandas does not hold: {error}; read them with "
            "dtype_backend='pyarrow', or with to_arrow()"
        ) from error
    if nullable is not None or "types_mapper" not in options:
        for place, column in enumerate(plain.schema):
            kind = _NULLABLE.get(str(column.type))
            values = plain.column(place)
            if _has_integers(column.type) and any(one.values.null_count for one in values.chunks):
                frame.isetitem(place, _exact(frame.iloc[:, place], values))
            wanted = values.null_count > 0 if nullable is None else column.name in nullable
            if kind is None or not wanted or column.name in (categoricals or ()):
                continue
            # The schema may remember another type, which has missing values too.
            if pandas.api.types.is_extension_array_dtype(frame.dtypes.iloc[place]):
                continue
            dtype = pandas.api.types.pandas_dtype(kind)
            frame.isetitem(place, dtype.__from_arrow__(values))
    return frame


def _has_integers(kind: pa.DataType) -> bool:
    types = pyarrow("reading into pandas").types
    lists = types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)
    return lists and types.is_integer(kind.value_type)


def _exact(lists: pd.Series, values: pa.ChunkedArray) -> pd.Series:
    """Lists of integers, as objects where a list has nulls: as floats they would lose digits."""
    numpy = optional("numpy", "reading into pandas")
    plain = values.type.value_type.to_pandas_dtype()
    lists = lists.copy()
    for row, one in enumerate(values):
        if one.is_valid:
            dtype = object if one.values.null_count else plain
            lists.iat[row] = numpy.array(one.as_py(), dtype=dtype)
    return lists


# The types of Arrow that pandas has no missing value for, and its own that have one.
_NULLABLE = {
    f"{sign.lower()}int{bits}": f"{sign}Int{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64)
}


def _mapper(pandas: Any, backend: str) -> Any:
    if backend == "pyarrow":
        return pandas.ArrowDtype
    if backend == "numpy_nullable":
        own = {**_NULLABLE, "float": "Float32", "double": "Float64", "bool": "boolean"}
        texts = dict.fromkeys(("string", "large_string"), "string")
        kinds = {name: pandas.api.types.pandas_dtype(kind) for name, kind in (own | texts).items()}
        return lambda kind: kinds.get(str(kind))
    raise InvalidArgument(
        f"dtype_backend is 'numpy_nullable' or 'pyarrow', not {backend!r}",
        context={"dtype_backend": backend},
    )


def _without_index(schema: pa.Schema) -> dict[bytes, bytes]:
    metadata = dict(schema.metadata or {})
    try:
        remembered = json.loads(metadata[b"pandas"])
        names = set(schema.names)
        remembered["index_columns"] = []
        remembered["column_indexes"] = []
        remembered["columns"] = [c for c in remembered["columns"] if c.get("name") in names]
    except (KeyError, ValueError, TypeError, AttributeError):
        # Another writer's idea of this key must not make the data unreadable.
        metadata.pop(b"pandas", None)
        return metadata
    metadata[b"pandas"] = json.dumps(remembered).encode()
    return metadata
