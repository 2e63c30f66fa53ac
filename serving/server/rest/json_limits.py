"""How large a JSON body may be, counted before it is parsed.

The parser of Python holds the interpreter's lock until it ends, and all other requests wait for it. So what it gets is
bounded, and the count runs in numpy, which lets others run.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from serving.server.refusals import exceeds

Array = np.ndarray[Any, Any]

_PIECE = 2**20
# A body below this that has fewer of each character than the limits allow is not looked at any closer.
_SMALL = 2**16
_QUOTE, _BACKSLASH, _COMMA, _COLON = b'"\\,:'
# With this bit set, a bracket is a brace.
_AS_BRACE = 0x20
_OPEN, _CLOSE = b"{}"


@dataclass(frozen=True)
class JsonLimits:
    """Limits of a document; 0 = no limit.

    Attributes:
        max_values: Numbers, words and all other values.
        max_strings: Words, and as many names of values.
        max_lists: Lists and objects.
        max_depth: Lists and objects inside each other.
    """

    max_values: int = 4 * 2**20
    max_strings: int = 256 * 2**10
    max_lists: int = 65536
    max_depth: int = 64

    def check(self, body: bytes) -> None:
        """Refuses a document that would become too many Python objects.

        Raises:
            RequestError: INVALID_ARGUMENT. It names the flag, its value and what was received.
        """
        if len(body) < _SMALL and self._is_surely_fine(body):
            return
        found = count(body)
        for flag, limit, received, what in (
            ("rest_api_max_json_lists", self.max_lists, found.lists, "lists and objects"),
            ("rest_api_max_json_depth", self.max_depth, found.depth, "levels"),
            ("max_request_strings", self.max_strings, found.strings, "strings"),
            ("max_request_strings", self.max_strings, found.names, "names"),
            ("max_request_values", self.max_values, found.values, "values"),
        ):
            if 0 < limit < received:
                raise exceeds(flag, limit, received, what, "JSON body")

    def _is_surely_fine(self, body: bytes) -> bool:
        lists = body.count(b"[") + body.count(b"{")
        return all(
            limit == 0 or most <= limit
            for most, limit in (
                (lists, self.max_lists),
                (lists, self.max_depth),
                (body.count(b'"') // 2, self.max_strings),
                (body.count(b",") + 1, self.max_values),
            )
        )


@dataclass(frozen=True)
class Counts:
    """What is in a document. Of one that is no JSON, it is what a parser could find before it notices.

    Attributes:
        values: As in JsonLimits.
        strings: Words.
        names: Of values of objects.
        lists: As in JsonLimits.
        depth: As in JsonLimits.
    """

    values: int
    strings: int
    names: int
    lists: int
    depth: int


def count(body: bytes) -> Counts:
    """Returns what is in a document, without parsing it."""
    quotes = commas = colons = lists = level = depth = 0
    for _, piece, escapes in escaped_pieces(body):
        is_quote = piece == _QUOTE
        is_quote[escapes[escapes + 1 < len(piece)] + 1] = False
        # Bytes after an odd number of quotes are inside a string. Sums of uint8 wrap, but stay odd or even.
        is_outside = ((np.cumsum(is_quote, dtype=np.uint8) + quotes % 2) & 1) == 0
        quotes += int(np.count_nonzero(is_quote))
        commas += int(np.count_nonzero((piece == _COMMA) & is_outside))
        colons += int(np.count_nonzero((piece == _COLON) & is_outside))
        braces = piece | _AS_BRACE
        is_open = (braces == _OPEN) & is_outside
        steps = is_open.astype(np.int8) - ((braces == _CLOSE) & is_outside)
        levels = level + np.cumsum(steps[steps != 0], dtype=np.int64)
        lists += int(np.count_nonzero(is_open))
        if len(levels):
            depth, level = max(depth, int(levels.max())), int(levels[-1])
    strings = (quotes + 1) // 2 - colons
    return Counts(values=commas + 1, strings=strings, names=colons, lists=lists, depth=depth)


def escaped_pieces(body: bytes) -> Iterator[tuple[int, Array, Array]]:
    """Yields a document in pieces: where each begins, its bytes, and the positions in it of backslashes that escape."""
    is_escaped = False  # whether the first byte of the piece is
    for start in range(0, len(body), _PIECE):
        piece = np.frombuffer(body, np.uint8, count=min(_PIECE, len(body) - start), offset=start)
        if is_escaped:
            piece = piece.copy()
            piece[0] = 0
        backslashes = np.flatnonzero(piece == _BACKSLASH)
        # In a run of backslashes each second one is escaped by the one before.
        is_first = np.diff(backslashes, prepend=-2) != 1
        first = np.maximum.accumulate(np.where(is_first, backslashes, 0))
        escapes = backslashes[(backslashes - first) % 2 == 0]
        is_escaped = len(escapes) > 0 and int(escapes[-1]) == len(piece) - 1
        yield start, piece, escapes


def half_pair(body: bytes) -> int | None:
    """Returns where an escaped half of a surrogate pair stands without its other half, None where none does."""
    data = np.frombuffer(body, np.uint8)
    places = []
    for start, _, in_piece in escaped_pieces(body):
        escapes = in_piece[in_piece + (start + 5) < len(data)] + start
        is_half = (data[escapes + 1] == ord("u")) & (data[escapes + 2] | 0x20 == ord("d"))
        places.append(escapes[is_half & (data[escapes + 3] >= ord("8"))])
    places_of_halves = np.concatenate(places) if places else np.zeros(0, np.int64)
    # 8, 9, a and b begin a pair, c to f end one.
    is_second = (data[places_of_halves + 3] | 0x20) >= ord("c")
    follows = np.diff(places_of_halves, prepend=-7) == 6
    pairs_before = np.concatenate([[False], ~is_second[:-1]]) if len(is_second) else is_second
    is_paired_second = is_second & follows & pairs_before
    is_paired_first = ~is_second & np.concatenate([is_paired_second[1:], [False]])[: len(is_second)]
    alone = places_of_halves[~(is_paired_first | is_paired_second)]
    return int(alone[0]) if len(alone) else None
