"""Damaged, hostile and slow stores: errors are detected, bounded and specific."""

from __future__ import annotations

import datetime as dt
import json
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

import damaged_datasets
import partita as pt
from s3_server import s3_server

PROGRAM = Path(__file__).with_name("damaged_datasets.py")
COMMAND = Path(sys.executable).with_name("partita")


@pytest.mark.parametrize("kind", damaged_datasets.KINDS)
def test_a_damaged_file_gives_a_result_or_an_error_of_a_kind(tmp_path: Path, kind: str) -> None:
    count = os.environ.get("DAMAGE_COUNT", "84")
    seed = os.environ.get("DAMAGE_SEED", "1")
    ran = subprocess.run(
        [sys.executable, PROGRAM, tmp_path, kind, seed, count],
        capture_output=True,
        text=True,
        errors="replace",
        timeout=900 if count == "84" else None,
    )
    assert ran.returncode == 0, ran.stdout[-2000:] + ran.stderr[-2000:]
    wrong = [line for line in ran.stdout.splitlines() if line.startswith("CASE")]
    assert not wrong, "\n".join(wrong)
    assert "panicked" not in ran.stderr, ran.stderr[-2000:]
    assert "COUNTS" in ran.stdout


def time_axis(days: int = 2) -> dict[str, tuple[str, np.ndarray]]:
    hours = np.arange("2022-01-01", f"2022-01-{1 + days:02}", dtype="M8[h]").astype("M8[us]")
    return {"time": ("time", hours), "v": ("time", np.arange(float(hours.size)))}


def collection(url: str, **options: object) -> pt.Collection:
    by = pt.Date("time", "month")
    return pt.create_collection(url, time_axis(), axis="time", partition_by=by, **options)


@pytest.mark.parametrize("link", ["t/table/p=1", "t/_partita/x", "t/indices/y", "t/table/z"])
@pytest.mark.parametrize("verb", ["collect_garbage", "drop"])
def test_nothing_is_deleted_through_a_link(tmp_path: Path, verb: str, link: str) -> None:
    outside = tmp_path / "outside"
    (outside / "deep").mkdir(parents=True)
    for name in ("a.parquet", "deep/b.parquet", "notes.txt"):
        (outside / name).write_text("precious")
    table = pt.create_table(tmp_path / "t", {"a": [1]}, index=["a"])
    (tmp_path / link).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / link).symlink_to(outside)
    if verb == "drop":
        table.drop()
        assert not (tmp_path / link).is_symlink()
    else:
        table.collect_garbage(grace=dt.timedelta(0))
        assert table.count() == 1
    assert len([path for path in outside.rglob("*") if path.is_file()]) == 3


def test_partitions_behind_links_are_read_and_not_moved_away(tmp_path: Path) -> None:
    by = pt.Date("time", "month")
    c = pt.create_collection(tmp_path / "c", time_axis(), axis="time", partition_by=by)
    (tmp_path / "disk").mkdir()
    year = tmp_path / "c" / "year=2022"
    year.rename(tmp_path / "disk" / "year=2022")
    year.symlink_to(tmp_path / "disk" / "year=2022")
    c = pt.open_collection(tmp_path / "c")
    assert c.read().sizes["time"] == 48
    before = sorted((tmp_path / "disk").rglob("*"))
    with pytest.raises(pt.StoreError, match="symbolic link"):
        c.drop_partitions("month == 1")
    assert sorted((tmp_path / "disk").rglob("*")) == before


def test_a_pipe_in_the_place_of_a_file_is_refused_at_once(tmp_path: Path) -> None:
    pt.create_table(tmp_path / "t", {"p": [1], "a": [1]}, partition_by="p")
    collection(str(tmp_path / "c2"))
    collection(str(tmp_path / "c3"), zarr_format=3)
    for pattern, url in (
        ("t/table/*/*.parquet", "t"),
        ("t.by-dataset-metadata.json", "t"),
        ("c2/year=2022/month=01/v/0", "c2"),
        ("c2/.zcollection", "c2"),
        ("c3/_zcollection.json", "c3"),
    ):
        file = next(tmp_path.glob(pattern))
        content = file.read_bytes()
        file.unlink()
        os.mkfifo(file)
        with pytest.raises(pt.Corrupt, match="no regular file"):
            pt.open(tmp_path / url).read()
        file.unlink()
        file.write_bytes(content)
        pt.open(tmp_path / url).read()


