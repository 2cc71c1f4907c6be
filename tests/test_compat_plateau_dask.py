"""Programs for plateau behave the same with `partita.compat.plateau`: dask."""

from __future__ import annotations

import pickle

import dask
import dask.bag as db
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest

from plateau_pair import Library, same_outcome
from test_compat_plateau import by_id, frame, stored, wide


@pytest.fixture(autouse=True)
def _in_this_thread():
    with (
        dask.config.set(scheduler="synchronous"),
        dask.config.set({"dataframe.convert-string": False}),
    ):
        yield


def collection(rows: int = 24, npartitions: int = 4):
    return dd.from_pandas(frame(0, rows), npartitions=npartitions)


class TestDataFrames:
    @pytest.mark.parametrize(
        "options",
        [
            {},
            {"columns": ["id", "fare"]},
            {"columns": {"table": ["id", "city"]}},
            {"predicates": [[("id", ">", 4)]]},
            {"predicates": [[("city", "==", "Rome")]]},
            {"dispatch_by": "city"},
            {"dask_index_on": "id"},
            {"dask_index_on": ["id"]},
            {"dask_index_on": "id", "dispatch_by": "city"},
            {"columns": ["absent"]},
        ],
        ids=str,
    )
    def test_reading(self, options):
        def program(p: Library):
            stored(p)
            ddf = p.read_dataset_as_ddf("t", p.store, **options)
            pieces = [each for each in dask.compute(*ddf.to_delayed()) if len(each)]
            whole = pd.concat(pieces)
            known = ddf.known_divisions and list(ddf.divisions)
            order = whole["id"] if "id" in whole else whole.index
            return known, len(pieces), list(ddf.columns), sorted(order), ddf.dtypes.astype(str)

        same_outcome(program)

    def test_projection(self):
        def program(p: Library):
            stored(p)
            ddf = p.read_dataset_as_ddf("t", p.store)
            return float(ddf["fare"].sum().compute()), sorted(ddf[["id"]].compute()["id"])

        same_outcome(program)

    def test_categories(self):
        def program(p: Library):
            stored(p)
            ddf = p.read_dataset_as_ddf("t", p.store, categoricals=["id", "note"])
            kinds = [ddf["id"].cat.known, ddf["note"].cat.known]
            df = ddf.compute()
            return kinds, sorted(df["id"].astype(int)), str(df["id"].dtype)

        same_outcome(program)

    @pytest.mark.parametrize(
        "options",
        [
            {},
            {"partition_on": "city"},
            {"partition_on": ["kind", "city"], "secondary_indices": ["id"]},
            {"partition_on": "city", "shuffle": True},
            {"partition_on": "city", "shuffle": True, "num_buckets": 3, "bucket_by": "id"},
            {"partition_on": "city", "shuffle": True, "num_buckets": None},
            {"repartition_ratio": 2},
            {"repartition_ratio": 3, "sort_partitions_by": "fare"},
            {"table": None},
            {"partition_on": "absent"},
            {"metadata": {"a": 1}},
        ],
        ids=str,
    )
    def test_writing(self, options):
        # Both create a dataset that does not exist.
        verb = "store_dataset_from_ddf" if len(options) % 2 else "update_dataset_from_ddf"

        def program(p: Library):
            graph = getattr(p, verb)(collection(), store=p.store, dataset_uuid="t", **options)
            dataset = pickle.loads(pickle.dumps(graph)).compute()
            groups = sorted(label.rpartition("/")[0] for label in dataset.partitions)
            metadata = dataset.metadata.get("a")
            frames = p.read_dataset_as_dataframes("t", p.store)
            ids = sorted(sorted(each["id"]) for each in frames)
            return groups, sorted(dataset.indices), metadata, ids, wide(p.read_table("t", p.store))

        same_outcome(program)

    @pytest.mark.parametrize(
        "options",
        [
            {},
            {"delete_scope": [{"city": "Oslo"}]},
            {"shuffle": True},
            {"partition_on": ["kind"]},
            {"secondary_indices": ["fare"]},
            {"metadata": {"a": 1}},
        ],
        ids=str,
    )
    def test_updates(self, options):
        def program(p: Library):
            stored(p)
            ddf = dd.from_pandas(frame(12, 12), npartitions=2)
            dataset = p.update_dataset_from_ddf(ddf, p.store, "t", **options).compute()
            return dataset.metadata.get("a"), wide(p.read_table("t", p.store))

        same_outcome(program)

    def test_updates_through_a_factory(self):
        """plateau needs the store as an additional argument."""
        p = Library("partita.compat.plateau")
        stored(p)
        ddf = dd.from_pandas(frame(12, 12), npartitions=2)
        p.update_dataset_from_ddf(ddf, factory=p.DatasetFactory("t", p.store)).compute()
        assert sorted(p.read_table("t", p.store)["id"]) == list(range(24))

    def test_removing_only(self):
        def program(p: Library):
            stored(p)
            scope = [{"city": "Rome"}]
            p.update_dataset_from_ddf(None, p.store, "t", delete_scope=scope).compute()
            return by_id(p.read_table("t", p.store))["id"]

        same_outcome(program)

    def test_existing(self):
        def program(p: Library):
            stored(p)
            p.store_dataset_from_ddf(collection(), p.store, "t").compute()

        same_outcome(program)

    def test_overwriting(self):
        def program(p: Library):
            stored(p, metadata={"old": 1})
            ddf = dd.from_pandas(frame(50)[["id", "fare"]], npartitions=2)
            dataset = p.store_dataset_from_ddf(ddf, p.store, "t", overwrite=True).compute()
            p.garbage_collect_dataset("t", p.store)
            files = [key for key in p.keys() if key.startswith("t/table/")]
            return sorted(dataset.metadata), len(files), by_id(p.read_table("t", p.store))

        same_outcome(program)

    def test_footers(self):
        def program(p: Library):
            serializer = p.ParquetSerializer(chunk_size=2)
            stored(p, df_serializer=serializer, secondary_indices=["id"])
            df = p.collect_dataset_metadata(p.store, "t").compute()
            few = p.collect_dataset_metadata(
                p.store, "t", predicates=[[("city", "==", "Oslo")]], frac=0.5
            ).compute()
            counts = ["row_group_id", "number_rows_total", "number_row_groups"]
            return list(df.columns), sorted(df[counts].sum()), len(few), df.dtypes.astype(str)

        same_outcome(program)

    @pytest.mark.parametrize("frac", [0.0, 1.1])
    def test_a_part_of_the_footers(self, frac):
        def program(p: Library):
            stored(p)
            p.collect_dataset_metadata(p.store, "t", frac=frac)

        same_outcome(program)

    @pytest.mark.parametrize(
        "options",
        [
            {},
            {"subset": ["id", "city"]},
            {"group_key": ["city"]},
            {"group_key": ["city"], "subset": ["id"]},
            {"predicates": [[("city", "==", "Rome")]]},
        ],
        ids=str,
    )
    def test_hashes(self, options):
        def program(p: Library):
            df = frame()[["city", "id", "fare", "at", "note"]]
            p.store_dataframes_as_dataset(p.store, "t", [df], partition_on="city")
            hashes = p.hash_dataset(p.store, "t", **options).compute()
            if "group_key" in options:
                return hashes.sort_index()
            return sorted(hashes), str(hashes.dtype)

        same_outcome(program)

    def test_buckets(self):
        def program(p: Library):
            module = p.module("io.dask._shuffle")
            df = frame(0, 20)[["id", "city", "fare"]]
            return [
                module._hash_bucket(df, subset, number)
                for subset in (None, ["id"], ["city", "id"])
                for number in (1, 5, 300, 70_000)
            ]

        same_outcome(program)


