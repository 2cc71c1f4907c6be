"""The import of files: looked at, grouped by partition, staged in processes, committed at once."""

from __future__ import annotations

import os
import pickle
import tempfile
import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from partita import _native
from partita._arguments import options_text
from partita._arrays import numpy_module, to_numpy
from partita._arrow import optional
from partita._functions import Inserting
from partita._packing import MEANING, is_time_units
from partita._progress import Progress, Report, reporting
from partita._xarray import from_xarray, variables_of
from partita.collection import Collection
from partita.dataset import create_collection, open_collection
from partita.errors import CommitConflict, InvalidArgument, NotFound, PartitaError, SchemaMismatch
from partita.importing._processes import Failure, Processes
from partita.importing._remote import Reading
from partita.importing._report import ImportReport
from partita.importing._sources import find, open_source
from partita.importing._tasks import Place, Scanned, Target, named, scan, stage, statics_of
from partita.partitioning import Date
from partita.stores import FileSystem, connection

__all__ = ["import_files"]

# How often partitions are staged again because other writers have changed them.
_ATTEMPTS = 30
# Files smaller than this together are not worth processes of their own.
_SMALL = 32 << 20
# Chunks of the largest variable get about so many bytes, if nothing is said.
_CHUNK_BYTES = 4 << 20
_STRATEGIES = (None, "replace", "concat", "time_series", "upsert")
_COMBINATIONS = ("override", "drop", "identical", "no_conflicts", "drop_conflicts")


