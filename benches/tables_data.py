"""The data of `tables.py`: made-up trips, ten columns, the same on every machine."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

__all__ = ["DEAR", "RIDER", "data_file", "generate"]

CITIES = (
    "Accra Athens Bogota Cairo Dakar Delhi Hanoi Lagos Lima Lisbon "
    "London Mumbai Nairobi Oslo Paris Quito Rome Seoul Tokyo Vienna"
).split()
RIDERS = 100_000
RIDER = 4_242
BASE_FARE, MEAN_FARE = 3.0, 12.0
DEAR = BASE_FARE + MEAN_FARE * math.log(100)  # the 99th percentile of the exponential distribution
GENERATION = 1  # To be raised when `trips` changes: kept data are then made again.
BATCH = 1_000_000


def trips(rows: int) -> Iterator[Any]:
    """Made-up trips, batch by batch: the same for the same number of rows.

    A rider takes 98 of 100 trips in one city, the others anywhere. Nothing is sorted but the time
    of pick-up.
    """
    import numpy as np
    import pyarrow as pa

    cities = pa.array(CITIES)
    payments = pa.array(["card", "cash", "voucher", "account"])
    for first in range(0, rows, BATCH):
        count = min(BATCH, rows - first)
        random = np.random.default_rng([GENERATION, first])
        rider = random.integers(0, RIDERS, count)
        rider[0] = RIDER  # There is something to find, in however few rows.
        at_home = random.random(count) < 0.98
        city = np.where(at_home, rider % len(CITIES), random.integers(0, len(CITIES), count))
        pickup = np.datetime64("2025-01-01", "us") + np.arange(first, first + count) * 3_000_000
        note = random.integers(0, 5_000, count).astype(str)
        yield pa.record_batch(
            {
                "trip": np.arange(first, first + count),
                "city": cities.take(pa.array(city)),
                "rider": rider,
                "pickup": pickup,
                "minutes": random.integers(1, 90, count).astype(np.int32),
                "fare": BASE_FARE + random.exponential(MEAN_FARE, count),
                "distance": random.gamma(2.0, 3.0, count),
                "shared": random.random(count) < 0.2,
                "payment": payments.take(
                    pa.array(random.choice(4, count, p=[0.7, 0.2, 0.06, 0.04]))
                ),
                "note": pa.array(note, mask=random.random(count) < 0.5),
            }
        )


def data_file(folder: Path, rows: int) -> Path:
    """Where the data of so many rows are kept."""
    return folder / f"trips-{GENERATION}-{rows}.arrow"


def generate(folder: Path, rows: int) -> None:
    """Makes the data, unless they are there; holds one batch at a time."""
    import pyarrow as pa

    path = data_file(folder, rows)
    if path.exists():
        return
    partial = path.with_suffix(".partial")
    batches = trips(rows)
    first = next(batches)
    with pa.ipc.new_file(str(partial), first.schema) as sink:
        sink.write_batch(first)
        for batch in batches:
            sink.write_batch(batch)
    partial.replace(path)
