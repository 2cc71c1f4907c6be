"""Views: additional variables over a collection, through the Python package and the command
line."""

from __future__ import annotations

import multiprocessing
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import partita as pt
from command import answer, run
from s3_server import s3_server

DOUBLE = pt.Variable("double", ("time", "x"), "f4", fill_value=np.nan, attributes={"units": "m"})


def days(start: str, end: str) -> xr.Dataset:
    time = np.arange(start, end, dtype="M8[D]").astype("M8[us]")
    ssh = np.arange(time.size * 2, dtype="f8").reshape(-1, 2)
    return xr.Dataset(
        {"ssh": (("time", "x"), ssh), "mask": ("x", [1, 0])}, {"time": time}, {"title": "ssh"}
    )


def doubled(part: xr.Dataset) -> dict[str, xr.DataArray]:
    return {"double": part.ssh * 2}


@pytest.fixture(params=[2, 3, "icechunk"])
def base(request, tmp_path) -> pt.Collection:
    repository = request.param == "icechunk"
    return pt.create_collection(
        f"{'icechunk+' if repository else ''}{tmp_path / 'lake' / 'ssh'}",
        days("2022-01-01", "2022-04-01"),
        axis="time",
        partition_by=pt.Date("time", "month"),
        zarr_format=3 if repository else request.param,
        chunks={"time": 10},
    )


def beside(base: pt.Collection, path: Path) -> str:
    """A location in the same kind of store as the collection's."""
    return f"{'icechunk+' if is_repository(base) else ''}{path}"


def is_repository(collection: pt.Collection) -> bool:
    return collection.url.startswith("icechunk+")


@pytest.fixture
def view(base, tmp_path) -> pt.View:
    made = pt.create_view(beside(base, tmp_path / "lake" / "double"), base, [DOUBLE])
    made.update(doubled)
    return made


def same(found: xr.Dataset) -> None:
    """Asserts that the variable of a view is aligned with that of its base."""
    np.testing.assert_array_equal(found.double.values, (found.ssh.values * 2).astype("f4"))


def test_a_view_is_read_like_a_collection(view, tmp_path):
    assert view.own_variables == ["double"]
    assert set(view.variables) == {"time", "ssh", "mask", "double"}
    everything = view.read()
    same(everything)
    assert everything.attrs == {"title": "ssh"}
    assert everything.double.attrs == {"units": "m"}
    assert everything.mask.values.tolist() == [1, 0]
    some = view.read("time >= '2022-03-30' and month == 3", variables=["double"])
    assert list(some.data_vars) == ["double"]
    assert some.sizes["time"] == 2
    lazy = view.read("month < 3", chunks={})
    assert len(lazy.double.chunks[0]) > 2, "blocks are stored chunks"
    same(lazy.compute())
    same(xr.open_dataset(view.url, engine="partita", where="month == 2").load())
    rows = view.to_table(tmp_path / "rows", variables=["double", "ssh"], where="month == 1").read()
    assert (rows["double"] == rows.ssh * 2).all()
    assert repr(view).startswith("<partita.View double>")
    assert "base" in repr(view) and "View double" in view._repr_html_()


def test_a_view_is_opened_by_its_url(view, base, tmp_path):
    opened = pt.open(view.url)
    assert isinstance(opened, pt.View)
    assert opened.base.url == base.url
    assert {info.name: info.kind for info in pt.ls(tmp_path / "lake")} == {
        "ssh": "collection",
        "double": "view",
    }
    with pytest.raises(pt.ReadOnly):
        opened.base.insert(days("2022-05-01", "2022-05-02"))
    with pytest.raises(pt.ReadOnly):
        pt.open(view.url, read_only=True).update(doubled)
    with pytest.raises(pt.InvalidArgument, match="base"):
        view.insert(days("2022-05-01", "2022-05-02"))
    with pytest.raises(pt.InvalidArgument, match="base"):
        view.drop_partitions("month == 1")
    with pytest.raises(pt.InvalidArgument, match="base"):
        view.update(lambda part: {"ssh": part.ssh})
    with pytest.raises(pt.AlreadyExists):
        pt.create_view(view.url, base, [DOUBLE])


