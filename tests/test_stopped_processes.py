"""Writers of both kinds of dataset are killed, interrupted and suspended at any moment, some for
longer than a lease or the wait for a lock: no transfer is lost, made in part, or made twice.

`PARTITA_SIGNALS` sets how many signals a test sends, `PARTITA_SEED` the seed of the first round,
and `PARTITA_ROUNDS` how many there are. With `PARTITA_SUSPENDED` processes are suspended for as
many seconds, in the place of a clock of the server that runs ahead.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from pathlib import Path

import pytest

from accounts import (
    WRITERS,
    both,
    check_nothing_else,
    create,
    history_of,
    state_of,
    values,
    write_transfers,
)
from places import Place, place
from test_workloads import ROUNDS, SEED, check_commits

SIGNALS = int(os.environ.get("PARTITA_SIGNALS", "6"))
SUSPENDED = float(os.environ.get("PARTITA_SUSPENDED", "0"))
LOCK_TIMEOUT = 1
ENOUGH = 10**6
TIMEOUT = 240

Message = tuple[int, int, str | None]


class Writer:
    """A process that transfers money, started again whenever it is killed."""

    def __init__(self, at: Place, number: int, seed: int) -> None:
        self.at, self.number, self.seed = at, number, seed
        self.said: list[Message] = []
        self.start()

    def start(self) -> None:
        self.process, self.pipe = self.at.start(write_transfers, self.number, ENOUGH, self.seed)
        self.pipe.send("go")

    def hear(self, until: float = 0) -> bool:
        """Takes messages; true if the writer has ended in order."""
        # A writer that was killed may have written a part of a message.
        with contextlib.suppress(EOFError, OSError):
            while self.pipe.poll(max(until - time.monotonic(), 0)):
                message = self.pipe.recv()
                if message == "done":
                    return True
                self.said.append(message)
        return False

    def disturb(self, by: signal.Signals, pause: float) -> None:
        """Sends a signal; suspends for a time, or starts the process that was killed again."""
        os.kill(self.process.pid, by)
        if by == signal.SIGSTOP:
            self.lease_ends()
            time.sleep(SUSPENDED or pause)
            os.kill(self.process.pid, signal.SIGCONT)
        if by == signal.SIGKILL:
            self.process.join(TIMEOUT)
            self.hear()
            self.lease_ends()
            self.start()

    def lease_ends(self) -> None:
        """Lets the leases that a process may hold seem to have expired long ago."""
        if self.at.server is not None and not SUSPENDED:
            self.at.server.age("/.partita/publish", 3600)

    def finish(self) -> list[Message]:
        with contextlib.suppress(OSError):
            self.pipe.send("stop")
        assert self.hear(time.monotonic() + TIMEOUT), f"writer {self.number} did not end"
        return self.said


@pytest.mark.parametrize("seed", range(SEED, SEED + ROUNDS))
@pytest.mark.parametrize("kind", ["local files", "files without links", "scripted s3"])
def test_writers_that_are_stopped(tmp_path: Path, kind: str, seed: int) -> None:
    chance = random.Random(seed)
    with place(kind, tmp_path) as found:
        create(found.root, found.options)
        at = found.with_options(lock_timeout=str(LOCK_TIMEOUT)) if found.server is None else found
        writers = [Writer(at, number, seed) for number in range(WRITERS)]
        signals = [(signal.SIGKILL, signal.SIGINT, signal.SIGSTOP)[n % 3] for n in range(SIGNALS)]
        chance.shuffle(signals)
        for each in signals:
            time.sleep(chance.uniform(0, 0.3))
            for writer in writers:
                writer.hear()
            pause = chance.choice([0.05, 0.5, LOCK_TIMEOUT * 1.5])
            chance.choice(writers).disturb(each, pause)
        said = [writer.finish() for writer in writers]
        check(at, said)


def check(at: Place, said: list[list[Message]]) -> None:
    """Checks that what was acknowledged is there, and everything once."""
    datasets = both(at.root, at.options)
    for kind, dataset in enumerate(datasets):
        made = state_of(values(dataset))
        own = [[(n, id) for other, n, id in one if other == kind] for one in said]
        check_commits(kind, history_of(dataset), made, [id for one in own for _, id in one])
        for writer, told in enumerate(own):
            assert max((n for n, _ in told), default=0) <= made[writer]
    check_nothing_else(datasets, at.keys, at.tick)
