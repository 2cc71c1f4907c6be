"""Partitions with the frames, files and indices that belong to them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from partita.compat.plateau._reading import frame_of_file
from partita.compat.plateau._staging import stage_frame
from partita.compat.plateau.core.common_metadata import (
    make_meta,
    normalize_column_order,
    read_schema_metadata,
    validate_compatible,
)
from partita.compat.plateau.core.index import ExplicitSecondaryIndex
from partita.compat.plateau.core.index import merge_indices as merged_indices
from partita.compat.plateau.core.naming import (
    DEFAULT_METADATA_VERSION,
    SINGLE_TABLE,
    get_partition_file_prefix,
)
from partita.compat.plateau.core.partition import Partition
from partita.compat.plateau.core.urlencode import decode_key, quote_indices
from partita.compat.plateau.core.utils import ensure_store, verify_metadata_version
from partita.compat.plateau.core.uuid import gen_uuid
from partita.compat.plateau.io_components.utils import align_categories
from partita.compat.plateau.serialization import default_serializer

__all__ = [
    "SINGLE_TABLE",
    "MetaPartition",
    "parse_input_to_metapartition",
    "partition_labels_from_mps",
]

METADATA_SCHEMA = {
    "partition_label": "object",
    "row_group_id": "int64",
    "row_group_compressed_size": "int64",
    "row_group_uncompressed_size": "int64",
    "number_rows_total": "int64",
    "number_row_groups": "int64",
    "serialized_size": "int64",
    "number_rows_per_row_group": "int64",
}
"""The columns of `MetaPartition.get_parquet_metadata`."""


def _each(method: Callable[..., Any]) -> Callable[..., Any]:
    """Call a method on each of the partitions that are nested."""

    @functools.wraps(method)
    def on_each(self: MetaPartition, *args: Any, **kwargs: Any) -> MetaPartition:
        if len(self) == 1:
            single: MetaPartition = method(self, *args, **kwargs)
            return single
        results = [method(each, *args, **kwargs) for each in self]
        parts = [part for result in results for part in result]
        return _nested(parts) if parts else self.as_sentinel()

    return on_each


class MetaPartition(Iterable["MetaPartition"]):
    """One partition, or several nested in one object, of one table.

    Methods return another one. Without a label it is empty.

    Parameters
    ----------
    label : str or None
        The name of the partition: its key without dataset, table and suffix.
    file : str, optional
        The key of its file.
    table_name : str, default "table"
        The table.
    data : pandas.DataFrame, optional
        Its rows.
    indices : dict, optional
        Indices by column.
    metadata_version : int, optional
        The version of the format.
    schema : SchemaWrapper, optional
        The schema; that of `data` if left out.
    partition_keys : sequence of str, optional
        The partition columns.
    logical_conjunction : list of tuples, optional
        Conditions that reading always adds.
    """

    def __init__(
        self,
        label: str | None,
        file: str | None = None,
        table_name: str = SINGLE_TABLE,
        data: pd.DataFrame | None = None,
        indices: dict[str, Any] | None = None,
        metadata_version: int | None = None,
        schema: Any = None,
        partition_keys: Sequence[str] | None = None,
        logical_conjunction: list[tuple[str, str, Any]] | None = None,
        staged: bytes | None = None,
    ) -> None:
        version = DEFAULT_METADATA_VERSION if metadata_version is None else metadata_version
        verify_metadata_version(version)
        self.metadata_version = version
        self.table_name = table_name
        self.partition_keys = list(partition_keys or [])
        self.logical_conjunction = logical_conjunction
        self.schema = schema
        if data is not None and schema is None:
            self.schema = make_meta(data, f"{table_name}/{label}", partition_keys)
        loaded = {
            column: ExplicitSecondaryIndex(column, each) if isinstance(each, dict) else each
            for column, each in (indices or {}).items()
        }
        self.metapartitions: list[dict[str, Any]] = [
            {
                "label": label,
                "data": data,
                "file": file or None,
                "indices": loaded,
                "logical_conjunction": logical_conjunction,
                "staged": staged,
            }
        ]

    def __repr__(self) -> str:
        label = self.label if len(self) == 1 else f"NESTED ({len(self)})"
        return f"<{type(self).__name__} v{self.metadata_version} | {label} >"

    def __len__(self) -> int:
        return len(self.metapartitions)

    def __iter__(self) -> Iterator[MetaPartition]:
        return (self._single(part) for part in self.metapartitions if not self.is_sentinel)

    def __getitem__(self, label: str) -> MetaPartition:
        for part in self.metapartitions:
            if part["label"] == label:
                return self._single(part)
        raise KeyError(f"Metapartition doesn't contain partition `{label}`")

    def _single(self, part: dict[str, Any]) -> MetaPartition:
        return MetaPartition(
            table_name=self.table_name,
            metadata_version=self.metadata_version,
            schema=self.schema,
            partition_keys=self.partition_keys,
            **part,
        )

    def _own(self, attribute: str) -> Any:
        if len(self) > 1:
            raise AttributeError(f"Accessing `{attribute}` attribute is not allowed while nested")
        return self.metapartitions[0][attribute]

    @property
    def label(self) -> Any:
        """The name of the partition."""
        return self._own("label")

    @property
    def data(self) -> Any:
        """The rows, if they are in memory."""
        return self._own("data")

    @property
    def file(self) -> Any:
        """The key of the file."""
        return self._own("file")

    @property
    def indices(self) -> Any:
        """Indices by column."""
        return self._own("indices")

    @property
    def staged(self) -> Any:
        """What the engine needs to commit the file."""
        return self._own("staged")

    @property
    def is_sentinel(self) -> bool:
        """Whether it is empty."""
        return len(self) == 1 and self.label is None

    @property
    def partition(self) -> Partition:
        """The entry of the header."""
        return Partition(label=self.label, files={self.table_name: self.file})

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, MetaPartition):
            return False
        if (self.metadata_version, len(self)) != (other.metadata_version, len(other)):
            return False
        if self.schema is not None and not self.schema.equals(other.schema):
            return False
        return all(map(_same, _by_label(self), _by_label(other)))

    __hash__ = None  # type: ignore[assignment]

    @staticmethod
    def from_partition(
        partition: Partition,
        data: pd.DataFrame | None = None,
        indices: dict[str, Any] | None = None,
        metadata_version: int | None = None,
        schema: Any = None,
        partition_keys: Sequence[str] | None = None,
        logical_conjunction: list[tuple[str, str, Any]] | None = None,
        table_name: str = SINGLE_TABLE,
    ) -> MetaPartition:
        """The one of an entry of a header."""
        return MetaPartition(
            partition.label,
            partition.files[table_name],
            table_name,
            data,
            indices,
            metadata_version,
            schema,
            partition_keys,
            logical_conjunction,
        )

    @staticmethod
    def from_dict(dct: dict[str, Any]) -> MetaPartition:
        """The one of a dictionary of the constructor's arguments."""
        return MetaPartition(**dct)

    def to_dict(self) -> dict[str, Any]:
        """A dictionary of the constructor's arguments."""
        return {
            **{name: self._own(name) for name in ("label", "file", "data", "indices")},
            "metadata_version": self.metadata_version,
            "schema": self.schema,
            "partition_keys": self.partition_keys,
            "logical_conjunction": self.logical_conjunction,
            "table_name": self.table_name,
        }

    def copy(self, **kwargs: Any) -> MetaPartition:
        """The same with some attributes changed."""
        if len(self) > 1 and kwargs:
            return _nested([each.copy(**kwargs) for each in self])
        if len(self) > 1:
            return _nested(list(self))
        result = MetaPartition(**{**self.to_dict(), "staged": self.staged, **kwargs})
        if "partition_keys" in kwargs and result.schema is not None:
            result.schema = normalize_column_order(result.schema, result.partition_keys)
        return result

    def as_sentinel(self) -> MetaPartition:
        """An empty one of the same table."""
        return MetaPartition(
            None, metadata_version=self.metadata_version, partition_keys=self.partition_keys
        )

    def add_metapartition(
        self, metapartition: MetaPartition, schema_validation: bool = True
    ) -> MetaPartition:
        """This one and another in one object.

        Raises
        ------
        RuntimeError
            If a label occurs twice.
        ValueError
            If the schemas differ.
        """
        if self.is_sentinel:
            return metapartition
        known = {part["label"] for part in self.metapartitions}
        if any(part["label"] in known for part in metapartition.metapartitions):
            raise RuntimeError("Duplicate labels for nested metapartitions are not allowed!")
        schema = metapartition.schema
        if schema_validation and schema is not None:
            schema = validate_compatible([self.schema, schema])
        result = metapartition.as_sentinel()
        result.schema = schema
        result.table_name = metapartition.table_name
        result.metapartitions = [*self.metapartitions, *metapartition.metapartitions]
        return result

    @_each
    def remove_dataframes(self) -> MetaPartition:
        """The same without rows in memory."""
        return self.copy(data=None)

    @_each
    def load_schema(self, store: Any, dataset_uuid: str) -> MetaPartition:
        """The same with the stored schema, if it has none."""
        if self.schema is None:
            stored = read_schema_metadata(dataset_uuid, ensure_store(store), self.table_name)
            self.schema = stored
        return self

    @_each
    def load_dataframes(
        self,
        store: Any,
        columns: Sequence[str] | None = None,
        predicate_pushdown_to_io: bool = True,
        categoricals: Sequence[str] | None = None,
        dates_as_object: bool = True,
        predicates: Any = None,
    ) -> MetaPartition:
        """The same with its rows in memory."""
        if not self.file:
            return self
        uuid = decode_key(self.file)[0]
        self = self.load_schema(store=store, dataset_uuid=uuid)
        frame = frame_of_file(
            store,
            uuid,
            self.file,
            self.schema,
            columns if columns is None or isinstance(columns, (list, str)) else sorted(columns),
            predicates,
            self.logical_conjunction,
            categoricals,
            dates_as_object,
        )
        return self.copy(data=frame)

    @_each
    def validate_schema_compatible(self, store: Any, dataset_uuid: str) -> MetaPartition:
        """Check the schema against the stored one.

        Raises
        ------
        ValueError
            If they differ.
        """
        stored = read_schema_metadata(dataset_uuid, ensure_store(store), self.table_name)
        try:
            validate_compatible([self.schema, stored])
        except ValueError as error:
            raise ValueError(
                f"Schemas for dataset '{dataset_uuid}' are not compatible!\n\n{error}"
            ) from error
        return self

    @_each
    def store_dataframes(
        self, store: Any, dataset_uuid: str, df_serializer: Any = None
    ) -> MetaPartition:
        """Write the rows; nobody sees them before a commit.

        Where there is no dataset yet, the file is a single object, which a commit takes over.
        """
        if self.data is None:
            return self
        opened = ensure_store(store)
        staged = stage_frame(
            opened, dataset_uuid, with_partition_columns(self), self.partition_keys, df_serializer
        )
        if staged is not None:
            parts = [
                self.copy(label=label, file=key, data=None, staged=data)
                for label, key, data in staged
            ]
            return _nested(parts) if parts else self.copy(data=None)
        prefix = get_partition_file_prefix(
            dataset_uuid, self.label, self.table_name, self.metadata_version
        )
        key = (df_serializer or default_serializer()).store(opened, prefix, self.data)
        return self.copy(file=key, data=None)

    @_each
    def apply(self, func: Callable[[Any], Any], type_safe: bool = False) -> MetaPartition:
        """The same with what a function makes of its rows."""
        frame = func(self.data)
        schema = self.schema if type_safe else make_meta(frame, self.label, self.partition_keys)
        return self.copy(data=frame, schema=schema)

    @_each
    def build_indices(self, columns: Iterable[str]) -> MetaPartition:
        """The same with indices over its rows.

        Raises
        ------
        RuntimeError
            If there is no such column.
        """
        if self.label is None:
            return self
        indices = {}
        for column in columns:
            if column not in self.data:
                raise missing_index_column(column, self.label)
            values = self.data[column].dropna().unique()
            kind = None if self.schema is None else self.schema.field(column).type
            entries = {value: [self.label] for value in values}
            index = ExplicitSecondaryIndex(column, entries, dtype=kind)
            known = self.indices.get(column)
            indices[column] = known.update(index) if known is not None and known.loaded else index
        return self.copy(indices=indices)

    @_each
    def partition_on(self, partition_on: Any) -> MetaPartition:
        """One for each combination of values of some columns.

        Raises
        ------
        ValueError
            If a column is missing, holds nulls or has an index, or no other column is left.
        """
        if partition_on == self.partition_keys:
            return self
        names = [partition_on] if isinstance(partition_on, str) else list(partition_on)
        if set(names) & set(self.indices):
            raise ValueError("Trying to `partition_on` on a column with an explicit index!")
        if self.is_sentinel:
            return self.copy(partition_keys=names)
        if names[: len(self.partition_keys)] != self.partition_keys:
            raise ValueError(
                "Incompatible partitioning encountered. `partition_on` needs to include the "
                "already existing partition keys and must preserve their order.\n"
                f"Current partition keys: `{self.partition_keys}`\n"
                f"Partition on called with: `{names}`"
            )
        schema = normalize_column_order(self.schema, names)
        further = names[len(self.partition_keys) :]
        parts = [
            MetaPartition(
                label,
                self.file,
                self.table_name,
                frame,
                metadata_version=self.metadata_version,
                schema=schema.with_origin(label),
                partition_keys=names,
            )
            for label, frame in _groups(self.label, self.data, further)
        ]
        split = _nested(parts) if parts else self.as_sentinel().copy(partition_keys=names)
        return split.build_indices(self.indices) if self.indices else split

    @staticmethod
    def merge_indices(metapartitions: Iterable[MetaPartition]) -> dict[str, Any]:
        """The indices of several as one for each column."""
        return merged_indices([part.indices for each in metapartitions for part in each])

    @staticmethod
    def concat_metapartitions(
        metapartitions: Iterable[MetaPartition], label_merger: Any = None
    ) -> MetaPartition:
        """One with the rows of several."""
        several = list(metapartitions)
        frames = [each.data for each in several]
        categoricals = [
            name
            for name, column in frames[0].items()
            if isinstance(column.dtype, pd.CategoricalDtype)
        ]
        labels = [each.label for each in several]
        return MetaPartition(
            min(labels, key=len) if label_merger is None else label_merger(labels),
            data=pd.concat(align_categories(frames, categoricals)),
            metadata_version=max(each.metadata_version for each in several),
            schema=validate_compatible([each.schema for each in several]),
            partition_keys=several[-1].partition_keys,
        )

    @_each
    def delete_from_store(self, dataset_uuid: Any, store: Any) -> MetaPartition:
        """Delete the file."""
        ensure_store(store).delete(self.file)
        return self.copy(file=None, data=None)

    def get_parquet_metadata(self, store: Any) -> pd.DataFrame:
        """What the footer of the file says, a row for each row group."""
        with ensure_store(store).open(self.file) as source:
            footer = pq.ParquetFile(pa.PythonFile(source, mode="r")).metadata
        groups = [footer.row_group(number) for number in range(footer.num_row_groups)]
        rows = [
            {
                "partition_label": self.label,
                "row_group_id": number,
                "row_group_compressed_size": sum(
                    group.column(i).total_compressed_size for i in range(group.num_columns)
                ),
                "row_group_uncompressed_size": sum(
                    group.column(i).total_uncompressed_size for i in range(group.num_columns)
                ),
                "number_rows_total": footer.num_rows,
                "number_row_groups": footer.num_row_groups,
                "serialized_size": footer.serialized_size,
                "number_rows_per_row_group": group.num_rows,
            }
            for number, group in enumerate(groups)
        ]
        return pd.DataFrame(rows, columns=list(METADATA_SCHEMA)).astype(METADATA_SCHEMA)


