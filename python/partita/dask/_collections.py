"""Collections changed by the workers of Dask: they stage, and the client commits."""

from __future__ import annotations

import math
import os
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

import dask
import numpy as np

from partita import _native
from partita._lazy import Reference
from partita._progress import Report
from partita._xarray import from_xarray
from partita.errors import CommitConflict, InvalidArgument, PartitaError, StagedExpired
from partita.records import CollectionPartition

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["insert", "map_partitions", "update"]

Staged = tuple[str, int | None, int, bytes]
Arguments = dict[str, Any]

# How often partitions that other writers have changed meanwhile are staged again.
_ATTEMPTS = 30
# Batches of partitions for each worker: several, so that a slow worker does not delay the others.
_BATCHES = 8


def insert(
    reference: Reference,
    data: xr.Dataset,
    stage: Callable[[_native.Collection, xr.Dataset, bool], list[Staged]],
    *,
    encode: bool,
    key: str | None,
    client: Any,
    report: Report | None,
) -> list[CollectionPartition]:
    """Inserts rows that workers compute, each partition in a task of its own.

    Only the variables by which rows are partitioned are computed here, and those without the
    partitioned dimension.

    Parameters
    ----------
    stage : callable
        Stages rows of a collection; with the variables that are not partitioned, if it is told so.
    """
    native = reference.native
    config = native.config()
    dimension, schema = config["dimension"], native.schema()
    keys = data[list(config["variables"])].compute() if _has_keys(data, config) else data
    found = native.places(from_xarray(keys, schema=schema, encode=encode))
    if key is not None and native.commit_staged("insert", [], key)[0]:
        return [partition for partition, _ in found]
    rows = {partition.path: runs for partition, runs in found}
    shared = [n for n, v in data.variables.items() if dimension not in v.dims]
    partitioned, whole = data.drop_vars(shared), _without_rows(data, dimension)
    staged = _Staged(native, "insert", key)

    def tasks(paths: Iterable[str]) -> list[Any]:
        delayed = dask.delayed(_staged, pure=False)
        found = []
        for path in paths:
            if path in rows:
                own = partitioned.isel({dimension: _index(rows[path])})
                found.append(delayed(stage, reference, own))
            else:
                # The group of the variables that are not partitioned.
                staged.add(stage(native, whole, True))
        return found

    with staged:
        staged.add(stage(native, whole, True))
        staged.commit(list(rows), tasks, client, report)
    return [partition for partition, _ in found]


def _without_rows(data: xr.Dataset, dimension: str) -> xr.Dataset:
    """What is not partitioned, and of the rest what can be checked before anything is computed."""

    def variable(found: xr.Variable) -> xr.Variable:
        if dimension not in found.dims:
            return found.compute()
        if not dask.is_dask_collection(found):
            return found.isel({dimension: slice(0, 0)})
        shape = tuple(0 if name == dimension else found.sizes[name] for name in found.dims)
        return type(found)(found.dims, np.empty(shape, found.dtype), found.attrs, found.encoding)

    return type(data)({name: variable(found) for name, found in data.variables.items()})


def _has_keys(data: xr.Dataset, config: Mapping[str, Any]) -> bool:
    return all(name in data.variables for name in config["variables"])


def _staged(stage: Any, reference: Reference, data: xr.Dataset) -> list[Staged]:
    found: list[Staged] = stage(reference.native, data, False)
    return found


def _index(runs: Sequence[tuple[int, int]]) -> Any:
    if len(runs) == 1:
        return slice(*runs[0])
    return np.concatenate([np.arange(start, end) for start, end in runs])


def update(
    reference: Reference,
    updating: Callable[..., Any],
    arguments: Arguments,
    *,
    key: str | None,
    client: Any,
    report: Report | None,
) -> list[CollectionPartition]:
    """Works out variables on workers, batch of partitions by batch, and commits them at once."""
    native = reference.native
    if key is not None and native.commit_staged("update", [], key)[0]:
        return []
    partitions = _selected(native, arguments)
    staged = _Staged(native, "update", key)

    def tasks(paths: Iterable[str]) -> list[Any]:
        delayed = dask.delayed(_updated, pure=False)
        return [
            delayed(reference, updating, _travelling(arguments, batch))
            for batch in _batches(list(paths), client)
        ]

    with staged:
        written = staged.commit([one.path for one in partitions], tasks, client, report)
    return [one for one in partitions if one.path in written]


