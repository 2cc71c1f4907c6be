"""Tables and collections in asyncio: results, threads, cancellation."""

from __future__ import annotations

import asyncio
import inspect
import os
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import partita as pt
from scripted_s3 import Request, ScriptedS3, scripted_s3

ROWS = {"city": ["Oslo", "Oslo", "Rome"], "fare": [12.5, 30.0, 9.0]}
TABLE = "s3://test/lake/t"


@pytest.fixture
def url(memory) -> str:
    return pt.create_table(f"{memory}/t", ROWS, partition_by="city").url


@pytest.fixture
def s3():
    with scripted_s3() as server:
        yield server


class TestTables:
    def test_reads(self, url):
        async def main() -> None:
            table = await pt.aio.open_table(url)
            blocking = table.blocking
            pd.testing.assert_frame_equal(await table.read(), blocking.read())
            some = {"columns": ["fare"], "where": {"city": "Oslo"}}
            pd.testing.assert_frame_equal(await table.read(**some), blocking.read(**some))
            scan = table.scan(where="fare > 10")
            assert (await scan.to_arrow()).equals(blocking.scan(where="fare > 10").to_arrow())
            assert (await scan.to_polars()).height == await scan.count() == 2
            assert (await scan.to_pandas())["fare"].tolist() == [12.5, 30.0]
            assert len(await table.scan([]).to_pandas()) == 3
            assert (await scan.explain()).details["files_read"] == 1
            batches = [batch async for batch in table.scan(batch_rows=1).to_batches()]
            assert pa.Table.from_batches(batches).equals(blocking.to_arrow())

        asyncio.run(main())

    def test_changes(self, url):
        async def main() -> None:
            table = await pt.aio.open_table(url)
            other = await pt.aio.open_table(url)
            made = await table.append({"city": ["Lima"], "fare": [4.0]}, key="lima")
            assert (made.rows_added, table.version) == (1, 2)
            assert (await table.committed("lima")).commit == made.id
            assert await table.committed("oslo") is None
            await table.replace({"city": ["Rome"], "fare": [10.0]}, where={"city": "Rome"})
            await table.upsert({"city": ["Lima"], "fare": [5.0]}, on="city")
            await table.delete("fare == 30")
            staged = [await table.stage({"city": ["Oslo"], "fare": [n]}) for n in (1.0, 2.0)]
            await table.commit(staged, where="fare == 12.5")
            assert (await other.count(), await (await other.refresh()).count()) == (3, 4)
            rows = await other.read()
            assert sorted(rows["fare"]) == [1.0, 2.0, 5.0, 10.0]
            old = await table.at(1)
            assert (await old.count(), old.version) == (3, 1)
            at = await pt.aio.open_table(url, at=2)
            assert await at.count() == 4

        asyncio.run(main())

    def test_data_from_an_iterator(self, url):
        async def main() -> int:
            table = await pt.aio.open_table(url)
            pieces = ({"city": ["Oslo"], "fare": [float(n)]} for n in range(5))
            return (await table.append(pieces)).rows_added

        assert asyncio.run(main()) == 5

    def test_errors_are_those_of_the_methods_that_block(self, url):
        async def main() -> None:
            table = await pt.aio.open_table(url)
            with pytest.raises(pt.NotFound, match="fair"):
                table.scan(["fair"])
            with pytest.raises(pt.SchemaMismatch):
                await table.append({"city": ["Oslo"]})
            with pytest.raises(pt.NotFound):
                await pt.aio.open_table(f"{url}-of-nobody")
            with pytest.raises(pt.InvalidArgument, match="not both"):
                await table.commit([], where="fare > 1", on="city")

            def rows():
                yield {"city": ["Oslo"], "fare": [1.0]}
                raise KeyError("mine")

            with pytest.raises(KeyError, match="mine"):
                await table.append(rows())

        asyncio.run(main())

    def test_progress_is_told_in_the_loop(self, url):
        told: list[tuple[int, str]] = []

        async def main() -> None:
            table = await pt.aio.open_table(url)

            def tell(done: int, total: int | None) -> None:
                told.append((done, threading.current_thread().name))

            await table.append({"city": ["Oslo"] * 10, "fare": [1.0] * 10}, progress=tell)

            def fail(done: int, total: int | None) -> None:
                raise ValueError("enough")

            with pytest.raises(ValueError, match="enough"):
                await table.append({"city": ["Oslo"] * 10, "fare": [1.0] * 10}, progress=fail)

        asyncio.run(main())
        assert {name for _, name in told} == {threading.main_thread().name}

    @pytest.mark.parametrize(
        "name",
        ["read", "append", "replace", "delete", "upsert", "stage", "commit", "committed", "count"],
    )
    def test_signatures_are_those_of_the_methods_that_block(self, name):
        awaited, blocking = getattr(pt.aio.AsyncTable, name), getattr(pt.Table, name)
        assert inspect.iscoroutinefunction(awaited)
        assert list(inspect.signature(awaited).parameters) == list(
            inspect.signature(blocking).parameters
        )
        assert f"Table.{name}" in awaited.__doc__


