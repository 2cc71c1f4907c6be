"""Variables that share dimensions: what is inserted into a collection and loaded from one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import dask.array as da
import numpy as np
from dask.base import compute, persist

from partita.compat.zcollection import meta
from partita.compat.zcollection._evaluate import Evaluator
from partita.compat.zcollection.meta import BLOCK_SIZE_LIMIT, Attribute, Dimension
from partita.compat.zcollection.variable import Array, DelayedArray, Variable

if TYPE_CHECKING:
    import xarray as xr

__all__ = [
    "Array",
    "Attribute",
    "Dataset",
    "DelayedArray",
    "Dimension",
    "Expression",
    "Variable",
    "get_dataset_variable_properties",
    "get_variable_metadata",
]


class Dataset:
    """Variables by name, with attributes and how dimensions are cut into chunks.

    Either all variables are of numpy (`Array`), or all are of Dask (`DelayedArray`).
    """

    __slots__ = ("attrs", "block_size_limit", "chunks", "delayed", "dimensions", "variables")

    def __init__(
        self,
        variables: Iterable[Variable],
        *,
        attrs: Sequence[Attribute] | None = None,
        block_size_limit: int | None = None,
        chunks: Sequence[Dimension] | None = None,
        delayed: bool | None = None,
    ) -> None:
        self.variables: dict[str, Variable] = {variable.name: variable for variable in variables}
        self.attrs: tuple[Attribute, ...] = tuple(attrs or ())
        self.chunks: dict[str, int | str] = {item.name: item.value for item in chunks or ()}
        self.block_size_limit = block_size_limit or BLOCK_SIZE_LIMIT
        self.dimensions: dict[str, int] = {}
        for variable in self.variables.values():
            self._measure(variable)
            is_delayed = isinstance(variable, DelayedArray)
            if delayed is not None and delayed != is_delayed:
                raise ValueError("the dataset contains both delayed and non-delayed variables")
            delayed = is_delayed
        self.delayed = True if delayed is None else delayed

    def _measure(self, variable: Variable) -> None:
        shape = variable.array.shape
        if len(shape) < len(variable.dimensions):
            raise ValueError(f"variable {variable.name} has missing dimensions")
        for name, size in zip(variable.dimensions, shape, strict=False):
            if self.dimensions.setdefault(name, size) != size:
                raise ValueError(f"variable {variable.name} has conflicting dimensions")

    def _with(self, variables: Iterable[Variable], **changed: Any) -> Dataset:
        kept: dict[str, Any] = {
            "attrs": self.attrs,
            "block_size_limit": self.block_size_limit,
            "chunks": self.dims_chunk,
            "delayed": self.delayed,
        }
        return Dataset(variables, **{**kept, **changed})

    def __len__(self) -> int:
        return len(self.variables)

    def __bool__(self) -> bool:
        return bool(self.variables)

    def __getitem__(self, name: str) -> Variable:
        return self.variables[name]

    def __getattr__(self, name: str) -> Any:
        if name not in Dataset.__slots__ and name in self.variables:
            return self.variables[name]
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __getstate__(self) -> tuple[Any, ...]:
        return tuple(getattr(self, name) for name in Dataset.__slots__)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        for name, value in zip(Dataset.__slots__, state, strict=True):
            setattr(self, name, value)

    @property
    def nbytes(self) -> int:
        """The size of all variables in memory."""
        return sum(variable.nbytes for variable in self.variables.values())

    @property
    def dims_chunk(self) -> tuple[Dimension, ...]:
        """How dimensions are cut into chunks."""
        return tuple(Dimension(*item) for item in self.chunks.items())

    def add_variable(self, var: meta.Variable, /, data: Any = None) -> None:
        """Add a variable with data, or filled with its fill value.

        Without a fill value the items are NaN or NaT, and zero in types that have neither.
        """
        if not set(var.dimensions) <= set(self.dimensions):
            raise ValueError(
                f"variable {var.name} has dimensions {var.dimensions} that are not in the dataset"
            )
        kind = DelayedArray if self.delayed else Array
        if data is None:
            shape = tuple(self.dimensions[name] for name in var.dimensions)
            fill = var.with_missing().fill_value
            fill = np.zeros((), var.dtype)[()] if fill is None else fill
            data = (da if self.delayed else np).full(shape, fill, dtype=var.dtype)
        for name, size in zip(var.dimensions, data.shape, strict=False):
            if size != self.dimensions[name]:
                raise ValueError(
                    f"Conflicting sizes for dimension {name!r}: length {self.dimensions[name]} on "
                    f"the data but length {size} defined in dataset."
                )
        self.variables[var.name] = kind(
            var.name,
            data,
            var.dimensions,
            attrs=var.attrs,
            compressor=var.compressor,
            fill_value=var.fill_value,
            filters=var.filters,
        )

    def rename(self, names: Mapping[str, str]) -> None:
        """Rename variables; the new names must be free."""
        for old, new in names.items():
            if new in self.variables:
                raise ValueError(f"{new} already exists in the dataset")
            self.variables[new] = self.variables.pop(old).rename(new)

    def drops_vars(self, names: str | Sequence[str]) -> None:
        """Remove variables."""
        for name in [names] if isinstance(names, str) else names:
            del self.variables[name]

    def select_vars(self, names: str | Sequence[str]) -> Dataset:
        """The dataset of some of the variables."""
        chosen = [names] if isinstance(names, str) else names
        return self._with([self.variables[name] for name in chosen], delayed=None)

    def select_variables_by_dims(self, dims: Sequence[str], predicate: bool = True) -> Dataset:
        """The variables with (or without) one of the dimensions; with none given, the scalars."""
        chosen = self.metadata().select_variables_by_dims(dims, predicate)
        found = [variable for name, variable in self.variables.items() if name in chosen]
        return self._with(found, delayed=None)

    def metadata(self) -> meta.Dataset:
        """The dataset without its data."""
        return meta.Dataset(
            tuple(self.dimensions),
            [variable.metadata() for variable in self.variables.values()],
            attrs=self.attrs,
            chunks=self.dims_chunk,
            block_size_limit=self.block_size_limit,
        )

    @staticmethod
    def from_xarray(zds: xr.Dataset, delayed: bool = True) -> Dataset:
        """The dataset of one of xarray: values as they are, codecs and fill value as encoded."""
        kind = DelayedArray if delayed else Array
        variables = [
            kind(
                str(name),
                variable.data,
                [str(dimension) for dimension in variable.dims],
                attrs=[Attribute(*item) for item in variable.attrs.items()],
                compressor=variable.encoding.get("compressor"),
                fill_value=variable.encoding.get("_FillValue"),
                filters=variable.encoding.get("filters"),
            )
            for name, variable in zds.variables.items()
        ]
        attributes = [Attribute(*item) for item in zds.attrs.items()]
        return Dataset(variables, attrs=attributes, delayed=delayed)

    def to_xarray(self, **kwargs: Any) -> xr.Dataset:
        """The dataset of xarray, decoded; the arguments are those of ``decode_cf_variables``."""
        import xarray
        from xarray.conventions import decode_cf_variables

        variables = {name: variable.to_xarray() for name, variable in self.variables.items()}
        attributes = dict(attribute.get_config() for attribute in self.attrs)
        decoded, decoded_attributes, names = decode_cf_variables(variables, attributes, **kwargs)
        dataset = xarray.Dataset(decoded, attrs=decoded_attributes)
        return dataset.set_coords([name for name in names if name in decoded])

    def to_dict(self, variables: Sequence[str] | None = None, **kwargs: Any) -> dict[str, Any]:
        """The values of variables by name; the arguments are those of ``dask.compute``."""
        chosen = [name for name in self.variables if not variables or name in variables]
        if not self.delayed:
            return {name: self.variables[name].values for name in chosen}
        (found,) = compute({name: self.variables[name].data for name in chosen}, **kwargs)
        return found

    def set_for_insertion(self, mds: meta.Dataset) -> Dataset:
        """The dataset without attributes, cut into chunks as a collection is."""
        bare = [variable.set_for_insertion() for variable in self.variables.values()]
        return Dataset(bare, chunks=mds.chunks, block_size_limit=mds.block_size_limit)

    def copy_properties(self, ds: Dataset) -> None:
        """Take over how another dataset is cut into chunks."""
        self.chunks = ds.chunks
        self.block_size_limit = ds.block_size_limit

    def fill_attrs(self, mds: meta.Dataset) -> None:
        """Take over the attributes of a description."""
        self.attrs = tuple(mds.attrs)
        for variable in self.variables.values():
            variable.fill_attrs(mds.variables[variable.name])

    def isel(self, slices: Mapping[str, Any]) -> Dataset:
        """The items at positions along dimensions."""
        unknown = set(slices) - set(self.dimensions)
        if unknown:
            raise ValueError(f"Slices contain invalid dimension name(s): {unknown}")
        found = [
            variable.isel(tuple(slices.get(name, slice(None)) for name in variable.dimensions))
            for variable in self.variables.values()
        ]
        return self._with(found)

    def delete(self, indexer: slice | Sequence[int], axis: str) -> Dataset:
        """The dataset without the items at positions along a dimension."""
        delete = da.delete if self.delayed else np.delete
        found = [
            variable._like(array=delete(variable.array, indexer, variable.dimensions.index(axis)))
            if axis in variable.dimensions
            else variable
            for variable in self.variables.values()
        ]
        return self._with(found)

    def compute(self, **kwargs: Any) -> Dataset:
        """The dataset in memory; the arguments are those of ``dask.compute``."""
        if not self.delayed:
            return self
        arrays = compute(*(v.array for v in self.variables.values()), **kwargs)
        found = [
            Array(
                variable.name,
                array,
                variable.dimensions,
                attrs=variable.attrs,
                compressor=variable.compressor,
                fill_value=variable.fill_value,
                filters=variable.filters,
            )
            for variable, array in zip(self.variables.values(), arrays, strict=True)
        ]
        return self._with(found, delayed=False)

    def rechunk(self, **kwargs: Any) -> Dataset:
        """The dataset cut into other chunks; the arguments are those of ``dask``."""
        if not self.delayed:
            return self
        return self._with([variable.rechunk(**kwargs) for variable in self.variables.values()])

    def persist(self, *, compress: bool = False, **kwargs: Any) -> Dataset:
        """Compute the dataset, and keep it in memory as arrays of Dask.

        ``compress`` is accepted for the sake of programs: what is kept is not compressed.
        """
        if self.delayed:
            arrays = persist(*(v.array for v in self.variables.values()), **kwargs)
            for variable, array in zip(self.variables.values(), arrays, strict=True):
                variable.array = array
        return self

    def concat(self, other: Dataset | Iterable[Dataset], dim: str) -> Dataset:
        """The dataset followed by others along a dimension."""
        others = [other] if isinstance(other, Dataset) else list(other)
        if not others:
            raise ValueError("cannot concatenate an empty sequence")
        if any(item.delayed != self.delayed for item in others):
            raise ValueError("cannot concatenate delayed and non-delayed data")
        joined = [
            variable.concat([item.variables[name] for item in others], dim)
            for name, variable in self.variables.items()
        ]
        return self._with(joined)

    def merge(self, other: Dataset) -> None:
        """Add the variables and attributes of another dataset."""
        if self.delayed != other.delayed:
            raise ValueError("cannot merge delayed and non-delayed data")
        for name in other.variables:
            if name in self.variables:
                raise ValueError(f"variable {name} already exists")
        shared = set(self.dimensions) & set(other.dimensions)
        if any(self.dimensions[name] != other.dimensions[name] for name in shared):
            raise ValueError(f"dimensions {shared} are not identical")
        self.variables.update(other.variables)
        self.dimensions.update(other.dimensions)
        attributes = dict(item.get_config() for item in (*self.attrs, *other.attrs))
        self.attrs = tuple(Attribute(*item) for item in attributes.items())

    def __repr__(self) -> str:
        sizes = ", ".join(f"{name}: {size}" for name, size in self.dimensions.items())
        lines = [
            f"<{type(self).__module__}.{type(self).__name__}>",
            f"  Dimensions: ({sizes})",
            "Data variables:",
        ]
        width = max([7, *map(len, self.variables)])
        for name, variable in self.variables.items():
            data = "..."
            if self.delayed:
                data = f"dask.array<chunksize={variable.array.chunksize}>"
            dimensions = f"({', '.join(variable.dimensions)})"
            lines.append(f"    {name:<{width}} {dimensions}  {variable.dtype}: {data}")
        if not self.variables:
            lines.append("    <empty>")
        if self.attrs:
            lines.append("  Attributes:")
            lines += [f"    {item.name:<{width}}: {item.value!r}" for item in self.attrs]
        return "\n".join(lines)


def get_variable_metadata(var: Variable | meta.Variable) -> meta.Variable:
    """The description of a variable, whichever of the two is given."""
    return var.metadata() if isinstance(var, Variable) else var


def get_dataset_variable_properties(
    metadata: meta.Dataset, selected_variables: Iterable[str] | None = None
) -> tuple[Array, ...]:
    """The variables of a description, without items."""
    chosen = metadata.select_variables(selected_variables or None)
    return tuple(
        Array(
            variable.name,
            np.empty((0,) * len(variable.dimensions), variable.dtype),
            variable.dimensions,
            attrs=variable.attrs,
            compressor=variable.compressor,
            fill_value=variable.fill_value,
            filters=variable.filters,
        )
        for name, variable in metadata.variables.items()
        if name in chosen
    )


_CONSTANTS = ("pi", "e")
_FUNCTIONS = (
    "sin cos tan exp log log10 log2 sqrt arcsin arccos arctan arctan2 sinh cosh tanh arcsinh "
    "arccosh arctanh ceil floor round abs min max sum prod mean std var median percentile power "
    "mod fmod remainder isfinite isinf isnan isnat"
).split()


class Expression:
    """A formula over the variables of a dataset.

    Examples
    --------
    >>> import numpy as np
    >>> from partita.compat import zcollection
    >>> ds = zcollection.Dataset([zcollection.Array("a", np.array([1.0, 4.0]), ["x"])])
    >>> zcollection.Expression("sqrt(a) * 2")(ds).compute()
    array([2., 4.])
    """

    BUILTINS: ClassVar[dict[str, Any]] = {n: getattr(np, n) for n in (*_CONSTANTS, *_FUNCTIONS)}

    def __init__(self, expression: str) -> None:
        self._evaluator = Evaluator(expression, self.BUILTINS)

    def __call__(self, zds: Dataset) -> Any:
        """The array of Dask that the formula gives for a dataset.

        Raises
        ------
        NameError
            If it names a variable that the dataset lacks.
        """
        values = {}
        for name in self._evaluator.names:
            if name not in zds.variables:
                raise NameError(f"Variable {name!r} is not defined in the dataset")
            values[name] = zds.variables[name].data
        return self._evaluator(values)
