"""Conversion of array datasets between numpy, xarray and the engine."""

from __future__ import annotations

import gc
import pathlib
import weakref
from typing import Any

import cftime
import dask.array
import numcodecs
import numpy as np
import pandas as pd
import pytest
import xarray as xr
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import partita as pt
from partita import _native
from partita._arrays import fill_of, to_numpy
from partita._xarray import from_xarray, to_xarray

NUMBERS = ["?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", "c8", "c16"]
UNITS = ["Y", "M", "W", "D", "h", "m", "s", "ms", "us", "ns", "ps", "fs", "as", "25us", "7D"]
TIMES = [f"{kind}8[{unit}]" for kind in "Mm" for unit in UNITS] + ["m8"]
TEXTS = ["S1", "S7", "U1", "U5"]

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)


def fixed_arrays(shapes=None) -> st.SearchStrategy[np.ndarray]:
    """Arrays of every type of fixed size, in every byte order."""
    dtypes = st.sampled_from(NUMBERS + TIMES + TEXTS).map(np.dtype)
    dtypes = st.builds(
        lambda dtype, order: dtype.newbyteorder(order), dtypes, st.sampled_from("<>")
    )
    shapes = (
        hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)
        if shapes is None
        else shapes
    )
    return st.tuples(dtypes, shapes).flatmap(lambda pair: hnp.arrays(*pair))


@st.composite
def text_arrays(draw, shapes=None) -> np.ndarray:
    """Arrays of str or of bytes, of any length."""
    shapes = (
        hnp.array_shapes(min_dims=0, max_dims=2, min_side=0, max_side=4)
        if shapes is None
        else shapes
    )
    shape = draw(shapes)
    items = draw(st.sampled_from([text, st.binary(max_size=6)]))
    array = np.empty(shape, dtype=object)
    for index in np.ndindex(shape):
        array[index] = draw(items)
    return array


@st.composite
def layouts(draw) -> np.ndarray:
    """The same arrays in every memory layout."""
    array = draw(fixed_arrays())
    form = draw(st.sampled_from(["C", "F", "turned", "reversed", "every second"]))
    if form == "F":
        return np.asfortranarray(array)
    if form == "turned":
        return array.T
    if form == "reversed" and array.ndim:
        return array[tuple(slice(None, None, -1) for _ in array.shape)]
    if form == "every second":
        doubled = np.repeat(array, 2, axis=-1) if array.ndim else array
        return doubled[..., ::2] if array.ndim else doubled
    return array


def little(array: np.ndarray) -> np.ndarray:
    return array.astype(array.dtype.newbyteorder("<"))


def same_items(found: np.ndarray, expected: np.ndarray) -> None:
    """Same type, shape and bits: NaN payloads and the sign of zero count."""
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    if expected.dtype.kind == "O":
        assert found.tolist() == expected.tolist()
    else:
        assert found.tobytes() == expected.tobytes()


def names(array: np.ndarray) -> list[str]:
    return [f"d{axis}" for axis in range(array.ndim)]


def items(dataset: _native.Dataset, path: str) -> np.ndarray:
    return to_numpy(*dataset.data(path))


def variable(dataset: _native.Dataset, name: str) -> dict[str, Any]:
    return next(one for one in dataset.schema().to_dict()["variables"] if one["name"] == name)


@given(layouts() | text_arrays())
def test_items_of_every_type_and_layout_come_back(array):
    dataset = from_xarray({"v": (names(array), array)})
    same_items(items(dataset, "v"), little(array) if array.dtype.kind != "O" else array)
    assert dataset.schema() == _native.Schema.from_dict(dataset.schema().to_dict())


@given(fixed_arrays(st.just((2,))) | text_arrays(st.just((2,))), st.booleans())
def test_fill_values_of_every_type_come_back(array, as_attribute):
    fill = array[0]
    place = ({"_FillValue": fill}, {}) if as_attribute else ({}, {"_FillValue": fill})
    described = variable(from_xarray({"v": ("x", array, *place)}), "v")
    found = fill_of(described["dtype"], described["fill"])
    expected = little(array)[0] if array.dtype.kind != "O" else array[0]
    if array.dtype.kind == "O":
        assert (found, type(found)) == (expected, type(expected))
    else:
        same_items(np.asarray(found), np.asarray(expected))
    assert "_FillValue" not in described["attributes"]


