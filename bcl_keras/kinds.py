"""The kinds of fields, and how the values of each are laid out for the models.

This table is the only place of the library that names a kind. Layers and models ask it how values look. A pipeline adds
what a kind is in its own files and messages: see `tfx_pipeline.contract.kinds` for Arrow and
`serving.savedmodel.raw_fields` for TensorFlow.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

FieldKind = Literal["category", "multi_category", "number", "vector"]


@dataclass(frozen=True)
class Kind:
    """The layout of the values of one kind of field.

    Args:
        is_categorical: Whether values are ids of a vocabulary. Else they are numbers.
        is_list: Whether a song has a row of values. Else it has one value.
        is_sized: Whether every row has as many values as the field's size says. Else rows are padded.
    """

    is_categorical: bool
    is_list: bool = False
    is_sized: bool = False

    @property
    def dtype(self) -> str:
        """Data type of the values."""
        return "int32" if self.is_categorical else "float32"

    @property
    def rank(self) -> int:
        """Number of axes of a batch of values."""
        return 2 if self.is_list else 1

    @property
    def missing(self) -> float:
        """The value that stands for a missing one: the id 0, or NaN."""
        return 0 if self.is_categorical else float("nan")

    def row_shape(self, size: int) -> tuple[int | None, ...]:
        """Return the shape of one song's values, `None` where the length may differ between batches.

        Args:
            size: Size of the field.
        """
        if not self.is_list:
            return ()
        return (size,) if self.is_sized else (None,)


#: The layout by the name of the kind.
KINDS: dict[FieldKind, Kind] = {
    "category": Kind(is_categorical=True),
    "multi_category": Kind(is_categorical=True, is_list=True),
    "number": Kind(is_categorical=False),
    "vector": Kind(is_categorical=False, is_list=True, is_sized=True),
}
