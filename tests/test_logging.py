"""What `logging` and `pt.metrics` tell of requests and operations."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Iterator

import pytest

import partita as pt
from scripted_s3 import Request, ScriptedS3, scripted_s3

OPERATIONS = {"GET": "get", "HEAD": "head", "LIST": "list", "PUT": "put", "SWAP": "put"}


@pytest.fixture
def s3() -> Iterator[ScriptedS3]:
    with scripted_s3() as server:
        yield server


def options(s3: ScriptedS3) -> dict[str, str]:
    return {**s3.options(), "retry_backoff": "10ms"}


def made(s3: ScriptedS3) -> pt.Table:
    rows = {"a": list(range(1000))}
    return pt.create_table("s3://test/lake/t", rows, storage_options=options(s3))


def requests(caplog: pytest.LogCaptureFixture) -> list[dict[str, object]]:
    return [r.partita for r in caplog.records if r.name == "partita.requests"]


def test_each_request_of_the_server_is_counted_and_told(s3, caplog):
    asked = Counter()

    def count(request: Request) -> None:
        if not request.done and request.operation in OPERATIONS:
            asked[OPERATIONS[request.operation]] += 1

    s3.script = count
    pt.metrics(reset=True)
    with caplog.at_level(logging.DEBUG, "partita"):
        table = made(s3)
        table.append({"a": [7]})
        assert len(table.read()) == 1001
    metrics = pt.metrics()
    assert asked and asked == {name: metrics.by_operation[name].requests for name in asked}
    told = requests(caplog)
    assert Counter(request["operation"] for request in told) == {
        name: of.requests for name, of in metrics.by_operation.items() if of.requests
    }
    assert sum(request["sent"] for request in told) == metrics.bytes_sent > 0
    assert sum(request["received"] for request in told) == metrics.bytes_received > 0
    assert {request["host"] for request in told} == {"127.0.0.1"}
    assert all(request["milliseconds"] >= 0 for request in told)
    assert any(request["key"].startswith("test/lake/t/") for request in told)
    for secret in ("secret", "Signature", "X-Amz"):
        assert secret not in caplog.text


def test_bytes_are_those_that_the_server_has_sent(s3):
    table = made(s3)
    table = pt.open_table(table.url, storage_options=options(s3))
    s3.served.clear()
    pt.metrics(reset=True)
    table.read()
    read = pt.metrics().by_operation["get"]
    assert (read.requests, read.bytes_received) == (
        len(s3.served),
        sum(size for _, size in s3.served),
    )


def test_a_request_that_is_repeated_is_told_each_time(s3, caplog):
    made(s3)
    first: list[str] = []
    refusals = [503, 429]

    def refuse(request: Request) -> int | None:
        first.append(request.key)
        return refusals.pop() if refusals and request.key == first[0] else None

    s3.script = refuse
    pt.metrics(reset=True)
    with caplog.at_level(logging.DEBUG, "partita.requests"):
        pt.open_table("s3://test/lake/t", storage_options=options(s3))
    assert pt.metrics().retries == 2
    told = [r["status"] for r in requests(caplog) if r["key"] == f"test/{first[0]}"]
    assert told[:2] == [429, 503] and len(told) == 3


def test_operations_are_told_with_their_dataset(s3, caplog):
    with caplog.at_level(logging.DEBUG, "partita"):
        made(s3).append({"a": [1]})
    texts = [r.getMessage() for r in caplog.records if r.name == "partita"]
    told = [text for text in texts if text.startswith("append (dataset: s3://test/lake/t, ")]
    assert len(told) == 1 and "milliseconds: " in told[0]


def test_nothing_is_told_unless_it_is_asked_for(s3, caplog, monkeypatch):
    with caplog.at_level(logging.INFO, "partita"):
        table = made(s3)
    assert caplog.records == []
    monkeypatch.setattr(logging.getLogger("partita.requests"), "level", logging.INFO)
    with caplog.at_level(logging.DEBUG, "partita"):
        table.read()
    assert caplog.records and not requests(caplog)


def test_operations_of_asyncio_are_told(s3, caplog):
    made(s3)

    async def read() -> None:
        table = await pt.aio.open_table("s3://test/lake/t", storage_options=options(s3))
        await table.read()

    with caplog.at_level(logging.DEBUG, "partita"):
        asyncio.run(read())
    assert requests(caplog)


def test_memory_and_files_are_used_without_requests(memory, tmp_path):
    pt.metrics(reset=True)
    for url in (f"{memory}/t", tmp_path / "t"):
        pt.create_table(url, {"a": [1]}).read()
    assert pt.metrics() == pt.Metrics(
        by_operation={name: pt.Metrics() for name in pt.metrics().by_operation}
    )
