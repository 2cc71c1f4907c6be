"""Frames as single Parquet objects."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from partita.compat.plateau.serialization._generic import DataFrameSerializer, PredicatesType
from partita.compat.plateau.serialization._names import ensure_string_type
from partita.compat.plateau.serialization._predicates import (
    check_predicates,
    columns_in_predicates,
    filter_df,
    filter_df_from_predicates,
    normalize_predicates,
)

_ATTEMPTS = 6
_FIRST_PAUSE = 0.01

_logger = logging.getLogger(__name__)


class ParquetReadError(IOError):
    """A Parquet object could not be read."""


class ParquetSerializer(DataFrameSerializer):
    """Writes frames as Parquet.

    Parameters
    ----------
    compression : str, default "SNAPPY"
        The codec.
    chunk_size : int, optional
        Rows of a row group.
    """

    type_stable = True

    def __init__(self, compression: Any = "SNAPPY", chunk_size: int | None = None) -> None:
        if chunk_size is not None and not isinstance(chunk_size, int):
            raise TypeError(
                "Cannot initialize ParquetSerializer because chunk size is not integer type"
            )
        if chunk_size is not None and chunk_size < 1:
            raise ValueError("Cannot initialize ParquetSerializer because chunk size < 1")
        self.compression = compression
        self.chunk_size = chunk_size

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ParquetSerializer):
            return False
        return (self.compression, self.chunk_size) == (other.compression, other.chunk_size)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return (
            f"ParquetSerializer(compression={self.compression!r}, chunk_size={self.chunk_size!r})"
        )

    @classmethod
    def restore_dataframe(
        cls,
        store: Any,
        key: str,
        filter_query: str | None = None,
        columns: Iterable[str] | None = None,
        predicate_pushdown_to_io: bool = True,
        categories: Iterable[str] | None = None,
        predicates: PredicatesType = None,
        date_as_object: bool = False,
    ) -> pd.DataFrame:
        """Read the frame at a key.

        Raises
        ------
        ParquetReadError
            If the store cannot be read, several times one after the other.
        """
        check_predicates(predicates)
        source = pa.BufferReader(_read(store, key))
        parquet = pq.ParquetFile(source)
        wanted = None if columns is None else list(columns)
        _check_columns(wanted, parquet.schema_arrow.names)
        needed = wanted
        if wanted is not None and predicates:
            needed = wanted + sorted(columns_in_predicates(predicates) - set(wanted))
        if predicates and predicate_pushdown_to_io and parquet.metadata.num_rows:
            predicates = normalize_predicates(parquet.schema_arrow, predicates)
        table = _plain(parquet.read(needed, use_pandas_metadata=True), set(categories or ()))
        frame: pd.DataFrame = table.to_pandas(
            date_as_object=date_as_object, coerce_temporal_nanoseconds=True
        )
        for name in categories or ():
            if name in frame:
                frame[name] = frame[name].astype("category")
        frame.columns = frame.columns.map(ensure_string_type)
        if predicates is not None:
            frame = filter_df_from_predicates(frame, predicates, date_as_object)
        else:
            frame = filter_df(frame, filter_query)
        return frame if wanted is None else frame.reindex(columns=wanted)

    def store(self, store: Any, key_prefix: str, df: Any) -> str:
        """Write a frame or a pyarrow table; return its key."""
        table = df if isinstance(df, pa.Table) else pa.Table.from_pandas(df)
        sink = pa.BufferOutputStream()
        pq.write_table(
            table,
            sink,
            version="2.4",
            row_group_size=self.chunk_size,
            compression=self.compression,
            coerce_timestamps="us",
        )
        key = key_prefix + ".parquet"
        store.put(key, sink.getvalue().to_pybytes())
        return key


DataFrameSerializer.register_serializer(".parquet", ParquetSerializer)


def _read(store: Any, key: str) -> bytes:
    """The object at a key, tried again where the store fails."""
    for attempt in range(1, _ATTEMPTS):
        try:
            data: bytes = store.get(key)
            return data
        except OSError:
            _logger.warning("Failed to read %s, attempt %d of %d", key, attempt, _ATTEMPTS)
            time.sleep(_FIRST_PAUSE * 2 ** (attempt - 1))
    try:
        data = store.get(key)
        return data
    except OSError as error:
        raise ParquetReadError(
            f"Failed to restore dataframe after {_ATTEMPTS} attempts. Parameters: key: {key}"
        ) from error


def _check_columns(wanted: list[str] | None, known: Iterable[str]) -> None:
    missing = set(wanted or ()) - set(known)
    if missing:
        raise ValueError(
            f"Columns cannot be found in stored dataframe: {', '.join(sorted(missing))}"
        )


def _plain(table: pa.Table, categories: set[str]) -> pa.Table:
    """Categories as their values, but where they were asked for."""
    for place, field in enumerate(table.schema):
        if pa.types.is_dictionary(field.type) and field.name not in categories:
            values = table.column(place).cast(field.type.value_type)
            table = table.set_column(place, field.with_type(field.type.value_type), values)
    return table


__all__ = ["ParquetReadError", "ParquetSerializer"]
