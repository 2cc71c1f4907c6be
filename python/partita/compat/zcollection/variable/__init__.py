"""Variables with data: `Array` holds an array of numpy, `DelayedArray` one of Dask."""

from partita.compat.zcollection.meta import Attribute
from partita.compat.zcollection.variable.abc import Variable, new_variable
from partita.compat.zcollection.variable.array import Array
from partita.compat.zcollection.variable.delayed_array import DelayedArray, ModifiedVariableError

__all__ = [
    "Array",
    "Attribute",
    "DelayedArray",
    "ModifiedVariableError",
    "Variable",
    "new_variable",
]
