"""What a dataset of xarray says about storage, besides data and attributes, and back.

xarray keeps this in the ``encoding`` of a variable. What the engine knows itself (fill value,
codecs, chunks) goes there; the rest is remembered in one attribute, ``xarray_encoding``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from partita._arrays import fill_item, fill_of, numpy_module
from partita._packing import MEANING, is_time_units
from partita.errors import InvalidArgument

__all__ = [
    "CODECS",
    "REMEMBERED",
    "Json",
    "attributes_of",
    "chunks_of",
    "encoding_of",
    "restored",
    "split_encoding",
    "stored_dtype",
]

Json = Any

REMEMBERED = "xarray_encoding"

CODECS = "codecs"
"""The codecs of a variable that was read, with the format of Zarr that they are of.

They do not go by the names that xarray has for codecs: it would write them with Zarr of any format,
and those of one format are errors in the other.
"""

# Entries of what is remembered: that the fill value was an attribute, and types of attributes.
_AS_ATTRIBUTE = "_FillValue_is_attribute"
_TYPES = "types"
# The types that the numbers of JSON become.
_PLAIN = ("<i8", "<f8")

_KEPT = (
    "dtype",
    "scale_factor",
    "add_offset",
    "units",
    "calendar",
    "missing_value",
    "coordinates",
    "grid_mapping",
    "bounds",
    "_Unsigned",
    "_Encoding",
)


def attributes_of(owner: str, attributes: Mapping[Any, Any]) -> dict[str, Json]:
    """Attributes in the types of JSON: scalars and arrays of numpy become numbers and lists."""
    return {_name(owner, key): _json(owner, key, value) for key, value in attributes.items()}


def _name(owner: str, key: Any) -> str:
    if isinstance(key, str):
        return key
    raise InvalidArgument(
        f"attributes are named by strings, not {key!r} (of {owner})", context={"variable": owner}
    )


def _json(owner: str, name: str, value: Any, depth: int = 0) -> Json:
    np = numpy_module()
    if isinstance(value, (np.ndarray, np.generic)):
        value = np.datetime_as_string(value) if value.dtype.kind == "M" else value
        value = value.astype("i8") if value.dtype.kind == "m" else value
        value = value.tolist()
    if isinstance(value, bytes):
        value = value.decode(errors="strict") if _is_utf8(value) else value
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if depth < 100 and isinstance(value, (list, tuple)):
        return [_json(owner, name, item, depth + 1) for item in value]
    if depth < 100 and isinstance(value, Mapping):
        return {
            _name(owner, key): _json(owner, name, item, depth + 1) for key, item in value.items()
        }
    raise InvalidArgument(
        f"attribute {name} of {owner} cannot be stored: a value of type {type(value).__name__} "
        "is none of JSON's",
        context={"variable": owner, "attribute": name},
    )


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def split_encoding(
    variable: str, dtype: str, attributes: Mapping[Any, Any], encoding: Mapping[str, Any]
) -> dict[str, Any]:
    """Attributes, fill value and codecs as ``_native.Dataset`` takes them.

    The fill value is ``_FillValue`` of the encoding or, in data that are not decoded, of the
    attributes. If the encoding packs the data (``scale_factor``, ``units`` of times, a ``dtype`` of
    another kind), its fill value is one of the packed numbers: the stored one is then "not a
    number" or "not a time".
    """
    attributes = dict(attributes)
    fill = encoding.get("_FillValue")
    declared = attributes.pop("_FillValue", None)
    kept = {key: encoding[key] for key in _KEPT if encoding.get(key) is not None}
    packed_as = _dtype_name(kept.pop("dtype", None))
    if packed_as not in (None, dtype):
        kept["dtype"] = packed_as
    is_packed = _is_packed(dtype, kept)
    if attributes.get("_Unsigned") is not None and not is_packed:
        fill, declared = (_with_sign_of(dtype, one) for one in (fill, declared))
    if fill is None and declared is not None:
        fill = declared
        if not is_packed and not _is_item(variable, dtype, declared):
            # No item can be equal to it, as xarray takes it.
            fill = None
        elif not is_packed and _masks(declared):
            kept[_AS_ATTRIBUTE] = True
    elif declared is not None and attributes_of(variable, {"": declared}) != attributes_of(
        variable, {"": fill}
    ):
        raise InvalidArgument(
            f"variable {variable} has two fill values: {declared!r} as an attribute, {fill!r} as "
            "encoding",
            context={"variable": variable},
        )
    if fill is not None and is_packed:
        kept["_FillValue"] = fill
        fill = float("nan") if dtype[1] in "fcMm" else None
    described = attributes_of(variable, attributes)
    types = {**_types_of(attributes), **_types_of(kept)}
    if kept.get(_AS_ATTRIBUTE) and _stands_with_others(described):
        del kept[_AS_ATTRIBUTE]
    if kept or types:
        described[REMEMBERED] = attributes_of(variable, kept)
        if types:
            described[REMEMBERED][_TYPES] = types
    return {
        "fill": fill_item(variable, dtype, fill),
        "attributes": described,
        "codecs": _codecs(variable, dtype, encoding),
    }


def _with_sign_of(dtype: str, fill: Any) -> Any:
    """A fill value of integers with ``_Unsigned``, which may be given with either sign."""
    np = numpy_module()
    given = np.asarray(fill)
    if given.dtype.kind not in "iu" or given.size != 1 or dtype[1] not in "iu":
        return fill
    kind = np.dtype(dtype)
    number, bits = int(given.reshape(())), 8 * kind.itemsize
    least, most = np.iinfo(kind).min, np.iinfo(kind).max
    if least <= number <= most or not -(2 ** (bits - 1)) <= number < 2**bits:
        return fill
    return kind.type(number + 2**bits if number < least else number - 2**bits)


def _is_item(variable: str, dtype: str, fill: Any) -> bool:
    try:
        fill_item(variable, dtype, fill)
    except InvalidArgument:
        return False
    return True


def _masks(fill: Any) -> bool:
    """Whether decoding replaces this fill value; NaN is a missing value as it is."""
    return not (isinstance(fill, float) and fill != fill)


def _stands_with_others(attributes: Mapping[Any, Any]) -> bool:
    """Whether there are other attributes by which stored numbers are decoded."""
    return any(
        attributes.get(key) is not None and (key != "units" or is_time_units(attributes[key]))
        for key in MEANING
    )


def _types_of(attributes: Mapping[Any, Any]) -> dict[str, str]:
    """The types of attributes by which numbers are decoded, where JSON forgets them."""
    np = numpy_module()
    found = {}
    for key in (*MEANING, "_FillValue"):
        value = attributes.get(key)
        dtype = getattr(value, "dtype", None)
        if isinstance(dtype, np.dtype) and dtype.kind in "iuf" and dtype.str not in _PLAIN:
            found[key] = dtype.str
    return found


def _typed(values: dict[str, Any], types: Any) -> None:
    """Gives attributes the types that were remembered."""
    np = numpy_module()
    for key, dtype in types.items() if isinstance(types, Mapping) else ():
        if key in values:
            array = np.asarray(values[key], dtype)
            values[key] = array if array.ndim else array[()]


def restored(
    schema: dict[str, Any],
    chunks: Mapping[str, int | str],
    encoding: Mapping[str, Mapping[str, Any]],
) -> None:
    """Changes how a schema, in its dictionary form, is stored: chunks, and codecs by variable."""
    dimensions = [d for _, group in _groups(schema) for d in group["dimensions"]]
    for name, size in chunks.items():
        found = [dimension for dimension in dimensions if dimension["name"] == name]
        if not found:
            raise InvalidArgument(f"chunks= names {name!r}, which is no dimension of the data")
        for dimension in found:
            dimension["chunks"] = size
    variables = {
        path + variable["name"]: variable
        for path, group in _groups(schema)
        for variable in group["variables"]
    }
    unknown = [name for name in encoding if name != "*" and name not in variables]
    if unknown:
        raise InvalidArgument(f"encoding= names {unknown[0]!r}, which is no variable of the data")
    for path, variable in variables.items():
        asked = encoding.get(path, encoding.get("*"))
        if asked is not None:
            variable["codecs"] = _codecs(path, variable["dtype"], asked)


def _groups(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, schema
    for name, group in schema["groups"].items():
        yield from _groups(group, f"{path}{name}/")


def _dtype_name(dtype: Any) -> str | None:
    if dtype is None:
        return None
    if dtype in (str, bytes):
        return str(dtype.__name__)
    try:
        name: str = numpy_module().dtype(dtype).str
    except TypeError:
        return None
    return "str" if name == "|O" else name


def _is_packed(dtype: str, kept: Mapping[str, Any]) -> bool:
    if "scale_factor" in kept or "add_offset" in kept:
        return True
    if dtype[1] in "Mm" and "units" in kept:
        return True
    packed_as = kept.get("dtype", dtype)
    return dtype[1] in "fcMm" and packed_as[1] != dtype[1]


def _codecs(variable: str, dtype: str, encoding: Mapping[str, Any]) -> dict[str, Any] | None:
    """The codecs of numcodecs or of Zarr 3 in an encoding; None if it names none."""
    if not _names_codecs(encoding):
        read = encoding.get(CODECS)
        if read is not None and not (isinstance(read, dict) and read.get("zarr") in (2, 3)):
            raise _no_codec(variable, read)
        return read
    compressors = _configurations(variable, encoding.get("compressors"))
    if "compressor" in encoding:
        compressors = _configurations(variable, encoding["compressor"])
    filters = _configurations(variable, encoding.get("filters"))
    serializer = _configurations(variable, encoding.get("serializer"))
    generations = {"id" in codec for codec in (*compressors, *filters, *serializer)}
    if len(generations) > 1:
        raise InvalidArgument(
            f"variable {variable} mixes codecs of numcodecs with codecs of Zarr 3",
            context={"variable": variable},
        )
    if generations == {False}:
        return _zarr3(dtype, encoding, filters, serializer, compressors)
    return {
        "zarr": 2,
        "compressor": compressors[-1] if compressors else None,
        "filters": _chosen(filters) + compressors[:-1],
        "order": ">" if encoding.get("endian") == "big" else "<",
    }


def _names_codecs(encoding: Mapping[str, Any]) -> bool:
    if "compressor" in encoding:  # None stores the bytes as they are.
        return not isinstance(encoding["compressor"], str)
    return any(
        encoding.get(name) is not None and not isinstance(encoding[name], str)
        for name in ("compressors", "filters", "serializer")
    )


def _chosen(filters: list[dict[str, Json]]) -> list[dict[str, Json]]:
    """The filters without the one that texts of any length have in Zarr 2 in any case."""
    implied = [config.get("id") in ("vlen-utf8", "vlen-bytes") for config in filters]
    return [] if implied == [True] else filters


def _zarr3(
    dtype: str,
    encoding: Mapping[str, Any],
    filters: list[dict[str, Json]],
    serializer: list[dict[str, Json]],
    compressors: list[dict[str, Json]],
) -> dict[str, Any]:
    text = {"str": "vlen-utf8", "bytes": "vlen-bytes"}.get(dtype)
    plain = {"name": text} if text else {"name": "bytes", "configuration": {"endian": "little"}}
    shards = encoding.get("shards")
    size = encoding.get("shard_bytes")
    if shards and text is None:
        size = numpy_module().dtype(dtype).itemsize
        for items in shards:
            size *= int(items)
    return {
        "zarr": 3,
        "array_to_array": filters,
        "array_to_bytes": serializer[0] if serializer else plain,
        "bytes_to_bytes": compressors,
        "shard_bytes": size,
    }


def _configurations(variable: str, codecs: Any) -> list[dict[str, Json]]:
    """The configurations of codecs: dictionaries, objects of numcodecs, or objects of Zarr 3."""
    if codecs is None or (isinstance(codecs, str) and codecs == "auto"):
        return []
    if isinstance(codecs, Mapping) or not isinstance(codecs, Iterable):
        codecs = [codecs]
    found = []
    for codec in codecs:
        if codec is None:
            continue
        # The codecs of Zarr 3 that wrap numcodecs have both forms; theirs is the first.
        for form in ("to_dict", "get_config"):
            if hasattr(codec, form):
                codec = getattr(codec, form)()
                break
        if not isinstance(codec, Mapping) or not ({"id", "name"} & set(codec)):
            raise _no_codec(variable, codec)
        found.append(attributes_of(variable, codec))
    return found


def _no_codec(variable: str, codec: Any) -> InvalidArgument:
    return InvalidArgument(
        f"variable {variable} has an encoding that is no codec: {codec!r}",
        context={"variable": variable},
    )


def chunks_of(variables: Iterable[Any]) -> list[tuple[str, int]]:
    """How dimensions are cut, in items: as the largest variable that says so has it.

    A variable says so by the chunks of Dask that it is made of, or by its encoding.
    """
    chunks: dict[str, int] = {}
    for variable in sorted(variables, key=lambda one: -one.nbytes):
        for dimension, size in _chunks(variable).items():
            chunks.setdefault(dimension, size)
    return list(chunks.items())


def _chunks(variable: Any) -> dict[str, int]:
    encoding = variable.encoding
    sizes = variable.chunks
    if sizes is None:
        sizes = encoding.get("chunks") or _of_netcdf(variable)
    if sizes is None:
        sizes = encoding.get("preferred_chunks")
    if isinstance(sizes, Mapping):
        sizes = [sizes.get(name, 0) for name in variable.dimensions]
    if not isinstance(sizes, (list, tuple)) or len(sizes) != len(variable.dimensions):
        return {}
    largest = [max(size, default=0) if isinstance(size, tuple) else size for size in sizes]
    return {
        name: int(size)
        for name, size in zip(variable.dimensions, largest, strict=True)
        if isinstance(size, int) and size > 0
    }


# Chunks of a file that are smaller are not taken over if they hold one item along a dimension.
_SMALL_CHUNK = 1 << 20


def _of_netcdf(variable: Any) -> list[int] | None:
    """The chunk sizes of a variable of a file; 0 where the NetCDF library has chosen them.

    The library cuts an unlimited dimension into chunks of one row, and each would become an object.
    """
    sizes = variable.encoding.get("chunksizes")
    shape = getattr(variable.data, "shape", ())
    if sizes is None or len(sizes) != len(shape):
        return None
    is_small = variable.nbytes * math.prod(sizes) < _SMALL_CHUNK * max(math.prod(shape), 1)
    pairs = zip(sizes, shape, strict=True)
    return [0 if size == 1 < whole and is_small else size for size, whole in pairs]


def stored_dtype(encoding: Mapping[str, Any]) -> str | None:
    """The type of stored times that xarray cannot hold, from which these were converted."""
    dtype = encoding.get("stored_dtype")
    return dtype if isinstance(dtype, str) else None


def encoding_of(described: Mapping[str, Any], chunks: Mapping[str, Any]) -> dict[str, Any]:
    """The encoding of a variable as ``_native.Dataset.contents`` describes it.

    What was remembered is taken out of its attributes. The fill value is put there if it was there,
    or if there is what else numbers are decoded by.
    """
    encoding: dict[str, Any] = {}
    fill = fill_of(described["dtype"], described["fill"])
    if fill is not None:
        encoding["_FillValue"] = fill
    attributes = described["attributes"]
    remembered = attributes.pop(REMEMBERED, None)
    as_attribute = _stands_with_others(attributes)
    if isinstance(remembered, Mapping):
        remembered = dict(remembered)
        as_attribute = bool(remembered.pop(_AS_ATTRIBUTE, False)) or as_attribute
        types = remembered.pop(_TYPES, None)
        _typed(attributes, types)
        _typed(remembered, types)
        encoding.update(remembered)
        if remembered.get("dtype") in ("str", "bytes"):
            encoding["dtype"] = {"str": str, "bytes": bytes}[remembered["dtype"]]
        elif "dtype" in remembered:
            encoding["dtype"] = numpy_module().dtype(remembered["dtype"])
    sizes = [chunks.get(name) for name in described["dimensions"]]
    if any(isinstance(size, int) for size in sizes):
        pairs = zip(sizes, described["shape"], strict=True)
        encoding["chunks"] = tuple(
            size if isinstance(size, int) else max(whole, 1) for size, whole in pairs
        )
    if described["codecs"] is not None:
        encoding[CODECS] = described["codecs"]
    is_packed = isinstance(remembered, Mapping) and "_FillValue" in remembered
    if fill is not None and as_attribute and not is_packed and described["dtype"][1] in "iufc":
        # By these together numbers are decoded.
        attributes["_FillValue"] = encoding.pop("_FillValue")
    return encoding
