"""The command line of the installed wheel."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

import partita as pt
from command import answer, run


@pytest.fixture
def url(local_trips) -> str:
    return local_trips.url


@pytest.fixture
def ssh(tmp_path) -> str:
    """A collection of two months, in plain Zarr."""
    time = np.arange("2022-01", "2022-03", dtype="M8[D]").astype("M8[us]")
    made = pt.create_collection(
        tmp_path / "arrays" / "ssh",
        {"time": ("time", time), "v": (("time", "x"), np.zeros((time.size, 2)))},
        axis="time",
        partition_by=pt.Date("time", "month"),
        chunks={"time": 10},
    )
    return made.url


def test_the_script_is_installed():
    script = Path(sys.executable).with_name("partita")
    done = subprocess.run([script, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"partita {pt.__version__}\n"


def test_ls(url, tmp_path):
    assert "trips" in run("ls", tmp_path / "lake").stdout
    (found,) = answer("ls", tmp_path / "lake")
    assert (found["name"], found["kind"]) == ("trips", "table")


def test_info(url):
    text = run("info", url).stdout
    for word in ("trips", "city", "6", "version", "create"):
        assert word in text
    facts = answer("info", url)
    assert (facts["rows"], facts["files"], facts["partitions"]) == (6, 3, 3)
    assert facts["partition_by"] == ["city"]
    assert facts["last_commit"]["operation"] == "create"


def test_schema(url):
    assert "partition" in run("schema", url).stdout
    columns = answer("schema", url)
    assert columns[0]["name"] == "city" and columns[0]["partition"]


def test_partitions(url):
    assert "KiB" in run("partitions", url).stdout
    assert {p["key"]["city"]: p["rows"] for p in answer("partitions", url)} == {
        "Oslo": 2,
        "Rome": 3,
        "São Paulo": 1,
    }


def test_history(url):
    pt.open_table(url).delete(where={"city": "Oslo"})
    assert "delete" in run("history", url).stdout
    assert [s["rows"] for s in answer("history", url)] == [4, 6]


def test_doctor(tmp_path):
    assert "commit" in run("doctor", tmp_path).stdout
    told = answer("doctor", tmp_path)
    assert told["commit"]
    if sys.platform == "linux":
        # The report has the file system, and its guarantees for commits.
        assert all(told[fact] for fact in ("file_system", "locks", "renames", "syncs"))
    assert list(tmp_path.iterdir()) == []


class TestRead:
    def test_table(self, url):
        out = run("read", url, "--columns", "city,fare", "--where", "fare > 10").stdout
        lines = out.splitlines()
        assert lines[0].split() == ["city", "fare"]
        assert len(lines) == 4

    def test_a_long_table_says_that_there_is_more(self, tmp_path):
        pt.create_table(tmp_path / "t", {"a": list(range(200))})
        done = run("read", tmp_path / "t")
        assert len(done.stdout.splitlines()) == 51
        assert "more" in done.stderr
        assert len(run("read", tmp_path / "t", "--limit", "60").stdout.splitlines()) == 61

    def test_csv(self, url):
        out = run(
            "read", url, "--columns", "fare,city", "--where", "city == 'Oslo'", "--format", "csv"
        ).stdout
        assert sorted(out.splitlines()) == ["12.5,Oslo", "30.0,Oslo", "fare,city"]

    def test_csv_without_rows_has_its_heading(self, url):
        out = run("read", url, "--columns", "fare", "--where", "fare < 0", "--format", "csv").stdout
        assert out == "fare\n"

    def test_jsonl(self, url):
        out = run("read", url, "--format", "jsonl", "--limit", "4").stdout
        assert len([json.loads(line) for line in out.splitlines()]) == 4
        assert run("read", url, "--json", "--limit", "4").stdout == out

    def test_files(self, url, tmp_path):
        for ending in ("csv", "jsonl", "parquet"):
            run("read", url, "-o", tmp_path / f"out.{ending}")
        assert pq.read_table(tmp_path / "out.parquet").num_rows == 6
        assert len(pd.read_csv(tmp_path / "out.csv")) == 6
        assert not list(tmp_path.glob("*.partial"))

    def test_a_failed_read_leaves_no_file(self, url, tmp_path):
        (tmp_path / "out.csv").write_text("precious")
        for file in (tmp_path / "lake" / "trips" / "table").rglob("*.parquet"):
            file.unlink()
        run("read", url, "-o", tmp_path / "out.csv", code=1)
        assert (tmp_path / "out.csv").read_text() == "precious"
        assert not list(tmp_path.glob("*.partial"))

    def test_a_closed_pipe_is_quiet(self, tmp_path):
        pt.create_table(tmp_path / "t", {"a": list(range(500_000))})
        command = [sys.executable, "-m", "partita", "read", str(tmp_path / "t"), "--format"]
        for form in ("csv", "jsonl"):
            child = subprocess.Popen(
                [*command, form], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            )
            child.stdout.readline()
            child.stdout.close()
            assert child.stderr.read() == ""
            assert child.wait(timeout=30) == 0


class TestAppend:
    def test_creates_and_appends_from_every_format(self, tmp_path):
        frame = pd.DataFrame({"city": ["Oslo", "Rome"], "n": [1, 2], "f": [0.5, None]})
        frame.to_csv(tmp_path / "a.csv", index=False)
        frame.to_json(tmp_path / "b.jsonl", orient="records", lines=True)
        frame.to_parquet(tmp_path / "c.parquet")
        url = tmp_path / "lake" / "t"
        run("append", url, tmp_path / "a.csv", "--create", "--partition-by", "city")
        done = answer("append", url, tmp_path / "b.jsonl", tmp_path / "c.parquet")
        assert done["rows_added"] == 4
        table = pt.open_table(url)
        assert table.partition_by == ["city"]
        assert sorted(table.read()["n"].tolist()) == [1, 1, 1, 2, 2, 2]
        assert table.read()["f"].isna().sum() == 3

    def test_standard_input(self, tmp_path):
        run("append", tmp_path / "t", "-", "--format", "csv", "--create", input="a,b\n1,x\n")
        assert pt.open_table(tmp_path / "t").read()["b"].tolist() == ["x"]

    def test_text_is_read_with_the_types_of_the_table(self, tmp_path):
        pt.create_table(tmp_path / "t", {"code": ["007"], "n": [1.5]})
        (tmp_path / "more.csv").write_text("n,code\n2,008\n")
        run("append", tmp_path / "t", tmp_path / "more.csv")
        back = pt.open_table(tmp_path / "t").read().sort_values("n")
        assert back["code"].tolist() == ["007", "008"]

    def test_what_does_not_fit_changes_nothing(self, url, tmp_path):
        (tmp_path / "bad.csv").write_text("city,nonsense\nOslo,1\n")
        done = run("append", url, tmp_path / "bad.csv", code=1)
        assert done.stderr.startswith("error: ") and "hint: " in done.stderr
        assert pt.open_table(url).count() == 6


class TestCreate:
    def test_an_empty_table_has_columns_and_partitions(self, tmp_path):
        url = tmp_path / "lake" / "t"
        columns = "id:int64,city:string,at:timestamp[us],price:decimal(10, 2)"
        keys = "city,month(at),bucket(4, id)"
        run("create", url, "--columns", columns, "--partition-by", keys, "--index", "id")
        table = pt.open_table(url)
        assert table.partition_by == ["city", "year", "month", "id_bucket"]
        assert table.index == ["id"]
        csv = "id,city,at,price\n7,Oslo,2026-01-31T12:00:00,1.25\n"
        run("append", url, "-", "--format", "csv", input=csv)
        assert pt.open_table(url).partitions[0].path.startswith("city=Oslo/year=2026/month=1/")
        shown = {column["name"]: column["type"] for column in answer("schema", url)}
        assert shown["price"] == "decimal(10, 2)" and shown["city"] == "string"

    def test_columns_of_a_file(self, tmp_path):
        (tmp_path / "a.csv").write_text("a,b\n1,x\n")
        done = answer("create", tmp_path / "t", "--like", tmp_path / "a.csv")
        assert done["columns"] == 2
        assert pt.open_table(tmp_path / "t").count() == 0

    @pytest.mark.parametrize(
        "arguments",
        [
            (),
            ("--columns", "id:number"),
            ("--columns", "id"),
            ("--columns", "id:int64", "--like", "a.csv"),
            ("--columns", "id:int64", "--partition-by", "week(id)"),
        ],
    )
    def test_what_cannot_be_understood_is_a_usage_error(self, tmp_path, arguments):
        run("create", tmp_path / "t", *arguments, code=2)
        assert list(tmp_path.iterdir()) == []


class TestUpsert:
    def test_rows_take_the_place_of_those_with_their_key(self, tmp_path):
        pt.create_table(tmp_path / "t", {"id": [1, 2], "v": [1.0, 2.0]})
        (tmp_path / "new.csv").write_text("id,v\n2,20\n3,30\n")
        run("upsert", tmp_path / "t", tmp_path / "new.csv", "--on", "id")
        rows = pt.open_table(tmp_path / "t").read().sort_values("id")
        assert rows["v"].tolist() == [1.0, 20.0, 30.0]

    def test_a_key_makes_a_write_count_once(self, tmp_path):
        pt.create_table(tmp_path / "t", {"id": [1]})
        (tmp_path / "new.csv").write_text("id\n2\n")
        for _ in range(2):
            run("append", tmp_path / "t", tmp_path / "new.csv", "--key", "monday")
        assert sorted(pt.open_table(tmp_path / "t").read()["id"]) == [1, 2]


class TestDryRun:
    """Commands that delete report what they would delete, and delete nothing."""

    @pytest.mark.parametrize(
        ("command", "told"),
        [
            (("delete", "--where", "city == 'Oslo'"), "would delete 2 rows"),
            (("delete", "--where", "fare > 10"), "would delete 3 rows"),
            (("drop",), "would remove"),
            (("expire", "--keep-last", "1"), "would forget 1 version"),
            (("expire", "--keep-within", "0s"), "would forget 1 version"),
            (("gc", "--grace", "0s"), "would remove"),
        ],
    )
    def test_of_tables(self, url, command, told, tmp_path):
        table = pt.open_table(url)
        table.append(table.read(where="fare == 9"))
        before = {f: f.stat().st_mtime_ns for f in tmp_path.rglob("*") if f.is_file()}
        name, *rest = command
        assert told in run(name, url, *rest, "--dry-run").stdout
        assert json.loads(run(name, url, *rest, "--dry-run", "--json").stdout)["dry_run"]
        assert before == {f: f.stat().st_mtime_ns for f in tmp_path.rglob("*") if f.is_file()}

    def test_of_collections(self, ssh):
        told = run("delete", ssh, "--where", "month == 1", "--dry-run").stdout
        assert told == "year=2022/month=01\nwould remove 1 partition\n"
        found = answer("delete", ssh, "--where", "month == 1", "--dry-run")
        assert found["partitions_removed"] == ["year=2022/month=01"]
        assert len(pt.open_collection(ssh).partitions) == 2

    def test_of_indexes(self, url):
        run("index", "build", url, "fare")
        assert "fare" in run("index", "drop", url, "fare", "--dry-run").stdout
        assert pt.open_table(url).index == ["fare"]
        assert "lacks" in run("index", "drop", url, "lacks", "--dry-run", code=3).stderr
        assert answer("index", "drop", url, "fare")["index"] == []


def test_collections_are_restored_and_expire(ssh):
    collection = pt.open_collection(ssh)
    before = collection.read()
    number = answer("history", ssh)[0]["number"]
    collection.update(lambda part: {"v": part.v + 1})
    for _ in range(2):
        made = answer("restore", ssh, number, "--key", "undo")
    collection.refresh()
    assert collection.read().identical(before)
    assert answer("history", ssh)[0]["number"] == made["commit"] == number + 2
    would = answer("expire", ssh, "--keep-last", 1, "--dry-run")["expired"]
    assert would > 0
    assert answer("expire", ssh, "--keep-last", 1)["expired"] == would
    assert answer("expire", ssh, "--keep-within", "0s", "--dry-run")["expired"] == 0


def test_info_of_a_collection_says_what_is_staged(ssh):
    collection = pt.open_collection(ssh)
    staged = collection.stage(collection.read("month == 1"), merge="replace")
    text = run("info", ssh).stdout
    assert re.search(r"^not committed +.* of 1 writer, since \d+ s ago$", text, re.MULTILINE)
    (work,) = answer("info", ssh)["staged"]
    assert work["objects"] > 0 and work["bytes"] > 0
    collection.commit(staged)
    assert answer("info", ssh)["staged"] == answer("info", ssh)["leases"] == []


def test_drop(url, tmp_path):
    run("drop", url, code=2, stdin=subprocess.DEVNULL)
    run("drop", url, "--yes")
    assert not [file for file in tmp_path.rglob("*") if file.is_file()]
    run("drop", url, "--yes", code=3)


def test_drop_is_for_tables(ssh):
    assert "delete" in run("drop", ssh, "--yes", code=1).stderr
    assert len(pt.open_collection(ssh).partitions) == 2


class TestDelete:
    def test_deletes_partitions(self, url):
        assert "2 rows" in run("delete", url, "--where", "city == 'Oslo'", "--yes").stdout
        assert pt.open_table(url).count() == 4

    def test_asks_nobody_without_a_terminal(self, url):
        done = run("delete", url, "--where", "city == 'Oslo'", code=2, stdin=subprocess.DEVNULL)
        assert "--yes" in done.stderr
        assert pt.open_table(url).count() == 6


class TestFailures:
    def test_exit_codes(self, url, tmp_path):
        run("info", tmp_path / "absent", code=3)
        run("read", url, "--where", "fare >", code=1)
        run("read", url, "--nonsense", code=2)
        run("nonsense", code=2)
        run("--help")

    @pytest.mark.parametrize(
        "arguments", [("read",), ("read", "x", "--nonsense"), ("nonsense",), ("index",)]
    )
    def test_usage_errors_are_json_on_request(self, arguments):
        done = run(*arguments, "--json", code=2)
        error = json.loads(done.stderr)["error"]
        assert error["kind"] == "Usage" and error["message"]
        assert done.stdout == ""

    def test_hints_name_the_command_that_helps(self, url, ssh, tmp_path):
        for arguments, command in [
            (("info", ssh, "--at", "99"), "partita history"),
            (("read", url, "--at", "7"), "partita history"),
            (("restore", url, "7"), "partita history"),
            (("read", url, "--at", "2001-01-01T00:00:00Z"), "partita history"),
            (("read", url, "--columns", "nonsense"), "partita schema"),
            (("info", tmp_path / "absent"), "partita ls"),
        ]:
            hint = run(*arguments, code=3).stderr.partition("hint: ")[2]
            assert command in hint, arguments

    def test_ls_of_nothing_is_an_error(self, tmp_path):
        assert "nothing" in run("ls", tmp_path / "not" / "here", code=3).stderr
        assert "no datasets" in run("ls", tmp_path).stderr

    def test_json_errors(self, tmp_path):
        done = run("info", tmp_path / "absent", "--json", code=3)
        error = json.loads(done.stderr)["error"]
        assert error["kind"] == "NotFound" and "absent" in error["message"]
        assert isinstance(error["context"], dict)
        assert done.stdout == ""

    def test_options_reach_the_store(self, url):
        done = run("info", url, "--option", "no_such_option=1", code=1)
        assert "no_such_option" in done.stderr
        run("info", url, "--option", "nonsense", code=2)

    def test_ctrl_c(self, tmp_path):
        child = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "partita",
                "append",
                str(tmp_path / "t"),
                "-",
                "--format",
                "csv",
                "--create",
            ],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        # The command waits for its input.
        with pytest.raises(subprocess.TimeoutExpired):
            child.wait(timeout=1)
        child.send_signal(signal.SIGINT)
        assert child.wait(timeout=10) == 130
        assert child.stderr.read() == "error: interrupted\n"
        child.stdin.close()
        child.stderr.close()
        assert not (tmp_path / "t.by-dataset-metadata.json").exists()


def test_folders_are_imported_and_exported(tmp_path):
    for city in ("Oslo", "São Paulo"):
        folder = tmp_path / "in" / "year=2026" / f"city={city.replace(' ', '%20')}"
        folder.mkdir(parents=True)
        (folder / "a.csv").write_text("id,fare\n1,2.5\n2,\n")
        (folder / "b.jsonl").write_text('{"id": 3, "fare": 4}\n')
    url = str(tmp_path / "lake" / "trips")
    made = run("import", url, tmp_path / "in", "--partition-by", "city", "--sort-by", "id")
    assert "created a table of 6 rows" in made.stdout
    table = pt.open_table(url)
    assert table.partition_by == ["city"]
    assert set(table.read()["city"]) == {"Oslo", "São Paulo"}
    assert set(table.read()["year"]) == {2026}
    again = run("import", url, tmp_path / "in" / "year=2026", "--json", code=1)
    assert "year" in again.stderr
    added = run("import", url, tmp_path / "in", "--json")
    assert json.loads(added.stdout)["rows_added"] == 6
    run("import", url, tmp_path / "in", "--index", "id", code=2)
    table.refresh()

    for name in ("out.csv", "out.jsonl", "out.parquet"):
        run("export", url, tmp_path / name, "--where", "id > 1", "--columns", "id,city")
        run("import", tmp_path / "lake" / name.replace(".", "-"), tmp_path / name)
        back = pt.open_table(tmp_path / "lake" / name.replace(".", "-")).read()
        assert back["id"].tolist() == table.read(where="id > 1")["id"].tolist()
    text = run("export", url, "-", "--at", "1", "--columns", "id").stdout
    assert text.splitlines()[0] == "id"
    assert len(text.splitlines()) == 7


class TestHelp:
    def test_alone_the_command_shows_what_can_be_done(self):
        alone = run().stdout
        assert alone.count("  partita ") == 3
        for command in ("read", "sql", "import", "history", "delete", "doctor"):
            assert f"  {command} " in alone
        assert len(alone.splitlines()) <= 48

    def test_completions(self):
        for shell in ("bash", "zsh", "fish"):
            script = run("completions", shell).stdout
            assert "upsert" in script and "--partition-by" in script.replace("-l ", "--")
        script = run("completions", "bash").stdout
        subprocess.run(["bash", "-n"], input=script, text=True, check=True)

    def test_manual_pages(self, tmp_path):
        run("man", tmp_path / "man1")
        names = {page.name for page in (tmp_path / "man1").iterdir()}
        assert {"partita.1", "partita-read.1", "partita-index-build.1"} <= names
        assert "Examples" in (tmp_path / "man1" / "partita-read.1").read_text()


class TestTerminal:
    """Output on a terminal has colours and a fitted width; files and pipes get complete plain
    text."""

    def shown(self, *arguments, columns=40, **environment) -> str:
        """The output of the command on a terminal of the given width."""
        main, terminal = pty.openpty()
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        child = subprocess.Popen(
            [sys.executable, "-m", "partita", *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=terminal,
            stderr=terminal,
            env={**os.environ, "TERM": "xterm", **environment},
        )
        os.close(terminal)
        parts = []
        # Reading fails once the other end is closed.
        with contextlib.suppress(OSError):
            while part := os.read(main, 1 << 16):
                parts.append(part)
        os.close(main)
        child.wait(timeout=60)
        return b"".join(parts).decode()

    @pytest.fixture
    def wide(self, tmp_path) -> str:
        columns = {f"column_{n}": [f"a value of the column {n}"] for n in range(12)}
        return pt.create_table(tmp_path / "wide", columns).url

    def test_a_table_fits_the_terminal(self, wide):
        plain = re.sub(r"\x1b\[[0-9;]*m", "", self.shown("read", wide))
        lines = plain.splitlines()
        assert len(lines) == 2 and "more" in lines[0]
        assert all(len(line) <= 40 for line in lines)

    def test_a_pipe_gets_all_of_it_without_colours(self, wide):
        out = run("read", wide).stdout
        assert "a value of the column 11" in out and "\x1b" not in out

    @pytest.mark.parametrize("command", ["info", "read", "schema"])
    def test_colours_on_request_of_a_terminal_alone(self, wide, command):
        assert "\x1b[" in self.shown(command, wide)
        assert "\x1b[" not in self.shown(command, wide, NO_COLOR="1")
        assert "\x1b[" not in run(command, wide).stdout

    def test_errors_have_colours_too(self, tmp_path):
        assert "\x1b[" in self.shown("info", tmp_path / "absent")
        assert "\x1b" not in run("info", tmp_path / "absent", code=3).stderr


def test_the_schema_of_a_collection_says_its_chunks(ssh):
    lines = [line.split() for line in run("schema", ssh).stdout.splitlines()]
    assert lines[0] == ["variable", "type", "dimensions", "chunks", "role"]
    assert ["time", "datetime64[us]", "time", "10", "axis"] in lines
    assert "Size" not in str(lines) and "Whole" not in str(lines)


@pytest.mark.parametrize(("at", "partitions"), [("1", 0), ("2", 1), ("v1", 1), ("main", 2)])
@pytest.mark.parametrize("command", ["info", "schema", "partitions"])
def test_an_older_state_of_a_repository(tmp_path, command, at, partitions):
    url = f"icechunk+file://{tmp_path}/c"
    time = np.arange("2022-01-01", "2022-01-05", dtype="M8[D]").astype("M8[us]")
    rows = {"time": ("time", time), "v": ("time", np.arange(4.0))}
    kept = pt.create_collection(url, rows, axis="time", partition_by=pt.Date("time", "month"))
    kept.create_tag("v1")
    kept.insert({**rows, "time": ("time", time + np.timedelta64(40, "D"))})
    assert len(answer("partitions", url)) == 2
    run(command, url, "--at", at)
    assert len(answer("partitions", url, "--at", at)) == partitions
    assert "history" in run(command, url, "--at", "nonsense", code=3).stderr


def test_plain_zarr_has_older_states(ssh):
    assert "partitions" in run("info", ssh, "--at", "1").stdout
    assert "commit" in run("info", ssh, "--at", "99", code=3).stderr
