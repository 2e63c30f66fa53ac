"""The kinds of fields as tables hold them: Arrow types, how values are checked, and how a CSV file writes them.

`bcl_keras.kinds` has the same kinds as the models see them. Checking an input must not load Keras, so this room repeats
the names; a test compares the two tables.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa

from tfx_pipeline.contract.arrow_types import element_type, is_list, is_number, is_text, plain_type
from tfx_pipeline.contract.columns import Place, clean_category, clean_multi, clean_number, clean_vector
from tfx_pipeline.contract.errors import broken

FieldKind = Literal["category", "multi_category", "number", "vector"]


@dataclass(frozen=True)
class ArrowKind:
    """One kind of field in Arrow.

    Attributes:
        expected: The Arrow types that a songs.parquet may use, in words.
        type: The type in the prepared songs.parquet.
        csv_type: The type into which a CSV file is read.
        csv_styles: The ways in which a CSV file may write its cells.
        clean: Checks one batch of a column and returns it in `type`.
        is_sized: Whether all values have one length, which the field states.
    """

    expected: str
    type: pa.DataType
    csv_type: pa.DataType
    csv_styles: tuple[str, ...]
    clean: Callable[[pa.Array, Place], pa.Array]
    is_sized: bool = False

    @property
    def is_categorical(self) -> bool:
        """Whether values are words, for which Transform makes a vocabulary. Else they are numbers."""
        return is_text(element_type(self.type))

    @property
    def is_list(self) -> bool:
        """Whether one song has a list of values."""
        return is_list(self.type)


#: What Arrow needs to know of each kind.
ARROW_KINDS: dict[FieldKind, ArrowKind] = {
    "category": ArrowKind(
        expected="string (category)",
        type=pa.string(),
        csv_type=pa.string(),
        csv_styles=("word", "empty"),
        clean=clean_category,
    ),
    "multi_category": ArrowKind(
        expected="list<string> (multi-valued category)",
        type=pa.list_(pa.string()),
        csv_type=pa.list_(pa.string()),
        csv_styles=("words_by_pipe", "words_in_brackets", "ids_in_brackets"),
        clean=clean_multi,
    ),
    "number": ArrowKind(
        expected="int or float (number)",
        type=pa.float32(),
        csv_type=pa.float64(),
        csv_styles=("number", "number_with_comma"),
        clean=clean_number,
    ),
    "vector": ArrowKind(
        expected="list<float> (dense vector)",
        type=pa.list_(pa.float32()),
        csv_type=pa.list_(pa.float64()),
        csv_styles=("numbers_by_pipe", "numbers_in_brackets"),
        clean=clean_vector,
        is_sized=True,
    ),
}


def find_kind(*, is_categorical: bool, is_list: bool) -> FieldKind:
    """Returns the first kind of the table with this type, where only the type is known."""
    return next(
        name for name, kind in ARROW_KINDS.items() if kind.is_categorical == is_categorical and kind.is_list == is_list
    )


def kind_of_style(style: str) -> FieldKind:
    """Returns the kind of a CSV column whose cells are written in this way."""
    return next(name for name, kind in ARROW_KINDS.items() if style in kind.csv_styles)


def possible_kind(arrow_type: pa.DataType) -> FieldKind | None:
    """Returns the kind of field that an Arrow type can hold; None where it can hold none."""
    plain, element = plain_type(arrow_type), element_type(arrow_type)
    if is_text(element):
        return find_kind(is_categorical=True, is_list=is_list(plain))
    # A list of whole numbers may be ids as well as a vector, so it is none until its writer says which.
    if is_number(element) and not (is_list(plain) and pa.types.is_integer(element)):
        return find_kind(is_categorical=False, is_list=is_list(plain))
    return None


def kind_of(arrow_type: pa.DataType, column: str, file: object) -> FieldKind | None:
    """Returns the kind of field that an Arrow type says; None for the type null and for lists of it.

    Args:
        arrow_type: Type of the column.
        column: Name of the column, for the message.
        file: The file that has it, for the message.

    Raises:
        ContractError: No kind has the type. A decimal counts as a float.
    """
    kind, element = possible_kind(arrow_type), element_type(arrow_type)
    if kind or pa.types.is_null(element):
        return kind
    remedy = _REMEDIES.get(str(plain_type(arrow_type)), "")
    if pa.types.is_integer(element):
        remedy = "Write ids as list<string>, a dense vector as list<float>."
    *others, last = [kind.expected for kind in ARROW_KINDS.values()]
    raise broken(file, f"{', '.join(others)} or {last}", arrow_type, column=column, remedy=remedy)


_REMEDIES = {"bool": "Write it as strings (a category) or as 0 and 1 (a number)."}


def clean(kind: FieldKind, array: pa.Array, place: Place) -> pa.Array:
    """Returns one batch of a column of fields, checked and in the type of its kind; null is missing.

    Raises:
        ContractError: A value breaks the contract.
    """
    return array if pa.types.is_null(array.type) else ARROW_KINDS[kind].clean(array, place)
