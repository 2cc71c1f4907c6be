"""What serializers have in common."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar, TypeVar

import pandas as pd

LiteralValue = TypeVar("LiteralValue")
LiteralType = tuple[str, str, Any]
ConjunctionType = list[LiteralType]
PredicatesType = list[ConjunctionType] | None


class DataFrameSerializer:
    """Writes a DataFrame as one object of a store, and reads it.

    `restore_dataframe` picks the form by the suffix of the key.
    """

    _serializers: ClassVar[dict[str, Any]] = {}
    type_stable = False

    def __ne__(self, other: object) -> bool:
        return not self == other

    @classmethod
    def register_serializer(cls, suffix: str, serializer: Any) -> None:
        """Read keys with this suffix by this serializer."""
        cls._serializers[suffix] = serializer

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
        """Read the frame at a key."""
        if filter_query and predicates:
            raise ValueError("Can only specify one of filter_query and predicates")
        for suffix, serializer in cls._serializers.items():
            if key.endswith(suffix):
                frame: pd.DataFrame = serializer.restore_dataframe(
                    store,
                    key,
                    filter_query,
                    columns,
                    predicate_pushdown_to_io=predicate_pushdown_to_io,
                    categories=categories,
                    predicates=predicates,
                    date_as_object=date_as_object,
                )
                return frame
        raise ValueError(f"The specified file format for '{key}' is not supported")

    def store(self, store: Any, key_prefix: str, df: Any) -> str:
        """Write a frame; return its key."""
        raise NotImplementedError("Abstract method called.")
