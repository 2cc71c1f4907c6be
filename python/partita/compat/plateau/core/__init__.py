"""Datasets, their indices and their schemas."""

from partita.compat.plateau.core.common_metadata import (
    SchemaWrapper,
    empty_dataframe_from_schema,
    make_meta,
    normalize_column_order,
    normalize_type,
    validate_compatible,
)
from partita.compat.plateau.core.dataset import DatasetMetadata, DatasetMetadataBase
from partita.compat.plateau.core.factory import DatasetFactory
from partita.compat.plateau.core.index import (
    ExplicitSecondaryIndex,
    IndexBase,
    PartitionIndex,
)
from partita.compat.plateau.core.typing import StoreFactory, StoreInput
from partita.compat.plateau.core.utils import ensure_store, lazy_store

__all__ = [
    "DatasetFactory",
    "DatasetMetadata",
    "DatasetMetadataBase",
    "ExplicitSecondaryIndex",
    "IndexBase",
    "PartitionIndex",
    "SchemaWrapper",
    "StoreFactory",
    "StoreInput",
    "empty_dataframe_from_schema",
    "ensure_store",
    "lazy_store",
    "make_meta",
    "normalize_column_order",
    "normalize_type",
    "validate_compatible",
]
