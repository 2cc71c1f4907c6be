"""Checks that every link within the built site leads to a page and a place that are there.

python docs/check_links.py FOLDER
"""

from __future__ import annotations

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

# Templates that the theme leaves among the files of the site.
_NO_PAGES = {"webpack-macros.html"}


class Page(HTMLParser):
    """The links of a page, and the places in it that a link may lead to."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.places: set[str] = set()
        self.links: list[str] = []
        self.feed(file.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.places.update(given[name] or "" for name in ("id", "name") if name in given)
        self.links += [given[name] or "" for name in ("href", "src") if name in given]


def broken(pages: dict[Path, Page]) -> list[str]:
    """The links that lead nowhere, with their pages."""
    found = []
    for file, page in pages.items():
        for link in page.links:
            url = urlsplit(link)
            if url.scheme or url.netloc:
                continue
            target = (file.parent / unquote(url.path)).resolve() if url.path else file
            place = unquote(url.fragment)
            there = target.exists() and not (
                place and target in pages and place not in pages[target].places
            )
            if not there:
                found.append(f"{file}: {link}")
    return found


def main() -> None:
    folder = Path(sys.argv[1]).resolve()
    files = [file for file in folder.rglob("*.html") if file.name not in _NO_PAGES]
    if not files:
        sys.exit(f"there are no pages in {folder}")
    lines = broken({file: Page(file) for file in files})
    print(*lines, sep="\n", end="\n" if lines else "")
    if lines:
        sys.exit(f"{len(lines)} links lead nowhere")


if __name__ == "__main__":
    main()