class TestCollections:
    @pytest.fixture
    def url(self, memory) -> str:
        data = {"cycle": ("n", [1, 1, 2]), "v": ("n", [1.0, 2.0, 5.0])}
        by = pt.Sequence(["cycle"])
        return pt.create_collection(f"{memory}/c", data, axis="cycle", partition_by=by).url

    def test_reads_and_changes(self, url):
        def rows(cycle: int, value: float) -> dict[str, Any]:
            return {"cycle": ("n", [cycle]), "v": ("n", [value])}

        async def main() -> None:
            collection = await pt.aio.open_collection(url)
            assert collection.variables == ["cycle", "v"]
            assert (await collection.read("cycle == 1")).v.values.tolist() == [1.0, 2.0]
            made = await collection.insert(rows(3, 7.0))
            assert [partition.path for partition in made] == ["cycle=3"]
            staged = [await collection.stage(rows(4, 8.0)), await collection.stage(rows(5, 9.0))]
            assert isinstance(await collection.commit(staged), int)
            await collection.update(lambda part: {"v": part.v * 2}, "cycle == 3")
            gone = await collection.drop_partitions("cycle == 5")
            assert [partition.path for partition in gone] == ["cycle=5"]
            await collection.refresh()
            assert (await collection.read()).v.values.tolist() == [1.0, 2.0, 5.0, 14.0, 8.0]

        asyncio.run(main())

    def test_functions_of_the_caller(self, url):
        def merge(old: Any, new: Any) -> Any:
            raise KeyError("mine")

        async def main() -> None:
            collection = await pt.aio.open_collection(url)
            data = {"cycle": ("n", [1]), "v": ("n", [3.0])}
            with pytest.raises(KeyError, match="mine"):
                await collection.insert(data, merge=merge)
            assert (await collection.read()).v.values.tolist() == [1.0, 2.0, 5.0]

        asyncio.run(main())

    def test_what_dask_computes_is_refused(self, url):
        async def main() -> None:
            collection = await pt.aio.open_collection(url)
            with pytest.raises(pt.InvalidArgument, match="asyncio cannot wait"):
                await collection.read(chunks="auto")
            lazy = collection.blocking.read(chunks={})
            with pytest.raises(pt.InvalidArgument, match="asyncio cannot wait"):
                await collection.insert(lazy)

        pytest.importorskip("dask.array")
        asyncio.run(main())


def threads() -> int:
    return len(os.listdir("/proc/self/task"))


def test_no_thread_for_each_call(url):
    async def main() -> tuple[int, int]:
        table = await pt.aio.open_table(url)
        await asyncio.gather(*(table.count("fare > 10") for _ in range(20)))
        before = threads()
        counts = await asyncio.gather(*(table.read(where="fare > 10") for _ in range(500)))
        assert {len(frame) for frame in counts} == {2}
        return before, threads()

    before, after = asyncio.run(main())
    # The engine decodes in a pool of threads, and Python and numpy start some of their own.
    assert after < before + 250


class Holding:
    """Holds the first request that is meant until it is released, and answers it then."""

    def __init__(self, meant: Callable[[Request], bool], answer: int | None = None) -> None:
        self._meant, self._answer = meant, answer
        self._release = threading.Event()
        self.met = threading.Event()
        self.later: list[Request] = []

    def __call__(self, request: Request) -> int | None:
        if request.client != "slow":
            return None
        if self.met.is_set():
            if not request.done:
                self.later.append(request)
            return None
        if self._meant(request):
            self.met.set()
            self._release.wait(60)
            return self._answer
        return None

    def release(self) -> None:
        self._release.set()

    async def reached(self) -> None:
        while not self.met.is_set():
            await asyncio.sleep(0.01)


def is_header(request: Request) -> bool:
    return request.operation == "SWAP" and request.key.endswith(".by-dataset-metadata.json")


async def slow_table(s3: ScriptedS3) -> pt.aio.AsyncTable:
    return await pt.aio.open_table(TABLE, storage_options=s3.options("slow"))