class TestBagsAndDelayed:
    @pytest.mark.parametrize(
        "options",
        [
            {},
            {"columns": ["id", "city"]},
            {"predicates": [[("id", ">", 4)]]},
            {"dispatch_by": ["city"]},
            {"categoricals": ["city"]},
        ],
        ids=str,
    )
    def test_reading(self, options):
        def program(p: Library):
            stored(p)
            bag = p.read_dataset_as_dataframe_bag("t", p.store, partition_size=2, **options)
            some = p.read_dataset_as_delayed("t", p.store, **options)
            both = [bag.compute(), list(dask.compute(*some))]
            return [sorted(sorted(each["id"]) for each in frames) for frames in both], [
                str(frames[0]["city"].dtype) for frames in both
            ]

        same_outcome(program)

    @pytest.mark.parametrize("keys", [None, "city"])
    def test_writing(self, keys):
        def program(p: Library):
            frames = [frame(6 * n) for n in range(3)]
            bag = db.from_sequence(frames, npartitions=2)
            options = {"partition_on": keys, "secondary_indices": "id", "metadata": {"a": 1}}
            one = p.store_bag_as_dataset(bag, p.store, "one", **options).compute()
            some = [dask.delayed(each) for each in frames]
            two = p.store_delayed_as_dataset(some, p.store, "two", **options).compute()
            more = [dask.delayed(frame(60))]
            p.update_dataset_from_delayed(
                more, p.store, "two", delete_scope=dask.delayed([{"city": "Oslo"}] if keys else [])
            ).compute()
            return (
                len(one.partitions),
                len(two.partitions),
                wide(p.read_table("one", p.store)),
                wide(p.read_table("two", p.store)),
            )

        same_outcome(program)

    def test_upkeep(self):
        def program(p: Library):
            stored(p)
            p.build_dataset_indices__bag(p.store, "t", ["fare"]).compute()
            index = p.DatasetFactory("t", p.store).load_index("fare").indices["fare"]
            values = np.sort(index.observed_values())
            p.write_single_partition(p.store, "t", frame(50))
            dask.compute(p.garbage_collect_dataset__delayed("t", p.store))
            files = [key for key in p.keys() if key.startswith("t/table/")]
            dask.compute(p.delete_dataset__delayed("t", p.store))
            return values, len(files), p.DatasetMetadata.exists("t", p.store)

        same_outcome(program)
