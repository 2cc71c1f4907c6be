"""Collections in Icechunk repositories: branches, tags, older versions, and the URLs for them."""

from __future__ import annotations

import datetime as dt
import json
import pickle
import subprocess
import sys

import numpy as np
import pytest
import xarray as xr

import partita as pt
from s3_server import s3_server


def rows(first: str, days: int, value: float) -> xr.Dataset:
    """One row a day, with two columns."""
    time = np.datetime64(first) + np.arange(days)
    return xr.Dataset(
        {"ssh": (("time", "x"), np.full((days, 2), value))}, {"time": time.astype("M8[us]")}
    )


def months(url: str, **options) -> pt.Collection:
    """Two months."""
    return pt.create_collection(
        url,
        rows("2022-01-15", 30, 1.0),
        axis="time",
        partition_by=pt.Date("time", "month"),
        **options,
    )


def values(collection: pt.Collection) -> list[float]:
    """The value of each partition."""
    return [float(ds.ssh[0, 0]) for ds in collection.map(lambda ds: ds.load()).values()]


@pytest.fixture
def ssh(memory: str) -> pt.Collection:
    return months(f"icechunk+{memory}/ssh")


def test_states_are_read_as_they_were(ssh):
    begun = ssh.history()[0]
    ssh.create_tag("first")
    ssh.insert(rows("2022-02-01", 28, 2.0))
    ssh.drop_partitions("month == 1")
    assert values(ssh) == [2.0]
    history = ssh.history()
    assert [commit.operation for commit in history] == [
        "drop_partitions",
        "insert",
        "insert",
        "create",
    ]
    assert [commit.number for commit in history] == [4, 3, 2, 1]
    assert history[1].partitions == ["year=2022/month=02"]
    assert len({commit.id for commit in history}) == 4
    for state in ("first", begun.number, begun.id, begun.time, begun.time.isoformat()):
        old = ssh.at(state)
        assert values(old) == [1.0, 1.0]
        assert old.branch is None
        with pytest.raises(pt.ReadOnly):
            old.insert(rows("2022-03-01", 1, 1.0))
        again = pickle.loads(pickle.dumps(old))
        assert values(again) == [1.0, 1.0]
        assert again.url == old.url
        assert again.name == "ssh"
    for state in ("nothing", 99, 0, begun.time - dt.timedelta(days=1)):
        with pytest.raises(pt.NotFound):
            ssh.at(state)
    assert values(pt.open(ssh.url, at=3)) == [1.0, 2.0]
    assert values(pt.open_collection(ssh.url, at="first")) == [1.0, 1.0]
    assert values(pt.open(f"{ssh.url}?at=first")) == [1.0, 1.0]


def test_branches(ssh):
    ssh.create_branch("trial")
    trial = ssh.on_branch("trial")
    trial.insert(rows("2022-02-01", 28, 5.0))
    ssh.insert(rows("2022-03-01", 5, 3.0))
    assert (values(ssh), values(trial)) == ([1.0, 1.0, 3.0], [1.0, 5.0])
    assert (ssh.branch, trial.branch) == ("main", "trial")
    assert "trial" in repr(trial)
    assert values(pt.open(ssh.url, branch="trial")) == [1.0, 5.0]
    assert values(pickle.loads(pickle.dumps(trial))) == [1.0, 5.0]
    assert ssh.branches() == ["main", "trial"]
    with pytest.raises(pt.AlreadyExists):
        ssh.create_branch("trial")
    ssh.create_tag("v1", at="trial")
    ssh.delete_branch("trial")
    assert (ssh.branches(), ssh.tags()) == (["main"], ["v1"])
    with pytest.raises(pt.NotFound):
        trial.read()
    assert values(ssh.at("v1")) == [1.0, 5.0]
    ssh.delete_tag("v1")
    with pytest.raises(pt.InvalidArgument):
        ssh.delete_branch("main")


def test_states_of_a_view(ssh, memory):
    twice = pt.Variable("twice", ("time",), "f8", fill_value=0.0)
    view = pt.create_view(f"icechunk+{memory}/twice", ssh, [twice])

    def times(factor: float):
        return lambda part: {"twice": part.ssh.isel(x=0).values * factor}

    view.update(times(2))
    view.create_tag("first")
    view.create_branch("trial")
    trial = view.on_branch("trial")
    trial.update(times(3))
    view.update(times(4), "month == 2")
    assert isinstance(trial, pt.View)
    assert trial.base.url == ssh.url
    assert set(trial.read().twice.values) == {3.0}
    assert set(view.read().twice.values) == {2.0, 4.0}
    for old in (
        view.at("first"),
        pt.open(view.url, at="first"),
        pt.open(f"{view.url}?at=first"),
        pt.open_view(view.url, at="first"),
        pt.open_view(view.url, base=ssh, at="first"),
    ):
        assert set(old.read().twice.values) == {2.0}
        assert set(pickle.loads(pickle.dumps(old)).read().twice.values) == {2.0}
        with pytest.raises(pt.ReadOnly):
            old.update(times(5))
    trial = pt.open(view.url, branch="trial")
    ssh.insert(rows("2022-03-01", 2, 1.0))
    assert [place.path for place in trial.sync()] == ["year=2022/month=03"]
    assert (len(trial.partitions), len(view.partitions)) == (3, 2)

    # Over a pinned version of the base.
    kept = pt.create_view(f"icechunk+{memory}/kept", ssh.at(ssh.history()[1].number), [twice])
    ssh.drop_partitions("month == 1")
    assert pt.open(kept.url).is_synced()
    assert pt.open(kept.url).read().sizes["time"] == 30
    assert {info.name: info.kind for info in pt.ls(memory)} == {
        "ssh": "collection",
        "twice": "view",
        "kept": "view",
    }


