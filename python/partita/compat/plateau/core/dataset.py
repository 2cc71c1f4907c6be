"""What the header of a dataset says."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterable
from typing import Any

import pandas as pd
import pyarrow as pa

from partita.compat.plateau.core import _time, naming
from partita.compat.plateau.core._copying import Copying
from partita.compat.plateau.core._zmsgpack import packb, unpackb
from partita.compat.plateau.core.common_metadata import SchemaWrapper, read_schema_metadata
from partita.compat.plateau.core.index import (
    ExplicitSecondaryIndex,
    IndexBase,
    PartitionIndex,
    filter_indices,
)
from partita.compat.plateau.core.naming import SINGLE_TABLE
from partita.compat.plateau.core.partition import Partition
from partita.compat.plateau.core.urlencode import decode_key, quote_indices
from partita.compat.plateau.core.utils import ensure_store, verify_metadata_version
from partita.compat.plateau.serialization._predicates import columns_in_predicates

__all__ = ["DatasetMetadata", "DatasetMetadataBase", "DatasetMetadataBuilder"]

_OWN = "_partita"
"""The entry of the engine in the metadata, which is nobody else's."""


class DatasetMetadataBase(Copying):
    """A dataset: its partitions, metadata, indices and schema.

    Nothing changes it; methods that load something return another one.
    """

    def __init__(
        self,
        uuid: str,
        partitions: dict[str, Partition] | None = None,
        metadata: dict[str, Any] | None = None,
        indices: dict[str, IndexBase] | None = None,
        metadata_version: int = naming.DEFAULT_METADATA_VERSION,
        explicit_partitions: bool = True,
        partition_keys: list[str] | None = None,
        schema: SchemaWrapper | None = None,
        table_name: str | None = SINGLE_TABLE,
    ) -> None:
        check_uuid(uuid)
        self.uuid = uuid
        self.metadata_version = metadata_version
        self.partitions = partitions or {}
        self.metadata = with_creation_time(metadata)
        self.indices: dict[str, Any] = indices or {}
        self.explicit_partitions = explicit_partitions
        self.partition_keys = partition_keys or []
        self.schema = schema
        self._table_name = table_name

    @property
    def table_name(self) -> str:
        """The name of the table, which is the folder of the data."""
        if self._table_name:
            return self._table_name
        return self.tables[0] if self.partitions and self.tables else "<Unknown Table>"

    @property
    def tables(self) -> list[str]:
        """The names of the tables; there is never more than one."""
        if not self.partitions:
            return [self._table_name] if self._table_name else []
        names = list(next(iter(self.partitions.values())).files)
        if len(names) > 1:
            raise RuntimeError(
                f"Dataset {self.uuid} has tables {names} but read support for multi tabled dataset "
                "was dropped with plateau 4.0."
            )
        return names

    @property
    def index_columns(self) -> set[str]:
        """The partition columns and those with an index."""
        return set(self.indices) | set(self.partition_keys)

    @property
    def secondary_indices(self) -> dict[str, ExplicitSecondaryIndex]:
        """The indices that are stored beside the data."""
        return {
            column: index
            for column, index in self.indices.items()
            if isinstance(index, ExplicitSecondaryIndex)
        }

    @property
    def primary_indices_loaded(self) -> bool:
        """Whether the indices of the partition columns are in memory."""
        return bool(self.partition_keys) and set(self.partition_keys) <= set(self.indices)

    @staticmethod
    def exists(uuid: str, store: Any) -> bool:
        """Whether a store has a dataset of this name."""
        opened = ensure_store(store)
        return any(
            naming.metadata_key_from_uuid(uuid, form) in opened for form in ("json", "msgpack")
        )

    @staticmethod
    def storage_keys(uuid: str, store: Any) -> list[str]:
        """The keys of all objects of a dataset."""
        own = (f"{uuid}.", f"{uuid}/")
        return sorted(key for key in ensure_store(store).iter_keys(uuid) if key.startswith(own))

    def to_dict(self) -> dict[str, Any]:
        """The header as a document."""
        document: dict[str, Any] = {
            naming.METADATA_VERSION_KEY: self.metadata_version,
            naming.UUID_KEY: self.uuid,
        }
        if self.indices:
            document["indices"] = {
                column: index.to_dict() if index.loaded else index.index_storage_key
                for column, index in self.indices.items()
            }
        if self.metadata:
            document["metadata"] = self.metadata
        if self.partitions or self.explicit_partitions:
            document["partitions"] = {
                label: partition.to_dict() for label, partition in self.partitions.items()
            }
        if self.partition_keys is not None:
            document["partition_keys"] = self.partition_keys
        return document

    def to_json(self) -> bytes:
        """The header as JSON."""
        return json.dumps(self.to_dict()).encode()

    def to_msgpack(self) -> bytes:
        """The header as msgpack under zstd."""
        return packb(self.to_dict())

    def load_partition_indices(self) -> Any:
        """The dataset with the indices of its partition columns."""
        if self.primary_indices_loaded:
            return self
        return self.copy(indices={**self.indices, **_partition_indices(self)})

    def load_index(self, column: str, store: Any) -> Any:
        """The dataset with one index in memory.

        Raises
        ------
        KeyError
            If the column has none.
        """
        if column in self.partition_keys:
            return self.load_partition_indices()
        if column not in self.indices:
            raise KeyError(f"No index specified for column '{column}'")
        index = self.indices[column]
        if index.loaded or not isinstance(index, ExplicitSecondaryIndex):
            return self
        loaded: dict[str, Any] = {column: index.load(store)}
        if not self.explicit_partitions:
            loaded = filter_indices(loaded, self.partitions)
        return self.copy(indices={**self.indices, **loaded})

    def load_all_indices(self, store: Any) -> Any:
        """The dataset with all indices in memory."""
        loaded = {
            column: index.load(store) if isinstance(index, ExplicitSecondaryIndex) else index
            for column, index in self.indices.items()
        }
        return self.copy(indices=loaded).load_partition_indices()

    def query(self, indices: Iterable[IndexBase] | None = None, **kwargs: Any) -> list[str]:
        """The labels of the partitions that hold these values, by the indices in memory."""
        known = {**self.indices, **{index.column: index for index in indices or ()}}
        labels = set(self.partitions)
        for column, value in kwargs.items():
            if column in known:
                labels &= set(known[column].query(value))
        return list(labels)

    def get_indices_as_dataframe(
        self,
        columns: list[str] | None = None,
        date_as_object: bool = True,
        predicates: Any = None,
    ) -> pd.DataFrame:
        """The values of indices by partition.

        Parameters
        ----------
        columns : list of str, optional
            The indexed columns to show; all of them if left out.
        date_as_object : bool, default True
            Dates as ``datetime.date``.
        predicates
            Only the partitions for which these can hold.

        Raises
        ------
        ValueError
            If a column has no index.
        """
        loaded = self.load_partition_indices()
        shown = sorted(loaded.indices) if columns is None else list(columns)
        if not shown:
            return pd.DataFrame(index=list(loaded.partitions))
        if not predicates:
            return _joined(loaded, shown, None, date_as_object)
        scanned = sorted((columns_in_predicates(predicates) & set(loaded.indices)) | set(shown))
        pieces = [_joined(loaded, scanned, [each], date_as_object) for each in predicates]
        found = pd.concat(pieces).loc[:, shown].reset_index()
        return found.drop_duplicates().set_index("partition")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, DatasetMetadataBase):
            return False
        return _compared(self) == _compared(other)

    __hash__ = None  # type: ignore[assignment]


