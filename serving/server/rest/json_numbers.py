"""Lists of numbers in a JSON body, read into arrays at once, without a Python object for each number.

Only what is plain is read here: long lists of decimal numbers, and lists of such lists of one length. Everything else
is left to `json_document`, and so are all errors.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

# Whole strings, so that no bracket inside one counts, and runs of what lists of numbers are made of.
_PARTS = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"?|\[[-+.eE\d,\[\] ]{32,}', re.DOTALL)
# A list is replaced by this integer and its position. A body that has these digits is not plain.
_MARK = "2718281828459045"
# In a plain body most commas are inside lists of numbers.
_COMMAS_PER_QUOTE = 4
_CHUNK = 2**20
# Larger integers cannot be read as float32 without loss, and `json_tensors` decides about each.
_LARGEST = 2**24 - 1

_OTHER, _ZERO, _DIGIT, _POINT, _EXPONENT, _PLUS, _MINUS, _COMMA = range(8)
_KINDS = np.zeros(256, np.uint8)
for _characters, _kind in (
    (b"0", _ZERO),
    (b"123456789", _DIGIT),
    (b".", _POINT),
    (b"eE", _EXPONENT),
    (b"+", _PLUS),
    (b"-", _MINUS),
    (b",[]", _COMMA),
):
    _KINDS[list(_characters)] = _kind
# What may follow each kind of character. numpy's reader refuses the rest: two points, two exponents.
_AFTER_DIGIT = (_ZERO, _DIGIT, _POINT, _EXPONENT, _COMMA)
_FOLLOWS = np.zeros((8, 8), bool)
for _kind, _next in {
    _ZERO: _AFTER_DIGIT,
    _DIGIT: _AFTER_DIGIT,
    _POINT: (_ZERO, _DIGIT),
    _EXPONENT: (_ZERO, _DIGIT, _PLUS, _MINUS),
    _PLUS: (_ZERO, _DIGIT),
    _MINUS: (_ZERO, _DIGIT),
    _COMMA: (_ZERO, _DIGIT, _MINUS),
}.items():
    _FOLLOWS[_kind, list(_next)] = True
_IS_AFTER_ZERO = np.isin(np.arange(8), (_ZERO, _DIGIT))


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
    if body.count(b'"') * _COMMAS_PER_QUOTE > body.count(b",") or _MARK.encode() in body:
        return None
    rest: list[bytes] = []
    arrays: list[Array] = []
    end = 0
    for part in _PARTS.finditer(body):
        if part[0].startswith(b'"'):
            continue
        text = part[0].rstrip(b", ")
        array = read_numbers(text)
        if array is None:
            return None
        # Spaces keep apart what would otherwise become one number.
        rest += [body[end : part.start()], f" {_MARK}{len(arrays)} ".encode()]
        arrays.append(array)
        end = part.start() + len(text)
    return Lifted(b"".join([*rest, body[end:]]), arrays) if arrays else None


def read_numbers(text: bytes) -> Array | None:
    """Returns a list of numbers, or of lists of numbers of one length; None for anything else or unusual.

    Args:
        text: It begins with a bracket.
    """
    text = text.replace(b", ", b",")
    is_matrix = text.startswith(b"[[")
    if not text.endswith(b"]]" if is_matrix else b"]"):
        return None
    lengths = _row_lengths(text)
    framed = text[1:-1].replace(b"],[", b",") if is_matrix else text
    if len(lengths) != 1 or not _are_numbers(framed):
        return None
    values = _values(framed)
    if values is None:
        return None
    return values.reshape(-1, lengths.pop()) if is_matrix else values


def _values(framed: bytes) -> Array | None:
    """Returns the numbers inside a bracket, read in pieces, so that no second copy of the text is made."""
    values = np.empty(framed.count(b",") + 1)
    start, done, last = 1, 0, len(framed) - 1
    while start < last:
        cut = last if last - start <= _CHUNK else framed.rfind(b",", start, start + _CHUNK)
        try:
            piece = np.fromstring(framed[start:cut], np.float64, sep=",")
        except (ValueError, DeprecationWarning):
            return None
        # numpy stops at what is no number.
        if cut < start or len(piece) != framed.count(b",", start, cut) + 1 or not np.all(np.abs(piece) <= _LARGEST):
            return None
        values[done : done + len(piece)] = piece
        start, done = cut + 1, done + len(piece)
    return values


def _row_lengths(text: bytes) -> set[int]:
    """Returns how many values the rows have, each length once."""
    lengths, start = set(), 0
    while (end := text.find(b"],[", start)) >= 0:
        lengths.add(text.count(b",", start, end) + 1)
        start = end + 3
    return lengths | {text.count(b",", start) + 1}


def _are_numbers(framed: bytes) -> bool:
    """Returns whether characters follow each other as in JSON's numbers with commas between and a bracket around."""
    # Every check looks at four characters at most.
    data = np.frombuffer(framed, np.uint8)
    return all(_is_fine(_KINDS[data[start : start + _CHUNK + 3]]) for start in range(0, len(data), _CHUNK))


def _is_fine(kinds: Array) -> bool:
    if not _FOLLOWS[kinds[:-1], kinds[1:]].all():
        return False
    zeros = np.flatnonzero(kinds[1:-1] == _ZERO) + 1
    before, after = kinds[zeros - 1], kinds[zeros + 1]
    if np.any((before == _COMMA) & _IS_AFTER_ZERO[after]):
        return False  # 01
    zeros = zeros[(before == _MINUS) & (zeros > 1)]
    is_first = kinds[zeros - 2] == _COMMA
    # -01, and -0, which is an integer and so has no sign.
    return not np.any(is_first & (_IS_AFTER_ZERO[kinds[zeros + 1]] | (kinds[zeros + 1] == _COMMA)))
