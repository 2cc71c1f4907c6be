"""Frames as single CSV objects."""

from __future__ import annotations

import gzip
import io
from collections.abc import Iterable
from typing import Any

import pandas as pd
import pyarrow as pa

from partita.compat.plateau.serialization._generic import DataFrameSerializer, PredicatesType
from partita.compat.plateau.serialization._predicates import (
    check_predicates,
    filter_df,
    filter_df_from_predicates,
)


class CsvSerializer(DataFrameSerializer):
    """Writes frames as CSV; types are lost."""

    def __init__(self, compress: bool = True) -> None:
        self.compress = compress

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CsvSerializer) and self.compress == other.compress

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"CsvSerializer(compress={self.compress})"

    @classmethod
    def restore_dataframe(
        cls,
        store: Any,
        key: str,
        filter_query: str | None = None,
        columns: Iterable[str] | None = None,
        predicate_pushdown_to_io: Any = None,
        categories: Iterable[str] | None = None,
        predicates: PredicatesType = None,
        date_as_object: Any = None,
        **kwargs: Any,
    ) -> pd.DataFrame:
        """Read the frame at a key."""
        check_predicates(predicates)
        wanted = None if columns is None else list(columns)
        try:
            frame = pd.read_csv(
                io.BytesIO(store.get(key)),
                compression="gzip" if key.endswith(".gz") else None,
                sep=";",
                usecols=wanted or None,
                dtype=dict.fromkeys(categories or (), "category"),
            )
            if frame.empty:
                frame = frame.set_axis(pd.RangeIndex(len(frame)))
        except pd.errors.EmptyDataError:
            frame = pd.DataFrame()
        if wanted == []:
            frame = frame[[]]
        if predicates:
            return filter_df_from_predicates(frame, predicates)
        return filter_df(frame, filter_query)

    def store(self, store: Any, key_prefix: str, df: Any) -> str:
        """Write a frame or a pyarrow table; return its key."""
        frame = df.to_pandas(coerce_temporal_nanoseconds=True) if isinstance(df, pa.Table) else df
        data = frame.to_csv(index=False, sep=";").encode()
        key = key_prefix + (".csv.gz" if self.compress else ".csv")
        store.put(key, gzip.compress(data) if self.compress else data)
        return key


DataFrameSerializer.register_serializer(".csv", CsvSerializer)
DataFrameSerializer.register_serializer(".csv.gz", CsvSerializer)