json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | text,
    lambda below: st.lists(below, max_size=3) | st.dictionaries(text, below, max_size=3),
    max_leaves=6,
)
attributes = st.dictionaries(text.map("a".__add__), json, max_size=3)


@st.composite
def datasets(draw) -> xr.Dataset:
    """Variables over shared dimensions, some of them coordinates, all of types that xarray
    supports."""
    sizes = draw(st.fixed_dictionaries({name: st.integers(0, 3) for name in "xyz"}))
    supported = [d for d in TIMES if d[3:-1] in ("s", "ms", "us", "ns")]
    variables = {}
    for name in draw(st.lists(st.sampled_from(["x", "y", "a", "b", "c d"]), unique=True)):
        dimensions = (
            (name,) if name in sizes else tuple(draw(st.lists(st.sampled_from("xyz"), unique=True)))
        )
        shape = tuple(sizes[dimension] for dimension in dimensions)
        # A variable with the name of its dimension becomes a pandas index, which supports fewer
        # types.
        kinds = ["i8", "f8", "M8[us]"] if name in sizes else NUMBERS + supported + TEXTS
        fixed = st.sampled_from(kinds).flatmap(
            lambda d, shape=shape: hnp.arrays(np.dtype(d), shape)
        )
        data = draw(fixed if name in sizes else fixed | text_arrays(st.just(shape)))
        variables[name] = (dimensions, data, draw(attributes))
    dataset = xr.Dataset(variables, attrs=draw(attributes))
    others = [name for name in variables if name not in sizes]
    return dataset.set_coords(
        draw(st.lists(st.sampled_from(others), unique=True)) if others else []
    )


def same_dataset(found: xr.Dataset, expected: xr.Dataset) -> None:
    assert list(found.variables) == list(expected.variables)
    assert set(found.coords) == set(expected.coords)
    assert set(found.indexes) == set(expected.indexes)
    assert repr(found.attrs) == repr(expected.attrs)
    for name, one in expected.variables.items():
        other = found.variables[name]
        assert other.dims == one.dims
        assert repr(other.attrs) == repr(one.attrs)
        same_items(other.values, one.values)


@given(datasets())
def test_datasets_come_back(dataset):
    same_dataset(to_xarray(from_xarray(dataset)), dataset)


@settings(max_examples=30)
@given(datasets(), attributes)
def test_trees_come_back(dataset, below):
    empty = xr.Dataset(attrs=below)
    inner = xr.Dataset({"p": ("t", [1, 2])}, coords={"q": ("t", ["m", "n"])}, attrs=below)
    tree = xr.DataTree.from_dict({"/": dataset, "/g": empty, "/g/h": inner, "/k": inner})
    found = to_xarray(from_xarray(tree))
    assert [node.path for node in found.subtree] == [node.path for node in tree.subtree]
    for one, other in zip(found.subtree, tree.subtree, strict=True):
        same_dataset(one.to_dataset(inherit=False), other.to_dataset(inherit=False))


def test_mappings_with_paths_make_groups():
    dataset = from_xarray(
        {
            "time": ("time", np.arange(3)),
            "ku/power": (("time",), np.arange(3.0), {"units": "dB"}),
            "ku": {"gate": xr.Variable("gate", [1, 2])},
            "c": xr.Dataset({"power": ("time", np.ones(3, "f4"))}, attrs={"band": 5.3}),
        }
    )
    assert dataset.names() == ["time", "ku/power", "ku/gate", "c/power"]
    tree = to_xarray(dataset)
    assert tree["ku/power"].attrs == {"units": "dB"}
    assert tree["c"].attrs == {"band": 5.3}
    assert from_xarray(dataset) is dataset
    assert from_xarray(tree["ku/power"].rename("p")).names() == ["time", "p"]


@pytest.mark.parametrize("dtype", [*NUMBERS, *TEXTS, "M8[us]", "M8[25us]", "m8[ns]"])
def test_memory_is_shared_in_both_directions(dtype):
    array = np.zeros((3, 4), dtype)
    dataset = from_xarray({"v": (("x", "y"), array)})
    back = items(dataset, "v")
    assert np.shares_memory(back, array)
    assert not back.flags.writeable
    if array.dtype.kind not in "Mm":  # Times are copied by xarray itself.
        assert np.shares_memory(to_xarray(dataset)["v"].values, array)
    part = array[1:]
    assert np.shares_memory(items(from_xarray({"v": (("x", "y"), part)}), "v"), array)


