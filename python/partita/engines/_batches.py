"""The record batches of a scan, as engines take them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from partita import _native
from partita._arrow import pyarrow

if TYPE_CHECKING:
    import pyarrow as pa

    from partita.scan import Scan

__all__ = ["Batches"]


class Batches(Iterator["pa.RecordBatch"]):
    """An iterator that begins to read with the first batch, and stops when it is deleted.

    It is not a generator: an engine that is interrupted deletes it, and Python would raise the
    KeyboardInterrupt inside of the generator that is being closed, where it is lost.
    """

    def __init__(self, scan: Scan, failed: Callable[[BaseException], None] | None = None) -> None:
        self._scan = scan
        self._failed = failed
        self._running: _native.BatchIterator | None = None

    def __next__(self) -> pa.RecordBatch:
        try:
            if self._running is None:
                self._running = self._scan._native.batches()
            batch = next(self._running)
        except StopIteration:
            raise
        except BaseException as error:
            if self._failed is not None:
                self._failed(error)
            raise
        return pyarrow().record_batch(batch)