def import_files(
    url: str | os.PathLike[str],
    files: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    axis: str | None = None,
    partition_by: Any = None,
    merge: str | None = None,
    batch: int | None = None,
    chunks: Mapping[str, int | str] | None = None,
    zarr_format: int | None = None,
    groups: bool = True,
    fill: Mapping[str, Any] | None = None,
    combine_attrs: str = "override",
    on_error: str = "raise",
    skip_existing: bool = False,
    workers: int | None = None,
    source_options: Mapping[str, Any] | None = None,
    storage_options: Mapping[str, Any] | None = None,
    filesystem: FileSystem | None = None,
    single_writer: bool = False,
    progress: Progress = False,
) -> ImportReport:
    """Import files of NetCDF, HDF5 and Zarr into a collection, which is made if there is none.

    All files come in one commit, or in one for each `batch`: a reader sees all of them or none.
    Files are read in processes of their own, a partition at a time, so memory is bounded by the
    rows that one partition gets. Numbers stay packed as they are, and are converted by value where
    the collection has them packed otherwise; times become times, and those whose number is the fill
    value "not a time". A value that does not fit is refused, with the file, the variable, the value
    and its place.

    Parameters
    ----------
    url : str or path-like
        The collection.
    files : str, path-like or sequence of these
        Files, patterns such as ``"in/**/*.nc"``, and folders; also in stores, as
        ``"s3://bucket/in/*.nc"``. Of those in stores each process keeps copies of the last four in
        the folder for temporary files.
    axis : str, optional
        The variable along which a new collection grows; ``time`` if not given.
    partition_by : Date, Sequence, GroupedSequence or str, optional
        How a new collection is partitioned; a resolution, such as ``"month"``, means the date of
        the axis.
    merge : {"replace", "concat", "time_series", "upsert"}, optional
        How rows are merged with those that are there, as of `Collection.insert`; files are merged
        one after the other. Without it, files whose rows overlap in a partition are refused, and
        such for partitions that have rows already. Files of which each covers a time of its own are
        put together.
    batch : int, optional
        How many files come in one commit; all if not given.
    chunks : mapping, optional
        How dimensions of a new collection are cut: ``{"time": 4000}``. If nothing is said of the
        partitioned one, into chunks of some MiB.
    zarr_format : int, optional
        2 or 3, of a new collection; groups need 3.
    groups : bool, default True
        Import the groups of files too. With False the variables of the root alone.
    fill : mapping, optional
        What is put where variables are missing in a file, by their paths: see `Collection.insert`.
    combine_attrs : str, default "override"
        What a new collection has of attributes that differ between the files, as xarray names it:
        ``"override"`` (those of the first file), ``"drop"``, ``"identical"``, ``"no_conflicts"`` or
        ``"drop_conflicts"``. Attributes by which numbers are decoded are those of the first file.
    on_error : {"raise", "skip"}, default "raise"
        With ``"skip"`` files that cannot be read or do not fit are left out, and reported.
    skip_existing : bool, default False
        Leave out files that were imported before with the same name and content, as the history of
        the collection tells: a job that was stopped goes on where it was.
    workers : int, optional
        How many processes read files; as many as there are cores if not given, and none for small
        files. 0 reads them in this one.
    source_options : mapping, optional
        Of the store of files that are given as URLs; `storage_options` if not given.
    storage_options, filesystem, single_writer
        Of the store of the collection, as of `create_collection`.
    progress : bool or callable, default False
        True shows a bar on standard error; a callable is called with (done, total) steps.

    Returns
    -------
    ImportReport

    Examples
    --------
    >>> import tempfile, numpy as np, xarray as xr, partita as pt
    >>> folder = tempfile.mkdtemp()
    >>> for day in ("2022-01-31", "2022-02-01"):
    ...     time = np.datetime64(day, "ns") + np.arange(3) * np.timedelta64(1, "h")
    ...     xr.Dataset({"ssh": ("time", np.zeros(3))}, {"time": time}).to_netcdf(
    ...         f"{folder}/{day}.nc"
    ...     )
    >>> report = pt.import_files(f"{folder}/ssh", f"{folder}/*.nc", partition_by="month")
    >>> report.rows, report.partitions, len(report.commits)
    (6, ['year=2022/month=01', 'year=2022/month=02'], 1)
    """
    _check(merge, batch, combine_attrs, on_error)
    names = [files] if isinstance(files, (str, os.PathLike)) else files
    given = storage_options if source_options is None else source_options
    options = dict(options_text(given))
    found = find(names, options)
    place = connection(url, storage_options, filesystem)
    store = {
        "storage_options": storage_options,
        "filesystem": filesystem,
        "single_writer": single_writer,
    }
    with (
        tempfile.TemporaryDirectory(prefix="partita-import-") as folder,
        reporting(progress) as report,
        Processes(_count(found, place, workers)) as processes,
    ):
        reading = Reading(groups, options, folder)
        running = _Import(place, single_writer, reading, on_error == "skip", processes, report)
        collection = _existing(url, store)
        if collection is not None:
            axis = collection.axis
            partition_by = collection.partition_by
        axis = axis or "time"
        resolution: Any = partition_by
        by = Date(axis, resolution) if isinstance(partition_by, str) else partition_by
        if collection is None and by is None:
            raise InvalidArgument(
                "there is no collection yet; say how it is partitioned: partition_by='month'"
            )
        scanned = running.scan(found, axis, _keys(by))
        if collection is not None and skip_existing:
            scanned = running.without_known(scanned, collection._native.sources())
        if collection is None and scanned:
            collection = running.create(
                url,
                scanned,
                combine_attrs,
                {
                    "axis": axis,
                    "partition_by": by,
                    "chunks": chunks,
                    "zarr_format": zarr_format,
                    **store,
                },
            )
        if collection is not None:
            running.result.url = collection.url
            size = batch or max(len(scanned), 1)
            for start in range(0, len(scanned), size):
                running.commit(collection._native, scanned[start : start + size], merge, fill)
        return running.result


def _check(merge: Any, batch: Any, combine_attrs: Any, on_error: Any) -> None:
    for name, value, known in (
        ("merge", merge, _STRATEGIES),
        ("combine_attrs", combine_attrs, _COMBINATIONS),
        ("on_error", on_error, ("raise", "skip")),
    ):
        if value not in known:
            raise InvalidArgument(f"{name}= takes one of {', '.join(map(repr, known))}")
    if batch is not None and batch < 1:
        raise InvalidArgument("batch= is a number of files")


def _existing(url: Any, store: Mapping[str, Any]) -> Collection | None:
    try:
        return open_collection(url, **store)
    except NotFound:
        return None


def _keys(by: Any) -> list[str]:
    return [by.column] if isinstance(by, Date) else list(by.variables)