def partition_labels_from_mps(mps: Iterable[MetaPartition]) -> list[str]:
    """The labels of partitions, nested ones too, empty ones left out."""
    return [part.label for each in mps for part in each if part.label is not None]


def parse_input_to_metapartition(
    obj: Any, table_name: str = SINGLE_TABLE, metadata_version: int | None = None
) -> MetaPartition:
    """The partitions of a DataFrame, a `MetaPartition`, None, or a list of these.

    Raises
    ------
    ValueError
        If it is none of these.
    """
    if isinstance(obj, MetaPartition):
        return obj
    if isinstance(obj, pd.DataFrame):
        return MetaPartition(
            gen_uuid(), data=obj, metadata_version=metadata_version, table_name=table_name
        )
    if obj is not None and not isinstance(obj, list):
        raise ValueError(f"Unexpected type during parsing encountered: ({type(obj)}, {obj})")
    result = MetaPartition(None, metadata_version=metadata_version, table_name=table_name)
    for each in obj or []:
        result = result.add_metapartition(
            parse_input_to_metapartition(each, table_name, metadata_version)
        )
    return result


def with_partition_columns(part: MetaPartition) -> pd.DataFrame:
    """The rows of a partition with the columns that its label stands for."""
    frame = part.data
    values = dict(decode_key(f"uuid/table/{part.label}")[2])
    missing = {
        name: values[name] for name in part.partition_keys if name not in frame and name in values
    }
    if not missing:
        return frame
    columns = {}
    for name, text in missing.items():
        kind = part.schema.field(name).type
        plain = ExplicitSecondaryIndex.normalize_value(kind, text)
        columns[name] = pa.array([plain] * len(frame), type=kind).to_pandas().to_numpy()
    return frame.assign(**columns)


