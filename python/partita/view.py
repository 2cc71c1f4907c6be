"""Views: variables laid over a collection that is not changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from partita import _native
from partita._credentials import carried
from partita._encoding import attributes_of
from partita._progress import Progress, reporting
from partita._xarray import describe_variable, missing_of
from partita.collection import Collection, predicate_of
from partita.errors import InvalidArgument
from partita.expression import Where
from partita.records import CollectionPartition

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Variable", "View"]


@dataclass(frozen=True)
class Variable:
    """A variable that a view is to have.

    Examples
    --------
    >>> import partita as pt
    >>> pt.Variable("sla", ("time", "x"), "f4", fill_value=float("nan")).name
    'sla'
    """

    name: str
    """Its name; a path for one in a group."""
    dimensions: Sequence[str]
    """The partitioned dimension, and others that the base has."""
    dtype: Any
    """The type of its items."""
    fill_value: Any = None
    """The value of items that are not stored. Without one it is NaN or NaT, and in types that have
    neither it is zero, False or an empty text."""
    attributes: Mapping[str, Any] = field(default_factory=dict)
    """Its attributes."""
    encoding: Mapping[str, Any] = field(default_factory=dict)
    """``compressor`` and ``filters`` as xarray's encoding has them."""


class View(Collection):
    """An open view; made by `create_view`, `open_view` and `open`.

    It is read, mapped and updated like a collection that has the variables of its base and its own.
    If both have a variable of the same name, that of the view is read. The base is never changed
    through a view: `insert` and `drop_partitions` are refused, `update` stores variables of the
    view only, and a copy of a view is a view, over the same base or a given one. If the rows of the
    base have changed, reading raises `OutOfSync` until `sync` is called.

    Examples
    --------
    >>> import numpy as np, partita as pt
    >>> time = np.arange("2022-01-30", "2022-02-03", dtype="M8[D]").astype("M8[us]")
    >>> ssh = pt.create_collection(
    ...     "memory://views/ssh",
    ...     {"time": ("time", time), "ssh": ("time", np.arange(4.0))},
    ...     axis="time",
    ...     partition_by=pt.Date("time", "month"),
    ... )
    >>> view = pt.create_view(
    ...     "memory://views/double", ssh, [pt.Variable("double", ("time",), "f8", fill_value=-1)]
    ... )
    >>> _ = view.update(lambda ds: {"double": ds.ssh * 2}, "month == 2")
    >>> view.read(variables=["ssh", "double"]).double.values
    array([-1., -1.,  4.,  6.])
    """

    _base: Collection | None = None

    # What it is

    @property
    def base(self) -> Collection:
        """The collection under the view, for reading."""
        if self._base is not None:
            return self._base
        # The options with which the view was opened fit its base if both are in stores of one kind.
        options = self._storage_options if self._native.shares_store() else {}
        native = self._native.base_collection()
        return Collection(native, options, read_only=True, single_writer=False)

    @property
    def own_variables(self) -> list[str]:
        """The paths of the variables that the view stores itself."""
        return self._native.own_variables()

    @property
    def where(self) -> str | None:
        """Which partitions of the base it covers: a condition on the fields of keys, or None for
        all."""
        return self._native.covered()

    # Synchronising with the base

    def is_synced(self) -> bool:
        """Whether it has the partitions of the base that it covers, with the same rows.

        Examples
        --------
        >>> import partita as pt
        >>> c = pt.create_collection(
        ...     "memory://examples/is_synced",
        ...     {"time": ("time", [0, 1, 5]), "v": ("time", [1.0, 2.0, 3.0])},
        ...     axis="time",
        ...     partition_by=pt.GroupedSequence(["time"], size=5),
        ...     zarr_format=3,
        ... )
        >>> v = pt.create_view("memory://examples/over1", c, [pt.Variable("w", ("time",), "f4")])
        >>> _ = c.insert({"time": ("time", [6]), "v": ("time", [4.0])}, merge="upsert")
        >>> v.is_synced()
        False
        """
        return self._native.is_synced()

    def sync(
        self, where: Where | None = None, *, key: str | None = None, progress: Progress = False
    ) -> list[CollectionPartition]:
        """Bring the view in line with its base, in one commit.

        Partitions that are new in the base are made, with fill values, if the view covers them.
        Partitions that are gone are dropped. Where rows changed, the values of rows that are still
        there are kept, which are found by their values on the axis; new rows get the fill value.

        Parameters
        ----------
        where : expression, str, list or dict, optional
            Which partitions it covers from now on: a condition on the fields of keys.
            ``where="true"`` means all. Partitions that it has already stay.
        key : str, optional
            A name of your own for this commit. If a commit of this name was made before, nothing is
            done and the list is empty.
        progress : bool or callable, default False
            True shows a bar on standard error; a callable is called with (done, total) partitions.

        Returns
        -------
        list of CollectionPartition
            The partitions that were written.

        Examples
        --------
        >>> import partita as pt
        >>> c = pt.create_collection(
        ...     "memory://examples/sync",
        ...     {"time": ("time", [0, 1, 5]), "v": ("time", [1.0, 2.0, 3.0])},
        ...     axis="time",
        ...     partition_by=pt.GroupedSequence(["time"], size=5),
        ...     zarr_format=3,
        ... )
        >>> v = pt.create_view("memory://examples/over2", c, [pt.Variable("w", ("time",), "f4")])
        >>> _ = c.insert({"time": ("time", [6]), "v": ("time", [4.0])}, merge="upsert")
        >>> [partition.path for partition in v.sync()]
        ['time=5']
        """
        with reporting(progress) as report:
            return self._native.sync(predicate_of(where), report, key)

    def _copied(
        self,
        native: _native.Collection,
        base: Collection | None,
        options: dict[str, Any],
        single_writer: bool,
    ) -> View:
        how = {"read_only": False, "single_writer": single_writer}
        return view_of(native, options, base or self.base, **how)

    def _elsewhere(self, native: _native.Collection, *, read_only: bool) -> Self:
        found = super()._elsewhere(native, read_only=read_only)
        found._base = self._base
        return found

    # Pickling

    def _reference(self) -> Any:
        from partita._lazy import Reference

        base = None if self._base is None else self._base._reference()
        return Reference(
            self.url,
            self._storage_options,
            self._single_writer,
            self._native,
            view=True,
            base=base,
        )

    def __reduce__(self) -> tuple[Any, ...]:
        how = (self._read_only, self._single_writer)
        url = carried(self.url, self._storage_options)
        return _reopen, (url, self._storage_options, *how, self._base)


