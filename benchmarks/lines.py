"""Lines for people and logs, at once."""

from __future__ import annotations

import sys


def say(line: str) -> None:
    """Writes a line without waiting for more: studies run for hours."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
