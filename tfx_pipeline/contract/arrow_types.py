"""Questions about Arrow types: whether one holds text, numbers or lists, in whatever form a writer chose."""

from __future__ import annotations

import pyarrow as pa


def plain_type(arrow_type: pa.DataType) -> pa.DataType:
    """Returns the type of a dictionary's values; any other type as it is."""
    return arrow_type.value_type if pa.types.is_dictionary(arrow_type) else arrow_type


def is_text(arrow_type: pa.DataType) -> bool:
    """Returns whether the type is one of Arrow's string types, dictionary-encoded or not."""
    plain = plain_type(arrow_type)
    # Compared by name, because only newer versions of Arrow have string_view.
    return str(plain) in ("string", "large_string", "string_view")


def is_number(arrow_type: pa.DataType) -> bool:
    """Returns whether the type is one of whole numbers, floats or decimals, dictionary-encoded or not."""
    plain = plain_type(arrow_type)
    return any(test(plain) for test in (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal))


def is_list(arrow_type: pa.DataType) -> bool:
    """Returns whether the type is a list, large list or list of a fixed size."""
    return any(test(arrow_type) for test in (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list))


def element_type(arrow_type: pa.DataType) -> pa.DataType:
    """Returns the type of a list's elements; the plain type where it is not a list."""
    plain = plain_type(arrow_type)
    return plain_type(plain.value_type) if is_list(plain) else plain


def stated_length(arrow_type: pa.DataType) -> int:
    """Returns the length that a list of a fixed size states; 1 for every other type."""
    return int(arrow_type.list_size) if pa.types.is_fixed_size_list(arrow_type) else 1