def test_numbers_at_their_ends(tmp_path: Path) -> None:
    c = collection(str(tmp_path / "c"))
    c.insert(time_axis())
    log, most = tmp_path / "c/.partita/log", 2**64 - 1
    records = sorted(log.glob("*.json"))
    head = json.loads((tmp_path / "c/.partita/head.json").read_text())
    if records:
        record = json.loads(records[-1].read_text()) | {"sequence": most}
        (log / f"{most:016}.json").write_text(json.dumps(record))
    head["mark"] = most - 1
    (tmp_path / "c/.partita/head.json").write_text(json.dumps(head))
    for use in (pt.open, lambda url: c.insert(time_axis()), lambda url: c.collect_garbage()):
        with pytest.raises(pt.Corrupt):
            use(tmp_path / "c")

    table = pt.create_table(tmp_path / "t", {"a": [1]})
    header = tmp_path / "t.by-dataset-metadata.json"
    document = json.loads(header.read_text())
    document["metadata"]["_partita"]["version"] = most
    header.write_text(json.dumps(document))
    with pytest.raises(pt.Corrupt):
        pt.open_table(tmp_path / "t")
    # The header cannot be read, so the outcome of the commit is unknown.
    with pytest.raises(pt.CommitUnknown):
        table.append({"a": [2]})


def test_damaged_bytes_are_no_staged_files(memory: str) -> None:
    import base64
    import random

    rows = {"id": [1, 2], "p": ["a", "b"]}
    table = pt.create_table(f"{memory}/t", rows, partition_by="p", index=["id"])
    document = json.loads(table.stage({"id": [3, 4], "p": ["a", "c"]}).to_bytes())
    encoded = [
        name for name, value in document.items() if isinstance(value, str) and len(value) > 60
    ]
    chance = random.Random(5)
    for _ in range(400):
        name = chance.choice(encoded)
        content = bytearray(base64.b64decode(document[name]))
        for _ in range(chance.choice([1, 2, 8])):
            content[chance.randrange(len(content))] = chance.choice([0, 255, chance.randrange(256)])
        damaged = document | {name: base64.b64encode(content).decode()}
        try:
            staged = pt.Staged.from_bytes(json.dumps(damaged).encode())
            pt.Staged.merge([staged])
        except pt.PartitaError as error:
            assert error.kind != "Internal", error


@pytest.mark.parametrize("zarr_format", [2, 3, "icechunk"])
def test_a_creation_that_fails_leaves_nothing(tmp_path: Path, zarr_format: int | str) -> None:
    url, options = str(tmp_path / "c"), {"zarr_format": zarr_format}
    if zarr_format == "icechunk":
        url, options = f"icechunk+{url}", {}
    by = pt.Date("n", "month")

    def data(*times: str) -> dict[str, tuple[str, np.ndarray]]:
        return {"n": ("n", np.array(times, dtype="M8[us]")), "v": ("n", np.arange(2.0))}

    with pytest.raises(pt.PartitaError):
        pt.create_collection(url, data("2022-01-01", "NaT"), axis="n", partition_by=by, **options)
    with pytest.raises(pt.NotFound):
        pt.open(url)
    left = [path for path in (tmp_path / "c").rglob("*") if path.is_file()]
    assert not left, left
    good = data("2022-01-01", "2022-01-02")
    again = pt.create_collection(url, good, axis="n", partition_by=by, **options)
    assert again.read().sizes["n"] == 2


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("region", "a\nb"),
        ("endpoint_url", "x y"),
        ("endpoint_url", "localhost:9000"),
        ("access_key_id", "a\n"),
        ("session_token", "a\r\nX: y"),
        ("secret_access_key", "hü\n"),
        ("user_agent", "a\0b"),
    ],
)
def test_malformed_options_are_refused(name: str, value: str) -> None:
    options = {"endpoint_url": "http://127.0.0.1:9", "region": "us-east-1", "max_retries": "0"}
    for url in ("s3://test/t", "icechunk+s3://test/t"):
        with pytest.raises(pt.InvalidArgument) as raised:
            pt.open(url, storage_options=options | {name: value})
        assert name in str(raised.value)


