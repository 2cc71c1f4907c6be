"""The import of files: looked at, grouped by partition, staged in processes, committed at once."""

from __future__ import annotations

import os
import pickle
import tempfile
import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from partita import _native
from partita._arguments import options_text
from partita._arrays import numpy_module, to_numpy
from partita._functions import Inserting, fill_items
from partita._progress import Progress, Report, reporting
from partita._xarray import from_xarray, variables_of
from partita.collection import Collection
from partita.dataset import open_collection, undo_creation
from partita.errors import CommitConflict, InvalidArgument, NotFound, PartitaError, SchemaMismatch
from partita.importing._creation import Combine, new_collection, without_rows
from partita.importing._options import check_existing, check_options, partitioning
from partita.importing._processes import Failure, Processes
from partita.importing._remote import Reading
from partita.importing._report import ImportReport
from partita.importing._sources import find, open_source
from partita.importing._tasks import Place, Scanned, Target, named, scan, stage, statics_of
from partita.merge import MergeName
from partita.partitioning import Date, Partitioning, Resolution
from partita.stores import FileSystem, connection

__all__ = ["import_files"]

# How often partitions are staged again because other writers have changed them.
_ATTEMPTS = 30
# Files smaller than this together are not worth processes of their own.
_SMALL = 32 << 20


def import_files(
    url: str | os.PathLike[str],
    files: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    axis: str | None = None,
    partition_by: Resolution | Partitioning | None = None,
    merge: MergeName | None = None,
    batch: int | None = None,
    chunks: Mapping[str, int | str] | None = None,
    zarr_format: Literal[2, 3] | None = None,
    groups: bool = True,
    fill: Mapping[str, Any] | None = None,
    combine_attrs: Combine = "override",
    on_error: Literal["raise", "skip"] = "raise",
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
    combine_attrs : str or callable, default "override"
        What a new collection has of attributes that differ between the files, as xarray names it:
        ``"override"`` (those of the first file), ``"drop"``, ``"identical"``, ``"no_conflicts"``,
        ``"drop_conflicts"``, or a function of the list of their mappings and a context. Attributes
        by which numbers are decoded are those of the first file.
    on_error : {"raise", "skip"}, default "raise"
        With ``"skip"`` files that cannot be read or do not fit are left out, and reported.
    skip_existing : bool, default False
        Leave out files that were imported before with the same name and content, as the history of
        the collection tells: a job that was stopped goes on where it was.
    workers : int, optional
        How many processes read files; as many as there are cores if not given, and none for small
        files. 0 reads them in this one.
    source_options : mapping, optional
        Options of the store of files that are given as URLs; `storage_options` if not given.
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
    check_options(merge, batch, workers, chunks, zarr_format, fill, combine_attrs, on_error)
    names = [files] if isinstance(files, (str, os.PathLike)) else list(files)
    if not names:
        raise InvalidArgument("files= names no file")
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
        along = axis or (collection.axis if collection is not None else "time")
        by = partitioning(partition_by, along)
        if collection is not None:
            check_existing(collection, axis, by, chunks, zarr_format)
            by = collection.partition_by
        if by is None:
            raise InvalidArgument(
                "there is no collection yet; say how it is partitioned: partition_by='month'"
            )
        scanned = running.scan(found, along, _keys(by))
        if collection is not None:
            if skip_existing:
                scanned = running.without_known(scanned, collection._native.sources())
            running.commit_all(collection, scanned, merge, fill, batch)
        elif scanned := running.fit(scanned, along):
            options_of_new = {
                "axis": along,
                "partition_by": by,
                "chunks": chunks,
                "zarr_format": zarr_format,
                **store,
            }
            collection = new_collection(url, scanned, combine_attrs, reading, options_of_new)
            running.fill(collection, scanned, merge, fill, batch)
        return running.result


def _existing(url: Any, store: Mapping[str, Any]) -> Collection | None:
    try:
        return open_collection(url, **store)
    except NotFound:
        return None


def _keys(by: Partitioning) -> list[str]:
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

        def is_known(one: Scanned) -> bool:
            return not before.isdisjoint({(one.path, one.digest), _source(one)})

        self.result.skipped += [_native.masked(one.path) for one in scanned if is_known(one)]
        return [one for one in scanned if not is_known(one)]

    def fit(self, scanned: Sequence[Scanned], axis: str) -> list[Scanned]:
        """The files from the first one of which a collection can be made."""
        for at, one in enumerate(scanned):
            try:
                data = open_source(one.path, self._reading)
                from_xarray(without_rows(data, *data[axis].dims))
            except Exception as error:
                self._failed(one.path, named(error, one.path))
            else:
                return list(scanned[at:])
        return []

    def fill(
        self,
        collection: Collection,
        scanned: list[Scanned],
        merge: str | None,
        fill: Mapping[str, Any] | None,
        batch: int | None,
    ) -> None:
        """Imports files into a collection that was made for them; nothing is left if none fits."""
        try:
            self.commit_all(collection, scanned, merge, fill, batch)
        except BaseException as failure:
            if not self.result.commits:
                undo_creation(collection._native, failure)
            raise
        if not self.result.imported:
            undo_creation(collection._native)

    def commit_all(
        self,
        collection: Collection,
        scanned: list[Scanned],
        merge: str | None,
        fill: Mapping[str, Any] | None,
        batch: int | None,
    ) -> None:
        """Imports files, so many in each commit; all in one if nothing is said."""
        native = collection._native
        # Names that are wrong are refused before a file is.
        fill_items(native.schema(), fill or {})
        self.result.url = collection.url
        size = batch or max(len(scanned), 1)
        for start in range(0, len(scanned), size):
            self._commit(native, scanned[start : start + size], merge, fill)

    def _commit(
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
                sources = [_source(one) for one in scanned]
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
        result.imported += [_native.masked(one.path) for one in scanned]
        counts = (stop - start for p in places for _, runs in p.sources for start, stop in runs)
        result.rows += sum(counts)
        new = [place.path for place in places if place.path not in result.partitions]
        result.partitions = sorted([*result.partitions, *new])
        if number:
            result.commits.append(number)

    def _failed(self, path: str, error: BaseException) -> None:
        if not self._skips:
            raise error
        self.result.failed[_native.masked(path)] = str(error)

    def _tell(self, what: str, done: int, total: int) -> None:
        if self._report is not None:
            self._report(what, done, total)


def _source(one: Scanned) -> tuple[str, str]:
    """The file as the history names it: its URL may hold a password."""
    return _native.masked(one.path), one.digest


def _same(one: Any, other: Any) -> bool:
    np = numpy_module()
    if one.dtype.kind in "fcMm":
        return bool(np.array_equal(one, other, equal_nan=True))
    return bool(np.array_equal(one, other))
