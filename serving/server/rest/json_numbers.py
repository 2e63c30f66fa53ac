"""Lists of numbers in a JSON body, read into arrays at once, without a Python object for each number.

Only what is plain is read here: long lists of decimal numbers, and lists of such lists of one length. Everything else
is left to `json_document`, and so are all errors.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

# Whole strings, so that no bracket inside one counts, and runs of what lists of numbers are made of.
_PARTS = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"?|\[[-+.eE\d,\[\] ]{32,}', re.DOTALL)
# A list is replaced by this integer and its position. A body that has these digits is not plain.
_MARK = "2718281828459045"
#: Bytes of a body. Below this, Python's own reader is faster, and memory does not matter.
SHORTEST_BODY = 2**16
# In a plain body most commas are inside lists of numbers.
_COMMAS_PER_QUOTE = 4
# The search keeps a place for each escape in a string, and lets no other thread run meanwhile.
_MOST_ESCAPES = 2**16
_PIECE = 2**18
# Larger integers cannot be read as float32 without loss, and `json_tensors` decides about each.
_LARGEST = 2**24 - 1

_ZERO, _DIGIT, _POINT, _EXPONENT, _PLUS, _MINUS, _COMMA, _SPACE, _OTHER = range(9)
_CHARACTERS = {
    _ZERO: b"0",
    _DIGIT: b"123456789",
    _POINT: b".",
    _EXPONENT: b"eE",
    _PLUS: b"+",
    _MINUS: b"-",
    _COMMA: b",",
    _SPACE: b" ",
}
_KINDS = bytes(next((kind for kind, those in _CHARACTERS.items() if byte in those), _OTHER) for byte in range(256))
# What may follow each kind of character. numpy's reader refuses the rest: two points, two exponents.
_AFTER_DIGIT = (_ZERO, _DIGIT, _POINT, _EXPONENT, _COMMA)
_MAY_FOLLOW = {
    _ZERO: _AFTER_DIGIT,
    _DIGIT: _AFTER_DIGIT,
    _POINT: (_ZERO, _DIGIT),
    _EXPONENT: (_ZERO, _DIGIT, _PLUS, _MINUS),
    _PLUS: (_ZERO, _DIGIT),
    _MINUS: (_ZERO, _DIGIT),
    _COMMA: (_ZERO, _DIGIT, _MINUS, _SPACE),
    _SPACE: (_ZERO, _DIGIT, _MINUS),
}
_FINE_PAIRS = bytes(kind * 16 + after for kind, those in _MAY_FOLLOW.items() for after in those)


class NotPlainError(Exception):
    """An array stands where only `json_document` knows what to do."""


class Lifted:
    """A body whose lists of numbers were taken out.

    Attributes:
        body: The rest, with an integer in place of each list.
        arrays: The lists, float64, of one or two dimensions.
    """

    def __init__(self, body: bytes, arrays: list[Array]) -> None:
        self.body = body
        self.arrays = arrays

    def array(self, digits: str) -> Array | None:
        """Returns the list that an integer of the rest stands for, None for an integer of the body itself."""
        return self.arrays[int(digits[len(_MARK) :])] if digits.startswith(_MARK) else None


def lift(body: bytes) -> Lifted | None:
    """Takes the lists of numbers out of a body; None where there are none, or anything is unusual."""
    if body.count(b'"') * _COMMAS_PER_QUOTE > body.count(b","):
        return None
    if _MARK.encode() in body or body.count(b"\\") > _MOST_ESCAPES:
        return None
    rest: list[bytes] = []
    arrays: list[Array] = []
    end = 0
    for part in _PARTS.finditer(body):
        start, stop = part.span()
        if body[start] == ord('"'):
            continue
        while body[stop - 1] in b", ":
            stop -= 1
        array = read_numbers(body, start, stop)
        if array is None:
            return None
        # Spaces keep apart what would otherwise become one number.
        rest += [body[end:start], f" {_MARK}{len(arrays)} ".encode()]
        arrays.append(array)
        end = stop
    return Lifted(b"".join([*rest, body[end:]]), arrays) if arrays else None


def read_numbers(body: bytes, start: int, stop: int) -> Array | None:
    """Returns a list of numbers, or of lists of numbers of one length; None for anything else or unusual.

    Args:
        body: A document.
        start: Where the list begins, with its bracket.
        stop: Where it ends, after its bracket.
    """
    depth = 2 if body.startswith(b"[[", start, stop) else 1
    if stop - start <= 2 * depth or not body.endswith(b"]" * depth, start, stop):
        return None
    start, stop = start + depth, stop - depth
    between = b"," if depth == 1 else b"], [" if body.find(b"], [", start, stop) >= 0 else b"],["
    values = np.empty(body.count(b",", start, stop) + 1)
    done, widths = 0, set()
    for piece in _pieces(body, start, stop, between):
        if depth > 1:
            widths |= {row.count(b",") + 1 for row in piece.split(between)}
        numbers = _numbers(piece.replace(between, b","))
        if numbers is None or len(widths) > 1:
            return None
        values[done : done + len(numbers)] = numbers
        done += len(numbers)
    return values.reshape(-1, widths.pop()) if depth > 1 else values


def _pieces(body: bytes, start: int, stop: int, between: bytes) -> Iterator[bytes]:
    """Yields a text in pieces that end where a separator is, so that no second copy of all of it is made."""
    while start <= stop:
        cut = body.find(between, min(start + _PIECE, stop), stop)
        cut = stop if cut < 0 else cut
        yield body[start:cut]
        start = cut + len(between)


def _numbers(text: bytes) -> Array | None:
    """Returns numbers with commas between, None where one of them is no JSON or large."""
    if not _are_numbers(text):
        return None
    try:
        numbers = np.fromstring(text, np.float64, sep=",")
    except (ValueError, DeprecationWarning):
        return None
    # numpy stops at what is no number.
    is_whole = len(numbers) == text.count(b",") + 1
    return numbers if is_whole and np.all(np.abs(numbers) <= _LARGEST) else None


def _are_numbers(text: bytes) -> bool:
    """Returns whether characters follow each other as in JSON's numbers with commas between."""
    kinds = np.frombuffer(b"%c%b%c" % (_COMMA, text.translate(_KINDS), _COMMA), np.uint8)
    if (kinds[:-1] * 16 + kinds[1:]).tobytes().translate(None, _FINE_PAIRS):
        return False
    zeros = np.flatnonzero(kinds == _ZERO)
    before, after = kinds[zeros - 1], kinds[zeros + 1]
    if np.any((before >= _COMMA) & (after <= _DIGIT)):
        return False  # 01
    is_first = (before == _MINUS) & (kinds[zeros - 2] >= _COMMA)
    # -01, and -0, which is an integer and so has no sign.
    return not np.any(is_first & ((after <= _DIGIT) | (after == _COMMA)))
