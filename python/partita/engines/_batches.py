"""The record batches of a scan, as engines take them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from partita import _native
from partita._arrow import pyarrow

if TYPE_CHECKING:
    import pyarrow as pa

    from partita.scan import Scan

__all__ = ["Batches", "Watched"]


class Watched(Iterator["pa.RecordBatch"]):
    """The batches of an iterator, with a report of the exception that ends them."""

    def __init__(
        self, batches: Iterator[pa.RecordBatch], failed: Callable[[BaseException], None]
    ) -> None:
        self._batches = batches
        self._failed = failed

    def __next__(self) -> pa.RecordBatch:
        try:
            return next(self._batches)
        except StopIteration:
            raise
        except BaseException as error:
            self._failed(error)
            raise


class Batches(Iterator["pa.RecordBatch"]):
    """An iterator that begins to read with the first batch, and stops when it is deleted.

    It is not a generator: an engine that is interrupted deletes it, and Python would raise the
    KeyboardInterrupt inside of the generator that is being closed, where it is lost.
    """

    def __init__(self, scan: Scan) -> None:
        self._scan = scan
        self._running: _native.BatchIterator | None = None

    def __next__(self) -> pa.RecordBatch:
        if self._running is None:
            self._running = self._scan._native.batches()
        return pyarrow().record_batch(next(self._running))
