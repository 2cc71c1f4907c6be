"""Tables and collections in asyncio.

The functions and methods are those of `partita`, awaited. Operations run on the threads of the
engine, and none waits for them, so thousands may be under way. Data is converted to Arrow before an
operation begins, and from Arrow after it has ended, in the thread of the event loop.

Cancelling a task stops its operation: within a second it has ended, and makes no further commit. If
a commit was made before, the ``CancelledError`` has its id in ``committed``. If it was being made,
and its outcome could not be learned within that second, `CommitUnknown` is raised in its place,
also out of ``asyncio.timeout``: `AsyncTable.committed` with the id in its context tells. A commit
with a ``key`` may be made again in either case, and is made once.

Examples
--------
>>> import asyncio
>>> import partita as pt
>>> _ = pt.create_table("memory://aio/trips", {"city": ["Oslo", "Rome"], "fare": [12.5, 9.0]})
>>> async def main():
...     trips = await pt.aio.open_table("memory://aio/trips")
...     await trips.append({"city": ["Rome"], "fare": [4.0]})
...     cities = ["Oslo", "Rome"]
...     counts = await asyncio.gather(*(trips.count({"city": city}) for city in cities))
...     return dict(zip(cities, counts))
>>> asyncio.run(main())
{'Oslo': 1, 'Rome': 2}
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, TypeVar

from partita import dataset
from partita._steps import steps_of
from partita.aio._collections import AsyncCollection
from partita.aio._tables import AsyncScan, AsyncTable
from partita.aio._waiting import waited

__all__ = ["AsyncCollection", "AsyncScan", "AsyncTable", "open_collection", "open_table"]

P = ParamSpec("P")
Opened = TypeVar("Opened")
Wrapped = TypeVar("Wrapped")


def _opening(
    function: Callable[P, Opened], wrap: Callable[[Opened], Wrapped]
) -> Callable[P, Coroutine[Any, Any, Wrapped]]:
    @functools.wraps(function)
    async def call(*args: P.args, **kwargs: P.kwargs) -> Wrapped:
        return wrap(await waited(steps_of(function)(*args, **kwargs)))

    summary = (function.__doc__ or "").partition("\n\n")[0]
    call.__doc__ = f"{summary}\n\n    As `partita.{function.__name__}`, which documents it."
    return call


open_table = _opening(dataset.open_table, AsyncTable)
open_collection = _opening(dataset.open_collection, AsyncCollection)
