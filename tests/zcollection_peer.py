"""ZCollection in a separate process and virtual environment, for the tests of interoperability.

Imported by a test, this file has the side that asks. Run as a program by the Python of a virtual
environment with ZCollection, it has the side that answers: requests and answers are lines of JSON,
arrays lie in files beside.

    python tests/zcollection_peer.py DIRECTORY
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import subprocess
import sys
import traceback
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["Arrays", "Peer", "PeerError", "Variable"]


@dataclasses.dataclass
class Variable:
    """A variable with its data; codecs are configurations of numcodecs."""

    dimensions: tuple[str, ...]
    data: np.ndarray
    fill_value: Any = None
    compressor: dict[str, Any] | None = None
    filters: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    attributes: dict[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class Arrays:
    """Variables by name."""

    variables: dict[str, Variable]
    attributes: dict[str, Any] = dataclasses.field(default_factory=dict)
    chunks: dict[str, int] = dataclasses.field(default_factory=dict)

    def save(self, directory: str, name: str) -> dict[str, Any]:
        """Writes the data to a file in the directory; returns the rest as JSON types."""
        stored: dict[str, np.ndarray] = {}
        variables = {}
        for number, (key, variable) in enumerate(self.variables.items()):
            texts = variable.data.dtype == object
            fill = variable.fill_value
            if not texts:
                stored[f"data{number}"] = variable.data
                if fill is not None:
                    stored[f"fill{number}"] = np.asarray(fill, variable.data.dtype)
            variables[key] = {
                "dimensions": variable.dimensions,
                "texts": variable.data.tolist() if texts else None,
                "fill": fill if texts else None,
                "compressor": variable.compressor,
                "filters": variable.filters,
                "attributes": variable.attributes,
            }
        path = os.path.join(directory, name)
        np.savez(path, **stored)
        return {
            "file": path + ".npz",
            "variables": variables,
            "attributes": self.attributes,
            "chunks": self.chunks,
        }

    @staticmethod
    def take(saved: dict[str, Any]) -> Arrays:
        """Loads the data described by `save`; the file is removed."""
        variables = {}
        with np.load(saved["file"]) as stored:
            for number, (key, described) in enumerate(saved["variables"].items()):
                fill = described["fill"]
                if described["texts"] is not None:
                    data = np.array(described["texts"], dtype=object)
                else:
                    data = stored[f"data{number}"]
                    if f"fill{number}" in stored:
                        fill = stored[f"fill{number}"][()]
                variables[key] = Variable(
                    tuple(described["dimensions"]),
                    data,
                    fill,
                    described["compressor"],
                    described["filters"],
                    described["attributes"],
                )
        os.remove(saved["file"])
        return Arrays(variables, saved["attributes"], saved["chunks"])


class PeerError(Exception):
    """An exception raised by ZCollection."""


class Peer:
    """The test's handle of the process. Its methods are those of `Library`."""

    def __init__(self, python: Path, directory: Path) -> None:
        self._directory = str(directory)
        self._numbers = itertools.count()
        self._complaints = (directory / "stderr").open("w+")
        self._process = subprocess.Popen(
            [str(python), __file__, self._directory],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._complaints,
            text=True,
        )
        self.version: str = self._answer()

    def _answer(self) -> Any:
        line = self._process.stdout.readline()
        if not line:
            self._complaints.seek(0)
            raise PeerError("the process ended: " + self._complaints.read())
        answer = json.loads(line)
        if "error" in answer:
            raise PeerError(answer["error"])
        found = answer["found"]
        return Arrays.take(found) if isinstance(found, dict) and "file" in found else found

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or not hasattr(Library, name):
            raise AttributeError(name)

        def call(*arguments: Any, **options: Any) -> Any:
            request = {"method": name, "arguments": [], "options": {}}
            for argument in arguments:
                request["arguments"].append(self._sent(argument))
            for key, argument in options.items():
                request["options"][key] = self._sent(argument)
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            return self._answer()

        return call

    def _sent(self, argument: Any) -> Any:
        if isinstance(argument, Arrays):
            return argument.save(self._directory, f"request{next(self._numbers)}")
        return os.fspath(argument) if isinstance(argument, os.PathLike) else argument

    def close(self) -> None:
        """Ends the process."""
        self._process.stdin.close()
        self._process.wait(timeout=60)
        self._complaints.close()


