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
from typing import Any

from serving.protocol.errors import RequestError, invalid_argument
from serving.server.rest import json_numbers
from serving.server.rest.json_limits import half_pair
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
_LONG_EXPONENT = re.compile(rb"[eE]\+?\d{3}")
_DIGITS_AS_ZEROS = bytes(ord("0") if chr(byte).isdigit() and byte < 128 else byte for byte in range(256))
# The largest double has 309 before its point, and an exponent of two digits stands for up to 99.
_TOO_MANY_DIGITS = b"0" * 200
# Larger bodies are not looked through: `_float` finds numbers that are too big, and lets other threads run meanwhile.
_LOOKED_THROUGH = 2**20


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
    if len(body) > _LOOKED_THROUGH:
        return _float
    may_be_too_big = _LONG_EXPONENT.search(body) or _TOO_MANY_DIGITS in body.translate(_DIGITS_AS_ZEROS)
    return _float if may_be_too_big else float


def parse_object(body: bytes) -> dict[str, Any]:
    """Parses a body that must be a JSON object; NaN and Infinity are allowed, bytes that are no UTF-8 are kept.

    Args:
        body: The document, within the bounds of JsonLimits.

    Raises:
        RequestError: INVALID_ARGUMENT, if it is something else.
    """
    if not body:
        raise invalid_argument("JSON Parse error: The document is empty")
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


def parse_lifted(body: bytes) -> dict[str, Any] | None:
    """Parses a body with long lists of numbers, which become arrays; None where `parse_object` must read all of it.

    Args:
        body: The document, within the bounds of JsonLimits.
    """
    if len(body) < json_numbers.SHORTEST_BODY:
        return None
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
    if (place := half_pair(body)) is not None:
        raise invalid_argument(f"JSON Parse error: The surrogate pair in string is invalid. at offset: {place}")


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
