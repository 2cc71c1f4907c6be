"""Arguments of Python callers in the plain form that the engine takes."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from partita._arrow import pyarrow
from partita._text import text
from partita.errors import InvalidArgument
from partita.expression import Where

__all__ = [
    "Compression",
    "DtypeBackend",
    "Metadata",
    "SchemaMode",
    "Version",
    "columns_of",
    "metadata_json",
    "micros",
    "moment",
    "names",
    "options_text",
    "required",
    "schema_of",
    "whole",
    "write_options",
]

Version = int | str | dt.datetime
Compression = str | Mapping[str, str]
DtypeBackend = Literal["numpy_nullable", "pyarrow"]
Metadata = Mapping[str, Any] | Callable[[dict[str, Any]], Mapping[str, Any]]
"""Annotations, or a function of those that are there which gives those to set."""

SchemaMode = Literal["merge"]

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.timezone.utc)


def options_text(options: Mapping[str, Any] | None) -> dict[str, str]:
    """Store options as the engine takes them: names and texts."""
    texts: dict[str, str] = {}
    for name, value in (options or {}).items():
        if not isinstance(name, str) or isinstance(value, (Mapping, list, tuple, set)):
            raise InvalidArgument(
                "storage_options maps names to single values, such as {'aws_region': 'eu-north-1'};"
                f" {name!r} does not fit"
            )
        if value is not None:
            value = str(value).lower() if isinstance(value, bool) else str(value)
            texts[text("the name of a storage option", name)] = text(f"option {name}", value)
    return texts


def metadata_json(metadata: Mapping[str, Any] | None) -> str | None:
    """User metadata as JSON."""
    if metadata is None:
        return None
    if not isinstance(metadata, Mapping) or not all(isinstance(k, str) for k in metadata):
        raise InvalidArgument("metadata is a mapping of strings to whatever JSON can hold")
    try:
        return json.dumps(dict(metadata), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InvalidArgument(f"metadata must be something that JSON can hold: {error}") from error


def write_options(
    metadata: Metadata | None = None,
    compression: Compression | None = None,
    sort_by: str | Sequence[str] | None = None,
    row_group_rows: int | None = None,
    target_file_bytes: int | None = None,
    key: str | None = None,
    bloom_filters: str | Sequence[str] | None = None,
    grace: dt.timedelta | None = None,
    schema_mode: SchemaMode | None = None,
) -> dict[str, Any]:
    """How to write; what is None is left to the engine."""
    columns: Mapping[str, str] = {}
    if isinstance(compression, Mapping):
        columns = {name: codec for name, codec in compression.items() if name != "*"}
        compression = compression.get("*")
    for codec in (compression, *columns.values()):
        if codec is not None and not isinstance(codec, str):
            raise InvalidArgument(f"a compression is a name such as 'zstd(3)', not {codec!r}")
    if key is not None and not isinstance(key, str):
        raise InvalidArgument(f"the key of a commit is text, not {key!r}")
    if schema_mode not in (None, "merge"):
        raise InvalidArgument(f"schema_mode is 'merge' or None, not {schema_mode!r}")
    return {
        "compression": compression,
        "column_compression": list(columns.items()),
        "sort_by": names("sort_by", sort_by),
        "bloom_filters": None if bloom_filters is None else names("bloom_filters", bloom_filters),
        "merges": schema_mode == "merge",
        "row_group_rows": whole("row_group_rows", row_group_rows, 1),
        "target_file_bytes": whole("target_file_bytes", target_file_bytes, 1),
        "metadata": None if callable(metadata) else metadata_json(metadata),
        "annotate": _annotating(metadata) if callable(metadata) else None,
        "idempotency_key": key,
        "grace": None if grace is None else micros("grace", grace),
    }


def _annotating(function: Callable[[dict[str, Any]], Mapping[str, Any]]) -> Callable[[str], str]:
    """The function as one of JSON text, which the engine calls with what is newest."""
    return lambda present: metadata_json(function(json.loads(present))) or "{}"


def columns_of(columns: Sequence[str] | None) -> list[str] | None:
    """The columns to read; None for all."""
    if columns is None:
        return None
    if isinstance(columns, str):
        raise InvalidArgument(f"columns= takes a list of names: [{columns!r}]")
    listed = list(columns)
    for name in listed:
        if not isinstance(name, str):
            raise InvalidArgument(f"columns= takes a list of names, not {name!r}")
    return [text("the name of a column", name) for name in listed]


def names(argument: str, given: str | Sequence[str] | None) -> list[str]:
    """Names of columns, given as one or as several."""
    if given is None:
        return []
    if isinstance(given, str):
        return [text("the name of a column", given)]
    listed = list(given)
    for name in listed:
        if not isinstance(name, str):
            raise InvalidArgument(f"{argument} takes names of columns, not {name!r}")
    return [text("the name of a column", name) for name in listed]


def whole(argument: str, value: int | None, least: int) -> int | None:
    """A whole number of at least `least`, or None."""
    if value is None:
        return None
    try:
        number = value.__index__()
    except AttributeError:
        raise InvalidArgument(f"{argument} is a whole number, not {value!r}") from None
    if number < least:
        raise InvalidArgument(f"{argument} is at least {least}, not {number}")
    return number


def schema_of(columns: Any) -> Any:
    """A schema, given as one or as names and types."""
    if hasattr(columns, "__arrow_c_schema__"):
        return columns
    if not isinstance(columns, Mapping):
        raise InvalidArgument("columns are given as a schema or as a mapping of names to types")
    pa = pyarrow()
    try:
        return pa.schema([(name, pa.field(name, kind).type) for name, kind in columns.items()])
    except (TypeError, ValueError) as error:
        raise InvalidArgument(f"that is no type of Arrow: {error}") from error


def required(verb: str, where: Where | None) -> Where:
    """A condition that must be given."""
    if where is None:
        raise InvalidArgument(f"{verb} needs where=, so that it never empties a table by accident")
    return where


def moment(version: Version) -> tuple[int | None, int | None]:
    """A version as its number, or as a time in microseconds since 1970."""
    if isinstance(version, str):
        try:
            version = dt.datetime.fromisoformat(version.replace("Z", "+00:00"))
        except ValueError as error:
            raise InvalidArgument(f"{version!r} is no time in ISO 8601") from error
    if isinstance(version, dt.datetime):
        if version.tzinfo is None:
            version = version.replace(tzinfo=dt.timezone.utc)
        return None, (version - _EPOCH) // dt.timedelta(microseconds=1)
    return whole("version", version, 0), None


def micros(argument: str, duration: dt.timedelta) -> int:
    """A duration in microseconds."""
    if not isinstance(duration, dt.timedelta):
        raise InvalidArgument(f"{argument} is a datetime.timedelta, not {duration!r}")
    return duration // dt.timedelta(microseconds=1)
