"""Variables that are computed when they are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import dask.array as da
import dask.threaded
import numpy as np
from dask.base import compute, normalize_token, persist

from partita.compat.zcollection.variable.abc import Variable, checked_fill, new_variable
from partita.compat.zcollection.variable.array import zarr_properties

__all__ = ["DelayedArray", "ModifiedVariableError"]


class ModifiedVariableError(RuntimeError):
    """The partitions of a variable have other sizes by now than when it was loaded."""

    def __str__(self) -> str:
        return (
            "You tried to access the data of a variable that has been modified since its "
            "initialization. Try to re-load the dataset."
        )


class DelayedArray(Variable):
    """A variable that holds an array of Dask; it is a collection of Dask itself."""

    __slots__ = ()

    @staticmethod
    def _accepted(data: Any, fill_value: Any) -> tuple[Any, Any]:
        array = da.asarray(data)
        if not isinstance(array._meta, np.ma.MaskedArray):
            return array, fill_value
        fill_value = checked_fill(fill_value, array._meta)
        return da.ma.filled(array, fill_value), fill_value

    @staticmethod
    def _joined(arrays: Sequence[Any], axis: int) -> Any:
        return da.concatenate(arrays, axis=axis)

    @property
    def data(self) -> Any:
        """The items as an array of Dask, masked where they equal the fill value."""
        if self.fill_value is None or isinstance(self.array._meta, np.ma.MaskedArray):
            return self.array
        return da.ma.masked_equal(self.array, self.fill_value)

    def compute(self, **kwargs: Any) -> Any:
        """The items as an array of numpy, masked where they equal the fill value.

        Raises
        ------
        ModifiedVariableError
            If the partitions have other sizes by now than when it was loaded.
        """
        (values,) = compute(self.array, traverse=False, **kwargs)
        return values if self.fill_value is None else np.ma.masked_equal(values, self.fill_value)

    def persist(self, **kwargs: Any) -> DelayedArray:
        """Compute it, and keep it in memory."""
        (self.array,) = persist(self.array, **kwargs)
        return self

    def fill(self) -> DelayedArray:
        """Set every item to the fill value, if there is one."""
        if self.fill_value is not None:
            self.array = da.full_like(self.array, self.fill_value)
        return self

    def rechunk(self, **kwargs: Any) -> DelayedArray:
        """The variable cut into other chunks; the arguments are those of ``dask``."""
        return self._like(array=self.array.rechunk(**kwargs))

    def __getitem__(self, key: Any) -> Any:
        return self.data[key]

    @classmethod
    def from_zarr(cls, array: Any, name: str, dimension: str, **kwargs: Any) -> DelayedArray:
        """The variable of an array of Zarr, which is read when it is asked for."""
        data = da.from_array(array, chunks=array.chunks, **kwargs)
        return new_variable(cls, array=data, **zarr_properties(array, name, dimension))

    def to_dask_array(self) -> Any:
        """The same as `data`."""
        return self.data

    # The protocol of Dask's collections

    __dask_scheduler__ = staticmethod(dask.threaded.get)
    __dask_optimize__ = da.Array.__dask_optimize__

    def __dask_graph__(self) -> Any:
        return self.data.__dask_graph__()

    def __dask_keys__(self) -> Any:
        return self.data.__dask_keys__()

    def __dask_layers__(self) -> Any:
        return self.data.__dask_layers__()

    def __dask_tokenize__(self) -> Any:
        return normalize_token((type(self), self.name, self.array, self.dimensions))

    def __dask_postcompute__(self) -> Any:
        function, arguments = self.data.__dask_postcompute__()
        return self._rebuilt, (function, *arguments)

    def __dask_postpersist__(self) -> Any:
        function, arguments = self.data.__dask_postpersist__()
        return self._rebuilt, (function, *arguments)

    def _rebuilt(self, results: Any, function: Any, *arguments: Any, **kwargs: Any) -> DelayedArray:
        array = function(results, *arguments, **kwargs)
        return self._like(array=array if isinstance(array, da.Array) else da.from_array(array))