def test_digests_are_compared_unless_they_are_not_to_be(tmp_path: Path) -> None:
    table = pt.create_table(tmp_path / "t", {"a": [1.5, 2.5]}, compression="none")
    assert table.verify(data=True) == []
    file = next((tmp_path / "t" / "table").rglob("*.parquet"))
    content = bytearray(file.read_bytes())
    at = content.index(np.float64(2.5).tobytes())
    content[at + 6] ^= 1
    file.write_bytes(content)
    with pytest.raises(pt.Corrupt, match="not what was committed") as raised:
        pt.open_table(tmp_path / "t").read()
    assert raised.value.context["column"] == "a"
    unchecked = pt.open_table(tmp_path / "t", storage_options={"checksums": False})
    assert list(unchecked.read()["a"]) != [1.5, 2.5]
    (problem,) = unchecked.verify(data=True)
    assert "not what was committed" in problem.message
    with pytest.raises(pt.InvalidArgument, match="checksums"):
        pt.open_table(tmp_path / "t", storage_options={"checksums": "perhaps"})


@pytest.mark.parametrize("kind", ["zarr2", "zarr3"])
def test_every_frame_of_zstd_has_a_checksum(tmp_path: Path, kind: str) -> None:
    # Of text and in shards too.
    damaged_datasets.make(kind, tmp_path)
    heads = [path.read_bytes()[:5] for path in tmp_path.rglob("*") if path.is_file()]
    flags = [head[4] & 4 for head in heads if head.startswith(b"\x28\xb5\x2f\xfd")]
    assert flags and all(flags)


SECRET = "SEKRET-4711"


def test_secrets_stand_in_no_error(memory: str) -> None:
    s3 = {"access_key_id": "a", "secret_access_key": SECRET, "max_retries": "0"}
    for url, options in (
        (f"http://user:{SECRET}@127.0.0.1:9/lake/t", {"max_retries": "0"}),
        ("s3://b/t", s3 | {"endpoint_url": f"http://user:{SECRET}@127.0.0.1:9"}),
        ("s3://b/t", s3 | {"endpoint_url": "http://127.0.0.1:9", "session_token": SECRET}),
    ):
        for use in (pt.open, pt.open_table, pt.open_collection, pt.ls):
            with pytest.raises(pt.PartitaError) as raised:
                use(url, storage_options=options)
            assert SECRET not in f"{raised.value} {raised.value.context} {raised.value!r}"


def test_pickles_carry_secrets_unless_they_are_told_not_to(tmp_path: Path) -> None:
    with s3_server(tmp_path) as options:
        pt.create_table("s3://test/lake/t", {"a": [1]}, storage_options=options)
        secret = options["secret_access_key"].encode()
        carries = pt.open_table("s3://test/lake/t", storage_options=options)
        assert secret in pickle.dumps(carries)
        assert pickle.loads(pickle.dumps(carries)).count() == 1
        for opened in (
            pt.open_table("s3://test/lake/t", storage_options=options, pickle_credentials=False),
            pt.open("s3://test/lake/t", storage_options=options, pickle_credentials=False),
        ):
            assert opened.count() == 1
            pickled = pickle.dumps(opened)
            assert secret not in pickled
            assert options["endpoint_url"].encode() in pickled


def test_a_view_reads_no_other_store_where_that_is_ruled_out(tmp_path: Path, memory: str) -> None:
    base = collection(f"{memory}/base")
    url = str(tmp_path / "view")
    pt.create_view(url, base, [pt.Variable("w", ("time",), "f4")])
    assert "w" in pt.open(url).variables
    for use in (pt.open, pt.open_view):
        with pytest.raises(pt.PartitaError, match="allow_remote_base"):
            use(url, allow_remote_base=False)
    assert "w" in pt.open_view(url, base=base, allow_remote_base=False).variables
    near = collection(str(tmp_path / "base"))
    pt.create_view(str(tmp_path / "near"), near, [pt.Variable("w", ("time",), "f4")])
    assert "w" in pt.open(str(tmp_path / "near"), allow_remote_base=False).variables


