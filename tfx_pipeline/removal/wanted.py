"""The ids that are looked for, and where in some bytes one of them stands."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from pathlib import Path
from urllib.parse import quote

import numpy as np

from tfx_pipeline.contract.ids import USER_ID
from tfx_pipeline.contract.text import on_one_line

#: Shorter ids, and whole numbers of fewer digits, occur by chance in any file. Only columns of listeners are searched
#: for them.
_LEAST_BYTES, _LEAST_DIGITS = 6, 9
_WORD = re.compile(r"\w", re.ASCII)

Hit = tuple[int, int]  # where it begins and ends
#: Returns the names that a column of listeners may have in a file.
ListenerColumns = Callable[[Path], tuple[str, ...]]


def contract_columns(_: Path) -> tuple[str, ...]:
    """Returns the contract's name of the column of listeners."""
    return (USER_ID,)


def columns_of_plays(data: Path, own: str) -> ListenerColumns:
    """Returns the names in a folder whose tables of plays call the column of listeners `own`.

    Other tables may have a column of that name, which means something else.
    """

    def columns(file: Path) -> tuple[str, ...]:
        is_below = data in file.parents
        is_of_plays = is_below and any(part.startswith("plays") for part in file.relative_to(data).parts)
        return (own,) if is_of_plays else (USER_ID,)

    return columns


class Wanted:
    """Ids, and the bytes that they can be found by.

    Bytes cannot tell an id from a song's id or word of the same spelling, nor a short id from chance. Such ids are
    searched for in columns of listeners alone.

    Args:
        ids: The ids.
        others: Ids of other listeners, and words of songs: an id inside one of these is not a trace.
        columns: What a file calls its column of listeners.
    """

    def __init__(
        self, ids: Iterable[str], others: Iterable[str] = (), columns: ListenerColumns = contract_columns
    ) -> None:
        self.columns = columns
        self.ids = frozenset(ids)
        self._others = frozenset(others)
        self.plain = frozenset(one for one in self.ids if one not in self._others and _is_telling(one))
        self._spelled = {spelled: one for one in self.plain for spelled in _spellings(one)}
        self._lengths = sorted({len(spelled) for spelled in self._spelled}, reverse=True)
        self._tables = np.zeros((_LEAST_BYTES // 2, 1 << 16), bool)
        for spelled in self._spelled:
            self._tables[range(_LEAST_BYTES // 2), np.frombuffer(spelled[:_LEAST_BYTES], "<u2")] = True
        self._covers: dict[str, list[tuple[bytes, int]]] = {}

    @cached_property
    def reach(self) -> int:
        """Bytes on both sides of a place that decide whether an id stands there."""
        return max([1, *self._lengths]) + max([1, *map(len, self._others)]) * 4

    def hits(self, data: bytes, *, is_text: bool = False) -> Iterator[Hit]:
        """Yields where ids stand, from the left, none inside another.

        Args:
            data: The bytes.
            is_text: Whether an id must stand as a word of its own; in a binary file anything may stand beside it.
        """
        end = 0
        for place in self._places(data):
            if place < end:
                continue
            for length in self._lengths:
                one = self._spelled.get(data[place : place + length])
                if one is None or self._is_covered(data, place, one):
                    continue
                if is_text and not _stands_alone(data, place, place + length):
                    continue
                end = place + length
                yield place, end
                break

    def _places(self, data: bytes) -> list[int]:
        """Returns the places whose first bytes are those of an id."""
        if len(data) < _LEAST_BYTES or not self._spelled:
            return []
        letters = np.frombuffer(data, np.uint8).astype(np.uint16)
        pairs = letters[:-1] | (letters[1:] << np.uint16(8))
        last = len(data) - _LEAST_BYTES + 1
        may = np.ones(last, bool)
        for number, table in enumerate(self._tables):
            may &= table[pairs[2 * number : 2 * number + last]]
        return np.flatnonzero(may).tolist()

    def _is_covered(self, data: bytes, place: int, one: str) -> bool:
        """Returns whether what stands there is a longer id or word that is to stay."""
        if one not in self._covers:
            self._covers[one] = [
                (other.encode(), len(other[: found.start()].encode()))
                for other in self._around(one)
                for found in re.finditer(f"(?={re.escape(one)})", other)
            ]
        return any(before <= place and data.startswith(other, place - before) for other, before in self._covers[one])

    def _around(self, one: str) -> Iterator[str]:
        text, place = self._joined, 0
        while (place := text.find(one, place)) >= 0:
            start, end = text.rfind("\0", 0, place) + 1, text.find("\0", place)
            yield text[start:end]
            place = end

    @cached_property
    def _joined(self) -> str:
        return "\0".join(["", *sorted(self._others), ""])


def _is_telling(one: str) -> bool:
    return len(one) >= _LEAST_DIGITS if one.isascii() and one.isdigit() else len(one.encode()) >= _LEAST_BYTES


def _spellings(one: str) -> set[bytes]:
    """Returns an id as files of text, JSON, HTML, messages, paths and protobufs may have it."""
    texts = {one, json.dumps(one)[1:-1], json.dumps(one, ensure_ascii=False)[1:-1], html.escape(one)}
    texts |= {html.escape(on_one_line(one, None)), on_one_line(one, None), repr(one)[1:-1], quote(one), quote(one, "")}
    octal = "".join(chr(byte) if 32 <= byte < 127 else f"\\{byte:03o}" for byte in one.encode())
    return {text.encode() for text in texts | {octal}}


def _stands_alone(data: bytes, start: int, end: int) -> bool:
    """Returns whether no letter, digit or decimal point of a number goes on with it."""
    before, after = data[max(0, start - 2) : start].decode("latin-1"), data[end : end + 2].decode("latin-1")
    goes_on = _WORD.match(before[-1:]) or re.fullmatch(r"\d\.", before)
    return not (goes_on or _WORD.match(after[:1]) or re.fullmatch(r"\.\d", after))
