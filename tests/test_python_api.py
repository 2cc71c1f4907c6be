"""The public behaviour of the Python package."""

from __future__ import annotations

import datetime as dt
import decimal
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import threading

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset
import pytest

import partita as pt


class TestReading:
    def test_reads_back_what_was_stored(self, trips, trips_frame):
        back = trips.read().sort_values("at", ignore_index=True)
        pd.testing.assert_frame_equal(back[trips_frame.columns.tolist()], trips_frame)

    def test_rows_are_numbered_from_zero_whatever_the_index_was(self, memory):
        frame = pd.DataFrame({"a": [1, 2]}, index=pd.Index([7, 9], name="k"))
        table = pt.create_table(f"{memory}/t", frame)
        assert table.columns == ["a"]
        assert table.read().index.tolist() == [0, 1]

    def test_a_range_index_of_the_writer_is_forgotten(self, memory):
        frame = pd.DataFrame({"a": range(10)}).iloc[5:8]
        assert pt.create_table(f"{memory}/t", frame).read().index.tolist() == [0, 1, 2]

    def test_columns_come_in_the_order_asked_for(self, trips):
        assert trips.read(columns=["fare", "city"]).columns.tolist() == ["fare", "city"]

    def test_no_columns_still_count_rows(self, trips):
        assert len(trips.scan(columns=[]).to_arrow()) == 6

    def test_limit(self, trips):
        assert len(trips.read(limit=4)) == 4
        assert len(trips.read(limit=0)) == 0

    def test_all_outputs_agree(self, trips):
        scan = trips.scan(columns=["city", "fare"], where="fare > 8")
        expected = scan.to_arrow().to_pydict()
        assert scan.to_pandas().to_dict("list") == expected
        assert scan.to_polars().to_dict(as_series=False) == expected
        batches = list(scan.to_batches())
        assert pa.Table.from_batches(batches, scan.schema).to_pydict() == expected
        assert pa.table(scan).to_pydict() == expected
        assert pa.RecordBatchReader.from_stream(scan).read_all().to_pydict() == expected
        assert pl.DataFrame(scan).to_dict(as_series=False) == expected
        assert scan.count() == len(expected["fare"]) == 4

    def test_a_scan_keeps_its_version(self, trips):
        scan = trips.scan()
        trips.append(trips.scan())
        assert (scan.count(), trips.count()) == (6, 12)

    def test_batches_may_be_left_unread(self, memory):
        table = pt.create_table(f"{memory}/t", {"a": list(range(1000))})
        batches = table.scan(batch_rows=10).to_batches()
        assert next(batches).num_rows == 10
        batches.close()
        assert table.count() == 1000

    def test_batch_rows_bounds_batches(self, memory):
        table = pt.create_table(f"{memory}/t", {"a": list(range(1000))})
        assert max(b.num_rows for b in table.scan(batch_rows=64).to_batches()) == 64

    def test_pandas_types_come_back(self, memory):
        frame = pd.DataFrame(
            {
                "i": pd.array([1, None], dtype="Int64"),
                "b": pd.array([True, None], dtype="boolean"),
                "s": pd.array(["x", None], dtype="string"),
                "o": ["y", None],
                "f": [0.5, np.nan],
            }
        )
        back = pt.create_table(f"{memory}/t", frame).read()
        pd.testing.assert_frame_equal(back[frame.columns.tolist()], frame)

    def test_explain_tells_what_is_left_out(self, trips):
        plan = trips.scan(where={"city": "Oslo"}).explain()
        assert plan.details["files_read"] == 1
        assert plan.details["pruned_by_partition"] == 2
        assert "Oslo" in str(plan)

    def test_the_table_itself_is_a_stream(self, trips):
        assert pa.table(trips).num_rows == 6


