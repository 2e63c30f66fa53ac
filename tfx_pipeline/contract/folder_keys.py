"""Columns that names of folders state as `column=value`: of what type they are."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import pyarrow as pa

from tfx_pipeline.contract.ids import SONG_ID, USER_ID

_LOOKS = {"flags": r"true|false", "whole numbers": r"-?(?:0|[1-9]\d{0,17})", "numbers": r"-?(?:0|[1-9]\d*)(?:\.\d+)?"}
ARROW = {"flags": pa.bool_(), "whole numbers": pa.int64(), "numbers": pa.float64(), "text": pa.string()}
IN_WORDS = {"flags": "true or false", "whole numbers": "whole numbers", "numbers": "numbers", "text": "text"}
VALUES: dict[str, Callable[[str | None], object]] = {
    "flags": lambda value: None if value is None else value == "true",
    "whole numbers": lambda value: None if value is None else int(value),
    "numbers": lambda value: None if value is None else float(value),
    "text": lambda value: value,
}


def look_of(name: str, values: Sequence[str | None]) -> str:
    """Returns what the values of a column look like over all parts. Ids are text."""
    given = [value for value in values if value is not None]
    if name not in (SONG_ID, USER_ID):
        for kind, pattern in _LOOKS.items():
            if given and all(re.fullmatch(pattern, value) for value in given):
                return kind
    return "text"
