"""The names of objects in a store."""

from __future__ import annotations

SINGLE_TABLE = "table"
DEFAULT_METADATA_VERSION = 4
MIN_METADATA_VERSION = 4
MAX_METADATA_VERSION = 4
DEFAULT_METADATA_STORAGE_FORMAT = "json"
METADATA_FORMAT_JSON = ".json"
METADATA_FORMAT_MSGPACK = ".msgpack.zstd"
METADATA_BASE_SUFFIX = ".by-dataset-metadata"
PARQUET_FILE_SUFFIX = ".parquet"
EXTERNAL_INDEX_SUFFIX = ".by-dataset-index" + PARQUET_FILE_SUFFIX
METADATA_VERSION_KEY = "dataset_metadata_version"
UUID_KEY = "dataset_uuid"
TABLE_METADATA_FILE = "_common_metadata"

_SUFFIXES = {"json": METADATA_FORMAT_JSON, "msgpack": METADATA_FORMAT_MSGPACK}


def metadata_key_from_uuid(uuid: str, format: str = "json") -> str:
    """The key of the header of a dataset."""
    return f"{uuid}{METADATA_BASE_SUFFIX}{_SUFFIXES[format]}"


def get_partition_file_prefix(
    dataset_uuid: str,
    partition_label: str,
    table: str,
    metadata_version: int = DEFAULT_METADATA_VERSION,
) -> str:
    """The key of a data file, without its suffix."""
    if metadata_version != DEFAULT_METADATA_VERSION:
        raise NotImplementedError(f"Metadata version {metadata_version} not supported")
    return f"{dataset_uuid}/{table}/{partition_label}"
