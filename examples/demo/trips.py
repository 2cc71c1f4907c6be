"""Taxi trips that nobody took: the same rows on every machine, made from a seed."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pyarrow as pa

__all__ = ["CITIES", "trips"]

# The third has a space, the fourth a letter outside ASCII, the fifth a slash: names of partitions
# are whatever the data says.
CITIES = [
    "Oslo",
    "Rome",
    "New York",
    "São Paulo",
    "Dallas/Fort Worth",
    "Lagos",
    "Lima",
    "Mumbai",
    "Nairobi",
    "Seoul",
    "Tokyo",
    "Wellington",
]

_PAYMENTS = ["card", "cash", "voucher", "account"]
_REMARKS = [
    "quiet ride",
    "very friendly driver",
    "took the long way round",
    "left an umbrella on the back seat",
    "music was too loud, otherwise fine",
    "booked by phone",
    "two stops, second one not on the map",
    "traffic on the bridge",
]
_SECONDS_OF_A_YEAR = 365 * 24 * 3600
_MICROSECONDS = 1_000_000


def trips(
    rows: int, *, seed: int = 0, first: int = 0, start: dt.datetime = dt.datetime(2024, 1, 1)
) -> pa.Table:
    """`rows` trips, numbered from `first`, over the year from `start` in the order of pick-up.

    A rider takes almost all trips in one city; a third of the trips carry a comment, the others
    null.
    """
    random = np.random.default_rng(seed)
    riders = max(rows // 100, 10)
    rider = random.integers(0, riders, rows)
    at_home = random.random(rows) < 0.98
    city = np.where(at_home, rider % len(CITIES), random.integers(0, len(CITIES), rows))
    pickup = _timestamps(start) + np.sort(random.integers(0, _SECONDS_OF_A_YEAR, rows))
    distance = np.round(random.gamma(2.0, 2.5, rows), 2)
    minutes = random.normal(4, 1, rows).clip(1) + distance * 2.2
    fare = np.round(3.0 + distance * 1.75 + minutes * 0.3, 2)
    tip = np.where(random.random(rows) < 0.4, np.round(fare * 0.1, 1), 0.0)
    return pa.table(
        {
            "trip": pa.array(np.arange(first, first + rows, dtype=np.int64)),
            "city": _chosen(CITIES, city),
            "rider": pa.array(rider.astype(np.int64)),
            "driver": pa.array(random.integers(0, max(rows // 500, 5), rows).astype(np.int64)),
            "pickup": _times(pickup),
            "dropoff": _times(pickup + (minutes * 60).astype(np.int64)),
            "fare": pa.array(fare),
            "distance": pa.array(distance),
            "tip": pa.array(tip),
            "payment": _chosen(_PAYMENTS, random.choice(4, rows, p=[0.7, 0.2, 0.05, 0.05])),
            "comment": _comments(random, rows),
        }
    )


def _timestamps(start: dt.datetime) -> int:
    return int(start.replace(tzinfo=dt.timezone.utc).timestamp())


def _times(seconds: np.ndarray) -> pa.Array:
    return pa.array(seconds * _MICROSECONDS).cast(pa.timestamp("us"))


def _chosen(values: list[str], which: np.ndarray) -> pa.Array:
    return pa.array(values).take(pa.array(which))


def _comments(random: np.random.Generator, rows: int) -> pa.Array:
    said = random.integers(0, len(_REMARKS), rows)
    silent = random.random(rows) > 1 / 3
    return pa.array(_REMARKS).take(pa.array(said, mask=silent))
