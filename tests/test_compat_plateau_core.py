"""Programs for plateau behave the same with `partita.compat.plateau`: its objects and stores."""

from __future__ import annotations

import copy
import datetime as dt
import importlib
import inspect
import pickle
import subprocess
import sys

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from minimalkv import get_store_from_url
from minimalkv.decorator import (
    PrefixDecorator,
    ReadOnlyDecorator,
    StoreDecorator,
    URLEncodeKeysDecorator,
)
from minimalkv.fs import FilesystemStore

import partita as pt
from plateau_pair import BOTH, Library, same_outcome
from test_compat_plateau import by_id, frame, stored, wide

COMPAT = "partita.compat.plateau"

INDICES = [
    ({1: ["a", "b"], 3: ["b"]}, pa.int64()),
    ({"x": ["a"], "y": ["b", "c"]}, pa.large_string()),
    ({1.5: ["a"], 2.5: ["b"]}, pa.float64()),
    ({True: ["a"], False: ["b"]}, pa.bool_()),
    ({dt.date(2024, 1, 1): ["a"], dt.date(2024, 1, 2): ["b"]}, pa.date32()),
    ({pd.Timestamp("2024-01-01"): ["a"]}, pa.timestamp("ns")),
    ({b"x": ["a"]}, pa.binary()),
    ({"1": ["a"], 1: ["b"]}, pa.int64()),
]
KINDS = [
    pa.int64(), pa.uint64(), pa.float64(), pa.large_string(), pa.binary(), pa.bool_(), pa.date32(),
    pa.timestamp("ns"), pa.decimal128(5, 2), None,
]  # fmt: skip
VALUES = [1, "1", 1.9, "2024-01-05", b"x", True, "true", "False", dt.date(2024, 1, 1)]


class TestIndices:
    @pytest.mark.parametrize(("entries", "kind"), INDICES)
    def test_series(self, entries, kind):
        def program(p: Library):
            index = p.ExplicitSecondaryIndex("c", copy.deepcopy(entries), dtype=kind)
            again = pickle.loads(pickle.dumps(index))
            assert again == index
            return (
                [str(value) for value in index.observed_values()],
                index.as_flat_series().sort_index(),
                index.as_flat_series(partitions_as_index=True).sort_index(),
                sorted(map(sorted, index.as_flat_series(compact=True))),
                sorted(map(str, index.as_flat_series(compact=True, partitions_as_index=True))),
            )

        same_outcome(program)

    @pytest.mark.parametrize("op", ["==", "!=", "<", "<=", ">", ">=", "in", "~"])
    @pytest.mark.parametrize(("entries", "kind"), INDICES[:6])
    def test_operators(self, entries, kind, op):
        value = next(iter(entries))

        def program(p: Library):
            index = p.ExplicitSecondaryIndex("c", copy.deepcopy(entries), dtype=kind)
            return sorted(index.eval_operator(op, [value] if op == "in" else value))

        same_outcome(program)

    @pytest.mark.parametrize("kind", KINDS, ids=str)
    @pytest.mark.parametrize("value", VALUES, ids=repr)
    def test_values(self, kind, value):
        if kind == pa.bool_() and value == "2024-01-05" or (kind, value) == (pa.bool_(), "1"):
            pytest.skip("plateau returns its error and does not raise it")
        same_outcome(lambda p: p.IndexBase.normalize_value(kind, value))

    def test_changes(self):
        def program(p: Library):
            one = p.ExplicitSecondaryIndex("c", {1: ["a"], 2: ["a", "b"]})
            two = p.ExplicitSecondaryIndex("c", {2: ["c"], 3: ["d"]})
            made = [
                one.update(two),
                one.remove_partitions(["a"]),
                one.remove_values([2]),
                one.remove_partitions([]),
            ]
            return [{k: sorted(v) for k, v in sorted(each.index_dct.items())} for each in made]

        same_outcome(program)

    @pytest.mark.parametrize(
        "build",
        [
            lambda p: p.IndexBase("partition", {1: ["a"]}),
            lambda p: p.PartitionIndex("c", {}),
            lambda p: p.ExplicitSecondaryIndex("c"),
            lambda p: p.ExplicitSecondaryIndex("c", {}),
            lambda p: p.IndexBase("c", {}, dtype=pa.list_(pa.int64())),
            lambda p: p.IndexBase("c", {}, dtype=pa.null()),
            lambda p: p.IndexBase("c", {1: ["a"]}).update(5),
            lambda p: p.IndexBase("c", {1: ["a"]}).update(p.IndexBase("d", {1: ["a"]})),
            lambda p: p.IndexBase("c", {1: ["a"]}).update(p.IndexBase("c", {"1": ["a"]})),
        ],
    )
    def test_refusals(self, build):
        same_outcome(build)

    def test_frames_of_indices(self):
        def program(p: Library):
            stored(p, secondary_indices=["id", "paid"])
            factory = p.DatasetFactory("t", p.store).load_all_indices()
            labels = {label: label.split("/")[0] for label in factory.partitions}

            def shown(df: pd.DataFrame) -> pd.DataFrame:
                named = df.rename(index=labels).reset_index()
                return named.sort_values(list(named.columns), ignore_index=True)

            return (
                shown(factory.get_indices_as_dataframe()),
                shown(factory.get_indices_as_dataframe(["city", "id"])),
                shown(factory.get_indices_as_dataframe(["id"], predicates=[[("id", ">", 8)]])),
                len(factory.get_indices_as_dataframe([])),
                len(factory.query(city="Oslo")),
                len(factory.query(id=3)),
                len(factory.query(id=3, city="Rome")),
                sorted(factory.index_columns),
                factory.primary_indices_loaded,
            )

        same_outcome(program)

    @pytest.mark.parametrize("column", ["absent", "fare"])
    def test_no_index(self, column):
        def program(p: Library):
            stored(p)
            p.DatasetFactory("t", p.store).load_index(column)

        same_outcome(program)