def _updated(reference: Reference, updating: Any, arguments: Arguments) -> list[Staged]:
    return reference.native.stage_update(updating, arguments)


def map_partitions(
    reference: Reference,
    call: Callable[..., Any],
    arguments: Arguments,
    *,
    client: Any,
    report: Report | None,
) -> list[tuple[list[tuple[str, int]], Any]]:
    """Calls a function with each partition, on workers; the results in the order of the keys."""
    paths = [partition.path for partition in _selected(reference.native, arguments)]
    delayed = dask.delayed(_mapped, pure=False)
    tasks = [
        delayed(reference, call, _travelling(arguments, batch)) for batch in _batches(paths, client)
    ]
    return [one for batch in run(tasks, client, "map", report) for one in batch]


def _mapped(reference: Reference, call: Any, arguments: Arguments) -> list[Any]:
    return reference.native.map(call, arguments)


def _selected(native: _native.Collection, arguments: Arguments) -> list[CollectionPartition]:
    partitions = native.partitions(arguments["predicate"])
    if arguments["chosen"] is None:
        return partitions
    chosen = {partition.path for partition, _ in arguments["chosen"].parts()[1]}
    return [partition for partition in partitions if partition.path in chosen]


def _travelling(arguments: Arguments, paths: list[str]) -> Arguments:
    # The paths are enough, and a predicate cannot be sent.
    return {**arguments, "predicate": None, "paths": paths}


def _batches(paths: list[str], client: Any) -> list[list[str]]:
    """Neighbours together, since they may look at each other's rows."""
    workers = os.cpu_count() or 1
    if hasattr(client, "ncores"):
        workers = sum(client.ncores().values()) or 1
    size = max(math.ceil(len(paths) / (workers * _BATCHES)), 1)
    return [paths[at : at + size] for at in range(0, len(paths), size)]


class _Staged:
    """What tasks have staged for one commit.

    As a context it removes, if its block ends by an exception, what is known not to be committed.
    What is not known is left to garbage collection.
    """

    def __init__(self, native: _native.Collection, operation: str, key: str | None) -> None:
        self._native = native
        self._operation = operation
        # A commit that is sent twice is one commit.
        self._key = key or f"dask-{uuid.uuid4().hex}"
        self._staged: dict[str, Staged] = {}
        # Once true, a commit may name what was staged, which is not discarded any more.
        self._sent = False

    def add(self, staged: Iterable[Staged]) -> None:
        """Of a task that ran twice one result comes here; a partition is staged once."""
        self._staged.update((one[0], one) for one in staged)

    def commit(
        self,
        paths: list[str],
        tasks: Callable[[Iterable[str]], list[Any]],
        client: Any,
        report: Report | None,
    ) -> set[str]:
        """Runs the tasks, those of some partitions again if others touched these, and commits."""
        for _ in range(_ATTEMPTS):
            for staged in run(tasks(paths), client, self._operation, report):
                self.add(staged)
            forms = [form for *_, form in self._staged.values()]
            self._sent = True
            try:
                _, paths = self._native.commit_staged(self._operation, forms, self._key)
            except (CommitConflict, StagedExpired):
                self._sent = False
                raise
            if not paths:
                return set(self._staged)
            # Nothing was committed. The changed partitions are computed again from what they hold
            # now; the others are still valid. What was staged for the changed ones is garbage.
            self._sent = False
            for path in paths:
                self._staged.pop(path, None)
        raise CommitConflict("other writers kept changing the same partitions; try again later")

    def __enter__(self) -> _Staged:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None or self._sent:
            return
        try:
            self._native.discard_staged([form for *_, form in self._staged.values()])
        except PartitaError:
            # Staged data that cannot be discarded become garbage, which is collected.
            pass


def run(tasks: list[Any], client: Any, what: str, report: Report | None) -> list[Any]:
    """The results of delayed tasks: of a client's workers, or of the scheduler Dask is set to."""
    if not hasattr(client, "compute"):
        if client not in (None, True):
            raise InvalidArgument(f"client= takes a distributed.Client or True, not {client!r}")
        return list(dask.compute(*tasks))
    from distributed import as_completed

    futures = client.compute(tasks)
    try:
        if report is not None:
            for done, _ in enumerate(as_completed(futures), 1):
                report(what, done, len(futures))
        return list(client.gather(futures))
    except BaseException:
        client.cancel(futures)
        raise