def test_memory_lives_as_long_as_it_is_used():
    array = np.arange(1000.0)
    watch = weakref.ref(array)
    dataset = from_xarray({"v": ("x", array)})
    del array
    gc.collect()
    assert watch() is not None
    back = items(dataset, "v")
    del dataset
    gc.collect()
    assert back[-1] == 999.0
    del back
    gc.collect()
    assert watch() is None


def test_released_data_are_gone():
    dataset = from_xarray({"v": ("x", np.arange(3)), "t": ("x", ["a", "b", "c"])})
    assert to_xarray(dataset, release=True)["t"].values.tolist() == ["a", "b", "c"]
    with pytest.raises(pt.InvalidArgument, match="released"):
        dataset.names()


def test_times_that_xarray_lacks_are_converted_and_back():
    for dtype in ["M8[D]", "M8[25us]", "m8[7D]", "m8[h]", "M8[Y]", "m8"]:
        array = np.array([1, 2, np.iinfo("i8").min]).view(dtype)
        dataset = from_xarray({"v": ("t", array, {}, {"_FillValue": array[2]})})
        found = to_xarray(dataset)
        assert found["v"].dtype in map(np.dtype, ["M8[s]", "M8[us]", "m8[s]", "i8"])
        again = from_xarray(found)
        same_items(items(again, "v"), array)
        assert again.schema() == dataset.schema()
    assert to_xarray(from_xarray({"v": ("t", np.array([4000]).view("M8[ps]"))}))["v"] == [
        np.datetime64(4, "ns")
    ]
    with pytest.raises(pt.InvalidArgument, match="variable v"):
        to_xarray(from_xarray({"v": ("t", np.array([1]).view("M8[ps]"))}))


def test_values_fit_a_schema_where_that_does_not_change_them():
    given = {
        "t": ("t", np.array(["2024-01-01", "NaT"], "M8[D]")),
        "n": ("t", np.array([1, 2])),
        "f": ("t", np.array([1.5, np.nan])),
        "s": ("t", ["a", "bc"]),
        "g/t": ("t", np.array(["2024-01-01T12:00", "2024-01-02"], "M8[s]")),
    }
    wanted = {
        "t": ("t", np.array([], "M8[25us]")),
        "n": ("t", np.array([], "i2")),
        "f": ("t", np.array([], "f4")),
        "s": ("t", np.array([], "U5")),
        "g/t": ("t", np.array([], "M8[D]")),
    }
    schema = from_xarray(wanted).schema()
    # Noon is not a whole day.
    with pytest.raises(pt.SchemaMismatch, match="2024-01-01T12:00:00") as refused:
        from_xarray(given, schema=schema)
    assert refused.value.context["variable"] == "g/t" and refused.value.context["row"] == "0"
    del given["g/t"]
    found = from_xarray(given, schema=schema)
    assert items(found, "t").dtype == "M8[25us]" and np.isnat(items(found, "t")[1])
    assert [items(found, name).dtype.str for name in "nfs"] == ["<i2", "<f4", "<U5"]


def stored(path: pathlib.Path, zarr_format: int, encoding: dict[str, Any]) -> xr.Dataset:
    dataset = xr.Dataset(
        {
            "ssh": (("time", "x"), np.arange(12, dtype="f4").reshape(4, 3), {"units": "m"}),
            "time": ("time", np.array([0, 1, 2, 3], "M8[us]")),
            "flag": ("time", np.arange(4, dtype="i2")),
        }
    )
    dataset.to_zarr(path, zarr_format=zarr_format, encoding={"ssh": encoding}, consolidated=False)
    return xr.open_zarr(path, consolidated=False)


def test_what_xarray_reads_from_zarr_2_can_be_written_again(tmp_path):
    codecs = {"compressors": [numcodecs.Zstd(3)], "filters": [numcodecs.Delta("f4")]}
    opened = stored(tmp_path / "a", 2, {"chunks": (2, 3), **codecs})
    dataset = from_xarray(opened)
    described = variable(dataset, "ssh")["codecs"]
    assert described["zarr"] == 2
    assert (described["compressor"]["id"], described["compressor"]["level"]) == ("zstd", 3)
    assert [config["id"] for config in described["filters"]] == ["delta"]
    found = to_xarray(dataset)
    assert found["ssh"].encoding["chunks"] == (2, 3)
    assert found["ssh"].encoding["codecs"] == described
    xr.testing.assert_identical(found, opened.load())
    found.to_zarr(tmp_path / "b", zarr_format=2, consolidated=False)
    xr.testing.assert_identical(xr.open_zarr(tmp_path / "b", consolidated=False), opened)


