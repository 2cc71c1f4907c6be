"""Partita and ZCollection change the same collection in turns, and read the same after each
turn."""

from __future__ import annotations

import random

import numpy as np
import pytest

import partita as pt
from collection_data import create, read, same_values, to_partita
from zcollection_peer import Arrays, Peer, Variable

MONTHLY = {"id": "Date", "variables": ["time"], "resolution": "M"}
LUT = np.array([7, -1], "i2")
FILL = -1.0
FIRST = np.datetime64("2022-01-01")
DAYS = 120


class Model:
    """The expected content of the collection: rows by day, with an item of each variable."""

    def __init__(self) -> None:
        self.rows: dict[int, dict[str, float]] = {}
        # ZCollection only adds variables whose dimensions another variable has.
        self.names = ["v", "base"]

    @staticmethod
    def month(day: int) -> int:
        return int((FIRST + day).astype("M8[M]").astype(int)) % 12 + 1

    def months(self) -> list[int]:
        return sorted({self.month(day) for day in self.rows})

    def arrays(self, rows: dict[int, dict[str, float]] | None = None) -> Arrays:
        """All rows, or others of the same variables, in the form in which they are inserted and
        read."""
        rows = self.rows if rows is None else rows
        days = sorted(rows)
        time = (FIRST + np.array(days, dtype="m8[D]")).astype("M8[us]")
        variables = {"time": Variable(("time",), time), "lut": Variable(("x",), LUT, -1)}
        for name in self.names:
            column = np.array([rows[day].get(name, FILL) for day in days])
            data = column if name == "v" else np.stack([column, column + 0.5], axis=1)
            if name != "v":
                data[column == FILL] = FILL
            dimensions = ("time",) if name == "v" else ("time", "x")
            codec = {"id": "blosc", "cname": "lz4", "clevel": 5, "shuffle": 1, "blocksize": 0}
            variables[name] = Variable(dimensions, data, FILL, codec)
        return Arrays(variables, {"title": "in turns"}, {"time": 9})


