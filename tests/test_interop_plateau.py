"""Partita and plateau on the same datasets: each reads and updates the data of the other."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from plateau.io.eager import create_empty_dataset_header, write_single_partition
from plateau.serialization import ParquetSerializer

import partita as pt
from plateau_lake import Lake, every_type, same_frame, trips


@pytest.fixture
def lake(tmp_path) -> Lake:
    return Lake(tmp_path / "lake")


class TestTypes:
    """A frame with a column of every type, with and without partitions."""

    @pytest.mark.parametrize("keys", [[], ["bool"], ["int32"], ["category", "int8"]])
    def test_both_read_what_either_wrote(self, lake, keys):
        frame = every_type()
        lake.create("ours", frame, partition_by=keys)
        lake.theirs_create("theirs", frame, partition_on=keys or None)

        through_plateau = lake.theirs_read("theirs")
        same_frame(lake.theirs_read("ours"), through_plateau)
        ours = lake.open("ours").read()
        # The order of categories without an order is that of their first rows.
        categories = frame["category"].cat.categories
        same_frame(ours.assign(category=ours["category"].cat.set_categories(categories)), frame)
        # The order of columns in their files is not part of their schema.
        theirs = lake.open("theirs").read(columns=list(ours.columns))
        # Plateau's schema has microseconds, and numbers of 64 bits.
        assert [theirs[name].dt.unit for name in ("utc", "oslo")] == ["us", "us"]
        same_frame(theirs, ours.astype(theirs.dtypes))
        if keys != ["bool"]:
            # plateau returns the narrow numbers of the file, Partita those of the schema.
            same_frame(
                ours.astype(through_plateau.dtypes)[through_plateau.columns], through_plateau
            )

    def test_both_append_what_the_other_began(self, lake):
        # plateau cannot append these even to its own datasets.
        frame = every_type().drop(columns=["list_int", "list_text", "utc", "oslo"])
        later = frame.assign(id=frame["id"] + 100)
        for name, create in {"ours": lake.create, "theirs": lake.theirs_create}.items():
            create(name, frame)
            lake.theirs_update(name, later)
            lake.open(name).append(later.assign(id=frame["id"] + 200))
            assert len(lake.theirs_read(name)) == 18
        same_frame(lake.theirs_read("ours"), lake.theirs_read("theirs"))
        ours = lake.open("ours").read()
        theirs = lake.open("theirs").read(columns=list(ours.columns))
        same_frame(theirs, ours.astype(theirs.dtypes))

    def test_an_empty_table(self, lake):
        frame = every_type().drop(columns=["list_int", "list_text", "utc", "oslo"])
        schema = lake.create("seed", frame).schema
        pt.create_table(lake.url("ours"), schema, partition_by="int32")
        assert lake.open("ours").read().empty
        assert set(lake.theirs_read("ours").columns) == set(lake.open("ours").columns)
        lake.theirs_update("ours", frame, partition_on=["int32"])
        assert lake.open("ours").count() == 6

    def test_columns_and_categories_asked_of_plateau(self, lake):
        frame = every_type()
        lake.create("ours", frame, partition_by="int8")
        lake.theirs_create("theirs", frame, partition_on=["int8"])
        for options in ({"columns": ["object", "int8", "id"]}, {"categoricals": ["object"]}):
            same_frame(lake.theirs_read("ours", **options), lake.theirs_read("theirs", **options))


NAMES = [
    "plain", "a b", " ", "", "50%", "%2F", "a%20b", "k=v", "a=b=c", "ünïcødé", "東京", "🚕", ".",
    "..", "~-_.", "+", "#?&", "a\nb", "tab\t", "'\"`", "\\", ":", "None", "nan", "True", "1", "1.0",
    "2020-01-01", "x" * 80,
]  # fmt: skip
WITH_SLASHES = ["a/b", "a/c", "/", "/abs", "end/", "a//b", "../up", "p=1/q=2"]
DATES = [dt.date(1700, 1, 1), dt.date(1969, 12, 31), dt.date(2020, 2, 29), dt.date(2199, 12, 31)]
MOMENTS = [
    pd.Timestamp("2020-01-01"),
    pd.Timestamp("1969-12-31 23:59:59.999999"),
    pd.Timestamp("2020-01-01 03:00:00.5"),
]
VALUES = {
    "text": NAMES,
    "integers": [-(2**63), -17, -1, 0, 1, 2**63 - 1],
    "small_integers": np.array([-128, -1, 0, 127], dtype="int8"),
    "unsigned": np.array([0, 2**64 - 1], dtype="uint64"),
    "numbers": [-1.5, 0.1, 1e20, 1e-7, 2.0, float("inf"), 123456789.125],
    "narrow_numbers": np.array([0.1, -2.5], dtype="float32"),
    "dates": DATES,
    "moments": MOMENTS,
    "categories": pd.Categorical(["a b", "c=d", "é"]),
}


def plain(value: object) -> object:
    """A value in the type that a user writes, without numpy's types."""
    if isinstance(value, np.datetime64):
        return pd.Timestamp(value)
    return value.item() if isinstance(value, np.generic) else value


