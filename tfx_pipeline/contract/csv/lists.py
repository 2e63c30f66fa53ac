"""Reads cells that hold a list in brackets, as Python, JSON, numpy and Spark print it.

That is `['a', 'b']`, `["a","b"]`, `['a' 'b']`, `[a, b]`, `[0.1, 0.2]` and `[0.1 0.2]`.
"""

from __future__ import annotations

import ast
import json
import re

import pyarrow as pa
import pyarrow.compute as pc

_TOKEN = re.compile(
    r"\s*(?:(?P<quoted>'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\")|(?P<bare>[^\s,'\"\[\]][^,\[\]]*))\s*(?:,|$|(?=['\"]))",
    re.DOTALL,
)
_NOTHING = frozenset(("null", "none", "nan", "na"))


def without_numpy_names(cells: pa.Array) -> pa.Array:
    """Returns the cells with `np.float64(0.1)`, as lists of numpy's numbers print, written as `0.1`."""
    return pc.replace_substring_regex(cells, r"\bnp\.[a-z_0-9]+\(([^()]*)\)", r"\1")


def read_numbers(cell: str) -> list[float | None]:
    """Returns the numbers between brackets; None stands for a missing one."""
    parts = cell[1:-1].replace(",", " ").split()
    return [None if part.lower() in _NOTHING else float(part) for part in parts]


def read_words(cell: str) -> list[str]:
    """Returns the words between brackets, without missing ones. Words with a comma or quotes in them need quotes.

    Raises:
        ValueError: The cell is not a list, or a list of lists.
    """
    try:
        values = json.loads(cell)
    except ValueError:
        values = _tokens(cell[1:-1].strip())
    if not all(isinstance(value, (str, int, float, type(None))) for value in values):
        raise ValueError(cell)
    words = [value if isinstance(value, str) else str(value) for value in values if value is not None]
    return [word for word in map(str.strip, words) if word]


def read_number_words(cell: str) -> list[str]:
    """Returns the whole numbers between brackets as words."""
    return [part for part in cell[1:-1].replace(",", " ").split() if part.lower() not in _NOTHING]


def _tokens(inside: str) -> list[str | None]:
    """Returns the words of a list that is no JSON. Python would read numpy's `['a' 'b']` as one word."""
    found: list[str | None] = []
    at = 0
    while at < len(inside):
        match = _TOKEN.match(inside, at)
        if match is None:
            raise ValueError(inside)
        if match["quoted"] is not None:
            found.append(_unescaped(match["quoted"]))
        else:
            word = match["bare"].strip()
            found.append(None if word.lower() in _NOTHING else word)
        at = match.end()
    return found


def _unescaped(quoted: str) -> str:
    try:
        return str(ast.literal_eval(quoted))
    except (ValueError, SyntaxError):  # A line break between the quotes, or an escape that Python does not know.
        return quoted[1:-1]
