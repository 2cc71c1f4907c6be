"""Random deliveries of one variable, each in a packing of its own, against a model in plain numpy.

The values of a delivery are those that xarray decodes. After an insert the collection has them, up
to the step of its packing; or the delivery was refused because a value does not fit, and nothing
changed.
"""

from __future__ import annotations

import itertools
import random
import uuid
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import xarray as xr

import partita as pt

pytest.importorskip("dask")

TIMES = np.arange("2022-01-30", "2022-02-11", dtype="M8[D]").astype("M8[us]")
INTEGERS = ("i1", "u1", "i2", "u2", "i4", "u4")
SCALES = (None, 0.01, 0.5, -2.0, np.float32(0.5))
OFFSETS = (None, 10.0, -273.15)
FILLS = ("none", "_FillValue", "missing_value", "both", "of another type")


@dataclass
class Packing:
    """The type and the attributes of stored numbers."""

    dtype: np.dtype[Any]
    attributes: dict[str, Any]

    @classmethod
    def any_of(cls, choose: random.Random) -> Packing:
        dtype = np.dtype(choose.choice([*INTEGERS, "i8", "f4", "f8"]))
        attributes: dict[str, Any] = {}
        for name, values in (("scale_factor", SCALES), ("add_offset", OFFSETS)):
            value = choose.choice(values)
            if value is not None:
                attributes[name] = value
        if dtype.kind in "iu" and choose.random() < 0.2:
            attributes["_Unsigned"] = "true" if dtype.kind == "i" else "false"
        return cls(dtype, {**attributes, **cls._fills(choose, dtype, attributes)})

    @staticmethod
    def _fills(
        choose: random.Random, dtype: np.dtype[Any], attributes: dict[str, Any]
    ) -> dict[str, Any]:
        how = choose.choice(FILLS)
        if "_Unsigned" in attributes and how != "none":
            how = "_FillValue"
        numbers: list[Any] = [-9.0, 999.0, 0.0]
        if dtype.kind in "iu":
            numbers = [min(np.iinfo(dtype).max, 2**32), 0, 100, max(np.iinfo(dtype).min, -(2**31))]
        number = dtype.type(choose.choice(numbers))
        if how == "of another type":
            return {"_FillValue": np.float64(number)}
        names = {"both": ["_FillValue", "missing_value"], "none": []}.get(how, [how])
        return {name: number for name in names}

    @property
    def fills(self) -> list[float]:
        names = ("_FillValue", "missing_value")
        return [float(self.attributes[name]) for name in names if name in self.attributes]

    @property
    def logical(self) -> np.dtype[Any]:
        kinds = {"true": "u", "false": "i"}
        kind = kinds.get(self.attributes.get("_Unsigned", ""), self.dtype.kind)
        return np.dtype(f"{kind}{self.dtype.itemsize}")

    @property
    def is_scaled(self) -> bool:
        return bool({"scale_factor", "add_offset"} & set(self.attributes))

    @property
    def step(self) -> float:
        return abs(float(self.attributes.get("scale_factor", 1))) if self.is_scaled else 0.0

    def numbers(self, choose: random.Random, count: int) -> np.ndarray[Any, Any]:
        """Stored numbers, some of them missing, some at the bounds of the type."""
        usual: list[Any] = [0, 1, 2, 7, 100, *self.fills]
        if self.dtype.kind == "f":
            usual += [0.5, -3.0, 1e6, np.nan]
        elif self.dtype.itemsize < 8:
            usual += [np.iinfo(self.dtype).max - 1, np.iinfo(self.dtype).min]
        with np.errstate(all="ignore"):
            return np.array([choose.choice(usual) for _ in range(count)]).astype(self.dtype)

    def verdict(self, values: np.ndarray[Any, Any]) -> str:
        """Whether values are stored: ``"must"``, ``"may"`` if they are rounded, or ``"never"``."""
        scale = float(self.attributes.get("scale_factor", 1))
        numbers = (values - float(self.attributes.get("add_offset", 0))) / scale
        known = ~np.isnan(values)
        if self.dtype.kind == "f":
            stored = numbers.astype(self.dtype)
            if np.isin(stored[known], np.array(self.fills).astype(self.dtype)).any():
                return "may" if self.is_scaled else "never"
            is_exact = (stored == numbers)[known].all()
            return "must" if is_exact or self.is_scaled else "may"
        whole, bounds = np.rint(numbers), np.iinfo(self.logical)
        if not known.all() and not self.fills:
            return "never"
        if ((whole < bounds.min) | (whole > bounds.max))[known].any():
            return "never"
        is_exact = (np.abs(whole - numbers)[known] < 1e-6).all()
        size = 2.0 ** (8 * self.dtype.itemsize)
        fills = [fill + shift for fill in self.fills for shift in (-size, 0, size)]
        if np.isin(whole[known], fills).any() or not (is_exact or self.is_scaled):
            return "never"
        return "must" if is_exact else "may"


@dataclass
class Delivery:
    """Rows with their values, and the form in which they are given."""

    data: Any
    options: dict[str, Any]
    rows: np.ndarray[Any, Any]
    values: np.ndarray[Any, Any]


def dataset(rows: np.ndarray[Any, Any], values: Any, attributes: Any = None) -> xr.Dataset:
    return xr.Dataset({"v": ("time", values, dict(attributes or {}))}, {"time": TIMES[rows]})


