"""Many processes write to one table: every commit is kept, readers see whole commits."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

import partita as pt
from s3_server import s3_server
from writers import CITIES, Writer, trips_of

WRITERS = 8
APPENDS = 50


def create(url: str, options: dict[str, str]) -> pt.Table:
    schema = pa.Table.from_pandas(trips_of(0, 0), preserve_index=False).schema
    return pt.create_table(
        url, schema, partition_by="city", index=["rider"], storage_options=options
    )


def write_and_watch(
    url: str, options: dict[str, str], writers: int, appends: int
) -> list[list[str]]:
    """Runs concurrent appends while reading; returns the output of the processes."""
    processes = [Writer("append", url, options, writer, appends) for writer in range(writers)]
    for process in processes:
        process.wait_until_ready()
    for process in processes:
        process.go()
    watched = pt.open_table(url, storage_options=options, read_only=True)
    seen = 0
    while any(process.process.poll() is None for process in processes):
        frame = watched.refresh().read(columns=["writer", "number"])
        assert len(frame) >= seen, "a later read saw fewer rows"
        seen = len(frame)
        check_whole_commits(frame)
    return [process.finish() for process in processes]


def check_whole_commits(frame: pd.DataFrame) -> None:
    """Checks that both rows of every append are present, and those of its writer before it."""
    for _, numbers in frame.groupby("writer")["number"]:
        counts = numbers.value_counts().sort_index()
        assert counts.index.tolist() == list(range(len(counts)))
        assert (counts == 2).all()


def check_all_there(url: str, options: dict[str, str], writers: int, appends: int) -> None:
    table = pt.open_table(url, storage_options=options)
    expected = pd.concat(
        [trips_of(writer, number) for writer in range(writers) for number in range(appends)]
    )
    order = ["writer", "number", "city"]
    pd.testing.assert_frame_equal(
        table.read()[expected.columns].sort_values(order, ignore_index=True),
        expected.sort_values(order, ignore_index=True),
    )
    history = table.history()
    assert [snapshot.version for snapshot in history] == list(range(len(history), 0, -1))
    assert sum(snapshot.operation == "append" for snapshot in history) == writers * appends
    for rider in (3, 1003, 999_999):
        found = table.read(where={"rider": rider})
        assert len(found) == (expected["rider"] == rider).sum()


def check_attempts(said: list[list[str]], appends: int) -> None:
    for lines in said:
        assert [int(line.split()[0]) for line in lines] == list(range(appends))


def leftovers(root: Path) -> list[Path]:
    """Files that writers must not leave: lock files, temporary files, hidden files."""
    return [
        path
        for path in root.rglob("*")
        if path.name.startswith(".") or path.suffix in {".lock", ".tmp"} or "#" in path.name
    ]


def test_processes_append_to_a_local_table(tmp_path):
    url = str(tmp_path / "lake" / "trips")
    create(url, {})
    said = write_and_watch(url, {}, WRITERS, APPENDS)
    check_attempts(said, APPENDS)
    check_all_there(url, {}, WRITERS, APPENDS)
    assert leftovers(tmp_path / "lake") == []


def test_processes_append_to_a_table_in_s3(tmp_path):
    with s3_server(tmp_path) as options:
        url = "s3://test/lake/trips"
        create(url, options)
        said = write_and_watch(url, options, WRITERS, APPENDS)
        check_attempts(said, APPENDS)
        check_all_there(url, options, WRITERS, APPENDS)


def test_lost_answers_and_busy_servers_double_nothing_and_lose_nothing(tmp_path):
    """Every seventh conditional put is carried out but answered with an error."""
    with s3_server(tmp_path, "lost:7", "busy:29") as options:
        url = "s3://test/lake/trips"
        create(url, options)
        said = write_and_watch(url, options, 4, 20)
        check_attempts(said, 20)
        check_all_there(url, options, 4, 20)


def test_a_server_that_ignores_conditions_is_refused(tmp_path):
    with s3_server(tmp_path, "unconditional") as options:
        with pytest.raises(pt.CommitUnsupported):
            create("s3://test/lake/trips", options)
        with pytest.raises(pt.NotFound):
            pt.open_table("s3://test/lake/trips", storage_options=options)


def test_appends_and_replaces_make_some_serial_order(tmp_path):
    """Whatever the order of the commits, each replace left only its own rows."""
    url = str(tmp_path / "lake" / "trips")
    create(url, {})
    appender = Writer("append", url, {}, 0, 30)
    appender.wait_until_ready()
    table = pt.open_table(url)
    appender.go()
    for number in range(10):
        table.replace(
            pd.DataFrame({"city": ["Oslo"], "writer": [1], "number": [number], "rider": [number]}),
            where={"city": "Oslo"},
        )
        oslo = table.read(where={"city": "Oslo"})
        assert oslo[oslo["writer"] == 1]["number"].tolist() == [number]
    appender.finish()
    others = table.refresh().read(where=pt.col("city") != "Oslo")
    expected = sum((trips_of(0, number)["city"] != "Oslo").sum() for number in range(30))
    assert len(others) == expected
    assert set(others["city"]) == set(CITIES) - {"Oslo"}
