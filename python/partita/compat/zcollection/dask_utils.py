"""What programs do with Dask around collections. Collections themselves need no client."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from dask.delayed import Delayed
from dask.highlevelgraph import HighLevelGraph

if TYPE_CHECKING:
    import distributed

__all__ = ["dask_workers", "get_client", "simple_delayed", "split_sequence"]


def dask_workers(client: distributed.Client, cores_only: bool = False) -> int:
    """How many threads the workers of a client have, or how many workers there are.

    Raises
    ------
    RuntimeError
        If there are none.
    """
    found = len(client.ncores()) if cores_only else sum(client.nthreads().values())
    if found == 0:
        raise RuntimeError("No dask workers available")
    return found


def get_client() -> distributed.Client:
    """The client of Dask; one of this process is started if there is none."""
    import distributed

    try:
        return distributed.get_client()
    except ValueError:
        return distributed.Client(processes=False, direct_to_workers=True)


def split_sequence(sequence: Sequence[Any], sections: int | None = None) -> Iterator[Sequence[Any]]:
    """A sequence in sections of almost the same length; of one item each if not told how many.

    Raises
    ------
    ValueError
        If there are to be no sections.
    """
    count = len(sequence) if sections is None else sections
    if count <= 0:
        raise ValueError("The number of sections must be greater than zero.")
    count = min(count, len(sequence))
    size, longer = divmod(len(sequence), count)
    sizes = [size + 1] * longer + [size] * (count - longer)
    ends = itertools.accumulate(sizes)
    return (sequence[end - length : end] for end, length in zip(ends, sizes, strict=True))


def simple_delayed(name: str, func: Callable[..., Any]) -> Delayed:
    """A function as a delayed object, which is computed where it is called."""
    label = f"{name}-{uuid.uuid4()}"
    return Delayed(label, HighLevelGraph({label: {label: func}}, {label: set()}), None)