class DatasetMetadata(DatasetMetadataBase):
    """A dataset as its header describes it."""

    def __repr__(self) -> str:
        return (
            f"DatasetMetadata(uuid={self.uuid}, table_name={self.table_name}, "
            f"partition_keys={self.partition_keys}, metadata_version={self.metadata_version}, "
            f"indices={list(self.indices)}, explicit_partitions={self.explicit_partitions})"
        )

    @staticmethod
    def load_from_store(
        uuid: str, store: Any, load_schema: bool = True, load_all_indices: bool = False
    ) -> DatasetMetadata:
        """Read the header of a dataset.

        Raises
        ------
        KeyError
            If there is no such dataset.
        """
        opened = ensure_store(store)
        keys = [naming.metadata_key_from_uuid(uuid, form) for form in ("json", "msgpack")]
        try:
            document = json.loads(opened.get(keys[0]))
        except KeyError:
            try:
                document = unpackb(opened.get(keys[1]))
            except KeyError as error:
                raise KeyError(f"Dataset does not exist. Tried {keys[0]} and {keys[1]}") from error
        dataset = DatasetMetadata.load_from_dict(document, opened, load_schema)
        return dataset.load_all_indices(opened) if load_all_indices else dataset

    @staticmethod
    def load_from_buffer(buf: Any, store: Any, format: str = "json") -> DatasetMetadata:
        """Read a header, with what it refers to in a store."""
        return DatasetMetadata.load_from_dict(_document(buf, format), store)

    @staticmethod
    def load_from_dict(dct: Any, store: Any, load_schema: bool = True) -> DatasetMetadata:
        """The dataset of a document, with what it refers to in a store."""
        opened = ensure_store(store)
        document = copy.copy(dct)
        uuid = document[naming.UUID_KEY]
        explicit = "partitions" in document
        keys = None
        if not explicit:
            keys = DatasetMetadata.storage_keys(uuid, opened)
            document["partitions"] = _listed_partitions(keys)
        table = next(iter(_first_files(document["partitions"])), None)
        if table is None:
            keys = DatasetMetadata.storage_keys(uuid, opened) if keys is None else keys
            schemas = [key for key in keys if key.endswith("/" + naming.TABLE_METADATA_FILE)]
            table = schemas[0].split("/")[1] if schemas else None
        if table is not None and load_schema:
            document["schema"] = read_schema_metadata(uuid, opened, table)
        if "partition_keys" not in document:
            first = next(iter(_first_files(document["partitions"]).values()), "")
            document["partition_keys"] = [column for column, _ in decode_key(first)[2]] or None
        dataset = DatasetMetadata.from_dict(document, explicit)
        if table is not None:
            dataset._table_name = table
        return dataset

    @staticmethod
    def from_buffer(
        buf: Any, format: str = "json", explicit_partitions: bool = True
    ) -> DatasetMetadata:
        """Read a header that refers to nothing."""
        return DatasetMetadata.from_dict(_document(buf, format), explicit_partitions)

    @staticmethod
    def from_dict(dct: Any, explicit_partitions: bool = True) -> DatasetMetadata:
        """The dataset of a document that refers to nothing."""
        builder = DatasetMetadataBuilder(
            dct[naming.UUID_KEY],
            dct[naming.METADATA_VERSION_KEY],
            explicit_partitions,
            dct.get("partition_keys"),
            dct.get("schema"),
        )
        builder.metadata = with_creation_time(dct.get("metadata"))
        for label, entry in dct.get("partitions", {}).items():
            builder.add_partition(label, Partition.from_dict(label, entry))
        for column, entry in dct.get("indices", {}).items():
            known = isinstance(entry, IndexBase)
            builder.indices[column] = (
                entry if known else ExplicitSecondaryIndex.from_v2(column, entry)
            )
        return builder.to_dataset()