def test_what_xarray_reads_from_zarr_3_can_be_written_again(tmp_path):
    codecs = {"compressors": [zarr.codecs.ZstdCodec(level=3)]}
    opened = stored(tmp_path / "a", 3, {"chunks": (2, 3), "shards": (4, 3), **codecs})
    dataset = from_xarray(opened)
    described = variable(dataset, "ssh")["codecs"]
    assert described["zarr"] == 3
    assert described["array_to_bytes"] == {"name": "bytes", "configuration": {"endian": "little"}}
    assert described["bytes_to_bytes"][0]["name"] == "zstd"
    assert described["bytes_to_bytes"][0]["configuration"]["level"] == 3
    assert described["shard_bytes"] == 4 * 3 * 4
    found = to_xarray(dataset)
    xr.testing.assert_identical(found, opened.load())
    found.to_zarr(tmp_path / "b", zarr_format=3, consolidated=False)
    xr.testing.assert_identical(xr.open_zarr(tmp_path / "b", consolidated=False), opened)


@pytest.mark.parametrize(
    ("encoding", "expected"),
    [
        ({}, None),
        ({"compressors": "auto"}, None),
        ({"compressor": None}, {"zarr": 2, "compressor": None, "filters": [], "order": "<"}),
        (
            {"compressors": [numcodecs.Zlib(1)], "filters": [numcodecs.VLenUTF8()]},
            {"zarr": 2, "compressor": {"id": "zlib", "level": 1}, "filters": [], "order": "<"},
        ),
        (
            {"compressor": {"id": "zlib", "level": 1}, "endian": "big"},
            {"zarr": 2, "compressor": {"id": "zlib", "level": 1}, "filters": [], "order": ">"},
        ),
    ],
)
def test_codecs(encoding, expected):
    dataset = from_xarray({"v": ("x", np.arange(3), {}, encoding)})
    assert variable(dataset, "v")["codecs"] == expected
    again = from_xarray(to_xarray(dataset))
    assert again.schema() == dataset.schema()


def test_chunks_are_those_of_the_largest_variable():
    dataset = from_xarray(
        {
            "small": ("time", np.zeros(100), {}, {"chunks": (100,)}),
            "large": (("time", "x"), dask.array.zeros((100, 10), chunks=(30, 10))),
        }
    )
    chunks = {one["name"]: one["chunks"] for one in dataset.schema().to_dict()["dimensions"]}
    assert chunks == {"time": 30, "x": 10}


def test_arrays_of_dask_are_computed():
    lazy = dask.array.arange(10, chunks=3).map_blocks(lambda block: block * 2)
    dataset = xr.Dataset({"v": ("x", lazy)}, coords={"c": ("x", lazy + 1)})
    same_dataset(to_xarray(from_xarray(dataset)), dataset.compute())


PACKED = {"scale_factor": 0.5, "add_offset": 10.0, "dtype": np.dtype("i2"), "_FillValue": -9}


def test_packing_of_decoded_data_is_remembered():
    dataset = xr.Dataset(
        {"v": ("x", np.array([10.0, np.nan])), "t": ("x", np.array([0, 1], "M8[s]"))}
    )
    dataset["v"].encoding = dict(PACKED)
    dataset["t"].encoding = {
        "units": "days since 2000-01-01",
        "calendar": "standard",
        "_FillValue": -1,
    }
    stored = from_xarray(dataset)
    described = variable(stored, "v")
    assert np.isnan(fill_of(described["dtype"], described["fill"]))
    described = variable(stored, "t")
    assert np.isnat(fill_of(described["dtype"], described["fill"]))
    for decode in (False, True):
        found = to_xarray(stored, decode=decode)
        same_dataset(found, dataset)
        for name in dataset.variables:
            assert found[name].encoding == dataset[name].encoding


