"""Indices: for each value of a column, the partitions that hold it."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from partita.compat.plateau.core import _time
from partita.compat.plateau.core._copying import Copying
from partita.compat.plateau.core.common_metadata import normalize_type
from partita.compat.plateau.core.naming import EXTERNAL_INDEX_SUFFIX
from partita.compat.plateau.core.urlencode import quote
from partita.compat.plateau.core.utils import ensure_store
from partita.compat.plateau.serialization._predicates import (
    check_predicates,
    filter_array_like,
    filter_df_from_predicates,
    filter_predicates_by_column,
)

__all__ = ["ExplicitSecondaryIndex", "IndexBase", "PartitionIndex"]

_LABELS = "partition"

# Larger numbers need a type without sign, which pyarrow does not take by itself.
_LARGEST = 2**63 - 1

_logger = logging.getLogger(__name__)


class IndexBase(Copying):
    """An index in memory.

    Parameters
    ----------
    column : str
        The column.
    index_dct : dict, optional
        Values and the labels of the partitions that hold them.
    dtype : pyarrow.DataType, optional
        The type of the values; that of the first if left out.
    normalize_dtype : bool, default True
        Convert the values to the type.
    """

    def __init__(
        self,
        column: str,
        index_dct: dict[Any, list[str]] | None = None,
        dtype: pa.DataType | None = None,
        normalize_dtype: bool = True,
    ) -> None:
        if column == _LABELS:
            raise ValueError(
                f"Cannot create an index for column {column} due to an internal implementation "
                "conflict."
            )
        if dtype is None and index_dct:
            dtype = _table(index_dct, column, None).schema.field(0).type
        if dtype is not None:
            dtype = _checked_type(dtype, normalize_dtype)
        self.column = column
        self.dtype = dtype
        self.creation_time = _time.datetime_utcnow()
        self._index_dct_available = index_dct is not None
        self.index_dct: dict[Any, list[str]] = index_dct or {}
        if index_dct and normalize_dtype:
            self.index_dct = {}
            for value, labels in index_dct.items():
                known = self.index_dct.setdefault(self.normalize_value(dtype, value), [])
                known += [label for label in labels if label not in known]
            collisions = len(index_dct) - len(self.index_dct)
            if collisions:
                _logger.warning(
                    "Value normalization for index column %s resulted in %d collision(s). The "
                    "affected partition lists were merged; check that this was desired.",
                    column,
                    collisions,
                )

    def copy(self, **kwargs: Any) -> Any:
        """The same with some attributes changed."""
        return super().copy(**{"normalize_dtype": False, **kwargs})

    @property
    def loaded(self) -> bool:
        """Whether its values are in memory."""
        return self._index_dct_available

    @staticmethod
    def normalize_value(dtype: Any, value: Any) -> Any:
        """A value as the index has it.

        Raises
        ------
        ValueError
            If it cannot be read as one.
        NotImplementedError
            If columns of this type have no index.
        """
        if dtype is None:
            raise ValueError("Cannot normalize index values as long as dtype is not set")
        types = pa.types
        if types.is_string(dtype) or types.is_large_string(dtype):
            return value.decode() if isinstance(value, bytes) else str(value)
        if types.is_binary(dtype) or types.is_large_binary(dtype):
            return value if isinstance(value, bytes) else str(value).encode()
        if types.is_date(dtype):
            return pd.Timestamp(value).date()
        if types.is_temporal(dtype):
            return pd.Timestamp(value).to_datetime64().astype("datetime64[ns]")
        if types.is_integer(dtype):
            return int(value)
        if types.is_floating(dtype):
            return float(value)
        if types.is_boolean(dtype):
            return _boolean(value)
        raise NotImplementedError(f"Cannot normalize index value for type {dtype}")

    def observed_values(
        self, date_as_object: bool = True, coerce_temporal_nanoseconds: bool = True
    ) -> Any:
        """The values, as an array."""
        values = _array(list(self.index_dct), self.dtype)
        return np.array(
            values.to_pandas(
                date_as_object=date_as_object,
                coerce_temporal_nanoseconds=coerce_temporal_nanoseconds,
            )
        )

    def eval_operator(self, op: str, value: Any) -> set[str]:
        """The labels of the partitions that hold a value for which a condition is true."""
        keys = list(self.index_dct)
        values = self.observed_values() if keys else np.array(keys)
        chosen = filter_array_like(
            values, op, value, strict_date_types=True, column_name=self.column
        )
        return {
            label for key, ok in zip(keys, chosen, strict=True) if ok
            for label in self.index_dct[key]
        }  # fmt: skip

    def query(self, value: Any) -> list[str]:
        """The labels of the partitions that hold a value."""
        return self.index_dct.get(self.normalize_value(self.dtype, value), [])

    def to_dict(self) -> dict[Any, list[str]]:
        """Values and labels."""
        return self.index_dct

    def update(self, index: IndexBase, inplace: bool = False) -> Any:
        """This index with the entries of another of the same column.

        Raises
        ------
        TypeError
            If it is none, or its values are of another type.
        ValueError
            If it is one of another column.
        """
        if not isinstance(index, IndexBase):
            raise TypeError(
                f"Need to input an plateau.core.index.IndexBase object, instead got `{type(index)}`"
            )
        if None not in (self.dtype, index.dtype) and self.dtype != index.dtype:
            raise TypeError(
                f"Trying to update an index with different types. Expected `{self.dtype}` but got "
                f"`{index.dtype}`"
            )
        if self.column != index.column:
            raise ValueError(
                f"Trying to update an index with the wrong column. Got `{index.column}` but "
                f"expected `{self.column}`"
            )
        if not index.index_dct:
            return self
        entries = self.index_dct if inplace else dict(self.index_dct)
        for value, labels in index.index_dct.items():
            entries[value] = list(dict.fromkeys([*entries.get(value, []), *labels]))
        return self.copy(index_dct=entries)

    def remove_partitions(self, list_of_partitions: Iterable[str], inplace: bool = False) -> Any:
        """This index without some partitions."""
        gone = set(list_of_partitions)
        if not gone:
            return self
        kept = {
            value: [label for label in labels if label not in gone]
            for value, labels in self.index_dct.items()
        }
        return self._with({value: labels for value, labels in kept.items() if labels}, inplace)

    def remove_values(self, list_of_values: Iterable[Any], inplace: bool = False) -> Any:
        """This index without some values."""
        gone = {self.normalize_value(self.dtype, value) for value in list_of_values}
        if not gone:
            return self
        kept = {value: labels for value, labels in self.index_dct.items() if value not in gone}
        return self._with(kept, inplace)

    def _with(self, entries: dict[Any, list[str]], inplace: bool) -> Any:
        if inplace:
            self.index_dct.clear()
            self.index_dct.update(entries)
            entries = self.index_dct
        return self.copy(index_dct=entries)

    def as_flat_series(
        self,
        compact: bool = False,
        partitions_as_index: bool = False,
        date_as_object: bool = False,
        predicates: Any = None,
    ) -> pd.Series:
        """The index as a series.

        Parameters
        ----------
        compact : bool, default False
            One row for each value (or partition), with a list.
        partitions_as_index : bool, default False
            Values by partition, not partitions by value.
        date_as_object : bool, default False
            Dates as ``datetime.date``.
        predicates
            Only the values for which these hold; conditions on other columns count as true.

        Examples
        --------
        >>> import pyarrow as pa
        >>> index = ExplicitSecondaryIndex("col", {1: ["part_1", "part_2"]}, dtype=pa.int64())
        >>> index.as_flat_series()
        col
        1    part_1
        1    part_2
        Name: partition, dtype: object
        """
        check_predicates(predicates)
        frame = _table(self.index_dct, self.column, self.dtype).to_pandas(
            date_as_object=date_as_object, coerce_temporal_nanoseconds=True
        )
        if predicates is not None:
            own = [filter_predicates_by_column([each], [self.column]) for each in predicates]
            if all(own):
                frame = filter_df_from_predicates(frame, [each[0] for each in own])
        if compact and not partitions_as_index:
            return frame.set_index(self.column)[_LABELS]
        lengths = frame[_LABELS].map(len).to_numpy(dtype=int)
        labels = np.concatenate(frame[_LABELS].to_numpy()) if len(frame) else np.array([], "O")
        rows = np.repeat(np.arange(len(frame)), lengths)
        flat = pd.DataFrame({_LABELS: labels, self.column: frame[self.column].array[rows]})
        if not partitions_as_index:
            return flat.set_index(self.column)[_LABELS]
        if compact:
            return flat.groupby(_LABELS, observed=True)[self.column].agg(list)
        return flat.set_index(_LABELS)[self.column]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, IndexBase):
            return False
        if (self.column, self.dtype) != (other.column, other.dtype):
            return False
        mine = {value: set(labels) for value, labels in self.index_dct.items()}
        return mine == {value: set(labels) for value, labels in other.index_dct.items()}

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        values = sorted(self.index_dct)
        return f"{type(self).__name__}(column={self.column}, dtype={self.dtype}, values={values})"


class PartitionIndex(IndexBase):
    """The index of a partition column, out of the keys of the files."""

    def __init__(
        self,
        column: str,
        index_dct: dict[Any, list[str]] | None = None,
        dtype: pa.DataType | None = None,
        normalize_dtype: bool = True,
    ) -> None:
        if dtype is None:
            raise ValueError(f'PartitionIndex dtype of column "{column}" cannot be None!')
        super().__init__(column, index_dct, dtype, normalize_dtype)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PartitionIndex) and super().__eq__(other)

    __hash__ = None


class ExplicitSecondaryIndex(IndexBase):
    """An index that is stored beside the data, under `index_storage_key`."""

    def __init__(
        self,
        column: str,
        index_dct: dict[Any, list[str]] | None = None,
        index_storage_key: str | None = None,
        dtype: pa.DataType | None = None,
        normalize_dtype: bool = True,
    ) -> None:
        if index_dct is None and not index_storage_key:
            raise ValueError("No valid index source specified")
        if not index_storage_key and not index_dct and dtype is None:
            raise ValueError("Trying to create non-typesafe index")
        self.index_storage_key = index_storage_key
        super().__init__(column, index_dct, dtype, normalize_dtype)

    @staticmethod
    def from_v2(column: str, dct_or_str: Any) -> ExplicitSecondaryIndex:
        """The index of an entry of a header: a key, or values and labels."""
        if isinstance(dct_or_str, str):
            return ExplicitSecondaryIndex(column, index_storage_key=dct_or_str)
        return ExplicitSecondaryIndex(column, index_dct=dct_or_str)

    def copy(self, **kwargs: Any) -> Any:
        """The same with some attributes changed; then it is no longer what is stored."""
        key = kwargs.pop("index_storage_key", None) if kwargs else self.index_storage_key
        return super().copy(index_storage_key=key, **kwargs)

    def load(self, store: Any) -> ExplicitSecondaryIndex:
        """The index with its values in memory."""
        if self.loaded:
            return self
        data = ensure_store(store).get(self.index_storage_key)
        entries, dtype = _entries(self.column, data)
        return ExplicitSecondaryIndex(self.column, entries, self.index_storage_key, dtype, False)

    def unload(self) -> Any:
        """The index without its values."""
        bare = self.copy(index_dct={}, index_storage_key=self.index_storage_key)
        bare._index_dct_available = False
        return bare

    def store(self, store: Any, dataset_uuid: str) -> str:
        """Write the index; return its key."""
        key = self.index_storage_key
        if not (key and dataset_uuid and dataset_uuid in key):
            key = (
                f"{dataset_uuid}/indices/{quote(self.column)}/"
                f"{quote(self.creation_time.isoformat())}{EXTERNAL_INDEX_SUFFIX}"
            )
        ensure_store(store).put(key, self._bytes())
        return key

    def _bytes(self) -> bytes:
        sink = pa.BufferOutputStream()
        table = _table(self.index_dct, self.column, self.dtype)
        pq.write_table(table, sink, row_group_size=10_000)
        data: bytes = sink.getvalue().to_pybytes()
        return data

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ExplicitSecondaryIndex):
            return False
        return self.index_storage_key == other.index_storage_key and super().__eq__(other)

    __hash__ = None

    def __getstate__(self) -> Any:
        data = self._bytes() if self.loaded else None
        return (self.column, self.index_storage_key, self.dtype, data)

    def __setstate__(self, state: Any) -> None:
        column, key, dtype, data = state
        entries = None
        if data is not None:
            entries, stored = _entries(column, data)
            dtype = dtype or stored
        self.__init__(column, entries, key, dtype, False)  # type: ignore[misc]


def merge_indices(list_of_indices: Iterable[dict[str, IndexBase]]) -> dict[str, IndexBase]:
    """Indices by column, each with the entries of all."""
    merged: dict[str, IndexBase] = {}
    for indices in list_of_indices:
        for column, index in indices.items():
            merged[column] = merged[column].update(index) if column in merged else index
    return merged


def remove_partitions_from_indices(
    index_dict: dict[str, IndexBase], partitions: list[str]
) -> dict[str, IndexBase]:
    """Indices without some partitions."""
    return {column: each.remove_partitions(partitions) for column, each in index_dict.items()}


def filter_indices(
    index_dict: dict[str, IndexBase], partitions: Iterable[str]
) -> dict[str, IndexBase]:
    """Indices with nothing but some partitions."""
    known = set(partitions)
    result = {}
    for column, index in index_dict.items():
        kept = {
            value: [label for label in labels if label in known]
            for value, labels in index.to_dict().items()
        }
        result[column] = type(index)(column=column, index_dct=kept, dtype=index.dtype)
    return result


def _checked_type(dtype: pa.DataType, normalize: bool) -> pa.DataType:
    if pa.types.is_nested(dtype):
        raise NotImplementedError("Indices w/ nested types are not supported")
    if pa.types.is_null(dtype):
        raise NotImplementedError("Indices w/ null/NA type are not supported")
    return normalize_type(dtype, None, None, None)[0] if normalize else dtype


def _boolean(value: Any) -> bool:
    if not isinstance(value, str):
        return bool(value)
    if value.lower() not in ("true", "false"):
        raise ValueError(f'Cannot parse boolean value "{value}"')
    return value.lower() == "true"


def _array(values: list[Any], dtype: pa.DataType | None) -> pa.Array:
    if values and isinstance(values[0], (pd.Timestamp, np.datetime64)):
        moments = np.array([np.datetime64(pd.Timestamp(value), "ns") for value in values])
        return pa.array(moments).cast(dtype or pa.timestamp("ns"))
    plain = [v.item() if isinstance(v, np.generic) else v for v in values]
    if dtype is None and any(type(v) is int and v > _LARGEST for v in plain):
        dtype = pa.uint64()
    return pa.array(plain, type=dtype)


def _table(entries: dict[Any, list[str]], column: str, dtype: pa.DataType | None) -> pa.Table:
    labels = pa.array([list(each) for each in entries.values()], type=pa.list_(pa.string()))
    return pa.table([_array(list(entries), dtype), labels], names=[column, _LABELS])


def _entries(column: str, data: bytes) -> tuple[dict[Any, list[str]], pa.DataType]:
    table = pq.read_table(pa.BufferReader(data))
    dtype = table.schema.field(column).type
    if dtype == pa.timestamp("us"):
        dtype = pa.timestamp("ns")
    values = table.column(column).to_pandas(coerce_temporal_nanoseconds=True, date_as_object=True)
    labels = table.column(_LABELS).to_pylist()
    return dict(zip(values.to_numpy(), labels, strict=True)), dtype
