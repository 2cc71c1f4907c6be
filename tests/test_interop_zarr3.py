"""Collections in Zarr v3: zarr-python and xarray read them, and they are stored in the form of
ZCollection's development head."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import zarr

import partita as pt
from collection_data import documents, every_type, read, same_values, texts
from zcollection_peer import Arrays, Variable

GOLDEN = Path(__file__).parent / "golden" / "zcollection"


def described(root: Path) -> dict[str, Any]:
    """The files of a collection, without Partita's additions."""
    found = documents(root, is_json=lambda path: path.suffix == ".json")
    description = found["_zcollection.json"]
    extras = description.pop("extras", {})
    assert set(extras) <= {"partita"}
    description["schema"] = by_name(description["schema"])
    return found


def by_name(schema: dict[str, Any]) -> dict[str, Any]:
    """A schema with its variables and groups by name, since xarray does not keep their order, and
    without unused dimensions, which xarray does not keep either."""
    variables = {variable["name"]: variable for variable in schema["variables"]}
    groups = {group["name"]: by_name(group) for group in schema["groups"]}
    used = set().union(*(variable["dimensions"] for variable in variables.values()))
    dimensions = {one["name"]: one for one in schema["dimensions"] if one["name"] in used}
    return {**schema, "variables": variables, "groups": groups, "dimensions": dimensions}


def remade(name: str, url: Path) -> tuple[pt.Collection, pt.Collection]:
    """A collection that ZCollection wrote, and a Partita collection with the same content."""
    golden = pt.open_collection(GOLDEN / name, read_only=True)
    stored = json.loads((GOLDEN / name / "_zcollection.json").read_text())
    made = pt.create_collection(
        url,
        golden.read(),
        axis="time",
        partition_by=golden.partition_by,
        zarr_format=3,
        catalog=stored["catalog"]["enabled"],
    )
    return golden, made


@pytest.mark.parametrize("name", ["v3-date", "v3-grouped"])
class TestGolden:
    def test_the_same_files_and_documents(self, tmp_path, name):
        golden, made = remade(name, tmp_path / name)
        ours, theirs = described(tmp_path / name), described(GOLDEN / name)
        assert set(ours) == set(theirs)
        for path, document in theirs.items():
            # Ours also stores the fill value as an attribute, the only place where xarray looks for
            # it.
            if document and "fill_value" in document:
                ours[path]["attributes"].pop("_FillValue", None)
            assert ours[path] == document, path
        xr.testing.assert_identical(made.read(), golden.read())
        assert made.verify(data=True) == []

    def test_the_same_documents_when_inserted_in_parts(self, tmp_path, name):
        golden, _ = remade(name, tmp_path / "whole")
        made = pt.create_collection(
            tmp_path / "parts",
            golden.read(),
            axis="time",
            partition_by=golden.partition_by,
            zarr_format=3,
            insert=False,
        )
        for partition in reversed(golden.partitions):
            where = " and ".join(f"{field} == {value}" for field, value in partition.key.items())
            made.insert(golden.read(where), merge="concat")
        ours, theirs = described(tmp_path / "parts"), described(tmp_path / "whole")
        for found in (ours, theirs):
            del found["_zcollection.json"]
            found.pop("_catalog/state.json", None)
        assert ours == theirs


def with_codecs(arrays: Arrays, **encoding: Any) -> dict[str, Any]:
    """The mapping for Partita, with the same codecs for all variables."""
    mapping = {}
    for name, one in arrays.variables.items():
        own = {} if one.data.dtype == object else dict(encoding)
        if one.fill_value is not None:
            own["_FillValue"] = one.fill_value
        mapping[name] = (one.dimensions, one.data, {}, own)
    return mapping


def as_zarr_reads(collection: pt.Collection) -> Arrays:
    """The rows of all partitions, opened one by one with zarr-python, and the rest."""
    root = Path(collection.url)
    found: dict[str, Variable] = {}
    for path in [partition.path for partition in collection.partitions] + ["_immutable"]:
        if not (root / path).exists():
            continue
        for name, array in zarr.open_group(root / path, mode="r", zarr_format=3).arrays():
            dimensions = array.metadata.dimension_names
            data = np.asarray(array[...])
            if data.dtype.kind == "T":
                data = data.astype(object)
            if name in found:
                rows = dimensions.index(collection.dimension)
                data = np.concatenate([found[name].data, data], axis=rows)
            found[name] = Variable(dimensions, data)
    return Arrays(found)


def as_xarray_reads(collection: pt.Collection) -> Arrays:
    """The same with xarray, whose engine does not know the directories of partitions either."""
    root = Path(collection.url)
    partitions = [
        xr.open_dataset(
            root / partition.path, engine="zarr", consolidated=False, decode_cf=False
        ).load()
        for partition in collection.partitions
    ]
    joined = xr.concat(partitions, dim=collection.dimension, join="override", data_vars="minimal")
    return Arrays(
        {str(name): Variable(one.dims, one.values) for name, one in joined.variables.items()}
    )