def missing_index_column(column: str, label: str) -> RuntimeError:
    """What is raised where an index is wanted on a column that is not there."""
    return RuntimeError(
        f"Column `{column}` could not be found in the partition `{label}` Please check for any "
        "typos and validate your dataset."
    )


def check_partitioning(df: pd.DataFrame, partition_on: Sequence[str]) -> None:
    """Refuse a frame that cannot be partitioned by some columns."""
    missing = set(partition_on) - set(df.columns)
    if missing:
        raise ValueError(f"Partition column(s) missing: {', '.join(sorted(missing))}")
    if not set(df.columns) - set(partition_on):
        raise ValueError("No data left to save outside partition columns")
    if any(df[name].isna().any() for name in partition_on):
        left = len(df) - int(df[list(partition_on)].isna().any(axis=1).sum())
        raise ValueError(
            f"Original dataframe size ({len(df)} rows) does not match new dataframe size ({left} "
            "rows). Hint: you may see this if you are trying to use `partition_on` on a column "
            "with null values."
        )


def _groups(label: str, df: pd.DataFrame, by: list[str]) -> Iterator[tuple[str, pd.DataFrame]]:
    check_partitioning(df, by)
    _, _, pairs, base = decode_key(f"uuid/table/{label}")
    payload = df.drop(columns=by)
    for values, group in payload.groupby([df[name] for name in by], observed=True, sort=False):
        named = zip(by, values if isinstance(values, tuple) else (values,), strict=True)
        yield "/".join([*quote_indices([*pairs, *named]), str(base)]), group


def _nested(parts: list[MetaPartition]) -> MetaPartition:
    result = parts[0]
    for part in parts[1:]:
        result = result.add_metapartition(part, schema_validation=False)
    return result


def _by_label(several: MetaPartition) -> list[dict[str, Any]]:
    return sorted(several.metapartitions, key=lambda part: str(part["label"]))


def _same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    if (one["label"], one["file"]) != (other["label"], other["file"]):
        return False
    mine, theirs = one["data"], other["data"]
    return mine is None or (theirs is not None and mine.equals(theirs))