def test_a_view_in_another_store_than_its_base(memory):
    base = pt.create_collection(
        f"{memory}/base",
        days("2022-01-30", "2022-02-03"),
        axis="time",
        partition_by=pt.Date("time", "month"),
    )
    view = pt.create_view(f"{memory}-views/double", f"{memory}/base", [DOUBLE], where="month == 2")
    view.update(doubled)
    same(view.read())
    assert (view.where, len(view.partitions)) == ("month == 2", 1)
    same(pt.open(view.url).read())
    same(pt.open_view(view.url, base=base).read())
    copy = view.copy(f"{memory}-views/copy")
    assert isinstance(copy, pt.View)
    same(copy.read())


def test_what_is_known_of_a_variable_is_not_said_of_one_that_overrides_it(base, tmp_path):
    base.add_variable("level", ["time"], "i4", fill_value=7)
    base.set_statistics(["level"])
    view = pt.create_view(
        tmp_path / "view",
        base,
        [pt.Variable("level", ("time",), "i4", fill_value=5), pt.Variable("n", ("time",), "i4")],
    )
    assert base.read("level == 5").sizes["time"] == 0
    assert view.read("level == 5").sizes["time"] == 90
    assert view.read("level == 7").sizes["time"] == 0
    view.set_statistics(["n"])
    view.update(lambda part: {"n": np.full(part.sizes["time"], part.time.dt.month.values[0])})
    assert view.read("n == 2 and time > '2022-02-10'").sizes["time"] == 18
    assert view.verify(data=True) == []


def test_groups(tmp_path):
    time = np.arange("2022-01-30", "2022-02-03", dtype="M8[D]").astype("M8[us]")
    tree = xr.DataTree.from_dict(
        {
            "/": xr.Dataset({"time": ("time", time)}),
            "/ku": xr.Dataset({"power": (("time", "gate"), np.arange(8.0).reshape(4, 2))}),
        }
    )
    base = pt.create_collection(
        tmp_path / "base", tree, axis="time", partition_by=pt.Date("time", "month"), zarr_format=3
    )
    power = pt.Variable("ku/half", ("time", "gate"), "f8", fill_value=-1)
    view = pt.create_view(tmp_path / "view", base, [power])
    assert set(view.variables) == {"time", "ku/power", "ku/half"}
    view.update(lambda part: {"ku/half": part["ku/power"] / 2}, "month == 2")
    assert pt.open(view.url).read()["ku/half"].values.tolist() == [
        [-1, -1],
        [-1, -1],
        [2, 2.5],
        [3, 3.5],
    ]
    view.add_variable("ku/flag", ["time"], "i2", fill_value=0)
    view.drop_variable("ku/half")
    assert view.own_variables == ["ku/flag"]
    assert view.verify(data=True) == []


@pytest.mark.parametrize("below", ["s3", "local"])
@pytest.mark.parametrize("repository", [False, True])
def test_views_on_an_object_store(tmp_path, below, repository):
    with s3_server(tmp_path / "s3") as options:
        local = below == "local"
        target = f"{'icechunk+' if repository else ''}s3://test/views/double"
        base = pt.create_collection(
            tmp_path / "ssh" if local else "s3://test/lake/ssh",
            days("2022-01-30", "2022-02-03"),
            axis="time",
            partition_by=pt.Date("time", "month"),
            zarr_format=3,
            storage_options=None if local else options,
        )
        view = pt.create_view(target, base, [DOUBLE], storage_options=options)
        view.update(doubled)
        opened = pt.open(view.url, storage_options=options)
        same(opened.read())
        same(pickle.loads(pickle.dumps(opened)).read(chunks={}).compute())
        base.insert(days("2022-02-01", "2022-02-05"))
        with pytest.raises(pt.OutOfSync):
            opened.read()
        opened.sync()
        opened.update(doubled)
        same(opened.base.read().merge(opened.read(variables=["double"])))
        assert opened.verify(data=True) == []
        assert opened.collect_garbage().keys == []


