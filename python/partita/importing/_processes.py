"""Functions called in processes of their own, since libraries such as HDF5 do one thing at a time.

A process is a fresh interpreter that is told what to do through a pipe, so that the program that
imports files needs no precautions.
"""

from __future__ import annotations

import os
import pickle
import signal
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from queue import SimpleQueue
from typing import Any

from partita.errors import Corrupt, PartitaError

__all__ = ["Failure", "Processes", "serve"]

_LENGTH = struct.Struct("<Q")
# The interval, in seconds, at which a waiting call checks for Ctrl-C.
_SECONDS = 0.2


class Failure:
    """An exception that a call ended with."""

    def __init__(self, error: BaseException) -> None:
        self.error = error


class Processes:
    """Calls functions in so many processes; in this one if there are none.

    Functions are at the top of a module, and what they are given and return can be pickled.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._children: list[subprocess.Popen[bytes]] = []
        self._free: SimpleQueue[subprocess.Popen[bytes]] = SimpleQueue()
        self._threads: ThreadPoolExecutor | None = None
        self._closed = False

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, *_: object) -> None:
        self._closed = True
        for child in self._children:
            child.kill()
        for child in self._children:
            child.wait()
            for pipe in (child.stdin, child.stdout):
                if pipe is not None:
                    pipe.close()
        if self._threads is not None:
            self._threads.shutdown()

    def call(
        self, function: Callable[..., Any], arguments: Sequence[tuple[Any, ...]]
    ) -> Iterator[tuple[int, Any]]:
        """The numbers of the calls with what they returned, or a `Failure`, as they end."""
        if self._count == 0 or len(arguments) < 2:
            for number, given in enumerate(arguments):
                yield number, _tried(function, given)
            return
        self._start(min(self._count, len(arguments)))
        assert self._threads is not None
        pending: dict[Future[Any], int] = {
            self._threads.submit(self._ask, function, given): number
            for number, given in enumerate(arguments)
        }
        try:
            while pending:
                done, _ = wait(pending, timeout=_SECONDS, return_when=FIRST_COMPLETED)
                for future in done:
                    yield pending.pop(future), future.result()
        finally:
            for future in pending:
                future.cancel()

    def _start(self, count: int) -> None:
        if self._threads is None:
            self._threads = ThreadPoolExecutor(self._count)
        for _ in range(count - len(self._children)):
            child = _started()
            self._children.append(child)
            self._free.put(child)

    def _ask(self, function: Callable[..., Any], given: tuple[Any, ...]) -> Any:
        child = self._free.get()
        try:
            assert child.stdin is not None and child.stdout is not None
            _send(child.stdin, (function, given))
            return _receive(child.stdout)
        except (EOFError, OSError) as error:
            child = self._in_place_of(child)
            # A call that ended one process is not given to another one.
            return Failure(
                Corrupt(
                    f"the process that read it ended ({error}): the file is damaged, or "
                    "there was not enough memory"
                )
            )
        finally:
            self._free.put(child)

    def _in_place_of(self, lost: subprocess.Popen[bytes]) -> subprocess.Popen[bytes]:
        """A process for further calls, unless they are not wanted any more."""
        if self._closed:
            return lost
        lost.kill()
        child = _started()
        self._children.append(child)
        if self._closed:
            child.kill()
        return child


def _started() -> subprocess.Popen[bytes]:
    paths = os.pathsep.join(path for path in sys.path if path)
    return subprocess.Popen(
        [sys.executable, "-c", "from partita.importing._processes import serve; serve()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": paths},
    )


def _tried(function: Callable[..., Any], given: tuple[Any, ...]) -> Any:
    try:
        return function(*given)
    except Exception as error:
        return Failure(error)


def _send(pipe: Any, message: Any) -> None:
    content = pickle.dumps(message)
    pipe.write(_LENGTH.pack(len(content)) + content)
    pipe.flush()


def _receive(pipe: Any) -> Any:
    header = pipe.read(_LENGTH.size)
    if len(header) < _LENGTH.size:
        raise EOFError("it said nothing more")
    return pickle.loads(pipe.read(*_LENGTH.unpack(header)))


def serve() -> None:
    """The loop of a worker process: it runs calls until its pipe is closed."""
    # Ctrl-C is handled by the parent process, which ends this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    # Text that libraries print must not get into the pipe of answers.
    os.dup2(2, 1)
    while True:
        try:
            function, given = _receive(requests)
        except EOFError:
            return
        answer = _tried(function, given)
        try:
            _send(answers, answer)
        except (pickle.PicklingError, TypeError, AttributeError):
            error = answer.error if isinstance(answer, Failure) else answer
            _send(answers, Failure(PartitaError(f"{type(error).__name__}: {error}")))
