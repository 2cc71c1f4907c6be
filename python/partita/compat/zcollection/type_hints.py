"""Names of types for annotations."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import numpy.typing

__all__ = ["ArrayLike", "DType", "DTypeLike", "NDArray", "NDMaskedArray"]

DType = np.dtype
NDArray = np.ndarray
DTypeLike = numpy.typing.DTypeLike
NDMaskedArray = np.ma.MaskedArray


class ArrayLike(Protocol):
    """An array of numpy, of Dask, or of a kind that behaves like them."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the items."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The sizes of the dimensions."""

    def astype(self, dtype: Any) -> Any:
        """The array in another type."""
