"""Each invalid call raises one specific typed error and does not change stored data."""

from __future__ import annotations

import pickle

import pandas as pd
import pyarrow as pa
import pytest

import partita as pt


def test_every_kind_has_its_class_and_each_is_a_partita_error():
    kinds = {
        cls._default_kind: cls
        for cls in vars(pt).values()
        if isinstance(cls, type) and issubclass(cls, pt.PartitaError)
    }
    assert set(kinds) == {
        "Internal",
        "NotFound",
        "AlreadyExists",
        "InvalidArgument",
        "InvalidPredicate",
        "SchemaMismatch",
        "OutOfSync",
        "CommitConflict",
        "CommitUnsupported",
        "CommitUnknown",
        "StagedExpired",
        "StaleIndex",
        "ReadOnly",
        "Corrupt",
        "Store",
        "Interrupted",
    }
    for name in ("InvalidArgument", "InvalidPredicate", "SchemaMismatch"):
        assert issubclass(kinds[name], ValueError)


def test_errors_survive_pickling():
    error = pt.NotFound("gone", context={"key": "k"})
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is pt.NotFound
    assert (str(again), again.kind, again.context) == ("gone", "NotFound", {"key": "k"})


def test_a_table_that_is_not_there(memory, tmp_path):
    for url in (f"{memory}/absent", tmp_path / "absent", tmp_path / "no" / "such" / "store"):
        with pytest.raises(pt.NotFound, match="absent|store") as caught:
            pt.open_table(url)
        assert caught.value.kind == "NotFound"


def test_a_table_that_is_there_already(trips, trips_frame):
    with pytest.raises(pt.AlreadyExists, match="trips"):
        pt.create_table(trips.url, trips_frame)
    assert pt.open_table(trips.url).count() == 6
    pt.create_table(trips.url, trips_frame.head(2), overwrite=True)
    assert pt.open_table(trips.url).count() == 2


@pytest.mark.parametrize("url", ["nosuch://x/y", "memory://x/", "", "s3://"])
def test_bad_urls(url):
    with pytest.raises(pt.PartitaError) as caught:
        pt.open_table(url)
    assert caught.value.kind in ("InvalidArgument", "NotFound")


def test_unknown_scheme_names_the_known_ones():
    with pytest.raises(pt.InvalidArgument, match="s3"):
        pt.open_table("nosuch://x/y")


@pytest.mark.parametrize(
    "data",
    [
        {"city": ["Oslo"], "fare": [1.0]},
        {"city": ["Oslo"], "rider": [1], "fare": [1.0], "at": [pd.Timestamp(0)], "more": [1]},
        {"city": ["Oslo"], "rider": ["one"], "fare": [1.0], "at": [pd.Timestamp(0)]},
    ],
    ids=["missing column", "surplus column", "wrong type"],
)
def test_data_that_does_not_fit(trips, data):
    with pytest.raises(pt.SchemaMismatch, match="rider|at|more"):
        trips.append(data)
    assert trips.refresh().count() == 6
    assert trips.history()[0].operation == "create"


def test_missing_partition_column(memory):
    with pytest.raises(pt.PartitaError, match="nowhere"):
        pt.create_table(f"{memory}/t", {"a": [1]}, partition_by="nowhere")
    assert pt.ls(memory) == []


def test_missing_partition_value(memory):
    with pytest.raises(pt.InvalidArgument, match="null"):
        pt.create_table(f"{memory}/t", {"p": ["x", None], "v": [1, 2]}, partition_by="p")
    assert pt.ls(memory) == []


@pytest.mark.parametrize(
    "where",
    [
        "fare >",
        "fare > 'dear'",
        "nowhere == 1",
        "(fare > 1",
        [[]],
        [],
        [[("fare", "~", 1)]],
        [("fare", ">")],
        {},
        {"nowhere": 1},
        7,
    ],
    ids=str,
)
def test_bad_predicates(trips, where):
    with pytest.raises(pt.InvalidPredicate) as caught:
        trips.read(where=where)
    assert isinstance(caught.value, ValueError)
    assert str(caught.value)


def test_predicates_point_at_the_offending_part(trips):
    with pytest.raises(pt.InvalidPredicate, match=r"\^"):
        trips.read(where="fare > 1 and and city == 'x'")


def test_misused_expressions():
    with pytest.raises(pt.InvalidPredicate, match="&"):
        (pt.col("a") > 1) and (pt.col("a") < 2)
    with pytest.raises(pt.InvalidPredicate, match="&"):
        1 < pt.col("a") < 3  # noqa: B015
    with pytest.raises(pt.InvalidPredicate, match="another column"):
        pt.col("a") == pt.col("b")  # noqa: B015
    with pytest.raises(pt.InvalidPredicate, match="isin"):
        pt.col("a") == [1, 2]  # noqa: B015
    with pytest.raises(pt.InvalidPredicate, match="object"):
        pt.col("a") == object()  # noqa: B015
    with pytest.raises(pt.InvalidPredicate, match="missing"):
        pt.col("a") < None  # noqa: B015
    with pytest.raises(TypeError):
        (pt.col("a") > 1) & 1