def test_lazy_reads_are_of_the_state_that_was_opened(ssh):
    lazy = ssh.read(chunks={})
    opened = xr.open_dataset(ssh.url, engine="partita")
    ssh.update(lambda ds: {"ssh": ds.ssh * 10})
    ssh.drop_partitions("month == 2")
    assert float(lazy.ssh.sum()) == 60.0
    assert float(opened.ssh.sum()) == 60.0
    ssh.insert(rows("2022-04-01", 30, 2.0).chunk({"time": 10}))
    assert values(ssh) == [10.0, 2.0]
    assert ssh.update(lambda ds: {"ssh": -ds.ssh}, client=True)
    assert values(ssh) == [-10.0, -2.0]


def test_what_expired_is_collected(tmp_path):
    ssh = months(f"icechunk+{tmp_path / 'ssh'}")
    for value in (2.0, 3.0, 4.0):
        ssh.insert(rows("2022-01-01", 60, value))
    kept = ssh.history()[1].number
    ssh.create_tag("kept", at=kept)
    nothing = dt.timedelta(0)
    assert ssh.expire(keep_within=dt.timedelta(days=1)) == 0
    assert ssh.collect_garbage(grace=nothing).keys == []
    assert ssh.expire(keep_within=nothing) > 0
    promised = ssh.collect_garbage(grace=nothing, dry_run=True)
    assert ssh.collect_garbage(grace=nothing) == promised
    assert promised.bytes > 0
    fresh = pt.open_collection(ssh.url)
    assert values(fresh)[:2] == [4.0, 4.0]
    assert values(fresh.at("kept"))[:2] == [3.0, 3.0]
    assert len(fresh.history()) < 5
    with pytest.raises(pt.NotFound):
        fresh.at(2)
    assert fresh.verify(data=True) == []


def test_copies_and_changes_of_variables(ssh, memory):
    ssh.add_variable("flag", ["time"], "i2", fill_value=7, attributes={"units": "1"})
    ssh.set_attributes({"title": "sea"})
    assert ssh.read().flag.values.tolist() == [7] * 30
    assert "flag" not in ssh.at(2).variables
    plain = ssh.copy(f"{memory}/plain", zarr_format=2)
    assert plain.attributes == {"title": "sea"}
    xr.testing.assert_identical(plain.read(), ssh.read())
    back = pt.migrate(f"{memory}/plain", f"icechunk+{memory}/back")
    xr.testing.assert_identical(back.read(), ssh.read())
    back.drop_variable("flag")
    assert back.verify(data=True) == []
    with pytest.raises(pt.AlreadyExists):
        plain.copy(back.url)


def test_in_s3(tmp_path):
    with s3_server(tmp_path) as options:
        ssh = months("icechunk+s3://test/lake/ssh", storage_options=options)
        assert ssh.url == "icechunk+s3://test/lake/ssh"
        ssh.create_tag("v1")
        ssh.insert(rows("2022-02-01", 28, 2.0))
        assert values(pt.open(ssh.url, at="v1", storage_options=options)) == [1.0, 1.0]
        assert values(pt.open(ssh.url, storage_options=options)) == [1.0, 2.0]
        assert ssh.verify(data=True) == []


def test_what_cannot_be(memory, tmp_path):
    url = f"icechunk+{memory}/c"
    with pytest.raises(pt.NotFound):
        pt.open(url)
    with pytest.raises(pt.InvalidArgument):
        months(url, zarr_format=2)
    with pytest.raises(pt.InvalidArgument, match="Icechunk"):
        pt.create_table(f"icechunk+{memory}/t", {"a": [1]})
    with pytest.raises(pt.InvalidArgument, match="Icechunk"):
        pt.open_table(f"icechunk+{memory}/t")
    assert months(url).zarr_format == 3
    with pytest.raises(pt.AlreadyExists):
        months(url)
    plain = months(f"{memory}/plain")
    for refused in (plain.branches, plain.tags, lambda: plain.create_tag("v")):
        with pytest.raises(pt.InvalidArgument, match="icechunk"):
            refused()
    assert plain.branch is None
    table = pt.create_table(f"{memory}/t", {"a": [1]})
    with pytest.raises(pt.InvalidArgument):
        pt.open(table.url, branch="main")
    (tmp_path / "notes.txt").write_text("something else")
    with pytest.raises(pt.AlreadyExists):
        months(f"icechunk+{tmp_path}")
    with pytest.raises(pt.ReadOnly):
        pt.open(url, read_only=True).create_tag("v")


def partita(*arguments: str, cwd=None) -> str:
    command = [sys.executable, "-m", "partita", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, cwd=cwd).stdout


def test_commands(tmp_path):
    ssh = months(f"icechunk+{tmp_path / 'ssh'}")
    ssh.create_tag("v1")
    ssh.insert(rows("2022-03-01", 5, 2.0))
    assert "3" in partita("info", "icechunk+ssh", cwd=tmp_path)
    history = json.loads(partita("history", "--json", "icechunk+ssh", cwd=tmp_path))
    assert [commit["operation"] for commit in history] == ["insert", "insert", "create"]
    listed = json.loads(partita("partitions", "--json", "icechunk+ssh?at=v1", cwd=tmp_path))
    assert len(listed) == 2
    partita("verify", ssh.url)
    partita("copy", ssh.url, str(tmp_path / "plain"))
    partita("copy", str(tmp_path / "plain"), f"icechunk+{tmp_path / 'again'}")
    xr.testing.assert_identical(pt.open(f"icechunk+{tmp_path / 'again'}").read(), ssh.read())
    assert "expired" in partita("expire", "--keep-within", "0s", ssh.url)
    assert "removed" in partita("gc", "--grace", "0s", ssh.url)
