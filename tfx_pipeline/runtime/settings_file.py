"""A settings file: one JSON object in UTF-8 that names what differs from the defaults."""

from __future__ import annotations

import codecs
import json
import math
from pathlib import Path
from typing import Any

from tfx_pipeline.runtime.settings_codec import SettingsError

_OTHER_ENCODINGS = {
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}


def read_object(file: Path) -> dict[str, Any]:
    """Returns the JSON object of a file in UTF-8, with or without a byte order mark.

    Raises:
        SettingsError: If the file cannot be read, or holds something else.
    """
    try:
        given = json.loads(_text(file), **_STRICTER)
        _check_text(given)
    except OSError as error:
        raise SettingsError(f"{file}: expected a JSON file. Received: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise SettingsError(f"{file}: expected a JSON object. Received: {error}") from error
    if not isinstance(given, dict):
        raise SettingsError(f"{file}: expected an object of settings. Received: {given!r}")
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


def _check_text(given: Any) -> None:
    try:
        json.dumps(given, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError as error:
        half = error.object[error.start]
        raise ValueError(f"{half!r}, which is half of a character") from error


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name}, which is no JSON")


def _finite(number: str) -> float:
    value = float(number)
    if not math.isfinite(value):
        raise ValueError(f"{number}, which is too large a number")
    return value


def _refuse_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"{name!r} twice in one object")
        found[name] = value
    return found


#: What Python reads and JSON does not have, or leaves open.
_STRICTER: dict[str, Any] = {
    "parse_constant": _refuse_constant,
    "parse_float": _finite,
    "object_pairs_hook": _refuse_twice,
}
