"""Import of array files: one commit, bounded memory, no silent loss."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import partita as pt

pytest.importorskip("scipy", reason="NetCDF needs a library that reads it")

HOUR = np.timedelta64(1, "h")


def day(number: int, *, rows: int = 4, value: float = 0.0, hour: int = 0) -> xr.Dataset:
    time = np.datetime64("2022-01-01", "ns") + number * np.timedelta64(1, "D") + hour * HOUR
    time = time + np.arange(rows) * HOUR
    values = np.full((rows, 3), value or float(number))
    return xr.Dataset(
        {
            "ssh": (("time", "x"), values, {"units": "m"}),
            "lon": ("x", [1.0, 2.0, 3.0]),
        },
        {"time": time},
        {"title": "days", "history": f"day {number}"},
    )


def write(path: Path, data: xr.Dataset, **encoding: Any) -> str:
    data.to_netcdf(path, encoding=encoding or None, unlimited_dims=["time"])
    return str(path)


@pytest.fixture
def days(tmp_path: Path) -> list[str]:
    return [write(tmp_path / f"day{n:02d}.nc", day(n)) for n in range(0, 62, 10)]


def command(*arguments: Any) -> subprocess.CompletedProcess[str]:
    given = [sys.executable, "-m", "partita", *map(str, arguments)]
    return subprocess.run(given, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("zarr_format", [2, 3])
def test_all_files_come_in_one_commit(
    tmp_path: Path, days: list[str], zarr_format: int, workers: int
) -> None:
    seen: list[tuple[int, int | None]] = []
    report = pt.import_files(
        tmp_path / "c",
        f"{tmp_path}/day*.nc",
        partition_by="month",
        zarr_format=zarr_format,
        workers=workers,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert report.imported == days and report.failed == {} and len(report.commits) == 1
    assert report.rows == 4 * len(days)
    assert report.partitions == [f"year=2022/month=0{m}" for m in (1, 2, 3)]
    c = pt.open_collection(tmp_path / "c")
    assert [commit.operation for commit in c.history()].count("insert") == 1
    found = c.read()
    wanted = xr.concat([day(n) for n in range(0, 62, 10)], "time", data_vars="minimal")
    np.testing.assert_array_equal(found.time.values.astype("M8[ns]"), wanted.time)
    np.testing.assert_array_equal(found.ssh, wanted.ssh)
    assert found.ssh.attrs == {"units": "m"} and found.attrs["history"] == "day 0"
    # The file declares chunks of one row, since the dimension is unlimited.
    assert c.read(chunks={}).ssh.chunks[0] == (16, 8, 4)
    assert seen


def test_files_come_in_batches(tmp_path: Path, days: list[str]) -> None:
    options: dict[str, Any] = {"partition_by": "month", "merge": "upsert", "batch": 3}
    report = pt.import_files(tmp_path / "c", days, **options)
    assert len(report.commits) == 3
    assert pt.open_collection(tmp_path / "c").read().sizes["time"] == 4 * len(days)


def test_files_whose_rows_overlap_are_refused_unless_told_how_they_merge(tmp_path: Path) -> None:
    one = write(tmp_path / "1.nc", day(0, value=1.0))
    two = write(tmp_path / "2.nc", day(0, value=2.0, hour=2))
    with pytest.raises(pt.InvalidArgument, match="1.nc and .*2.nc") as refused:
        pt.import_files(tmp_path / "c", [one, two], partition_by="month")
    assert "merge" in str(refused.value)
    with pytest.raises(pt.InvalidArgument, match="same time"):
        pt.import_files(tmp_path / "c", [one, two], partition_by="month", merge="replace")
    assert pt.ls(tmp_path) == []
    for merge, values in (
        ("upsert", [1, 1, 2, 2, 2, 2]),
        ("time_series", [1, 1, 2, 2, 2, 2]),
        ("concat", [1, 1, 1, 1, 2, 2, 2, 2]),
    ):
        url = tmp_path / merge
        pt.import_files(url, [one, two], partition_by="month", merge=merge)
        assert pt.open_collection(url).read().ssh.values[:, 0].tolist() == values


def test_partitions_that_have_rows_are_not_replaced_by_accident(
    tmp_path: Path, days: list[str]
) -> None:
    url = tmp_path / "c"
    pt.import_files(url, days[:1], partition_by="month")
    with pytest.raises(pt.InvalidArgument, match="would replace"):
        pt.import_files(url, days[1:2])
    assert pt.open_collection(url).read().sizes["time"] == 4
    pt.import_files(url, days[1:3], merge="upsert")
    assert pt.open_collection(url).read().sizes["time"] == 12
    pt.import_files(url, days[1:2], merge="replace")
    assert pt.open_collection(url).read().ssh.values[:, 0].tolist() == [10.0] * 4


def test_periods_of_a_time_series_are_those_of_each_file(tmp_path: Path) -> None:
    url = tmp_path / "c"
    old = [write(tmp_path / f"old{n}.nc", day(n)) for n in (1, 2, 3)]
    new = [write(tmp_path / f"new{n}.nc", day(n, value=100.0 + n)) for n in (1, 3)]
    pt.import_files(url, old, partition_by="month")
    pt.import_files(url, new, merge="time_series")
    found = pt.open_collection(url).read().ssh.values[::4, 0].tolist()
    assert found == [101, 2, 103]


def test_files_that_lack_a_variable_leave_it_alone(tmp_path: Path) -> None:
    url = tmp_path / "c"
    first = [day(n).assign(n=("time", np.arange(4, dtype="i4"))) for n in (0, 1)]
    names = [write(tmp_path / f"{n}.nc", one) for n, one in enumerate(first)]
    pt.import_files(url, names, partition_by="month")
    second = [write(tmp_path / f"new{n}.nc", day(n, value=9.0)) for n in (0, 1)]
    for files in (second, second[:1]):
        pt.import_files(url, files, merge="upsert")
        found = pt.open_collection(url).read()
        assert found.n.values.tolist() == [0, 1, 2, 3] * 2
        assert (found.ssh == 9).all()
    with pytest.raises(pt.SchemaMismatch, match="new2.nc"):
        pt.import_files(url, write(tmp_path / "new2.nc", day(5)), merge="upsert")
    pt.import_files(url, f"{tmp_path}/new2.nc", merge="upsert", fill={"n": -1})
    assert pt.open_collection(url).read().n.values[-4:].tolist() == [-1] * 4


@pytest.mark.parametrize("workers", [0, 2])
def test_files_that_do_not_fit_are_named_or_left_out(
    tmp_path: Path, days: list[str], workers: int
) -> None:
    broken = tmp_path / "day99.nc"
    broken.write_bytes(b"CDF\x01garbage")
    other = write(tmp_path / "other.nc", day(3).rename(ssh="sla"))
    far = write(tmp_path / "static.nc", day(4).assign(lon=("x", [7.0, 8.0, 9.0])))
    cut = day(5).isel(x=slice(2))
    files = [*days[:2], str(broken), other, far, write(tmp_path / "cut.nc", cut), *days[2:]]
    text = tmp_path / "text.nc"
    text.write_text("hello")
    with pytest.raises(pt.InvalidArgument, match=r"text\.nc: it is no file of NetCDF") as refused:
        pt.import_files(tmp_path / "bad", [*days[:2], text], partition_by="month", workers=workers)
    assert "\n" not in str(refused.value)
    for bad in (str(broken), other, far):
        with pytest.raises(pt.PartitaError, match=Path(bad).name):
            pt.import_files(
                tmp_path / "bad", [*days[:2], bad], partition_by="month", workers=workers
            )
    report = pt.import_files(
        tmp_path / "c", files, partition_by="month", on_error="skip", workers=workers
    )
    assert report.imported == days
    assert set(report.failed) == {str(broken), other, far, f"{tmp_path}/cut.nc"}
    assert "sla" in report.failed[other] and "lon" in report.failed[far]
    assert pt.open_collection(tmp_path / "c").read().sizes["time"] == 4 * len(days)
    assert pt.open_collection(tmp_path / "c").verify(data=True) == []


def test_a_job_that_was_stopped_goes_on(tmp_path: Path, days: list[str]) -> None:
    url = tmp_path / "c"
    pt.import_files(url, days[:2], partition_by="month", merge="concat")
    options: dict[str, Any] = {"merge": "concat", "skip_existing": True}
    report = pt.import_files(url, days, **options)
    assert (report.skipped, report.imported) == (days[:2], days[2:])
    assert pt.open_collection(url).read().sizes["time"] == 4 * len(days)
    # A file with other content is another file.
    write(Path(days[0]), day(0, value=5.0))
    report = pt.import_files(url, days, merge="upsert", skip_existing=True)
    assert report.imported == days[:1] and len(report.skipped) == len(days) - 1


def test_attributes_that_differ_are_combined_as_xarray_does(
    tmp_path: Path, days: list[str]
) -> None:
    for how, history in (("override", "day 0"), ("drop_conflicts", None), ("drop", None)):
        url = tmp_path / how
        pt.import_files(url, days, partition_by="month", combine_attrs=how)
        attributes = pt.open_collection(url).attributes
        assert attributes.get("history") == history
        assert attributes.get("title") == (None if how == "drop" else "days")
    with pytest.raises(pt.InvalidArgument, match="differ"):
        pt.import_files(tmp_path / "i", days, partition_by="month", combine_attrs="identical")
    assert not (tmp_path / "i").exists()


PACKED = {"dtype": "i2", "scale_factor": 0.01, "_FillValue": np.int16(-32768)}


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_files_in_other_packings_are_converted_by_value(tmp_path: Path, zarr_format: int) -> None:
    packings = [PACKED, {**PACKED, "scale_factor": 0.002}, {**PACKED, "_FillValue": np.int16(-9)}]
    packings += [{"dtype": "f8"}]
    wanted = []
    for n, packing in enumerate(packings):
        data = day(n, value=12.0 + n)
        data.ssh[1, 1] = np.nan
        wanted.append(data.ssh.values)
        write(tmp_path / f"{n}.nc", data, ssh=packing)
    pt.import_files(
        tmp_path / "c", f"{tmp_path}/?.nc", partition_by="month", zarr_format=zarr_format
    )
    c = pt.open_collection(tmp_path / "c")
    np.testing.assert_allclose(c.read(decode=True).ssh, np.concatenate(wanted), atol=0.006)
    assert c.read().ssh.dtype == "i2"
    write(tmp_path / "far.nc", day(9, value=400.0), ssh={"dtype": "f8"})
    with pytest.raises(pt.SchemaMismatch, match=r"far\.nc: variable ssh .* holds 400\.0"):
        pt.import_files(c.url, tmp_path / "far.nc", merge="upsert")


def test_times_of_files(tmp_path: Path) -> None:
    data = day(0)
    units = {"units": "days since 1950-01-01 00:00:00 UTC", "_FillValue": 999999.0}
    data["seen"] = ("time", np.array([27000.5, 27001.5, 999999.0, 1.0]), units)
    model = {"units": "days since 2000-01-01", "calendar": "noleap"}
    data["model"] = ("time", np.arange(4, dtype="i4"), model)
    write(tmp_path / "1.nc", data)
    pt.import_files(tmp_path / "c", tmp_path / "1.nc", partition_by="month")
    found = pt.open_collection(tmp_path / "c").read(decode=True)
    with xr.open_dataset(tmp_path / "1.nc") as opened:
        np.testing.assert_array_equal(found.seen.values.astype("M8[ns]"), opened.seen)
        assert found.model.values.tolist() == opened.model.values.tolist()
    axis = xr.Dataset({"v": ("n", np.arange(4.0))}, {"juld": ("n", data.seen.values, units)})
    axis.to_netcdf(tmp_path / "axis.nc")
    with pytest.raises(pt.PartitaError, match=r"axis\.nc"):
        pt.import_files(tmp_path / "a", tmp_path / "axis.nc", axis="juld", partition_by="year")
    noleap = xr.date_range("2000-02-27", periods=4, calendar="noleap", use_cftime=True)
    xr.Dataset({"v": ("time", np.arange(4.0))}, {"time": noleap}).to_netcdf(tmp_path / "cf.nc")
    with pytest.raises(pt.InvalidArgument, match="calendar noleap"):
        pt.import_files(tmp_path / "b", tmp_path / "cf.nc", partition_by="month")


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_groups_become_groups_or_are_named(tmp_path: Path, zarr_format: int) -> None:
    tree = xr.DataTree.from_dict(
        {"/": day(0), "/ku": xr.Dataset({"power": ("time", np.arange(4.0))})}
    )
    source = tmp_path / "tree.zarr"
    tree.to_zarr(source, zarr_format=zarr_format, consolidated=False)
    with pytest.raises(pt.InvalidArgument, match="ku"):
        pt.import_files(tmp_path / "2", source, partition_by="month")
    pt.import_files(tmp_path / "root", source, partition_by="month", groups=False)
    assert "ku/power" not in pt.open_collection(tmp_path / "root").variables
    pt.import_files(tmp_path / "3", source, partition_by="month", zarr_format=3)
    found = pt.open_collection(tmp_path / "3").read()
    assert found["ku/power"].values.tolist() == [0, 1, 2, 3]


def test_folders_and_groups_of_zarr_are_files_too(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    (folder / "deep").mkdir(parents=True)
    write(folder / "deep" / "1.nc", day(0))
    day(1).to_zarr(folder / "2.zarr", zarr_format=2)
    (folder / "notes.txt").write_text("nothing")
    report = pt.import_files(tmp_path / "c.zarr", folder, partition_by="month")
    assert [Path(name).name for name in report.imported] == ["2.zarr", "1.nc"]
    assert pt.open_collection(tmp_path / "c.zarr").read().sizes["time"] == 8
    with pytest.raises(pt.NotFound, match="none"):
        pt.import_files(tmp_path / "c.zarr", tmp_path / "none*.nc")


# The command


def test_the_command_imports_and_reports(tmp_path: Path, days: list[str]) -> None:
    url = tmp_path / "lake.zarr"
    broken = tmp_path / "day99.nc"
    broken.write_bytes(b"CDF\x01garbage")
    refused = command("import", url, *days, broken, "--partition-by", "month")
    assert refused.returncode == 1 and "day99.nc" in refused.stderr and not url.exists()
    done = command(
        *("import", url, *days, broken, "--partition-by", "month", "--chunk", "time=2"),
        *("--on-error", "skip", "--json"),
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["imported"] == days and report["failed"][0]["file"] == str(broken)
    assert "day99.nc" in done.stderr
    assert pt.open_collection(url).read(chunks={}).ssh.chunks[0] == (2,) * 14
    again = command("import", url, *days, "--skip-existing")
    assert again.returncode == 0 and "imported 0 files" in again.stdout, again.stderr
    assert command("import", url, tmp_path / "none.nc").returncode == 3
    told = json.loads(command("import", url, tmp_path / "none.nc", "--json").stderr)
    assert told["error"]["kind"] == "NotFound"
    one = write(tmp_path / "one.nc", day(0, value=9.0))
    assert command("import", url, one).returncode == 1
    assert command("import", url, one, "--merge", "upsert").returncode == 0
    assert pt.open_collection(url).read().ssh.values[0, 0] == 9.0
    wrong = command("read", url, "-o", tmp_path / "rows.csv")
    assert wrong.returncode != 0 and not (tmp_path / "rows.csv").exists()


def test_the_help_tells_of_arrays_too() -> None:
    shown = command("import", "--help").stdout
    for word in ("NetCDF", "--merge", "--axis", "--zarr", "--skip-existing", "--on-error"):
        assert word in shown


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("suffix", ["nc", "zarr"])
def test_files_that_are_written_keep_what_is_missing(
    tmp_path: Path, zarr_format: int, suffix: str
) -> None:
    wanted = xr.Dataset(
        {
            "packed": ("time", [1.5, np.nan, 2.5, 3.5]),
            "plain": ("time", np.array([1.0, np.nan, 2.0, 3.0], "f4")),
            "count": ("time", [1.0, np.nan, 3.0, 4.0]),
        },
        day(0).coords,
    )
    write(
        tmp_path / "in.nc",
        wanted,
        packed={"dtype": "i2", "scale_factor": 0.5, "_FillValue": np.int16(-32768)},
        plain={"dtype": "f4", "_FillValue": np.float32(9.96921e36)},
        count={"dtype": "i4", "_FillValue": np.int32(-99)},
    )
    by = pt.Date("time", "month")
    pt.import_files(tmp_path / "a", tmp_path / "in.nc", partition_by=by, zarr_format=zarr_format)
    with xr.open_dataset(tmp_path / "in.nc") as opened:
        pt.create_collection(
            tmp_path / "b", opened, axis="time", partition_by=by, zarr_format=zarr_format
        )
    for name in ("a", "b"):
        out = tmp_path / f"{name}.{suffix}"
        done = command("read", tmp_path / name, "-o", out)
        assert done.returncode == 0, done.stderr
        engine = {"engine": "zarr"} if suffix == "zarr" else {}
        with xr.open_dataset(out, **engine) as found:
            for variable in wanted.data_vars:
                np.testing.assert_array_equal(found[variable], wanted[variable])


def test_the_example_of_an_altimetry_centre_runs(tmp_path: Path) -> None:
    example = Path(__file__).parents[1] / "examples" / "altimetry_day"
    done = subprocess.run(
        [sys.executable, example, tmp_path], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("59 files, ") and lines[0].endswith(" 1 commit")
    assert lines[1] == "left out: pass041.nc"
    assert lines[2] == "partitions: year=2022/month=01 year=2022/month=02"
    assert lines[3] == "again: 0 imported, 59 known"
    guide = (example.parents[1] / "docs" / "howto" / "netcdf.md").read_text()
    assert f"It prints\n\n```text\n{done.stdout}```\n" in guide
    rows = pt.open_collection(tmp_path / "ssh").read(decode=True)
    assert np.unique(rows.time).size == rows.sizes["time"]
    # Both packings mean the same. Heights that were rounded to 0.5 mm are rounded to 1 mm again.
    phase = (rows.time - np.datetime64("2022-01-20", "ns")) / np.timedelta64(1, "D")
    height = np.sin(phase).values[:, None] + np.linspace(0, 0.1, 6)
    assert float(np.nanmax(np.abs(rows.ssh - height))) <= 0.00075 + 1e-9


@pytest.mark.parametrize("workers", [0, 2])
def test_a_damaged_file_is_named(tmp_path: Path, days: list[str], workers: int) -> None:
    whole = Path(days[1]).read_bytes()
    how: dict[str, Any] = {"partition_by": "month", "workers": workers}
    for number, content in enumerate((whole[: len(whole) // 2], b"CDF\x01" + bytes(3), b"")):
        Path(days[1]).write_bytes(content)
        with pytest.raises(pt.PartitaError, match=Path(days[1]).name) as raised:
            pt.import_files(tmp_path / f"c{number}", days, **how)
        assert raised.value.kind in ("Corrupt", "InvalidArgument")
        report = pt.import_files(tmp_path / f"d{number}", days, on_error="skip", **how)
        assert list(report.failed) == [days[1]]
        assert report.rows == 4 * (len(days) - 1)


def test_a_file_that_ends_the_process_that_reads_it() -> None:
    from partita.importing._processes import Failure, Processes

    texts = ["__import__('os')._exit(3)", *(f"{number} + 1" for number in range(8))]
    with Processes(2) as processes:
        answers = dict(processes.call(eval, [(text,) for text in texts]))
    lost = answers.pop(0)
    assert isinstance(lost, Failure) and lost.error.kind == "Corrupt"
    assert [answers[number] for number in sorted(answers)] == list(range(1, 9))


def test_the_history_holds_no_password(tmp_path: Path, days: list[str]) -> None:
    from partita.importing._run import _source
    from partita.importing._tasks import Scanned

    scanned = Scanned("https://user:hush@host/in/day.nc", "digest", [], {}, {})
    assert _source(scanned) == ("https://***@host/in/day.nc", "digest")
    with pytest.raises(pt.PartitaError) as raised:
        pt.import_files(
            tmp_path / "c",
            "http://user:hush@127.0.0.1:9/in/day.nc",
            partition_by="month",
            source_options={"max_retries": "0"},
        )
    assert "hush" not in f"{raised.value} {raised.value.context}"
