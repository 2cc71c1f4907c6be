"""Fixtures shared by the tests of the Python package."""

from __future__ import annotations

import itertools
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest

import partita as pt
from zcollection_peer import Peer

# A shell starts background jobs with SIGINT ignored, and children inherit that. The tests of
# Ctrl-C need the signal to arrive, in this process and in those that it starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

_numbers = itertools.count()


@pytest.fixture(autouse=True)
def handler_of_interrupts() -> Iterator[None]:
    """The command leaves SIGINT to the system, also for the tests after one that calls it."""
    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def memory() -> str:
    """The URL of an in-memory store of its own."""
    return f"memory://test-{next(_numbers)}"


@pytest.fixture
def trips_frame() -> pd.DataFrame:
    """Six trips in three cities, with a missing rider."""
    return pd.DataFrame(
        {
            "city": ["Oslo", "Oslo", "Rome", "Rome", "Rome", "São Paulo"],
            "rider": pd.array([1, 2, 1, None, 3, 2], dtype="Int64"),
            "fare": [12.5, 30.0, 9.0, 4.0, 7.5, 20.0],
            "at": pd.date_range("2024-01-01", periods=6, freq="D"),
        }
    )


@pytest.fixture
def trips(memory: str, trips_frame: pd.DataFrame) -> pt.Table:
    """The trips as a table partitioned by city."""
    return pt.create_table(f"{memory}/trips", trips_frame, partition_by="city", index="rider")


@pytest.fixture
def local_trips(tmp_path, trips_frame: pd.DataFrame) -> pt.Table:
    """The trips as a table on local disk."""
    return pt.create_table(tmp_path / "lake" / "trips", trips_frame, partition_by="city")


@pytest.fixture
def fares() -> Callable[[pd.DataFrame], list[float]]:
    """The sorted fares of a frame."""
    return lambda frame: sorted(frame["fare"].tolist())


ZCOLLECTIONS = {"2024.2.0": ".venv-zcollection-2024", "2026.6.0": ".venv-zcollection-2026"}


@pytest.fixture(scope="session", params=list(ZCOLLECTIONS))
def zcollection(request, tmp_path_factory) -> Iterator[Peer]:
    """A release of ZCollection in a separate process."""
    environment = Path(__file__).parents[1] / ZCOLLECTIONS[request.param]
    if not (environment / "requirements").exists():
        pytest.fail(f"make {environment.name}/requirements, which `make test` does")
    peer = Peer(environment / "bin" / "python", tmp_path_factory.mktemp("zcollection"))
    assert peer.version == request.param
    yield peer
    peer.close()
