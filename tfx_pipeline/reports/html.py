"""Pages that open offline: one file, no script, nothing fetched."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; color: #1b1b1b }
.wide { overflow-x: auto }
table { border-collapse: collapse; font-size: .85rem; margin: 1rem 0 }
th, td { padding: .25rem .7rem; text-align: right; border-bottom: 1px solid #ddd; white-space: nowrap }
th:first-child, td:first-child { text-align: left }
.words td:last-child, .words th:last-child { text-align: left; white-space: normal; min-width: 16rem }
.words td:last-child { overflow-wrap: anywhere }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(17rem, 1fr)); gap: 1rem }
section { border: 1px solid #ddd; border-radius: .5rem; padding: 0 1rem; overflow-wrap: anywhere }
ol { padding-left: 1.3rem }
img { max-width: 100%; height: auto }
h2 { margin-top: 3rem }
"""


def document(title: str, body: str, style: str = "") -> str:
    """Returns a page.

    Args:
        title: Of the window.
        body: HTML.
        style: CSS beside the style of every page.
    """
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{_STYLE}{style}</style></head><body>{body}</body></html>\n"
    )


def table(head: Iterable[str], lines: Iterable[Sequence[str]], kind: str = "numbers") -> str:
    """Returns a table that scrolls where it is too wide.

    Args:
        head: Titles of the columns.
        lines: Cells, as text.
        kind: "words" wraps the last column.
    """
    top = "".join(f"<th>{html.escape(cell)}</th>" for cell in head)
    rest = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in line) + "</tr>" for line in lines)
    return f'<div class="wide"><table class="{kind}"><thead><tr>{top}</tr></thead><tbody>{rest}</tbody></table></div>'
