"""Pruning within large files, written by Partita and by pyarrow."""

from __future__ import annotations

import math
import random

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

import partita as pt

ROWS = 60_000


@pytest.fixture(scope="module")
def data() -> pa.Table:
    """Runs of similar values, some of them null or NaN, and texts longer than stored bounds."""
    chance = np.random.default_rng(7)
    run = np.arange(ROWS) // 1_500
    floats = run + chance.random(ROWS)
    floats[(run % 5 == 0) | (chance.random(ROWS) < 0.1)] = math.nan
    floats[run % 7 == 3] = -0.0
    texts = np.array([f"{'é' * 40}{n:03}" for n in run], dtype=object)
    texts[run % 6 == 4] = None
    ids = pa.array(np.arange(ROWS) // 2, mask=run % 9 == 2)
    return pa.table(
        {
            "id": ids,
            "float": pa.array(floats, from_pandas=False),
            "text": pa.array(texts),
            "when": pa.array(np.arange(ROWS) * 1_000_003, pa.timestamp("us")),
            "noise": pa.array(chance.integers(0, 2**62, ROWS)),
            "row": np.arange(ROWS),
        }
    )


@pytest.fixture(scope="module")
def foreign(tmp_path_factory, data):
    """A plateau table with one file written by pyarrow, with small pages and a page index."""
    plateau = pytest.importorskip("plateau.io.eager")
    folder = tmp_path_factory.mktemp("foreign")
    plateau.store_dataframes_as_dataset(
        store=f"hfs://{folder}", dataset_uuid="t", dfs=[data.slice(0, 3).to_pandas()]
    )
    [file] = folder.glob("t/table/*.parquet")
    pq.write_table(
        data,
        file,
        compression="none",
        row_group_size=20_000,
        data_page_size=20_000,
        write_page_index=True,
        use_dictionary=["text"],
    )
    assert file.stat().st_size > 2**20
    return pt.open_table(folder / "t")


@pytest.fixture(scope="module")
def own(tmp_path_factory, data):
    return pt.create_table(
        tmp_path_factory.mktemp("own") / "t",
        data,
        compression="none",
        row_group_rows=25_000,
        bloom_filters=["id", "float", "text", "when", "noise"],
    )


def conditions(data: pa.Table, count: int):
    """Conditions, and the equivalent masks computed by pyarrow."""
    chance = random.Random(5)
    operators = {
        "==": pc.equal,
        "!=": pc.not_equal,
        "<": pc.less,
        "<=": pc.less_equal,
        ">": pc.greater,
        ">=": pc.greater_equal,
    }
    for _ in range(count):
        column = chance.choice(["id", "float", "text", "when", "noise"])
        value = data[column][chance.randrange(ROWS)]
        symbol = chance.choice(["==", "==", *operators])
        if not value.is_valid or value.as_py() != value.as_py():
            continue
        yield [(column, symbol, value.as_py())], operators[symbol](data[column], value)


@pytest.mark.parametrize("whose", ["foreign", "own"])
def test_reads_give_what_pyarrow_filters(whose, data, request):
    table = request.getfixturevalue(whose)
    left_out = 0
    for condition, mask in conditions(data, 120):
        scan = table.scan(columns=["row"], where=[condition])
        assert scan.to_arrow()["row"].to_pylist() == data.filter(mask)["row"].to_pylist(), condition
        details = scan.explain().details
        assert details["last_run"]["bytes"] <= details["bytes"]
        left_out += details["pages_pruned"]
    assert left_out > 0


def test_a_lost_value_costs_little(own, data):
    absent = 2**61
    while absent in set(data["noise"].to_pylist()):
        absent += 1
    scan = own.scan(where=pt.col("noise") == absent)
    assert scan.count() == 0
    details = scan.explain().details
    assert details["row_groups_pruned_by_bloom_filter"] == details["row_groups"] == 3
    assert details["last_run"]["requests"] == 2
    assert details["last_run"]["bytes"] < 300_000
    assert "bloom" in str(scan.explain())


def test_the_choice_of_filters_is_kept(own):
    assert own.bloom_filters == ["id", "float", "text", "when", "noise"]
    assert pt.open_table(own.url).bloom_filters == own.bloom_filters


def test_filters_that_cannot_be_are_refused(tmp_path):
    with pytest.raises(pt.NotFound, match="column"):
        pt.create_table(tmp_path / "t", {"a": [1]}, bloom_filters="b")
    with pytest.raises(pt.InvalidArgument, match="bloom"):
        pt.create_table(tmp_path / "t", {"a": [True]}, bloom_filters="a")
    assert list(tmp_path.iterdir()) == []
