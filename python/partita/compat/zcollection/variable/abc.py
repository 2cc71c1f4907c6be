"""What both kinds of variables have in common."""

from __future__ import annotations

import abc
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from partita.compat.zcollection import meta
from partita.compat.zcollection.meta import Attribute

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["Variable", "new_variable"]

V = TypeVar("V", bound="Variable")


def new_variable(cls: type[V], **values: Any) -> V:
    """A variable with these attributes, none of which is checked or converted."""
    variable = cls.__new__(cls)
    for name, value in values.items():
        setattr(variable, name, value)
    return variable


def checked_fill(given: Any, masked: np.ma.MaskedArray[Any, Any]) -> Any:
    """The fill value of a masked array, which must be the one that was given, if any was."""
    found = masked.fill_value
    if given is None:
        return found
    # 3 and 3.0 are as different as 3 and 4: one of them was not meant.
    same = type(given) is type(found) and (given == found or (given != given and found != found))
    if not same:
        raise ValueError(
            f"The fill value {given!r} does not match the fill value {found!r} of the array."
        )
    return found


class Variable(abc.ABC):
    """An array with a name, named dimensions, attributes, a fill value and codecs.

    ``array`` holds the items as they are stored, fill values included.
    """

    __slots__ = ("array", "attrs", "compressor", "dimensions", "fill_value", "filters", "name")

    def __init__(
        self,
        name: str,
        data: Any,
        dimensions: Sequence[str],
        *,
        attrs: Sequence[Attribute] | None = None,
        compressor: Any = None,
        fill_value: Any = None,
        filters: Sequence[Any] | None = None,
    ) -> None:
        self.name = name
        self.array, self.fill_value = self._accepted(data, fill_value)
        self.dimensions = tuple(dimensions)
        self.attrs: tuple[Attribute, ...] = tuple(attrs or ())
        self.compressor = compressor
        self.filters = tuple(filters or ())

    @staticmethod
    @abc.abstractmethod
    def _accepted(data: Any, fill_value: Any) -> tuple[Any, Any]:
        """An array of the kind that the class holds, and its fill value."""

    @staticmethod
    @abc.abstractmethod
    def _joined(arrays: Sequence[Any], axis: int) -> Any:
        """Arrays joined along an axis."""

    @property
    @abc.abstractmethod
    def data(self) -> Any:
        """The items as an array of Dask, masked where they equal the fill value."""

    @property
    def values(self) -> Any:
        """The items as an array of numpy, masked where they equal the fill value."""
        return self.compute()

    @values.setter
    def values(self, data: Any) -> None:
        if len(data.shape) != len(self.dimensions):
            raise ValueError("data shape does not match variable dimensions")
        self.array, self.fill_value = self._accepted(data, self.fill_value)

    @abc.abstractmethod
    def compute(self, **kwargs: Any) -> Any:
        """The same as `values`; the arguments are those of ``dask.compute``."""

    @abc.abstractmethod
    def persist(self: V, **kwargs: Any) -> V:
        """Compute what is lazy, and keep it in memory."""

    @abc.abstractmethod
    def fill(self: V) -> V:
        """Set every item to the fill value, if there is one."""

    @abc.abstractmethod
    def rechunk(self: V, **kwargs: Any) -> V:
        """The variable cut into other chunks."""

    @abc.abstractmethod
    def __getitem__(self, key: Any) -> Any: ...

    @classmethod
    @abc.abstractmethod
    def from_zarr(cls: type[V], array: Any, name: str, dimension: str, **kwargs: Any) -> V:
        """The variable of an array of Zarr; `dimension` names the attribute with its dimensions."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the items."""
        return self.array.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """The sizes of the dimensions."""
        return self.array.shape

    @property
    def ndim(self) -> int:
        """How many dimensions there are."""
        return len(self.dimensions)

    @property
    def size(self) -> int:
        """How many items there are."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """The size of the items in memory."""
        return self.size * self.dtype.itemsize

    def _like(self: V, **changed: Any) -> V:
        kept = {name: getattr(self, name) for name in Variable.__slots__}
        return new_variable(type(self), **{**kept, **changed})

    def duplicate(self: V, data: Any) -> V:
        """The variable with other data."""
        if len(data.shape) != len(self.dimensions):
            raise ValueError("data shape does not match variable dimensions")
        array, fill_value = self._accepted(data, self.fill_value)
        return self._like(array=array, fill_value=fill_value)

    def isel(self: V, key: tuple[Any, ...]) -> V:
        """The items at positions along each dimension."""
        return self._like(array=self.array[key])

    def set_for_insertion(self: V) -> V:
        """The variable without attributes."""
        return self._like(attrs=())

    def rename(self: V, name: str) -> V:
        """The variable with another name."""
        return self._like(name=name)

    def concat(self: V, other: V | Sequence[V], dim: str) -> V:
        """The variable followed by others, along a dimension; itself if it lacks that."""
        others = list(other) if isinstance(other, Sequence) else [other]
        if not others:
            raise ValueError("other must be a non-empty sequence")
        if not all(isinstance(item, type(self)) for item in others):
            raise ValueError(f"other must be a sequence of {type(self)}")
        if dim not in self.dimensions:
            return self._like()
        arrays = [self.array, *(item.array for item in others)]
        return self._like(array=self._joined(arrays, self.dimensions.index(dim)))

    def fill_attrs(self, var: meta.Variable) -> None:
        """Take the attributes of a description."""
        self.attrs = var.attrs

    def metadata(self) -> meta.Variable:
        """The variable without its data."""
        return meta.Variable(
            self.name,
            self.dtype,
            dimensions=self.dimensions,
            attrs=self.attrs,
            compressor=self.compressor,
            fill_value=self.fill_value,
            filters=self.filters,
        )

    def have_same_properties(self, other: Variable) -> bool:
        """Whether another variable is described the same."""
        return self.metadata() == other.metadata()

    def dimension_index(self) -> Iterator[tuple[str, int]]:
        """The dimensions with their positions."""
        yield from ((name, position) for position, name in enumerate(self.dimensions))

    def to_xarray(self) -> xr.Variable:
        """The variable of xarray, not decoded; times in nanoseconds."""
        import xarray

        encoding: dict[str, Any] = {}
        if self.filters:
            encoding["filters"] = self.filters
        if self.compressor:
            encoding["compressor"] = self.compressor
        data = self.array
        if self.dtype.kind in "Mm":
            encoding["dtype"] = "int64"
        if self.dtype.kind == "M":
            data = data.astype("datetime64[ns]")
        attributes = dict(attribute.get_config() for attribute in self.attrs)
        if self.fill_value is not None:
            attributes["_FillValue"] = self.fill_value
        return xarray.Variable(self.dimensions, data, attributes, encoding)

    def __repr__(self) -> str:
        sizes = ", ".join(f"{d}: {n}" for d, n in zip(self.dimensions, self.shape, strict=True))
        lines = [f"<{type(self).__module__}.{type(self).__name__} ({sizes})>", repr(self.array)]
        if self.attrs:
            lines.append("  Attributes:")
            lines += [f"    {attribute.name}: {attribute.value!r}" for attribute in self.attrs]
        if self.filters:
            lines += ["  Filters:", *(f"    {codec!r}" for codec in self.filters)]
        if self.compressor:
            lines += ["  Compressor:", f"    {self.compressor!r}"]
        return "\n".join(lines)

    def __hash__(self) -> int:
        return hash(self.name)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        values = self.values
        if isinstance(values, np.ma.MaskedArray):
            values = values.data
        return values if dtype is None else values.astype(dtype)