class TestPartitionValues:
    def frame(self, values) -> pd.DataFrame:
        values = pd.Series(values)
        twice = pd.concat([values, values], ignore_index=True)
        return pd.DataFrame({"key": twice, "id": range(len(twice))})

    @pytest.mark.parametrize("values", VALUES.values(), ids=VALUES.keys())
    def test_both_read_what_either_wrote(self, lake, values):
        frame = self.frame(values)
        lake.create("ours", frame, partition_by="key")
        lake.theirs_create("theirs", frame, partition_on=["key"])
        expected = lake.theirs_read("theirs")
        same_frame(lake.theirs_read("ours"), expected)
        ours = lake.open("ours").read()
        assert ours["key"].dtype == frame["key"].dtype
        same_frame(ours.astype(expected.dtypes), expected)
        same_frame(lake.open("theirs").read(), expected)
        assert set(expected["key"]) == set(frame["key"])

    @pytest.mark.parametrize("values", VALUES.values(), ids=VALUES.keys())
    def test_both_write_the_same_paths(self, lake, values):
        frame = self.frame(values)
        lake.create("ours", frame, partition_by="key")
        lake.theirs_create("theirs", frame, partition_on=["key"])

        def folders(name: str) -> set[str]:
            return {key.rpartition("/")[0] for key in lake.files(f"{name}/table")}

        assert folders("ours") == folders("theirs")

    @pytest.mark.parametrize("values", VALUES.values(), ids=VALUES.keys())
    def test_each_value_can_be_selected(self, lake, values):
        frame = self.frame(values)
        lake.create("ours", frame, partition_by="key")
        lake.theirs_create("theirs", frame, partition_on=["key"])
        for value in pd.unique(frame["key"]):
            value = plain(value)
            expected = sorted(frame["id"][frame["key"] == value])
            for name in ("ours", "theirs"):
                found = lake.open(name).read(where={"key": value})
                assert sorted(found["id"]) == expected, (name, value)
                assert (
                    lake.open(name).scan(where={"key": value}).explain().details["files_read"] == 1
                )
            found = lake.theirs_read("ours", [[("key", "==", value)]])
            assert sorted(found["id"]) == expected, value

    def test_slashes_reach_plateau_whole(self, lake):
        """plateau itself truncates such values at the slash when it writes them."""
        frame = self.frame(WITH_SLASHES)
        table = lake.create("ours", frame, partition_by="key", index=["id"])
        same_frame(table.read(), frame)
        same_frame(lake.theirs_read("ours"), frame)
        for value in WITH_SLASHES:
            found = lake.theirs_read("ours", [[("key", "==", value)]])
            assert sorted(found["id"]) == sorted(frame["id"][frame["key"] == value])
        lake.theirs_update("ours", None, delete_scope=[{"key": "a/b"}])
        lake.theirs_collect_garbage("ours")
        left = frame[frame["key"] != "a/b"]
        same_frame(lake.theirs_read("ours"), left)
        same_frame(table.refresh().read(), left)

    def test_booleans_are_read_as_they_were_written(self, lake):
        """plateau writes them correctly and reads every one of them as True."""
        frame = self.frame([True, False])
        lake.create("ours", frame, partition_by="key")
        lake.theirs_create("theirs", frame, partition_on=["key"])
        for name in ("ours", "theirs"):
            same_frame(lake.open(name).read(), frame)
            for value in (True, False):
                found = lake.open(name).read(where={"key": value})
                assert sorted(found["id"]) == sorted(frame["id"][frame["key"] == value])
        assert lake.theirs_read("ours")["key"].dtype == bool
        assert sorted(lake.theirs_read("ours")["id"]) == sorted(frame["id"])

    def test_time_zones(self, lake):
        """plateau writes them and cannot read them."""
        frame = self.frame(pd.to_datetime(["2020-01-01", "2020-07-01"]).tz_localize("Europe/Oslo"))
        lake.theirs_create("theirs", frame, partition_on=["key"])
        found = lake.open("theirs").read()
        assert (found["key"] == frame.set_index("id").loc[found["id"], "key"].values).all() or (
            sorted(found["key"]) == sorted(frame["key"])
        )

    def test_several_keys_with_awkward_names(self, lake):
        frame = pd.DataFrame(
            {
                "a b": ["x", "x", "y z", "y z"],
                "ü%=": [1, -2, 1, -2],
                "day": [dt.date(2020, 1, 1), dt.date(2020, 1, 2)] * 2,
                "id": range(4),
            }
        )
        keys = ["a b", "ü%=", "day"]
        lake.create("ours", frame, partition_by=keys, index="id")
        lake.theirs_create("theirs", frame, partition_on=keys, secondary_indices="id")
        expected = lake.theirs_read("theirs")
        for name in ("ours", "theirs"):
            same_frame(lake.theirs_read(name), expected)
            same_frame(lake.open(name).read(), expected)
            found = lake.open(name).read(where=(pt.col("ü%=") == -2) & (pt.col("id") > 1))
            assert found["id"].tolist() == [3]


