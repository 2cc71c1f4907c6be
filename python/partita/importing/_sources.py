"""Files of arrays: finding them, telling them apart, and opening them as they are stored."""

from __future__ import annotations

import glob
import hashlib
import os
import warnings
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from partita._arrow import optional
from partita._packing import is_time_units
from partita.errors import InvalidArgument, NotFound
from partita.importing._remote import GROUP_DOCUMENTS, Reading, find_in_store, is_url

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["digest", "find", "group_names", "holds_arrays", "is_array_file", "open_source"]

_SUFFIXES = (".nc", ".nc3", ".nc4", ".cdf", ".netcdf", ".h5", ".hdf5", ".he5", ".zarr")
_BLOCK = 1 << 22


def is_array_file(name: str) -> bool:
    """Whether a name is that of a file, or of a pattern of files, that holds arrays."""
    return name.rstrip("/").lower().endswith(_SUFFIXES)


def holds_arrays(name: str) -> bool:
    """Whether files of arrays are meant by a name, a pattern or a folder."""
    if is_array_file(name):
        return True
    if not (glob.has_magic(name) or os.path.isdir(name)):
        return False
    try:
        return any(is_array_file(path) or _is_zarr(path) for path in find([name]))
    except NotFound:
        # A pattern without a suffix may mean either kind, and the engine reads no patterns.
        return glob.has_magic(name) and not os.path.splitext(name)[1]


def _is_zarr(path: str) -> bool:
    return any(os.path.exists(os.path.join(path, name)) for name in GROUP_DOCUMENTS)


def find(
    names: Iterable[str | os.PathLike[str]], options: Mapping[str, str] | None = None
) -> list[str]:
    """The files that names, patterns (``in/**/*.nc``) and folders stand for, each once.

    Names may be URLs; the options are those of their store.

    Raises
    ------
    NotFound
        If one stands for none.
    """
    found: dict[str, None] = {}
    for name in names:
        text = os.path.expanduser(os.fspath(name))
        if is_url(text):
            files = find_in_store(text, options or {}, is_array_file)
        else:
            matches = sorted(glob.glob(text, recursive=True)) if glob.has_magic(text) else [text]
            files = [file for match in matches for file in _within(match)]
        if not files:
            what = "no file of NetCDF, HDF5 or Zarr in" if os.path.isdir(text) else "no file"
            raise NotFound(f"there is {what} {text}", context={"file": text})
        found.update(dict.fromkeys(files))
    return list(found)


def _within(path: str) -> Iterator[str]:
    if not os.path.isdir(path):
        if os.path.exists(path):
            yield path
    elif _is_zarr(path):
        yield path.rstrip("/")
    else:
        for name in sorted(os.listdir(path)):
            below = os.path.join(path, name)
            if is_array_file(name) or os.path.isdir(below):
                yield from _within(below)


def digest(path: str) -> str:
    """The digest of the content of a file, or of the files of a Zarr group."""
    found = hashlib.blake2b(digest_size=16)
    files = [path]
    if os.path.isdir(path):
        files = sorted(str(file) for file in Path(path).rglob("*") if file.is_file())
    for file in files:
        found.update(os.path.relpath(file, path).encode() + b"\0")
        with open(file, "rb") as content:
            while block := content.read(_BLOCK):
                found.update(block)
    return found.hexdigest()


def group_names(data: Any) -> list[str]:
    """The paths of the groups below the root that hold variables."""
    if not hasattr(data, "subtree"):
        return []
    return [node.path.strip("/") for node in data.subtree if node.path != "/" and node.variables]


