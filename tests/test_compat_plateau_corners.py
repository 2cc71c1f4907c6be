"""Programs for plateau behave the same with `partita.compat.plateau`: the cases of plateau's own
tests."""

from __future__ import annotations

import datetime as dt
import io
import logging
import pkgutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import partita.compat.plateau
import partita.compat.zcollection
from plateau_pair import Library, same_outcome
from test_compat_plateau import frame, stored


class Objects:
    """The part of a store's interface that serializers need."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}

    def put(self, key: str, data: bytes) -> None:
        self.objects[key] = data

    def get(self, key: str) -> bytes:
        return self.objects[key]

    def open(self, key: str) -> io.BytesIO:
        return io.BytesIO(self.objects[key])


class Failing(Objects):
    """A store whose reads fail."""

    def get(self, key: str) -> bytes:
        raise OSError("not now")

    open = get


class TestSerializers:
    @pytest.mark.parametrize("rows", [0, 6])
    @pytest.mark.parametrize("kind", ["parquet", "csv", "csv.gz"])
    def test_any_store_will_do(self, kind, rows):
        def program(p: Library):
            store = Objects()
            csv = p.CsvSerializer(compress=kind == "csv.gz")
            serializer = p.ParquetSerializer() if kind == "parquet" else csv
            key = serializer.store(store, "some/key", frame(rows=rows)[["id", "city", "paid"]])
            return key, p.DataFrameSerializer.restore_dataframe(store, key)

        same_outcome(program)

    def test_tables_go_in_too(self):
        def program(p: Library):
            store = Objects()
            table = pa.table({"at": pa.array([dt.datetime(2024, 1, 1)], pa.timestamp("us"))})
            keys = [p.ParquetSerializer().store(store, "k", table)]
            keys.append(p.CsvSerializer().store(store, "k", table))
            return [p.DataFrameSerializer.restore_dataframe(store, key) for key in keys]

        same_outcome(program)

    def test_reads_that_go_on_failing(self):
        def program(p: Library):
            with pytest.raises(
                p.module("serialization._parquet").ParquetReadError, match="after 6 attempts"
            ):
                p.ParquetSerializer.restore_dataframe(Failing(), "k.parquet")

        same_outcome(program)


class TestIndices:
    def test_numbers_beyond_those_with_a_sign(self):
        def program(p: Library):
            entries = {14671423800646041619: ["a", "b"], int(np.iinfo("u8").max): ["a"]}
            index = p.ExplicitSecondaryIndex("c", entries)
            return str(index.dtype), index.eval_operator(">", 14671423800646041619)

        same_outcome(program)

    def test_values_that_become_one_are_told(self, caplog):
        def program(p: Library):
            caplog.clear()
            with caplog.at_level(logging.WARNING):
                entries = {1: ["a", "c"], 2.0: ["d"], "1": ["a", "b"]}
                index = p.ExplicitSecondaryIndex("c", entries, dtype=pa.int8())
            told = [message.partition(".")[0] for message in caplog.messages]
            return told, index.index_dct

        same_outcome(program)

    def test_keys_in_the_names_of_files_are_found(self):
        document = {
            "dataset_metadata_version": 4,
            "dataset_uuid": "u",
            "partitions": {"city=7/one": {"files": {"table": "u/table/city=7/one.parquet"}}},
        }

        def program(p: Library):
            dataset = p.DatasetMetadata.from_dict(document)
            schema = pd.DataFrame({"city": pd.Series([1], dtype=int)})
            dataset.schema = p.make_meta(schema, origin="table")
            indices = dataset.load_all_indices(p.store).indices
            return {column: index.index_dct for column, index in indices.items()}

        same_outcome(program)

    def test_what_another_wrote_is_ruled_out_by_its_index(self):
        def program(p: Library):
            stored(p)
            p.read_table("t", p.store, predicates=[[("id", "==", 3)]])
            p.update_dataset_from_dataframes([frame(20)], p.store, "t")
            empty = p.read_table("t", p.store, predicates=[[("id", "==", 99)]])
            return empty.dtypes.astype(str).to_dict()

        same_outcome(program)


class TestPartitions:
    def test_an_empty_one_holds_none(self):
        def program(p: Library):
            whole = p.parse_input_to_metapartition([frame(), frame(6)])
            empty = p.MetaPartition(None)
            return list(empty), len(list(whole)), empty.is_sentinel, len(empty)

        same_outcome(program)

    @pytest.mark.parametrize("dates_as_object", [True, False])
    @pytest.mark.parametrize(
        ("text", "value"), [("2", 3), ("2024-01-02", dt.date(2024, 1, 1)), ("a%2Fb", "c")]
    )
    def test_the_name_of_a_file_is_right_about_its_values(self, text, value, dates_as_object):
        def program(p: Library):
            df = pd.DataFrame({"id": [1, 2], "c": [value] * 2})
            store = p.ensure_store(p.store)
            key = p.ParquetSerializer().store(store, f"u/table/c={text}/one", df)
            part = p.MetaPartition(
                f"c={text}/one", key, schema=p.make_meta(df, "x"), partition_keys=["c"]
            )
            return part.load_dataframes(store, dates_as_object=dates_as_object).data

        same_outcome(program)

    def test_a_dictionary_without_frames_is_no_frame(self):
        def program(p: Library):
            parts = [
                p.MetaPartition(label, data=frame(first)).store_dataframes(p.store, "t")
                for label, first in (("one", 0), ("two", 6))
            ]
            parts = [part.copy(data={}) for part in parts]
            write = p.module("io_components.write").store_dataset_from_partitions
            write(parts, p.store, "t")
            return sorted(p.read_table("t", p.store)["id"])

        same_outcome(program)


class TestDocuments:
    @pytest.mark.parametrize("append", [True, False])
    @pytest.mark.parametrize(
        "several",
        [
            [{"a": 1, "b": 1}, {"a": 1, "b": 2}, {"a": 2, "b": 2}],
            [{"a": {"x": 1, "y": 1}}, {"a": {"x": 1, "y": 2}}, {"a": {"x": 2, "y": 2}}],
            [{"a": {"x": 1}}, {"a": {"x": 2}}],
            [{"a": [1]}, {"a": [2]}, {"a": [2], "b": 1}],
            [{"a": 1}, {"b": {}}, {"c": None}],
            [{"a": [1], "b": [1]}, {"a": 1}],
        ],
    )
    def test_merging(self, several, append):
        def program(p: Library):
            merged = p.combine_metadata([dict(each) for each in several], append)
            return {key: merged[key] for key in sorted(merged)}

        same_outcome(program)


class TestCopies:
    @pytest.mark.parametrize("keys", [["k", "a b/c=%C3"], ["k", "kö"], ["k", "/"], [""], []])
    def test_keys(self, keys):
        def program(p: Library):
            source, target = (p.ensure_store("hmemory://") for _ in range(2))
            for key in keys[:1] if "kö" in keys or "/" in keys else filter(None, keys):
                source.put(key, key.encode())
            try:
                p.module("utils.store").copy_keys(keys, source, target)
            except ValueError as error:
                return str(error), list(target.keys())
            return {key: target.get(key) for key in sorted(target.keys())}

        same_outcome(program)


@pytest.mark.parametrize("package", [partita.compat.plateau, partita.compat.zcollection])
def test_each_module_may_be_the_first(package):
    found = pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    names = [module.name for module in found]
    # In a process that has imported only the modules that it needs.
    program = """
import importlib, os, sys
import dask.bag, dask.dataframe, distributed, minimalkv, numcodecs, pandas, xarray, partita
import pyarrow.parquet
for name in sys.argv[1:]:
    child = os.fork()
    if not child:
        importlib.import_module(name)
        os._exit(0)
    if os.waitpid(child, 0)[1]:
        print(name)
"""
    command = [sys.executable, "-W", "ignore", "-c", program, *names]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout == "", done.stderr
    assert done.returncode == 0, done.stderr
