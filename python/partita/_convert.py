"""From arrays to rows, and back: collections into tables in long form, tables into collections."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from partita import _native
from partita._arrow import arrow_array, optional, pyarrow
from partita._calendars import packing_of_dates
from partita._decoding import decode_durations
from partita._packing import MEANING, Packing
from partita._progress import Report
from partita._xarray import by_path, to_xarray, variables_of
from partita.errors import CommitConflict, InvalidArgument, NotFound
from partita.expression import Expr, Where, col, predicate
from partita.partitioning import Date, Partitioning

if TYPE_CHECKING:
    import pyarrow as pa
    import xarray as xr

    from partita.collection import Collection
    from partita.table import Table

__all__ = ["LongForm", "LongRows", "Pivot", "long_form", "to_collection"]

# Rows of the long form that are worked on at once.
_ROWS = 1 << 18


class LongForm:
    """The rows of a collection: one for each item of the variables with the most dimensions.

    The axis is a column, and so is every other dimension: the values of the variable of that name,
    or positions. Variables with fewer dimensions are repeated. Items that equal the fill value are
    null, and packed numbers are unpacked.
    """

    def __init__(
        self,
        native: _native.Collection,
        axis: str,
        dimension: str,
        variables: Sequence[str] | None = None,
    ) -> None:
        self.native = native
        self.described = {v["name"]: v for v in variables_of(native.schema().to_dict())}
        self.names = _chosen(self.described, axis, dimension, variables)
        self.widest = max(self.names, key=lambda name: len(self.described[name]["dimensions"]))
        dimensions = self.described[self.widest]["dimensions"]
        for name in self.names:
            others = set(self.described[name]["dimensions"]) - set(dimensions)
            if others:
                raise InvalidArgument(
                    f"variable {name} and another have different dimensions, so there are no rows "
                    "that hold both; convert them into two tables",
                    context={"variable": name, "dimension": ", ".join(sorted(others))},
                )
        self.dimensions = [dimension, *(name for name in dimensions if name != dimension)]

    @property
    def columns(self) -> list[str]:
        """The names of all columns: the axis, the other dimensions, the other variables."""
        return list(dict.fromkeys([*self.names[:1], *self.dimensions[1:], *self.names]))

    def schema(self) -> pa.Schema:
        """The columns and their types; only metadata is read."""
        fixed = self.labels(self.columns)
        data = _arrays(self.native.read_rows([], self.native.last_commit(), self.names))
        return self.batch(data, fixed, self.columns, 0, {}).schema

    def labels(self, columns: Sequence[str]) -> dict[str, Any]:
        """The values of the dimensions among some columns that have a variable."""
        names = [
            name
            for name in self.dimensions[1:]
            if name in columns and name in self.described and name not in self.names
        ]
        if not names:
            return {}
        fixed = _arrays(self.native.read_rows([], self.native.last_commit(), names))
        return {name: fixed[name].values for name in names}

    def read(
        self, where: _native.Predicate | None = None, columns: Sequence[str] | None = None
    ) -> LongRows:
        """The rows, with all columns or with some of them."""
        return LongRows(self, where, self.columns if columns is None else columns)

    def batch(
        self,
        data: Mapping[str, xr.Variable],
        labels: Mapping[str, Any],
        columns: Sequence[str],
        rows: int,
        sizes: Mapping[Any, int],
    ) -> pa.RecordBatch:
        """The long form of so many rows of a partition."""
        pa = pyarrow("making rows")
        # Without rows the sizes of the other dimensions are not known.
        shape = (rows, *(sizes.get(name, 0) for name in self.dimensions[1:]))
        made = {}
        for name in columns:
            if name in data:
                made[name] = self._column(name, data[name], shape)
            else:
                size = shape[self.dimensions.index(name)]
                values = np.asarray(labels.get(name, np.arange(size)))[:size]
                made[name] = arrow_array(_spread(values, [name], self.dimensions, shape))
        if not made:
            # A batch without columns takes the number of its rows from one that has some.
            rows = int(np.prod(shape, dtype=np.int64))
            return pa.RecordBatch.from_arrays([pa.nulls(rows)], ["row"]).select([])
        return pa.RecordBatch.from_arrays(list(made.values()), list(made))

    def _column(self, name: str, variable: xr.Variable, shape: tuple[int, ...]) -> pa.Array:
        pa = pyarrow("making rows")
        if packing_of_dates(variable.values, variable.attrs, variable.encoding) is not None:
            calendar = variable.attrs.get("calendar", "standard")
            raise InvalidArgument(
                f"variable {name} holds dates of the calendar {calendar}, or beyond the range of "
                "nanoseconds, for which no column of a table has a type; leave the variable out "
                "(variables=)",
                context={"variable": name, "calendar": str(calendar)},
            )
        values, missing = _unpacked(variable)
        dims = [str(dim) for dim in variable.dims]
        spread = _spread(values, dims, self.dimensions, shape)
        mask = None if missing is None else _spread(missing, dims, self.dimensions, shape)
        kind = None
        if spread.dtype.kind == "O":
            # An empty array of objects does not show the type of its items.
            kind = pa.binary() if self.described[name]["dtype"] == "bytes" else pa.string()
        try:
            return arrow_array(spread, kind, mask=mask)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError) as error:
            raise InvalidArgument(
                f"variable {name} has a type that no column of a table has: {spread.dtype}",
                context={"variable": name},
            ) from error


class LongRows(Iterator["pa.RecordBatch"]):
    """The rows of a collection at one state, some hundred thousand at once.

    If there are none, it is one batch without rows. It is not a generator, for the reason that
    `partita.engines._batches.Batches` names.
    """

    def __init__(
        self, form: LongForm, where: _native.Predicate | None, columns: Sequence[str]
    ) -> None:
        self._form = form
        self._columns = list(columns)
        self._names = [name for name in form.names if name in columns]
        self._labels = form.labels(columns)
        self._commit, places = form.native.plan(where, [form.widest])
        self._sizes: dict[Any, int] = {}
        if places:
            # Partitions differ in their rows alone.
            self._sizes = _sizes(self._arrays([(places[0][0][0].path, [(0, 0)])], [form.widest]))
        width = int(np.prod([self._sizes.get(name, 0) for name in form.dimensions[1:]], dtype="i8"))
        step = max(_ROWS // max(width, 1), 1)
        pieces = [
            (partition.path, piece)
            for (partition, runs), _ in places
            for piece in _pieces(runs, step)
        ]
        self._pieces = iter(pieces or [("", (0, 0))])
        self.total = sum(stop - start for _, (start, stop) in pieces)
        self.done = 0
        """How many rows of the collection were read, of the total."""

    def __next__(self) -> pa.RecordBatch:
        path, (start, stop) = next(self._pieces)
        data = self._arrays([(path, [(start, stop)])] if path else [], self._names)
        self.done += stop - start
        return self._form.batch(data, self._labels, self._columns, stop - start, self._sizes)

    def _arrays(
        self, rows: Sequence[tuple[str, Sequence[tuple[int, int]]]], names: list[str]
    ) -> dict[str, xr.Variable]:
        if not names:
            return {}
        return _arrays(self._form.native.read_rows(rows, self._commit, names))


def long_form(
    native: _native.Collection,
    axis: str,
    dimension: str,
    variables: Sequence[str] | None,
    where: _native.Predicate | None,
    report: Report | None,
) -> Iterator[pa.RecordBatch]:
    """The rows of a collection in the form of `LongForm`, with a report of how many were read."""
    rows = LongForm(native, axis, dimension, variables).read(where)
    for batch in rows:
        yield batch
        if report is not None and rows.total:
            report("convert", rows.done, rows.total)


def _arrays(data: _native.Dataset) -> dict[str, xr.Variable]:
    return by_path(to_xarray(data))


def _sizes(arrays: Mapping[str, xr.Variable]) -> dict[Any, int]:
    return {name: size for one in arrays.values() for name, size in one.sizes.items()}


def _chosen(
    described: Mapping[str, Any], axis: str, dimension: str, variables: Sequence[str] | None
) -> list[str]:
    if variables is None:
        names = [name for name, v in described.items() if dimension in v["dimensions"]]
    else:
        names = list(variables)
    for name in names:
        if name not in described:
            raise NotFound(f"the collection has no variable {name!r}", context={"variable": name})
        if dimension not in described[name]["dimensions"]:
            raise InvalidArgument(
                f"variable {name} has no dimension {dimension}, along which rows are made",
                context={"variable": name},
            )
    if axis in described:
        names = [axis, *(name for name in names if name != axis)]
    return names


def _pieces(runs: Sequence[tuple[int, int]], step: int) -> Iterator[tuple[int, int]]:
    for start, stop in runs:
        for first in range(start, stop, step):
            yield first, min(first + step, stop)


def _unpacked(variable: xr.Variable) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any] | None]:
    """The values, and which of them are missing."""
    values, encoding = variable.values, variable.encoding
    stored = Packing.of(variable.attrs)
    # The fill value in the encoding of decoded values belongs to their packed form.
    is_decoded = not Packing.of(encoding).is_trivial or "dtype" in encoding
    if not is_decoded and encoding.get("_FillValue") is not None:
        stored = replace(stored, fills=(encoding["_FillValue"], *stored.fills))
    if not stored.is_trivial:
        conventions = optional("xarray.conventions", "unpacking numbers")
        keys = (*MEANING, "_FillValue")
        attributes = {key: variable.attrs[key] for key in keys if key in variable.attrs}
        raw = type(variable)(variable.dims, values, attributes)
        values = conventions.decode_cf_variable(
            "packed", raw, concat_characters=False, decode_timedelta=decode_durations(attributes)
        ).values
        missing = np.isnat(values) if values.dtype.kind in "mM" else values != values
        return values, missing
    missing = stored.is_missing(values)
    if values.dtype.kind in "mM" or (is_decoded and values.dtype.kind in "fc"):
        nothing = np.isnat(values) if values.dtype.kind in "mM" else np.isnan(values)
        missing = nothing if missing is None else missing | nothing
    return values, missing


def _spread(
    values: np.ndarray[Any, Any],
    own: Sequence[str],
    dimensions: Sequence[str],
    shape: tuple[int, ...],
) -> np.ndarray[Any, Any]:
    """The values in the order of the rows, repeated along the dimensions that they lack."""
    ordered = [name for name in dimensions if name in own]
    values = values.transpose([list(own).index(name) for name in ordered])
    wide = [n if name in own else 1 for name, n in zip(dimensions, shape, strict=True)]
    return np.broadcast_to(values.reshape(wide), shape).ravel()


class Pivot:
    """How rows become arrays: one item of a variable from each row.

    Parameters
    ----------
    axis : str
        The column along which the collection grows, and the name of its dimension.
    dimensions : sequence of str
        The columns that become the other dimensions; their values are stored once.
    flat : sequence of str
        The columns that have one value for each value of the axis.
    """

    def __init__(self, axis: str, dimensions: Sequence[str], flat: Sequence[str]) -> None:
        self.axis = axis
        self.dimensions = list(dimensions)
        self.flat = set(flat)
        self.labels: dict[str, np.ndarray[Any, Any]] = {}

    def look(self, table: Any, by: Partitioning, where: Any) -> list[Expr]:
        """Learns the labels of dimensions; gives a condition for the rows of each partition."""
        keys = [self.axis] if isinstance(by, Date) else list(by.variables)
        found: dict[str, Any] = {name: None for name in self.dimensions}
        places: Any = None
        for batch in table.scan(list(dict.fromkeys([*keys, *self.dimensions])), where).to_batches():
            for name in self.dimensions:
                values = np.unique(_numpy(batch, name))
                known = found[name]
                found[name] = values if known is None else np.union1d(known, values)
            rows = np.unique(np.stack([_period(_numpy(batch, k), by) for k in keys], 1), axis=0)
            places = rows if places is None else np.unique(np.vstack([places, rows]), axis=0)
        self.labels = {name: values for name, values in found.items() if values is not None}
        if places is None:
            raise InvalidArgument("there are no rows, so nothing to make a collection of")
        return [_condition(keys, place, by) for place in places.tolist()]

    def arrays(self, rows: pa.Table) -> xr.Dataset:
        """The dataset of the rows of one partition."""
        xarray = optional("xarray", "making arrays")
        times, at = np.unique(_numpy(rows, self.axis), return_inverse=True)
        where = [at]
        for name in self.dimensions:
            where.append(np.searchsorted(self.labels[name], _numpy(rows, name)))
        shape = (times.size, *(self.labels[name].size for name in self.dimensions))
        place = np.ravel_multi_index(tuple(where), shape)
        if np.unique(place).size != place.size:
            raise InvalidArgument(
                f"several rows have the same {', '.join([self.axis, *self.dimensions])}, so there "
                "is no one item for them",
                context={"column": self.axis},
            )
        variables = {}
        for name in rows.column_names:
            if name == self.axis or name in self.dimensions:
                continue
            if name in self.flat:
                variables[name] = _variable(rows, name, at, (times.size,), (self.axis,))
            else:
                dims = (self.axis, *self.dimensions)
                variables[name] = _variable(rows, name, place, shape, dims)
        coordinates = {self.axis: times, **self.labels}
        return xarray.Dataset(variables, {name: (name, v) for name, v in coordinates.items()})


def to_collection(
    table: Table,
    url: Any,
    axis: str,
    by: Partitioning,
    dimensions: Sequence[str],
    flat: Sequence[str],
    columns: Sequence[str],
    where: Where | None,
    report: Report | None,
    options: Mapping[str, Any],
) -> Collection:
    """Makes a collection of the rows of a table, a partition at a time, in one commit."""
    from partita._functions import Inserting
    from partita.dataset import create_collection

    inserting = Inserting(None, encode=False)
    pivot = Pivot(axis, dimensions, flat)
    narrowed = None if where is None else Expr(predicate(where))
    conditions = pivot.look(table, by, where)
    collection: Collection | None = None
    staged: list[bytes] = []
    for done, condition in enumerate(conditions, 1):
        both = condition if narrowed is None else condition & narrowed
        arrays = pivot.arrays(table.scan(columns, both).to_arrow())
        if collection is None:
            collection = create_collection(
                url, arrays, axis=axis, partition_by=by, insert=False, **options
            )
        changes = inserting.stage(collection._native, arrays, not staged)
        staged += [form for *_, form in changes]
        if report is not None:
            report("convert", done, len(conditions))
    assert collection is not None
    _, stale = collection._native.commit_staged("insert", staged, None)
    if stale:
        raise CommitConflict("others wrote to the collection while it was made")
    return collection


def _variable(
    rows: pa.Table, name: str, place: Any, shape: tuple[int, ...], dims: tuple[str, ...]
) -> xr.Variable:
    """A variable with the items of a column at their places, and the fill value elsewhere."""
    xarray = optional("xarray", "making arrays")
    values = _numpy(rows, name)
    missing = rows.column(name).is_null().to_numpy()
    fill: Any = {"f": np.nan, "c": np.nan, "M": "NaT", "m": "NaT", "O": ""}.get(values.dtype.kind)
    if values.dtype.kind in "iu":
        fill = np.iinfo(values.dtype).max
    elif values.dtype.kind == "b":
        fill = False
    array = np.full(shape, fill, values.dtype)
    array.reshape(-1)[place[~missing]] = values[~missing]
    encoding = {} if values.dtype.kind in "Ob" else {"_FillValue": array.dtype.type(fill)}
    return xarray.Variable(dims, array, encoding=encoding)


def _numpy(rows: Any, name: str) -> np.ndarray[Any, Any]:
    """A column as numpy has it; what is null has any value."""
    pa = pyarrow("making arrays")
    column = rows.column(name)
    column = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if column.null_count and not pa.types.is_floating(column.type):
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            column = column.fill_null("")
        else:
            column = column.fill_null(pa.scalar(0, pa.int64()).cast(pa.int64()).cast(column.type))
    values = column.to_numpy(zero_copy_only=False)
    return values.astype("M8[D]") if pa.types.is_date(column.type) else values


def _period(values: np.ndarray[Any, Any], by: Partitioning) -> np.ndarray[Any, Any]:
    if isinstance(by, Date):
        return values.astype(f"M8[{by.code}]").astype("i8")
    return values.astype("i8")


def _condition(keys: Sequence[str], place: Sequence[int], by: Partitioning) -> Expr:
    if isinstance(by, Date):
        unit = by.code
        # The codes are not literals, which the types of numpy ask for.
        moment: Any = np.datetime64
        start, end = (moment(n, unit).astype("M8[us]").item() for n in (place[0], place[0] + 1))
        return (col(keys[0]) >= start) & (col(keys[0]) < end)
    found: Expr | None = None
    for name, value in zip(keys, place, strict=True):
        one = col(name) == value
        found = one if found is None else found & one
    assert found is not None
    return found
