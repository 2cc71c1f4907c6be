"""The file of results: a section for each benchmark, replaced when it is run again."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

__all__ = ["RESULTS", "grid", "machine", "write_section"]

RESULTS = Path(__file__).parent / "RESULTS.md"
_HEAD = """# Results

Times in seconds, best of the runs. A ratio says how many times as long the other took: above 1,
Partita is faster. Each measurement is a process of its own.
"""


def machine(*packages: str) -> str:
    """What it ran on, and the versions of the packages that it was compared with."""
    model = platform.processor() or platform.machine()
    for line in _lines("/proc/cpuinfo"):
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    return (
        f"{model}, {os.cpu_count()} cores, {memory:.0f} GiB; "
        f"Python {platform.python_version()}, {versions}."
    )


def grid(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def write_section(name: str, text: str) -> None:
    """Puts a section into the file of results, in the place of the one it had."""
    old = RESULTS.read_text() if RESULTS.exists() else _HEAD
    section = f"## {name}\n\n{text.strip()}\n"
    pattern = rf"^## {re.escape(name)}\n.*?(?=^## |\Z)"
    if re.search(pattern, old, re.MULTILINE | re.DOTALL):
        new = re.sub(pattern, lambda _: section + "\n", old, flags=re.MULTILINE | re.DOTALL)
    else:
        new = old.rstrip() + "\n\n" + section
    RESULTS.write_text(new.rstrip() + "\n")


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []
