"""Programs for plateau behave the same with `partita.compat.plateau`: reading and writing."""

from __future__ import annotations

import datetime as dt
import pickle

import numpy as np
import pandas as pd
import pytest

from plateau_pair import Library, same_outcome


def frame(first: int = 0, rows: int = 6) -> pd.DataFrame:
    """Rows of commonly stored types."""
    number = np.arange(first, first + rows)
    return pd.DataFrame(
        {
            "city": [["Oslo", "Rome", "São Paulo"][n % 3] for n in number],
            "id": number,
            "small": number.astype("int8"),
            "fare": [None if n % 4 == 1 else n / 2 for n in number],
            "narrow": number.astype("float32") / 4,
            "paid": number % 2 == 0,
            "day": [dt.date(2024, 1, 1) + dt.timedelta(days=int(n) // 2) for n in number],
            "at": pd.Timestamp("2024-01-01") + pd.to_timedelta(number, unit="h"),
            "kind": pd.Categorical([f"k{n % 2}" for n in number]),
            "note": [None if n % 4 == 0 else f"n{n}" for n in number],
        }
    )


def by_id(df: pd.DataFrame) -> pd.DataFrame:
    return df.sort_values("id", ignore_index=True)


def wide(df: pd.DataFrame) -> pd.DataFrame:
    """`read_table` of plateau keeps narrow floats with some versions of pandas only."""
    return by_id(df).astype({name: "float64" for name in ("narrow",) if name in df})


def stored(p: Library, **options) -> None:
    options = {"partition_on": ["city"], "secondary_indices": ["id"], **options}
    p.store_dataframes_as_dataset(p.store, "t", [frame(), frame(6)], **options)


class TestReading:
    @pytest.mark.parametrize("keys", [None, "city", ["kind", "city"], ["day"], ["at"], ["small"]])
    def test_tables(self, keys):
        def program(p: Library):
            stored(p, partition_on=keys)
            return wide(p.read_table("t", p.store))

        same_outcome(program)

    @pytest.mark.parametrize("keys", [None, "city", ["kind", "city"]])
    def test_frames(self, keys):
        def program(p: Library):
            stored(p, partition_on=keys)
            frames = p.read_dataset_as_dataframes("t", p.store)
            return sorted((by_id(each) for each in frames), key=lambda each: each["id"].tolist())

        same_outcome(program)

    @pytest.mark.parametrize(
        "columns",
        [["id"], ["fare", "id", "city"], ["id", "city"], [], ["id", "absent"], "id"],
    )
    def test_columns(self, columns):
        def program(p: Library):
            stored(p)
            df = p.read_table("t", p.store, columns=columns)
            frames = p.read_dataset_as_dataframes("t", p.store, columns=columns)
            whole = by_id(df) if "id" in df else (len(df), list(df.columns))
            return whole, sorted(len(each) for each in frames), list(frames[0].columns)

        same_outcome(program)

    @pytest.mark.parametrize(
        "predicates",
        [
            [[("id", "==", 3)]],
            [[("id", ">=", 3), ("id", "<", 8)]],
            [[("id", "in", [1, 4, 99])]],
            [[("city", "==", "Oslo")], [("id", ">", 10)]],
            [[("city", "!=", "Oslo")]],
            [[("city", "in", ["Oslo", "Rome"]), ("fare", ">", 1.5)]],
            [[("fare", "!=", 1.0)]],
            [[("fare", "==", np.nan)]],
            [[("note", "==", None)]],
            [[("note", "!=", None)]],
            [[("note", "in", ["n1", None])]],
            [[("kind", "==", "k1")]],
            [[("kind", "<", "k1")]],
            [[("day", "==", dt.date(2024, 1, 2))]],
            [[("day", ">", "2024-01-02")]],
            [[("at", "<=", pd.Timestamp("2024-01-01 03:00"))]],
            [[("at", "==", dt.datetime(2024, 1, 1, 4))]],
            [[("paid", "==", True)]],
            [[("id", "==", 99)]],
            [[("city", "==", "Lima")]],
            [[("id", "in", [])]],
            [[("narrow", "<", 0.5)]],
            [[("small", "==", -1)]],
        ],
        ids=str,
    )
    def test_predicates(self, predicates):
        def program(p: Library):
            stored(p)
            frames = p.read_dataset_as_dataframes("t", p.store, predicates=predicates)
            lengths = sorted(len(each) for each in frames)
            return wide(p.read_table("t", p.store, predicates=predicates)), lengths

        same_outcome(program)

    @pytest.mark.parametrize(
        "predicates",
        [
            [],
            [[]],
            [("id", "==", 1)],
            [[("id", "==")]],
            [[("id", "~", 1)]],
            [[("absent", "==", 1)]],
            [[("id", "==", "1")]],
            [[("id", "==", 1.5)]],
            [[("id", "==", [1])]],
            [[("id", "in", 1)]],
            [[("id", "in", "1")]],
            [[("fare", "==", 1)]],
            [[("fare", "<", None)]],
            [[("note", "==", 1)]],
            [[("note", "==", b"\x00")]],
            [[("paid", "==", 1)]],
            [[("day", "==", dt.datetime(2024, 1, 1))]],
            [[("day", "==", "yesterday")]],
            [[("at", "==", "2024-01-01")]],
            [[("at", "==", dt.date(2024, 1, 1))]],
        ],
        ids=str,
    )
    def test_wrong_predicates(self, predicates):
        def program(p: Library):
            stored(p, secondary_indices=None)
            return p.read_table("t", p.store, predicates=predicates)

        same_outcome(program)

    def test_categoricals(self):
        def program(p: Library):
            stored(p)
            df = by_id(p.read_table("t", p.store, categoricals=["note", "city"]))
            note = df["note"].cat
            return df["note"].astype(object), sorted(note.categories), note.ordered, df["city"]

        same_outcome(program)

    def test_dates_as_timestamps(self):
        def program(p: Library):
            stored(p)
            options = {"dates_as_object": False, "predicates": [[("id", ">", 9)]]}
            frames = p.read_dataset_as_dataframes("t", p.store, **options)
            return sorted((by_id(each) for each in frames), key=lambda each: each["id"].tolist())

        same_outcome(program)

    @pytest.mark.parametrize("by", ["city", ["id"], ["city", "id"], [], "fare"])
    def test_dispatch(self, by):
        def program(p: Library):
            stored(p)
            options = {"dispatch_by": by, "columns": ["city", "id", "fare"]}
            frames = p.read_dataset_as_dataframes("t", p.store, **options)
            return [by_id(each) for each in frames]

        same_outcome(program)

    def test_dispatch_with_predicates(self):
        def program(p: Library):
            stored(p)
            frames = p.read_dataset_as_dataframes(
                "t", p.store, dispatch_by="city", predicates=[[("id", ">", 3), ("fare", "<", 5.0)]]
            )
            return [sorted(each["id"]) for each in frames]

        same_outcome(program)

    def test_iterators_and_factories(self):
        def program(p: Library):
            stored(p)
            factory = p.DatasetFactory("t", p.store)
            rows = [len(each) for each in p.read_dataset_as_dataframes__iterator(factory=factory)]
            parts = p.read_dataset_as_metapartitions(factory=pickle.loads(pickle.dumps(factory)))
            labels = [part.label.split("/")[0] for part in parts]
            sizes = [len(part.data) for part in parts]
            return rows, labels, sizes, factory.partition_keys, factory.table_name, len(parts[0])

        same_outcome(program)

    def test_what_is_not_there(self):
        def program(p: Library):
            return p.read_table("absent", p.store)

        same_outcome(program)

    @pytest.mark.parametrize("given", [{}, {"dataset_uuid": "t"}, {"store": "hfs:///nowhere"}])
    def test_neither_factory_nor_name(self, given):
        same_outcome(lambda p: p.read_table(**given))

    @pytest.mark.parametrize("store", [5, None, object()])
    def test_what_is_no_store(self, store):
        same_outcome(lambda p: p.store_dataframes_as_dataset(store, "t", [frame()]))


class TestWriting:
    @pytest.mark.parametrize(
        "frames",
        [
            lambda: [frame(), frame(6)],
            lambda: [[frame(), frame(6)], frame(12)],
            lambda: [None, frame()],
            lambda: iter([frame()]),
            lambda: [],
            lambda: frame(),
            lambda: None,
            lambda: [{"table": frame()}],
            lambda: [frame().drop(columns="fare"), frame()],
            lambda: [frame(), frame().assign(id="text")],
            lambda: [frame().assign(note=None), frame()],
        ],
    )
    @pytest.mark.parametrize("keys", [None, ["city"]])
    def test_input(self, frames, keys):
        def program(p: Library):
            dataset = p.store_dataframes_as_dataset(p.store, "t", frames(), partition_on=keys)
            return len(dataset.partitions), wide(p.read_table("t", p.store))

        same_outcome(program)

    @pytest.mark.parametrize(
        "options",
        [
            {"partition_on": ["absent"]},
            {"partition_on": ["fare"]},
            {"partition_on": {"city"}},
            {"partition_on": ["city"], "secondary_indices": ["city"]},
            {"secondary_indices": ["absent"]},
            {"metadata_version": 3},
            {"metadata_version": 5},
            {"metadata_storage_format": "yaml"},
            {"partition_on": list(frame().columns)},
        ],
        ids=str,
    )
    def test_refusals(self, options):
        same_outcome(
            lambda p: len(
                p.store_dataframes_as_dataset(p.store, "t", [frame()], **options).partitions
            )
        )

    def test_existing(self):
        def program(p: Library):
            stored(p)
            stored(p)

        same_outcome(program)

    def test_bad_names_store_nothing(self):
        same_outcome(lambda p: p.store_dataframes_as_dataset(p.store, "a.b", [frame()]))

    @pytest.mark.parametrize("form", ["json", "msgpack", "JSON"])
    def test_overwrite(self, form):
        def program(p: Library):
            stored(p, metadata={"old": 1}, metadata_storage_format=form)
            dataset = p.store_dataframes_as_dataset(
                p.store,
                "t",
                [frame(100)],
                overwrite=True,
                metadata={"new": 2},
                metadata_storage_format=form,
            )
            metadata = {k: v for k, v in dataset.metadata.items() if k != "creation_time"}
            return metadata, dataset.partition_keys, by_id(p.read_table("t", p.store))["id"]

        same_outcome(program)

    def test_metadata(self):
        def program(p: Library):
            stored(p, metadata={"a": {"b": [1, 2]}})

            def merge(documents):
                return {**documents[0], "merged": True}

            dataset = p.update_dataset_from_dataframes(
                [frame(12)],
                p.store,
                "t",
                metadata={"a": 5, "c": []},
                metadata_merger=merge,
            )
            loaded = p.DatasetMetadata.load_from_store("t", p.store)
            assert loaded.metadata == dataset.metadata
            return {k: v for k, v in sorted(dataset.metadata.items()) if k != "creation_time"}

        same_outcome(program)

    @pytest.mark.parametrize(
        "serializer",
        [
            {"compression": "ZSTD"},
            {"compression": "GZIP", "chunk_size": 2},
            {"chunk_size": 0},
            {"chunk_size": "2"},
        ],
        ids=str,
    )
    def test_serializers(self, serializer):
        def program(p: Library):
            stored(p, df_serializer=p.ParquetSerializer(**serializer))
            return wide(p.read_table("t", p.store)), repr(p.ParquetSerializer(**serializer))

        same_outcome(program)

    def test_tables_with_another_name(self):
        def program(p: Library):
            stored(p, table_name="rides", metadata={"k": 1})
            p.update_dataset_from_dataframes([frame(12)], p.store, "t", table_name="rides")
            dataset = p.DatasetMetadata.load_from_store("t", p.store)
            index = sorted(dataset.indices)
            return dataset.table_name, dataset.tables, index, wide(p.read_table("t", p.store))

        same_outcome(program)

    def test_iterators(self):
        def program(p: Library):
            dataset = p.store_dataframes_as_dataset__iter(
                (frame(6 * n) for n in range(4)), p.store, partition_on="city"
            )
            p.update_dataset_from_dataframes__iter(
                (frame(6 * n) for n in range(4, 6)), p.store, dataset.uuid
            )
            return len(dataset.uuid), by_id(p.read_table(dataset.uuid, p.store))["id"]

        same_outcome(program)


class TestChanging:
    @pytest.mark.parametrize(
        "scope",
        [
            [{"city": "Oslo"}],
            [{"city": "Oslo"}, {"city": "Rome"}],
            [{"city": "nowhere"}],
            [],
            None,
        ],
        ids=str,
    )
    @pytest.mark.parametrize("more", [True, False])
    def test_delete_scope(self, scope, more):
        def program(p: Library):
            stored(p)
            dataset = p.update_dataset_from_dataframes(
                [frame(12)] if more else None, p.store, "t", delete_scope=scope
            )
            return len(dataset.partitions), wide(p.read_table("t", p.store))

        same_outcome(program)

    @pytest.mark.parametrize("scope", [[{"small": "7"}], [{"small": 7.9}]], ids=str)
    def test_values_of_a_scope_are_converted(self, scope):
        def program(p: Library):
            stored(p, partition_on="small", secondary_indices=None)
            p.update_dataset_from_dataframes(None, p.store, "t", delete_scope=scope)
            return by_id(p.read_table("t", p.store))["id"]

        same_outcome(program)

    @pytest.mark.parametrize(
        "options",
        [
            {"partition_on": "city"},
            {"partition_on": ["kind"]},
            {"secondary_indices": "id"},
            {"secondary_indices": ["fare"]},
            {"sort_partitions_by": "fare"},
            {"sort_partitions_by": ["kind", "id"]},
        ],
        ids=str,
    )
    def test_options(self, options):
        def program(p: Library):
            stored(p)
            p.update_dataset_from_dataframes([frame(12)], p.store, "t", **options)
            dataset = p.DatasetMetadata.load_from_store("t", p.store, load_all_indices=True)
            index = sorted(dataset.indices["id"].index_dct)
            return index, [each["id"].tolist() for each in self.frames(p)]

        same_outcome(program)

    def frames(self, p: Library) -> list[pd.DataFrame]:
        frames = p.read_dataset_as_dataframes("t", p.store)
        return sorted(frames, key=lambda each: sorted(each["id"]))

    @pytest.mark.parametrize(
        "other",
        [
            lambda df: df.assign(extra=1),
            lambda df: df.drop(columns="fare"),
            lambda df: df.assign(id=df["id"].astype(str)),
            lambda df: df.assign(id=df["id"] / 2),
            lambda df: df.assign(fare=df["fare"].astype("float32")),
            lambda df: df.assign(fare=None),
            lambda df: df[df.columns[::-1]],
        ],
    )
    def test_schemas(self, other):
        def program(p: Library):
            stored(p, secondary_indices=None)
            p.update_dataset_from_dataframes([other(frame(12))], p.store, "t")
            return by_id(p.read_table("t", p.store))["id"]

        same_outcome(program)

    def test_a_dataset_that_is_not_there_is_created(self):
        def program(p: Library):
            dataset = p.update_dataset_from_dataframes(
                [frame()], p.store, "t", partition_on="city", secondary_indices="id"
            )
            return dataset.partition_keys, sorted(dataset.indices), wide(p.read_table("t", p.store))

        same_outcome(program)

    def test_written_first_and_committed_later(self):
        def program(p: Library):
            stored(p, secondary_indices=None)
            written = [
                p.write_single_partition(p.store, "t", frame(12)),
                pickle.loads(pickle.dumps(p.write_single_partition(p.store, "t", [frame(18)]))),
            ]
            seen = len(p.read_table("t", p.store))
            dataset = p.commit_dataset(
                p.store, "t", new_partitions=written, delete_scope=[{"city": "Oslo"}]
            )
            sizes = [len(each) for each in written]
            return seen, sizes, len(dataset.partitions), wide(p.read_table("t", p.store))

        same_outcome(program)

    @pytest.mark.parametrize(
        "commit",
        [
            {},
            {"metadata": {"a": 1}},
            {"delete_scope": [{"city": "Rome"}]},
            {"new_partitions": [frame()]},
            {"metadata": {"a": 1}, "partition_on": ["kind"]},
        ],
        ids=lambda commit: str(list(commit)),
    )
    def test_commits(self, commit):
        def program(p: Library):
            stored(p)
            dataset = p.commit_dataset(p.store, "t", **commit)
            return dataset.metadata.get("a"), by_id(p.read_table("t", p.store))["id"]

        same_outcome(program)

    @pytest.mark.parametrize(
        "data", [None, frame().drop(columns="id"), {"table": frame()}], ids=["none", "less", "dict"]
    )
    def test_partitions_that_do_not_fit(self, data):
        def program(p: Library):
            stored(p)
            p.write_single_partition(p.store, "t", data)

        same_outcome(program)

    @pytest.mark.parametrize("schema", [frame(), 5], ids=["frame", "number"])
    def test_headers_that_list_their_files(self, schema):
        def program(p: Library):
            header = p.create_empty_dataset_header(
                p.store, "t", schema, partition_on=["city"], metadata={"k": 1}
            )
            seen = [len(header.partitions), header.explicit_partitions, header.metadata["k"]]
            seen.append(len(p.read_table("t", p.store)))
            part = p.write_single_partition(p.store, "t", frame())
            listed = p.DatasetMetadata.load_from_store("t", p.store)
            seen += [len(listed.partitions), listed.explicit_partitions]
            committed = p.commit_dataset(p.store, "t", new_partitions=[part])
            seen += [len(committed.partitions), committed.explicit_partitions]
            return seen, wide(p.read_table("t", p.store))

        same_outcome(program)


class TestUpkeep:
    def test_indices(self):
        def program(p: Library):
            stored(p)
            p.build_dataset_indices(p.store, "t", ["fare", "note", "day", "at", "paid"])
            dataset = p.DatasetMetadata.load_from_store("t", p.store).load_all_indices(p.store)
            return {
                name: np.sort(dataset.indices[name].observed_values())
                for name in ("city", "fare", "id", "note", "day", "at", "paid")
            }

        same_outcome(program)

    def test_an_index_on_no_column(self):
        def program(p: Library):
            stored(p)
            p.build_dataset_indices(p.store, "t", ["absent"])

        same_outcome(program)

    def test_garbage(self):
        def program(p: Library):
            stored(p)
            p.write_single_partition(p.store, "t", frame(50))
            scope = [{"city": "Oslo"}]
            p.update_dataset_from_dataframes([frame(12)], p.store, "t", delete_scope=scope)
            p.garbage_collect_dataset("t", p.store)
            data = [key for key in p.keys() if key.startswith("t/table/")]
            return len(data), wide(p.read_table("t", p.store))

        same_outcome(program)

    def test_delete(self):
        def program(p: Library):
            stored(p)
            p.store_dataframes_as_dataset(p.store, "other", [frame()])
            p.delete_dataset("t", p.store)
            left = [key.split("/")[0].split(".")[0] for key in p.keys()]
            return p.DatasetMetadata.exists("t", p.store), sorted(set(left))

        same_outcome(program)

    @pytest.mark.parametrize("verb", ["delete_dataset", "garbage_collect_dataset"])
    def test_upkeep_of_what_is_not_there(self, verb):
        same_outcome(lambda p: getattr(p, verb)("absent", p.store))
