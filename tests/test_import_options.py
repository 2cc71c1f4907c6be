"""Options of an import that are wrong: refused by name, with the exit code, and nothing is made."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import partita as pt
from partita._command import main

pytest.importorskip("scipy", reason="NetCDF needs a library that reads it")


def day(number: int) -> xr.Dataset:
    time = np.datetime64("2022-01-01", "ns") + number * np.timedelta64(1, "D")
    return xr.Dataset(
        {
            "ssh": (("time", "x"), np.full((4, 3), float(number))),
            "pass": ("time", np.full(4, number, "i4")),
            "height": ("time", np.zeros(4), {"units": "m"}),
        },
        {"time": time + np.arange(4) * np.timedelta64(1, "h")},
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with two files of arrays, a table of rows, and an empty folder."""
    place = tmp_path / "in"
    (place / "empty").mkdir(parents=True)
    for number in (0, 1):
        day(number).to_netcdf(place / f"{number}.nc")
    (place / "rows.csv").write_text("city,rider\nOslo,7\n")
    return place


def is_free(url: Path) -> bool:
    """Whether there is no dataset and no file."""
    return pt.ls(url.parent) == [] and not any(path.is_file() for path in url.rglob("*"))


MONTH = {"partition_by": "month"}
WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "merge": ({"merge": "upset"}, r"merge= takes one of .*'upsert'.*not 'upset'"),
    "merge function": ({"merge": lambda old, new: new}, "merge= takes one of"),
    "on_error": ({"on_error": "ignore"}, "on_error= takes one of 'raise', 'skip'"),
    "combine_attrs": ({"combine_attrs": "first"}, "combine_attrs= takes one of 'override'"),
    "batch 0": ({"batch": 0}, "batch is at least 1"),
    "batch text": ({"batch": "all"}, "batch is a whole number, not 'all'"),
    "workers": ({"workers": -1}, "workers is at least 0"),
    "format": ({"zarr_format": 4}, "zarr_format= takes one of None, 2, 3"),
    "chunks of a stranger": ({"chunks": {"y": 2}}, "names 'y', which is no dimension"),
    "chunks 0": ({"chunks": {"time": 0}}, "chunk of time is at least 1"),
    "chunks text": ({"chunks": {"time": "big"}}, "'whole' or 'auto', not 'big'"),
    "chunks number": ({"chunks": 500}, "chunks= is a mapping"),
    "fill of a stranger": ({"fill": {"flag": 0}}, "fill= names 'flag'"),
    "fill of a kind": ({"fill": {"ssh": "none"}}, "ssh"),
    "fill number": ({"fill": 0}, "fill= is a mapping"),
    "axis": ({"axis": "line"}, "no variable 'line'.*there are"),
    "axis of two dimensions": ({"axis": "ssh"}, "has the dimensions"),
    "no partitioning": ({"partition_by": None}, "say how it is partitioned"),
    "resolution": ({"partition_by": "fortnight"}, "'fortnight' is no part of a date"),
    "partitioning": ({"partition_by": 7}, "a collection is partitioned by"),
    "key": ({"partition_by": pt.Sequence(["cycle"])}, "cycle"),
    "key of floats": ({"partition_by": pt.Sequence(["height"])}, "height"),
    "date of a stranger": ({"partition_by": pt.Date("seen", "month")}, "seen"),
    "date of numbers": ({"partition_by": pt.Date("height", "month")}, "height holds no times"),
    "groups in Zarr 2": ({"partition_by": pt.GroupedSequence(["pass"], size=2)}, "Zarr|zarr"),
    "store": ({"storage_options": {"colour": "blue"}}, "colour"),
}


@pytest.mark.parametrize("on_error", ["raise", "skip"])
@pytest.mark.parametrize("what", WRONG)
def test_values_that_an_option_does_not_take(
    tmp_path: Path, folder: Path, what: str, on_error: str
) -> None:
    options, message = WRONG[what]
    url = tmp_path / "c"
    given = {**MONTH, "on_error": on_error, **options}
    if on_error == "skip" and what.startswith("axis"):
        # Each of the files lacks it, and is left out for that.
        report = pt.import_files(url, folder / "*.nc", **given)
        assert len(report.failed) == 2 and report.imported == []
    else:
        with pytest.raises(pt.PartitaError, match=message):
            pt.import_files(url, folder / "*.nc", **given)
    assert is_free(url)


