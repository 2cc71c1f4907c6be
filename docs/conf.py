"""How Sphinx builds the documentation; `make docs` calls it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

import partita

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_ext"))

project = "Partita"
author = "the Partita contributors"
copyright = author  # noqa: A001
release = partita.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "myst_nb",
    "command_line",
]
exclude_patterns = ["_ext", "_templates"]
templates_path = ["_templates"]

# The pages of the guides are read on GitHub too, so their links are those of files.
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
# Files beside the documentation, which pages name by their paths in the repository.
myst_url_schemes = ("http", "https", "mailto")

# Tutorials run while they are built, each in a folder of its own.
nb_execution_mode = "force"
nb_execution_in_temp = True
nb_execution_raise_on_error = True
nb_execution_timeout = 120

# Names in single backticks in docstrings are those of Python, and become links.
default_role = "py:obj"
autosummary_generate = True
autodoc_typehints = "none"
# The page of a class has its methods, by the template of autosummary.
numpydoc_show_class_members = False

html_theme = "pydata_sphinx_theme"
html_title = "Partita"
# All pages, by section, beside every page; the header has no room for them.
html_sidebars = {"**": ["pages.html"]}
html_theme_options = {
    "navbar_center": [],
    "show_prev_next": True,
    "show_toc_level": 2,
    "navigation_with_keys": False,
    "footer_start": ["copyright"],
    "footer_end": [],
}
html_copy_source = False
html_show_sourcelink = False

# Functions and methods make these; how their classes are called is of no use to anybody.
_MADE_ELSEWHERE = frozenset(
    "Collection Expr Index Scan Selection Staged Table Transaction View".split()
)


def without_signature(app: Sphinx, what: str, name: str, *_: Any) -> tuple[str, None] | None:
    is_made_elsewhere = what == "class" and name.rpartition(".")[2] in _MADE_ELSEWHERE
    return ("", None) if is_made_elsewhere else None


def setup(app: Sphinx) -> None:
    app.connect("autodoc-process-signature", without_signature)