@pytest.mark.parametrize("value", ["\ud800", "a\udc00b", "x" * 5_000_000, "a\0b"])
def test_names_that_no_store_can_hold(tmp_path: Path, memory: str, value: str) -> None:
    table = pt.create_table(f"{memory}/t", {"a": [1]})
    for use in (
        lambda: pt.open(value),
        lambda: pt.open(tmp_path / value) if "\0" not in value else pt.open(value),
        lambda: pt.create_table(f"{tmp_path}/{value}", {"a": [1]}),
        lambda: pt.ls(value),
        lambda: pt.open("s3://b/t", storage_options={"region": value, "colour": "red"}),
        lambda: table.read(columns=[value]),
        lambda: table.read(where=pt.col(value) == 1),
        lambda: table.read(where=f"`{value}` == 1"),
    ):
        with pytest.raises(pt.PartitaError) as raised:
            use()
        assert raised.value.kind in ("InvalidArgument", "InvalidPredicate", "NotFound")
        assert len(str(raised.value)) < 20_000


def test_a_condition_of_many_terms(memory: str) -> None:
    table = pt.create_table(f"{memory}/t", {"a": list(range(100))}, index=["a"])
    condition = pt.col("a") == 0
    for value in range(1, 20_000):
        condition = condition | (pt.col("a") == value)
    assert table.count(condition) == 100
    assert len(table.read(where=condition)) == 100
    # An expression is unchanged after it was combined with others.
    first = pt.col("a") == 1
    two, three = first | (pt.col("a") == 2), first | (pt.col("a") == 3)
    both = two | (pt.col("a") == 4)
    other = two | (pt.col("a") == 5)
    counts = [table.count(one) for one in (first, two, three, both, other, two & three)]
    assert counts == [1, 2, 2, 3, 3, 1]
    assert table.count(other & (pt.col("a") == 4)) == 0