def _reopen(
    url: str,
    options: dict[str, Any],
    read_only: bool,
    single_writer: bool,
    base: Collection | None,
) -> View:
    below = None if base is None else base._native
    native = _native.Collection.open_view(url, options, read_only, single_writer, below)
    return view_of(native, options, base, read_only=read_only, single_writer=single_writer)


def view_of(
    native: _native.Collection,
    options: dict[str, Any],
    base: Collection | None,
    *,
    read_only: bool,
    single_writer: bool,
) -> View:
    """A view that the engine opened, over its own base if none is given."""
    view = View(native, options, read_only=read_only, single_writer=single_writer)
    view._base = base
    return view


def schema_of(
    variables: Sequence[Variable], attributes: Mapping[str, Any] | None
) -> _native.Schema:
    """The engine's form of variables, and of the attributes of a view."""
    if isinstance(variables, (str, Variable)) or not isinstance(variables, Sequence):
        raise InvalidArgument("variables= takes a list of partita.Variable")
    described = _group()
    described["attributes"] = attributes_of("the view", attributes or {})
    for variable in variables:
        if not isinstance(variable, Variable):
            raise InvalidArgument(f"variables= takes a list of partita.Variable, not {variable!r}")
        *groups, name = variable.name.split("/")
        within = described
        for group in groups:
            within = within["groups"].setdefault(group, _group())
        if any(name == known["name"] for known in within["variables"]):
            raise InvalidArgument(
                f"two variables are named {variable.name!r}", context={"variable": variable.name}
            )
        own = describe_variable(
            name,
            tuple(variable.dimensions),
            variable.dtype,
            missing_of(variable.dtype) if variable.fill_value is None else variable.fill_value,
            variable.attributes,
            variable.encoding,
        )
        within["variables"].append(own)
        known = {dimension["name"] for dimension in within["dimensions"]}
        for dimension in dict.fromkeys(variable.dimensions):
            if dimension not in known:
                described_as = {"name": dimension, "size": None, "chunks": None, "shards": None}
                within["dimensions"].append(described_as)
    return _native.Schema.from_dict(described)


def _group() -> dict[str, Any]:
    return {
        "dimensions": [],
        "variables": [],
        "attributes": {},
        "groups": {},
        "chunk_bytes": None,
    }