class TestSchemas:
    def test_of_frames(self):
        def program(p: Library):
            schema = p.make_meta(frame(), "here", ["kind", "city"])
            kinds = [str(field) for field in schema]
            empty = p.empty_dataframe_from_schema(schema)
            return kinds, schema.names, sorted(schema.origin), empty.dtypes.astype(str)

        same_outcome(program)

    @pytest.mark.parametrize(
        "other",
        [
            lambda df: df,
            lambda df: df.assign(note=None),
            lambda df: df.assign(id=1.5),
            lambda df: df.drop(columns="id"),
            lambda df: df.astype({"id": "int16"}),
            lambda df: df.astype({"kind": str}),
        ],
    )
    def test_compatibility(self, other):
        def program(p: Library):
            one = p.make_meta(frame(), "one")
            two = p.make_meta(other(frame()), "two")
            merged = p.validate_compatible([one, two])
            return [str(field) for field in merged]

        same_outcome(program)

    @pytest.mark.parametrize(
        "kind",
        [
            pa.int8(), pa.uint16(), pa.float32(), pa.string(), pa.date32(), pa.list_(pa.int8()),
            pa.dictionary(pa.int8(), pa.float32()), pa.timestamp("us"), pa.bool_(), pa.null(),
        ],
        ids=str,
    )  # fmt: skip
    def test_types(self, kind):
        named = "list[int8]" if pa.types.is_list(kind) else None
        same_outcome(lambda p: str(p.normalize_type(kind, named, None, None)[0]))

    def test_stored_ones(self):
        def program(p: Library):
            stored(p)
            common = p.module("core.common_metadata")
            schema = common.read_schema_metadata("t", p.ensure_store(p.store))
            assert pickle.loads(pickle.dumps(schema)) == schema
            return [str(field) for field in schema]

        same_outcome(program)


