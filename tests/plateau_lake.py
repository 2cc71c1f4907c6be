"""A directory of datasets for both Partita and plateau, and frames to store in it."""

from __future__ import annotations

import datetime as dt
import decimal
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from plateau.core.factory import DatasetFactory
from plateau.io.eager import (
    garbage_collect_dataset,
    read_table,
    store_dataframes_as_dataset,
    update_dataset_from_dataframes,
)

import partita as pt

__all__ = ["Lake", "every_type", "same_frame", "trips"]


class Lake:
    """A local directory of datasets: ``theirs_…`` goes through plateau, the rest through
    Partita."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(parents=True, exist_ok=True)
        self.store = f"hfs://{root}"

    def url(self, name: str) -> str:
        return str(self.root / name)

    def create(self, name: str, frame: pd.DataFrame, **options: Any) -> pt.Table:
        return pt.create_table(self.url(name), frame, **options)

    def open(self, name: str) -> pt.Table:
        return pt.open_table(self.url(name))

    def theirs_create(self, name: str, frame: pd.DataFrame, **options: Any) -> None:
        store_dataframes_as_dataset(self.store, name, [frame], **options)

    def theirs_update(self, name: str, frame: pd.DataFrame | None, **options: Any) -> None:
        frames = None if frame is None else [frame]
        update_dataset_from_dataframes(frames, store=self.store, dataset_uuid=name, **options)

    def theirs_read(
        self,
        name: str,
        predicates: Sequence[Sequence[tuple[str, str, Any]]] | None = None,
        **options: Any,
    ) -> pd.DataFrame:
        with warnings.catch_warnings():
            # pandas deprecates plateau's handling of columns that are all null.
            warnings.simplefilter("ignore", FutureWarning)
            return read_table(name, self.store, predicates=predicates, **options)

    def theirs_collect_garbage(self, name: str) -> None:
        garbage_collect_dataset(name, self.store)

    def their_index(self, name: str, column: str) -> Any:
        return DatasetFactory(name, self.store).load_index(column).indices[column]

    def their_metadata(self, name: str) -> dict[str, Any]:
        return DatasetFactory(name, self.store).metadata

    def files(self, below: str) -> dict[str, bytes]:
        """Every file below a directory of the lake, except those being written."""
        top = self.root / below
        return {
            path.relative_to(top).as_posix(): path.read_bytes()
            for path in sorted(top.rglob("*"))
            if "#" not in path.name and path.is_file()
        }


def every_type(rows: int = 6) -> pd.DataFrame:
    """A column of each type that plateau can store, with nulls if the type supports them."""
    numbers = np.arange(rows)
    days = pd.date_range("2020-02-28", periods=rows, freq="D").as_unit("ns")

    def holes(values: Sequence[Any]) -> list[Any]:
        return [None if row % 3 == 1 else value for row, value in enumerate(values)]

    words = [f"w{row % 3} ü" for row in numbers]
    return pd.DataFrame(
        {
            "id": numbers,
            "int8": numbers.astype("int8") - 3,
            "int32": numbers.astype("int32") * -7,
            "uint16": numbers.astype("uint16"),
            "uint64": np.full(rows, 2**64 - 1, dtype="uint64"),
            "float32": numbers.astype("float32") / 3,
            "float64": [np.nan if row % 3 == 1 else row / 7 for row in numbers],
            "bool": numbers % 2 == 0,
            "object": pd.Series(holes(words), dtype=object),
            "string": pd.array(holes(words), dtype="string"),
            "nullable_int": pd.array(holes(list(range(rows))), dtype="Int64"),
            "nullable_bool": pd.array(holes([True] * rows), dtype="boolean"),
            "nullable_float": pd.array(holes([0.5] * rows), dtype="Float64"),
            "category": pd.Categorical(words),
            "bytes": pd.Series(holes([b"\x00\xff" * row for row in numbers]), dtype=object),
            "date": pd.Series(holes([day.date() for day in days]), dtype=object),
            "naive_ns": days + pd.Timedelta("1us"),
            "naive_us": days.astype("datetime64[us]"),
            "utc": days.tz_localize("UTC"),
            "oslo": days.tz_localize("Europe/Oslo"),
            "decimal": [decimal.Decimal(int(row)) / 4 + decimal.Decimal("1.00") for row in numbers],
            "time": [dt.time(int(row), 2, 3, 4) for row in numbers],
            "list_int": pd.Series(holes([[int(row)] * (row % 3) for row in numbers]), dtype=object),
            "list_text": pd.Series([["a", None]] * rows, dtype=object),
            "record": pd.Series([{"a": int(row), "b": "x"} for row in numbers], dtype=object),
            "empty": pd.Series([None] * rows, dtype=object),
        }
    )


def same_frame(one: pd.DataFrame, other: pd.DataFrame, by: Sequence[str] = ("id",)) -> None:
    """Asserts that frames have the same rows in any order, the same columns in the same order, and
    the same dtypes."""
    order = list(by)
    pd.testing.assert_frame_equal(
        one.sort_values(order, ignore_index=True), other.sort_values(order, ignore_index=True)
    )


def trips(first: int = 0, rows: int = 60) -> pd.DataFrame:
    """Trips with columns of every type that can have an index, no nulls."""
    number = np.arange(first, first + rows)
    return pd.DataFrame(
        {
            "city": [["Oslo", "Rome", "São Paulo"][n % 3] for n in number],
            "id": number,
            "rider": number // 5 % 11,
            "name": [f"n{n // 4 % 9}" for n in number],
            "at": (pd.Timestamp("2024-01-01") + pd.to_timedelta(number // 6, unit="h")).as_unit(
                "ns"
            ),
            "day": [dt.date(2024, 1, 1) + dt.timedelta(days=int(n) // 7) for n in number],
            "fare": (number // 3 % 8) / 4,
            "paid": number % 6 < 3,
            "blob": [b"b%d" % (n // 5) for n in number],
        }
    )