class TestWhere:
    @pytest.mark.parametrize(
        "where",
        [
            (pt.col("city") == "Rome") & (pt.col("fare") > 5),
            "city == 'Rome' and fare > 5",
            [[("city", "==", "Rome"), ("fare", ">", 5)]],
            [("city", "==", "Rome"), ("fare", ">", 5)],
            pt.col("city").isin(["Rome"]) & ~(pt.col("fare") <= 5),
            pt.Expr.parse("city == 'Rome'") & (pt.col("fare") > decimal.Decimal("5.0")),
        ],
        ids=["expr", "text", "dnf", "conjunction", "isin", "mixed"],
    )
    def test_each_form_means_the_same(self, trips, fares, where):
        assert fares(trips.read(where=where)) == [7.5, 9.0]

    def test_dictionaries_are_equalities(self, trips, fares):
        assert fares(trips.read(where={"city": "Oslo"})) == [12.5, 30.0]
        assert fares(trips.read(where={"city": ["Oslo", "São Paulo"]})) == [12.5, 20.0, 30.0]
        assert fares(trips.read(where={"city": "Rome", "rider": 3})) == [7.5]
        assert fares(trips.read(where={"rider": None})) == [4.0]

    def test_missing_values(self, trips, fares):
        assert fares(trips.read(where=pt.col("rider").is_null())) == [4.0]
        assert trips.count(where=pt.col("rider").is_not_null()) == 5
        assert trips.count(where=pt.col("rider") == None) == 1  # noqa: E711
        assert trips.count(where=pt.col("rider") != pd.NA) == 5
        # As in SQL, an unknown rider is not known to differ from rider 1.
        assert trips.count(where=pt.col("rider") != 1) == 3

    @pytest.mark.parametrize(
        "day",
        [
            dt.datetime(2024, 1, 3),
            dt.date(2024, 1, 3),
            pd.Timestamp("2024-01-03"),
            np.datetime64("2024-01-03"),
            np.datetime64("2024-01-03T00:00:00.000000000"),
            "2024-01-03",
        ],
        ids=lambda day: type(day).__name__,
    )
    def test_dates_of_any_class(self, trips, day):
        assert trips.count(where=pt.col("at") < day) == 2
        assert trips.count(where=pt.col("at") == day) == 1

    @pytest.mark.parametrize("one", [np.int8(1), np.uint64(1), np.float32(1), 1.0, True + 0])
    def test_numbers_of_any_class(self, trips, one):
        assert trips.count(where=pt.col("rider") == one) == 2

    def test_arrays_as_lists_of_values(self, trips):
        for values in (np.array([1, 3]), pd.Series([1, 3]), {1, 3}, range(1, 4, 2), iter([1, 3])):
            assert trips.count(where=pt.col("rider").isin(values)) == 3

    def test_many_values(self, trips):
        wanted = pt.col("fare").isin([x / 2 for x in range(20_000)])
        assert trips.count(where=wanted) == 6

    def test_expressions_show_and_pickle_as_text(self):
        expr = (pt.col("a") > 1) | ~pt.col("b").isin(["x", "it's"])
        assert pt.Expr.parse(str(expr)).equals(expr)
        assert pickle.loads(pickle.dumps(expr)).equals(expr)
        assert expr.columns == ["a", "b"]


class TestData:
    COLUMNS = {"a": [1, 2, 3], "s": ["x", "y", None]}

    def forms(self):
        table = pa.table(self.COLUMNS)
        yield "dict", self.COLUMNS
        yield "pandas", pd.DataFrame({"a": [1, 2, 3], "s": ["x", "y", None]})
        yield "polars", pl.DataFrame(self.COLUMNS)
        yield "lazy polars", pl.DataFrame(self.COLUMNS).lazy()
        yield "table", table
        yield "batch", table.to_batches()[0]
        yield "reader", table.to_reader()
        yield "dataset", pyarrow.dataset.dataset(table)
        yield "numpy", {"a": np.array([1, 2, 3]), "s": pl.Series(["x", "y", None])}
        yield "iterator", (table.slice(i, 1) for i in range(3))
        yield "mixed list", [table.slice(0, 2), pd.DataFrame({"a": [3], "s": [None]})]

    def test_each_form_stores_the_same(self, memory):
        for number, (form, data) in enumerate(self.forms()):
            table = pt.create_table(f"{memory}/c{number}", data)
            rows = sorted((row["a"], row["s"]) for row in table.to_arrow().to_pylist())
            assert rows == [(1, "x"), (2, "y"), (3, None)], form

    def test_each_form_appends(self, memory):
        table = pt.create_table(f"{memory}/t", self.COLUMNS)
        for number, (form, data) in enumerate(self.forms()):
            assert table.append(data).rows_added == 3, form
            assert table.count() == 3 * (number + 2), form

    def test_a_table_is_copied_by_its_own_scan(self, trips, memory):
        copy = pt.create_table(f"{memory}/copy", trips.scan(where="fare > 8"), partition_by="city")
        assert copy.count() == 4

    def test_a_source_may_read_the_table_it_is_appended_to(self, trips):
        assert trips.append(batch for batch in trips.scan().to_batches()).rows_added == 6

    def test_iterators_are_pulled_as_they_are_written(self, memory):
        alive = [0, 0]

        def pieces():
            for n in range(50):
                alive[0] += 1
                yield pa.table({"a": pa.array(range(n * 100, n * 100 + 100))})

        assert pt.create_table(f"{memory}/t", pieces()).count() == 5000
        assert alive[0] == 50

    def test_pieces_are_aligned_by_name(self, memory):
        pieces = [{"a": [1], "b": [1.5]}, {"b": [2], "a": [2]}]
        assert pt.create_table(f"{memory}/t", pieces).read()["b"].tolist() == [1.5, 2.0]

    @pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.int64()])
    def test_buffers_may_begin_anywhere(self, memory, kind):
        # Buffers of a frame from another process may be unaligned like these.
        def moved(buffer):
            space = np.zeros(buffer.size + 8, "u1")
            first = (4 - space.ctypes.data) % 8
            space[first : first + buffer.size] = np.frombuffer(buffer, "u1")
            return pa.py_buffer(space[first : first + buffer.size])

        array = pa.array(["1", "22", None]).cast(kind)
        buffers = [buffer and moved(buffer) for buffer in array.buffers()]
        plain = pa.Array.from_buffers(kind, 3, buffers)
        places = pa.array([0, 1, 2], pa.int8())
        rows = pa.table({"a": plain, "c": pa.DictionaryArray.from_arrays(places, plain)})
        table = pt.create_table(f"{memory}/t", rows)
        table.append(rows.to_batches()[0])
        assert table.scan().to_arrow()["a"].to_pylist() == array.to_pylist() * 2

    def test_a_schema_makes_an_empty_table(self, memory):
        schema = pa.schema({"city": pa.string(), "fare": pa.float64()})
        table = pt.create_table(f"{memory}/t", schema, partition_by="city")
        assert (table.count(), table.columns) == (0, ["city", "fare"])
        assert table.read().dtypes["fare"] == "float64"
        table.append({"city": ["Oslo"], "fare": [1.0]})
        assert table.count() == 1

    def test_an_empty_iterator_appends_nothing(self, trips):
        assert trips.append(iter([])).rows_added == 0


