"""Collections as xarray opens files: ``xarray.open_dataset(url, engine="partita")``."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from xarray.backends import BackendEntrypoint

from partita import _native
from partita._lazy import Reference, lazy_dataset
from partita.collection import predicate_of
from partita.errors import InvalidArgument
from partita.expression import Where
from partita.stores import FileSystem, connection

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["PartitaBackend"]


class PartitaBackend(BackendEntrypoint):  # type: ignore[misc,unused-ignore]
    """Opens collections, lazily; found by xarray under the name ``partita``.

    Nothing but the axis is read until it is looked at, and of that only the chunks with the rows
    asked for. With ``chunks={}`` the blocks of Dask are the stored chunks. It only reads: writing
    is `Collection.insert`, which knows what it may replace.

    Examples
    --------
    >>> import numpy as np, xarray as xr, partita as pt
    >>> time = np.arange("2022-01-30", "2022-02-03", dtype="M8[D]").astype("M8[us]")
    >>> ds = xr.Dataset({"ssh": (("time", "x"), np.arange(8.0).reshape(4, 2))}, {"time": time})
    >>> _ = pt.create_collection(
    ...     "memory://backend/ssh", ds, axis="time", partition_by=pt.Date("time", "month")
    ... )
    >>> opened = xr.open_dataset("memory://backend/ssh", engine="partita", where="month == 2")
    >>> opened.ssh.mean().item()
    5.5
    """

    description = "Collections of arrays, partitioned by date or sequence"
    supports_groups = True

    def open_dataset(
        self,
        filename_or_obj: Any,
        *,
        mask_and_scale: bool = True,
        decode_times: Any = True,
        decode_timedelta: Any = None,
        use_cftime: bool | None = None,
        drop_variables: str | Iterable[str] | None = None,
        group: str | None = None,
        where: Where | None = None,
        storage_options: Mapping[str, Any] | None = None,
        filesystem: FileSystem | None = None,
    ) -> xr.Dataset:
        """The collection, or one group of it, as a dataset."""
        decoding = _decoding(mask_and_scale, decode_times, decode_timedelta, use_cftime)
        found = _open(filename_or_obj, where, storage_options, filesystem, drop_variables, decoding)
        if hasattr(found, "subtree"):
            name = (group or "").strip("/")
            if name and name not in {node.path.strip("/") for node in found.subtree}:
                raise InvalidArgument(f"the collection has no group {group!r}")
            return (found[name] if name else found).to_dataset(inherit=False)
        if group not in (None, "", "/"):
            raise InvalidArgument(f"the collection has no groups, so not {group!r} either")
        return found

    def open_datatree(
        self,
        filename_or_obj: Any,
        *,
        mask_and_scale: bool = True,
        decode_times: Any = True,
        decode_timedelta: Any = None,
        use_cftime: bool | None = None,
        drop_variables: str | Iterable[str] | None = None,
        where: Where | None = None,
        storage_options: Mapping[str, Any] | None = None,
        filesystem: FileSystem | None = None,
    ) -> xr.DataTree:
        """The collection with all of its groups."""
        import xarray

        decoding = _decoding(mask_and_scale, decode_times, decode_timedelta, use_cftime)
        found = _open(filename_or_obj, where, storage_options, filesystem, drop_variables, decoding)
        return found if hasattr(found, "subtree") else xarray.DataTree(found)

    def open_groups_as_dict(self, filename_or_obj: Any, **options: Any) -> dict[str, xr.Dataset]:
        """The groups by their paths."""
        tree = self.open_datatree(filename_or_obj, **options)
        return {node.path: node.to_dataset(inherit=False) for node in tree.subtree}

    def guess_can_open(self, filename_or_obj: Any) -> bool:
        """False: a directory may be anything, so the engine is to be named."""
        return False


def _decoding(
    mask_and_scale: bool, decode_times: Any, decode_timedelta: Any, use_cftime: bool | None
) -> dict[str, Any] | None:
    if not mask_and_scale and not decode_times and not decode_timedelta:
        return None
    options = {"decode_timedelta": decode_timedelta, "use_cftime": use_cftime}
    given = {name: value for name, value in options.items() if value is not None}
    return {"mask_and_scale": mask_and_scale, "decode_times": decode_times, **given}


def _open(
    url: Any,
    where: Where | None,
    storage_options: Mapping[str, Any] | None,
    filesystem: FileSystem | None,
    drop: str | Iterable[str] | None,
    decoding: dict[str, Any] | None,
) -> Any:
    path, options = connection(os.fspath(url), storage_options, filesystem)
    native = _native.open(path, options, True, False)
    if not isinstance(native, _native.Collection):
        raise InvalidArgument("that is a table, and xarray opens collections and views")
    dropped = {drop} if isinstance(drop, str) else set(drop or ())
    names = [name for name in native.schema().names() if name not in dropped]
    view = native.base is not None
    reference = Reference(native.url, options, single_writer=False, native=native, view=view)
    dimension = native.config()["dimension"]
    return lazy_dataset(reference, dimension, predicate_of(where), names, decoding)[0]
