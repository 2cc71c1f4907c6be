"""What a view stores of itself, besides its arrays: its base, and which partitions it covers."""

from __future__ import annotations

import base64
import json
import struct
import warnings
from dataclasses import dataclass, field
from typing import Any

import fsspec

from partita.compat.zcollection._selection import PartitionFilter
from partita.compat.zcollection._stores import file_system

__all__ = ["ViewReference", "file_system_of", "read_filter", "written_filter"]


@dataclass(frozen=True)
class ViewReference:
    """The collection that a view is laid over."""

    path: str
    filesystem: fsspec.AbstractFileSystem = field(default_factory=lambda: file_system(None))


def file_system_of(
    config: dict[str, Any], own: fsspec.AbstractFileSystem
) -> fsspec.AbstractFileSystem:
    """The file system that a view names: a known one, or that in which the view is itself.

    Others are not made by what a stored file says.
    """
    config = dict(config)
    if config == json.loads(own.to_json()):
        return own
    config.pop("cls", None)
    protocol = config.pop("protocol", "file")
    protocol = protocol if isinstance(protocol, str) else protocol[0]
    if protocol not in ("file", "local", "memory", "s3", "s3a"):
        raise ValueError(f"the view is laid over a collection in the file system {protocol!r}")
    return fsspec.filesystem(protocol, *config.pop("args", ()), **config)


def written_filter(filters: PartitionFilter) -> str:
    """A filter in the form of ZCollection: a pickle of an expression or of None.

    Functions cannot be stored: a warning says so, and all partitions are meant.
    """
    if filters is not None and not isinstance(filters, str):
        warnings.warn(
            "The partition filter cannot be serialized, it will be ignored.",
            UserWarning,
            stacklevel=2,
        )
        filters = None
    if filters is None:
        return base64.b64encode(b"\x80\x04N.").decode()
    text = filters.encode()
    if len(text) > 255:
        raise ValueError("an expression that a view stores has at most 255 bytes")
    pickled = b"\x8c" + bytes([len(text)]) + text + b"\x94."
    return base64.b64encode(b"\x80\x04\x95" + struct.pack("<Q", len(pickled)) + pickled).decode()


def read_filter(written: str) -> str | None:
    """The expression of a filter; nothing is unpickled.

    Raises
    ------
    ValueError
        If it is neither None nor a short expression.
    """
    pickled = base64.b64decode(written, validate=True)
    if pickled[:1] == b"\x80" and pickled[1:2] in (b"\x04", b"\x05"):
        if pickled[2:] == b"N.":
            return None
        if pickled[2:3] == b"\x95" and pickled[11:12] == b"\x8c" and pickled[-2:] == b"\x94.":
            text = pickled[13:-2]
            (frame,) = struct.unpack("<Q", pickled[3:11])
            if frame == len(pickled) - 11 and pickled[12] == len(text):
                return text.decode()
    raise ValueError(
        "the filter of the view is no plain expression; it is not unpickled, since that could run "
        f"any code: {json.dumps(written)}"
    )
