"""Values of collections: stored exactly, or refused with an error that names them."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import partita as pt
from partita._arrays import to_numpy
from partita._xarray import from_xarray

dask = pytest.importorskip("dask")

ROWS = 4
TIME = np.arange("2022-01-30", "2022-02-03", dtype="M8[D]").astype("M8[us]")


@pytest.fixture(params=[2, 3, "icechunk"])
def layout(request: pytest.FixtureRequest) -> Any:
    return request.param


def create(layout: Any, data: Any, **options: Any) -> pt.Collection:
    url = f"memory://array-values/{uuid.uuid4().hex}/c"
    if layout == "icechunk":
        url, layout = f"icechunk+{url}", 3
    by = pt.Date("time", "month")
    return pt.create_collection(
        url, data, axis="time", partition_by=by, zarr_format=layout, **options
    )


def of(values: Any, attributes: Any = None, encoding: Any = None) -> xr.Dataset:
    data = xr.Dataset({"v": ("time", np.asarray(values), attributes or {})}, {"time": TIME})
    data.v.encoding = dict(encoding or {})
    return data


def lazy(data: xr.Dataset) -> xr.Dataset:
    return data.chunk({"time": 1})


def of_same_rows(data: xr.Dataset, part: xr.Dataset) -> xr.DataArray:
    """The rows of a partition; without a pandas index, which is not thread-safe."""
    return data.v.isel(time=np.isin(TIME, part.time.values))


PATHS: dict[str, Callable[[pt.Collection, xr.Dataset], Any]] = {
    "replace": lambda c, data: c.insert(data),
    "upsert": lambda c, data: c.insert(data, merge="upsert"),
    "time_series": lambda c, data: c.insert(data, merge="time_series"),
    "dask": lambda c, data: c.insert(lazy(data), merge="upsert"),
    "mapping": lambda c, data: c.insert({n: (v.dims, v.values) for n, v in data.variables.items()}),
    "merge function": lambda c, data: c.insert(
        c.read(), merge=lambda old, new: old.assign(v=of_same_rows(data, old))
    ),
    "update": lambda c, data: c.update(lambda part: {"v": of_same_rows(data, part)}),
    "update by position": lambda c, data: c.update(
        lambda part: {"v": of_same_rows(data, part).values}
    ),
}
COMPUTED = ("merge function", "update", "update by position")
"""Where floats are rounded to the type of the variable."""

NUMBERS = ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"]


def limits(dtype: str) -> Iterator[Any]:
    kind = np.dtype(dtype)
    if kind.kind in "iu":
        yield from (np.iinfo(kind).min, np.iinfo(kind).max, 0, 1)
    else:
        yield from (0.5, 1e30, np.nan, np.inf, -1.0, 2.0**24 + 1, 2.0**63)


def test_integers_and_floats_of_other_types_are_the_same_or_refused() -> None:
    for stored, given in itertools.permutations(NUMBERS, 2):
        schema = from_xarray({"v": ("time", np.zeros(0, stored))}).schema()
        for value in limits(given):
            number = np.dtype(given).type(value)
            with np.errstate(all="ignore"):
                exact = np.dtype(stored).type(0) if np.isnan(number) else number.astype(stored)
            # Python compares integers with floats exactly.
            same = exact.item() == number.item() or (np.isnan(number) and stored[0] == "f")
            data = {"v": ("time", np.array([0, 0, number, 0], given))}
            if same:
                items, shape = from_xarray(data, schema=schema).data("v")
                found = to_numpy(items, shape)
                assert found.dtype == stored
                np.testing.assert_equal(found[2].item(), number.item())
                continue
            with pytest.raises(pt.SchemaMismatch, match="variable v") as refused:
                from_xarray(data, schema=schema)
            assert refused.value.context["row"] == "2"
            assert refused.value.context["value"] == str(number.item())


@pytest.mark.parametrize("packed", [False, True])
def test_large_arrays_are_converted_in_steps_and_misfits_named_by_row(packed: bool) -> None:
    rows, wide = 3_000, 500
    values = np.tile(np.arange(rows, dtype="f8")[:, None] % 100, wide)
    attributes = {"scale_factor": 0.5, "_FillValue": np.int16(-1)} if packed else {}
    known = {"v": (("time", "x"), np.zeros((0, wide), "i2"), attributes)}
    schema = from_xarray(known).schema()
    given = {"v": (("time", "x"), values)}
    found = to_numpy(*from_xarray(given, schema=schema, encode=packed).data("v"))
    np.testing.assert_array_equal(found * (0.5 if packed else 1), values)
    values[2_345, 6] = 1e9
    with pytest.raises(pt.SchemaMismatch, match="time 2345, x 6") as refused:
        from_xarray(given, schema=schema, encode=packed)
    assert refused.value.context["row"] == "2345"


MISFITS = {
    "sign": (np.arange(ROWS, dtype="u2"), np.full(ROWS, -1, "i2")),
    "wide": (np.arange(ROWS, dtype="i2"), np.full(ROWS, 40_000, "i8")),
    "float": (np.arange(ROWS, dtype="f4"), np.full(ROWS, 1e300)),
    "fraction": (np.arange(ROWS, dtype="i4"), np.full(ROWS, 0.5)),
    "infinite": (np.arange(ROWS, dtype="i4"), np.full(ROWS, np.inf)),
    "text": (np.array(["a", "b", "c", "d"]), np.array(["longer"] * ROWS)),
    "bytes": (np.array([b"a", b"b", b"c", b"d"]), np.array([b"longer"] * ROWS)),
    "time": (np.zeros(ROWS, "M8[s]"), np.full(ROWS, 1500, "M8[ms]")),
    "duration": (np.zeros(ROWS, "m8[s]"), np.full(ROWS, 1500, "m8[ms]")),
    "far time": (np.zeros(ROWS, "M8[ns]"), np.full(ROWS, 10**12, "M8[s]")),
}


@pytest.mark.parametrize("stored", ["i2", "u2", "i4"])
@pytest.mark.parametrize("given", ["i2", "i4", "f4", "f8"])
@pytest.mark.parametrize("fill", [None, -1, 7], ids=str)
def test_all_that_is_missing_in_a_delivery_of_the_same_packing_is_missing(
    stored: str, given: str, fill: Any
) -> None:
    """The declared number, "not a number", and masked items, each beside the others."""
    missing = np.array(-1).astype(stored)
    known = {"v": ("time", np.zeros(0, stored), {"scale_factor": 0.5, "_FillValue": missing})}
    schema = from_xarray(known).schema()
    attributes: dict[str, Any] = {"scale_factor": 0.5}
    numbers = np.array([4, 5 if fill is None else fill, 8, 9, 10], given)
    expected = [4, 5, 8, 9, 10] if fill is None else [4, missing, 8, 9, 10]
    if fill is not None:
        attributes["_FillValue"] = np.dtype(given).type(fill)
    if given[0] == "f":
        numbers[3], expected[3] = np.nan, missing
    for mask in (False, True):
        values = np.ma.masked_array(numbers, [0, 0, 0, 0, 1]) if mask else numbers
        found = from_xarray({"v": ("time", values, attributes)}, schema=schema).data("v")
        assert to_numpy(*found).tolist() == [*expected[:4], missing if mask else 10]


@pytest.mark.parametrize("layout", [2, 3])
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("misfit", MISFITS)
def test_what_does_not_fit_is_refused_everywhere(layout: int, path: str, misfit: str) -> None:
    stored, given = MISFITS[misfit]
    c = create(layout, of(stored))
    before = c.read()
    with pytest.raises(pt.PartitaError, match="variable v") as refused:
        PATHS[path](c, of(given))
    assert refused.value.kind == "SchemaMismatch"
    xr.testing.assert_identical(c.read(), before)


@pytest.mark.parametrize("path", COMPUTED)
def test_what_a_function_computes_is_rounded(path: str) -> None:
    c = create(2, of(np.zeros(ROWS, "f4")))
    PATHS[path](c, of(np.full(ROWS, 0.1)))
    assert c.read().v.values.tolist() == [np.float32(0.1)] * ROWS
    with pytest.raises(pt.SchemaMismatch, match=r"0\.1"):
        c.insert(of(np.full(ROWS, 0.1)))


I2 = {"scale_factor": 0.01, "add_offset": 273.15, "_FillValue": np.int16(-32768)}
PACKINGS: dict[str, tuple[str, dict[str, Any]]] = {
    "i2": ("i2", I2),
    "i2, other scale": ("i2", {**I2, "scale_factor": 0.002, "add_offset": 280.0}),
    "i2, other fill": ("i2", {**I2, "_FillValue": np.int16(-9)}),
    "i2, missing_value": ("i2", {"scale_factor": 0.01, "missing_value": np.int16(-1)}),
    "u2": ("u2", {"scale_factor": 0.01, "_FillValue": np.uint16(65535)}),
    "u1, unsigned": (
        "i1",
        {"_Unsigned": "true", "scale_factor": 0.5, "add_offset": 250.0, "_FillValue": np.int8(-1)},
    ),
    "float32 scale": (
        "i2",
        {
            "scale_factor": np.float32(0.01),
            "add_offset": np.float32(273.15),
            "_FillValue": np.int16(-32768),
        },
    ),
    "i4, fill alone": ("i4", {"_FillValue": np.int32(-99)}),
    "f4": ("f4", {"_FillValue": np.float32(1e20)}),
    "f8": ("f8", {}),
}
VALUES = np.array([280.0, 281.0, np.nan, 290.0])


def step(packing: str) -> float:
    """The tolerance: half the step between packed values, plus the rounding of floats."""
    return float(PACKINGS[packing][1].get("scale_factor", 0.0)) / 2 + 1e-4


def raw(packing: str) -> xr.Dataset:
    """Numbers packed by xarray, with the packing parameters as attributes."""
    dtype, encoding = PACKINGS[packing]
    variable = xr.Variable("time", VALUES, encoding={**encoding, "dtype": dtype})
    packed = xr.conventions.encode_cf_variable(variable, name="v")
    return xr.Dataset({"v": packed}, {"time": TIME})


def decoded(packing: str) -> xr.Dataset:
    """A dataset in the form in which xarray opens a file: decoded values, with their packing in the
    encoding."""
    return xr.decode_cf(raw(packing)).load()


DELIVERIES: dict[str, Callable[[str], tuple[xr.Dataset, dict[str, Any]]]] = {
    "raw": lambda packing: (raw(packing), {}),
    "raw, dask": lambda packing: (lazy(raw(packing)), {}),
    "decoded": lambda packing: (decoded(packing), {}),
    "decoded, dask": lambda packing: (lazy(decoded(packing)), {}),
    "encode": lambda packing: (of(VALUES), {"encode": True}),
    "masked": lambda packing: (
        {
            "time": ("time", TIME),
            "v": ("time", np.ma.masked_invalid(VALUES.astype("f8"))),
        },
        {"encode": True},
    ),
}


@pytest.mark.parametrize("delivery", DELIVERIES)
@pytest.mark.parametrize("stored", PACKINGS)
def test_other_packings_are_converted_by_value(layout: Any, stored: str, delivery: str) -> None:
    is_full = layout == 2 and delivery in ("raw", "decoded")
    for given in PACKINGS if is_full else ["i2, other scale"]:
        for first in (raw(stored), decoded(stored)):
            data, options = DELIVERIES[delivery](given)
            c = create(layout, first)
            if can_be_refused(first, given):
                # Floats that a narrower type, or an integer type, cannot represent.
                try:
                    c.insert(data, **options)
                except pt.SchemaMismatch as error:
                    assert error.context["variable"] == "v"
                    continue
            else:
                c.insert(data, **options)
            tolerance = step(stored) + step(given)
            np.testing.assert_allclose(c.read(decode=True).v, VALUES, atol=tolerance)


def can_be_refused(first: xr.Dataset, given: str) -> bool:
    """Whether the collection stores values unpacked, in a type that may not represent all of
    them."""
    is_packed = "scale_factor" in first.v.attrs
    return not is_packed and first.v.dtype != "f8" and "scale_factor" in PACKINGS[given][1]


@pytest.mark.parametrize("packing", PACKINGS)
def test_values_are_decoded_to_what_xarray_gives(layout: Any, packing: str) -> None:
    wanted = xr.decode_cf(raw(packing))
    c = create(layout, raw(packing))
    found = c.read(decode=True)
    assert found.v.dtype == wanted.v.dtype
    np.testing.assert_array_equal(found.v, wanted.v)
    # Attributes and encoding agree, so that decoding manually gives the same.
    xr.testing.assert_identical(xr.decode_cf(c.read()), wanted)
    back = c.read()
    c.insert(back)
    xr.testing.assert_identical(c.read(), back)
    rows = c.to_table(f"memory://array-values/{uuid.uuid4().hex}/t").read()
    np.testing.assert_allclose(rows.v.to_numpy("f8", na_value=np.nan), wanted.v, rtol=1e-6)


@pytest.mark.parametrize("lazily", [False, True])
@pytest.mark.parametrize(
    ("values", "encoding"),
    [
        ([1.0, 400.0, 3.0, -400.0], {"dtype": "i2", "scale_factor": 0.01, "_FillValue": -32768}),
        ([np.inf, 2.0, -np.inf, 4.0], {"dtype": "i2", "scale_factor": 0.01, "_FillValue": -32768}),
        ([300.0, -1.0, 3.0, 4.0], {"dtype": "u1", "_FillValue": 255}),
        ([255.0, 1.0, 3.0, 4.0], {"dtype": "u1", "_FillValue": 255}),
        ([70_000, 2, 3, 4], {"dtype": "i2"}),
        ([1.5, 2.0, 3.0, 4.0], {"dtype": "i2"}),
        ([np.nan, 2.0, 3.0, 4.0], {"dtype": "i2"}),
    ],
)
def test_packing_refuses_what_does_not_fit(
    layout: Any, values: Any, encoding: Any, lazily: bool
) -> None:
    good = of(np.array([1, 2, 3, 4], np.asarray(values).dtype), {}, encoding)
    c = create(layout, good, encode=True)
    data = of(values, {}, encoding)
    with pytest.raises(pt.PartitaError, match="variable v"):
        c.insert(lazy(data) if lazily else data, encode=True)
    np.testing.assert_array_equal(c.read(decode=True).v, [1, 2, 3, 4])
    with pytest.raises(pt.PartitaError, match="variable v"):
        create(layout, lazy(data) if lazily else data, encode=True)


def test_values_for_a_packed_variable_say_that_they_are_such(layout: Any) -> None:
    c = create(layout, raw("i2"))
    with pytest.raises(pt.SchemaMismatch, match="encode=True"):
        c.insert(of(VALUES))
    with pytest.raises(pt.SchemaMismatch, match="decode=True"):
        c.update(lambda part: {"v": part.v.values * 1.5})


def test_functions_get_values_and_return_them(layout: Any) -> None:
    c = create(layout, raw("i2"))

    def warmer(part: xr.Dataset) -> dict[str, Any]:
        assert part.v.dtype.kind == "f" and "scale_factor" not in part.v.attrs
        return {"v": part.v + 1}

    c.update(warmer, decode=True)
    np.testing.assert_allclose(c.read(decode=True).v, VALUES + 1, atol=0.006)
    assert c.read().v.dtype == "i2"
    means = c.map(lambda part: float(part.v.max()), decode=True)
    assert list(means.values()) == pytest.approx([282.0, 291.0], abs=0.006)
    seen = c.map_overlap(lambda part: float(part.v.max()), decode=True)
    assert list(seen.values()) == pytest.approx([291.0, 291.0], abs=0.006)
    c.insert(raw("i2"), merge=lambda old, new: new.assign(v=old.v + new.v - 280), decode=True)
    np.testing.assert_allclose(c.read(decode=True).v, 2 * VALUES - 279, atol=0.02)
    with pytest.raises(pt.SchemaMismatch, match="variable v"):
        c.update(lambda part: {"v": part.v + 1000}, decode=True)


TIMES = np.array(["2000-01-02", "NaT", "2000-01-05", "2000-01-06"], "M8[s]")


@pytest.mark.parametrize("layout", [2, 3])
@pytest.mark.parametrize("dtype", ["i4", "i8", "f8"])
@pytest.mark.parametrize("stored_as", ["raw", "times"])
def test_times_with_a_fill_value_are_missing(layout: int, dtype: str, stored_as: str) -> None:
    encoding = {"units": "days since 2000-01-01", "dtype": dtype, "_FillValue": 999_999}
    variable = xr.Variable("time", TIMES.astype("M8[ns]"), encoding=encoding)
    numbers = xr.conventions.encode_cf_variable(variable, name="v")
    raw = xr.Dataset({"v": numbers}, {"time": TIME})
    half = xr.Dataset({"v": ("time", TIMES.copy())}, {"time": TIME})
    # With mask_and_scale=False xarray decodes the fill value to a time.
    half.v.values[1] = np.datetime64("2000-01-01") + 100
    half.v.attrs["_FillValue"] = np.dtype(dtype).type(100)
    half.v.encoding = {"units": "days since 2000-01-01", "calendar": "standard"}
    first = raw if stored_as == "raw" else xr.decode_cf(raw)
    c = create(layout, first)
    for data in (raw, xr.decode_cf(raw), half, of(TIMES)):
        c.insert(data)
        for found in (c.read(decode=True), xr.open_dataset(c.url, engine="partita")):
            np.testing.assert_array_equal(found.v.values.astype("M8[s]"), TIMES)
        seen = c.to_table(f"memory://array-values/{uuid.uuid4().hex}/t").read().v
        assert seen.isna().tolist() == [False, True, False, False]
    if stored_as == "raw" and dtype != "f8":
        with pytest.raises(pt.SchemaMismatch, match="variable v"):
            c.insert(of(TIMES + np.timedelta64(1, "h")))


@pytest.mark.parametrize("calendar", ["noleap", "360_day", "standard"])
def test_encoded_times_in_other_units_are_converted(layout: Any, calendar: str) -> None:
    def encoded(count: Any, units: str) -> xr.Dataset:
        return of(np.asarray(count, "i4"), {"units": units, "calendar": calendar})

    c = create(layout, encoded([59, 60, 61, 62], "days since 2000-01-01"))
    c.insert(encoded([24 * 59, 24 * 60, 24 * 61, 24 * 62], "hours since 2000-01-01"))
    assert c.read().v.values.tolist() == [59, 60, 61, 62]
    with pytest.raises(pt.SchemaMismatch, match="variable v"):
        c.insert(encoded([1, 24, 48, 72], "hours since 2000-01-01"))


@pytest.mark.parametrize("fill", [np.int8(-1), np.uint8(255), None])
def test_unsigned_numbers_in_signed_ones(layout: Any, fill: Any) -> None:
    attributes: dict[str, Any] = {"_Unsigned": "true"}
    if fill is not None:
        attributes["_FillValue"] = fill
    numbers = np.array([0, 200, 255, 7], "u1").view("i1")
    given = of(numbers, attributes)
    wanted = xr.decode_cf(given).load()
    for data, options in ((given, {}), (wanted, {}), (wanted, {"encode": True})):
        c = create(layout, data, **options)
        for delivery in (given, wanted):
            c.insert(delivery)
            np.testing.assert_array_equal(c.read(decode=True).v, wanted.v)
            np.testing.assert_array_equal(xr.open_dataset(c.url, engine="partita").v, wanted.v)


@pytest.mark.parametrize("dtype", ["i4", "f8"])
def test_missing_durations_are_missing(layout: Any, dtype: str) -> None:
    given = of(np.array([1, -1, 3, 4], dtype), {"units": "days", "_FillValue": -1})
    wanted = [False, True, False, False]
    c = create(layout, given)
    for chunks in (None, {}):
        found = c.read(decode=True, chunks=chunks)
        np.testing.assert_array_equal(found.v, [1, np.nan, 3, 4])
        c.insert(found.load(), merge="upsert")
    c.update(lambda part: {"v": part.v}, decode=True)
    np.testing.assert_array_equal(c.read(decode=True).v, [1, np.nan, 3, 4])
    rows = c.to_table(f"memory://array-values/{uuid.uuid4().hex}/t").read()
    assert rows.v.isna().tolist() == wanted
    spans = of(np.array([1, "NaT", 3, 4], "m8[D]").astype("m8[s]"))
    with pytest.raises(pt.SchemaMismatch, match="another type"):
        c.insert(spans, merge="upsert", encode=True)


def test_fill_values_of_other_types_are_taken_as_xarray_takes_them(layout: Any) -> None:
    for numbers, fill in (
        (np.arange(4, dtype="i2"), np.nan),
        (np.arange(4, dtype="i2"), np.float32(2)),
        (np.arange(4, dtype="i1"), np.int32(1000)),
        (np.arange(4, dtype="f4"), np.float64(2)),
    ):
        data = of(numbers, {"_FillValue": fill})
        with pytest.warns() if np.isnan(fill) else _nothing():
            wanted = xr.decode_cf(data).v.values
        np.testing.assert_array_equal(create(layout, data).read(decode=True).v.values, wanted)


def _nothing() -> Any:
    import contextlib

    return contextlib.nullcontext()


def test_plain_xarray_sees_what_is_missing(tmp_path: Any) -> None:
    data = of(np.array([1, -9, 3, 4], "i2"), {}, {"_FillValue": np.int16(-9)})
    data["f"] = ("time", np.array([1, 1e20, 3, 4], "f4"), {}, {"_FillValue": np.float32(1e20)})
    for zarr_format in (2, 3):
        pt.create_collection(
            tmp_path / f"{zarr_format}",
            data,
            axis="time",
            partition_by=pt.Date("time", "year"),
            zarr_format=zarr_format,
        )
        place = tmp_path / f"{zarr_format}" / "year=2022"
        for options in ({}, {"use_zarr_fill_value_as_mask": True}):
            found = xr.open_dataset(place, engine="zarr", consolidated=False, **options)
            np.testing.assert_array_equal(found.v, [1, np.nan, 3, 4])
            np.testing.assert_array_equal(found.f, [1, np.nan, 3, 4])


READS: dict[str, Callable[[pt.Collection], xr.Dataset]] = {
    "read": lambda c: c.read(),
    "decoded": lambda c: c.read(decode=True),
    "engine": lambda c: xr.open_dataset(c.url, engine="partita"),
    "lazy": lambda c: c.read(chunks={}),
}
CODECS: dict[str, tuple[int, dict[str, Any]]] = {
    "filters of Zarr 2": (
        2,
        {"compressor": {"id": "zlib", "level": 1}, "filters": [{"id": "delta", "dtype": "<f4"}]},
    ),
    "no compressor": (2, {"compressor": None}),
    "codecs of Zarr 3": (
        3,
        {"compressors": ({"name": "gzip", "configuration": {"level": 1}},), "shards": (4, 2)},
    ),
}


@pytest.mark.parametrize("target", ["nc", 2, 3])
@pytest.mark.parametrize("codecs", CODECS)
@pytest.mark.parametrize("read", READS)
def test_what_was_read_is_written_again_in_any_format(
    tmp_path: Any, read: str, codecs: str, target: Any
) -> None:
    zarr_format, encoding = CODECS[codecs]
    first = raw("i2").assign(f=(("time", "x"), np.arange(8, dtype="f4").reshape(4, 2)))
    first.f.encoding = encoding
    c = create(zarr_format, first)
    data = READS[read](c)
    if target == "nc":
        data.to_netcdf(tmp_path / "written.nc")
        found = xr.open_dataset(tmp_path / "written.nc")
    else:
        data.to_zarr(tmp_path / "written", zarr_format=target, consolidated=False)
        found = xr.open_dataset(tmp_path / "written", engine="zarr", consolidated=False)
    for name in ("v", "f", "time"):
        np.testing.assert_array_equal(found[name], xr.decode_cf(first)[name])
    # Partita itself keeps the codecs.
    copy = create(zarr_format, c.read())
    assert copy.read().f.encoding["codecs"] == c.read().f.encoding["codecs"]


# Missing values


def several() -> xr.Dataset:
    return xr.Dataset(
        {
            "a": ("time", np.arange(4.0)),
            "b": ("time", np.arange(4.0) + 10),
            "seen": ("time", TIME.astype("M8[s]")),
            "flag": ("time", np.arange(4, dtype="i4")),
            "filled": ("time", np.arange(4, dtype="i2"), {}, {"_FillValue": np.int16(-1)}),
            "wide": (("x", "time"), np.arange(8.0).reshape(2, 4)),
        },
        {"time": TIME},
    )


def test_variables_that_are_missing_become_missing_values(layout: Any) -> None:
    c = create(layout, several())
    new = several()[["a"]].assign_coords(time=TIME + np.timedelta64(100, "D"))
    with pytest.raises(pt.SchemaMismatch, match="flag"):
        c.insert(new)
    c.insert(new, fill={"flag": 7})
    found = c.read("month > 2")
    assert np.isnan(found.b).all() and np.isnan(found.wide).all() and np.isnat(found.seen).all()
    assert found.flag.values.tolist() == [7] * 4 and found.filled.values.tolist() == [-1] * 4
    with pytest.raises(pt.SchemaMismatch, match="nothing"):
        c.insert(new, fill={"nothing": 7})
    with pytest.raises(pt.InvalidArgument, match="fill value"):
        c.insert(new, fill={"flag": "x"})


@pytest.mark.parametrize("lazily", [False, True])
@pytest.mark.parametrize(
    "merge",
    ["upsert", "time_series", pt.merge.upsert(tolerance=np.timedelta64(1, "h"))],
)
def test_rows_that_are_replaced_keep_what_is_not_given(
    layout: Any, merge: Any, lazily: bool
) -> None:
    c = create(layout, several())
    new = several()[["a"]].isel(time=[3, 1]) + 100
    if not isinstance(merge, str):
        new = new.assign_coords(time=new.time + np.timedelta64(30, "m"))
    c.insert(lazy(new) if lazily else new, merge=merge)
    found, before = c.read(), several()
    at = [1, 3]
    assert found.a.values[at].tolist() == [101, 103]
    for name in ("b", "seen", "flag", "filled", "wide"):
        np.testing.assert_array_equal(found[name].isel(time=at), before[name].isel(time=at))
    # A row that replaces no stored row has no previous value to keep.
    between = several()[["a"]].isel(time=[1])
    between = between.assign_coords(time=between.time + np.timedelta64(2, "h"))
    with pytest.raises(pt.SchemaMismatch, match="flag"):
        c.insert(between, merge=merge)
    c.insert(between, merge=merge, fill={"flag": -5})
    found = c.read().sel(time=between.time)
    assert np.isnan(found.b).all() and found.flag.values.tolist() == [-5]


def test_variables_that_are_added_are_missing(layout: Any) -> None:
    c = create(layout, several())
    for name, dtype in (("f", "f4"), ("c", "c8"), ("t", "M8[us]"), ("n", "i4")):
        c.add_variable(name, ["time"], dtype)
    found = c.read()
    assert all(found[name].isnull().all() for name in "fct")
    assert found.n.values.tolist() == [0] * 4
    if layout == 2:
        view = pt.create_view(f"{c.url}-view", c, [pt.Variable("own", ("time",), "f8")])
        assert np.isnan(view.read().own).all()


def test_masked_items_are_missing_everywhere(layout: Any) -> None:
    data = several()
    c = create(layout, data)
    masked = {
        "a": np.ma.masked_equal(np.arange(4.0), 1),
        "seen": np.ma.masked_array(TIME.astype("M8[s]"), [False, True, False, False]),
        "filled": np.ma.masked_equal(np.arange(4, dtype="i2"), 1),
    }
    rest = {n: (v.dims, v.values) for n, v in data.variables.items() if n not in masked}
    c.insert({**rest, **{name: ("time", array) for name, array in masked.items()}})

    def check() -> None:
        found = c.read(decode=True)
        for name in masked:
            assert found[name].isnull().values.tolist() == [False, True, False, False], name

    check()
    c.insert(data)
    c.update(
        lambda part: {
            name: array[np.isin(TIME, part.time.values)] for name, array in masked.items()
        }
    )
    check()
    with pytest.raises(pt.PartitaError, match="flag"):
        c.update(lambda part: {"flag": np.ma.masked_all(part.sizes["time"], "i4")})


# Labels


def labelled(part: xr.Dataset) -> xr.DataArray:
    return part.a * 10


REORDERED: dict[str, Callable[[xr.Dataset], Any]] = {
    "reversed": lambda part: labelled(part)[::-1],
    "sorted by value": lambda part: labelled(part).sortby(-part.a),
    "dataset": lambda part: (
        labelled(part).to_dataset(name="a")[["a"]].isel(time=slice(None, None, -1))
    ),
    "series": lambda part: labelled(part).to_series().sort_values(ascending=False),
    "values": lambda part: labelled(part).values,
    "variable": lambda part: labelled(part).variable,
}
MISLABELLED: dict[str, Callable[[xr.Dataset], Any]] = {
    "shifted": lambda part: labelled(part).assign_coords(time=part.time + np.timedelta64(1, "D")),
    "repeated": lambda part: labelled(part).isel(time=[0] * part.sizes["time"]),
    "too many": lambda part: xr.concat([labelled(part)] * 2, "time"),
}


@pytest.mark.parametrize("how", REORDERED)
def test_labels_say_where_values_belong(how: str) -> None:
    c = create(2, several())

    def function(part: xr.Dataset) -> Any:
        found = REORDERED[how](part)
        return found if isinstance(found, xr.Dataset) else {"a": found}

    c.update(function)
    assert c.read().a.values.tolist() == [0, 10, 20, 30]
    c.update(lambda part: {"wide": (part.wide * 2).transpose("time", "x")[::-1]}, depth_rows=1)
    np.testing.assert_array_equal(c.read().wide, several().wide * 2)


@pytest.mark.parametrize("how", MISLABELLED)
def test_labels_that_were_not_given_are_refused(how: str) -> None:
    c = create(2, several())
    with pytest.raises(pt.PartitaError):
        c.update(lambda part: {"a": MISLABELLED[how](part)})
    xr.testing.assert_identical(c.read(), several())


def test_labels_that_repeat_go_by_position() -> None:
    data = several().isel(time=[0, 0, 1, 1])
    c = create(2, data)
    c.update(lambda part: {"a": part.a + part.b})
    assert c.read().a.values.tolist() == [10, 10, 12, 12]
    with pytest.raises(pt.PartitaError, match="repeat"):
        c.update(lambda part: {"a": part.a[::-1]})


# Kinds of arrays


def test_kinds_of_arrays_that_are_given(layout: Any) -> None:
    kinds: dict[str, tuple[Any, Any]] = {
        "categories": (pd.Categorical(["a", "b", "a", "c"]), np.array(list("abac"), object)),
        "Int64": (pd.array([1, 2, 3, 4], dtype="Int64"), np.arange(1, 5)),
        "boolean": (
            pd.array([True, False, True, True], dtype="boolean"),
            [True, False, True, True],
        ),
        "bytes": (np.array([b"a", b"bb", b"", b"\0"], object),) * 2,
        "datetimes": (np.array(TIME.tolist(), object), TIME),
        "dates": (np.array(TIME.astype("M8[D]").tolist(), object), TIME.astype("M8[D]")),
    }
    for values, wanted in kinds.values():
        data = {"time": ("time", TIME), "v": ("time", values)}
        c = create(layout, data)
        found = c.read().v.values
        assert found.tolist() == np.asarray(wanted).astype(found.dtype).tolist()
        c.insert(data, merge="upsert")
        with_dask = xr.Dataset(data).assign(w=("time", np.zeros(4)))
        with_dask["w"] = with_dask.w.chunk({"time": 1})
        lazily = create(layout, with_dask)
        np.testing.assert_array_equal(lazily.read().v.values, found)
        lazily.insert(with_dask, merge="upsert")
    times = np.array(TIME.tolist(), object)
    c = create(layout, {"time": ("time", times), "v": ("time", np.zeros(4))})
    assert [partition.path for partition in c.partitions] == [
        "year=2022/month=01",
        "year=2022/month=02",
    ]
    with pytest.raises(pt.InvalidArgument, match="masked items"):
        create(layout, {"time": ("time", TIME), "v": ("time", pd.array([1, None, 3, 4], "Int64"))})


@pytest.mark.parametrize("lazily", [False, True])
def test_what_is_the_same_for_all_partitions_may_come_in_other_bits(
    layout: Any, lazily: bool
) -> None:
    def data(start: str, values: Any) -> xr.Dataset:
        time = np.array([start], "M8[us]")
        return xr.Dataset({"v": ("time", [1.0]), "k": ("x", values)}, {"time": time})

    c = create(layout, data("2022-01-01", np.array([0.0, np.nan, 1.0])))
    same = data("2022-02-01", np.array([-0.0, -np.nan, 1.0]))
    c.insert(lazy(same) if lazily else same)
    other = data("2022-03-01", np.array([0.0, np.nan, 2.0]))
    with pytest.raises(pt.SchemaMismatch, match="other values"):
        c.insert(lazy(other) if lazily else other)


def test_the_axis_is_a_variable_in_both_formats() -> None:
    data = {
        "v": (("line", "px"), np.arange(8.0).reshape(4, 2)),
        "time": ("line", TIME),
        "other": ("line", TIME + 1),
    }
    for layout in (2, 3, "icechunk"):
        c = create(layout, data)
        assert (c.axis, pt.open(c.url).axis) == ("time", "time")
        name = f"memory://array-values/{uuid.uuid4().hex}/t"
        assert c.to_table(name, variables=["v"]).columns == ["time", "px", "v"]
        copy = c.copy(f"memory://array-values/{uuid.uuid4().hex}/c", zarr_format=3)
        assert copy.axis == "time"
        with pytest.raises(pt.InvalidArgument):
            c.drop_variable("time")


@pytest.mark.parametrize("name", ["wide", "static"])
def test_a_condition_on_many_values_is_explained(layout: Any, name: str) -> None:
    c = create(layout, several().assign(static=("x", [1.0, 2.0])))
    with pytest.raises(pt.InvalidPredicate, match="a condition chooses rows") as refused:
        c.read(f"{name} > 1")
    assert refused.value.context["column"] == name


def test_rows_have_texts_and_bytes_with_zero_characters(layout: Any) -> None:
    texts, items = np.array(["a\0b", "", "é", "\0c"]), np.array([b"a\0b", b"", b"\xff", b"\0c"])
    data = of(texts).assign(w=("time", items), x=("place", texts[:1]), place=texts[:1])
    c = create(layout, data)
    url = f"memory://array-values/{uuid.uuid4().hex}/t"
    for table in (
        c.to_table(url, variables=["v", "w"]).to_arrow(),
        c.sql("select v, w from t").to_arrow(),
    ):
        assert table["v"].to_pylist() == texts.tolist()
        assert table["w"].to_pylist() == items.tolist()


def test_texts_of_one_character_stay_apart(layout: Any) -> None:
    letters = np.array([[b"R", b"D"]] * 4, "S1")
    c = create(layout, {"time": ("time", TIME), "mode": (("time", "param"), letters)})
    for found in (c.read(), c.read(decode=True), xr.open_dataset(c.url, engine="partita")):
        assert found["mode"].dims == ("time", "param")
        assert found["mode"].values.tolist() == letters.tolist()


def test_chunks_of_single_items_are_not_taken_over() -> None:
    wide = np.zeros((ROWS, 3))
    small = xr.Variable(("time", "x"), wide, encoding={"chunksizes": (1, 3)})
    c = create(2, xr.Dataset({"v": small}, {"time": TIME}))
    assert c.read(chunks={}).v.chunks[0] == (2, 2)
    chosen = xr.Variable(("time", "x"), wide, encoding={"chunks": (1, 3)})
    c = create(2, xr.Dataset({"v": chosen}, {"time": TIME}))
    assert c.read(chunks={}).v.chunks[0] == (1, 1, 1, 1)
