"""Pipes, sockets, directories and links in the place of files, and documents that are too large."""

from __future__ import annotations

import datetime as dt
import os
import re
import shutil
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import damaged_datasets
import partita as pt

# How large the sparse files are that take the place of documents.
SPARSE = 3 << 30


def pipe(file: Path) -> None:
    os.mkfifo(file)


def unix_socket(file: Path) -> None:
    os.mknod(file, stat.S_IFSOCK | 0o600)


def directory(file: Path) -> None:
    (file / "below").mkdir(parents=True)
    (file / "below" / "stray").write_text("stray")


REPLACEMENTS: dict[str, Callable[[Path], None]] = {
    "pipe": pipe,
    "socket": unix_socket,
    "directory": directory,
    "link to nothing": lambda file: file.symlink_to("/nowhere/at/all"),
    "link to itself": lambda file: file.symlink_to(file),
}
# What is put in the place of files in kinds of datasets that have much in common with others.
SOME = {
    "zarr3": ("pipe", "directory", "link to itself"),
    "icechunk": ("pipe", "directory"),
    "view": ("pipe", "directory"),
}


def kinds_of_files(root: Path) -> dict[str, Path]:
    """The last file of each kind. Names of one kind differ in numbers, ids and variables alone."""
    found = {}
    for file in sorted(path.relative_to(root) for path in root.rglob("*") if path.is_file()):
        kind = re.sub(r"/(cycle|height|name|time|twice)(?=/)", "/variable", str(file))
        kind = re.sub(r"=\w+|[0-9A-Z]{20}|[0-9a-f-]{8,}|[\d.:%T+AB-]*\d", "#", kind)
        # What is staged is looked at by manifest.
        kind = re.sub(r"(/stage/.*month#/)(?!\.manifest).*", r"\1object", kind)
        found[re.sub(r"#[-#/]*#", "#", kind)] = file
    # Those of the base of a view are those of any collection.
    return {kind: file for kind, file in found.items() if not kind.startswith("base/")}


def outcome(use: Callable[[], Any]) -> Any:
    """What a call returns, or the kind of its error, which is never the failure of a store."""
    try:
        return use()
    except pt.PartitaError as error:
        assert error.kind not in ("Internal", "Store"), error
        return error.kind


def rows(start: str, days: int) -> dict[str, Any]:
    time = np.arange(np.datetime64(start), np.datetime64(start) + days, np.timedelta64(12, "h"))
    cycle = np.arange(time.size, dtype="i4")
    return {"time": ("time", time.astype("M8[us]")), "cycle": ("time", cycle)}


def make(kind: str, root: Path) -> str:
    """A small dataset with every kind of file, and its URL."""
    if kind in ("json", "msgpack"):
        return damaged_datasets.make(kind, root)
    url = f"icechunk+{root / 'c'}" if kind == "icechunk" else str(root / "c")
    place = str(root / "base") if kind == "view" else url
    by, layout = pt.Date("time", "month"), 3 if kind in ("zarr3", "icechunk") else 2
    c = pt.create_collection(
        place,
        rows("2022-01-25", 10),
        axis="time",
        partition_by=by,
        zarr_format=layout,
        chunks={"time": 8},
    )
    if kind == "view":
        view = pt.create_view(url, c, [pt.Variable("twice", ("time",), "i4")])
        view.update(lambda part: {"twice": part.cycle * 2}, variables=["cycle"])
    else:
        c.set_statistics(["cycle"])
        c.build_index("cycle", "cycle.parquet")
        c.insert(rows("2022-02-01", 2), merge="upsert")
    return url


def healthy(tmp_path: Path, kind: str) -> tuple[Path, Path, str]:
    """A healthy dataset, the place where copies of it are used, and the URL there.

    The base of a view stays in that place, since the view refers to it by URL.
    """
    kept, case = tmp_path / "healthy", tmp_path / "case"
    kept.mkdir()
    url = make(kind, case if kind == "view" else kept)
    if kind == "view":
        shutil.copytree(case, kept, dirs_exist_ok=True)
    for scratch in kept.rglob(".partita/scratch"):
        shutil.rmtree(scratch, ignore_errors=True)
    # A table that cannot be read is dropped but for files that may be of a newer one, by their age.
    old = time.time() - 60
    for path in kept.rglob("*"):
        os.utime(path, (old, old))
    return kept, case, url.replace(str(kept), str(case))


