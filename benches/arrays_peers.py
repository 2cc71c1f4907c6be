"""One measurement of a collection by one library; prints JSON. Run by ``arrays.py``.

python arrays_peers.py PEER CASE KIND FOLDER MEGABYTES PARTITIONS
"""

from __future__ import annotations

import copy
import importlib
import json
import os
import resource
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

PIXELS = 240
VARIABLES = ("ssh", "sla", "swh", "wind")
BLOCK = 16_000
TYPES = {"full": "f4", "packed": "i4", "rounded": "f4"}
LAND = np.float64(np.iinfo("i4").max)


def tracks(kind: str, first: str, rows: int, step_ms: int) -> xr.Dataset:
    """Smooth fields with the noise of an instrument: as they are computed (``full``), as products
    have them, in numbers of 0.1 mm with a third of them land (``packed``), or rounded to 1 mm and
    kept as floats (``rounded``)."""
    random = np.random.default_rng(7)
    start = np.datetime64(first, "ms")
    time_axis = (start + np.arange(rows) * np.timedelta64(step_ms, "ms")).astype("M8[us]")
    across = np.linspace(0, 3, PIXELS, dtype="f4")
    along = np.linspace(0, rows / 500, rows, dtype="f4")[:, None]
    variables = {}
    for number, name in enumerate(VARIABLES):
        noise = random.standard_normal((rows, PIXELS), dtype="f4") * np.float32(0.02)
        field = np.sin(along + across + number) + noise
        if kind == "rounded":
            field = np.round(field * 1000) / np.float32(1000)
        elif kind == "packed":
            land = np.sin(along * 33) + np.sin(across * 2) * np.float32(0.2) > 0.6
            field = np.where(land, LAND, np.round(field * 10_000))
        variables[name] = (("time", "x"), field.astype(TYPES[kind]))
    return xr.Dataset(variables, {"time": time_axis})


def tiny(days: int) -> xr.Dataset:
    """Ten rows a day."""
    axis = np.datetime64("1990-01-01", "us") + np.arange(days * 10) * np.timedelta64(8640, "s")
    values = np.arange(axis.size, dtype="f8")
    return xr.Dataset({"a": ("time", values), "b": ("time", values * 2)}, {"time": axis})


def rows_of(megabytes: int) -> int:
    return megabytes * 1_000_000 // (PIXELS * 4 * len(VARIABLES))


def year(kind: str, megabytes: int) -> xr.Dataset:
    rows = rows_of(megabytes)
    return tracks(kind, "2022-01-01", rows, int(365 * 86_400_000 / rows))


def month(kind: str, megabytes: int) -> xr.Dataset:
    """A delivery that overlaps the middle of a month."""
    rows = rows_of(megabytes)
    return tracks(kind, "2022-06-10T00:00:00.001", rows, int(10 * 86_400_000 / max(rows, 1)))


