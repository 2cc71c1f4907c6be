"""How inserted rows are merged with those that a partition of a collection has.

A merge decides from the values of the axis which of the old rows stay. Every new row is kept.

Examples
--------
>>> import numpy as np
>>> from partita import merge
>>> merge.time_series(tolerance=np.timedelta64(1, "s"))
time_series(tolerance=np.timedelta64(1,'s'))
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Union

from partita.errors import InvalidArgument

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Merge", "MergeName", "Strategy", "concat", "replace", "time_series", "upsert"]

Tolerance = Union[int, dt.timedelta, "np.timedelta64", None]  # noqa: UP007 (a forward reference)


@dataclass(frozen=True, repr=False)
class Strategy:
    """A merge that the engine knows; made by the functions of this module."""

    name: str
    tolerance: Any = None

    def __repr__(self) -> str:
        given = "" if self.tolerance is None else f"tolerance={self.tolerance!r}"
        return f"{self.name}({given})"


MergeName = Literal["replace", "concat", "time_series", "upsert"]
Merge = MergeName | Strategy | Callable[[Any, Any], Any] | None
"""What ``merge=`` takes: the name of a strategy, a strategy, or a function of the old and the new
``xarray.Dataset`` that returns the merged one."""


def replace() -> Strategy:
    """The new rows replace all rows of the partitions to which they belong.

    Examples
    --------
    >>> from partita import merge
    >>> merge.replace()
    replace()
    """
    return Strategy("replace")


def concat() -> Strategy:
    """Keep all old rows and put the new ones behind them; nothing is sorted.

    Examples
    --------
    >>> from partita import merge
    >>> merge.concat()
    concat()
    """
    return Strategy("concat")


def time_series(tolerance: Tolerance = None) -> Strategy:
    """Replace the old rows within the periods that the new rows cover, and sort by the axis.

    Parameters
    ----------
    tolerance : numpy.timedelta64, datetime.timedelta or int, optional
        A period reaches from one new row to the next as long as they are not further apart than
        this, so that gaps in the new rows do not remove old ones; an int counts steps of the axis.
        Without a tolerance the period reaches from the first new row to the last.

    Examples
    --------
    >>> import partita as pt
    >>> c = pt.create_collection(
    ...     "memory://examples/time_series",
    ...     {"cycle": ("row", [1, 2, 5])},
    ...     axis="cycle",
    ...     partition_by=pt.GroupedSequence(["cycle"], size=10),
    ...     zarr_format=3,
    ... )
    >>> _ = c.insert({"cycle": ("row", [4, 6])}, merge=pt.merge.time_series())
    >>> c.read().cycle.values
    array([1, 2, 4, 6])
    """
    return Strategy("time_series", tolerance)


def upsert(tolerance: Tolerance = None) -> Strategy:
    """Replace the old rows that have the place of a new one on the axis, and sort by the axis.

    Parameters
    ----------
    tolerance : numpy.timedelta64, datetime.timedelta or int, optional
        An old row has the place of a new one if they are at most this far apart; an int counts
        steps of the axis. Without a tolerance their values have to be equal.

    Examples
    --------
    >>> import partita as pt
    >>> c = pt.create_collection(
    ...     "memory://examples/upsert",
    ...     {"cycle": ("row", [1, 2, 5])},
    ...     axis="cycle",
    ...     partition_by=pt.GroupedSequence(["cycle"], size=10),
    ...     zarr_format=3,
    ... )
    >>> _ = c.insert({"cycle": ("row", [2, 4])}, merge=pt.merge.upsert())
    >>> c.read().cycle.values
    array([1, 2, 4, 5])
    """
    return Strategy("upsert", tolerance)


def merge_arguments(
    merge: Merge | str, call: Callable[[Callable[..., Any]], Any]
) -> dict[str, Any]:
    """The engine's form; `call` wraps a function so that the engine can call it.

    The values that fill missing variables are not part of it.
    """
    if merge is None:
        merge = replace()
    if isinstance(merge, str):
        merge = Strategy(merge)
    if isinstance(merge, Strategy):
        tolerance = _tolerance(merge.tolerance)
        return {"name": merge.name, "tolerance": tolerance, "function": None, "fill": []}
    if callable(merge):
        if getattr(merge, "__module__", None) == __name__:
            raise InvalidArgument(f"call the strategy: merge.{merge.__name__}()")
        return {"name": "", "tolerance": None, "function": call(merge), "fill": []}
    raise InvalidArgument(
        "merge= takes 'replace', 'concat', 'time_series', 'upsert', what merge.time_series() and "
        f"its like return, or a function, not {merge!r}"
    )


def _tolerance(given: Tolerance) -> tuple[int, str | None] | None:
    if given is None:
        return None
    if isinstance(given, dt.timedelta):
        return _count(given // dt.timedelta(microseconds=1)), "us"
    if type(given).__name__ == "timedelta64":
        import numpy as np

        unit, multiple = np.datetime_data(given)  # type: ignore[arg-type]
        if np.isnat(given) or unit == "generic":
            raise InvalidArgument(f"a tolerance needs a length and a unit, not {given!r}")
        return _count(int(given.astype("int64")) * multiple), unit  # type: ignore[union-attr]
    try:
        return _count(given.__index__()), None  # type: ignore[union-attr]
    except AttributeError:
        raise InvalidArgument(
            f"a tolerance is a timedelta or a number of steps, not {given!r}"
        ) from None


def _count(count: int) -> int:
    if count < 0:
        raise InvalidArgument("a tolerance is not negative")
    return count
