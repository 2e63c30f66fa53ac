"""Songs as a command line takes them: JSON in an argument, a file or standard input."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from serving.client.songs import as_songs


def read_songs(argument: str) -> list[Any]:
    """Return songs from JSON text, `@file`, or `-` for standard input: one object, a list of them, or one per line.

    Raises:
        ValueError: it is no JSON.
        TypeError: it is JSON of something else.
        OSError: the file cannot be read.
    """
    if argument == "-":
        text = sys.stdin.read()
    elif argument.startswith("@"):
        text = Path(argument[1:]).read_text(encoding="utf-8-sig")
    else:
        text = argument
    if not text.strip():
        raise ValueError("`--song-json` must be a JSON object, a list or one object per line. Received: nothing")
    try:
        songs = json.loads(text)
    except json.JSONDecodeError:
        try:
            # Not splitlines: JSON may hold U+0085 and U+2028, at which it cuts, as they are.
            songs = [json.loads(line) for line in text.split("\n") if line.strip()]
        except json.JSONDecodeError as error:
            raise ValueError(
                f"`--song-json` must be a JSON object, a list or one object per line. Received: {error}"
            ) from error
    return list(as_songs(songs))