def create(url: Path, data: dict[str, Any], chunks: dict[str, int]) -> pt.Collection:
    return pt.create_collection(
        url,
        data,
        axis="time",
        partition_by=pt.Date("time", "month"),
        zarr_format=3,
        chunks=chunks,
    )


SIMPLE = {"name": "bytes", "configuration": {"endian": "little"}}
BIG = {"name": "bytes", "configuration": {"endian": "big"}}


def blosc(name: str, shuffle: str, size: int) -> dict[str, Any]:
    configuration = {
        "cname": name, "clevel": 5, "shuffle": shuffle, "typesize": size, "blocksize": 0,
    }  # fmt: skip
    return {"name": "blosc", "configuration": configuration}


def test_nested_groups_leave_dimensions_to_those_around_them(tmp_path):
    """A fixed size of their own would hide the partitioned dimension."""
    _, made = remade("v3-date", tmp_path / "c")
    made.add_variable("data_01/ku/snr", ["time", "x_ac"], "f4", fill_value=-1.0)
    stored = json.loads((tmp_path / "c" / "_zcollection.json").read_text())
    data_01 = by_name(stored["schema"])["groups"]["data_01"]
    assert data_01["dimensions"] == data_01["groups"]["ku"]["dimensions"] == {}
    made.insert(made.read("month == 1"), merge="concat")
    snr = made.read()["data_01/ku/snr"]
    assert snr.shape == made.read()["data_01/ku/power"].shape
    assert (snr == -1).all()


class TestOthers:
    def test_every_type(self, tmp_path):
        arrays = every_type()

        collection = create(tmp_path / "c", with_codecs(arrays), arrays.chunks)
        same_values(read(collection), arrays)
        same_values(as_zarr_reads(collection), arrays)
        assert collection.verify(data=True) == []

    def test_texts(self, tmp_path):
        arrays = texts()
        collection = create(tmp_path / "c", with_codecs(arrays), arrays.chunks)
        same_values(read(collection), arrays)
        same_values(as_zarr_reads(collection), arrays)

    @pytest.mark.parametrize(
        "encoding",
        [
            {"compressors": None, "serializer": SIMPLE},
            {"compressors": None, "serializer": BIG},
            {"compressors": [{"name": "gzip", "configuration": {"level": 1}}]},
            {
                "compressors": [
                    {"name": "zstd", "configuration": {"level": 5, "checksum": True}},
                    {"name": "crc32c"},
                ]
            },
            {"serializer": SIMPLE, "shard_bytes": 64},
            {"serializer": BIG, "shard_bytes": 10_000},
            {
                "filters": [{"name": "transpose", "configuration": {"order": [1, 0]}}],
                "serializer": SIMPLE,
            },
            *(
                {"compressors": [blosc(name, shuffle, 8)]}
                for name in ("blosclz", "lz4", "lz4hc", "zlib", "zstd")
                for shuffle in ("noshuffle", "shuffle", "bitshuffle")
            ),
        ],
        ids=lambda encoding: json.dumps(encoding)[:60],
    )
    @pytest.mark.parametrize("chunks", [{"time": 3, "x": 2}, {"time": 100}])
    def test_every_codec(self, tmp_path, encoding, chunks):
        days = np.arange("2022-01-20", "2022-02-12", dtype="M8[D]").astype("M8[us]")
        values = np.arange(len(days) * 5, dtype="f8").reshape(-1, 5)
        values[3:6] = np.nan
        data = {
            "time": ("time", days),
            "v": (("time", "x"), values, {"units": "m"}, {**encoding, "_FillValue": np.nan}),
        }
        collection = create(tmp_path / "c", data, chunks)
        expected = Arrays({"time": Variable(("time",), days), "v": Variable(("time", "x"), values)})
        same_values(read(collection), expected)
        same_values(as_zarr_reads(collection), expected)
        same_values(as_xarray_reads(collection), expected)
        collection.insert(data, merge="time_series")
        same_values(as_zarr_reads(collection), expected)
        assert collection.verify(data=True) == []

    def test_groups(self, tmp_path):
        _, made = remade("v3-date", tmp_path / "c")
        for partition in made.partitions:
            where = f"year == {partition.key['year']} and month == {partition.key['month']}"
            ours = made.read(where)
            theirs = xr.open_datatree(
                tmp_path / "c" / partition.path, engine="zarr", consolidated=False, decode_cf=False
            )
            assert {node.path for node in theirs.subtree} == {node.path for node in ours.subtree}
            for node in theirs.subtree:
                for name, variable in node.to_dataset(inherit=False).variables.items():
                    np.testing.assert_array_equal(variable.values, ours[node.path][name].values)
                    variable.attrs.pop("_FillValue", None)
                    assert variable.attrs == ours[node.path][name].attrs
