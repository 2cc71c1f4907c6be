"""Importing files of arrays into collections."""

from partita.importing._report import ImportReport
from partita.importing._run import import_files

__all__ = ["ImportReport", "import_files"]
