"""Rows of what functions return, in the order of the labels that they were given."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from partita.errors import SchemaMismatch

__all__ = ["in_order"]


def in_order(
    name: str, found: Any, dimensions: Sequence[str], given: Any, partitioned: str, own: slice
) -> Any:
    """An array with its items where the labels of the dataset that was given are.

    What has no labels goes by position.

    Parameters
    ----------
    name : str
        The variable that is returned.
    found : array-like
        Labelled if it is an ``xarray.DataArray`` or a ``pandas.Series`` of one dimension.
    dimensions : sequence of str
        Those of the variable.
    given : xarray.Dataset or DataTree
        What the function was given.
    partitioned : str
        The dimension of which the rows `own` are the partition's; others are its neighbours'.

    Raises
    ------
    SchemaMismatch
        If labels are missing, are too many, or repeat in another order.
    """
    pandas = sys.modules.get("pandas")
    if pandas is not None and isinstance(found, pandas.Series):
        if isinstance(found.index, pandas.RangeIndex) or len(dimensions) != 1:
            return found.array
        (dimension,) = dimensions
        if dimension not in given.indexes:
            return found.array
        order = _order(name, dimension, found.index, given.indexes[dimension], partitioned, own)
        return (found if order is None else found.iloc[order]).array
    if not hasattr(found, "dims") or not hasattr(found, "indexes"):
        return found
    for dimension in found.dims:
        if dimension in found.indexes and dimension in given.indexes:
            labels = given.indexes[dimension]
            order = _order(name, dimension, found.indexes[dimension], labels, partitioned, own)
            if order is not None:
                found = found.isel({dimension: order})
    return found


def _order(name: str, dimension: str, found: Any, given: Any, partitioned: str, own: slice) -> Any:
    """The places in `found` of the labels that were given; None if they are where they belong."""
    wanted = given
    if dimension == partitioned and len(found) != len(given):
        wanted = given[own]
        if len(found) != len(wanted):
            # The engine refuses a number of rows that is neither.
            return None
    if found.equals(wanted):
        return None
    context = {"variable": name, "dimension": dimension}
    what = f"the function returned {name!r} with labels of {dimension} that "
    for labels, whose in ((found, "returned"), (wanted, "given")):
        if not labels.is_unique:
            raise SchemaMismatch(
                f"{what}do not go with those that it was given: {whose} ones repeat, such as "
                f"{labels[labels.duplicated()][0]!s}; return values without labels, in order",
                context=context,
            )
    missing, more = wanted.difference(found), found.difference(wanted)
    if len(missing) or len(more):
        example = f"lack {missing[0]!s}" if len(missing) else f"have {more[0]!s} more"
        raise SchemaMismatch(f"{what}{example}, against those that it was given", context=context)
    return found.get_indexer(wanted)