class TestMetadata:
    def test_documents(self):
        def program(p: Library):
            stored(p, metadata={"a": 1})
            dataset = p.DatasetMetadata.load_from_store("t", p.store)
            again = p.DatasetMetadata.from_dict(dataset.to_dict())
            assert again.partitions == dataset.partitions and dataset == copy.copy(dataset)
            assert p.DatasetMetadata.from_buffer(dataset.to_json()).uuid == "t"
            packed = p.DatasetMetadata.from_buffer(dataset.to_msgpack(), format="msgpack")
            assert packed.metadata == dataset.metadata
            shape = {k: isinstance(v, dict) for k, v in dataset.to_dict().items()}
            partition = next(iter(dataset.partitions.values()))
            return shape, list(partition.to_dict()), list(partition.files), repr(dataset)

        same_outcome(program)

    def test_builders(self):
        def program(p: Library):
            builder = p.DatasetMetadataBuilder("u", partition_keys=["p"])
            partition = p.module("core.partition").Partition
            builder.add_partition("p=1/a", partition("p=1/a", {"table": "u/table/p=1/a.parquet"}))
            builder.add_metadata("k", 1)
            builder.metadata["creation_time"] = "now"
            key = builder.add_external_index("c")
            return key, builder.to_dict(), builder.to_json(), builder.to_msgpack()[0]

        same_outcome(program)

    @pytest.mark.parametrize(
        "document",
        [
            {"dataset_metadata_version": 3, "dataset_uuid": "u"},
            {"dataset_metadata_version": 5, "dataset_uuid": "u"},
            {"dataset_metadata_version": 4, "dataset_uuid": "a b"},
            {"dataset_uuid": "u"},
            {"dataset_metadata_version": 4, "dataset_uuid": "u", "partitions": {"a": "file"}},
        ],
        ids=str,
    )
    def test_documents_that_are_none(self, document):
        same_outcome(lambda p: p.DatasetMetadata.from_dict(document).uuid)

    def test_names(self):
        def program(p: Library):
            naming, quoting = p.module("core.naming"), p.module("core.urlencode")
            made = p.module("core.dataset").create_partition_key("u", "t", [("a b", "ü/=")], "f")
            return (
                naming.metadata_key_from_uuid("u"),
                naming.metadata_key_from_uuid("u", "msgpack"),
                naming.get_partition_file_prefix("u", "a=1/l", "t"),
                [quoting.quote(each) for each in ("a b", 5, b"\xff", "~-_./", "%", 1.5, None)],
                quoting.decode_key(made),
                quoting.decode_key("u/t"),
                quoting.unquote_indices(["a=1", "b", "c=d=e"]),
                made,
            )

        same_outcome(program)