@pytest.mark.parametrize("named", [False, True])
def test_a_view_travels(view, base, named):
    view = pt.open_view(view.url, base=base if named else None)
    same(pickle.loads(pickle.dumps(view)).read())
    lazy = pickle.loads(pickle.dumps(view.read(chunks={})))
    same(lazy.compute(scheduler="threads"))
    written = view.update(lambda part: {"double": part.ssh * 2}, "month == 1", client=True)
    assert [place.path for place in written] == ["year=2022/month=01"]
    same(view.read())
    assert view.map(lambda part: part.sizes["time"], client=True, depth_rows=1) == {
        (2022, 1): 32,
        (2022, 2): 30,
        (2022, 3): 32,
    }


def test_a_lazy_read_notices_changes_below(view, base):
    before = view.read("month == 1")
    lazy = view.read("month == 1", chunks={})
    base.insert(days("2022-01-01", "2022-01-31"))
    if is_repository(base):
        assert lazy.compute().identical(before), "it is of the state that was planned"
    else:
        with pytest.raises(pt.CommitConflict):
            lazy.compute()


def test_sync_keeps_what_is_still_there(view, base):
    base.insert(days("2022-02-20", "2022-03-03"), merge="upsert")
    assert view.is_synced(), "the rows are the same"
    base.drop_partitions("month == 1")
    more = days("2022-03-10", "2022-04-06")
    base.insert(more.isel(time=slice(None, None, 3)))
    assert not view.is_synced()
    with pytest.raises(pt.OutOfSync, match="sync") as raised:
        view.read()
    assert raised.value.kind == "OutOfSync"
    before = {problem.kind for problem in view.verify()}
    assert before == {"unsynced"}
    written = view.sync()
    assert [place.path for place in written] == ["year=2022/month=03", "year=2022/month=04"]
    assert [place.path for place in view.partitions] == [
        f"year=2022/month=0{month}" for month in (2, 3, 4)
    ]
    march = view.read("month == 3").double
    assert march.notnull().all(), "each of these rows was there before"
    assert view.read("month == 4").double.isnull().all()
    assert view.verify(data=True) == []
    # In a repository, the creation of a view is a separate commit.
    made = ["create"] * (2 if is_repository(view) else 1)
    assert [commit.operation for commit in view.history()] == ["sync", "update", *made]


def test_what_makes_no_view_is_refused(base, tmp_path):
    def create(*variables: pt.Variable, **options) -> None:
        pt.create_view(tmp_path / "none", base, list(variables), **options)

    with pytest.raises(pt.InvalidArgument, match="dimension"):
        create(pt.Variable("still", ("x",), "i4"))
    with pytest.raises(pt.NotFound, match="dimension"):
        create(pt.Variable("deep", ("time", "depth"), "i4"))
    with pytest.raises(pt.InvalidArgument, match="partitioned by it"):
        create(pt.Variable("time", ("time",), "i4"))
    with pytest.raises(pt.InvalidArgument, match="two variables"):
        create(DOUBLE, DOUBLE)
    with pytest.raises(pt.InvalidPredicate):
        create(DOUBLE, where="week == 1")
    with pytest.raises(pt.InvalidArgument, match=r"partita\.Variable"):
        create("double")
    with pytest.raises(pt.NotFound):
        pt.open(tmp_path / "none")
    assert not (tmp_path / "none").exists()


def set_to(url: str, name: str, value: int) -> None:
    """The job of a process that updates a variable of a view."""

    def function(part: xr.Dataset) -> dict[str, np.ndarray]:
        return {name: np.full(part.sizes["time"], value, "i4")}

    for _ in range(5):
        pt.open(url).update(function, variables=["time"])


