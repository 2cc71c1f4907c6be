"""The command line as the installed wheel ships it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

import partita as pt


def run(*arguments, code: int = 0, **options) -> subprocess.CompletedProcess:
    """Runs the command and checks its exit code."""
    done = subprocess.run(
        [sys.executable, "-m", "partita", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        **options,
    )
    assert done.returncode == code, done.stderr
    return done


def answer(*arguments):
    return json.loads(run(*arguments, "--json").stdout)


@pytest.fixture
def url(local_trips) -> str:
    return local_trips.url


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
    assert answer("doctor", tmp_path)["commit"]
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
        # It waits for its input; the second Ctrl-C is for what does not heed the first.
        for _ in range(2):
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
