"""Each operation works with the rights on S3 that ``docs/howto/s3.md`` lists, and no others."""

from __future__ import annotations

import datetime as dt
import itertools
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import partita as pt
from scripted_s3 import Request, ScriptedS3, scripted_s3

PAGE = Path(__file__).parents[1] / "docs" / "howto" / "s3.md"
RIGHTS = ["s3:GetObject", "s3:ListBucket", "s3:PutObject", "s3:DeleteObject"]
_NEEDED = {
    "GET": "s3:GetObject",
    "HEAD": "s3:GetObject",
    "LIST": "s3:ListBucket",
    "PUT": "s3:PutObject",
    "SWAP": "s3:PutObject",
    "COPY": "s3:PutObject",
    "DELETE": "s3:DeleteObject",
}


@dataclass
class Account:
    """A user of the server, with the rights that the user has."""

    server: ScriptedS3
    rights: set[str] = field(default_factory=lambda: set(RIGHTS))
    places: Iterator[int] = field(default_factory=itertools.count)

    def allows(self, request: Request) -> int | None:
        if request.done:
            return None
        if _NEEDED[request.operation] not in self.rights:
            return 403
        # S3 answers 403 instead of 404 to users without the right to list.
        is_hidden = "s3:ListBucket" not in self.rights and request.key not in self.server.objects
        return 403 if is_hidden and request.operation in ("GET", "HEAD") else None

    def place(self) -> str:
        return f"s3://test/{next(self.places)}"


@pytest.fixture(scope="module")
def account() -> Iterator[Account]:
    with scripted_s3() as server:
        made = Account(server)
        server.script = made.allows
        yield made


def rows(*cycles: int) -> dict[str, Any]:
    values = np.array(cycles)
    return {"cycle": ("n", values), "v": ("n", values * 1.0)}


def table(place: str, options: dict[str, str]) -> None:
    data = {"id": [1, 2], "c": ["a", "b"]}
    made = pt.create_table(
        f"{place}/t", data, partition_by="c", index="id", storage_options=options
    )
    made.append({"id": [3], "c": ["a"]})


def collection(prefix: str) -> Callable[[str, dict[str, str]], None]:
    def make(place: str, options: dict[str, str]) -> None:
        made = create(f"{prefix}{place}/c", options)
        made.insert(rows(3))

    return make


def create(url: str, options: dict[str, str]) -> pt.Collection:
    by = pt.Sequence(["cycle"])
    return pt.create_collection(
        url, rows(1, 2), axis="cycle", partition_by=by, storage_options=options
    )


MORE = {"id": [4], "c": ["a"]}
TABLE: dict[str, Callable[[pt.Table], Any]] = {
    "open_table": lambda t: t,
    "read": lambda t: t.read(),
    "scan": lambda t: t.scan(where="id == 2").explain(),
    "count": lambda t: t.count("id > 1"),
    "history": lambda t: t.history(),
    "at": lambda t: t.at(1).read(),
    "verify": lambda t: t.verify(data=True),
    "append": lambda t: t.append(MORE, key="once"),
    "replace": lambda t: t.replace(MORE, where={"c": "b"}),
    "delete": lambda t: t.delete("id == 1"),
    "upsert": lambda t: t.upsert(MORE, on="id"),
    "optimize": lambda t: t.optimize(),
    "stage": lambda t: t.stage(MORE),
    "commit": lambda t: t.commit(t.stage(MORE)),
    "create_table": lambda t: pt.create_table(
        t.url.removesuffix("/t") + "/new", MORE, storage_options=t._storage_options
    ),
    "restore": lambda t: t.restore(1),
    "expire": lambda t: t.expire(keep_last=1),
    "collect_garbage": lambda t: t.collect_garbage(),
    "drop": lambda t: t.drop(),
    "ls": lambda t: None,
}
COLLECTION: dict[str, Callable[[pt.Collection], Any]] = {
    "open_collection": lambda c: c,
    "read": lambda c: c.read("v > 1"),
    "partitions": lambda c: c.partitions,
    "history": lambda c: c.history(),
    "at": lambda c: c.at(1).read(),
    "verify": lambda c: c.verify(data=True),
    "create_collection": lambda c: create(c.url.removesuffix("/c") + "new/c", c._storage_options),
    "insert": lambda c: c.insert(rows(2)),
    "update": lambda c: c.update(lambda part: {"v": part.v + 1}),
    "stage": lambda c: c.stage(rows(2)),
    "commit": lambda c: c.commit(c.stage(rows(2))),
    "drop_partitions": lambda c: c.drop_partitions("cycle == 1"),
    "build_index": lambda c: c.build_index("v", "v.parquet"),
    "restore": lambda c: c.restore(1),
    "expire": lambda c: c.expire(keep_within=dt.timedelta(0)),
    "collect_garbage": lambda c: c.collect_garbage(),
}


def documented(heading: str) -> Iterator[tuple[str, frozenset[str]]]:
    """The operations of the table below a line, each with its rights."""
    lines = PAGE.read_text().partition(f"\n{heading}")[2].splitlines()
    listed = itertools.takewhile(lambda line: line.startswith("|"), lines[2:])
    for line in list(listed)[2:]:
        names, *cells = [cell.strip() for cell in line.strip("|").split("|")]
        rights = frozenset(r for r, cell in zip(RIGHTS, cells, strict=True) if cell == "yes")
        for name in re.findall(r"`(\w+)`", names):
            yield name, rights


CASES = [
    pytest.param(kind, name, rights, id=f"{kind}-{name}")
    for kind, heading in [
        ("table", "Of tables:"),
        ("zarr", "Of collections in plain Zarr:"),
        ("icechunk", "Of collections in Icechunk repositories:"),
    ]
    for name, rights in documented(heading)
]


def test_every_operation_is_documented():
    found = {(case.values[0], case.values[1]) for case in CASES}
    assert {name for kind, name in found if kind == "table"} == set(TABLE)
    assert {name for kind, name in found if kind == "zarr"} == set(COLLECTION)


@pytest.mark.parametrize(("kind", "name", "rights"), CASES)
def test_the_rights_are_enough(account, kind, name, rights):
    place = account.place()
    options = account.server.options()
    prefix = "icechunk+" if kind == "icechunk" else ""
    account.rights = set(RIGHTS)
    (table if kind == "table" else collection(prefix))(place, options)
    account.rights = set(rights)
    if name == "ls":
        assert [found.name for found in pt.ls(place, storage_options=options)] == ["t"]
    elif kind == "table":
        TABLE[name](pt.open_table(f"{place}/t", storage_options=options))
    else:
        COLLECTION[name](pt.open_collection(f"{prefix}{place}/c", storage_options=options))