class TestFilters:
    @pytest.mark.parametrize(
        "predicates",
        [
            None,
            [[("id", ">", 2)]],
            [[("id", ">", 2), ("city", "==", "Rome")], [("fare", "==", 0.0)]],
            [[("fare", "!=", 1.0)]],
            [[("note", "in", ["n1", None])]],
            [[("note", "not in", ["n1"])]],
            [[("kind", ">=", "k1")]],
            [[("kind", "==", "k1")]],
            [[("day", ">", dt.date(2024, 1, 2))]],
            [[("at", ">", pd.Timestamp("2024-01-01 02:00"))]],
            [[("id", "==", "1")]],
            [[("id", "~", 1)]],
            [[("absent", "==", 1)]],
        ],
        ids=str,
    )
    def test_frames(self, predicates):
        same_outcome(lambda p: p.filter_df_from_predicates(frame(), predicates))

    @pytest.mark.parametrize("op", ["==", "!=", "<", "<=", ">", ">="])
    @pytest.mark.parametrize(
        ("values", "value"),
        [
            (np.array([1, 2, 3]), 2),
            (np.array([1.0, np.nan, 3.0]), 3.0),
            (np.array(["a", "b"], dtype=object), "b"),
            (np.array([1, 2]), 2.0),
            (np.array([1, 2], dtype="uint8"), 1),
            (np.array([True, False]), True),
        ],
    )
    def test_arrays(self, op, values, value):
        same_outcome(lambda p: np.asarray(p.filter_array_like(values, op, value), dtype=bool))

    def test_masks(self):
        def program(p: Library):
            out = np.zeros(3, dtype=bool)
            mask = np.array([True, False, True])
            p.filter_array_like(np.array([1, 2, 3]), ">", 1, mask=mask, out=out)
            return out

        same_outcome(program)

    def test_parts_of_predicates(self):
        predicates = [[("a", "==", 1), ("b", "<", 2)], [("c", "in", [1])]]

        def program(p: Library):
            return (
                sorted(p.columns_in_predicates(predicates)),
                p.filter_predicates_by_column(predicates, ["a"]),
                p.filter_predicates_by_column(predicates, ["z"]),
                sorted(p.columns_in_predicates(None)),
            )

        same_outcome(program)

    @pytest.mark.parametrize(
        "options",
        [
            {},
            {"columns": ["id", "fare"]},
            {"columns": ["absent"]},
            {"predicates": [[("id", ">", 2)]]},
            {"predicates": [[("id", ">", 2)]], "columns": ["fare"]},
            {"filter_query": "id > 3"},
            {"filter_query": "id > 3", "predicates": [[("id", ">", 2)]]},
            {"categories": ["city"]},
            {"date_as_object": True},
            {"predicate_pushdown_to_io": False, "predicates": [[("note", "==", None)]]},
        ],
        ids=str,
    )
    def test_single_objects(self, options):
        def program(p: Library):
            store = p.ensure_store(p.store)
            key = p.ParquetSerializer().store(store, "some/key", frame())
            return key, p.DataFrameSerializer.restore_dataframe(store, key, **options)

        same_outcome(program)

    def test_text_objects(self):
        def program(p: Library):
            store = p.ensure_store(p.store)
            keys = [p.CsvSerializer(compress=each).store(store, "k", frame()) for each in (0, 1)]
            frames = [p.DataFrameSerializer.restore_dataframe(store, key) for key in keys]
            return keys, frames

        same_outcome(program)

    def test_objects_of_no_known_form(self):
        same_outcome(lambda p: p.DataFrameSerializer.restore_dataframe(None, "key.orc"))


class TestMetaPartitions:
    def test_splitting(self):
        def program(p: Library):
            part = p.MetaPartition("label", data=frame()).build_indices(["id"])
            split = part.partition_on(["city", "kind"])
            labels = [each.label for each in split]
            sizes = [(len(each.data), list(each.data.columns)) for each in split]
            index = {k: sorted(v) for k, v in part.indices["id"].index_dct.items()}
            return labels, sizes, index, len(split), repr(part), split[labels[0]].label

        same_outcome(program)

    @pytest.mark.parametrize(
        "use",
        [
            lambda p: p.parse_input_to_metapartition([frame(), frame()]).data,
            lambda p: p.parse_input_to_metapartition([frame(), frame()]).label,
            lambda p: p.parse_input_to_metapartition(5),
            lambda p: p.parse_input_to_metapartition((frame(),)),
            lambda p: p.parse_input_to_metapartition([frame(), frame()[["id"]]]),
            lambda p: p.parse_input_to_metapartition(None).is_sentinel,
            lambda p: len(p.parse_input_to_metapartition([frame(), [frame(), None]])),
            lambda p: p.MetaPartition("a", data=frame()).partition_on(["absent"]),
            lambda p: p.MetaPartition("a", data=frame()).build_indices(["absent"]),
            lambda p: p.MetaPartition("a", metadata_version=3),
            lambda p: p.MetaPartition("a")["b"],
            lambda p: p.MetaPartition("a").add_metapartition(p.MetaPartition("a")),
            lambda p: p.MetaPartition("a", data=frame()) == p.MetaPartition("a", data=frame()),
            lambda p: p.MetaPartition("a", data=frame()).remove_dataframes().data,
            lambda p: sorted(p.MetaPartition("a", data=frame()).to_dict()),
            lambda p: len(p.MetaPartition("a", data=frame()).apply(lambda df: df.head(2)).data),
        ],
    )
    def test_uses(self, use):
        same_outcome(use)

    def test_stored_by_hand(self):
        def program(p: Library):
            parts = [
                p.MetaPartition(name, data=frame(first)).store_dataframes(p.store, "t")
                for name, first in (("one", 0), ("two", 6))
            ]
            loaded = [part.load_dataframes(p.store, columns=["id"]).data for part in parts]
            write = p.module("io_components.write").store_dataset_from_partitions
            dataset = write(parts, p.store, "t", dataset_metadata={"a": 1})
            rows = wide(p.read_table("t", p.store))
            return [part.file for part in parts], loaded, len(dataset.partitions), rows

        same_outcome(program)

    def test_dispatching(self):
        def program(p: Library):
            stored(p)
            factory = p.DatasetFactory("t", p.store)
            dispatch = p.dispatch_metapartitions_from_factory
            whole = list(dispatch(factory, predicates=[[("city", "==", "Rome")]]))
            groups = list(dispatch(factory, dispatch_by=["city"]))
            opened = p.ensure_store(p.store)
            loaded = [each.load_dataframes(opened, columns=["id", "city"]).data for each in whole]
            conjunctions = [group[0].logical_conjunction for group in groups]
            return (
                len(whole),
                conjunctions,
                [len(group) for group in groups],
                by_id(pd.concat(loaded)),
            )

        same_outcome(program)


