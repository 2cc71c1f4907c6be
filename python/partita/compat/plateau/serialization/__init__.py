"""Predicates, and frames as single objects in a store."""

from partita.compat.plateau.serialization._csv import CsvSerializer
from partita.compat.plateau.serialization._generic import (
    ConjunctionType,
    DataFrameSerializer,
    LiteralType,
    LiteralValue,
    PredicatesType,
)
from partita.compat.plateau.serialization._parquet import ParquetReadError, ParquetSerializer
from partita.compat.plateau.serialization._predicates import (
    check_predicates,
    columns_in_predicates,
    filter_array_like,
    filter_df,
    filter_df_from_predicates,
    filter_predicates_by_column,
)

__all__ = [
    "ConjunctionType",
    "CsvSerializer",
    "DataFrameSerializer",
    "LiteralType",
    "LiteralValue",
    "ParquetReadError",
    "ParquetSerializer",
    "PredicatesType",
    "check_predicates",
    "columns_in_predicates",
    "default_serializer",
    "filter_array_like",
    "filter_df",
    "filter_df_from_predicates",
    "filter_predicates_by_column",
]


def default_serializer() -> ParquetSerializer:
    """The serializer that is used where none is given."""
    return ParquetSerializer()