INDEXED = {
    "number": "rider",
    "text": "name",
    "moment": "at",
    "day": "day",
    "real": "fare",
    "flag": "paid",
    "bytes": "blob",
}


def where(frame: pd.DataFrame, column: str, value: object) -> list[int]:
    return sorted(frame["id"][frame[column] == value])


class TestIndices:
    @pytest.mark.parametrize("column", INDEXED.values(), ids=INDEXED.keys())
    @pytest.mark.parametrize("creator", ["ours", "theirs"])
    def test_each_uses_and_extends_the_index_of_the_other(self, lake, creator, column):
        first, second, third = trips(), trips(first=60), trips(first=120)
        if creator == "ours":
            lake.create("t", first, partition_by="city", index=column)
        else:
            lake.theirs_create("t", first, partition_on=["city"], secondary_indices=[column])
        lake.theirs_update("t", second)
        lake.open("t").append(third)
        lake.theirs_update("t", trips(first=180), delete_scope=[{"city": "Rome"}])

        kept = pd.concat([first, second, third])
        everything = pd.concat([kept[kept["city"] != "Rome"], trips(first=180)])
        table = lake.open("t")
        assert table.index == [column]
        values = list(dict.fromkeys(everything[column]))
        for value in [values[0], values[len(values) // 2], values[-1]]:
            value = plain(value)
            expected = where(everything, column, value)
            assert sorted(table.read(where={column: value})["id"]) == expected
            assert sorted(lake.theirs_read("t", [[(column, "==", value)]])["id"]) == expected
        assert sorted(table.read()["id"]) == sorted(everything["id"])

    @pytest.mark.parametrize("creator", ["ours", "theirs"])
    def test_both_find_the_same_files(self, lake, creator):
        frame = trips()
        frame["rider"] = frame["city"].map({"Oslo": 1, "Rome": 2, "São Paulo": 3}) * 100
        if creator == "ours":
            lake.create("t", frame, partition_by="city", index="rider")
        else:
            lake.theirs_create("t", frame, partition_on=["city"], secondary_indices=["rider"])
        (label,) = lake.their_index("t", "rider").eval_operator("==", 200)
        assert label.startswith("city=Rome/")
        plan = lake.open("t").scan(where="rider == 200").explain().details
        assert plan["files_read"] == 1
        assert lake.their_index("t", "rider").eval_operator("==", 201) == set()
        assert lake.open("t").scan(where="rider == 201").explain().details["files_read"] == 0

    def test_nulls_are_not_lost_behind_an_index(self, lake):
        """plateau's index does not contain nulls, so plateau loses rows."""
        frame = trips(rows=12)
        frame["fare"] = [None if n % 4 == 0 else n / 2 for n in range(12)]
        lake.theirs_create("t", frame, partition_on=["city"], secondary_indices=["fare"])
        table = lake.open("t")
        assert sorted(table.read(where="fare is null")["id"]) == [0, 4, 8]
        assert sorted(table.read(where="fare == 0.5 or id >= 8")["id"]) == [1, 8, 9, 10, 11]
        assert sorted(table.read(where="not (fare == 0.5)")["id"]) == [2, 3, 5, 6, 7, 9, 10, 11]

    def test_a_commit_of_plateau_without_the_index_hides_nothing(self, lake):
        """plateau's commit_dataset adds partitions without updating the indices."""
        from plateau.io.eager import commit_dataset, write_single_partition

        lake.theirs_create("t", trips(), partition_on=["city"], secondary_indices=["rider"])
        late = trips(first=600, rows=3).assign(rider=77)
        written = write_single_partition(lake.store, "t", late, partition_on=["city"])
        commit_dataset(lake.store, "t", new_partitions=[written], partition_on=["city"])
        assert len(lake.theirs_read("t", [[("rider", "==", 77)]])) == 0
        assert sorted(lake.open("t").read(where="rider == 77")["id"]) == [600, 601, 602]


class TestTakingTurns:
    def test_alternating_writers(self, lake):
        order = ["id"]
        model = trips(rows=30)
        table = lake.create(
            "t", model, partition_by="city", index=["rider", "name"], metadata={"owner": ["me", 1]}
        )

        def check() -> None:
            expected = model.sort_values(order, ignore_index=True)
            ours = table.refresh().read()[model.columns]
            theirs = lake.theirs_read("t")[model.columns]
            same_frame(ours, expected)
            same_frame(theirs, expected)
            for rider in (0, 3, 10):
                want = where(model, "rider", rider)
                assert sorted(table.read(where={"rider": rider})["id"]) == want
                assert sorted(lake.theirs_read("t", [[("rider", "==", rider)]])["id"]) == want

        for turn in range(3):
            more = trips(first=1000 * turn + 100, rows=12)
            lake.theirs_update("t", more)
            model = pd.concat([model, more])
            check()

            more = trips(first=1000 * turn + 200, rows=9)
            table.append(more)
            model = pd.concat([model, more])
            check()

            oslo = trips(first=1000 * turn + 300, rows=9).assign(city="Oslo")
            table.replace(oslo, where={"city": "Oslo"})
            model = pd.concat([model[model["city"] != "Oslo"], oslo])
            check()

            rome = trips(first=1000 * turn + 400, rows=6).assign(city="Rome")
            lake.theirs_update("t", rome, delete_scope=[{"city": "Rome"}])
            model = pd.concat([model[model["city"] != "Rome"], rome])
            check()
        table.delete(where={"city": ["Rome", "São Paulo"]})
        model = model[model["city"] == "Oslo"]
        check()
        assert table.metadata["owner"] == ["me", 1]

    def test_a_stale_table_commits_on_top_of_plateau(self, lake):
        table = lake.create("t", trips(rows=6), partition_by="city", index="rider")
        lake.theirs_update("t", trips(first=6, rows=6))
        table.append(trips(first=12, rows=6))
        assert sorted(table.read()["id"]) == list(range(18))
        assert sorted(lake.theirs_read("t")["id"]) == list(range(18))

    def test_history_goes_on_after_a_commit_of_plateau(self, lake):
        table = lake.create("t", trips(rows=6), partition_by="city")
        lake.theirs_update("t", trips(first=6, rows=6))
        assert table.refresh().count() == 12
        table.append(trips(first=12, rows=6))
        newest = table.history()[0]
        assert (newest.operation, newest.rows) == ("append", 18)

    def test_metadata_of_each_reaches_the_other(self, lake):
        table = lake.create("t", trips(rows=6), metadata={"a": {"b": [1, None, "ü"]}})
        lake.theirs_update("t", trips(first=6, rows=6), metadata={"theirs": 2})
        assert table.refresh().metadata["a"] == {"b": [1, None, "ü"]}
        assert table.metadata["theirs"] == 2
        table.append(trips(first=12, rows=6), metadata={"ours": True})
        metadata = lake.their_metadata("t")
        assert metadata["theirs"] == 2
        assert metadata["ours"] is True
        assert metadata["a"] == {"b": [1, None, "ü"]}

    def test_their_garbage_collection_takes_only_garbage(self, lake):
        table = lake.create("t", trips(), partition_by="city", index="rider")
        lake.create("u", trips(), partition_by="city")
        table.replace(trips(first=600).assign(city="Oslo"), where={"city": "Oslo"})
        table.append(trips(first=700))
        before = table.read()
        private, other = lake.files("t/_partita"), lake.files("u")
        data = lake.files("t/table")
        assert private

        lake.theirs_collect_garbage("t")

        assert lake.files("t/_partita") == private
        assert lake.files("u") == other
        assert len(lake.files("t/table")) < len(data)
        again = lake.open("t")
        same_frame(again.read(), before)
        same_frame(again.read(where="rider == 3"), before[before["rider"] == 3])
        assert len(again.history()) == 3
        again.append(trips(first=800))
        assert len(lake.theirs_read("t")) == len(before) + 60

    def test_a_table_that_plateau_emptied(self, lake):
        lake.theirs_create("t", trips(), partition_on=["city"], secondary_indices=["rider"])
        scope = [{"city": city} for city in ("Oslo", "Rome", "São Paulo")]
        lake.theirs_update("t", None, delete_scope=scope)
        table = lake.open("t")
        assert table.count() == 0
        assert list(table.read().columns) == table.columns
        table.append(trips(rows=6))
        assert len(lake.theirs_read("t")) == 6

    def test_plateau_refuses_what_partita_dropped(self, lake):
        table = lake.create("t", trips(), partition_by="city", index="rider")
        table.drop()
        with pytest.raises(KeyError):
            lake.theirs_read("t")
        assert lake.files(".") == {}


OPERATORS = ["==", "!=", "<", "<=", ">", ">="]
LITERALS = {
    "city": st.sampled_from(["Oslo", "Rome", "São Paulo", "Nowhere", ""]),
    "id": st.integers(-5, 70),
    "rider": st.integers(-1, 12),
    "name": st.sampled_from(["n0", "n3", "n8", "n", ""]),
    "fare": st.floats(-1, 3, allow_nan=False),
    "paid": st.booleans(),
    "at": st.integers(-3, 13).map(lambda n: pd.Timestamp("2024-01-01") + pd.Timedelta(hours=n)),
    "day": st.integers(-2, 11).map(lambda n: dt.date(2024, 1, 1) + dt.timedelta(days=n)),
}


def condition(column: str) -> st.SearchStrategy:
    literal = LITERALS[column]
    compared = st.tuples(st.just(column), st.sampled_from(OPERATORS), literal)
    listed = st.tuples(st.just(column), st.just("in"), st.lists(literal, min_size=1, max_size=4))
    return compared | listed


conditions = st.sampled_from(list(LITERALS)).flatmap(condition)
dnf = st.lists(st.lists(conditions, min_size=1, max_size=3), min_size=1, max_size=3)


class TestPredicates:
    """On columns without nulls both give the same results, with and without partitions and
    indices."""

    @pytest.fixture(scope="class")
    def lake(self, tmp_path_factory) -> Lake:
        from plateau.serialization import ParquetSerializer

        lake = Lake(tmp_path_factory.mktemp("predicates"))
        for name, keys, index in [
            ("plain", [], []),
            ("keys", ["city", "paid_text"], []),
            ("indexed", ["city"], ["rider", "name", "day"]),
        ]:
            frame = trips().assign(paid_text=lambda frame: frame["paid"].astype(str))
            lake.create(f"ours_{name}", frame, partition_by=keys, index=index, row_group_rows=4)
            lake.theirs_create(
                f"theirs_{name}",
                frame,
                partition_on=keys or None,
                secondary_indices=index or None,
                df_serializer=ParquetSerializer(chunk_size=4),
            )
        return lake

    @settings(
        max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
    )
    @given(predicates=dnf)
    @pytest.mark.parametrize("layout", ["plain", "keys", "indexed"])
    def test_both_select_the_same_rows(self, lake, layout, predicates):
        expected = sorted(lake.theirs_read(f"theirs_{layout}", predicates)["id"])
        assert sorted(lake.theirs_read(f"ours_{layout}", predicates)["id"]) == expected
        for name in (f"ours_{layout}", f"theirs_{layout}"):
            table = lake.open(name)
            assert sorted(table.read(columns=["id"], where=predicates)["id"]) == expected
            assert table.count(where=predicates) == len(expected)

    @pytest.mark.parametrize("layout", ["plain", "keys", "indexed"])
    def test_long_lists(self, lake, layout):
        wanted = list(range(0, 20_000, 7))
        for name in (f"ours_{layout}", f"theirs_{layout}"):
            found = lake.open(name).read(where=pt.col("id").isin(wanted))
            assert sorted(found["id"]) == [n for n in range(60) if n % 7 == 0]


class TestForms:
    """Forms of the format that plateau writes on request, or wrote in older versions."""

    def test_partitions_found_by_listing(self, lake):
        frame = trips()
        create_empty_dataset_header(lake.store, "t", frame, partition_on=["city"])
        assert lake.open("t").count() == 0
        write_single_partition(lake.store, "t", frame)
        table = lake.open("t")
        same_frame(table.read()[frame.columns], frame)
        assert table.scan(where={"city": "Oslo"}).explain().details["files_read"] == 1
        table.append(trips(first=60))
        table.build_index("rider")
        expected = pd.concat([frame, trips(first=60)])
        same_frame(lake.open("t").read()[frame.columns], expected)
        same_frame(lake.theirs_read("t")[frame.columns], expected)
        assert table.verify(data=True) == []

    def test_headers_in_msgpack_and_other_table_names(self, lake):
        frame = trips()
        lake.theirs_create(
            "t",
            frame,
            partition_on=["city"],
            secondary_indices=["rider"],
            metadata_storage_format="msgpack",
            table_name="core",
        )
        table = lake.open("t")
        table.append(trips(first=60))
        table.delete(where="rider == 3")
        expected = pd.concat([frame, trips(first=60)]).query("rider != 3")
        same_frame(lake.open("t").read()[frame.columns], expected)
        same_frame(lake.theirs_read("t")[frame.columns], expected)
        assert table.verify(data=True) == []
        copy = table.copy(lake.url("c"))
        same_frame(copy.read()[frame.columns], expected)
        same_frame(lake.theirs_read("c")[frame.columns], expected)

    def test_codecs_and_row_groups_of_its_serializer(self, lake):
        frame = trips(rows=600)
        serializer = ParquetSerializer(compression={"id": "GZIP", "name": "ZSTD"}, chunk_size=50)
        lake.theirs_create("t", frame, partition_on=["city"], df_serializer=serializer)
        table = lake.open("t")
        same_frame(table.read()[frame.columns], frame)
        table.append(trips(first=600, rows=3))
        assert [partition.row_groups for partition in table.partitions] == [5, 5, 5]
