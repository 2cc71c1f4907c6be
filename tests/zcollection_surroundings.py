"""Programs around collections: periods of time, files, Dask, and file systems of fsspec."""

from __future__ import annotations

import itertools
import os
from typing import Any

import fsspec
import numpy as np

__all__ = ["elsewhere", "files", "periods", "sections"]


def periods(zc: Any, directory: str) -> Any:
    """All relative positions of two short periods."""
    period = zc.merging.period
    found: dict[str, Any] = {}
    days = [np.datetime64("2000-01-01") + day for day in range(4)]
    several = [period.Period(*pair, within=True) for pair in itertools.combinations(days, 2)]
    for one, other in itertools.product(several, several):
        relation = one.get_relation(other)
        found[f"{one} {other}"] = [
            relation.name,
            relation.contains(),
            relation.is_before_overlapping(),
            relation.is_after_overlapping(),
            [one == other, one != other, one < other, one.contains(other)],
            [one.intersects(other), bool(one.is_adjacent(other))],
            [repr(one.merge(other)), repr(one.span(other)), repr(one.intersection(other))],
        ]
    hour = np.datetime64("2000-01-01T05", "h")
    mixed = period.Period(days[0], np.datetime64("2000-01-02T00", "h"))
    lasting = period.Period.from_duration(hour, np.timedelta64(3, "h"))
    found["hours"] = [repr(mixed), str(mixed.length()), mixed.contains(hour), repr(lasting)]
    lasting.shift(np.timedelta64(1, "h"))
    lasting.expand(np.timedelta64(2, "h"))
    found["moved"] = [repr(lasting), str(lasting.last), lasting.is_null()]
    found["sides"] = [[mixed.is_after(day), mixed.is_before(day)] for day in days[:3]]
    return found


def files(zc: Any, directory: str) -> Any:
    """Files in directories, traversed and copied between file systems."""
    utils = zc.fs_utils
    fs, memory = utils.get_fs(), utils.get_fs("memory")
    for name in ("a/b/x", "a/y", "z"):
        path = utils.join_path(directory, "tree", name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        fs.pipe_file(path, name.encode())
    root = utils.join_path(directory, "tree")
    walked = list(utils.fs_walk(fs, root, sort=True))
    utils.copy_tree(root, "/surroundings/tree", fs, memory)
    copied = sorted(memory.find("/surroundings/tree"))
    memory.mkdir("/surroundings/flat")
    utils.copy_files(copied, "/surroundings/flat", memory, memory)
    flat = {path: memory.cat_file(path).decode() for path in sorted(memory.find("/surroundings"))}
    again = ""
    try:
        utils.copy_tree(root, "/surroundings/tree", fs, memory)
    except ValueError as error:
        again = str(error)
    memory.rm("/surroundings", recursive=True)
    nowhere = list(utils.fs_walk(fs, utils.join_path(directory, "nowhere")))
    names = [utils.normalize_path(memory, path) for path in ("memory://a/../b", "/x//y")]
    return [walked, copied, flat, again, nowhere, names]


def sections(zc: Any, directory: str) -> Any:
    """Sequences divided into sections."""
    cut = zc.dask_utils.split_sequence
    found = [[list(part) for part in cut(range(7), count)] for count in (None, 1, 2, 3, 7, 9)]
    try:
        list(cut([], 0))
    except ValueError as error:
        found.append(str(error))
    found.append(zc.dask_utils.simple_delayed("three", lambda: 3).compute()())
    return found


def elsewhere(zc: Any, directory: str) -> Any:
    """A collection and a view in memory, and in a directory that serves as a whole file system."""
    local = fsspec.filesystem("file")
    places = [fsspec.filesystem("memory"), fsspec.filesystem("dir", path=directory, fs=local)]
    found = []
    for fs in places:
        times = np.arange("2000-01-01", "2000-03-01", dtype="M8[D]").astype("M8[ns]")
        data = zc.Dataset([zc.Array("time", times, ("n",)), zc.Array("v", np.arange(60.0), ("n",))])
        handler = zc.partitioning.Date(("time",), "M")
        collection = zc.create_collection("time", data, handler, "lake/c", filesystem=fs)
        collection.insert(data)
        collection.update(lambda ds: {"v": ds.variables["v"].values * 2})
        found.append([key for key, _ in collection.iterate_on_records(relative=True)])
        collection.copy("lake/other", filesystem=fs)
        collection.drop_partitions(filters="month == 1")
        found.append(list(collection.partitions(relative=True)))
        opened = zc.open_collection("lake/other", filesystem=fs)
        found.append(opened.load(delayed=False).variables["v"].values)
        view = zc.create_view("lake/v", zc.view.ViewReference("lake/other", fs), filesystem=fs)
        view.add_variable(zc.meta.Variable("w", np.float64, dimensions=("n",)))
        view.update(lambda ds: {"w": ds.variables["v"].values + 1})
        again = zc.open_view("lake/v", filesystem=fs)
        found.append(again.load(delayed=False).variables["w"].values)
        found.append(sorted(path.strip("/") for path in fs.ls("lake", detail=False)))
        fs.rm("lake", recursive=True)
    return found
