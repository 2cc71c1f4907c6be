"""Variables in memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import dask.array as da
import numpy as np

from partita.compat.zcollection.meta import Attribute
from partita.compat.zcollection.variable.abc import Variable, checked_fill, new_variable

__all__ = ["Array"]


class Array(Variable):
    """A variable that holds an array of numpy."""

    __slots__ = ()

    @staticmethod
    def _accepted(data: Any, fill_value: Any) -> tuple[Any, Any]:
        array = np.asanyarray(data.compute() if isinstance(data, da.Array) else data)
        if not isinstance(array, np.ma.MaskedArray):
            return array, fill_value
        fill_value = checked_fill(fill_value, array)
        return array.filled(fill_value), fill_value

    @staticmethod
    def _joined(arrays: Sequence[Any], axis: int) -> Any:
        return np.concatenate(arrays, axis=axis)

    @property
    def data(self) -> Any:
        """The items as an array of Dask, masked where they equal the fill value."""
        array = da.from_array(self.array)
        return array if self.fill_value is None else da.ma.masked_equal(array, self.fill_value)

    def compute(self, **_: Any) -> Any:
        """The items as an array of numpy, masked where they equal the fill value."""
        return self[...]

    def persist(self, **_: Any) -> Array:
        """The variable itself."""
        return self

    def fill(self) -> Array:
        """Set every item to the fill value, if there is one."""
        if self.fill_value is not None:
            self.array = np.full_like(self.array, self.fill_value)
        return self

    def rechunk(self, **_: Any) -> Array:
        """The variable itself."""
        return self

    def __getitem__(self, key: Any) -> Any:
        # The array itself if all of it is wanted: programs compare identities and write to it.
        items = self.array if key is Ellipsis else self.array[key]
        return items if self.fill_value is None else np.ma.masked_equal(items, self.fill_value)

    @classmethod
    def from_zarr(cls, array: Any, name: str, dimension: str, **_: Any) -> Array:
        """The variable of an array of Zarr, which is read."""
        return new_variable(
            cls,
            array=array[...],
            **zarr_properties(array, name, dimension),
        )


def zarr_properties(array: Any, name: str, dimension: str) -> dict[str, Any]:
    """What an array of Zarr 2 says of a variable, without its items."""
    attributes = dict(array.attrs)
    dimensions = attributes.pop(dimension)
    metadata = array.metadata if hasattr(array, "metadata") else array
    return {
        "name": name,
        "dimensions": tuple([dimensions] if isinstance(dimensions, str) else dimensions),
        "attrs": tuple(Attribute(*item) for item in attributes.items()),
        "compressor": metadata.compressor,
        "fill_value": array.fill_value,
        "filters": tuple(metadata.filters or ()),
    }
