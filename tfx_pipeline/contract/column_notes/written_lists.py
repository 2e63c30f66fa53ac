"""Recognises columns of strings whose values are lists written as text, such as "rock,pop,live"."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from tfx_pipeline.contract.text import quoted

_MOST_KEPT = 20_000
_SEPARATORS = {",": "commas", ";": "semicolons", "|": "bars"}


class WrittenLists:
    """Tells lists written as text from words, batch by batch, in memory that is bounded.

    A column is taken for lists if it has at least 10 values, a fifth of them hold a separator, and splitting them by it
    gives no more different words than there are different values: "rock,pop", "pop,live", "live,rock" have three words.
    "Paris, France", "Lyon, France" have more words than values. A column is also taken for lists if half of its values
    stand in brackets. At most 20,000 different values are looked at, the first ones.
    """

    LEAST_VALUES = 10
    LEAST_SEPARATED = 0.2
    LEAST_BRACKETED = 0.5

    def __init__(self) -> None:
        self._values = self._bracketed = 0
        self._separated = dict.fromkeys(_SEPARATORS, 0)
        self._seen: dict[str, None] = {}

    def add(self, text: pa.Array) -> None:
        """Takes a batch of strings into account; null is not a value."""
        text = text.drop_null()
        self._values += len(text)
        self._bracketed += _count(pc.match_substring_regex(text, r"(?s)^\s*\[.*\]\s*$"))
        for separator in _SEPARATORS:
            self._separated[separator] += _count(pc.match_substring(text, separator))
        if len(self._seen) < _MOST_KEPT:
            self._seen.update(dict.fromkeys(pc.unique(text).to_pylist()))

    @property
    def mark(self) -> str | None:
        """What makes the values lists: a separator, or "[" for brackets; None where they are none."""
        if self._values < self.LEAST_VALUES:
            return None
        if self._bracketed >= self.LEAST_BRACKETED * self._values:
            return "["
        return next((separator for separator in _SEPARATORS if self._are_parted_by(separator)), None)

    def note(self, name: str) -> str | None:
        """Returns a note if the column looks like lists, else None."""
        mark = self.mark
        if mark is None:
            return None
        example = quoted(next(value for value in self._seen if mark in value))
        if mark == "[":
            return f"{name}: each list written as text, such as {example}, counts as one category. {_remedy(name)}"
        shown = f"{self._separated[mark] / self._values:.0%} of the values hold {_SEPARATORS[mark]}, such as {example}"
        return f"{name}: {shown}. Each value counts as one category. {_remedy(name, mark)}"

    def _are_parted_by(self, separator: str) -> bool:
        if self._separated[separator] < self.LEAST_SEPARATED * self._values:
            return False
        words = {word.strip() for value in self._seen for word in value.split(separator)} - {""}
        # Numbers with a decimal comma are not lists.
        with_letters = sum(any(map(str.isalpha, word)) for word in words)
        return len(words) <= len(self._seen) and 2 * with_letters > len(words)


def _remedy(name: str, separator: str | None = None) -> str:
    in_pandas = f' (in pandas: songs["{name}"].str.split("{separator}"))' if separator else ""
    return f"To make each word a category, write the column as list<string> in Parquet{in_pandas}, as rock|pop in CSV."


def _count(mask: pa.Array) -> int:
    return int(pc.sum(mask).as_py() or 0)