class TestChanging:
    def test_append_replace_delete(self, trips, trips_frame, fares):
        rome = trips_frame[trips_frame.city == "Rome"].assign(fare=1.0)
        done = trips.replace(rome, where={"city": "Rome"})
        assert (done.rows_added, done.files_removed) == (3, 1)
        assert fares(trips.read(where={"city": "Rome"})) == [1.0, 1.0, 1.0]
        trips.delete(where=pt.col("city") == "Rome")
        assert sorted(trips.read()["city"].unique()) == ["Oslo", "São Paulo"]
        trips.append(rome)
        assert trips.count() == 6

    def test_versions_and_history(self, trips, trips_frame):
        trips.append(trips_frame)
        trips.delete(where={"city": "Oslo"})
        history = trips.history()
        assert [s.operation for s in history] == ["delete", "append", "create"]
        assert [s.rows for s in history] == [8, 12, 6]
        assert history[0].version == trips.version
        age = dt.datetime.now(dt.timezone.utc) - history[0].time
        assert abs(age) < dt.timedelta(minutes=5)
        assert "append" in repr(history[1])

    def test_readers_move_when_they_ask_to(self, trips, trips_frame):
        other = pt.open_table(trips.url)
        trips.append(trips_frame)
        assert other.count() == 6
        assert other.refresh() is other
        assert other.count() == 12

    def test_partitions(self, trips):
        found = {p.key["city"]: p.rows for p in trips.partitions}
        assert found == {"Oslo": 2, "Rome": 3, "São Paulo": 1}
        assert all(p.bytes > 0 and p.files == 1 for p in trips.partitions)

    def test_metadata(self, memory):
        table = pt.create_table(f"{memory}/t", {"a": [1]}, metadata={"owner": "x", "n": [1, 2]})
        table.append({"a": [2]}, metadata={"n": {"k": None}})
        again = pt.open_table(table.url).metadata
        assert (again["owner"], again["n"]) == ("x", {"k": None})

    def test_compression_reaches_the_files(self, tmp_path):
        frame = pd.DataFrame({"a": np.zeros(50_000)})
        for name in ("none", "zstd", "zstd(9)", "snappy", "lz4", "gzip"):
            table = pt.create_table(
                tmp_path / "lake" / "t", frame, compression=name, overwrite=True
            )
            assert table.count() == 50_000

    def test_drop(self, local_trips, tmp_path):
        assert local_trips.drop() > 3
        assert pt.ls(tmp_path / "lake") == []
        assert [p for p in (tmp_path / "lake").rglob("*") if p.is_file()] == []

    def test_ls_and_open(self, memory, trips):
        pt.create_table(f"{memory}/other", {"a": [1]})
        assert [(d.name, d.kind) for d in pt.ls(memory)] == [("other", "table"), ("trips", "table")]
        assert pt.open(pt.ls(memory)[1].url).count() == 6
        assert pt.ls(f"{memory}/nothing/here") == []


