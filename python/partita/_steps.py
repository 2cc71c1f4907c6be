"""Methods that are written once, and waited for by a thread or by asyncio.

Such a method is a generator: it yields each call that waits for the engine, and gets its result or
its exception. `steps` makes the method that blocks; `partita.aio` drives the same generator without
blocking.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Generator
from typing import Any, ParamSpec, TypeVar

__all__ = ["OnlyBlocking", "Steps", "run", "steps", "steps_of"]

P = ParamSpec("P")
R = TypeVar("R")

Steps = Generator[Callable[..., Any], Any, R]
"""The calls of a method; each takes ``ended=``, unless it is `OnlyBlocking`."""


class OnlyBlocking:
    """A call that asyncio cannot wait for, and what to do instead."""

    def __init__(self, call: Callable[[], Any], instead: str) -> None:
        self._call = call
        self.instead = instead

    def __call__(self) -> Any:
        return self._call()


def steps(method: Callable[P, Steps[R]]) -> Callable[P, R]:
    """The method that waits for each call in the thread of the caller."""

    @functools.wraps(method)
    def blocking(*args: P.args, **kwargs: P.kwargs) -> R:
        return run(method(*args, **kwargs))

    signature = inspect.signature(method)
    returned = str(signature.return_annotation).removeprefix("Steps[").removesuffix("]")
    described: Any = blocking
    described.__signature__ = signature.replace(return_annotation=returned)
    described.__annotations__ = {**method.__annotations__, "return": returned}
    described.steps = method
    return blocking


def steps_of(method: Callable[P, R]) -> Callable[P, Steps[R]]:
    """The generator of a method that `steps` made."""
    made: Any = method
    generator: Callable[P, Steps[R]] = made.steps
    return generator


def run(going: Steps[R]) -> R:
    """Makes the calls of a method one after the other."""
    try:
        call = next(going)
        while True:
            try:
                found = call()
            except BaseException as error:
                call = going.throw(error)
            else:
                call = going.send(found)
    except StopIteration as end:
        result: R = end.value
        return result
