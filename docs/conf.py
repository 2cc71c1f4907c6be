"""How Sphinx builds the documentation; `make docs` calls it."""

from __future__ import annotations

import sys
from pathlib import Path

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

autosummary_generate = True
autodoc_typehints = "none"
# The page of a class has its methods, by the template of autosummary.
numpydoc_show_class_members = False

html_theme = "pydata_sphinx_theme"
html_title = "Partita"
html_theme_options = {
    "show_prev_next": True,
    "navigation_with_keys": False,
    "footer_start": ["copyright"],
    "footer_end": [],
}
html_copy_source = False
html_show_sourcelink = False
