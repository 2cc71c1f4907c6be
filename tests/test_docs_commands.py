"""Every command line that the documentation shows is one that the command understands.

They run in an empty directory, where most of them find no dataset: that is no usage error, which
would have the exit code 2.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
_USAGE_ERROR = 2
_LINE = re.compile(r"^(?:    |# |\$ )?(partita [^\n]*)$|`(partita [a-z]+ [^`\n]*)`", re.MULTILINE)


def commands(page: Path) -> list[list[str]]:
    """The command lines of a page, without redirections, and with a store that answers at once."""
    found = []
    for match in _LINE.finditer(page.read_text()):
        line = (match[1] or match[2]).replace("s3://", "memory://")
        if "…" in line or "URL" in line or "COMMAND" in line or "PATH" in line or "--help" in line:
            continue
        words = shlex.split(line, comments=True)
        found.append(words[: words.index(">")] if ">" in words else words)
    return found


LINES = {f"{page.name}: {shlex.join(words)}": words for page in PAGES for words in commands(page)}


@pytest.mark.parametrize("words", LINES.values(), ids=LINES)
def test_it_is_understood(words, tmp_path):
    # The format of a folder is that of its files.
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "trips.csv").write_text("city,rider\nOslo,7\n")
    ran = subprocess.run(
        [sys.executable, "-m", *words],
        cwd=tmp_path,
        env={**os.environ, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ran.returncode != _USAGE_ERROR, ran.stderr


def test_command_lines_are_found_with_their_options(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        '    partita read s3://a/b --where "x > 1"  # ten\n\nSo `partita gc t -q` > x.\n'
    )
    assert commands(page) == [
        ["partita", "read", "memory://a/b", "--where", "x > 1"],
        ["partita", "gc", "t", "-q"],
    ]
