"""The arrays of views: single arrays of Zarr 2, read and written whole."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from typing import Any

import fsspec
import numpy as np

from partita._stored import as_stored
from partita._xarray import missing_of
from partita.compat.zcollection import meta
from partita.compat.zcollection.meta import codec_of, decode_fill, encode_fill

__all__ = [
    "attributes_of",
    "create_array",
    "described",
    "read_array",
    "resize_array",
    "write_array",
]

DIMENSIONS = "_ARRAY_DIMENSIONS"


def has_array(fs: fsspec.AbstractFileSystem, path: str) -> bool:
    """Whether there is an array."""
    return bool(fs.exists(f"{path}/.zarray"))


def described(fs: fsspec.AbstractFileSystem, path: str) -> dict[str, Any]:
    """What is said of an array, besides its attributes."""
    description: dict[str, Any] = json.loads(fs.cat_file(f"{path}/.zarray"))
    if description["zarr_format"] != 2 or description.get("order", "C") != "C":
        raise ValueError(f"the array {path} of the view is not one of Zarr 2 in C order")
    return description


def attributes_of(fs: fsspec.AbstractFileSystem, path: str) -> dict[str, Any]:
    """The attributes of an array."""
    attributes: dict[str, Any] = json.loads(fs.cat_file(f"{path}/.zattrs"))
    return attributes


def create_array(
    fs: fsspec.AbstractFileSystem,
    path: str,
    variable: meta.Variable,
    shape: Sequence[int],
    chunks: Sequence[int],
    attributes: Mapping[str, Any],
) -> None:
    """Write an array that holds its fill value everywhere."""
    if has_array(fs, path):
        fs.rm(path, recursive=True)
    config = variable.get_config()
    description = {
        "chunks": list(chunks),
        "compressor": config["compressor"],
        "dtype": config["dtype"],
        "fill_value": encode_fill(variable.fill_value, variable.dtype),
        "filters": list(config["filters"]) or None,
        "order": "C",
        "shape": list(shape),
        "zarr_format": 2,
    }
    fs.makedirs(path, exist_ok=True)
    fs.pipe_file(f"{path}/.zattrs", json.dumps(dict(attributes), indent=4).encode())
    fs.pipe_file(f"{path}/.zarray", json.dumps(description, indent=4).encode())


def _empty(description: Mapping[str, Any]) -> np.ndarray[Any, Any]:
    dtype: np.dtype[Any] = np.dtype(description["dtype"])
    fill = decode_fill(description["fill_value"], dtype)
    fill = missing_of(dtype) if fill is None else fill
    empty = np.zeros(description["shape"], dtype)
    if fill is not None:
        empty[...] = fill
    return empty


def _codecs(description: Mapping[str, Any]) -> list[Any]:
    """What encodes chunks, in that order."""
    configs = [*(description["filters"] or ()), description["compressor"]]
    return [codec for codec in map(codec_of, configs) if codec is not None]


def _places(description: Mapping[str, Any]) -> list[tuple[str, tuple[slice, ...]]]:
    """The names of the chunks, and which items they hold."""
    shape, chunks = description["shape"], description["chunks"]
    separator = description.get("dimension_separator", ".")
    counts = [range(-(-size // chunk)) for size, chunk in zip(shape, chunks, strict=True)]
    return [
        (
            separator.join(map(str, index)) or "0",
            tuple(
                slice(position * chunk, (position + 1) * chunk)
                for position, chunk in zip(index, chunks, strict=True)
            ),
        )
        for index in itertools.product(*counts)
    ]


def read_array(fs: fsspec.AbstractFileSystem, path: str) -> np.ndarray[Any, Any]:
    """The items of an array."""
    description = described(fs, path)
    array, codecs = _empty(description), _codecs(description)
    for name, where in _places(description):
        try:
            stored: Any = fs.cat_file(f"{path}/{name}")
        except FileNotFoundError:
            continue
        for codec in reversed(codecs):
            stored = codec.decode(stored)
        part = array[where]
        chunk = np.frombuffer(memoryview(stored).cast("B"), array.dtype)
        chunk = chunk.reshape(description["chunks"])
        part[...] = chunk[tuple(slice(size) for size in part.shape)]
    return array


def write_array(fs: fsspec.AbstractFileSystem, path: str, array: Any) -> None:
    """Replace the items of an array; masked ones become its fill value.

    Raises
    ------
    ValueError
        If the shape is another one, an item does not fit the type, or items are masked for which
        nothing stands.
    """
    description = described(fs, path)
    if list(np.shape(array)) != description["shape"]:
        raise ValueError(
            f"the array {path} of the view has the shape {tuple(description['shape'])}, not "
            f"{np.shape(array)}"
        )
    dtype: np.dtype[Any] = np.dtype(description["dtype"])
    target, codecs = np.empty(description["shape"], dtype), _codecs(description)
    # A value is stored as it is, or refused with its place.
    target[...] = as_stored(
        path.rsplit("/", 1)[-1],
        array,
        {},
        {},
        {"dtype": dtype.newbyteorder("<").str, "attributes": {}},
        fill=decode_fill(description["fill_value"], dtype),
        rounded=True,
    )
    for name, where in _places(description):
        # Chunks at the end of an array are as large as the others.
        chunk = np.zeros(description["chunks"], target.dtype)
        part = target[where]
        chunk[tuple(slice(size) for size in part.shape)] = part
        encoded: Any = chunk
        for codec in codecs:
            encoded = codec.encode(encoded)
        fs.pipe_file(f"{path}/{name}", np.ascontiguousarray(encoded).tobytes())


def resize_array(fs: fsspec.AbstractFileSystem, path: str, axis: int, size: int) -> None:
    """Make an array longer; the new items are its fill value."""
    old, description = read_array(fs, path), described(fs, path)
    description["shape"][axis] = size
    new = _empty(description)
    new[tuple(slice(extent) for extent in old.shape)] = old
    fs.pipe_file(f"{path}/.zarray", json.dumps(description, indent=4).encode())
    write_array(fs, path, new)
