"""The HTML of notebooks: well-formed, escaped, readable in light and dark, and self-contained."""

from __future__ import annotations

import datetime as dt
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

import partita as pt
from command import run
from partita._notebook import page, pictures

_EVIL = "<script>alert('x')</script>&\"'"
_VOID = {"rect", "br", "img", "meta"}


class Reader(HTMLParser):
    """The elements of a page, with their text; fails if one is not closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.text += data


def table(where: str) -> pt.Table:
    made = pt.create_table(
        f"{where}/t",
        {
            _EVIL: [1, 2, 3],
            "at": [dt.datetime(2024, 1, 1), dt.datetime(2024, 3, 1), dt.datetime(2024, 3, 2)],
        },
        partition_by=pt.Date("at", "month"),
        index=[_EVIL],
        metadata={"note": _EVIL},
    )
    made.append({_EVIL: [4], "at": [dt.datetime(2024, 4, 1)]})
    return made


def collection(where: str) -> pt.Collection:
    time = np.array(["2024-01-01", "2024-03-01"], "M8[us]")
    made = pt.create_collection(
        f"{where}/c",
        {"time": ("time", time), "n": ("time", [1, 2])},
        axis="time",
        partition_by=pt.Date("time", "month"),
    )
    made.set_attributes({"title": _EVIL})
    return made


def view(where: str) -> pt.View:
    variables = [pt.Variable("own", ("time",), "f4")]
    return pt.create_view(f"{where}/v", collection(where), variables)


THINGS = {
    "table": table,
    "table_without_partitions": lambda where: pt.create_table(f"{where}/p", {"a": [1]}),
    "empty_table": lambda where: pt.create_table(f"{where}/e", {"a": []}),
    "collection": collection,
    "view": view,
    "scan": lambda where: table(where).scan(where=pt.col(_EVIL) > 1),
    "explain": lambda where: table(where).scan(where=pt.col(_EVIL) > 1).explain(),
    "explain_of_everything": lambda where: table(where).scan().explain(),
    "history": lambda where: table(where).history(),
    "history_of_a_collection": lambda where: collection(where).history(),
    "index": lambda where: collection(where).build_index("n", "n.parquet"),
    "expression": lambda where: pt.col("a") == _EVIL,
    "commit": lambda where: table(where).delete(where=pt.col(_EVIL) > 3),
    "snapshot": lambda where: table(where).history()[0],
    "commit_of_a_collection": lambda where: collection(where).history()[0],
    "staged": lambda where: table(where).stage({_EVIL: [7], "at": [dt.datetime(2024, 1, 1)]}),
    "staged_partitions": lambda where: staged_partitions(where),
    "transaction": lambda where: table(where).transaction(),
    "transaction_that_was_committed": lambda where: committed(table(where)),
    "garbage": lambda where: garbage(table(where)),
    "no_garbage": lambda where: table(where).collect_garbage(),
    "selection": lambda where: collection(where).build_index("n", "m.parquet").query("n == 2"),
}


def staged_partitions(where: str) -> pt.StagedPartitions:
    time = np.array(["2024-05-01"], "M8[us]")
    return collection(where).stage({"time": ("time", time), "n": ("time", [3])})


def committed(made: pt.Table) -> pt.Transaction:
    with made.transaction() as tx:
        tx.delete(where=pt.col(_EVIL) == 1)
        assert _EVIL in Reader(tx._repr_html_()).text
    return tx


def garbage(made: pt.Table) -> pt.Garbage:
    made.delete(where=pt.col(_EVIL) == 1)
    made.expire(keep_last=1)
    return made.collect_garbage(grace=dt.timedelta(0), dry_run=True)


@pytest.fixture(params=list(THINGS))
def thing(request, memory) -> Any:
    return THINGS[request.param](memory)


def test_every_page_is_whole_escaped_and_of_its_own(thing):
    html = thing._repr_html_()
    read = Reader(html)
    tags = {tag for tag, _ in read.elements}
    assert tags <= {
        "style", "div", "b", "table", "thead", "tbody", "tr", "th", "td", "details", "summary",
        "code", "pre", "svg", "rect", "g", "title", "text",
    }  # fmt: skip
    for tag, attributes in read.elements:
        assert not {name for name in attributes if name.startswith("on")}
        assert not {"src", "href", "srcset", "style"} & set(attributes)
        if tag == "svg":
            assert attributes["role"] == "img" and attributes["aria-label"]
    assert "url(" not in html and "@import" not in html


def test_pages_say_what_one_asks_first(memory):
    read = Reader(table(memory)._repr_html_()).text
    for word in ("Table t", "rows4", "2024-01 to 2024-04, missing: 2024-02", _EVIL, "year"):
        assert word in read
    shown = Reader(collection(memory)._repr_html_()).text
    for word in ("Collection c", "time", "2024-01 to 2024-03, missing: 2024-02", _EVIL):
        assert word in shown


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (
            table,
            ["Table t", "period2024-01-01T00:00:00 to 2024-04-01T00:00:00 (at)", "rows4", _EVIL,
             "Rows after each of 2 commits", "missing: 2024-02."],
        ),
        (
            collection,
            ["Collection c", "rows2", f'title = "{_EVIL[:8]}', "Bytes written up to each of",
             "missing: 2024-02."],
        ),
        (view, ["View v", "base", "own", "missing: 2024-02."]),
        (lambda where: pt.create_table(f"{where}/e", {"a": []}), ["Table e", "no partitions"]),
    ],
    ids=["table", "collection", "view", "empty"],
)  # fmt: skip
def test_a_report_is_a_page_of_its_own(make, told, tmp_path):
    url = make(str(tmp_path)).url
    html = run("report", url).stdout
    read = Reader(html)
    for text in told:
        assert text in read.text
    for tag, attributes in read.elements:
        assert tag not in {"script", "img", "link", "iframe"}
        assert not {"src", "href", "srcset", "style"} & set(attributes)
        assert not {name for name in attributes if name.startswith("on")}
        if tag == "svg":
            assert attributes["role"] == "img" and attributes["aria-label"]
    assert not re.search(r"https?:|url\(|@import", html)
    run("report", url, "-o", tmp_path / "report.html")
    written = (tmp_path / "report.html").read_text()
    assert re.sub(r"as of.*", "", written) == re.sub(r"as of.*", "", html)


def test_a_report_has_the_colours_of_notebooks(tmp_path):
    html = run("report", pt.create_table(tmp_path / "t", {"a": [1]}).url).stdout
    for colours in (page.LIGHT, page.DARK):
        assert all(f"--{name}:{colour}" in html for name, colour in colours.items())


def test_a_report_says_what_to_do_about_small_files(tmp_path):
    made = pt.create_table(tmp_path / "t", {"a": [1]})
    assert "optimize" not in Reader(run("report", made.url).stdout).text
    for number in (2, 3):
        made.append({"a": [number]})
    shown = Reader(run("report", made.url).stdout).text
    assert "3 files are so small that 1 could hold their rows." in shown
    assert f"Merge them with partita optimize {made.url}" in shown
    made.optimize()
    assert "partita optimize" not in Reader(run("report", made.url).stdout).text


def test_a_plan_shows_what_is_left_after_each_step(memory):
    trips = pt.create_table(
        f"{memory}/t", {"y": [1, 2, 3], "v": [1, 2, 3]}, partition_by="y", index="v"
    )
    shown = Reader(trips.scan(where="y > 1 and v == 3").explain()._repr_html_()).text
    assert "of the table3after partition2after index1after statistics1" in shown


def test_a_collection_shows_how_its_variables_are_cut(memory):
    time = np.arange("2024-01-01", "2024-02-01", dtype="M8[h]").astype("M8[us]")
    cut = pt.create_collection(
        f"{memory}/c",
        {"time": ("time", time), "ssh": (("time", "x"), np.zeros((time.size, 250), "f4"))},
        axis="time",
        partition_by=pt.Date("time", "month"),
        chunks={"time": 500, "x": 100},
        zarr_format=3,
    )
    read = Reader(cut._repr_html_())
    assert "500 × 100, 195.3 KiB" in read.text
    drawn = [a for tag, a in read.elements if tag == "svg" and a["aria-label"] == "chunks of ssh"]
    assert [(a["width"], a["height"]) for a in drawn] == [("27", "27")]


def test_everything_says_what_it_is_in_one_screen(thing):
    text = repr(thing)
    assert len(text.splitlines()) <= 40
    assert text.startswith(("<partita.", "[")) or type(thing).__name__ in text or "files" in text


def test_a_table_shows_its_largest_partitions(memory):
    rows = {"k": list(range(40)), "v": list(range(40))}
    many = pt.create_table(f"{memory}/t", rows, partition_by="k")
    assert "… and 28 smaller ones" in Reader(many._repr_html_()).text


def test_nothing_raises_where_the_store_is_gone(tmp_path):
    gone = collection(str(tmp_path))
    for file in sorted(tmp_path.rglob("*"), reverse=True):
        file.rmdir() if file.is_dir() else file.unlink()
    Reader(gone._repr_html_())


def test_nothing_raises_where_keys_cannot_be_read(memory, monkeypatch):
    def damaged(self):
        raise pt.Corrupt("a file's key cannot be read")

    made = table(memory)
    monkeypatch.setattr(pt.Table, "partitions", property(damaged))
    assert "rows?" in Reader(made._repr_html_()).text
    assert "(? partitions)" in repr(made)


def test_a_history_is_a_list_that_shows_lines(memory):
    history = table(memory).history()
    assert isinstance(history, list) and history == list(history)
    assert len(repr(history).splitlines()) == len(history) == 2


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ([], None),
        ([{"city": "Oslo"}], None),
        ([{"year": "0", "month": "13"}], None),
        ([{"year": "x", "month": "1"}], None),
        ([{"year": 2024, "month": 1}], "2024-01 to 2024-01, no month is missing"),
        ([{"year": 1900, "month": 1}, {"year": 2024, "month": 1}], "and 1481 more"),
        ([{"year": 2024, "month": 2, "day": day} for day in range(1, 15)], "2024-02: 48%"),
    ],
)
def test_a_calendar_tells_what_is_missing(keys, told):
    drawn = pictures.coverage(keys)
    if told is None:
        assert drawn is None
    else:
        Reader(drawn)
        assert told in drawn


def test_coverage_has_every_month_between_the_first_and_the_last(memory):
    assert collection(memory).coverage() == {"2024-01": 1.0, "2024-02": 0.0, "2024-03": 1.0}
    by_cycle = pt.create_collection(
        f"{memory}/cycles",
        {"time": ("n", [1, 2]), "cycle": ("n", [1, 2])},
        axis="time",
        partition_by=pt.Sequence(["cycle"]),
    )
    with pytest.raises(pt.InvalidArgument, match="months"):
        by_cycle.coverage()


def test_plots_go_where_they_are_told(memory):
    figure = Figure()
    for place, plot in enumerate(
        [
            collection(memory).plot_coverage,
            table(memory).plot_partitions,
            table(f"{memory}/2").scan(where="at > '2024-03-01'").explain().plot,
        ],
        start=1,
    ):
        axes = figure.add_subplot(3, 1, place)
        assert plot(ax=axes) is axes and axes.has_data()


def test_an_error_ends_at_the_line_of_the_user(memory, monkeypatch):
    made = table(memory)

    def lines_of(error: pt.PartitaError) -> str:
        return "\n".join(error._render_traceback_())

    with pytest.raises(pt.InvalidPredicate) as caught:
        made.read(where="nothing == 1")
    shown = lines_of(caught.value)
    assert 'made.read(where="nothing == 1")' in shown and "does not exist" in shown
    assert "table.py" not in shown
    monkeypatch.setenv("PARTITA_DEBUG", "1")
    assert "table.py" in lines_of(caught.value)


def test_an_error_shows_the_function_of_the_user_in_which_it_happened(memory):
    made, other = collection(memory), table(f"{memory}/2")

    def smooth(part):
        return {"n": other.read(where="nothing == 1")}

    with pytest.raises(pt.InvalidPredicate) as caught:
        made.update(smooth)
    assert 'other.read(where="nothing == 1")' in "\n".join(caught.value._render_traceback_())


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return sum(w * p for w, p in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one: str, other: str) -> float:
    low, high = sorted([luminance(one), luminance(other)])
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("colours", [page.LIGHT, page.DARK], ids=["light", "dark"])
def test_contrast_is_enough(colours):
    """WCAG 2.1, level AA: a contrast of 4.5 for text, and 3 for graphical marks."""
    for text, back in [("text", "back"), ("muted", "back"), ("text", "code")]:
        assert contrast(colours[text], colours[back]) >= 4.5, (text, back)
    for back in ("back", "empty"):
        assert contrast(colours["mark"], colours[back]) >= 3, back


def test_all_colours_are_of_the_palette():
    sources = Path(page.__file__).parent.glob("*.py")
    used = {c for source in sources for c in re.findall(r"#[0-9a-f]{6}\b", source.read_text())}
    assert used == set(page.LIGHT.values()) | set(page.DARK.values())
