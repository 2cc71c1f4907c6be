"""Arrays of a collection that are read when somebody looks at them."""

from __future__ import annotations

import bisect
import functools
import itertools
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from xarray.backends import BackendArray
from xarray.core import indexing

from partita import _native
from partita._arrays import to_numpy
from partita._calendars import dates_of, packing_of_dates, remember_packing_of_dates
from partita._credentials import referenced, resolved
from partita._xarray import UNITS, by_path, to_xarray, without_times
from partita.errors import InvalidArgument

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["Reference", "chunked", "lazy_dataset"]

Decode = Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]]
"""Makes values of the arrays that are stored; may travel to other processes."""

_OPEN = 16


class Reference:
    """A collection as tasks name it; secrets travel as names of variables of the environment."""

    def __init__(
        self,
        url: str,
        options: Mapping[str, Any],
        single_writer: bool,
        native: Any = None,
        *,
        view: bool = False,
        base: Reference | None = None,
    ) -> None:
        self._view = view
        self._base = base
        self._url = url
        self._options = options
        self._single_writer = single_writer
        self._native = native

    @property
    def native(self) -> _native.Collection:
        """The collection, opened once in each process."""
        if self._native is None:
            texts = {n: v for n, v in self._options.items() if isinstance(v, str)}
            others = tuple((n, v) for n, v in self._options.items() if n not in texts)
            key = tuple(sorted(texts.items()))
            base = self._base and self._base.native
            self._native = _opened(
                self._url, key, others, self._single_writer, self._view, base, os.getpid()
            )
        return self._native

    def __reduce__(self) -> tuple[Any, ...]:
        texts = {n: v for n, v in self._options.items() if isinstance(v, str)}
        others = {n: v for n, v in self._options.items() if n not in texts}
        options = {**dict(referenced(texts)), **others}
        return _reference, (self._url, options, self._single_writer, self._view, self._base)

    def __dask_tokenize__(self) -> Any:
        return self._url


def _reference(
    url: str, options: Mapping[str, Any], single_writer: bool, view: bool, base: Reference | None
) -> Reference:
    return Reference(url, options, single_writer, view=view, base=base)


@functools.lru_cache(maxsize=_OPEN)
def _opened(
    url: str,
    options: tuple[tuple[str, str], ...],
    others: tuple[tuple[str, Any], ...],
    single_writer: bool,
    view: bool,
    base: _native.Collection | None,
    process: int,
) -> _native.Collection:
    store = {**resolved(options), **dict(others)}
    if view:
        return _native.Collection.open_view(url, store, False, single_writer, base)
    return _native.Collection.open(url, store, False, single_writer)


@dataclass(frozen=True)
class _Rows:
    """The rows that a read gives, as a commit left them."""

    reference: Reference
    commit: _native.CollectionState
    paths: tuple[str, ...]
    runs: tuple[tuple[tuple[int, int], ...], ...]
    """Of each partition."""
    ends: tuple[int, ...]
    """How many rows there are up to the end of each partition."""

    @property
    def count(self) -> int:
        return self.ends[-1] if self.ends else 0

    def read(self, variable: str, start: int, stop: int) -> _native.Dataset:
        """The rows from `start` to `stop` of one variable."""
        wanted = []
        at = bisect.bisect_right(self.ends, start)
        while at < len(self.ends) and (self.ends[at - 1] if at else 0) < stop:
            first = self.ends[at - 1] if at else 0
            runs = _cut(self.runs[at], max(start - first, 0), stop - first)
            wanted.append((self.paths[at], runs))
            at += 1
        return self.reference.native.read_rows(wanted, self.commit, [variable])


def _cut(runs: Sequence[tuple[int, int]], start: int, stop: int) -> list[tuple[int, int]]:
    """The rows from `start` to `stop` of those in `runs`, counted from the first of them."""
    found = []
    for first, last in runs:
        length = last - first
        begin, end = max(start, 0), min(stop, length)
        if begin < end:
            found.append((first + begin, first + end))
        start, stop = start - length, stop - length
    return found