def test_processes_that_update_variables_of_one_view(base, tmp_path):
    names = ["a", "b", "c"]
    variables = [pt.Variable(name, ("time",), "i4", fill_value=-1) for name in names]
    view = pt.create_view(beside(base, tmp_path / "view"), base, variables)
    made = len(view.history())
    context = multiprocessing.get_context("spawn")
    processes = [
        context.Process(target=set_to, args=(view.url, name, number))
        for number, name in enumerate(names)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
        assert process.exitcode == 0
    found = view.read()
    for number, name in enumerate(names):
        assert (found[name] == number).all()
    assert len(view.history()) == made + 15
    assert view.verify(data=True) == []


def test_the_command_line(view, base, tmp_path):
    facts = answer("info", view.url)
    assert (facts["kind"], facts["base"], facts["partitions"]) == ("view", base.url, 3)
    assert facts["own_variables"] == ["double"]
    assert "base" in run("info", view.url).stdout
    assert [info["kind"] for info in answer("ls", tmp_path / "lake")] == ["view", "collection"]
    assert len(answer("partitions", view.url)) == 3
    history = [commit["operation"] for commit in answer("history", view.url)]
    assert history == ["update", *(["create"] * (2 if is_repository(view) else 1))]
    assert "nothing is wrong" in run("verify", view.url, "--data").stdout
    run("gc", view.url)
    run("read", view.url, "--where", "month == 2", "-o", tmp_path / "rows.zarr")
    same(xr.open_zarr(tmp_path / "rows.zarr", consolidated=False))
    copy = beside(base, tmp_path / "copy")
    run("copy", view.url, copy)
    same(pt.open(copy).read())
    base.drop_partitions("month == 2")
    base.insert(days("2022-04-01", "2022-04-03"))
    assert "unsynced" in run("verify", view.url, code=1).stdout
    assert answer("sync", view.url)["partitions_written"] == ["year=2022/month=04"]
    assert "wrote 0 partitions" in run("sync", view.url, "--base", base.url).stdout
    assert "nothing is wrong" in run("verify", view.url).stdout
    run("sync", view.url, "--where", "month != 4")
    assert pt.open(view.url).where == "month != 4"
    run("sync", view.url, "--where", "week == 1", code=1)
    assert "no view" in run("sync", base.url, code=3).stderr
    refused = run("delete", view.url, "--where", "month == 1", "--yes", code=1)
    assert "base of a view" in refused.stderr


@pytest.mark.parametrize("repository", [False, True])
def test_views_are_migrated_with_their_base(base, tmp_path, repository):
    old = pt.create_view(
        beside(base, tmp_path / "lake" / "part"), base, [DOUBLE], where="month > 1"
    )
    old.update(doubled)
    other = 3 if repository else 5 - base.zarr_format
    prefix = "icechunk+" if repository else ""

    def migrate() -> pt.Collection:
        return pt.migrate(
            base.url,
            f"{prefix}{tmp_path / 'new'}",
            zarr_format=other,
            chunks={"time": 7},
            views={old.url: f"{prefix}{tmp_path / 'new-part'}"},
        )

    new = migrate()
    view = pt.open(f"{prefix}{tmp_path / 'new-part'}")
    assert (view.zarr_format, view.base.url, view.where) == (other, new.url, old.where)
    assert view.is_synced()
    assert view.verify(data=True) == []
    assert view.read().identical(old.read())
    view.update(lambda part: {"double": part.double + 1}, where="month == 2")
    assert not view.read().identical(old.read())

    # If the migration of a view was interrupted, it continues with the missing parts.
    view.copy(tmp_path / "kept", base=base if base.zarr_format == other else new)
    shutil.rmtree(tmp_path / "new-part")
    migrate()
    assert pt.open(view.url).read().identical(old.read())
    new.drop_partitions("month == 2")
    with pytest.raises(pt.AlreadyExists):
        migrate()


def test_a_view_is_copied_over_a_base_with_the_same_rows(view, base, tmp_path):
    with pytest.raises(pt.InvalidArgument, match="layout of its base"):
        view.copy(tmp_path / "other", zarr_format=5 - base.zarr_format)
    less = base.copy(tmp_path / "less", where="month < 3")
    copy = view.copy(tmp_path / "copy", base=less)
    assert not copy.is_synced()
    assert copy.read("month == 1").identical(view.read("month == 1"))
    with pytest.raises(pt.OutOfSync, match="month=03"):
        copy.read()
    copy.sync()
    assert len(copy.partitions) == 2
    with pytest.raises(pt.InvalidArgument, match="only a view"):
        base.copy(tmp_path / "no", base=less)
