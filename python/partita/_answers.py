"""Many requests at once, each with its answer or the exception that it met."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

__all__ = ["answer", "each", "one_by_one"]

_THREADS = 32

# The pool, with the id of its process, since a forked child has no threads of its parent.
_POOL: tuple[int, ThreadPoolExecutor] | None = None


def answer(work: Callable[[Any], Any], request: Any) -> Any:
    """The answer to one request, or the exception."""
    try:
        return work(request)
    except Exception as error:
        return error


def one_by_one(work: Callable[[Any], Any], requests: Sequence[Any]) -> list[Any]:
    """The answers to requests that are not worth a thread, or must not meet."""
    return [answer(work, request) for request in requests]


def each(work: Callable[[Any], Any], requests: Sequence[Any]) -> list[Any]:
    """The answers to requests that wait for something, many at once."""
    global _POOL
    if len(requests) < 2:
        return one_by_one(work, requests)
    if _POOL is None or _POOL[0] != os.getpid():
        _POOL = os.getpid(), ThreadPoolExecutor(_THREADS, thread_name_prefix="partita-store")
    return list(_POOL[1].map(lambda request: answer(work, request), requests))