class _RowsArray(BackendArray):  # type: ignore[misc,unused-ignore]
    """A variable that is read where it is indexed."""

    def __init__(
        self,
        rows: _Rows,
        variable: str,
        axis: int,
        shape: tuple[int, ...],
        stored: np.dtype[Any],
        decode: Decode | None,
        dtype: np.dtype[Any],
    ) -> None:
        self.shape = shape
        self.dtype = dtype
        self._rows = rows
        self._variable = variable
        self._axis = axis
        self._stored = stored
        self._decode = decode

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        basic = indexing.IndexingSupport.BASIC
        return indexing.explicit_indexing_adapter(key, self.shape, basic, self._read)

    def _read(self, key: tuple[int | slice, ...]) -> np.ndarray[Any, Any]:
        wanted = key[self._axis]
        within: int | slice
        if isinstance(wanted, slice):
            chosen = range(*wanted.indices(self.shape[self._axis]))
            start, stop = (min(chosen), max(chosen) + 1) if chosen else (0, 0)
            within = slice(None, None, chosen.step) if chosen else slice(None)
        else:
            start, stop, within = int(wanted), int(wanted) + 1, 0
        if start == stop:
            shape = tuple(0 if i == self._axis else n for i, n in enumerate(self.shape))
            array = np.empty(shape, self.dtype)
        else:
            items, found = self._rows.read(self._variable, start, stop).data(self._variable)
            array = self._converted(to_numpy(items, found))
        return array[(*key[: self._axis], within, *key[self._axis + 1 :])]

    def _converted(self, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        if array.dtype != self._stored:
            counts = array.dtype.kind in "Mm" and self._stored.kind == "i"
            array = array.view(self._stored) if counts else array.astype(self._stored)
        return array if self._decode is None else self._decode(array)


def lazy_dataset(
    reference: Reference,
    dimension: str,
    where: _native.Predicate | None,
    variables: list[str] | None,
    decode: Mapping[str, Any] | None,
    chosen: _native.Selection | None = None,
) -> tuple[Any, _native.CollectionState]:
    """What a read gives, with its variables to be read later; the axis, if it is a coordinate, now.

    The ``xarray.Dataset`` or ``DataTree``, and the number of the commit that it is of.

    Later means: as they are now. If a partition is changed in between, reading raises
    `CommitConflict`. ``encoding["preferred_chunks"]`` says how variables are stored.

    Parameters
    ----------
    decode : mapping, optional
        Arguments of ``xarray.decode_cf``; values are as they are stored without it.
    chosen : optional
        Of what is wanted only these rows.
    """
    plan, template, axis = reference.native.read_lazily(where, variables, chosen)
    commit, found = plan
    places = [place for place, _ in found]
    rows = _Rows(
        reference,
        commit,
        tuple(partition.path for partition, _ in places),
        tuple(tuple(runs) for _, runs in places),
        tuple(itertools.accumulate(sum(e - s for s, e in runs) for _, runs in places)),
    )
    blocks = _blocks(rows, [chunk for _, chunk in found])
    known = {} if axis is None else by_path(to_xarray(axis))

    def replace(path: str, described: dict[str, Any], variable: xr.Variable) -> xr.Variable:
        if dimension not in variable.dims:
            return variable
        if path in known:
            return known[path]
        at = variable.dims.index(dimension)
        shape = tuple(rows.count if i == at else n for i, n in enumerate(variable.shape))
        stored = _dtype(path, described["dtype"])
        later = None if decode is None else _decoding(stored, described["name"], variable, decode)
        dtype = np.dtype(object) if later is not None and stored.kind not in "Mm" else stored
        array = _RowsArray(rows, path, at, shape, stored, later, dtype)
        encoding = {**variable.encoding, "preferred_chunks": {dimension: blocks}}
        data = indexing.LazilyIndexedArray(array)
        return type(variable)(variable.dims, data, variable.attrs, encoding, fastpath=True)

    lazy = to_xarray(template, decode=decode is not None, replace=replace, options=decode)
    return lazy, commit


def _decoding(
    stored: np.dtype[Any], name: str, variable: xr.Variable, options: Mapping[str, Any]
) -> Decode | None:
    """The decoder for arrays of a variable that xarray does not decode as a whole read does.

    The entries by which dates are decoded, such as `units` and `calendar`, are moved from the
    attributes of the variable to its encoding.
    """
    if stored.kind in "Mm":
        fill = variable.encoding.get("_FillValue")
        return None if fill is None else functools.partial(without_times, fill=fill)
    for option in ("mask_and_scale", "decode_times"):
        wanted = options.get(option, True)
        if (wanted.get(name, True) if isinstance(wanted, Mapping) else wanted) is False:
            return None
    packing = packing_of_dates(np.empty(0, stored), variable.attrs, variable.encoding)
    if packing is None:
        return None
    remember_packing_of_dates(stored, variable.attrs, variable.encoding)
    return functools.partial(dates_of, packing=packing)


def _dtype(path: str, stored: str) -> np.dtype[Any]:
    """The type that a stored one has in xarray, whatever the values are."""
    if stored in ("str", "bytes"):
        return np.dtype(object)
    dtype = np.dtype(stored)
    if dtype.kind not in "Mm":
        return dtype.newbyteorder("=")
    unit, multiple = np.datetime_data(dtype)
    if unit == "generic":
        return np.dtype("i8")
    if unit in UNITS:
        return np.dtype(f"{dtype.kind}8[{unit}]")
    if unit in ("ps", "fs", "as"):
        raise InvalidArgument(
            f"xarray has no unit finer than nanoseconds, in which variable {path} is stored; read "
            "it without chunks=",
            context={"variable": path, "dtype": stored},
        )
    if unit in ("Y", "M") and dtype.kind == "m":
        raise InvalidArgument(
            f"xarray cannot count months, in which variable {path} is stored",
            context={"variable": path, "dtype": stored},
        )
    return np.dtype(f"{dtype.kind}8[s]")


def _blocks(rows: _Rows, chunks: Sequence[int]) -> tuple[int, ...]:
    """The numbers of rows that lie in one stored chunk each."""
    blocks: list[int] = []
    for runs, chunk in zip(rows.runs, chunks, strict=True):
        counts: dict[int, int] = {}
        for start, end in runs:
            while start < end:
                number = start // chunk
                stop = min(end, (number + 1) * chunk)
                counts[number] = counts.get(number, 0) + stop - start
                start = stop
        blocks += counts.values()
    return tuple(blocks)


def chunked(dataset: Any, dimension: str, chunks: Mapping[str, Any] | str | int, token: Any) -> Any:
    """A lazy dataset in Dask, in blocks of whole stored chunks along the partitioned dimension.

    Parameters
    ----------
    chunks : mapping, "auto" or int
        For each dimension as many items as a block is to have, at least; stored chunks where
        nothing is said, the whole for -1. ``"auto"`` means blocks of the size that Dask is
        configured for.
    """
    import dask.base
    import dask.config
    import dask.utils

    if hasattr(dataset, "subtree"):
        return dataset.map_over_datasets(
            lambda node: chunked(node, dimension, chunks, token) if node.variables else node
        )
    stored = next(
        (
            variable.encoding["preferred_chunks"][dimension]
            for variable in dataset.variables.values()
            if "preferred_chunks" in variable.encoding
        ),
        None,
    )
    asked: dict[Any, Any] = dict(chunks) if isinstance(chunks, Mapping) else {dimension: chunks}
    if stored is not None:
        wanted = asked.get(dimension)
        if wanted == "auto":
            limit = dask.utils.parse_bytes(dask.config.get("array.chunk-size"))
            row = max(
                v.dtype.itemsize * int(np.prod(v.shape)) // max(dataset.sizes[dimension], 1)
                for v in dataset.variables.values()
                if dimension in v.dims
            )
            wanted = max(limit // max(row, 1), 1)
        asked[dimension] = _grouped(stored, wanted)
    # The chunks are missing here because xarray adds them to the token.
    return dataset.chunk(asked, name_prefix="partita-", token=dask.base.tokenize(token))


def _grouped(blocks: tuple[int, ...], wanted: Any) -> tuple[int, ...]:
    """Blocks put together until each but the last has as many rows as are wanted."""
    if wanted is None or not blocks:
        return blocks or (0,)
    if not isinstance(wanted, int) or isinstance(wanted, bool) or wanted < -1 or wanted == 0:
        raise InvalidArgument(
            "chunks= takes numbers of items, -1 for the whole, or 'auto', not " + repr(wanted)
        )
    if wanted == -1:
        return (sum(blocks),)
    found: list[int] = []
    for block in blocks:
        if found and found[-1] < wanted:
            found[-1] += block
        else:
            found.append(block)
    return tuple(found)