class Library:
    """The implementation inside the process."""

    def __init__(self, directory: str) -> None:
        import dask
        import dask.distributed
        import numcodecs
        import zcollection

        dask.config.set({"distributed.worker.memory.terminate": False})
        self._client = dask.distributed.Client(
            processes=False, n_workers=1, threads_per_worker=2, dashboard_address=None
        )
        self._directory = directory
        self._library = zcollection
        self._numcodecs = numcodecs
        self._numbers = itertools.count()

    def create(self, path: str, axis: str, partitioning: dict[str, Any], arrays: Arrays) -> None:
        """Creates a collection without rows."""
        kinds = self._library.partitioning
        variables = tuple(partitioning["variables"])
        if partitioning["id"] == "Date":
            handler = kinds.Date(variables, partitioning["resolution"])
        else:
            handler = kinds.Sequence(variables)
        self._library.create_collection(axis, self._dataset(arrays), handler, path)

    def insert(
        self, path: str, arrays: Arrays, merge: bool = False, tolerance: int | None = None
    ) -> None:
        """Inserts rows; the tolerance of a merge is a number of seconds."""
        options: dict[str, Any] = {}
        if merge:
            options["merge_callable"] = self._library.merging.merge_time_series
        if tolerance is not None:
            options["tolerance"] = np.timedelta64(tolerance, "s")
        list(self._open(path, "w").insert(self._dataset(arrays), **options))

    def load(
        self,
        path: str,
        filters: str | None = None,
        variables: list[str] | None = None,
        delayed: bool = False,
    ) -> dict[str, Any] | None:
        """Reads partitions; arrays have their stored values, without masks."""
        dataset = self._open(path, "r").load(
            filters=filters, selected_variables=variables, delayed=delayed
        )
        if dataset is None:
            return None
        return self._arrays(dataset.compute() if delayed else dataset)

    def partitions(self, path: str, filters: str | None = None) -> list[str]:
        """The paths of partitions, in the order of the listing."""
        return list(self._open(path, "r").partitions(filters=filters, relative=True))

    def unreadable(self, path: str) -> list[str]:
        """The partitions that ZCollection's own check reports as invalid."""
        return list(self._open(path, "r").validate_partitions())

    def scale(self, path: str, name: str, factor: float, filters: str | None = None) -> None:
        """Multiplies a variable in place."""

        def function(dataset: Any) -> dict[str, Any]:
            return {name: dataset.variables[name].values * factor}

        function.__name__ = f"scale{next(self._numbers)}"
        self._open(path, "w").update(function, filters=filters, variables=[name])

    def add_variable(self, path: str, arrays: Arrays) -> None:
        """Adds the variable that the arrays describe, filled."""
        (variable,) = self._dataset(arrays).metadata().variables.values()
        self._open(path, "w").add_variable(variable)

    def drop_variable(self, path: str, name: str) -> None:
        """Removes a variable."""
        self._open(path, "w").drop_variable(name)

    def drop_partitions(self, path: str, filters: str) -> None:
        """Removes partitions."""
        self._open(path, "w").drop_partitions(filters=filters)

    def create_view(self, path: str, base: str, arrays: Arrays, filters: str | None = None) -> None:
        """Creates a view with the variables that the arrays describe, filled."""
        reference = self._library.ViewReference(base)
        view = self._library.create_view(path, reference, filters=filters)
        for variable in self._dataset(arrays).metadata().variables.values():
            view.add_variable(variable)

    def load_view(self, path: str, filters: str | None = None) -> dict[str, Any] | None:
        """Reads partitions of a view."""
        dataset = self._library.open_view(path).load(filters=filters, delayed=False)
        return None if dataset is None else self._arrays(dataset)

    def update_view(self, path: str, name: str, source: str, factor: float) -> None:
        """Sets a variable of a view to a multiple of another one."""

        def function(dataset: Any) -> dict[str, Any]:
            return {name: dataset.variables[source].values * factor}

        function.__name__ = f"update{next(self._numbers)}"
        self._library.open_view(path).update(function)

    def is_synced(self, path: str) -> bool:
        """Whether a view has the same rows as its base."""
        return bool(self._library.open_view(path).is_synced())

    def sync_view(self, path: str) -> None:
        """Updates a view to the rows of its base."""
        self._library.open_view(path).sync()

    def view_filters(self, path: str) -> Any:
        """The stored condition of a view."""
        return self._library.open_view(path).filters

    def build_index(self, path: str, file: str) -> None:
        """Creates or updates an index of the runs of equal values of the variable `cycle`."""
        kind = self._cycles()
        collection = self._open(path, "r")
        known = kind.open(file) if os.path.exists(file) else kind.create(file, collection)
        known.update(collection)

    def query_index(self, file: str, columns: dict[str, Any]) -> list[list[Any]]:
        """The result of an index query: keys with the ends of slices."""
        return [
            [{name: int(value) for name, value in key}, int(rows.start), int(rows.stop)]
            for key, rows in self._cycles().open(file).query(columns)
        ]

    def load_indexed(self, path: str, file: str, columns: dict[str, Any]) -> Any:
        """The rows that an index finds."""
        index = self._cycles().open(file)
        dataset = self._open(path, "r").load(indexer=index.query(columns), delayed=False)
        return None if dataset is None else self._arrays(dataset)

    def _cycles(self) -> Any:
        import zcollection.indexing

        class Cycles(zcollection.indexing.Indexer):
            def dtype(self, **kwargs: Any) -> Any:
                return [*super().dtype(), ("cycle", "uint16")]

            @classmethod
            def create(cls, path: Any, zds: Any, filesystem: Any = None, **kwargs: Any) -> Any:
                return super()._create(path, zds, meta={"made by": b"them"}, filesystem=filesystem)

            def update(
                self, zds: Any, partition_size: Any = None, npartitions: Any = None, **kwargs: Any
            ) -> None:
                super()._update(zds, self.runs, partition_size, npartitions, **kwargs)

            def runs(self, zds: Any) -> Any:
                cycle = zds["cycle"].values
                starts = [0, *np.flatnonzero(np.diff(cycle)) + 1]
                rows = [
                    (start, stop, cycle[start])
                    for start, stop in zip(starts, [*starts[1:], len(cycle)])  # noqa: B905
                ]
                return np.array(rows, np.dtype(self.dtype()))

        return Cycles

    def _open(self, path: str, mode: str) -> Any:
        return self._library.open_collection(path, mode=mode)

    def _dataset(self, arrays: Arrays) -> Any:
        library = self._library

        def attributes(given: dict[str, Any]) -> tuple[Any, ...]:
            return tuple(library.Attribute(name, value) for name, value in given.items())

        codec = self._numcodecs.get_codec
        variables = [
            library.Array(
                name,
                one.data,
                one.dimensions,
                attrs=attributes(one.attributes),
                compressor=None if one.compressor is None else codec(one.compressor),
                fill_value=one.fill_value,
                filters=tuple(codec(config) for config in one.filters),
            )
            for name, one in arrays.variables.items()
        ]
        return library.Dataset(
            variables,
            attrs=attributes(arrays.attributes),
            chunks=[library.meta.Dimension(name, size) for name, size in arrays.chunks.items()],
        )

    def _arrays(self, dataset: Any) -> dict[str, Any]:
        variables = {
            name: Variable(
                one.dimensions,
                np.asarray(one.array),
                one.fill_value,
                None if one.compressor is None else one.compressor.get_config(),
                [codec.get_config() for codec in one.filters or ()],
                dict(attribute.get_config() for attribute in one.attrs),
            )
            for name, one in dataset.variables.items()
        }
        attributes = dict(attribute.get_config() for attribute in dataset.attrs)
        return Arrays(variables, attributes).save(self._directory, f"answer{next(self._numbers)}")


def _taken(argument: Any) -> Any:
    is_arrays = isinstance(argument, dict) and "file" in argument
    return Arrays.take(argument) if is_arrays else argument


def _main(directory: str) -> None:
    # Other output must not appear between the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    library = Library(directory)
    json.dump({"found": library._library.__version__}, answers)
    for line in itertools.chain([None], sys.stdin):
        if line is not None:
            request = json.loads(line)
            try:
                arguments = [_taken(argument) for argument in request["arguments"]]
                options = {key: _taken(value) for key, value in request["options"].items()}
                found = getattr(library, request["method"])(*arguments, **options)
                answer = {"found": found}
            except Exception:
                answer = {"error": traceback.format_exc()}
            json.dump(answer, answers)
        answers.write("\n")
        answers.flush()


if __name__ == "__main__":
    _main(*sys.argv[1:])