def open_source(path: str, reading: Reading) -> Any:
    """A file with its numbers as they are stored, and its times as times.

    Nothing but metadata is read until it is looked at. Times whose number is the fill value are
    "not a time". Those of calendars that numpy does not have stay numbers.

    Returns
    -------
    xarray.Dataset or xarray.DataTree
        A tree if there are groups.
    """
    optional("xarray", "reading files of arrays")
    opener = _opener(reading.local(path), reading.groups)
    raw = opener(mask_and_scale=False, decode_times=False)
    if not any(_is_time(v) for node in _nodes(raw).values() for v in node.variables.values()):
        return raw
    nodes = _nodes(raw)
    for coder in _decodings():
        decoded = _nodes(_decoded(opener, coder))
        nodes = {where: _with_times(node, decoded.get(where)) for where, node in nodes.items()}
        if not any(_is_time(v) for node in nodes.values() for v in node.variables.values()):
            break
    if len(nodes) == 1:
        return nodes["/"]
    xarray = optional("xarray", "reading files of arrays")
    return xarray.DataTree.from_dict(nodes)


def _opener(path: str, groups: bool) -> Any:
    xarray = optional("xarray", "reading files of arrays")
    if not os.path.exists(path):
        raise NotFound(f"there is no file {path}", context={"file": path})
    options: dict[str, Any] = {"decode_timedelta": False}
    if os.path.isdir(path):
        options["engine"] = "zarr"
    as_tree = groups and _has_groups(path)
    function = xarray.open_datatree if as_tree else xarray.open_dataset

    def opened(**how: Any) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                return function(path, **options, **how)
            except ValueError as error:
                if "did not find a match" not in str(error):
                    raise
                raise InvalidArgument(
                    "it is no file of NetCDF, HDF5 or Zarr, or of a kind for which the library is "
                    "missing: pip install netcdf4 h5netcdf zarr",
                    context={"file": path},
                ) from None

    return opened


def _has_groups(path: str) -> bool:
    if os.path.isdir(path):
        below = (os.path.join(path, name) for name in os.listdir(path))
        return any(os.path.isdir(place) and _is_zarr_group(place) for place in below)
    with open(path, "rb") as file:
        if file.read(8) != b"\x89HDF\r\n\x1a\n":
            return False
    for module in ("netCDF4", "h5netcdf"):
        try:
            library: Any = __import__(module)
        except ImportError:
            continue
        kind = library.Dataset if module == "netCDF4" else library.File
        with kind(path, "r") as file:
            return bool(file.groups)
    raise InvalidArgument(
        f"{path} is a file of NetCDF 4, which needs netCDF4 or h5netcdf: pip install h5netcdf",
        context={"file": path},
    )


def _is_zarr_group(path: str) -> bool:
    if os.path.exists(os.path.join(path, ".zgroup")):
        return True
    document = os.path.join(path, "zarr.json")
    return os.path.exists(document) and '"group"' in Path(document).read_text()


def _nodes(data: Any) -> dict[str, xr.Dataset]:
    if data is None:
        return {}
    if not hasattr(data, "subtree"):
        return {"/": data}
    return {node.path: node.to_dataset(inherit=False) for node in data.subtree}


def _is_time(variable: Any) -> bool:
    return is_time_units(variable.attrs.get("units")) and variable.dtype.kind in "iuf"


def _decodings() -> Iterator[Any]:
    """How times may be decoded, the finest unit first: coarser ones reach further."""
    coders = optional("xarray.coding.times", "decoding times")
    for unit in ("ns", "us", "s"):
        try:
            yield coders.CFDatetimeCoder(time_unit=unit)
        except (AttributeError, TypeError):
            # An older xarray has nanoseconds alone.
            yield True
            return


def _decoded(opener: Any, coder: Any) -> Any:
    try:
        return opener(mask_and_scale=True, decode_times=coder)
    except (ValueError, OverflowError):
        return None


def _with_times(raw: xr.Dataset, decoded: xr.Dataset | None) -> xr.Dataset:
    """The dataset with the variables that became times when they were decoded."""
    if decoded is None:
        return raw
    found = {}
    for name, variable in raw.variables.items():
        other = decoded.variables[name]
        found[name] = other if variable.dtype.kind != "M" and other.dtype.kind == "M" else variable
    coordinates = {name: found.pop(name) for name in list(found) if name in raw.coords}
    return type(raw)(found, coordinates, raw.attrs)