def test_packed_data_are_decoded_if_asked():
    dataset = xr.Dataset({"v": ("x", np.array([10.0, np.nan, 11.5]), {"long_name": "v"})})
    dataset["v"].encoding = dict(PACKED)
    packed = from_xarray(dataset, encode=True)
    same_items(items(packed, "v"), np.array([0, -9, 3], "i2"))
    assert variable(packed, "v")["attributes"] == {
        "long_name": "v",
        "scale_factor": 0.5,
        "add_offset": 10.0,
    }
    as_stored = to_xarray(packed)
    same_items(as_stored["v"].values, np.array([0, -9, 3], "i2"))
    # All parameters of the packing are in one place.
    assert as_stored["v"].attrs["_FillValue"] == -9
    same_dataset(xr.decode_cf(as_stored), dataset)
    same_dataset(to_xarray(packed, decode=True), dataset)
    del dataset["v"].encoding["_FillValue"]
    with pytest.raises(pt.InvalidArgument, match="variable v"):
        from_xarray(dataset, encode=True)


def test_fill_values_become_missing_if_asked():
    given = {
        "n": ("x", np.array([1, 9], "i4"), {"_FillValue": 9}),
        "t": ("x", np.array([1, 9], "M8[s]"), {}, {"_FillValue": np.datetime64(9, "s")}),
        "d": ("x", np.array([1, 9], "i4"), {"units": "days since 2000-01-01"}),
    }
    stored = from_xarray(given)
    assert to_xarray(stored)["n"].values.tolist() == [1, 9]
    found = to_xarray(stored, decode=True)
    np.testing.assert_array_equal(found["n"], [1, np.nan])
    assert np.isnat(found["t"].values).tolist() == [False, True]
    assert found["d"].values[0] == np.datetime64("2000-01-02")


def test_masked_items_are_stored_as_the_fill_value():
    masked = np.ma.masked_equal(np.array([1, 9], "i4"), 9)
    found = from_xarray({"v": ("x", masked, {}, {"_FillValue": -1})})
    assert items(found, "v").tolist() == [1, -1]
    with pytest.raises(pt.InvalidArgument, match="variable v"):
        from_xarray({"v": ("x", masked)})


def test_coordinates_that_were_named_by_hand_stay():
    given = xr.Dataset({"lon": ("x", [1.0]), "v": ("x", [2.0])}, attrs={"coordinates": "lon lat"})
    found = to_xarray(from_xarray(given))
    assert set(found.coords) == {"lon"}
    given = xr.Dataset({"v": ("x", [2.0])}, attrs={"coordinates": "lon lat"})
    assert to_xarray(from_xarray(given)).attrs == given.attrs


def test_attributes_of_numpy_become_numbers_and_lists():
    given = {
        "one": np.int16(3),
        "many": np.array([[1.5, np.inf]]),
        "when": np.datetime64("2024-01-01"),
        "what": b"abc",
        "yes": np.True_,
        "pair": (np.float32(1), "x"),
    }
    found = to_xarray(from_xarray({"v": ("x", [1], given)}))["v"].attrs
    assert found == {
        "one": 3,
        "many": [[1.5, np.inf]],
        "when": "2024-01-01",
        "what": "abc",
        "yes": True,
        "pair": [1.0, "x"],
    }