class DatasetMetadataBuilder(Copying):
    """A header to be put together."""

    def __init__(
        self,
        uuid: str,
        metadata_version: int = naming.DEFAULT_METADATA_VERSION,
        explicit_partitions: bool = True,
        partition_keys: list[str] | None = None,
        schema: SchemaWrapper | None = None,
    ) -> None:
        verify_metadata_version(metadata_version)
        self.uuid = uuid
        self.metadata_version = metadata_version
        self.explicit_partitions = explicit_partitions
        self.partition_keys = partition_keys
        self.schema = schema
        self.metadata = with_creation_time(None)
        self.indices: dict[str, Any] = {}
        self.partitions: dict[str, Partition] = {}

    @staticmethod
    def from_dataset(dataset: Any) -> DatasetMetadataBuilder:
        """The builder of a dataset there is."""
        builder = DatasetMetadataBuilder(
            dataset.uuid,
            dataset.metadata_version,
            dataset.explicit_partitions,
            copy.copy(dataset.partition_keys),
            dataset.schema,
        )
        builder.metadata = copy.deepcopy(dataset.metadata)
        builder.indices = copy.deepcopy(dataset.indices)
        builder.partitions = copy.deepcopy(dataset.partitions)
        return builder

    def add_partition(self, name: str, partition: Partition) -> DatasetMetadataBuilder:
        """Add a partition under a label."""
        if len(partition.files) > 1:
            raise RuntimeError(
                f"Dataset {self.uuid} has tables {sorted(partition.files)} but read support for "
                "multi tabled dataset was dropped with plateau 4.0."
            )
        self.partitions[name] = partition
        return self

    def add_embedded_index(self, column: str, index: IndexBase) -> None:
        """Add an index with its values."""
        if column != index.column:
            raise RuntimeError("The supplied index is not compatible with the supplied index.")
        self.indices[column] = index

    def add_external_index(self, column: str, filename: str | None = None) -> str:
        """Add an index by its key, which is returned."""
        key = filename or f"{self.uuid}.{column}{naming.EXTERNAL_INDEX_SUFFIX}"
        self.indices[column] = ExplicitSecondaryIndex(column, index_storage_key=key)
        return key

    def add_metadata(self, key: str, value: Any) -> None:
        """Set an entry of the metadata."""
        self.metadata[key] = value

    def to_dict(self) -> dict[str, Any]:
        """The header as a document."""
        document = self.to_dataset().to_dict()
        if not self.explicit_partitions:
            document.pop("partitions", None)
        if self.partition_keys is None:
            document.pop("partition_keys", None)
        return document

    def to_json(self) -> tuple[str, bytes]:
        """The key of the header, and the header as JSON."""
        return naming.metadata_key_from_uuid(self.uuid), json.dumps(self.to_dict()).encode()

    def to_msgpack(self) -> tuple[str, bytes]:
        """The key of the header, and the header as msgpack under zstd."""
        return naming.metadata_key_from_uuid(self.uuid, "msgpack"), packb(self.to_dict())

    def to_dataset(self) -> DatasetMetadata:
        """The dataset."""
        return DatasetMetadata(
            uuid=self.uuid,
            partitions=self.partitions,
            metadata=self.metadata,
            indices=self.indices,
            metadata_version=self.metadata_version,
            explicit_partitions=self.explicit_partitions,
            partition_keys=self.partition_keys,
            schema=self.schema,
        )


