"""Processes killed at any moment leave the old table or the new one, and the next writer works."""

from __future__ import annotations

import random
import time

import pytest

import partita as pt
from s3_server import s3_server
from test_concurrency import leftovers
from writers import Writer, churn_data, churn_state, step

LOCAL_KILLS = 24
S3_KILLS = 6


def state_of(url: str, options: dict[str, str]) -> dict[tuple[str, int], int]:
    """The rows of each operation in each city, after checking the content of each row."""
    frame = pt.open_table(url, storage_options=options).read()
    expected = frame["city"] + " " + frame["operation"].astype(str) + " " + frame["row"].astype(str)
    assert (frame["text"] == expected).all()
    assert not frame.duplicated().any()
    return frame.groupby(["city", "operation"]).size().to_dict()


def kill_often(url: str, options: dict[str, str], kills: int, longest: float, seed: int) -> None:
    random_moment = random.Random(seed)
    table = pt.create_table(url, churn_data(0), partition_by="city", storage_options=options)
    done = 1
    moments = set()
    for kill in range(kills):
        writer = Writer("churn", url, options, done)
        writer.wait_until_ready()
        writer.go()
        time.sleep(random_moment.uniform(0, longest))
        acknowledged = [int(line) for line in writer.kill()]

        assert acknowledged == list(range(done, done + len(acknowledged)))
        done += len(acknowledged)
        state = state_of(url, options)
        if state != churn_state(done):
            assert state == churn_state(done + 1), f"neither old nor new after kill {kill}"
            done += 1
        moments.add(len(acknowledged))

        # The next writer works at once, without a repair.
        step(table.refresh(), done)
        done += 1
        assert state_of(url, options) == churn_state(done)
    assert len(moments) > 1, "all kills fell before the first commit: they came too early"
    assert table.history()[0].rows == sum(churn_state(done).values())


@pytest.mark.parametrize("half", [0, 1])
def test_kill_a_writer_of_a_local_table(tmp_path, half):
    url = str(tmp_path / "lake" / "trips")
    kill_often(url, {}, LOCAL_KILLS // 2, longest=0.25, seed=half)
    pt.open_table(url).append(churn_data(2))
    locks = [path for path in leftovers(tmp_path / "lake") if "lock" in path.name]
    assert locks == []


def test_kill_a_writer_of_a_table_in_s3(tmp_path):
    with s3_server(tmp_path) as options:
        kill_often("s3://test/lake/trips", options, S3_KILLS, longest=0.6, seed=7)