def test_expressions_may_be_long_but_not_deep(trips):
    long = pt.col("fare") == -1
    for n in range(1000):
        long = long | (pt.col("fare") == n)
    assert trips.count(where=long) == 4
    deep = pt.col("fare") > 0
    with pytest.raises(pt.InvalidPredicate, match="deep"):
        for _ in range(100_000):
            deep = (deep & (pt.col("fare") > 0)) | (pt.col("fare") < 0)


def test_unknown_columns_are_named(trips):
    with pytest.raises(pt.NotFound, match="fara") as caught:
        trips.read(columns=["fara"])
    assert caught.value.context["column"] == "fara"


def test_a_bare_string_is_no_list_of_columns(trips):
    with pytest.raises(pt.InvalidArgument, match=r"\['fare'\]"):
        trips.read(columns="fare")


def test_delete_needs_a_condition_that_fits(trips):
    with pytest.raises(pt.InvalidArgument, match="where"):
        trips.delete(where=None)
    with pytest.raises(pt.InvalidPredicate, match="cty"):
        trips.delete(where={"cty": "Oslo"})
    with pytest.raises(pt.InvalidPredicate, match="fare"):
        trips.delete(where="fare > 'much'")
    with pytest.raises(pt.InvalidPredicate, match="cty"):
        trips.replace(trips.read(), where={"cty": "Oslo"})
    assert trips.refresh().count() == 6


def test_read_only(trips, trips_frame):
    table = pt.open_table(trips.url, read_only=True)
    for change in (
        lambda: table.append(trips_frame),
        lambda: table.replace(trips_frame, where={"city": "Oslo"}),
        lambda: table.delete(where={"city": "Oslo"}),
        lambda: table.drop(),
    ):
        with pytest.raises(pt.ReadOnly):
            change()
    assert trips.refresh().count() == 6


@pytest.mark.parametrize(
    "data",
    [
        7,
        "path.csv",
        None,
        [1, 2],
        {"a": 1},
        {"a": "text"},
        {1: [1]},
        {"a": [1], "b": [1, 2]},
        pd.Series([1]),
        iter([]),
        {"a": [1, "x"]},
        {"a": [...]},
    ],
    ids=lambda data: type(data).__name__ + str(data)[:12],
)
def test_what_cannot_be_stored(memory, data):
    with pytest.raises(pt.InvalidArgument):
        pt.create_table(f"{memory}/t", data)
    assert pt.ls(memory) == []


def test_pandas_columns_of_mixed_values_are_named(memory):
    with pytest.raises(pt.InvalidArgument, match="mixed"):
        pt.create_table(f"{memory}/t", pd.DataFrame({"mixed": [1, "x", b"y"]}))


def test_pieces_that_differ(memory):
    with pytest.raises(pt.SchemaMismatch, match="lacks b"):
        pt.create_table(f"{memory}/t", [{"a": [1], "b": [1]}, {"a": [1]}])
    with pytest.raises(pt.SchemaMismatch, match="cannot become"):
        pt.create_table(f"{memory}/t", [{"a": [1]}, {"a": ["x"]}])
    assert pt.ls(memory) == []


def test_what_a_source_raises_reaches_the_caller(trips):
    def broken():
        yield trips.read()
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        trips.append(broken())
    assert trips.refresh().count() == 6


@pytest.mark.parametrize(
    "options",
    [
        {"compression": "zip"},
        {"row_group_rows": 0},
        {"row_group_rows": "many"},
        {"metadata": {"x": ...}},
        {"metadata": {"x": float("nan")}},
        {"metadata": [1]},
        {"partition_by": [1]},
        {"progress": "yes"},
        {"storage_options": {"nested": {"a": 1}}},
        {"storage_options": {"no_such_option": "1"}},
    ],
    ids=str,
)
def test_bad_options(memory, options):
    with pytest.raises(pt.InvalidArgument):
        pt.create_table(f"{memory}/t", {"a": [1]}, **options)


def test_malformed_metadata(local_trips, tmp_path):
    header = tmp_path / "lake" / "trips.by-dataset-metadata.json"
    whole = header.read_bytes()
    for damaged in (whole[: len(whole) // 2], b"", b"[]", b"\xff" * 10, b'{"a": NaN}'):
        header.write_bytes(damaged)
        with pytest.raises(pt.Corrupt, match="trips"):
            pt.open_table(tmp_path / "lake" / "trips")
    header.write_bytes(whole)
    assert pt.open_table(tmp_path / "lake" / "trips").count() == 6


def test_a_damaged_data_file(local_trips, tmp_path):
    for file in (tmp_path / "lake" / "trips" / "table").rglob("*.parquet"):
        file.write_bytes(file.read_bytes()[:-30])
    with pytest.raises(pt.Corrupt, match="parquet"):
        pt.open_table(local_trips.url).read()


def test_errors_inside_a_stream_reach_arrow_consumers(local_trips, tmp_path):
    for file in (tmp_path / "lake" / "trips" / "table").rglob("*.parquet"):
        file.unlink()
    with pytest.raises((pa.ArrowException, OSError), match="parquet"):
        pa.table(local_trips.scan())