NO_LEAP = cftime.DatetimeNoLeap(2000, 1, 1)
SELF: list[Any] = []
SELF.append(SELF)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (("x", np.array([1, "a"], object)), "int"),
        (("x", np.array(["a", None], object)), "missing"),
        (("x", np.array(["a", np.nan], object)), "missing"),
        (("x", np.array(["a", pd.NA], object)), "missing"),
        (("x", np.array([b"a", "a"], object)), "str"),
        (("x", np.array(["\ud800"], object)), "surrogate"),
        (("x", np.zeros(2, [("a", "i4")])), "type"),
        (("x", np.zeros(2, "M8")), "unit"),
        (("x", np.zeros(2, "g")), "type"),
        (("x", np.array([NO_LEAP, cftime.Datetime360Day(2000, 1, 1)])), "calendars"),
        (("x", np.array([NO_LEAP, "2000-01-02"])), "cftime"),
        (("x", [1], {"a": {1, 2}}), "attribute a"),
        (("x", [1], {"a": SELF}), "attribute a"),
        (("x", [1], {"a": 2**64}), "64 bits"),
        (("x", [1], {3: "a"}), "strings"),
        (("x", [1], {}, {"_FillValue": 1.5}), "fill value"),
        (("x", [1], {}, {"_FillValue": "a"}), "fill value"),
        (("x", [1], {}, {"_FillValue": [1, 2]}), "fill value"),
        (("x", [1], {}, {"_FillValue": 2**70}), "fill value"),
        (("x", ["a"], {}, {"_FillValue": "\ud800"}), "fill value"),
        (("x", ["a"], {}, {"_FillValue": 1}), "fill value"),
        (("x", np.zeros(1, "i1"), {}, {"_FillValue": 300}), "fill value"),
        (("x", np.zeros(1, "u8"), {}, {"_FillValue": -1}), "fill value"),
        (("x", np.zeros(1, "S1"), {}, {"_FillValue": b"ab"}), "fill value"),
        (("x", np.zeros(1, "f2"), {}, {"_FillValue": 1e9}), "fill value"),
        (("x", [1], {"_FillValue": 1}, {"_FillValue": 2}), "two fill values"),
        (("x", [1], {}, {"compressor": 5}), "codec"),
        (("x", [1], {}, {"codecs": 5}), "codec"),
        (("x", [1], {}, {"codecs": {"zarr": 9}}), "codec"),
        (("x", [1], {}, {"compressor": {"id": "a"}, "filters": [{"name": "b"}]}), "mixes"),
        ((("x", "y"), [1]), "dimensions"),
        ((("x", "x"), [[1]]), "twice"),
        ("x", "dimensions, data"),
        (("x", [1], {}, {}, 5), "dimensions, data"),
    ],
)
def test_what_cannot_be_stored_is_refused_by_name(value, words):
    with pytest.raises((pt.InvalidArgument, pt.SchemaMismatch), match=words) as refused:
        from_xarray({"wind": value})
    assert "wind" in str(refused.value)
    assert refused.value.context["variable"] == "wind"


def test_a_multiindex_is_refused_by_name():
    index = pd.MultiIndex.from_product([["a"], [1, 2]], names=["m", "n"])
    dataset = xr.Dataset(coords=xr.Coordinates.from_pandas_multiindex(index, "x"))
    with pytest.raises(pt.InvalidArgument, match="variable x .* tuple"):
        from_xarray(dataset)


@pytest.mark.parametrize(
    "data",
    [
        5,
        None,
        xr.DataArray([1]),
        {1: ("x", [1])},
        {"a": ("x", [1]), "b": ("x", [1, 2])},
        {"a/b": ("x", [1]), "a": ("x", [1])},
        {"a": ("x", [1]), "a/b": ("x", [1])},
        {".zattrs": ("x", [1])},
        {"": ("x", [1])},
        xr.Dataset({1: ("x", [1])}),
        xr.Dataset({"v": ((1,), [1])}),
    ],
)
def test_datasets_that_cannot_be_stored_are_refused(data):
    with pytest.raises((pt.InvalidArgument, pt.SchemaMismatch)):
        from_xarray(data)


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_every_type_passes_through_a_collection(memory, zarr_format):
    rng = np.random.default_rng(0)
    rows = {
        "time": ("time", np.datetime64("2024-01-20", "us") + np.arange(40) * np.timedelta64(1, "D"))
    }
    for dtype in [*NUMBERS, *TEXTS, "M8[us]", "M8[D]", "m8[ns]"]:
        drawn = rng.integers(0, 2, (40, 3))
        data = drawn.view(dtype) if dtype[0] in "Mm" else drawn.astype(dtype)
        rows[f"v{len(rows)}"] = (("time", "x"), data, {"dtype of it": dtype})
    rows["lon"] = (("time", "x"), rng.normal(size=(40, 3)))
    rows["texts"] = ("time", [f"ü{number}" for number in range(40)])
    given = to_xarray(from_xarray(rows)).set_coords("lon")
    collection = pt.create_collection(
        f"{memory}/all",
        given,
        axis="time",
        partition_by=pt.Date("time", "month"),
        zarr_format=zarr_format,
    )
    assert len(collection.partitions) > 1
    found = collection.read()[list(given.variables)]  # Zarr 2 sorts them.
    same_dataset(found, given)
    found["lon"][0, 0] = 5.0
    assert collection.read()["lon"][0, 0] != 5.0