class TestShowing:
    def test_repr_answers_the_first_questions(self, trips):
        text = repr(trips)
        for word in ("trips", trips.url, "city", "rider", "fare", "float64", "version"):
            assert word in text

    def test_html_is_escaped(self, memory):
        table = pt.create_table(f"{memory}/t", {"<b>": [1]})
        html = table._repr_html_()
        assert "&lt;b&gt;" in html and "<b>:" not in html

    def test_commit_partition_scan(self, trips, trips_frame):
        assert "+6 -0 rows" in repr(trips.append(trips_frame))
        assert "city=Oslo" in repr(trips.partitions[0])
        assert "fare" in repr(trips.scan(columns=["fare"], where="fare > 1", limit=3))


class TestProgress:
    def test_a_callable_hears_the_end(self, trips):
        heard = []
        trips.scan().to_arrow(progress=lambda done, total: heard.append((done, total)))
        assert heard and heard[-1] == (3, 3)

    def test_a_bar_writes_to_standard_error(self, trips, capsys):
        trips.read(progress=True)
        captured = capsys.readouterr()
        assert "100%" in captured.err and captured.out == ""

    def test_what_a_callable_raises_reaches_the_caller(self, trips):
        def broken(done, total):
            raise LookupError("mine")

        with pytest.raises(LookupError, match="mine"):
            trips.read(progress=broken)


class TestProcessesAndThreads:
    def test_pickled_tables_open_elsewhere(self, local_trips):
        again = pickle.loads(pickle.dumps(local_trips))
        assert again.count() == 6 and again.url == local_trips.url

    @pytest.mark.parametrize("method", ["fork", "spawn"])
    def test_multiprocessing(self, local_trips, method):
        # The runtime of this process is running by now; a forked child cannot use it.
        with multiprocessing.get_context(method).Pool(2) as pool:
            assert pool.map(_append_and_count, [local_trips] * 4, chunksize=1)
        assert local_trips.refresh().count() == 10

    def test_a_forked_child_uses_the_table_that_it_inherited(self, local_trips):
        assert local_trips.count() == 6
        child = os.fork()
        if child == 0:
            code = 1
            try:
                code = 0 if local_trips.read().shape[0] == 6 else 2
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0

    def test_threads_append_at_once(self, trips):
        row = {"city": ["Oslo"], "rider": [9], "fare": [1.0], "at": [dt.datetime(2025, 1, 1)]}
        errors = []

        def work():
            try:
                for _ in range(5):
                    trips.append(row)
            except Exception as error:
                errors.append(error)

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == []
        assert trips.count() == 26

    def test_python_runs_while_the_engine_works(self, memory):
        beats = []
        stop = threading.Event()

        def beat():
            while not stop.wait(0.001):
                beats.append(1)

        thread = threading.Thread(target=beat)
        thread.start()
        try:
            data = pa.table({"a": np.random.default_rng(0).random(2_000_000)})
            pt.create_table(f"{memory}/t", data, compression="zstd(9)")
        finally:
            stop.set()
            thread.join()
        assert len(beats) > 20

    def test_ctrl_c_interrupts_and_changes_nothing(self, tmp_path):
        script = textwrap.dedent(
            """
            import itertools, sys, time
            import partita as pt
            table = pt.create_table(sys.argv[1], {"a": [0]})
            def endless():
                for n in itertools.count():
                    if n == 3:
                        print("ready", flush=True)
                    time.sleep(0.01)
                    yield {"a": [n]}
            try:
                table.append(endless())
            except KeyboardInterrupt:
                print("interrupted", table.refresh().count(), flush=True)
            """
        )
        child = subprocess.Popen(
            [sys.executable, "-c", script, str(tmp_path / "t")], stdout=subprocess.PIPE, text=True
        )
        assert child.stdout.readline() == "ready\n"
        child.send_signal(signal.SIGINT)
        out, _ = child.communicate(timeout=30)
        assert out == "interrupted 1\n"
        assert child.returncode == 0


def _append_and_count(table: pt.Table) -> bool:
    row = {"city": ["Oslo"], "rider": [9], "fare": [1.0], "at": [dt.datetime(2025, 1, 1)]}
    table.append(row)
    return table.count() >= 7
