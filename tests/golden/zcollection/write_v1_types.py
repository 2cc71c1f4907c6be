"""Writes `v1-types` with ZCollection 2024.2.0 (zarr 2.18.3, numcodecs 0.13.1, NumPy 1.26).

Every type, compressor and filter that the Zarr v2 layout knows, in chunks that do not divide the
rows. `v1-types.json` holds the bytes of each variable as that release reads them, in hexadecimal.
"""

import json
import pathlib

import dask.distributed
import numcodecs
import numpy as np
import zcollection

ROWS, COLUMNS = 7, 3
TYPES = [
    "|b1", "|i1", "<i2", "<i4", "<i8", "|u1", "<u2", "<u4", "<u8", "<f2", "<f4", "<f8", "<c8",
    "<c16", ">i4", ">f8", ">c8", "<M8[Y]", "<M8[M]", "<M8[D]", "<M8[h]", "<M8[s]", "<M8[ms]",
    "<M8[25us]", "<m8[ns]", "<m8[D]", "|S5", "<U4", ">U4",
]  # fmt: skip
COMPRESSORS = {
    "lz4_shuffle": numcodecs.Blosc("lz4", 5, 1),
    "blosclz_bit": numcodecs.Blosc("blosclz", 9, 2),
    "lz4hc_none": numcodecs.Blosc("lz4hc", 5, 0),
    "zlib_auto": numcodecs.Blosc("zlib", 1, -1),
    "zstd": numcodecs.Zstd(3),
    "zlib": numcodecs.Zlib(1),
    "gzip": numcodecs.GZip(1),
    "bz2": numcodecs.BZ2(1),
    "lz4": numcodecs.LZ4(),
}
FILTERS = {
    "delta": ("<i4", [numcodecs.Delta("<i4")]),
    "delta_narrow": ("<i8", [numcodecs.Delta("<i8", "<i2")]),
    "delta_float": ("<f4", [numcodecs.Delta("<f4")]),
    "fixed": ("<f8", [numcodecs.FixedScaleOffset(10, 100, "<f8", "<i4")]),
    "fixed_small": ("<f4", [numcodecs.FixedScaleOffset(0.5, 20, "<f4", "|u1")]),
    "fixed_delta": (
        "<f8",
        [numcodecs.FixedScaleOffset(0, 1000, "<f8", "<i8"), numcodecs.Delta("<i8")],
    ),
    "quantize": ("<f8", [numcodecs.Quantize(2, "<f8", "<f4")]),
    "astype": ("<i8", [numcodecs.AsType("<i2", "<i8")]),
    "packbits": ("|b1", [numcodecs.PackBits()]),
    "shuffle": ("<f8", [numcodecs.Shuffle(8)]),
    "crc32": ("<i4", [numcodecs.CRC32()]),
    "adler32": ("<i4", [numcodecs.Adler32()]),
    "fletcher32": ("<i4", [numcodecs.Fletcher32()]),
    "bitround": ("<f4", [numcodecs.BitRound(8)]),
}


def values(dtype):
    dtype = np.dtype(dtype)
    count = np.arange(ROWS * COLUMNS).reshape(ROWS, COLUMNS)
    if dtype.kind == "b":
        return (count % 3 == 0).astype(dtype)
    if dtype.kind in "SU":
        return (
            np.array([f"é{n}" if dtype.kind == "U" else f"a{n}" for n in count.ravel()])
            .reshape(count.shape)
            .astype(dtype)
        )
    if dtype.kind == "c":
        return (count * (1 + 0.5j)).astype(dtype)
    if dtype.kind == "f":
        return (count * 1.25 + 20.125).astype(dtype)
    return count.astype("<i8").astype(dtype)


def main():
    variables = [
        zcollection.Array(
            "time",
            np.arange("2022-01-01", "2022-01-08", dtype="<M8[D]").astype("<M8[us]"),
            ("time",),
            attrs=(zcollection.Attribute("standard_name", "time"),),
        )
    ]

    def add(name, dtype, fill_value=None, compressor=None, filters=()):
        data = values(dtype)
        variables.append(
            zcollection.Array(
                name, data, ("time", "x"), fill_value=fill_value, compressor=compressor,
                filters=filters,
                attrs=(zcollection.Attribute("limits", [float("nan"), float("inf"), 1]),),
            )
        )  # fmt: skip

    for number, dtype in enumerate(TYPES):
        add(f"type{number:02d}", dtype)
    for name, compressor in COMPRESSORS.items():
        add(f"compressor_{name}", "<f8", fill_value=0.0, compressor=compressor)
    for name, (dtype, filters) in FILTERS.items():
        add(f"filter_{name}", dtype, filters=filters, compressor=numcodecs.Zstd(1))
    variables.append(
        zcollection.Array(
            "all_fill", np.full((ROWS, COLUMNS), 5, "<i2"), ("time", "x"), fill_value=5
        )
    )
    dataset = zcollection.Dataset(
        variables,
        attrs=(zcollection.Attribute("title", "types"),),
        chunks=[zcollection.meta.Dimension("time", 4)],
    )
    here = pathlib.Path(__file__).parent
    collection = zcollection.create_collection(
        "time", dataset, zcollection.partitioning.Date(("time",), "M"), str(here / "v1-types")
    )
    collection.insert(dataset)
    expected = {}
    for name, variable in collection.load(delayed=False).variables.items():
        array = np.ascontiguousarray(variable.array)
        expected[name] = array.astype(array.dtype.newbyteorder("<")).tobytes().hex()
    (here / "v1-types.json").write_text(json.dumps(expected, indent=1) + "\n")


if __name__ == "__main__":
    with dask.distributed.Client(processes=False, dashboard_address=None):
        main()