@pytest.mark.parametrize("kind", damaged_datasets.KINDS)
def test_what_is_no_file_is_reported_for_its_key(tmp_path: Path, kind: str) -> None:
    kept, case, url = healthy(tmp_path, kind)
    for name, file in kinds_of_files(kept).items():
        for replacement in SOME.get(kind, REPLACEMENTS):
            shutil.rmtree(case, ignore_errors=True)
            shutil.copytree(kept, case)
            (case / file).unlink()
            REPLACEMENTS[replacement](case / file)
            opened = outcome(lambda: pt.open(url))
            read = outcome(lambda: pt.open(url).read())
            problems = outcome(lambda: pt.open(url).verify(data=True))
            if not isinstance(opened, str) and kind != "icechunk":
                assert not isinstance(problems, str), (name, replacement, problems)
                assert problems or not isinstance(read, str), (name, replacement, read)
                if replacement == "directory" and re.fullmatch(
                    "c/year#/month#/variable(/c)?/#", name
                ):
                    assert problems, name
            for use in (
                lambda: pt.open(url).verify(),
                lambda: pt.open(url).verify(data=True, repair=True),
                lambda: pt.open(url).collect_garbage(grace=dt.timedelta(0)),
            ):
                outcome(use)
            if kind in ("json", "msgpack") and isinstance(
                outcome(lambda: pt.open(url).drop()), int
            ):
                # What a repair wrote just before may be of a newer table, by its age.
                young = time.time() - 10
                left = [path for path in case.rglob("*") if not path.is_dir() or path.is_symlink()]
                left = [path for path in left if path.lstat().st_mtime < young]
                assert all(path.name == "stray" for path in left), (name, replacement, left)


@pytest.mark.parametrize("replacement", REPLACEMENTS)
@pytest.mark.parametrize("kind", ["zarr2", "zarr3"])
def test_a_lost_object_is_put_back(tmp_path: Path, kind: str, replacement: str) -> None:
    url = make(kind, tmp_path)
    whole = pt.open(url).read().cycle.values
    name = "cycle/0" if kind == "zarr2" else "cycle/c/0"
    chunk = tmp_path / "c/year=2022/month=02" / name
    chunk.unlink()
    REPLACEMENTS[replacement](chunk)
    problems = pt.open(url).verify(data=True)
    assert any("month=02" in problem.key for problem in problems)
    # Never is it taken for a chunk of fill values.
    if replacement in ("pipe", "socket"):
        with pytest.raises(pt.Corrupt, match="no regular file"):
            pt.open(url).read()
    else:
        np.testing.assert_array_equal(pt.open(url).read().cycle, whole)
    pt.open(url).verify(data=True, repair=True)
    assert pt.open(url).verify(data=True) == []
    np.testing.assert_array_equal(pt.open(url).read().cycle, whole)


@pytest.mark.parametrize("kind", ["json", "msgpack", "zarr2", "zarr3", "view"])
def test_documents_are_not_read_if_they_are_too_large(tmp_path: Path, kind: str) -> None:
    resource = pytest.importorskip("resource")
    kept, case, url = healthy(tmp_path, kind)
    words = ("json", "msgpack", "metadata", ".z", ".view", "manifest", "notes")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for name, file in kinds_of_files(kept).items():
        if "snapshots" in name or not any(word in name for word in words):
            continue
        shutil.rmtree(case, ignore_errors=True)
        shutil.copytree(kept, case)
        with (case / file).open("r+b") as opened:
            opened.truncate(SPARSE)
        for use in (
            lambda: pt.open(url).read(),
            lambda: pt.open(url).history(),
            lambda: pt.open(url).verify(data=True),
        ):
            outcome(use)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # In KiB: less than one of the files.
    assert after - before < 1 << 20
