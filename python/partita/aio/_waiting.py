"""Waiting for the engine in an event loop."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Concatenate, ParamSpec, TypeVar

from partita import _native
from partita._steps import OnlyBlocking, Steps, steps_of
from partita.errors import InvalidArgument

__all__ = ["awaited", "ended", "waited"]

P = ParamSpec("P")
R = TypeVar("R")

# How often progress is reported, in seconds.
_POLL = 0.05


def awaited(
    method: Callable[Concatenate[Any, P], R],
) -> Callable[Concatenate[Any, P], Coroutine[Any, Any, R]]:
    """The method of `partita.aio` that does what a blocking method does."""
    generator = steps_of(method)

    @functools.wraps(method)
    async def call(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> R:
        return await waited(generator(self.blocking, *args, **kwargs))

    summary = (method.__doc__ or "").partition("\n\n")[0]
    call.__doc__ = f"{summary}\n\n        As `{method.__qualname__}`, which documents it."
    return call


async def waited(going: Steps[R]) -> R:
    """Makes the calls of a method one after the other; the event loop goes on meanwhile."""
    try:
        call = next(going)
        while True:
            try:
                found = await ended(call)
            except BaseException as error:
                call = going.throw(error)
            else:
                call = going.send(found)
    except StopIteration as end:
        result: R = end.value
        return result


async def ended(call: Callable[..., Any]) -> Any:
    """The result of an operation of the engine, which is stopped if the task is cancelled."""
    if isinstance(call, OnlyBlocking):
        raise InvalidArgument(f"asyncio cannot wait for this; {call.instead}")
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[Any] = loop.create_future()

    def settle(value: Any, error: BaseException | None) -> None:
        if error is None:
            outcome.set_result(value)
        else:
            outcome.set_exception(error)

    def tell(value: Any, error: BaseException | None) -> None:
        # If the loop is closed, nobody waits.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(settle, value, error)

    running: _native.Running = call(ended=tell)
    try:
        while not outcome.done():
            await asyncio.wait([outcome], timeout=_POLL if running.reports else None)
            running.report()
    except (asyncio.CancelledError, Exception) as raised:
        running.cancel()
        # A second at most; being cancelled again ends it.
        with suppress(asyncio.CancelledError):
            await asyncio.wait([outcome])
        if outcome.done():
            # Otherwise the loop would log an exception that nobody asked for.
            outcome.exception()
        stopped = running.interrupted(raised)
        raise stopped from stopped.__cause__
    return outcome.result()
