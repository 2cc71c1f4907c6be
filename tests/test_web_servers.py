"""Tables, collections and repositories are read from a web server of static files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import partita as pt
from static_web import static_web

ROWS = {"t": np.arange(6), "v": np.arange(6.0)}
LARGE = 200_000


@pytest.fixture(scope="module")
def web(tmp_path_factory) -> Iterator[tuple[str, Path]]:
    """The URL of a lake, and the directory that it is kept in."""
    lake = tmp_path_factory.mktemp("lake")
    table = pt.create_table(lake / "t", {"p": [1, 2], "v": [1, 2]}, partition_by="p", index="v")
    table.append({"p": [1], "v": [3]})
    noise = np.random.default_rng(1).random(LARGE)
    pt.create_table(lake / "large", {"n": np.arange(LARGE), "v": noise}, index="n")
    for url, options in {
        str(lake / "catalogued"): {"catalog": True},
        str(lake / "listed"): {},
        f"icechunk+{lake / 'repository'}": {},
    }.items():
        collection = pt.create_collection(
            url,
            {name: ("t", values) for name, values in ROWS.items()},
            axis="t",
            partition_by=pt.GroupedSequence(["t"], size=2),
            zarr_format=3,
            **options,
        )
        collection.insert({"t": ("t", [0]), "v": ("t", [10.0])}, merge="upsert")
    with static_web(lake) as url:
        yield url, lake


def test_tables(web: tuple[str, Path], tmp_path: Path) -> None:
    url, _ = web
    table = pt.open(f"{url}/t")
    assert sorted(table.read()["v"]) == [1, 2, 3]
    assert table.read(where="v == 2")["p"].tolist() == [2]
    assert sorted(table.at(1).read()["v"]) == [1, 2]
    assert [one.version for one in table.history()] == [2, 1]
    assert table.copy(tmp_path / "copy").count() == 3
    with pytest.raises(pt.ReadOnly):
        table.append({"p": [1], "v": [4]})
    with pytest.raises(pt.NotFound):
        pt.open_table(f"{url}/none")
    # Of large files ranges are read.
    large = pt.open_table(f"{url}/large")
    assert large.read(where="n == 1234")["n"].tolist() == [1234]
    assert large.read(columns=["v"])["v"].sum() == pytest.approx(LARGE / 2, rel=0.01)


@pytest.mark.parametrize("place", ["{url}/catalogued", "icechunk+{url}/repository"])
def test_collections(web: tuple[str, Path], place: str) -> None:
    collection = pt.open(place.format(url=web[0]))
    assert collection.read().v.values.tolist() == [10, 1, 2, 3, 4, 5]
    assert collection.read("t >= 4").v.values.tolist() == [4, 5]
    with pytest.raises(pt.ReadOnly):
        collection.drop_partitions("t == 0")


def test_what_takes_a_listing(web: tuple[str, Path]) -> None:
    """Without a catalogue only a listing tells which partitions there are."""
    url, _ = web
    for read in (
        lambda: pt.open(f"{url}/listed").read(),
        lambda: pt.ls(url),
        lambda: pt.open(f"{url}/t").verify(),
    ):
        with pytest.raises(pt.StoreError, match="listed"):
            read()


def test_a_page_of_a_proxy_is_no_table(web: tuple[str, Path]) -> None:
    """Some servers answer whatever is asked with a page of HTML."""
    url, lake = web
    page = "<!DOCTYPE html><html><body>Log in</body></html>"
    (lake / "page.by-dataset-metadata.json").write_text(page)
    with pytest.raises(pt.Corrupt):
        pt.open_table(f"{url}/page")
