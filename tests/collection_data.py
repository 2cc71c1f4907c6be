"""Test data: arrays of every type and codec, and conversion to Partita collections of the data of
`zcollection_peer`."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

import partita as pt
from zcollection_peer import Arrays, Variable

__all__ = [
    "create",
    "documents",
    "every_compressor",
    "every_filter",
    "every_type",
    "read",
    "same_arrays",
    "same_values",
    "texts",
    "to_partita",
]

ATTRIBUTES = {"units": "°", "limits": [float("nan"), float("inf"), 1], "flag": True, "n": 3}


def to_partita(arrays: Arrays) -> dict[str, Any]:
    """The mapping for `partita.create_collection` and `Collection.insert`."""
    mapping = {}
    for name, one in arrays.variables.items():
        encoding: dict[str, Any] = {"compressor": one.compressor, "filters": one.filters}
        if one.fill_value is not None:
            encoding["_FillValue"] = one.fill_value
        if one.data.dtype.byteorder == ">":
            encoding["endian"] = "big"
        mapping[name] = (one.dimensions, one.data, one.attributes, encoding)
    return mapping


def create(
    url: str | os.PathLike[str], arrays: Arrays, axis: str, partition_by: Any, **options: Any
) -> pt.Collection:
    """A collection with the attributes and chunks of the arrays."""
    data = to_partita(arrays)
    collection = pt.create_collection(
        url, data, axis=axis, partition_by=partition_by, chunks=arrays.chunks, **options
    )
    if arrays.attributes:
        collection.set_attributes(arrays.attributes)
    return collection


def documents(root: Path, is_json: Callable[[Path], bool]) -> dict[str, Any]:
    """Every file of a collection: the content of JSON documents, and None for others. Partita's own
    files are excluded."""
    found: dict[str, Any] = {}
    for folder, folders, files in os.walk(root):
        # Replaced files are removed there in the background.
        folders[:] = [name for name in folders if name != ".partita"]
        for path in (Path(folder, name) for name in files):
            content = json.loads(path.read_text()) if is_json(path) else None
            found[path.relative_to(root).as_posix()] = content
    return found


def read(collection: pt.Collection, where: str | None = None) -> Arrays | None:
    """The data that Partita reads, in the stored types; None if there is no partition."""
    if not collection.list_partitions(where):
        return None
    dataset = collection.read(where)
    variables = {}
    for name, one in dataset.variables.items():
        encoding = one.encoding
        codecs = encoding.get("codecs", {})
        stored, fill = encoding.get("stored_dtype"), encoding.get("_FillValue")
        values = one.values if stored is None else one.values.astype(stored)
        variables[str(name)] = Variable(
            tuple(str(dimension) for dimension in one.dims),
            values,
            fill,
            codecs.get("compressor"),
            codecs.get("filters", ()),
            dict(one.attrs),
        )
    return Arrays(variables, dict(dataset.attrs))


def _items(data: Any) -> tuple[Any, ...]:
    """Type, shape and bits, independent of the byte order."""
    array = np.asarray(data)
    if array.dtype == object:
        return "texts", array.shape, array.ravel().tolist()
    array = array.astype(array.dtype.newbyteorder("<"))
    return array.dtype.str, array.shape, array.tobytes()


def same_values(one: Arrays, other: Arrays, names: Mapping[str, Any] | None = None) -> None:
    """Asserts that both have the same items, bit for bit, in the same types and dimensions."""
    if names is None:
        assert set(one.variables) == set(other.variables)
    for name in names or one.variables:
        this, that = one.variables[name], other.variables[name]
        assert this.dimensions == that.dimensions, name
        assert _items(this.data) == _items(that.data), (name, this.data, that.data)


def same_arrays(one: Arrays, other: Arrays) -> None:
    """Asserts the same items, fill values, codecs and attributes."""
    same_values(one, other)
    assert _plain(one.attributes) == _plain(other.attributes)
    for name, this in one.variables.items():
        that = other.variables[name]
        fills = [this.fill_value, that.fill_value]
        if fills[0] is not None and fills[1] is not None:
            kind = this.data.dtype
            fills = [_items(np.asarray(fill, kind)) for fill in fills]
        assert fills[0] == fills[1], name
        assert _plain(this.compressor) == _plain(that.compressor), name
        assert _plain(list(this.filters)) == _plain(list(that.filters)), name
        assert _plain(this.attributes) == _plain(that.attributes), name


def _plain(value: Any) -> str:
    """A JSON value as a text that is equal for equal values, including NaN."""
    if isinstance(value, Mapping):
        return repr(sorted((key, _plain(item)) for key, item in value.items()))
    if isinstance(value, (list, tuple)):
        return repr([_plain(item) for item in value])
    return repr(value)


ROWS, COLUMNS = 11, 3

TIME_UNITS = [
    "Y", "M", "W", "D", "h", "m", "s", "ms", "us", "ns", "ps", "fs", "as", "25us", "7D",
]  # fmt: skip

# xarray has no unit finer than nanoseconds, so finer times cannot be compared there.
STEPS = {"ps": 10**3, "fs": 10**6, "as": 10**9}

TYPES = [
    "|b1", "|i1", "<i2", "<i4", "<i8", "|u1", "<u2", "<u4", "<u8", "<f2", "<f4", "<f8", "<c8",
    "<c16", ">i2", ">u4", ">i8", ">f4", ">f8", ">c8", ">c16", ">M8[us]", "|S1", "|S5", "<U1",
    "<U4", ">U4",
]  # fmt: skip


def _values(dtype: str) -> np.ndarray:
    kind = np.dtype(dtype).kind
    count = np.arange(ROWS * COLUMNS).reshape(ROWS, COLUMNS)
    if kind == "b":
        return count % 3 == 0
    if kind in "SU":
        texts = [f"é{n}" if kind == "U" else f"a{n}" for n in count.ravel()]
        return np.array(texts).reshape(count.shape).astype(dtype)
    if kind == "c":
        return (count * (1 - 0.5j)).astype(dtype)
    if kind == "f":
        values = (count * 1.25 - 7.125).astype(dtype)
        values[1, :] = [np.nan, np.inf, -0.0]
        return values
    if kind in "Mm":
        step = STEPS.get(np.datetime_data(dtype)[0], 1)
        values = ((count - 5) * step).astype("<i8").astype(dtype)
        values[1, 0 if kind == "M" else 1] = "NaT"
        return values
    values = (count - (0 if kind == "u" else 5)).astype("<i8").astype(dtype)
    values[1, :2] = [np.iinfo(dtype).min, np.iinfo(dtype).max]
    return values


def _time() -> Variable:
    days = np.arange("2022-01-26", "2022-02-06", dtype="M8[D]").astype("M8[us]")
    return Variable(("time",), days, attributes={"standard_name": "time"})


def _arrays(variables: dict[str, Variable], chunks: dict[str, int] | None = None) -> Arrays:
    return Arrays(
        {"time": _time(), **variables},
        {"title": "every kind", "numbers": [1, 2.5], "none": None},
        {"time": 4, "x": 2} if chunks is None else chunks,
    )


def every_type() -> Arrays:
    """Two variables of each type: one without a fill value, one whose items include it.

    All of a second chunk are the fill value, so that no object holds it.
    """
    kinds = TYPES + [f"<{kind}8[{unit}]" for kind in "Mm" for unit in TIME_UNITS]
    variables = {}
    for number, dtype in enumerate(kinds):
        data = _values(dtype)
        variables[f"type{number:02d}"] = Variable(("time", "x"), data, attributes=ATTRIBUTES)
        # zarr stores chunks of "not a time" even if that is the fill value.
        fill = data[2, 0] if np.dtype(dtype).kind == "M" else data[1, 0]
        filled = data.copy()
        filled[4:8] = fill
        variables[f"fill{number:02d}"] = Variable(("time", "x"), filled, fill)
    nat = np.datetime64("NaT", "us")
    variables["not_a_time"] = Variable(("time", "x"), _values("<M8[us]"), nat)
    variables["whole"] = Variable(("time", "x"), np.full((ROWS, COLUMNS), 5, "<i2"), 5)
    variables["cube"] = Variable(
        ("x", "time", "y"), np.arange(ROWS * COLUMNS * 2, dtype="<u2").reshape(COLUMNS, ROWS, 2)
    )
    variables["lut"] = Variable(("x",), np.array([3, -1, 7], "<i2"), -1)
    variables["scalar"] = Variable((), np.array(2.5))
    return _arrays(variables)


def texts() -> Arrays:
    """A variable of texts of any length, which no release of ZCollection can write."""
    words = np.array(["", "é", "a" * 300] * ROWS, dtype=object).reshape(ROWS, COLUMNS)
    return _arrays({"words": Variable(("time", "x"), words, filters=[{"id": "vlen-utf8"}])})


def _blosc(name: str, shuffle: int, level: int = 5) -> dict[str, Any]:
    return {"id": "blosc", "cname": name, "clevel": level, "shuffle": shuffle, "blocksize": 0}


def every_compressor() -> Arrays:
    """A variable for each compressor, with compressible and incompressible items."""
    compressors: dict[str, Any] = {
        f"blosc_{name}_{shuffle + 1}": _blosc(name, shuffle)
        for name in ("blosclz", "lz4", "lz4hc", "zlib", "zstd")
        for shuffle in (-1, 0, 1, 2)
    }
    compressors |= {
        "blosc_stored": _blosc("zstd", 1, 0),
        "zstd": {"id": "zstd", "level": 3, "checksum": True},
        "lz4": {"id": "lz4", "acceleration": 1},
        "gzip": {"id": "gzip", "level": 1},
        "zlib": {"id": "zlib", "level": 1},
        "bz2": {"id": "bz2", "level": 1},
        "none": None,
    }
    noise = np.random.default_rng(3).integers(0, 2**63, (ROWS, 900)).astype("<i8")
    ramp = np.arange(ROWS * 900, dtype="<f8").reshape(ROWS, 900)
    variables = {}
    for name, compressor in compressors.items():
        variables[name] = Variable(("time", "wide"), ramp, compressor=compressor)
        variables[f"{name}_noise"] = Variable(("time", "wide"), noise, compressor=compressor)
    return _arrays(variables, {"time": 4})


FILTERS: dict[str, tuple[str, list[dict[str, Any]]]] = {
    "delta": ("<i4", [{"id": "delta", "dtype": "<i4", "astype": "<i4"}]),
    "delta_narrow": ("<i8", [{"id": "delta", "dtype": "<i8", "astype": "<i2"}]),
    "delta_float": ("<f4", [{"id": "delta", "dtype": "<f4", "astype": "<f4"}]),
    "fixed": (
        "<f8",
        [{"id": "fixedscaleoffset", "scale": 10, "offset": 100, "dtype": "<f8", "astype": "<i4"}],
    ),
    "fixed_small": (
        "<f4",
        [{"id": "fixedscaleoffset", "scale": 0.5, "offset": 20, "dtype": "<f4", "astype": "|u1"}],
    ),
    "fixed_delta": (
        "<f8",
        [
            {"id": "fixedscaleoffset", "scale": 1000, "offset": 0, "dtype": "<f8", "astype": "<i8"},
            {"id": "delta", "dtype": "<i8", "astype": "<i8"},
        ],
    ),
    "quantize": ("<f8", [{"id": "quantize", "digits": 2, "dtype": "<f8", "astype": "<f4"}]),
    "astype": ("<i8", [{"id": "astype", "encode_dtype": "<i2", "decode_dtype": "<i8"}]),
    "packbits": ("|b1", [{"id": "packbits"}]),
    "shuffle": ("<f8", [{"id": "shuffle", "elementsize": 8}]),
    "crc32": ("<i4", [{"id": "crc32"}]),
    "adler32": ("<i4", [{"id": "adler32"}]),
    "fletcher32": ("<i4", [{"id": "fletcher32"}]),
    "bitround": ("<f4", [{"id": "bitround", "keepbits": 8}]),
}

LOSSY = {"quantize", "bitround", "fixed", "fixed_small"}


def every_filter() -> Arrays:
    """A variable for each filter, with items that it supports."""
    count = np.arange(ROWS * COLUMNS).reshape(ROWS, COLUMNS)
    variables = {}
    for name, (dtype, filters) in FILTERS.items():
        data = count % 3 == 0 if dtype == "|b1" else (count * 1.25 + 20.125).astype(dtype)
        compressor = {"id": "zstd", "level": 1, "checksum": False}
        variables[name] = Variable(("time", "x"), data, None, compressor, filters)
    return _arrays(variables)
