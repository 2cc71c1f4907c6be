"""The parts of an HTML page, in light and dark: a title, facts, tables, and sections that fold."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

__all__ = ["DARK", "LIGHT", "code", "facts", "grid", "muted", "page", "section"]

# Text on its background reaches a contrast of 4.5, marks one of 3 (WCAG 2.1, AA).
LIGHT = {
    "text": "#1f2328",
    "muted": "#57606a",
    "back": "#ffffff",
    "line": "#d0d7de",
    "code": "#eef1f5",
    "mark": "#0b5cad",
    "empty": "#e3e7ec",
}
DARK = {
    "text": "#e6edf3",
    "muted": "#9da7b3",
    "back": "#161b22",
    "line": "#3d444d",
    "code": "#262c36",
    "mark": "#58a6ff",
    "empty": "#2d333b",
}
# How notebooks and documentation say that they are dark: JupyterLab, VS Code, Sphinx.
_DARK_PLACES = (
    'body[data-jp-theme-light="false"]',
    "body.vscode-dark",
    'html[data-theme="dark"]',
    'html[theme="dark"]',
)


def _variables(colours: dict[str, str]) -> str:
    return ";".join(f"--partita-{name}:{colour}" for name, colour in colours.items())


_STYLE = f"""<style>
.partita{{{_variables(LIGHT)};color:var(--partita-text);background:var(--partita-back);
border:1px solid var(--partita-line);border-radius:6px;padding:.6em .9em;max-width:60em;
font-family:system-ui,sans-serif;font-size:13px;line-height:1.5;overflow-x:auto}}
{",".join(f"{place} .partita" for place in _DARK_PLACES)}{{{_variables(DARK)}}}
.partita .partita-title{{font-size:15px;margin-bottom:.3em}}
.partita table{{border-collapse:collapse;margin:.2em 0;background:none;color:inherit;
font-size:inherit}}
.partita th,.partita td{{padding:.1em 1.2em .1em 0;text-align:left;vertical-align:top;
font-weight:normal;white-space:nowrap;border:none;background:none;color:inherit}}
.partita th{{color:var(--partita-muted)}}
.partita .partita-number{{text-align:right;font-variant-numeric:tabular-nums}}
.partita summary{{cursor:pointer;font-weight:600;margin-top:.3em}}
.partita code{{background:var(--partita-code);color:inherit;padding:0 .3em;border-radius:3px;
font-size:12px}}
.partita .partita-muted{{color:var(--partita-muted)}}
.partita svg{{display:block}}
.partita svg text{{fill:var(--partita-muted);font-size:11px}}
.partita .partita-mark{{fill:var(--partita-mark)}}
.partita .partita-empty{{fill:var(--partita-empty)}}
</style>"""


def page(kind: str, name: str, *parts: str) -> str:
    """Everything that is shown of one thing."""
    title = f"<b>{escape(kind)} {escape(name)}</b>" if name else f"<b>{escape(kind)}</b>"
    return (
        f'{_STYLE}<div class="partita"><div class="partita-title">{title}</div>'
        f"{''.join(parts)}</div>"
    )


def facts(pairs: Iterable[tuple[str, str]]) -> str:
    """Names and values, one a line."""
    rows = (
        f'<tr><th scope="row">{escape(name)}</th><td>{escape(value)}</td></tr>'
        for name, value in pairs
    )
    return f"<table>{''.join(rows)}</table>"


def grid(
    headings: Sequence[str], rows: Iterable[Sequence[str]], numbers: Iterable[int] = ()
) -> str:
    """A table. Cells are HTML already; those of the columns `numbers` stand to the right."""
    right = set(numbers)

    def kind(column: int) -> str:
        return ' class="partita-number"' if column in right else ""

    head = "".join(
        f'<th scope="col"{kind(column)}>{escape(heading)}</th>'
        for column, heading in enumerate(headings)
    )
    lines = (
        "<tr>"
        + "".join(f"<td{kind(column)}>{cell}</td>" for column, cell in enumerate(row))
        + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>"


def section(title: str, content: str, *, is_open: bool = True) -> str:
    """A part that can be folded."""
    opened = " open" if is_open else ""
    return f"<details{opened}><summary>{escape(title)}</summary>{content}</details>"


def code(text: str) -> str:
    return f"<code>{escape(text)}</code>"


def muted(text: str) -> str:
    return f'<div class="partita-muted">{escape(text)}</div>'