class TestCancellation:
    @pytest.fixture(autouse=True)
    def table(self, s3) -> pt.Table:
        return pt.create_table(
            TABLE,
            ({"n": [n], "v": [n]} for n in range(40)),
            partition_by="n",
            storage_options=s3.options(),
        )

    def test_the_loop_goes_on_meanwhile(self, s3):
        async def main() -> None:
            script = s3.script = Holding(lambda request: request.operation == "GET")
            task = asyncio.create_task(slow_table(s3))
            # This would never come to an end if the task blocked the loop.
            await script.reached()
            script.release()
            assert await (await task).count() == 40

        asyncio.run(main())

    def test_of_a_read_stops_its_requests(self, s3):
        async def main() -> None:
            table = await slow_table(s3)
            script = s3.script = Holding(lambda request: "/table/" in request.key)
            task = asyncio.create_task(table.read())
            await script.reached()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            known = len(script.later)
            script.release()
            assert await table.count() == 40
            # Requests that were on their way arrive; no others are made.
            await asyncio.sleep(0.2)
            data = [request for request in script.later[known:] if "/table/" in request.key]
            assert data == []

        asyncio.run(main())

    def test_of_a_batch_ends_the_scan(self, s3):
        async def main() -> None:
            table = await slow_table(s3)
            script = s3.script = Holding(lambda request: "/table/" in request.key)

            async def first() -> Any:
                async for batch in table.scan(where="n == 0").to_batches():
                    return batch

            task = asyncio.create_task(first())
            await script.reached()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            script.release()

        asyncio.run(main())

    def test_before_the_commit_nothing_is_committed(self, s3, table):
        async def main() -> None:
            slow = await slow_table(s3)
            script = s3.script = Holding(
                lambda request: request.operation == "PUT" and "/table/" in request.key
            )
            task = asyncio.create_task(slow.append({"n": [99], "v": [99]}, key="mine"))
            await script.reached()
            task.cancel()
            with pytest.raises(asyncio.CancelledError) as caught:
                await task
            script.release()
            assert not hasattr(caught.value, "committed")
            assert await slow.committed("mine") is None
            assert not [one for one in script.later if is_header(one)]
            # With the same key it is made once.
            await slow.append({"n": [99], "v": [99]}, key="mine")
            assert (await slow.append({"n": [99], "v": [99]}, key="mine")).version == slow.version

        asyncio.run(main())
        assert table.refresh().count() == 41

    @pytest.mark.parametrize("made", [True, False])
    def test_while_the_commit_is_under_way_its_outcome_is_not_known(self, s3, table, made):
        async def main() -> None:
            slow = await slow_table(s3)
            # The answer is withheld after the request was carried out, or it is refused at last.
            script = s3.script = Holding(
                lambda request: is_header(request) and request.done == made, None if made else 403
            )
            task = asyncio.create_task(slow.append({"n": [99], "v": [99]}))
            await script.reached()
            task.cancel()
            with pytest.raises(pt.CommitUnknown) as caught:
                await task
            assert isinstance(caught.value.__cause__, asyncio.CancelledError)
            script.release()
            found = await slow.committed(caught.value.context["commit"])
            assert (found is not None) == made

        asyncio.run(main())
        assert table.refresh().count() == 40 + made

    def test_a_timeout_does_not_hide_it(self, s3):
        if not hasattr(asyncio, "timeout"):
            return

        async def main() -> None:
            slow = await slow_table(s3)
            script = s3.script = Holding(lambda request: is_header(request) and request.done)
            with pytest.raises(pt.CommitUnknown):
                async with asyncio.timeout(None) as limit:

                    async def expire() -> None:
                        await script.reached()
                        limit.reschedule(asyncio.get_running_loop().time())

                    expiring = asyncio.create_task(expire())
                    await slow.append({"n": [99], "v": [99]})
            await expiring
            script.release()

        asyncio.run(main())

    def test_after_the_commit_the_exception_names_it(self, s3, table):
        async def main() -> None:
            slow = await slow_table(s3)

            committed: list[str] = []

            def script(request: Request) -> int | None:
                if request.client == "slow" and is_header(request) and request.done:
                    committed.append(request.key)
                return None

            s3.script = script
            task = asyncio.create_task(slow.append({"n": [99], "v": [99]}))
            while not committed:
                await asyncio.sleep(0.01)
            task.cancel()
            try:
                made = (await task).id
            except asyncio.CancelledError as error:
                made = error.committed[0]
            except pt.CommitUnknown as error:
                made = error.context["commit"]
            assert (await slow.committed(made)).version == 2

        asyncio.run(main())
        assert table.refresh().count() == 41

    def test_a_loop_that_is_closed_takes_no_result(self, s3):
        script = s3.script = Holding(lambda request: request.operation == "GET")
        loop = asyncio.new_event_loop()
        task = loop.create_task(slow_table(s3))
        while not script.met.is_set():
            loop.run_until_complete(asyncio.sleep(0.01))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            loop.run_until_complete(task)
        loop.close()
        script.release()
        assert pt.open_table(TABLE, storage_options=s3.options()).count() == 40


def test_of_an_insert_makes_no_commit(s3):
    data = {"cycle": ("n", np.array([1, 2])), "v": ("n", [1.0, 2.0])}
    url = "s3://test/lake/c"
    by = pt.Sequence(["cycle"])
    pt.create_collection(
        url, data, axis="cycle", partition_by=by, zarr_format=3, storage_options=s3.options()
    )

    async def main() -> None:
        slow = await pt.aio.open_collection(url, storage_options=s3.options("slow"))
        script = s3.script = Holding(
            lambda request: request.operation == "PUT" and "/stage/" in request.key
        )
        more = {"cycle": ("n", np.array([3])), "v": ("n", [3.0])}
        task = asyncio.create_task(slow.insert(more))
        await script.reached()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        script.release()
        assert (await slow.read()).v.values.tolist() == [1.0, 2.0]

    asyncio.run(main())
