"""Headers as msgpack under zstd."""

from __future__ import annotations

from typing import Any

from partita._arrow import optional, pyarrow


def packb(document: Any) -> bytes:
    """A document, packed."""
    packed = optional("msgpack", "a header in msgpack").packb(document)
    compressed: bytes = pyarrow().Codec("zstd").compress(packed, asbytes=True)
    return compressed


def unpackb(data: bytes) -> Any:
    """The document that was packed."""
    pa = pyarrow()
    with pa.input_stream(pa.py_buffer(data), compression="zstd") as stream:
        packed = stream.read()
    return optional("msgpack", "a header in msgpack").unpackb(packed, raw=False)
