"""A directive that shows what the command says of itself: ``{commands}``."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

_COMMAND = re.compile(r"^  ([a-z]+) {2,}\S", re.MULTILINE)


def help_of(*words: str) -> str:
    """The help of a command, as a terminal of 90 columns shows it."""
    return subprocess.run(
        [sys.executable, "-m", "partita", *words, "--help"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "COLUMNS": "90", "NO_COLOR": "1"},
    ).stdout


class Commands(SphinxDirective):
    """A section with the help of each command."""

    def run(self) -> list[nodes.Node]:
        top = help_of()
        sections = []
        names = set(_COMMAND.findall(top.partition("Examples:")[0])) - {"help"}
        for name in sorted(names):
            section = nodes.section(ids=[f"partita-{name}"], names=[f"partita {name}"])
            section += nodes.title(text=f"partita {name}")
            section += nodes.literal_block(text=help_of(name), language="text")
            sections.append(section)
        return sections


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_directive("commands", Commands)
    return {"version": "1", "parallel_read_safe": True}
