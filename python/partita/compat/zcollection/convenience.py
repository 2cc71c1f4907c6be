"""Creating and opening collections and views."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import fsspec

from partita.compat.zcollection._selection import PartitionFilter
from partita.compat.zcollection._stores import file_system
from partita.compat.zcollection.collection import Collection, Mode
from partita.compat.zcollection.dataset import Dataset
from partita.compat.zcollection.partitioning import Partitioning
from partita.compat.zcollection.sync import Sync
from partita.compat.zcollection.view import View, ViewReference

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["create_collection", "create_view", "open_collection", "open_view"]


def create_collection(
    axis: str,
    ds: xr.Dataset | Dataset,
    partition_handler: Partitioning,
    partition_base_dir: str,
    **kwargs: Any,
) -> Collection:
    """Create an empty collection, in a directory that does not exist.

    Parameters
    ----------
    axis : str
        The variable along which it grows.
    ds : xarray.Dataset or Dataset
        What it holds; nothing of it is inserted.
    partition_handler : partitioning.Partitioning
        How rows are mapped to partitions.
    partition_base_dir : str
        Where it is to be.
    filesystem : fsspec.AbstractFileSystem or str, optional
        Where the directory is; local files if not given.
    synchronizer : sync.Sync, optional
        What is held while the collection changes.

    Raises
    ------
    ValueError
        If the directory exists, or the dataset lacks the axis or a key of the partitioning.
    """
    fs = file_system(kwargs.pop("filesystem", None))
    if fs.exists(str(partition_base_dir)):
        raise ValueError(f"The directory {partition_base_dir!r} already exists.")
    data = ds if isinstance(ds, Dataset) else Dataset.from_xarray(ds)
    return Collection(
        axis,
        data.metadata(),
        partition_handler,
        partition_base_dir,
        mode="w",
        filesystem=fs,
        **kwargs,
    )


def open_collection(path: str, *, mode: Mode | None = None, **kwargs: Any) -> Collection:
    """Open the collection in a directory.

    Parameters
    ----------
    mode : str, default 'r'
        ``"r"`` to read, ``"w"`` to write as well.
    filesystem : fsspec.AbstractFileSystem or str, optional
        Where the directory is; local files if not given.
    synchronizer : sync.Sync, optional
        What is held while the collection changes.

    Raises
    ------
    ValueError
        If there is none.
    """
    return Collection.from_config(path, mode=mode, **kwargs)


def create_view(
    path: str,
    view_ref: ViewReference,
    *,
    filesystem: fsspec.AbstractFileSystem | str | None = None,
    filters: PartitionFilter = None,
    synchronizer: Sync | None = None,
) -> View:
    """Create a view over a collection, in a directory that does not exist.

    Parameters
    ----------
    view_ref : view.ViewReference
        The collection, which is opened for reading.
    filters : str or callable, optional
        Which of its partitions the view covers; all if not given.
    """
    fs = file_system(filesystem)
    if fs.exists(path):
        raise ValueError(f"path {path!r} already exists.")
    return View(path, view_ref, ds=None, filesystem=fs, filters=filters, synchronizer=synchronizer)


def open_view(
    path: str,
    *,
    filesystem: fsspec.AbstractFileSystem | str | None = None,
    synchronizer: Sync | None = None,
) -> View:
    """Open the view in a directory.

    Raises
    ------
    ValueError
        If there is none, or if its filter is more than an expression: it is never unpickled.
    """
    return View.from_config(path, filesystem=filesystem, synchronizer=synchronizer)
