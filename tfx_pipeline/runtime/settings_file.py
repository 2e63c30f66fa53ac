"""The text of a settings file as one JSON object; `configs` says what the settings are."""

from __future__ import annotations

import codecs
import json
from pathlib import Path
from typing import Any

_OTHER_ENCODINGS = {
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}


class SettingsError(ValueError):
    """A settings file cannot be used. The message names file, setting, what was expected and what was received."""


def read_object(file: Path) -> dict[str, Any]:
    """Returns the JSON object of a file in UTF-8, with or without a byte order mark.

    Raises:
        SettingsError: If the file cannot be read, or holds something else.
    """
    try:
        given = json.loads(_text(file), parse_constant=_refuse_constant, object_pairs_hook=_refuse_twice)
    except OSError as error:
        raise SettingsError(f"{file}: expected a JSON file. Received: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise SettingsError(f"{file}: expected a JSON object. Received: {error}") from error
    if not isinstance(given, dict):
        raise SettingsError(f"{file}: the whole: expected an object of settings. Received: {given!r}")
    return given


def _text(file: Path) -> str:
    content = file.read_bytes()
    for mark, encoding in _OTHER_ENCODINGS.items():
        if content.startswith(mark):
            raise ValueError(f"a file in {encoding}. Save it in UTF-8")
    text = content.decode("utf-8-sig")
    if not text.strip():
        raise ValueError("an empty file. An object without settings is {}")
    return text


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name}, which is no JSON")


def _refuse_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"{name!r} twice in one object")
        found[name] = value
    return found
