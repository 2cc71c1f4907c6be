"""Takes the pictures of notebooks, of the terminal and of a report that the documentation shows.

    python docs/screenshots.py [FOLDER]

It needs Chromium, and somebody who looks at the pictures afterwards.
"""

from __future__ import annotations

import fcntl
import html
import os
import pty
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import termios
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd

import partita as pt

HERE = Path(__file__).parent
_COLOURS = {"1": "font-weight:bold", "31": "color:#ff7b72", "32": "color:#7ee787"}
_COLOURS |= {"33": "color:#e3b341", "36": "color:#79c0ff"}


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "images"
    with tempfile.TemporaryDirectory() as place:
        lake = Path(place) / "lake"
        trips = table(lake)
        things = [trips, collection(lake), trips.scan(where="rider == 7 and fare > 40").explain()]
        shown = "".join(thing._repr_html_().replace(place, "") + "<br>" for thing in things)
        for theme in ("light", "dark"):
            page = f'<html data-theme="{theme}"><body style="margin:8px">{shown}</body></html>'
            photograph(page, folder / f"notebook-{theme}.png", (760, 1180))
        report = Path(place) / "report.html"
        pt.report(trips, report)
        shown = report.read_text().replace(f"{place}/", "")
        photograph(shown, folder / "report.png", (900, 1300))
        commands = [
            ("info", "lake/trips"),
            ("read", "lake/trips", "--where", "city == 'Oslo' and fare > 45", "--limit", "4"),
            ("history", "lake/trips"),
            ("read", "lake/trips", "--at", "9"),
        ]
        lines = "\n".join(terminal(command, Path(place)) for command in commands)
        page = (
            '<body style="margin:0;background:#0d1117;color:#e6edf3">'
            f'<pre style="margin:12px;font-size:13px;line-height:1.4">{lines}</pre></body>'
        )
        photograph(page, folder / "terminal.png", (860, 590))


def table(lake: Path) -> pt.Table:
    random = np.random.default_rng(0)
    at = pd.date_range("2024-01-01", "2026-06-30", periods=20_000).round("s")
    at = at[(at < "2025-03-01") | (at >= "2025-05-01")]
    frame = pd.DataFrame(
        {
            "id": range(len(at)),
            "at": at,
            "city": random.choice(["Oslo", "Rome", "Lima"], len(at)),
            "rider": random.integers(0, 500, len(at)),
            "fare": (random.random(len(at)) * 50).round(2),
        }
    )
    by = ["city", pt.Date("at", "year")]
    trips = pt.create_table(lake / "trips", frame, partition_by=by, index="rider")
    trips.append(frame.head(1000).assign(id=lambda f: f["id"] + 1_000_000))
    trips.delete(where="fare < 1")
    return trips


def collection(lake: Path) -> pt.Collection:
    days = [("2020-01-01", "2021-03-01"), ("2021-05-10", "2022-02-15")]
    time = np.concatenate([np.arange(a, b, dtype="M8[D]") for a, b in days]).astype("M8[us]")
    variables = {"time": ("time", time), "ssh": (("time", "x"), np.zeros((time.size, 5), "f4"))}
    by = pt.Date("time", "day")
    return pt.create_collection(
        lake / "ssh", variables, axis="time", partition_by=by, zarr_format=3, chunks={"x": 2}
    )


def terminal(command: tuple[str, ...], place: Path) -> str:
    """A command and what it prints on a terminal of 100 columns, as HTML."""
    main_end, end = pty.openpty()
    fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
    child = subprocess.Popen(
        [sys.executable, "-m", "partita", *command],
        cwd=place,
        stdin=subprocess.DEVNULL,
        stdout=end,
        stderr=end,
        env={**os.environ, "TERM": "xterm"},
    )
    os.close(end)
    printed = b""
    with suppress(OSError):
        while part := os.read(main_end, 1 << 16):
            printed += part
    os.close(main_end)
    child.wait(timeout=60)
    typed = " ".join(f'"{word}"' if " " in word else word for word in command)
    text = html.escape(printed.decode().replace("\r\n", "\n").replace(str(place), "…"))
    return f"<b>$ partita {html.escape(typed)}</b>\n{coloured(text)}"


def coloured(text: str) -> str:
    """Escapes of colours as elements."""
    is_open = 0

    def element(code: re.Match[str]) -> str:
        nonlocal is_open
        styles = [_COLOURS[part] for part in code[1].split(";") if part in _COLOURS]
        if styles:
            is_open += 1
            return f'<span style="{";".join(styles)}">'
        ends, is_open = "</span>" * is_open, 0
        return ends

    return re.sub("\x1b" + r"\[([\d;]*)m", element, text)


def photograph(page: str, file: Path, size: tuple[int, int]) -> None:
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        raise SystemExit("chromium is not installed; on Debian: apt-get install chromium")
    with tempfile.TemporaryDirectory() as place:
        source = Path(place) / "page.html"
        source.write_text(f"<!doctype html><meta charset=utf-8>{page}")
        subprocess.run(
            [
                browser,
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--hide-scrollbars",
                f"--window-size={size[0]},{size[1]}",
                f"--screenshot={file.resolve()}",
                source.as_uri(),
            ],
            check=True,
            capture_output=True,
        )
    print(file)


if __name__ == "__main__":
    main()