def _count(files: Sequence[str], place: tuple[str, Any], workers: int | None) -> int:
    """How many processes read files."""
    url, options = place
    try:
        pickle.dumps(options)
    except Exception:
        return 0
    if "memory://" in url:
        return 0
    if workers is not None:
        return workers
    sizes = (os.path.getsize(path) if os.path.isfile(path) else _SMALL for path in files)
    return (os.cpu_count() or 1) if sum(sizes) >= _SMALL else 0


class _Import:
    """An import that is under way."""

    def __init__(
        self,
        place: tuple[str, dict[str, Any]],
        single_writer: bool,
        reading: Reading,
        skips: bool,
        processes: Processes,
        report: Report | None,
    ) -> None:
        self._target = Target(*place, single_writer)
        self._reading = reading
        self._skips = skips
        self._processes = processes
        self._report = report
        self.result = ImportReport(place[0])

    def scan(self, files: Sequence[str], axis: str, names: Sequence[str]) -> list[Scanned]:
        """What is learned of the files that can be read, in their order."""
        arguments = [(path, axis, names, self._reading) for path in files]
        found: dict[int, Scanned] = {}
        for number, answer in self._processes.call(scan, arguments):
            if isinstance(answer, Failure):
                self._failed(files[number], named(answer.error, files[number]))
            else:
                found[number] = answer
            self._tell("look at files", len(found) + len(self.result.failed), len(files))
        return [found[number] for number in sorted(found)]

    def without_known(
        self, scanned: list[Scanned], known: Iterable[tuple[str, str]]
    ) -> list[Scanned]:
        before = set(known)
        self.result.skipped += [one.path for one in scanned if (one.path, one.digest) in before]
        return [one for one in scanned if (one.path, one.digest) not in before]

    def create(
        self, url: Any, scanned: Sequence[Scanned], combine_attrs: str, options: dict[str, Any]
    ) -> Collection:
        """A new collection of what the first file holds, without rows."""
        first = scanned[0]
        icechunk = str(url).startswith("icechunk+")
        if first.groups and not icechunk and options["zarr_format"] != 3:
            raise InvalidArgument(
                f"{first.path}: the file has groups ({', '.join(first.groups)}), for which a "
                "collection needs zarr_format=3 (--zarr 3); groups=False (--no-groups) leaves them "
                "out",
                context={"file": first.path},
            )
        try:
            data = open_source(first.path, self._reading)
            axis = data[options["axis"]]
            if axis.dtype.kind != "M" and isinstance(options["partition_by"], Date):
                _check_dates(axis, icechunk or options["zarr_format"] == 3)
            data = _combined(data, scanned, combine_attrs)
            (dimension,) = axis.dims
            chunks = dict(options.pop("chunks") or {})
            chunks.setdefault(dimension, _rows_of_a_chunk(data, dimension))
            empty = _without_rows(data, dimension)
            return create_collection(url, empty, insert=False, chunks=chunks, **options)
        except PartitaError as error:
            raise named(error, first.path) from None

    def commit(
        self,
        native: _native.Collection,
        scanned: list[Scanned],
        merge: str | None,
        fill: Mapping[str, Any] | None,
    ) -> None:
        """Imports files in one commit."""
        key = f"import-{uuid.uuid4().hex}"
        staged: dict[str, Any] = {}
        inserting = Inserting("upsert" if merge in (None, "replace") else merge, False, fill=fill)
        try:
            for _ in range(_ATTEMPTS):
                good, places = self._places(native, scanned, merge)
                wanted = [place for place in places if place.path not in staged]
                failed = self._stage(wanted, inserting, staged)
                scanned = [one for one in good if one.path not in failed]
                if failed:
                    self._discard(native, staged, places, failed)
                    continue
                if not scanned:
                    return
                shared = self._shared(native, scanned, inserting, staged)
                if shared:
                    self._discard(native, staged, places, shared)
                    scanned = [one for one in scanned if one.path not in shared]
                    continue
                forms = [form for *_, form in staged.values()]
                sources = [(one.path, one.digest) for one in scanned]
                number, stale = native.commit_staged("insert", forms, key, sources)
                if not stale:
                    staged.clear()
                    self._done(scanned, places, number)
                    return
                for path in stale:
                    native.discard_staged([staged.pop(path)[-1]] if path in staged else [])
            raise CommitConflict("other writers kept changing the same partitions; try again later")
        finally:
            native.discard_staged([form for *_, form in staged.values()])

    def _places(
        self, native: _native.Collection, scanned: Sequence[Scanned], merge: str | None
    ) -> tuple[list[Scanned], list[Place]]:
        """The files that can be partitioned, and the partitions with the files that have rows."""
        np = numpy_module()
        native.refresh()
        schema = native.schema()
        axis = native.config()["axis"]
        existing = {partition.path for partition in native.partitions(None)}
        rows: dict[str, list[tuple[Any, str, Any]]] = {}
        good = []
        for one in scanned:
            try:
                dataset = from_xarray(one.keys, schema=schema)
                items, shape = dataset.data(axis)
                values = to_numpy(items, shape)
                found = native.places(dataset)
            except PartitaError as error:
                self._failed(one.path, named(error, one.path))
                continue
            good.append(one)
            for partition, runs in found:
                own = np.concatenate([values[start:stop] for start, stop in runs])
                rows.setdefault(partition.path, []).append(((own.min(), own.max()), one.path, runs))
        places = []
        for path, sources in rows.items():
            if merge in (None, "replace"):
                sources = sorted(sources, key=lambda source: source[0])
                self._check_apart(path, sources)
            if merge is None and path in existing:
                raise InvalidArgument(
                    f"partition {path} has rows, which those of {sources[0][1]} would replace; say "
                    "how they are merged: merge='upsert', or 'replace' (--merge)",
                    context={"partition": path, "file": sources[0][1]},
                )
            files = tuple((name, tuple(runs)) for _, name, runs in sources)
            places.append(Place(path, path in existing, merge == "replace", files))
        return good, places

    def _check_apart(self, path: str, sources: Sequence[tuple[Any, str, Any]]) -> None:
        for ((_, end), one, _), ((start, _), other, _) in zip(sources, sources[1:], strict=False):
            if not start > end:
                raise InvalidArgument(
                    f"{one} and {other} both have rows for the same time in partition {path}; say "
                    "how they are merged: merge='upsert' or another (--merge)",
                    context={"partition": path, "file": other},
                )

    def _stage(
        self, places: Sequence[Place], inserting: Inserting, staged: dict[str, Any]
    ) -> set[str]:
        """Stages partitions; the files that do not fit."""
        failed: set[str] = set()
        arguments = [(self._target, place, inserting, self._reading) for place in places]
        for done, (number, answer) in enumerate(self._processes.call(stage, arguments), 1):
            if isinstance(answer, Failure):
                error = answer.error
                path = getattr(error, "context", {}).get("file", places[number].sources[0][0])
                self._failed(path, error)
                failed.add(path)
            else:
                staged.update((one[0], one) for one in answer)
            self._tell("import", done, len(places))
        return failed

    def _discard(
        self,
        native: _native.Collection,
        staged: dict[str, Any],
        places: Sequence[Place],
        failed: set[str],
    ) -> None:
        """Removes what was staged with rows of files that failed."""
        for place in places:
            if place.path in staged and failed & {path for path, _ in place.sources}:
                native.discard_staged([staged.pop(place.path)[-1]])

    def _shared(
        self,
        native: _native.Collection,
        scanned: Sequence[Scanned],
        inserting: Inserting,
        staged: dict[str, Any],
    ) -> set[str]:
        """Stages what is the same for all partitions; the files in which it is not."""
        schema, dimension = native.schema(), native.config()["dimension"]
        described = variables_of(schema.to_dict())
        names = [one["name"] for one in described if dimension not in one["dimensions"]]
        if not names:
            return set()
        failed: set[str] = set()
        known: dict[str, tuple[str, Any]] = {}
        for one in scanned:
            path = one.path
            new = [
                n for n in names if n in one.statics and known.get(n, ("",))[0] != one.statics[n]
            ]
            if not new:
                continue
            try:
                data = statics_of(path, schema, dimension, self._reading)
                for name in new:
                    values = to_numpy(*data.data(name))
                    if name not in known:
                        known[name] = (one.statics[name], values)
                    elif not _same(known[name][1], values):
                        raise SchemaMismatch(
                            f"variable {name} is the same for all partitions, and has other values "
                            f"than in {scanned[0].path}",
                            context={"variable": name},
                        )
                if one is scanned[0] or len(new) == len(one.statics):
                    _, arguments = inserting.prepare(native, data)
                    staged.update((s[0], s) for s in native.stage_insert(data, arguments, True))
            except Exception as error:
                self._failed(path, named(error, path))
                failed.add(path)
        return failed

    def _done(self, scanned: Sequence[Scanned], places: Sequence[Place], number: int) -> None:
        result = self.result
        result.imported += [one.path for one in scanned]
        counts = (stop - start for p in places for _, runs in p.sources for start, stop in runs)
        result.rows += sum(counts)
        new = [place.path for place in places if place.path not in result.partitions]
        result.partitions = sorted([*result.partitions, *new])
        if number:
            result.commits.append(number)

    def _failed(self, path: str, error: BaseException) -> None:
        if not self._skips:
            raise error
        self.result.failed[path] = str(error)

    def _tell(self, what: str, done: int, total: int) -> None:
        if self._report is not None:
            self._report(what, done, total)


