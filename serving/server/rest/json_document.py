"""JSON bodies of REST requests, parsed as TensorFlow Serving's parser does, and what error texts show of them.

Source: tensorflow_serving/util/json_tensor.cc.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from serving.protocol.errors import RequestError, invalid_argument
from serving.server.refusals import exceeds
from serving.server.rest import json_numbers
from serving.server.rest.json_numbers import NotPlainError

# Python's words for a broken document -> those of the parser in TensorFlow Serving.
_PARSE_ERRORS = {
    "Expecting value": "Invalid value.",
    "Expecting property name enclosed in double quotes": "Missing a name for object member.",
    "Illegal trailing comma before end of object": "Missing a name for object member.",
    "Illegal trailing comma before end of array": "Invalid value.",
    "Expecting ':' delimiter": "Missing a colon after a name of object member.",
    "Expecting ',' delimiter": "Missing a comma or } after an object member.",
    "Extra data": "The document root must not be followed by other values.",
    "Unterminated string starting at": "Missing a closing quotation mark in string.",
    "Invalid \\escape": "Invalid escape character in string.",
    "Invalid \\uXXXX escape": "Incorrect hex digit after \\u escape in string.",
    "Invalid control character at": "Invalid encoding in string.",
}
_TEXT_LIMIT = 1024


def _refuse_array(value: Any) -> None:
    raise NotPlainError(f"an error text cannot show {type(value).__name__}")


_WRITER = json.JSONEncoder(indent=4, default=_refuse_array)
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_STRINGS = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
# Every escape in a document. The group matches half a surrogate pair without its other half.
_LONG_EXPONENT = re.compile(rb"[eE]\+?\d{3}")
_DIGITS_AS_ZEROS = bytes(ord("0") if chr(byte).isdigit() and byte < 128 else byte for byte in range(256))
# The largest double has 309 before its point, and an exponent of two digits stands for up to 99.
_TOO_MANY_DIGITS = b"0" * 200
_ESCAPES = re.compile(r"\\(?:u[dD][89abAB]\w\w\\u[dD][c-fC-F]\w\w|(u[dD][89a-fA-F]\w\w)|.)", re.DOTALL)


def _integer(digits: str) -> int | float:
    # Python needs quadratic time for long integers. In JSON, numbers beyond 64 bits are doubles anyway.
    if len(digits) < 20:
        return int(digits)
    number = int(digits) if len(digits) == 20 else -1
    return number if 0 <= number < 2**64 else _float(digits)


def _float(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise invalid_argument("JSON Parse error: Number too big to be stored in double. at offset: 0")
    return number


def _float_reader(body: bytes) -> Callable[[str], float]:
    """Returns what reads the decimal numbers of a body. Python's own function is faster, but refuses none."""
    may_be_too_big = _LONG_EXPONENT.search(body) or _TOO_MANY_DIGITS in body.translate(_DIGITS_AS_ZEROS)
    return _float if may_be_too_big else float


@dataclass(frozen=True)
class JsonLimits:
    """Limits of a document; 0 = no limit.

    Attributes:
        max_values: Numbers, words and all other values.
        max_lists: Lists and objects.
        max_depth: Lists and objects inside each other.
    """

    max_values: int = 4 * 2**20
    max_lists: int = 65536
    max_depth: int = 64

    def check(self, body: bytes) -> None:
        """Refuses a document that would become too many Python objects, before it is parsed.

        Raises:
            RequestError: INVALID_ARGUMENT. It names the flag, its value and what was received.
        """
        # Brackets and commas inside strings count, too. They are taken out only where that decides.
        if self._excess(body) and (error := self._excess(_STRINGS.sub(b"", body))):
            raise error

    def _excess(self, body: bytes) -> RequestError | None:
        brackets = np.frombuffer(body.translate(None, _NO_BRACKETS), np.uint8)
        opens = (brackets == ord("[")) | (brackets == ord("{"))
        steps = np.where(opens, np.int8(1), np.int8(-1))
        counts = (
            ("rest_api_max_json_lists", self.max_lists, int(opens.sum()), "lists and objects"),
            ("rest_api_max_json_depth", self.max_depth, int(steps.cumsum(dtype=np.int64).max(initial=0)), "levels"),
            ("max_request_values", self.max_values, body.count(b",") + 1, "values"),
        )
        for flag, limit, received, what in counts:
            if 0 < limit < received:
                return exceeds(flag, limit, received, what, "JSON body")
        return None