def create_partition_key(
    dataset_uuid: str,
    table: str,
    index_values: Iterable[tuple[str, Any]],
    filename: str = "data",
) -> str:
    """The key of a data file.

    Examples
    --------
    >>> create_partition_key("my-uuid", "table", [("city", "Oslo"), ("year", 2026)])
    'my-uuid/table/city=Oslo/year=2026/data'
    """
    return "/".join([dataset_uuid, table, *quote_indices(index_values), filename])


def check_uuid(uuid: str) -> None:
    """Refuse names that no dataset can have."""
    if re.fullmatch(r"[a-zA-Z0-9+\-_]+", uuid) is None:
        raise ValueError("UUID contains illegal character")


def with_creation_time(metadata: dict[str, Any] | None) -> dict[str, Any]:
    """Metadata without the entry of the engine, and with a time of creation."""
    own = {key: value for key, value in (metadata or {}).items() if key != _OWN}
    own.setdefault("creation_time", _time.datetime_utcnow().isoformat())
    return own


def _document(buf: Any, form: str) -> Any:
    return json.loads(buf) if form == "json" else unpackb(buf)


def _first_files(partitions: dict[str, Any]) -> dict[str, str]:
    first: Any = next(iter(partitions.values()), {})
    return first.get("files", {}) if isinstance(first, dict) else {}


def _listed_partitions(keys: Iterable[str]) -> dict[str, Any]:
    partitions: dict[str, Any] = {}
    depths = set()
    for key in keys:
        _, table, pairs, file = decode_key(key)
        engine = key.split("/")[1:2] == [_OWN]
        if file is None or table is None or not file.endswith(naming.PARQUET_FILE_SUFFIX):
            continue
        if engine or file.endswith(naming.EXTERNAL_INDEX_SUFFIX):
            continue
        depths.add(len(pairs))
        if len(depths) > 1:
            raise RuntimeError(
                "Unknown file structure encountered. Depth of filename indices is not equal for "
                "all partitions."
            )
        stem = file.removesuffix(naming.PARQUET_FILE_SUFFIX)
        label = "/".join([*quote_indices(pairs), stem])
        partitions.setdefault(label, {"files": {}})["files"][table] = key
    return partitions


def _partition_indices(dataset: DatasetMetadataBase) -> dict[str, PartitionIndex]:
    found: dict[str, dict[str, list[str]]] = {key: {} for key in dataset.partition_keys}
    for label, partition in dataset.partitions.items():
        for key in partition.files.values():
            for column, value in decode_key(key)[2]:
                found.setdefault(column, {}).setdefault(value, []).append(label)
    return {
        column: PartitionIndex(column, entries, _type_of(dataset, column))
        for column, entries in found.items()
    }


def _type_of(dataset: DatasetMetadataBase, column: str) -> pa.DataType:
    if dataset.schema is None:
        raise ValueError(f'Cannot find type information for partition column "{column}"')
    return dataset.schema.field(column).type


def _joined(
    dataset: DatasetMetadataBase, columns: list[str], predicates: Any, date_as_object: bool
) -> pd.DataFrame:
    unknown = set(columns) - set(dataset.indices)
    if unknown & set(dataset.partition_keys):
        raise RuntimeError(
            "Partition indices not loaded. Please call "
            "`DatasetMetadata.load_partition_indices` first."
        )
    if unknown:
        raise ValueError(f"Unknown index columns: {', '.join(sorted(unknown))}")
    frames = [
        dataset.indices[column]
        .as_flat_series(
            partitions_as_index=True, date_as_object=date_as_object, predicates=predicates
        )
        .to_frame()
        for column in columns
    ]
    first, *others = sorted(frames, key=len)
    for other in others:
        first = first.merge(other, left_index=True, right_index=True)
    if first.empty:
        first.index = first.index.astype(object)
    return first


def _compared(dataset: Any) -> tuple[Any, ...]:
    return (
        dataset.uuid,
        dataset.partitions,
        dataset.metadata,
        dataset.indices,
        dataset.explicit_partitions,
        dataset.partition_keys,
        dataset.schema,
    )
