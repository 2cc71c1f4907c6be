"""What the tests of the Python face share."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pandas as pd
import pytest

import partita as pt

_numbers = itertools.count()


@pytest.fixture
def memory() -> str:
    """A store in memory that nobody else uses."""
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
    """The same on local disk."""
    return pt.create_table(tmp_path / "lake" / "trips", trips_frame, partition_by="city")


@pytest.fixture
def fares() -> Callable[[pd.DataFrame], list[float]]:
    """The fares of a frame, sorted."""
    return lambda frame: sorted(frame["fare"].tolist())
