"""The Python examples of the README and the guides run as they stand, each file from its top.

A block of ``text`` right behind a block of ``python`` is what the latter prints. Cells of notebooks
(``{code-cell}``) run too, but for those that are tagged ``skip-execution``.
"""

from __future__ import annotations

import contextlib
import doctest
import functools
import inspect
import io
import re
import types
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

import partita as pt
import partita.dask

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]

_FENCE = re.compile(r"^```([\w{}-]*)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@dataclass
class Example:
    """A block of code, its position, and the expected output, if the page shows it."""

    code: str
    line: int
    output: str | None = None


def examples(page: Path) -> list[Example]:
    text = page.read_text()
    found: list[Example] = []
    end = 0
    for fence in _FENCE.finditer(text):
        language, body = fence[1], fence[2]
        if language in ("python", "{code-cell}") and ":tags: [skip-execution]" not in body:
            found.append(Example(body, text.count("\n", 0, fence.start(2))))
        elif language == "text" and found and not text[end : fence.start()].strip():
            found[-1].output = body
        end = fence.end()
    return found


@pytest.mark.parametrize(
    "page", [page for page in PAGES if examples(page)], ids=lambda page: page.name
)
def test_examples_run(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "example"}
    for example in examples(page):
        printed = io.StringIO()
        # The line numbers of a traceback match those of the page.
        code = compile("\n" * example.line + example.code, str(page), "exec")
        with contextlib.redirect_stdout(printed):
            exec(code, names)
        if example.output is not None:
            same = doctest.OutputChecker().check_output(
                example.output, printed.getvalue(), _OPTIONS
            )
            assert same, f"line {example.line} prints\n{printed.getvalue()}"


def test_an_output_belongs_to_the_block_before_it(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("```python\nprint(1)\n```\n\n```text\n1\n```\n\nwords\n\n```text\n2\n```\n")
    assert examples(page) == [Example("print(1)\n", 1, "1\n")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page):
    text = _FENCE.sub("", page.read_text())
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path) if path else page
        assert file.exists(), f"{page.name} links to {target}"
        if anchor:
            assert anchor in headings(file), f"{page.name} links to {target}"


def headings(page: Path) -> set[str]:
    """The anchors of the headings of a page, in the form of GitHub."""
    titles = re.findall(r"^#+ (.*)$", _FENCE.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_the_reference_has_every_public_name():
    listed = (ROOT / "docs" / "reference" / "python.md").read_text()
    errors = (ROOT / "docs" / "reference" / "errors.md").read_text()
    names = [*pt.__all__, *(f"dask.{name}" for name in partita.dask.__all__)]
    names += [f"aio.{name}" for name in pt.aio.__all__]
    names += [f"merge.{name}" for name in ("concat", "replace", "time_series", "upsert")]
    for name in set(names) - {"__version__", "aio", "merge"}:
        thing = functools.reduce(getattr, name.split("."), pt)
        if isinstance(thing, type) and issubclass(thing, pt.PartitaError):
            assert f"`{name}`" in errors or f"`partita.{name}`" in errors, name
        else:
            assert f"\n   {name}\n" in listed, name


def functions(module: types.ModuleType) -> dict[str, Callable[..., object]]:
    """The public functions of a module, and the methods of its classes, with their names."""
    found = {}
    for name in module.__all__:
        thing = getattr(module, name)
        if inspect.isclass(thing):
            for method, own in inspect.getmembers(thing, callable):
                # Methods of list and of exceptions are documented by Python.
                if not method.startswith("_") and not inspect.ismethoddescriptor(own):
                    found[f"{name}.{method}"] = own
        elif inspect.isroutine(thing):
            found[name] = thing
    return found


NAMED = {f"{m.__name__}.{name}": f for m in (pt, pt.merge) for name, f in functions(m).items()}


@pytest.mark.parametrize("name", NAMED)
def test_every_function_and_method_has_an_example(name):
    assert ">>>" in (inspect.getdoc(NAMED[name]) or "")
