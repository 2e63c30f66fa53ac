"""What a song is described by: named fields of four kinds."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
FieldKind = Literal["category", "multi_category", "number", "vector"]


@dataclass(frozen=True)
class Field:
    """Describe one content field of a song.

    Args:
        name: Key of the field in a dict of features.
        kind: How its values are laid out for n songs:
            `"category"`: integers `(n,)`, 0 = missing;
            `"multi_category"`: integers `(n, L)`, padded with 0, a row of zeros = missing, L may differ per call;
            `"number"`: floats `(n,)`, NaN = missing;
            `"vector"`: floats `(n, size)`, a row that holds a NaN = missing.
        size: Number of ids including 0 for the two category kinds (valid ids are `0 .. size - 1`), length of the
            vector for `"vector"`, 1 for `"number"`. Defaults to 1.

    Raises:
        ValueError: If `kind` is unknown or `size` does not fit it.
    """

    name: str
    kind: FieldKind
    size: int = 1

    def __post_init__(self) -> None:
        if not self.name:
            raise ValueError(f"Argument `name` must be a non-empty string. Received: {self.name!r}")
        if self.kind not in get_args(FieldKind):
            raise ValueError(f"Argument `kind` must be one of {get_args(FieldKind)}. Received: {self.kind!r}")
        smallest = 2 if self.is_categorical else 1
        if self.size < smallest:
            raise ValueError(
                f"Argument `size` of a {self.kind} field must be at least {smallest}. Received: {self.size}"
            )
        if self.kind == "number" and self.size != 1:
            raise ValueError(f"Argument `size` of a number field must be 1. Received: {self.size}")

    @property
    def is_categorical(self) -> bool:
        """Whether the values are ids."""
        return self.kind in ("category", "multi_category")

    @property
    def rank(self) -> int:
        """Number of axes of a batch of values."""
        return 2 if self.kind in ("multi_category", "vector") else 1

    @property
    def dtype(self) -> str:
        """Data type of the values."""
        return "int32" if self.is_categorical else "float32"

    def to_dict(self) -> dict[str, Any]:
        """Return the plain values that `Field(**values)` restores."""
        return asdict(self)


def as_fields(fields: Any) -> tuple[Field, ...]:
    """Return fields from `Field` objects or from their dicts, as configs hold them.

    Raises:
        ValueError: If two fields share a name.
    """
    parsed = tuple(field if isinstance(field, Field) else Field(**field) for field in fields)
    names = [field.name for field in parsed]
    if len(set(names)) < len(names):
        raise ValueError(f"Argument `fields` must have distinct names. Received: {names}")
    return parsed


def check_values(field: Field, values: Any) -> Array:
    """Return the values of one field as an array of its data type, once they are known to keep its contract.

    Args:
        field: The field.
        values: Array of `(n,)` or `(n, L)` as the field's kind says.

    Raises:
        ValueError: If the rank, the length of a vector or the range of ids is wrong, or a number is infinite.
    """
    array = np.asarray(values)
    label = f"Field `{field.name}` ({field.kind})"
    if array.ndim != field.rank:
        raise ValueError(f"{label} must have {field.rank} axes. Received: shape {array.shape}")
    if field.kind == "vector" and array.shape[1] != field.size:
        raise ValueError(f"{label} must have vectors of length {field.size}. Received: shape {array.shape}")
    if not field.is_categorical:
        array = array.astype("float32")
        if np.isinf(array).any():
            raise ValueError(f"{label} must be finite, or NaN where missing. Received: {array[np.isinf(array)][0]}")
        return array
    if not np.issubdtype(array.dtype, np.integer):
        raise ValueError(f"{label} must hold integer ids. Received: dtype {array.dtype}")
    if array.size and (array.min() < 0 or array.max() >= field.size):
        received = f"ids from {array.min()} to {array.max()}"
        raise ValueError(f"{label} must hold ids from 0 to {field.size - 1}. Received: {received}")
    return array.astype("int32")