def passes_of(times: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Half orbits of fifty minutes: where they start and stop, and their numbers."""
    numbers = (times.astype("M8[m]") - np.datetime64("2022-01-01")).astype("i8") // 50
    starts = np.concatenate(([0], np.flatnonzero(np.diff(numbers)) + 1))
    return starts, np.concatenate((starts[1:], [numbers.size])), numbers[starts]


def from_files(kind: str, folder: Path, megabytes: int) -> xr.Dataset:
    """What `year` gives, in arrays of Dask that read files of numpy."""
    import dask
    import dask.array as da

    folder.mkdir(exist_ok=True)
    whole = year(kind, megabytes)
    rows = whole.sizes["time"]
    variables = {}
    for name in VARIABLES:
        arrays = []
        for first in range(0, rows, BLOCK):
            block = whole[name].values[first : first + BLOCK]
            path = folder / f"{name}-{first}.npy"
            if not path.exists():
                np.save(path, block)
            arrays.append(da.from_delayed(dask.delayed(np.load)(path), block.shape, block.dtype))
        variables[name] = (("time", "x"), da.concatenate(arrays))
    return xr.Dataset(variables, {"time": whole.time.values})


class Partita:
    """Both have the same methods, and do the same."""

    def __init__(self, folder: Path, client: Any = None) -> None:
        # xarray imports it at its first arithmetic; ZCollection has it imported too.
        import dask.array  # noqa: F401

        import partita

        self.pt, self.folder, self.options = partita, folder, {}

    def create(self, name: str, ds: xr.Dataset, resolution: str) -> Any:
        from numcodecs import Zstd

        for variable in ds.variables.values():
            variable.encoding["compressor"] = Zstd(3).get_config()
        return self._create(str(self.folder / name), ds, resolution)

    def create_repository(self, name: str, ds: xr.Dataset) -> Any:
        return self._create(f"icechunk+{self.folder / name}", ds, "month")

    def _create(self, url: str, ds: xr.Dataset, resolution: str) -> Any:
        return self.pt.create_collection(
            url,
            ds,
            axis="time",
            partition_by=self.pt.Date("time", resolution),
            chunks={"time": 4000},
            insert=False,
            storage_options=self.options,
        )

    def open(self, name: str) -> Any:
        return self.pt.open_collection(str(self.folder / name), storage_options=self.options)

    def insert(self, collection: Any, ds: xr.Dataset, merge: bool) -> None:
        collection.insert(ds, merge="time_series" if merge else None)

    def load(self, collection: Any, variables: list[str] | None) -> int:
        data = collection.read(variables=variables)
        return int(sum(v.nbytes for v in data.variables.values()))

    def update(self, collection: Any) -> None:
        collection.update(lambda ds: {"sla": ds["ssh"] + 1}, variables=["ssh"])

    def partitions(self, collection: Any) -> int:
        return len(collection.partitions)

    def fill_view(self, name: str) -> None:
        double = self.pt.Variable("double", ("time", "x"), "f4")
        view = self.pt.create_view(
            str(self.folder / f"{name}-view"), self.open(name), variables=[double]
        )
        view.update(lambda ds: {"double": ds["ssh"] * 2}, variables=["ssh"])

    def load_view(self, name: str) -> int:
        data = self.pt.open_view(str(self.folder / f"{name}-view")).read(
            variables=["ssh", "double"]
        )
        return int(sum(v.nbytes for v in data.variables.values()))

    def index(self, name: str) -> None:
        def passes(ds: xr.Dataset) -> dict[str, np.ndarray]:
            starts, stops, numbers = passes_of(ds["time"].values)
            return {"start": starts, "stop": stops, "pass": numbers}

        collection, url = self.open(name), str(self.folder / f"{name}.parquet")
        collection.build_index(passes, url, variables=["time"], overwrite=True)

    def load_pass(self, name: str, number: int) -> int:
        collection = self.open(name)
        index = self.pt.open_index(str(self.folder / f"{name}.parquet"), collection)
        return collection.read(rows=index.query({"pass": number})).sizes["time"]

    def above(self, collection: Any, value: float) -> int:
        return collection.read(where=self.pt.col("a") > value).sizes["time"]


class Unsynced(Partita):
    """Leaves it to the system when what it writes is on the disk, as ZCollection does."""

    def __init__(self, folder: Path, client: Any = None) -> None:
        super().__init__(folder, client)
        self.options = {"sync": False}


class ZCollection:
    def __init__(self, folder: Path, client: Any = None) -> None:
        import dask
        import dask.distributed
        import zcollection
        import zcollection.indexing

        self.zc, self.folder = zcollection, folder
        dask.config.set({"distributed.worker.memory.target": False})
        self.client = client or dask.distributed.Client(processes=False, dashboard_address=None)

    def create(self, name: str, ds: xr.Dataset, resolution: str) -> Any:
        from numcodecs import Zstd

        for variable in ds.variables.values():
            variable.encoding["compressor"] = Zstd(3)
        source = self.zc.Dataset.from_xarray(ds)
        source.chunks = {"time": 4000}
        date = self.zc.partitioning.Date(("time",), {"month": "M", "day": "D"}[resolution])
        return self.zc.create_collection("time", source, date, str(self.folder / name))

    def open(self, name: str) -> Any:
        return self.zc.open_collection(str(self.folder / name), mode="w")

    def insert(self, collection: Any, ds: xr.Dataset, merge: bool) -> None:
        call = self.zc.merging.merge_time_series if merge else None
        collection.insert(self.zc.Dataset.from_xarray(ds), merge_callable=call, npartitions=2)

    def load(self, collection: Any, variables: list[str] | None) -> int:
        data = collection.load(delayed=False, selected_variables=variables)
        return int(sum(np.asarray(v.array).nbytes for v in data.variables.values()))

    def update(self, collection: Any) -> None:
        def add(ds: Any) -> dict[str, Any]:
            return {"sla": ds["ssh"].array + 1}

        collection.update(add, variables=("sla",), selected_variables=["ssh"], delayed=False)

    def partitions(self, collection: Any) -> int:
        return sum(1 for _ in collection.partitions())

    def fill_view(self, name: str) -> None:
        view = self.zc.create_view(
            str(self.folder / f"{name}-view"), self.zc.ViewReference(str(self.folder / name))
        )
        double = copy.copy(self.open(name).metadata.variables["ssh"])
        double.name = "double"
        view.add_variable(double)
        view.update(lambda ds: {"double": ds["ssh"].values * 2}, selected_variables=["ssh"])

    def load_view(self, name: str) -> int:
        view = self.zc.open_view(str(self.folder / f"{name}-view"))
        data = view.load(delayed=False, selected_variables=["ssh", "double"])
        return int(sum(np.asarray(v.array).nbytes for v in data.variables.values()))

    def _passes(self) -> Any:
        class Passes(self.zc.indexing.Indexer):
            def dtype(self, **kwargs: Any) -> Any:
                return [*super().dtype(), ("pass", "int64")]

            @classmethod
            def create(cls, path: Any, zds: Any, filesystem: Any = None, **kwargs: Any) -> Any:
                return super()._create(path, zds, filesystem=filesystem)

            def update(self, zds: Any, *sizes: Any, **kwargs: Any) -> None:
                super()._update(zds, self.rows, None, None, **kwargs)

            def rows(self, ds: Any) -> Any:
                columns = passes_of(ds["time"].values)
                return np.array(list(zip(*columns, strict=True)), np.dtype(self.dtype()))

        return Passes

    def index(self, name: str) -> None:
        collection = self.open(name)
        path = str(self.folder / f"{name}.parquet")
        self._passes().create(path, collection).update(collection)

    def load_pass(self, name: str, number: int) -> int:
        index = self._passes().open(str(self.folder / f"{name}.parquet"))
        found = self.open(name).load(indexer=index.query({"pass": [number]}), delayed=False)
        return int(found.dimensions["time"])

    def above(self, collection: Any, value: float) -> int:
        # Conditions are on the fields of partitions only.
        data = collection.load(delayed=False)
        rows = np.flatnonzero(data["a"].values > value)
        return int(data.isel({"time": slice(rows[0], rows[-1] + 1)}).dimensions["time"])


PEERS: dict[str, Any] = {
    "partita": Partita,
    "unsynced": Unsynced,
    "zcollection": ZCollection,
}


def begin() -> float:
    """When a measurement begins: with nothing of an earlier one left to be written out."""
    os.sync()
    return time.perf_counter()


def measure(peer: Any, name: str, case: str, kind: str, megabytes: int, partitions: int) -> float:
    """Runs one case; what it prepares is not measured."""
    if case == "tiny":
        data = tiny(300)
        collection = peer.create(f"{name}-tiny", data, "day")
        began = begin()
        peer.insert(collection, data, False)
    elif case in ("one", "list", "above"):
        # Written once, by whichever library: the layout is the same.
        if not (peer.folder / "many").exists():
            raise SystemExit("make the many partitions first")
        collection = peer.open("many")
        began = begin()
        if case == "one":
            peer.load(collection, ["a"])
        elif case == "above":
            assert peer.above(collection, partitions * 10 - 51) == 50
        else:
            assert peer.partitions(collection) == partitions
    elif case == "many":
        data = tiny(partitions)
        collection = peer.create("many", data, "day")
        began = begin()
        peer.insert(collection, data, False)
        collection.set_statistics(["a"])
    elif case == "insert":
        data = year(kind, megabytes)
        collection = peer.create(name, data, "month")
        began = begin()
        peer.insert(collection, data, False)
    elif case == "repository":
        data = year(kind, megabytes)
        collection = peer.create_repository(f"{name}-repository", data)
        began = begin()
        peer.insert(collection, data, False)
    elif case in ("view", "through", "index", "pass"):
        began = begin()
        if case == "view":
            peer.fill_view(name)
        elif case == "through":
            peer.load_view(name)
        elif case == "index":
            peer.index(name)
        else:
            assert peer.load_pass(name, 5000) > 0
    elif case in ("merge", "again"):
        data = month(kind, megabytes // 30)
        collection = peer.open(name)
        began = begin()
        peer.insert(collection, data, True)
    elif case == "update":
        collection = peer.open(name)
        began = begin()
        peer.update(collection)
    else:
        collection = peer.open(name)
        began = begin()
        peer.load(collection, None)
    return time.perf_counter() - began


def on_a_cluster(name: str, kind: str, folder: Path, megabytes: int) -> float:
    """An insert of what two workers read."""
    from distributed import Client, LocalCluster

    options = {"threads_per_worker": 1, "dashboard_address": None, "memory_limit": 0}
    with LocalCluster(n_workers=2, **options) as cluster, Client(cluster) as client:
        peer = PEERS[name](folder, client)
        data = from_files(kind, folder / "blocks", megabytes)
        collection = peer.create(f"{name}-cluster", data, "month")
        client.run(importlib.import_module, name)
        began = begin()
        peer.insert(collection, data, False)
        return time.perf_counter() - began


def main() -> None:
    name, case, kind, folder, megabytes, partitions = sys.argv[1:]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if case == "cluster":
        seconds = on_a_cluster(name, kind, Path(folder), int(megabytes))
    else:
        peer = PEERS[name](Path(folder))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        seconds = measure(peer, name, case, kind, int(megabytes), int(partitions))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({"seconds": seconds, "peak": peak * 1024, "before": before * 1024}))


if __name__ == "__main__":
    main()