def memory() -> object:
    return get_store_from_url("hmemory://")


class Unknown(StoreDecorator):
    """A store of a class that a program defines."""


class TestStores:
    @pytest.mark.parametrize(
        "wrap",
        [
            lambda store, p: store,
            lambda store, p: lambda: store,
            lambda store, p: PrefixDecorator("some/where/", store),
            lambda store, p: PrefixDecorator("name-", store),
            lambda store, p: Unknown(store),
        ],
        ids=["store", "factory", "prefix", "prefix of names", "unknown class"],
    )
    @pytest.mark.parametrize("memory_or_file", ["memory", "file"])
    def test_stores(self, wrap, memory_or_file):
        def program(p: Library):
            inner = memory() if memory_or_file == "memory" else get_store_from_url(p.store)
            p.store = wrap(inner, p)
            stored(p)
            p.update_dataset_from_dataframes(
                [frame(12)], p.store, "t", delete_scope=[{"city": "Oslo"}]
            )
            p.garbage_collect_dataset("t", p.store)
            keys = [key for key in inner.keys() if "_partita" not in key]
            shape = sorted(key.replace("%", "/").split("/")[0] for key in keys)
            return shape, wide(p.read_table("t", p.store))

        same_outcome(program)

    def test_encoded_keys(self):
        def program(p: Library):
            inner = FilesystemStore(p.store.removeprefix("hfs://"))
            p.store = URLEncodeKeysDecorator(inner)
            stored(p)
            return "/" in "".join(inner.keys()), wide(p.read_table("t", p.store))

        same_outcome(program)

    def test_reading_from_what_cannot_be_written(self):
        def program(p: Library):
            stored(p)
            p.store = ReadOnlyDecorator(get_store_from_url(p.store))
            return wide(p.read_table("t", p.store))

        same_outcome(program)

    def test_what_one_writes_the_other_reads(self):
        ours = Library(COMPAT)
        stored(ours)
        theirs = Library("plateau")
        theirs.store = ours.store
        expected = by_id(ours.read_table("t", ours.store))
        found = by_id(theirs.read_table("t", ours.store))
        pd.testing.assert_frame_equal(found.astype(expected.dtypes), expected)
        table = pt.open_table(f"{ours.store.removeprefix('hfs://')}/t")
        assert table.verify(data=True) == []
        assert table.count() == 12

    def test_each_label_stands_for_the_same_rows(self):
        theirs, ours = (Library(root) for root in BOTH)
        stored(theirs)
        ours.store = theirs.store
        parts = [
            {part.label: part.data for part in p.read_dataset_as_metapartitions("t", theirs.store)}
            for p in (theirs, ours)
        ]
        assert parts[0].keys() == parts[1].keys() and len(parts[0]) == 6
        for label, frame_of_plateau in parts[0].items():
            pd.testing.assert_frame_equal(
                parts[1][label], frame_of_plateau.reset_index(drop=True), check_index_type=False
            )


