"""A look at the bytes of a message before it is read: how many objects it would become.

Two bytes can stand for a field of a hundred. Seven million empty strings fit into a message of 15 MB. And
protobuf needs quadratic time for a map whose entries come in the order of its table: seconds for 300,000 of them.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

_VARINT, _FIXED64, _BYTES, _GROUP, _END_GROUP, _FIXED32 = range(6)
_LONGEST_VARINT = 63  # bits
_SIZES = {_FIXED64: 8, _FIXED32: 4, _GROUP: 0, _END_GROUP: 0}


@functools.cache
def _inner(message: Any) -> Mapping[int, Any]:
    """Returns the descriptors of the fields that are messages, by field number."""
    return {field.number: field.message_type for field in message.fields if field.message_type is not None}


@functools.cache
def _maps(message: Any) -> frozenset[int]:
    """Returns the numbers of the fields that are maps."""
    return frozenset(number for number, kind in _inner(message).items() if kind.GetOptions().map_entry)


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


class Parts(NamedTuple):
    """What is in a message.

    Attributes:
        fields: Fields, those of messages inside it included.
        entries: Of the largest map, such as the inputs of a request or the features of a tf.Example.
    """

    fields: int
    entries: int


def count_parts(data: bytes, message: Any, *, most: int, most_entries: int | None = None) -> Parts:
    """Returns how much a message has.

    Args:
        data: The message on the wire. Where it cannot be read, the count ends: whoever reads it refuses it.
        message: Its descriptor.
        most: The count ends soon after so many fields.
        most_entries: The count ends soon after so many entries of one map; None = no limit.
    """
    if most_entries is None:
        most_entries = len(data)
    count = largest = 0
    spans = [(0, len(data), message)]
    try:
        while spans and count <= most and largest <= most_entries:
            position, end, kind = spans.pop()
            inner, maps = _inner(kind), _maps(kind)
            entries = 0
            while position < end and count <= most and entries <= most_entries:
                tag, position = _varint(data, position)
                count += 1
                wire_type = tag & 7
                if wire_type == _BYTES:
                    size, position = _varint(data, position)
                    if tag >> 3 in inner:
                        spans.append((position, min(position + size, end), inner[tag >> 3]))
                        entries += tag >> 3 in maps
                    position += size
                elif wire_type == _VARINT:
                    _, position = _varint(data, position)
                else:
                    position += _SIZES[wire_type]
                largest = max(largest, entries)
    except (IndexError, KeyError):  # it ends in the middle, or has a type that there is not
        pass
    return Parts(count, largest)
