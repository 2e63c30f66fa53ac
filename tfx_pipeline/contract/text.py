"""Shows text of users on one line of a message, report or page."""

from __future__ import annotations

import re

# Control characters, separators of lines and paragraphs, and what turns the direction of the text that follows.
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
_MOST = 100


def on_one_line(text: str, most: int | None = _MOST) -> str:
    """Returns the text with control characters escaped, and cut to `most` characters; None cuts nothing."""
    cut = text if most is None or len(text) <= most else f"{text[: most - 3]}..."
    return _CONTROLS.sub(lambda found: found[0].encode("unicode_escape").decode(), cut)


def quoted(text: str) -> str:
    """Returns the text as a message shows a value: in quotes, escaped, cut where it is long."""
    return repr(text) if len(text) <= _MOST else f"{text[:_MOST]!r}... ({len(text):,} characters)"