def _same(one: Any, other: Any) -> bool:
    np = numpy_module()
    if one.dtype.kind in "fcMm":
        return bool(np.array_equal(one, other, equal_nan=True))
    return bool(np.array_equal(one, other))


def _check_dates(axis: Any, is_zarr3: bool) -> None:
    """Refuses an axis of numbers that cannot be partitioned by date."""
    units, calendar = axis.attrs.get("units"), axis.attrs.get("calendar")
    if not is_time_units(units):
        raise InvalidArgument(
            f"the axis {axis.name} holds no times, and cannot be partitioned by date: its units "
            f"are {units!r}"
        )
    if not is_zarr3:
        raise InvalidArgument(
            f"the axis {axis.name} has dates of the calendar {calendar}, which is not numpy's "
            "(cftime); a collection that is partitioned by them needs zarr_format=3 (--zarr 3), "
            "since ZCollection could not open one in Zarr 2"
        )


def _rows_of_a_chunk(data: Any, dimension: str) -> int:
    """The rows per chunk with which chunks of the largest variable are well sized for reading."""
    np = numpy_module()
    nodes = data.subtree if hasattr(data, "subtree") else [data]
    sizes = [
        variable.dtype.itemsize
        * int(np.prod([n for name, n in variable.sizes.items() if name != dimension]))
        for node in nodes
        for variable in node.variables.values()
        if dimension in variable.dims
    ]
    return max(_CHUNK_BYTES // max(max(sizes, default=1), 1), 1)


def _without_rows(data: Any, dimension: str) -> Any:
    def cut(node: Any) -> Any:
        return node.isel({dimension: slice(0, 0)}) if dimension in node.dims else node

    found = data.map_over_datasets(cut) if hasattr(data, "subtree") else cut(data)
    return found.load()


def _combined(data: Any, scanned: Sequence[Scanned], how: str) -> Any:
    """The dataset with attributes of all files."""
    if how == "override":
        return data
    xarray = optional("xarray", "reading files of arrays")

    def attributes(name: str, own: Mapping[Any, Any]) -> dict[Any, Any]:
        kept = {key: own[key] for key in (*MEANING, "_FillValue") if key in own}
        given = [xarray.Dataset(attrs=_others(one.attributes.get(name, {}))) for one in scanned]
        try:
            merged = xarray.merge(given, combine_attrs=how).attrs
        except ValueError as error:
            raise InvalidArgument(
                f"the attributes of {name or 'the files'} differ: {error}",
                context={"variable": name},
            ) from error
        return {**merged, **kept}

    def with_attributes(node: Any, prefix: str) -> Any:
        node = node.copy()
        if not prefix:
            node.attrs = attributes("", node.attrs)
        for name, variable in node.variables.items():
            variable.attrs = attributes(f"{prefix}{name}", variable.attrs)
        return node

    if not hasattr(data, "subtree"):
        return with_attributes(data, "")
    nodes = {
        node.path: with_attributes(node.to_dataset(inherit=False), f"{node.path}/".lstrip("/"))
        for node in data.subtree
    }
    return xarray.DataTree.from_dict(nodes)


def _others(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {key: v for key, v in attributes.items() if key not in (*MEANING, "_FillValue")}