def delivered(choose: random.Random, packing: Packing) -> Delivery:
    rows = np.array(choose.sample(range(len(TIMES)), choose.randint(1, 6)))
    raw = dataset(rows, packing.numbers(choose, len(rows)), packing.attributes)
    decoded = xr.decode_cf(raw).load()
    values = decoded.v.values.astype("f8")
    masked = np.ma.masked_invalid(values)
    # Numbers of which nothing is said are those that are stored.
    said = {} if packing.attributes else {"encode": True}
    forms: list[tuple[Callable[[], Any], dict[str, Any]]] = [
        (lambda: raw, said),
        (lambda: decoded, said),
        (lambda: dataset(rows, decoded.v.values), {"encode": True}),
        (lambda: raw.chunk({"time": 2}), said),
        (lambda: decoded.chunk({"time": 2}), said),
        (lambda: {"time": ("time", TIMES[rows]), "v": ("time", masked)}, {"encode": True}),
    ]
    make, options = choose.choice(forms)
    return Delivery(make(), options, rows, values)


Model = dict[int, float]


def upserted(model: Model, new: Model) -> Model:
    return {**model, **new}


def in_place_of_a_period(model: Model, new: Model) -> Model:
    return {row: v for row, v in model.items() if not min(new) <= row <= max(new)} | new


def function(old: xr.Dataset, new: xr.Dataset) -> xr.Dataset:
    others = old.isel(time=~np.isin(old.time, new.time))
    return xr.concat([others, new], "time").sortby("time")


PATHS: dict[str, tuple[dict[str, Any], Callable[[Model, Model], Model]]] = {
    "replace": ({}, lambda model, new: new),
    "upsert": ({"merge": "upsert"}, upserted),
    "time_series": ({"merge": "time_series"}, in_place_of_a_period),
    "function": ({"merge": function, "decode": True}, upserted),
}


def updated(c: pt.Collection, delivery: Delivery) -> None:
    """Puts the values of a delivery in the place of those of the rows that are there."""
    values = dict(zip(TIMES[delivery.rows].tolist(), delivery.values.tolist(), strict=True))

    def put(part: xr.Dataset) -> dict[str, Any]:
        found = part.v.values.astype("f8")
        for at, time in enumerate(part.time.values.astype("M8[us]").tolist()):
            found[at] = values.get(time, found[at])
        return {"v": found}

    c.update(put, decode=True)


def found(c: pt.Collection) -> Model:
    data = c.read(decode=True)
    rows = np.searchsorted(TIMES, data.time.values.astype("M8[us]"))
    return dict(zip(rows.tolist(), data.v.values.astype("f8").tolist(), strict=True))


def same(one: Model, other: Model, tolerance: float) -> None:
    rows = sorted(one)
    assert rows == sorted(other)
    expected = np.array([other[row] for row in rows])
    got = np.array([one[row] for row in rows])
    np.testing.assert_allclose(got, expected, rtol=1e-6, atol=tolerance * 0.51)


def create(choose: random.Random, layout: Any, packing: Packing) -> tuple[pt.Collection, Model]:
    raw = dataset(np.arange(len(TIMES)), packing.numbers(choose, len(TIMES)), packing.attributes)
    url = f"memory://deliveries/{uuid.uuid4().hex}/c"
    c = pt.create_collection(
        f"icechunk+{url}" if layout == "icechunk" else url,
        raw,
        axis="time",
        partition_by=pt.Date("time", "year"),
        zarr_format=2 if layout == 2 else 3,
        chunks={"time": 5},
    )
    values = xr.decode_cf(raw).v.values.astype("f8")
    return c, dict(enumerate(values.tolist()))


@pytest.mark.parametrize("seed", range(120))
def test_redeliveries_are_what_xarray_decodes_of_them(seed: int) -> None:
    choose = random.Random(seed)
    warnings.simplefilter("ignore")
    packing = Packing.any_of(choose)
    layout = (2, 3, "icechunk")[seed % 3]
    c, model = create(choose, layout, packing)
    same(found(c), model, 0)
    for number in range(2):
        given = packing if choose.random() < 0.3 else Packing.any_of(choose)
        delivery = delivered(choose, given)
        path = choose.choice([*PATHS, "update"])
        new = dict(zip(delivery.rows.tolist(), delivery.values.tolist(), strict=True))
        expected = PATHS[path][1](model, new) if path != "update" else upserted(model, new)
        expected = {row: v for row, v in expected.items() if path != "update" or row in model}
        # A function returns the values of all rows.
        verdict = packing.verdict(
            np.array([*(expected if path in ("update", "function") else new).values()])
        )
        label = (seed, number, path, packing, given, delivery.values)
        try:
            if path == "update":
                updated(c, delivery)
            else:
                c.insert(delivery.data, **delivery.options, **PATHS[path][0])
        except (pt.SchemaMismatch, pt.InvalidArgument) as error:
            assert error.context["variable"] == "v" and verdict != "must", label
            same(found(c), model, 0)
            continue
        assert verdict != "never", label
        # A reader sees the rounded values from now on.
        model = found(c)
        same(model, expected, packing.step)
    assert c.verify(data=True) == []


def test_there_is_a_refusal_and_an_acceptance_of_each_kind() -> None:
    """The matrix above is not empty: what is asked for here happens in it."""
    seen = set()
    for seed, _ in itertools.product(range(120), range(3)):
        choose = random.Random(seed)
        one, other = Packing.any_of(choose), Packing.any_of(choose)
        values = xr.decode_cf(dataset(np.arange(6), other.numbers(choose, 6), other.attributes))
        seen.add((one.dtype.kind, one.verdict(values.v.values.astype("f8"))))
    assert seen >= {(kind, verdict) for kind in "iu" for verdict in ("must", "may", "never")}
    assert seen >= {("f", "must"), ("f", "may")}
