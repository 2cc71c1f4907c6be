"""What a collection or a dataset is, without data."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from partita._xarray import missing_of

__all__ = ["BLOCK_SIZE_LIMIT", "Attribute", "Dataset", "Dimension", "Pair", "Variable"]

BLOCK_SIZE_LIMIT = 134217728
"""The largest chunk that is chosen automatically, in bytes."""


class Pair:
    """A name with a value that JSON can hold."""

    __slots__ = ("name", "value")

    def __init__(self, name: str, value: Any) -> None:
        self.name = name
        if isinstance(value, (np.ndarray, np.generic)):
            value = value.tolist()
        self.value: Any = value

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, {self.value})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Pair) and self.get_config() == other.get_config()

    __hash__ = None  # type: ignore[assignment]

    def get_config(self) -> tuple[str, Any]:
        """The name and the value."""
        return self.name, self.value

    @classmethod
    def from_config(cls, data: Sequence[Any]) -> Any:
        """The pair of a name and a value."""
        return cls(*data)


class Dimension(Pair):
    """A dimension and how it is cut into chunks."""

    __slots__ = ()


class Attribute(Pair):
    """An attribute of a dataset or of a variable."""

    __slots__ = ()


class Variable:
    """A variable: its type, dimensions, attributes, fill value and codecs.

    The fill value is that of decoded values: 65.536 where a filter of scale 1000 stores 65536.
    """

    __slots__ = ("attrs", "compressor", "dimensions", "dtype", "fill_value", "filters", "name")

    def __init__(
        self,
        name: str,
        dtype: Any,
        *,
        dimensions: Sequence[str] | None = None,
        attrs: Sequence[Attribute] | None = None,
        compressor: Any = None,
        fill_value: Any = None,
        filters: Sequence[Any] | None = None,
    ) -> None:
        self.name = name
        self.dtype: np.dtype[Any] = np.dtype(dtype)
        self.dimensions = tuple(dimensions or ())
        self.attrs = tuple(attrs or ())
        self.compressor = compressor
        self.fill_value = fill_value
        self.filters = tuple(filters or ())

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Variable) and self.get_config() == other.get_config()

    __hash__ = None  # type: ignore[assignment]

    def get_config(self) -> dict[str, Any]:
        """The variable in the types of JSON."""
        return {
            "attrs": sorted(attribute.get_config() for attribute in self.attrs),
            "compressor": None if self.compressor is None else self.compressor.get_config(),
            "dimensions": self.dimensions,
            "dtype": self.dtype.str,
            "fill_value": encode_fill(self.fill_value, self.dtype),
            "filters": tuple(codec.get_config() for codec in self.filters),
            "name": self.name,
        }

    @staticmethod
    def from_config(data: dict[str, Any]) -> Variable:
        """The variable that `get_config` described."""
        dtype: np.dtype[Any] = np.dtype(data["dtype"])
        filters = (codec_of(config) for config in data["filters"] or ())
        return Variable(
            data["name"],
            dtype,
            dimensions=data["dimensions"],
            attrs=[Attribute(*item) for item in data["attrs"]],
            compressor=codec_of(data["compressor"]),
            fill_value=decode_fill(data["fill_value"], dtype),
            filters=[codec for codec in filters if codec is not None],
        )

    def with_missing(self) -> Variable:
        """The variable with a fill value, NaN or NaT, if it has none and its type has such."""
        if self.fill_value is not None or self.dtype.kind not in "fcMm":
            return self
        config = {name: getattr(self, name) for name in Variable.__slots__}
        return Variable(**{**config, "fill_value": missing_of(self.dtype)})

    def set_for_insertion(self) -> Variable:
        """The variable without attributes."""
        return Variable(
            self.name,
            self.dtype,
            dimensions=self.dimensions,
            compressor=self.compressor,
            fill_value=self.fill_value,
            filters=self.filters,
        )


def codec_of(config: dict[str, Any] | None) -> Any:
    """The codec of numcodecs with this configuration."""
    if config is None:
        return None
    import numcodecs

    return numcodecs.get_codec(dict(config))


def encode_fill(value: Any, dtype: np.dtype[Any]) -> Any:
    """A fill value as metadata of Zarr 2 have it."""
    if value is None:
        return None
    if dtype.kind == "S":
        return base64.b64encode(bytes(value)).decode()
    if dtype.kind in "Mm":
        return int(np.asarray(value).astype(dtype).view("i8"))
    if dtype.kind == "c":
        number = complex(value)
        return [_encode_float(number.real), _encode_float(number.imag)]
    if dtype.kind == "f":
        return _encode_float(float(value))
    kinds: dict[str, type] = {"b": bool, "i": int, "u": int, "U": str}
    return kinds[dtype.kind](value) if dtype.kind in kinds else value


def _encode_float(value: float) -> Any:
    if value != value:
        return "NaN"
    if value in (float("inf"), float("-inf")):
        return "Infinity" if value > 0 else "-Infinity"
    return value


def decode_fill(value: Any, dtype: np.dtype[Any]) -> Any:
    """A fill value that metadata of Zarr 2 have."""
    if value is None:
        return None
    if dtype.kind == "S":
        return np.array(base64.b64decode(value), dtype)[()]
    if dtype.kind in "Mm":
        return np.array(-(2**63) if value == "NaT" else value, "i8").view(dtype)[()]
    if dtype.kind == "c":
        return dtype.type(complex(*map(float, value)))
    return np.array(float(value) if dtype.kind == "f" else value, dtype)[()]


class Dataset:
    """What a dataset holds: dimensions, variables, attributes and chunks."""

    __slots__ = ("attrs", "block_size_limit", "chunks", "dimensions", "variables")

    def __init__(
        self,
        dimensions: Sequence[str],
        variables: Sequence[Variable],
        *,
        attrs: Sequence[Attribute] | None = None,
        chunks: Sequence[Dimension] | None = None,
        block_size_limit: int | None = None,
    ) -> None:
        self.dimensions = tuple(dimensions)
        self.variables = {variable.name: variable for variable in variables}
        self.attrs = list(attrs or ())
        self.block_size_limit = block_size_limit or BLOCK_SIZE_LIMIT
        self.chunks = list(chunks or ())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Dataset) and self.get_config() == other.get_config()

    __hash__ = None  # type: ignore[assignment]

    def select_variables(
        self,
        keep_variables: Iterable[str] | None = None,
        drop_variables: Iterable[str] | None = None,
    ) -> set[str]:
        """The names of the variables, without those not to keep and those to drop."""
        names = set(self.variables)
        if keep_variables is not None:
            names &= set(keep_variables)
        return names - set(drop_variables or ())

    def get_config(self) -> dict[str, Any]:
        """The dataset in the types of JSON."""
        return {
            "attrs": sorted(attribute.get_config() for attribute in self.attrs),
            "dimensions": self.dimensions,
            "variables": tuple(
                self.variables[name].get_config() for name in sorted(self.variables)
            ),
            "chunks": tuple(dimension.get_config() for dimension in self.chunks),
            "block_size_limit": self.block_size_limit,
        }

    @staticmethod
    def from_config(data: dict[str, Any]) -> Dataset:
        """The dataset that `get_config` described."""
        return Dataset(
            data["dimensions"],
            [Variable.from_config(variable) for variable in data["variables"]],
            attrs=[Attribute(*item) for item in data["attrs"]],
            chunks=[Dimension(*item) for item in data.get("chunks", ())],
            block_size_limit=data.get("block_size_limit"),
        )

    def add_variable(self, variable: Variable) -> None:
        """Add a variable whose dimensions the dataset has."""
        if not isinstance(variable, Variable):
            raise TypeError(f"variable must be a Variable, not {type(variable)}")
        if variable.name in self.variables:
            raise ValueError(f"The variable {variable.name!r} already exists in the collection.")
        if not set(variable.dimensions) <= set(self.dimensions):
            raise ValueError("The new variable must use the dataset dimensions.")
        self.variables[variable.name] = variable

    def search_same_dimensions_as(self, variable: Variable) -> Variable:
        """The first variable with the dimensions of another one."""
        for found in self.variables.values():
            if found.dimensions == variable.dimensions:
                return found
        raise ValueError("No variable using the same dimensions exists.")

    def missing_variables(self, other: Dataset) -> tuple[str, ...]:
        """The variables that another dataset lacks; it must have no others."""
        extra = set(other.variables) - set(self.variables)
        if extra:
            raise ValueError(
                f"The reference dataset does not define the {', '.join(sorted(extra))} variables "
                "that are defined in this dataset."
            )
        return tuple(name for name in self.variables if name not in other.variables)

    def select_variables_by_dims(self, dims: Sequence[str], predicate: bool = True) -> set[str]:
        """The variables with (or without) one of the dimensions; with none given, the scalars."""

        def chosen(variable: Variable) -> bool:
            if not dims:
                return not variable.dimensions
            return not set(variable.dimensions).isdisjoint(dims)

        return {name for name, found in self.variables.items() if chosen(found) == predicate}