@contextmanager
def answering(answer: Callable[[socket.socket], None]) -> Iterator[dict[str, str]]:
    """A server that handles every connection with a function; returns the options for it."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                threading.Thread(target=handle, args=(connection,), daemon=True).start()

        def handle(connection: socket.socket) -> None:
            with connection:
                try:
                    connection.recv(65536)
                    answer(connection)
                except OSError:
                    pass

        threading.Thread(target=serve, daemon=True).start()
        port = server.getsockname()[1]
        yield {
            "endpoint_url": f"http://127.0.0.1:{port}",
            "access_key_id": "a",
            "secret_access_key": "b",
            "region": "us-east-1",
            "max_retries": "0",
            "retry_timeout": "2s",
        }
        server.shutdown(socket.SHUT_RDWR)


def says(status: str, body: bytes = b"", *headers: str) -> Callable[[socket.socket], None]:
    lines = [f"HTTP/1.1 {status}", f"content-length: {len(body)}", "connection: close", *headers]
    return lambda connection: connection.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + body)


def test_why_a_store_gives_no_answer() -> None:
    page = b"<html><body>Log in</body></html>"
    for answer, words in (
        (says("301 Moved"), "redirected"),
        (says("403 Forbidden"), "permissions"),
        (says("401 Unauthorized"), "credentials"),
        (says("500 Internal Server Error"), "busy or out of order"),
        (says("404 Not Found", b"<Error><Code>NoSuchBucket</Code></Error>"), "bucket"),
    ):
        with answering(answer) as options, pytest.raises(pt.StoreError, match=words):
            pt.open_table("s3://b/t", storage_options=options)
    with answering(says("200 OK", page, "content-type: text/html")) as options:
        with pytest.raises(pt.PartitaError, match="is not a listing"):
            pt.ls("s3://b", storage_options=options)
    with answering(says("200 OK")) as options:
        refused = dict(options)
    with pytest.raises(pt.StoreError, match="refused"):
        pt.open_table("s3://b/t", storage_options=refused)
    with answering(lambda connection: time.sleep(5)) as options:
        with pytest.raises(pt.StoreError, match="timed out"):
            pt.open_table("s3://b/t", storage_options=options | {"timeout": "500ms"})


def test_an_answer_is_not_believed_to_be_as_long_as_it_says() -> None:
    head = [
        "HTTP/1.1 200 OK",
        'etag: "x"',
        "last-modified: Sun, 01 Jan 2023 00:00:00 GMT",
        f"content-length: {1 << 40}",
    ]
    sent = "\r\n".join(head).encode() + b"\r\n\r\n{"
    with answering(lambda connection: connection.sendall(sent)) as options:
        for use in (pt.open_table, pt.open_collection):
            with pytest.raises(pt.PartitaError) as raised:
                use("s3://b/t", storage_options=options)
            assert raised.value.kind in ("Corrupt", "Store")


@pytest.mark.parametrize("how", ["python", "command"])
def test_ctrl_c_ends_a_read_of_a_store_that_is_silent(how: str) -> None:
    asked = threading.Event()

    def silent(connection: socket.socket) -> None:
        asked.set()
        connection.recv(1)

    with answering(silent) as options:
        if how == "python":
            code = f"import partita as pt; pt.open_table('s3://b/t', storage_options={options!r})"
            program = [sys.executable, "-c", code]
        else:
            given = [part for item in options.items() for part in ("-O", "=".join(item))]
            program = [str(COMMAND), "read", "s3://b/t", *given]
        running = subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert asked.wait(60)
        running.send_signal(signal.SIGINT)
        running.communicate(timeout=30)
        # If nothing catches the signal, Python terminates itself with it, as it does everywhere.
        assert running.returncode in (130, -signal.SIGINT)


def test_the_command_names_a_damaged_file(tmp_path: Path) -> None:
    for name, content in (
        ("a.parquet", b"PAR1" + bytes(20) + b"PAR1"),
        ("b.parquet", b"PAR1"),
        ("c.csv", b'a,b\n1,"\xff\xfe'),
        ("d.ndjson", b"[" * 200_000),
        ("e.nc", b"CDF\x01" + bytes(3)),
    ):
        file = tmp_path / name
        file.write_bytes(content)
        verb = ["import", str(tmp_path / "c"), str(file), "--partition-by", "month"]
        if not name.endswith(".nc"):
            verb = ["append", str(tmp_path / "t"), str(file), "--create"]
        ran = subprocess.run([str(COMMAND), *verb], capture_output=True, text=True, timeout=120)
        assert ran.returncode == 1, (name, ran)
        assert name in ran.stderr, (name, ran.stderr)
        for word in ("panicked", "Traceback", "unexpectedly"):
            assert word not in ran.stderr, (name, ran.stderr)


def test_a_deep_schema_is_an_error(tmp_path: Path) -> None:
    depth = 1000
    group = b"\x35\x02\x18\x01g\x15\x02\x00"
    count = depth + 2
    length = bytes([count & 127 | 128, count >> 7])
    root, leaf = b"\x48\x06schema\x15\x02\x00", b"\x15\x02\x25\x02\x18\x01x\x00"
    footer = b"\x15\x02\x19\xfc" + length + root + group * depth + leaf
    footer += b"\x16\x00\x19\x0c\x00"
    evil = b"PAR1" + footer + len(footer).to_bytes(4, "little") + b"PAR1"
    (tmp_path / "evil.parquet").write_bytes(evil)
    made = [str(COMMAND), "append", str(tmp_path / "n"), str(tmp_path / "evil.parquet"), "--create"]
    ran = subprocess.run(made, capture_output=True, text=True, timeout=60)
    assert ran.returncode == 1 and "nested" in ran.stderr, ran
    pt.create_table(tmp_path / "t", {"a": [1, 2]}, index=["a"])
    for pattern in ("t/table/*.parquet", "t/indices/a/*.parquet"):
        file = next(tmp_path.glob(pattern))
        whole = file.read_bytes()
        file.write_bytes(evil)
        with pytest.raises(pt.Corrupt, match="not what was committed"):
            pt.open_table(tmp_path / "t").read(where="a == 1")
        unchecked = pt.open_table(tmp_path / "t", storage_options={"checksums": "false"})
        with pytest.raises(pt.Corrupt, match="nested"):
            unchecked.read(where="a == 1")
        file.write_bytes(whole)