FILES: dict[str, tuple[Callable[[Path], Any], str, str]] = {
    "no match": (lambda place: place / "*.h5", "NotFound", r"no file .*\*\.h5"),
    "no file": (lambda place: place / "2.nc", "NotFound", r"no file .*2\.nc"),
    "one of two": (lambda place: [place / "0.nc", place / "2.nc"], "NotFound", r"2\.nc"),
    "empty folder": (lambda place: place / "empty", "NotFound", "no file of NetCDF.* in .*empty"),
    "none": (lambda place: [], "InvalidArgument", "names no file"),
    "two kinds": (
        lambda place: [place / "0.nc", place / "rows.csv"],
        "InvalidArgument",
        r"rows\.csv: it is no file of NetCDF",
    ),
}


@pytest.mark.parametrize("what", FILES)
def test_files_that_are_not_there_or_of_another_kind(
    tmp_path: Path, folder: Path, what: str
) -> None:
    files, kind, message = FILES[what]
    with pytest.raises(pt.PartitaError, match=message) as refused:
        pt.import_files(tmp_path / "c", files(folder), partition_by="month")
    assert refused.value.kind == kind
    assert is_free(tmp_path / "c")


EXISTING: dict[str, tuple[dict[str, Any], str]] = {
    "axis": ({"axis": "line"}, "axis='line' is for a new collection, and this one has 'time'"),
    "resolution": ({"partition_by": "day"}, "partition_by=.*day.* is for a new collection"),
    "key": ({"partition_by": pt.Sequence(["pass"])}, "partition_by="),
    "format": ({"zarr_format": 3}, "zarr_format=3 is for a new collection, and this one has 2"),
    "chunks": ({"chunks": {"time": 7}}, "'time': 7"),
    "chunks of a stranger": ({"chunks": {"y": 7}}, "it has time, x"),
    "fill": ({"fill": {"flag": 0}}, "fill= names 'flag'"),
}


@pytest.mark.parametrize("what", EXISTING)
def test_options_of_a_new_collection_do_not_change_one_that_exists(
    tmp_path: Path, folder: Path, what: str
) -> None:
    url = tmp_path / "c"
    made: dict[str, Any] = {"chunks": {"time": 500, "x": "whole"}, "merge": "upsert", **MONTH}
    pt.import_files(url, folder / "0.nc", **made)
    before = len(pt.open_collection(url).history())
    options, message = EXISTING[what]
    with pytest.raises(pt.PartitaError, match=message):
        pt.import_files(url, folder / "1.nc", merge="upsert", **options)
    assert len(pt.open_collection(url).history()) == before
    # A job that is run again with the options that made the collection goes on.
    report = pt.import_files(url, folder / "1.nc", axis="time", zarr_format=2, **made)
    assert report.rows == 4


def test_a_table_and_a_view_take_no_files_of_arrays(tmp_path: Path, folder: Path) -> None:
    pt.create_table(tmp_path / "t", {"a": [1]})
    pt.import_files(tmp_path / "c", folder / "0.nc", partition_by="month")
    base = pt.open_collection(tmp_path / "c")
    pt.create_view(tmp_path / "v", base, [pt.Variable("own", ("time",), "f8")])
    for url in ("t", "v"):
        with pytest.raises(pt.PartitaError) as refused:
            pt.import_files(tmp_path / url, folder / "1.nc", partition_by="month", merge="upsert")
        assert refused.value.kind in ("AlreadyExists", "InvalidArgument", "Unsupported"), url
    assert pt.open_table(tmp_path / "t").count() == 1


def test_nothing_is_left_where_no_file_fits(tmp_path: Path, folder: Path) -> None:
    """Rows that are found not to fit while they are staged, behind a first file that does."""
    broken = day(3).assign(ssh=(("time", "x"), np.full((4, 3), 400.0)))
    packed = {"ssh": {"dtype": "i2", "scale_factor": 0.01, "_FillValue": np.int16(-1)}}
    day(0).to_netcdf(folder / "0.nc", encoding=packed)
    broken.to_netcdf(folder / "3.nc")
    files = [folder / "0.nc", folder / "3.nc"]
    with pytest.raises(pt.SchemaMismatch, match=r"3\.nc.*ssh"):
        pt.import_files(tmp_path / "c", files, **MONTH)
    assert is_free(tmp_path / "c")
    report = pt.import_files(tmp_path / "c", files, on_error="skip", **MONTH)
    assert [Path(name).name for name in report.failed] == ["3.nc"] and report.rows == 4
    # The first batch stays, as it is committed.
    with pytest.raises(pt.SchemaMismatch):
        pt.import_files(tmp_path / "b", files, batch=1, merge="upsert", **MONTH)
    assert pt.open_collection(tmp_path / "b").read().sizes["time"] == 4