class TestWhatPlateauLoses:
    """plateau loses rows in these cases; the interface over Partita does not."""

    def test_a_scope_on_no_index_is_refused(self):
        p = Library(COMPAT)
        stored(p)
        for scope in ([{"fare": 1.0}], [{"ctiy": "Oslo"}], [{}]):
            with pytest.raises(ValueError, match="delete_scope"):
                p.update_dataset_from_dataframes(None, p.store, "t", delete_scope=scope)
        assert len(p.read_table("t", p.store)) == 12

    def test_a_scope_on_an_index_removes_its_rows_alone(self):
        p = Library(COMPAT)
        stored(p)
        p.update_dataset_from_dataframes(None, p.store, "t", delete_scope=[{"id": 3}])
        assert sorted(p.read_table("t", p.store)["id"]) == [0, 1, 2, *range(4, 12)]

    def test_committed_rows_are_found_through_indices(self):
        p = Library(COMPAT)
        stored(p)
        p.commit_dataset(
            p.store, "t", new_partitions=[p.write_single_partition(p.store, "t", frame(12))]
        )
        found = p.read_table("t", p.store, predicates=[[("id", "==", 13)]])
        assert found["id"].tolist() == [13]

    def test_a_shuffle_does_not_drop_nulls(self):
        dd = pytest.importorskip("dask.dataframe")
        p = Library(COMPAT)
        ddf = dd.from_pandas(frame(), npartitions=2)
        with pytest.raises(ValueError, match="null values"):
            p.store_dataset_from_ddf(ddf, p.store, "t", partition_on="fare", shuffle=True).compute(
                scheduler="synchronous"
            )

    def test_concurrent_commits_are_all_kept(self):
        p = Library(COMPAT)
        stored(p)
        one, two = (p.DatasetFactory("t", p.store) for _ in range(2))
        assert one.partitions and two.partitions
        p.update_dataset_from_dataframes([frame(12)], factory=one)
        p.update_dataset_from_dataframes([frame(18)], factory=two)
        assert sorted(p.read_table("t", p.store)["id"]) == list(range(24))


def test_plateau_need_not_be_there():
    program = (
        "import sys, tempfile\n"
        "sys.modules['plateau'] = sys.modules['dask'] = None\n"
        "import pandas as pd\n"
        "from partita.compat.plateau.api.dataset import *\n"
        "from partita.compat.plateau.api.serialization import *\n"
        "store = 'hfs://' + tempfile.mkdtemp()\n"
        "store_dataframes_as_dataset(store, 't', [pd.DataFrame({'a': [1, 2]})])\n"
        "assert read_table('t', store)['a'].tolist() == [1, 2]\n"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", program], check=True)


@pytest.mark.parametrize(
    "module",
    ["api.dataset", "api.serialization", "io.eager", "io.iter", "io.dask.dataframe", "io.dask.bag",
     "io.dask.delayed", "io.dask.compression", "core", "core.dataset", "core.factory", "core.index",
     "core.common_metadata", "core.utils", "serialization", "utils.store"],
)  # fmt: skip
def test_every_public_name_is_there_with_its_parameters(module):
    theirs, ours = (importlib.import_module(f"{root}.{module}") for root in BOTH)
    names = set(getattr(theirs, "__all__", ())) | {
        name
        for name, value in vars(theirs).items()
        if inspect.isfunction(value)
        and value.__module__ == theirs.__name__
        and not name.startswith("_")
        and name != "to_ordinary_dict"
    }
    for name in sorted(names):
        assert hasattr(ours, name), name
        value = getattr(theirs, name)
        if not inspect.isfunction(value):
            continue
        wanted = inspect.signature(value).parameters
        found = inspect.signature(getattr(ours, name)).parameters
        assert list(found) == list(wanted), name
        for parameter in wanted:
            assert found[parameter].default == wanted[parameter].default, (name, parameter)