class Ours:
    """Partita as one of the writers; the collection is opened once and stays open."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.collection = pt.open_collection(url)

    def insert(self, arrays: Arrays, merge: bool) -> None:
        self.collection.insert(to_partita(arrays), merge="time_series" if merge else None)

    def double(self, name: str, month: int) -> None:
        self.collection.update(lambda ds: {name: ds[name] * 2}, where=f"month == {month}")

    def add_variable(self, name: str, one: Variable) -> None:
        self.collection.add_variable(
            name, one.dimensions, one.data.dtype, fill_value=one.fill_value,
            encoding={"compressor": one.compressor},
        )  # fmt: skip

    def drop_variable(self, name: str) -> None:
        self.collection.drop_variable(name)

    def drop_partitions(self, month: int) -> None:
        self.collection.drop_partitions(f"month == {month}")


class Theirs:
    """ZCollection as one of the writers."""

    def __init__(self, url: str, peer: Peer) -> None:
        self.url = url
        self.peer = peer

    def insert(self, arrays: Arrays, merge: bool) -> None:
        self.peer.insert(self.url, arrays, merge=merge)

    def double(self, name: str, month: int) -> None:
        self.peer.scale(self.url, name, 2.0, f"month == {month}")

    def add_variable(self, name: str, one: Variable) -> None:
        self.peer.add_variable(self.url, Arrays({name: one}))

    def drop_variable(self, name: str) -> None:
        self.peer.drop_variable(self.url, name)

    def drop_partitions(self, month: int) -> None:
        self.peer.drop_partitions(self.url, f"month == {month}")


class Turns:
    """Random changes, each applied by one of the writers and to the model."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.model = Model()
        self.added = 0
        self.done: set[tuple[str, str]] = set()

    def rows(self) -> dict[int, dict[str, float]]:
        first = self.random.randrange(DAYS - 50)
        days = range(first, first + self.random.randrange(1, 50))
        step = self.random.randrange(1, 4)
        return {
            day: {name: float(self.random.randrange(1000)) for name in self.model.names}
            for day in days[::step]
        }

    def insert(self, writer) -> None:
        rows = self.rows()
        months = {self.model.month(day) for day in rows}
        writer.insert(self.model.arrays(rows), merge=False)
        self.keep(lambda day: self.model.month(day) not in months)
        self.model.rows |= rows

    def merge(self, writer) -> None:
        rows = self.rows()
        writer.insert(self.model.arrays(rows), merge=True)
        for month in {self.model.month(day) for day in rows}:
            days = [day for day in rows if self.model.month(day) == month]
            self.keep(
                lambda day, month=month, days=days: (
                    self.model.month(day) != month or not min(days) <= day <= max(days)
                )
            )
        self.model.rows |= rows

    def keep(self, wanted) -> None:
        self.model.rows = {day: row for day, row in self.model.rows.items() if wanted(day)}

    def double(self, writer) -> None:
        month = self.random.choice(self.model.months())
        writer.double("v", month)
        for day, row in self.model.rows.items():
            if self.model.month(day) == month:
                row["v"] *= 2

    def add_variable(self, writer) -> None:
        name = f"w{self.added}"
        self.added += 1
        self.model.names.append(name)
        described = self.model.arrays({}).variables[name]
        writer.add_variable(name, described)

    def drop_variable(self, writer) -> None:
        if len(self.model.names) > 2:
            name = self.random.choice(self.model.names[2:])
            writer.drop_variable(name)
            self.model.names.remove(name)

    def drop_partitions(self, writer) -> None:
        month = self.random.choice(self.model.months())
        writer.drop_partitions(month)
        self.keep(lambda day: self.model.month(day) != month)

    def take(self, writer) -> str:
        changes = [self.insert, self.merge, self.merge, self.add_variable]
        if len(self.model.months()) > 1:
            changes += [self.double, self.drop_variable, self.drop_partitions]
        change = self.random.choice(changes)
        change(writer)
        self.done.add((type(writer).__name__, change.__name__))
        return f"{change.__name__} by {type(writer).__name__}"


@pytest.mark.parametrize("began", ["ours", "theirs"])
def test_in_turns(tmp_path, zcollection, began):
    turns = Turns(seed=len(began))
    url = tmp_path / "collection"
    start = turns.model.arrays(turns.rows())
    if began == "ours":
        create(url, start, "time", pt.Date("time", "month"), insert=False)
    else:
        zcollection.create(url, "time", MONTHLY, start)
    ours, theirs = Ours(str(url)), Theirs(str(url), zcollection)
    ours.collection.set_statistics(["v"])
    # ZCollection reads nothing from a collection without rows, not even the immutable variables.
    turns.insert(ours)
    before: set[str] = set()
    dropped: set[str] = set()
    for turn in range(40):
        did = turns.take(turns.random.choice([ours, theirs]))
        note = f"turn {turn}: {did}"
        expected = turns.model.arrays()
        for found in (zcollection.load(url), read(ours.collection), read(pt.open_collection(url))):
            try:
                same_values(found, expected)
            except AssertionError as error:
                raise AssertionError(f"after {note}") from error
        paths = [f"year=2022/month={month:02}" for month in turns.model.months()]
        assert zcollection.partitions(url) == paths, note
        assert [partition.path for partition in ours.collection.partitions] == paths, note
        # ZCollection does not update the statistics that Partita uses for pruning.
        large = sorted(day for day, row in turns.model.rows.items() if row.get("v", FILL) > 700)
        found = ours.collection.read("v > 700", variables=["time"])["time"].values
        assert ((found - FIRST) // np.timedelta64(1, "D")).tolist() == large, note
        # A partition that ZCollection has dropped cannot be told from one that was lost.
        dropped = (dropped | before - set(paths)) - set(paths)
        problems = ours.collection.verify(data=True)
        assert {(one.kind, one.key) for one in problems} <= {("missing", one) for one in dropped}
        before = set(paths)
    assert zcollection.unreadable(url) == []
    assert len(turns.done) > 9, "too few kinds of changes were made"
