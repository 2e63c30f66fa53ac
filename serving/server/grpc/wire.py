"""A look at the bytes of a message before it is read: how many objects it would become.

Two bytes can stand for a field of a hundred. Seven million empty strings fit into a message of 15 MB.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

_VARINT, _FIXED64, _BYTES, _GROUP, _END_GROUP, _FIXED32 = range(6)
_LONGEST_VARINT = 63  # bits
_SIZES = {_FIXED64: 8, _FIXED32: 4, _GROUP: 0, _END_GROUP: 0}


@functools.cache
def _inner(message: Any) -> Mapping[int, Any]:
    """Returns the descriptors of the fields that are messages, by field number."""
    return {field.number: field.message_type for field in message.fields if field.message_type is not None}


def _varint(data: bytes, position: int) -> tuple[int, int]:
    """Returns a number and where it ends."""
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
        if shift > _LONGEST_VARINT:  # a number of a million bytes would take minutes
            raise IndexError(position)


def count_parts(data: bytes, message: Any, *, most: int) -> int:
    """Returns how many fields a message has, those of messages inside it included.

    Args:
        data: The message on the wire. Where it cannot be read, the count ends: whoever reads it refuses it.
        message: Its descriptor.
        most: The count ends soon after so many.
    """
    count, spans = 0, [(0, len(data), message)]
    try:
        while spans and count <= most:
            position, end, kind = spans.pop()
            inner = _inner(kind)
            while position < end and count <= most:
                tag, position = _varint(data, position)
                count += 1
                wire_type = tag & 7
                if wire_type == _BYTES:
                    size, position = _varint(data, position)
                    if tag >> 3 in inner:
                        spans.append((position, min(position + size, end), inner[tag >> 3]))
                    position += size
                elif wire_type == _VARINT:
                    _, position = _varint(data, position)
                else:
                    position += _SIZES[wire_type]
    except (IndexError, KeyError):  # it ends in the middle, or has a type that there is not
        pass
    return count