def parse_object(body: bytes, limits: JsonLimits | None = None) -> dict[str, Any]:
    """Parses a body that must be a JSON object; NaN and Infinity are allowed, bytes that are no UTF-8 are kept.

    Args:
        body: The document.
        limits: Of its size; None = those of `JsonLimits()`.

    Raises:
        RequestError: INVALID_ARGUMENT, if it is something else, or too large.
    """
    if not body:
        raise invalid_argument("JSON Parse error: The document is empty")
    (limits or JsonLimits()).check(body)
    try:
        document = json.loads(
            body.decode("utf-8", "surrogateescape"), parse_int=_integer, parse_float=_float_reader(body)
        )
    except json.JSONDecodeError as error:
        text = _PARSE_ERRORS.get(error.msg, f"{error.msg}.")
        raise invalid_argument(f"JSON Parse error: {text} at offset: {error.pos}") from error
    except (RecursionError, ValueError) as error:
        raise invalid_argument("JSON Parse error: Terminate parsing due to Handler error. at offset: 0") from error
    _check_surrogates(body)
    if not isinstance(document, dict):
        raise invalid_argument(f"JSON Value: {text_of(document)} Is not object")
    return document


def parse_lifted(body: bytes, limits: JsonLimits | None = None) -> dict[str, Any] | None:
    """Parses a body with long lists of numbers, which become arrays; None where `parse_object` must read all of it.

    Raises:
        RequestError: INVALID_ARGUMENT, if it is too large.
    """
    if len(body) < json_numbers.SHORTEST_BODY:
        return None
    (limits or JsonLimits()).check(body)
    lifted = json_numbers.lift(body)
    if lifted is None:
        return None

    def integer(digits: str) -> Any:
        array = lifted.array(digits)
        return _integer(digits) if array is None else array

    try:
        document = json.loads(lifted.body.decode("utf-8", "surrogateescape"), parse_int=integer, parse_float=_float)
        _check_surrogates(lifted.body)
    except (RecursionError, RequestError, ValueError):
        return None
    return document if isinstance(document, dict) else None


def _check_surrogates(body: bytes) -> None:
    """Refuses an escaped half of a surrogate pair without its other half, as TensorFlow Serving's parser does."""
    if b"\\ud" not in body and b"\\uD" not in body:
        return
    for escape in _ESCAPES.finditer(body.decode("utf-8", "surrogateescape")):
        if escape[1]:
            raise invalid_argument(
                f"JSON Parse error: The surrogate pair in string is invalid. at offset: {escape.start()}"
            )


def text_of(value: Any) -> str:
    """Returns a JSON value as error texts show it, cut where it is long. Only that is written: bodies may be large."""
    text = ""
    for piece in _WRITER.iterencode(value):
        text += piece
        if len(text) > _TEXT_LIMIT:
            return text[:_TEXT_LIMIT] + "..."
    return text


def kind_of(value: Any) -> str:
    """Returns the JSON type of a value as error texts name it."""
    if value is None:
        return "Null"
    if isinstance(value, bool):
        return str(value)
    names: dict[type, str] = {dict: "Object", list: "Array", str: "String"}
    return names.get(type(value), "Number")


def read_signature_name(document: Mapping[str, Any]) -> str:
    """Returns the optional `signature_name`, "" where there is none.

    Raises:
        RequestError: If it is no string.
    """
    name = document.get("signature_name", "")
    if not isinstance(name, str):
        raise invalid_argument(
            f"JSON Value: {text_of(document)} not formatted correctly. 'signature_name' key must be a string value."
        )
    return name


def is_base64(value: Any) -> bool:
    """Returns whether a value is `{"b64": "..."}`."""
    return isinstance(value, dict) and len(value) == 1 and isinstance(value.get("b64"), str)


def decode_base64(value: Any) -> bytes:
    """Returns the bytes of `{"b64": "..."}`.

    Raises:
        RequestError: If it is something else, or no base64.
    """
    if not is_base64(value):
        raise invalid_argument(f"JSON Value: {text_of(value)} not formatted correctly for base64 data")
    try:
        text = value["b64"].translate(str.maketrans("-_", "+/")).rstrip("=")
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise invalid_argument("Unable to base64 decode") from error
