"""Songs as a command line takes them: JSON in an argument, a file or standard input."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from serving.client.songs import as_songs


def read_songs(argument: str) -> list[Any]:
    """Returns songs from JSON text, `@file`, or `-` for standard input: an object, a list of them, or one per line.

    Raises:
        ValueError: If it is no JSON.
        TypeError: If it is JSON of something else.
        OSError: If the file cannot be read.
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
            # Not splitlines, which also splits at U+0085 and U+2028. JSON may contain these.
            songs = [json.loads(line) for line in text.split("\n") if line.strip()]
        except json.JSONDecodeError as error:
            raise ValueError(
                f"`--song-json` must be a JSON object, a list or one object per line. Received: {error}"
            ) from error
    return list(as_songs(songs))