def test_a_first_file_of_which_no_collection_can_be_made_is_left_out(
    tmp_path: Path, folder: Path
) -> None:
    odd = day(0).assign(pair=("time", np.zeros(4, "i4,f4")))
    odd.to_zarr(folder / "00.zarr", zarr_format=2)
    files = [folder / name for name in ("00.zarr", "0.nc", "1.nc")]
    report = pt.import_files(tmp_path / "c", files, on_error="skip", **MONTH)
    assert report.rows == 8 and len(report.imported) == 2
    assert [Path(name).name for name in report.failed] == ["00.zarr"]
    assert "variable pair" in report.failed[str(folder / "00.zarr")]


# The command

USAGE = [
    ["--merge", "upset"],
    ["--merg", "upsert"],
    ["--merge"],
    ["--on-error", "ignore"],
    ["--combine-attrs", "first"],
    ["--zarr", "4"],
    ["--batch", "all"],
    ["--chunk", "time"],
    ["--fill", "=0"],
    ["--option", "colour"],
    ["--index", "rider"],
]
REFUSED = [
    ["--batch", "0"],
    ["--workers", "-1"],
    ["--chunk", "y=2"],
    ["--chunk", "time=0"],
    ["--chunk", "time=big"],
    ["--fill", "flag=0"],
    ["--axis", "line"],
    ["--axis", "line", "--on-error", "skip"],
    ["--zarr", "2", "--partition-by", "month(height)"],
]
NO_VARIABLE = [
    ["--partition-by", "fortnight"],
    ["--partition-by", "month(seen)"],
    ["--partition-by", "cycle,pass"],
]
CODES = [(2, USAGE), (1, REFUSED), (3, NO_VARIABLE)]


@dataclass
class Ended:
    """How the command ended."""

    code: int
    output: str
    errors: str


@pytest.fixture
def command(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., Ended]:
    """Runs `partita import` in this process."""

    def run(*arguments: Any) -> Ended:
        monkeypatch.setattr(sys, "argv", ["partita", "import", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            main()
        assert isinstance(left.value.code, int)
        return Ended(left.value.code, *capfd.readouterr())

    return run


@pytest.mark.parametrize(
    ("code", "options"), [(code, one) for code, several in CODES for one in several]
)
def test_the_command_refuses_wrong_options(
    tmp_path: Path, folder: Path, command: Callable[..., Ended], code: int, options: list[str]
) -> None:
    url = tmp_path / "c"
    partitioned = [] if "--partition-by" in options else ["--partition-by", "month"]
    done = command(url, folder / "0.nc", *partitioned, "--json", *options)
    assert done.code == code, done.errors
    if "skip" in options:
        assert json.loads(done.output)["failed"][0]["file"].endswith("0.nc")
    else:
        error = json.loads(done.errors)["error"]
        kinds = {1: ("InvalidArgument", "SchemaMismatch"), 2: ("Usage",), 3: ("NotFound",)}
        assert error["message"] and error["kind"] in kinds[code]
    assert is_free(url)


@pytest.mark.parametrize(("name", "code"), [("*.h5", 3), ("day*", 3), ("2.nc", 3), ("empty", 2)])
def test_the_command_says_that_there_is_no_file(
    tmp_path: Path, folder: Path, command: Callable[..., Ended], name: str, code: int
) -> None:
    done = command(tmp_path / "c", folder / name, "--partition-by", "month")
    assert done.code == code and name in done.errors
    assert is_free(tmp_path / "c")


def test_the_command_refuses_files_of_two_kinds(
    tmp_path: Path, folder: Path, command: Callable[..., Ended]
) -> None:
    files = [folder / "0.nc", folder / "rows.csv"]
    done = command(tmp_path / "c", *files, "--partition-by", "month")
    assert done.code == 1 and "rows.csv" in done.errors
    assert is_free(tmp_path / "c")


def test_the_command_partitions_by_the_date_of_another_variable(
    tmp_path: Path, folder: Path, command: Callable[..., Ended]
) -> None:
    seen = day(0).assign(seen=("time", day(40).time.values))
    seen.to_netcdf(folder / "seen.nc")
    done = command(tmp_path / "c", folder / "seen.nc", "--partition-by", "month(seen)")
    assert done.code == 0, done.errors
    c = pt.open_collection(tmp_path / "c")
    assert c.axis == "time" and c.partition_by == pt.Date("seen", "month")
    assert [partition.path for partition in c.partitions] == ["year=2022/month=02"]
