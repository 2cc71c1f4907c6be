"""Programs written for ZCollection, given the module to run them with.

The tests run them with ``partita.compat.zcollection``. Run as a program by the Python of a virtual
environment with ZCollection, this file runs them with the library itself, and prints what each
returns:

    python tests/zcollection_programs.py > tests/golden/zcollection-programs.json
"""

from __future__ import annotations

import datetime
import json
import os
import sys
import tempfile
import warnings
from typing import Any

import numcodecs
import numpy as np

from zcollection_surroundings import elsewhere, files, periods, sections

FILL = 2147483647
DATES = np.arange(
    np.datetime64("2000-01-01", "ns"), np.datetime64("2000-06-30", "ns"), np.timedelta64(72, "h")
)


def plain(value: Any) -> Any:
    """Any result of a program, as JSON types."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, slice):
        return [plain(value.start), plain(value.stop)]
    if isinstance(value, np.ma.MaskedArray):
        return plain(value.astype(object).filled(None))
    if isinstance(value, (np.ndarray, np.generic)):
        kind = value.dtype.kind
        return np.asarray(value.astype(str) if kind in "Mm" else value).tolist()
    return value


def error_of(function: Any, *args: Any, **kwargs: Any) -> list[str]:
    """The class of the error that a call raises, as far as programs can rely on it, and its
    message."""
    try:
        function(*args, **kwargs)
    except Exception as error:
        known = (c for c in type(error).__mro__ if c.__module__ in ("builtins", "io", "_io"))
        return [next(known).__name__, str(error)]
    return ["", ""]


def measurements(zc: Any, delayed: bool = True) -> Any:
    """Measurements every three days, of which every other one is missing."""
    values = np.arange(len(DATES), dtype="f8")
    values[values % 2 == 0] = FILL
    values = np.vstack((values,) * 4).T * 1e-4
    kind = zc.DelayedArray if delayed else zc.Array
    attributes = (zc.Attribute("attr", 1),)
    packed = numcodecs.FixedScaleOffset(scale=10000, offset=0, dtype="<f8", astype="i4")
    lines = ("num_lines", "num_pixels")
    both = {"attrs": attributes, "fill_value": FILL * 1e-4, "filters": (packed,)}
    return zc.Dataset(
        [
            kind("time", DATES, lines[:1], attrs=attributes, compressor=numcodecs.Blosc()),
            kind("var1", values, lines, **both),
            kind("var2", values, lines, **both),
        ],
        attrs=attributes,
    )


def monthly(zc: Any, directory: str, **options: Any) -> Any:
    """A collection of the measurements, partitioned by month."""
    data = measurements(zc)
    handler = zc.partitioning.Date(("time",), resolution="M")
    path = os.path.join(directory, "monthly")
    collection = zc.create_collection("time", data, handler, path, **options)
    collection.insert(data)
    return collection


def series(zc: Any, days: list[int], value: float) -> Any:
    """Rows on days of January 2000, all with one value."""
    times = np.datetime64("2000-01-01", "ns") + np.array(days) * np.timedelta64(24, "h")
    return zc.Dataset(
        [
            zc.Array("time", times, ("n",)),
            zc.Array("v", np.full(len(days), value), ("n",)),
        ]
    )


def overview(zc: Any, directory: str) -> Any:
    """The collection examples of the documentation."""
    collection = monthly(zc, directory)
    found: list[Any] = [collection.metadata.get_config()]
    found.append(sorted(os.listdir(os.path.join(directory, "monthly", "year=2000"))))
    found.append(collection.load().dimensions)
    found.append(collection.load(filters="year == 2000 and month == 2")["var1"].values)
    near = collection.load(
        filters=lambda keys: (
            datetime.date(2000, 2, 15)
            <= datetime.date(keys["year"], keys["month"], 1)
            <= datetime.date(2000, 3, 15)
        )
    )
    found.append(near["time"].values)
    found.append(collection.load(filters="year == 2002 and month == 2"))
    collection.drop_variable("var2")
    found.append(sorted(collection.load().variables))
    found.append(error_of(collection.drop_variable, "time"))
    collection.add_variable(measurements(zc).metadata().variables["var2"])
    found.append(collection.load()["var2"].values)
    collection.update(lambda ds: {"var2": ds.variables["var1"].values * 0 + 1})
    found.append(collection.load()["var2"].values)
    mapped = collection.map(lambda ds: ds["var1"].values + ds["var2"].values).compute()
    found.append([(partition, round(float(array.mean()), 6)) for partition, array in mapped])
    return found


def filters(zc: Any, directory: str) -> Any:
    """Selection of partitions in every way."""
    collection = monthly(zc, directory)
    texts = [
        "month % 2 == 0",
        "month in range(2, 4)",
        "month in (1, 6) or year < 2000",
        "not 2 <= month <= 5",
        "month",
        "year - 1999 == month",
        "month == (2 if year == 2000 else 3)",
    ]
    found = {text: list(collection.partitions(filters=text, relative=True)) for text in texts}
    found["function"] = list(collection.partitions(filters=lambda k: k["month"] > 4, relative=True))
    found["cache"] = list(
        collection.partitions(cache=list(collection.partitions())[:3], filters="month > 1")
    )
    found["cache"] = [os.path.basename(path) for path in found["cache"]]
    for text in ("day == 1", "month.real == 1", "month ==", ""):
        error = error_of(lambda text=text: list(collection.partitions(filters=text)))
        found[f"error {text}"] = error[:1] if error[0] == "SyntaxError" else error
    return found


def merging(zc: Any, directory: str) -> Any:
    """Inserting into partitions that have rows."""
    found = {}

    def newest(existing: Any, inserted: Any, axis: str, dim: str, **kwargs: Any) -> Any:
        rows = existing.isel({dim: slice(0, kwargs["keep"])})
        return rows.concat(inserted, dim)

    cases = {
        "replace": (None, {}),
        "series": (zc.merging.merge_time_series, {}),
        "tolerance": (zc.merging.merge_time_series, {"tolerance": np.timedelta64(48, "h")}),
        "function": (newest, {"keep": 2}),
    }
    new = {"inside": [2, 3], "gap": [2, 7], "before": [-1, 0], "over": [7, 8, 9], "all": [0, 9]}
    for name, (merge, kwargs) in cases.items():
        for where, days in new.items():
            days = [day + 5 for day in days]
            first = series(zc, list(range(6, 13)), 1.0)
            path = os.path.join(directory, name + where)
            collection = zc.create_collection(
                "time", first, zc.partitioning.Date(("time",), "M"), path
            )
            collection.insert(first)
            collection.insert(series(zc, days, 2.0), merge_callable=merge, **kwargs)
            data = collection.load(delayed=False)
            found[f"{name} {where}"] = [data["time"].values, data["v"].values]
    both = zc.merging.merge_time_series(
        series(zc, [1, 2, 3, 9], 1.0), series(zc, [2, 3, 4], 2.0), "time", "n"
    )
    found["called"] = [both["time"].values, both["v"].values]
    return found


def updates(zc: Any, directory: str) -> Any:
    """Functions over partitions and their neighbours."""
    collection = monthly(zc, directory)
    found: list[Any] = []

    def scaled(ds: Any, factor: float, shift: float = 0.0) -> Any:
        return {"var2": ds["var1"].values * factor + shift}

    collection.update(scaled, 2.0, shift=0.5)
    found.append(collection.load(delayed=False)["var2"].values)
    collection.update(scaled, 3.0, filters="month == 2", variables=["var2"], delayed=False)
    found.append(collection.load(filters="month < 4")["var2"].values)

    def counted(ds: Any, partition_info: Any) -> Any:
        dimension, rows = partition_info
        size = ds.dimensions[dimension]
        return {"var2": np.full((size, 4), rows.start + size / 100)}

    collection.update(counted, depth=1)
    found.append(collection.load()["var2"].values[::7, 0])
    collection.update(counted, depth=1, filters="month in (1, 2, 4, 5)")
    found.append(collection.load()["var2"].values[::7, 0])

    def own(ds: Any, partition_info: Any) -> Any:
        return {"var2": ds["var1"].values[partition_info[1]] * 0 + 7}

    collection.update(own, depth=1, trim=False)
    found.append(collection.load()["var2"].values[:9, 0])

    def around(ds: Any, partition_info: Any) -> Any:
        return partition_info[0], partition_info[1], ds["time"].values[[0, -1]]

    found.append(collection.map_overlap(around, depth=1, filters="month != 3").compute())
    found.append(collection.map_overlap(lambda ds: ds.dimensions["num_lines"], depth=2).compute())
    one = collection.map(
        lambda ds: sorted(ds.variables), selected_variables=["var1"], delayed=False
    )
    found.append(one.compute())
    return found


def failures(zc: Any, directory: str) -> Any:
    """Invalid calls, and their errors."""
    data = measurements(zc)
    handler = zc.partitioning.Date(("time",), "M")
    collection = monthly(zc, directory)
    path = collection.partition_properties.dir
    reader = zc.open_collection(path)
    variable = zc.meta.Variable
    other = zc.Dataset([zc.DelayedArray("extra", DATES, ("num_lines",))])
    found = {
        "exists": error_of(zc.create_collection, "time", data, handler, directory)[:1],
        "axis": error_of(zc.create_collection, "absent", data, handler, path + "1"),
        "key": error_of(
            zc.create_collection, "time", data, zc.partitioning.Date(("t",), "M"), path + "1"
        ),
        "open": error_of(zc.open_collection, "/nowhere/at/all"),
        "mode": error_of(zc.open_collection, path, mode="x"),
        "extra": error_of(collection.insert, other),
        "positive": error_of(collection.insert, data, npartitions=0),
        "validate": error_of(collection.insert, zc.Dataset(data.variables.values()), validate=True),
        "callable map": error_of(collection.map, 1),
        "callable update": error_of(collection.update, 1),
        "unknown": error_of(collection.update, lambda ds: {"absent": ds["var1"].values}),
        "drop": error_of(collection.drop_variable, "absent"),
        "add twice": error_of(
            collection.add_variable, variable("var1", "f8", dimensions=("num_lines",))
        ),
        "add without": error_of(collection.add_variable, variable("x", "f8", dimensions=("x",))),
        "add unknown": error_of(
            collection.add_variable, variable("x", "f8", dimensions=("num_lines", "x"))
        ),
        "reader insert": error_of(reader.insert, data),
        "reader drop": error_of(reader.drop_partitions),
        "reader add": error_of(reader.add_variable, variable("x", "f8", dimensions=("num_lines",))),
        "raises": error_of(collection.update, lambda ds: {}[1])[:1],
        "resolution": error_of(zc.partitioning.Date, ("time",), "W"),
        "variables": error_of(zc.partitioning.Date, ("a", "b"), "M"),
        "no variables": error_of(zc.partitioning.Sequence, ()),
        "dtype": error_of(zc.partitioning.Sequence, ("a",), ("int63",)),
        "parse": error_of(handler.parse, "cycle=1"),
    }
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        collection.update(lambda ds: {}, filters="year == 1")
    found["warning"] = [
        (w.category.__name__, str(w.message)) for w in caught if w.category is RuntimeWarning
    ]
    return found


def upkeep(zc: Any, directory: str) -> Any:
    """All other operations of a collection."""
    collection = monthly(zc, directory, synchronizer=zc.sync.ProcessSync(directory + "/lock"))
    found: list[Any] = []
    copy = collection.copy(
        os.path.join(directory, "copy"), filters="month < 4", filesystem=collection.fs
    )
    found.append(
        [copy.mode, list(copy.partitions(relative=True)), copy.metadata == collection.metadata]
    )
    found.append([collection.axis, collection.immutable, collection.is_readonly(), collection.mode])
    found.append(collection.partition_properties.dim)
    found.append([type(variable).__name__ + variable.name for variable in collection.variables()])
    found.append([variable.shape for variable in collection.variables(["var1"])])
    found.append([(path, sorted(group)) for path, group in copy.iterate_on_records(relative=True)])
    found.append(list(copy.validate_partitions()))
    gone = copy.drop_partitions(filters="month == 2")
    found.append([os.path.relpath(path, os.path.join(directory, "copy")) for path in gone])
    found.append(list(copy.drop_partitions(timedelta=datetime.timedelta(days=1))))
    found.append(list(copy.partitions(relative=True, lock=True)))
    found.append(len(list(copy.drop_partitions())))
    found.append(copy.load())
    selected = collection.load(selected_variables=["var1", "absent"], delayed=False)
    found.append([sorted(selected.variables), selected.delayed])
    found.append(
        collection.load(indexer=[((("year", 2000), ("month", 2)), slice(1, 3))])["time"].values
    )
    return found


def immutable(zc: Any, directory: str) -> Any:
    """Variables that all partitions share."""
    times = np.arange("2000-01-01", "2000-01-05", dtype="M8[D]").astype("M8[us]")
    data = zc.Dataset(
        [
            zc.Array("time", times, ("time",)),
            zc.Array("lon", np.arange(3), ("lon",)),
            zc.Array("grid", np.arange(12.0).reshape(4, 3), ("time", "lon")),
        ],
        attrs=(zc.Attribute("history", "made up"),),
    )
    handler = zc.partitioning.Date(("time",), "D")
    collection = zc.create_collection("time", data, handler, os.path.join(directory, "c"))
    collection.insert(data)
    collection.update(
        lambda ds: {"grid": ds["grid"].values * ds["lon"].values},
        delayed=False,
        variables=["grid"],
    )
    loaded = collection.load()
    found: list[Any] = [collection.immutable, loaded.to_dict(["grid", "lon"])]
    found.append([attribute.get_config() for attribute in loaded.attrs])
    found.append(error_of(collection.drop_variable, "lon"))
    return found


def sequences(zc: Any, directory: str) -> Any:
    """Partitions by the values of integers, and by the parts of dates."""
    data = zc.Dataset(
        [
            zc.Array("cycle", np.repeat([1, 2, 10], 4), ("n",)),
            zc.Array("pass", np.tile([1, 1, 2, 20], 3), ("n",)),
            zc.Array("v", np.arange(12.0), ("n",)),
        ]
    )
    handler = zc.partitioning.Sequence(("cycle", "pass"))
    collection = zc.create_collection("v", data, handler, os.path.join(directory, "c"))
    collection.insert(data)
    found: list[Any] = [list(collection.partitions(relative=True))]
    found.append(collection.load(filters="cycle == 10")["v"].values)
    found.append([(names, rows) for names, rows in handler.split_dataset(data, "n")])
    found.append(handler.get_config())
    found.append([handler.dtype(), len(handler), handler.encode((("cycle", 2), ("pass", 3)))])
    found.append([handler.decode((2, 3)), handler.parse("a/cycle=2/pass=3")])
    for resolution in ("Y", "M", "D", "h", "m", "s"):
        date = zc.partitioning.Date(("time",), resolution)
        key = date.decode((np.datetime64("2000-02-03T04:05:06"),))
        found.append([key, str(date.encode(key)[0]), date.join(key, "/"), date.dtype()])
    dates = zc.partitioning.Date(("time",), "M")
    rows = dates.split_dataset(measurements(zc, delayed=False), "num_lines")
    found.append(list(rows))
    found.append(list(handler.list_partitions(collection.fs, os.path.join(directory, "c"))))
    config = dates.get_config()
    again = zc.partitioning.get_codecs(dict(config))
    found.append([config, again.get_config() == config])
    found.append(error_of(zc.partitioning.get_codecs, {"id": "Unknown"}))
    unordered = zc.Dataset([zc.Array("cycle", np.array([2, 1]), ("n",))])
    split = zc.partitioning.Sequence(("cycle",)).split_dataset
    found.append(error_of(lambda: list(split(unordered, "n"))))
    return found


def datasets(zc: Any, directory: str) -> Any:
    """Datasets and variables without a collection."""
    found: list[Any] = []
    for delayed in (True, False):
        data = measurements(zc, delayed)
        found.append([data.dimensions, data.nbytes, data.delayed, len(data), bool(data)])
        found.append(data.isel({"num_lines": slice(0, 3)})["var1"].values)
        found.append(data.delete(slice(0, 59), "num_lines").to_dict(["var1"]))
        found.append(data.concat(data, "num_lines").dimensions)
        found.append(data.select_vars("time").metadata().get_config())
        found.append(sorted(data.select_variables_by_dims(("num_pixels",)).variables))
        found.append(data.compute().delayed)
        decoded = data.to_xarray(decode_times=False)
        found.append([list(decoded.sizes.items()), float(decoded.var1.sum())])
        again = zc.Dataset.from_xarray(decoded, delayed=delayed)
        found.append([again.dimensions, again["var1"].fill_value])
        formula = zc.Expression("abs(var1 - 1) + max(var2) * pi")
        found.append(float(formula(data).sum().compute()))
        found.append(error_of(zc.Expression("absent + 1"), data))
        data.rename({"var2": "var3"})
        data.drops_vars(["var1"])
        data.add_variable(zc.meta.Variable("w", "f8", dimensions=("num_lines",), fill_value=2.5))
        found.append([list(data.variables), data["w"].values[:2]])
        variable = data["var3"]
        variable.values = variable.array[::-1]
        found.append(variable.values[:2])
        found.append([variable.shape, variable.ndim, variable.size, variable.nbytes])
        found.append(variable.fill().values[:1])
        found.append(error_of(data.isel, {"absent": 1}))
        found.append(error_of(data.rename, {"w": "time"}))
    first, second = zc.Array("a", np.arange(2), ("x",)), zc.Array("b", np.arange(3), ("x",))
    found.append(error_of(zc.Dataset, [first, second]))
    lazy = zc.DelayedArray("b", np.arange(2), ("x",))
    found.append(error_of(zc.Dataset, [first, lazy]))
    return found


def indexing(zc: Any, directory: str) -> Any:
    """The index examples of the documentation: half orbits of a satellite."""
    dates = np.datetime64("2000-01-01", "ns") + np.arange(2000) * np.timedelta64(53, "m")
    passes, cycles = np.arange(2000) // 25 % 10 + 1, np.arange(2000) // 250 + 1
    data = zc.Dataset(
        [
            zc.Array("time", dates, ("n",)),
            zc.Array("cycle_number", cycles.astype("u2"), ("n",)),
            zc.Array("pass_number", passes.astype("u2"), ("n",)),
            zc.Array("v", np.arange(2000.0), ("n",)),
        ]
    )
    handler = zc.partitioning.Date(("time",), "M")
    collection = zc.create_collection("time", data, handler, os.path.join(directory, "c"))
    collection.insert(data, merge_callable=zc.merging.merge_time_series)

    class HalfOrbits(zc.indexing.Indexer):
        def dtype(self, **kwargs: Any) -> Any:
            return super().dtype() + [("cycle_number", "uint16"), ("pass_number", "uint16")]

        @classmethod
        def create(cls, path: Any, zds: Any, filesystem: Any = None, **kwargs: Any) -> Any:
            return super()._create(path, zds, meta={"attribute": b"value"}, filesystem=filesystem)

        def update(
            self, zds: Any, partition_size: Any = None, npartitions: Any = None, **kwargs: Any
        ):
            super()._update(zds, self.half_orbits, partition_size, npartitions, **kwargs)

        def half_orbits(self, zds: Any) -> Any:
            cycle, number = zds["cycle_number"].values, zds["pass_number"].values
            starts = [0, *np.flatnonzero(np.diff(number) | np.diff(cycle)) + 1]
            rows = [
                (start, stop, cycle[start], number[start])
                for start, stop in zip(starts, [*starts[1:], len(number)], strict=True)
            ]
            return np.array(rows, np.dtype(self.dtype()))

    path = os.path.join(directory, "index.parquet")
    indexer = HalfOrbits.create(path, collection)
    found: list[Any] = [error_of(lambda: indexer.table)]
    indexer.update(collection)
    indexer.update(collection, filters="month == 2")
    found.append([indexer.table.column_names, list(map(str, indexer.table.schema.types))])
    found.append([len(indexer.table), {k: v.decode() for k, v in indexer.meta.items()}])
    again = HalfOrbits.open(path)
    queries = [
        {"pass_number": [1, 2]},
        {"pass_number": 3, "cycle_number": 4},
        {"pass_number": 300},
        {"cycle_number": [2, 3], "month": 2},
        {},
    ]
    for columns in queries:
        found.append([(dict(key), rows) for key, rows in again.query(columns)])
        selection = collection.load(indexer=again.query(columns), delayed=False)
        found.append(None if selection is None else selection["v"].values)
    either = again.query({"pass_number": 3, "cycle_number": 4}, logical_op="or")
    found.append([(dict(key), rows) for key, rows in either])
    wide = again.query({"pass_number": 3, "cycle_number": 4}, only_partition_keys=False)
    found.append([(dict(key), rows) for key, rows in wide])
    found.append(error_of(again.query, {"pass_number": 1}, logical_op="nor"))
    found.append(error_of(again.query, {"absent": 1}))
    return found


def views(zc: Any, directory: str) -> Any:
    """The view examples of the documentation, including updates of the base."""
    collection = monthly(zc, directory)
    base, path = os.path.join(directory, "monthly"), os.path.join(directory, "view")
    view = zc.create_view(path, zc.ViewReference(base), filters="month < 6")
    found: list[Any] = [error_of(view.load), sorted(os.listdir(path))]
    found.append(error_of(zc.create_view, path, zc.ViewReference(base)))
    found.append(error_of(zc.open_view, path + "1"))
    description = measurements(zc).metadata().variables["var2"]
    description.name = "var3"
    view.add_variable(description)
    found.append(error_of(view.add_variable, description))
    found.append(sorted(os.listdir(os.path.join(path, "year=2000", "month=02"))))
    found.append([os.path.relpath(part, path) for part in view.partitions(filters="month > 3")])
    found.append(view.load(filters="month == 2")["var3"].values)
    view.update(lambda ds: {"var3": ds["var1"].values * 0 + 1})
    view = zc.open_view(path)
    found.append(view.load(delayed=False)["var3"].values)
    found.append(error_of(view.update, lambda ds: {"var2": ds["var2"].values * 0}))
    found.append(error_of(view.update, lambda ds: {"var4": ds["var2"].values * 0}))
    found.append([error_of(view.drop_variable, "var2"), error_of(view.drop_variable, "var4")])
    found.append([variable.name for variable in view.variables()])

    def counted(ds: Any, partition_info: Any) -> Any:
        rows = partition_info[1]
        return {"var3": np.full((ds.dimensions["num_lines"], 4), rows.start + rows.stop / 100)}

    view.update(counted, depth=1, filters="month != 3")
    found.append(view.load()["var3"].values[::7, 0])
    mapped = view.map(lambda ds: float((ds["var1"].values + ds["var3"].values).sum())).compute()
    found.append([(key, round(value, 6)) for key, value in mapped])
    around = view.map_overlap(lambda ds, partition_info: partition_info, depth=1).compute()
    found.append(around)
    rows = [((("year", 2000), ("month", 2)), slice(1, 3))]
    found.append(view.load(indexer=rows)["var3"].values)
    selected = view.load(selected_variables=["var1", "var3"], delayed=False)
    found.append([sorted(selected.variables), selected["var1"].shape])
    found.append(view.is_synced())
    more = measurements(zc, delayed=False)
    shifted = zc.Array("time", DATES[-20:] + np.timedelta64(24, "h"), ("num_lines",))
    more = more.isel({"num_lines": slice(41, 61)})
    more.variables["time"] = shifted
    collection.insert(more, merge_callable=zc.merging.merge_time_series)
    view = zc.open_view(path)
    selects = view.sync()
    found.append([month for month in range(1, 8) if selects({"year": 2000, "month": month})])
    found.append([view.is_synced(), view.load()["var3"].values[::5, 0]])
    view.drop_variable("var3")
    found.append([variable.name for variable in view.variables()])
    return found


PROGRAMS = {
    program.__name__: program
    for program in (
        overview,
        filters,
        merging,
        updates,
        failures,
        upkeep,
        immutable,
        sequences,
        datasets,
        indexing,
        views,
        periods,
        files,
        sections,
        elsewhere,
    )
}


def run(name: str, zc: Any) -> Any:
    """The result of a program, as JSON types."""
    with tempfile.TemporaryDirectory() as directory:
        found = plain(PROGRAMS[name](zc, directory))
    text = json.dumps(found).replace(directory, "DIRECTORY")
    return json.loads(text)


if __name__ == "__main__":
    import dask.distributed
    import zcollection
    import zcollection.dask_utils
    import zcollection.fs_utils
    import zcollection.merging.period
    import zcollection.meta
    import zcollection.sync

    warnings.simplefilter("ignore")
    import zcollection.indexing

    # This needs pyarrow, which not every environment has.
    if not hasattr(zcollection.indexing, "Indexer"):
        del PROGRAMS["indexing"]
    wanted = [name for name in sys.argv[1:] or PROGRAMS if name in PROGRAMS]
    with dask.distributed.Client(processes=False, dashboard_address=None):
        found = [f"{json.dumps(name)}: {json.dumps(run(name, zcollection))}" for name in wanted]
    print("{" + ",\n".join(found) + "}")
