"""What a song is described by: named fields, each of a kind in `bcl_keras.kinds`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bcl_keras.kinds import KINDS, FieldKind, Kind

Array = npt.NDArray[Any]
#: How many values of a list of ids count: the first known ones, in training and wherever a song is embedded.
MAX_VALUES = 32

#: The block of all single numbers.
NUMBERS = "numbers"


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
        max_values: How many values of a `"multi_category"` count: the first ones that are not 0. All layers and models
            follow it, so a song has the same embedding everywhere. Defaults to 32.

    Raises:
        ValueError: If `kind` is unknown, or `size` or `max_values` does not fit it.

    Examples:
        >>> Field("genre", "category", size=12).is_categorical
        True
    """

    name: str
    kind: FieldKind
    size: int = 1
    max_values: int = MAX_VALUES

    def __post_init__(self) -> None:
        if not self.name:
            raise ValueError(f"Argument `name` must be a non-empty string. Received: {self.name!r}")
        if self.kind not in KINDS:
            raise ValueError(f"Argument `kind` must be one of {tuple(KINDS)}. Received: {self.kind!r}")
        smallest = 2 if self.is_categorical else 1
        if self.size < smallest:
            raise ValueError(
                f"Argument `size` of a {self.kind} field must be at least {smallest}. Received: {self.size}"
            )
        if self.size != 1 and not (self.is_categorical or self.is_list):
            raise ValueError(f"Argument `size` of a {self.kind} field must be 1. Received: {self.size}")
        if self.max_values < 1:
            raise ValueError(f"Argument `max_values` must be at least 1. Received: {self.max_values}")

    @property
    def layout(self) -> Kind:
        """How the values are laid out."""
        return KINDS[self.kind]

    @property
    def is_categorical(self) -> bool:
        """Whether the values are ids."""
        return self.layout.is_categorical

    @property
    def is_list(self) -> bool:
        """Whether a song has a row of values."""
        return self.layout.is_list

    @property
    def rank(self) -> int:
        """Number of axes of a batch of values."""
        return self.layout.rank

    @property
    def dtype(self) -> str:
        """Data type of the values."""
        return self.layout.dtype

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


def blocks_of(fields: Sequence[Field]) -> dict[str, tuple[Field, ...]]:
    """Return the fields by block: all single numbers together, every other field alone under its name.

    Raises:
        ValueError: If another field has the name of the block of numbers.
    """
    numbers = tuple(field for field in fields if not (field.is_categorical or field.is_list))
    alone = {field.name: (field,) for field in fields if field not in numbers}
    if numbers and NUMBERS in alone:
        raise ValueError(
            f"Argument `fields` must have no field {NUMBERS!r} beside single numbers, whose block has that name. "
            f"Received: {alone[NUMBERS][0].kind} {NUMBERS!r} and {[field.name for field in numbers]}"
        )
    return alone | ({NUMBERS: numbers} if numbers else {})


def check_values(field: Field, values: Any) -> Array:
    """Return the checked values of one field as an array of its data type.

    Args:
        field: The field.
        values: Array or lists of `(n,)` or `(n, L)` as the field's kind says.

    Raises:
        ValueError: If the rank, the type, the length of a vector or the range of ids is wrong, or a number is infinite.
            The message names the field and the first wrong row.
    """
    label = f"Field `{field.name}` ({field.kind})"
    array = _as_array(values, label, field)
    if array.ndim != field.rank:
        raise ValueError(f"{label} must have {field.rank} axes. Received: shape {array.shape}")
    if field.layout.is_sized and array.shape[1] != field.size:
        raise ValueError(f"{label} must have vectors of length {field.size}. Received: shape {array.shape}")
    return _check_ids(array, label, field.size) if field.is_categorical else _check_numbers(array, label)


def first_known(field: Field, array: Array) -> Array:
    """Return the ids that count of each list, in their order, padded at the end.

    Args:
        field: The field.
        array: `(n, L)` ids, 0 for none.

    Returns:
        `(n, length of the longest remaining list)`, at least one column.
    """
    order = np.argsort(array == 0, axis=1, kind="stable")  # values first, padding last
    longest = int((array > 0).sum(axis=1).max(initial=1))
    order = order[:, : min(max(1, longest), field.max_values)]
    return np.ascontiguousarray(np.take_along_axis(array, order, axis=1))


def _check_ids(array: Array, label: str, size: int) -> Array:
    if array.size and (array.min() < 0 or array.max() >= size):
        received = _first(array, (array < 0) | (array >= size))
        raise ValueError(f"{label} must hold ids from 0 to {size - 1}. Received: {received}")
    return array.astype("int32")


def _check_numbers(array: Array, label: str) -> Array:
    with np.errstate(over="ignore"):
        numbers = array.astype("float32")
    infinite = np.isinf(numbers)
    if infinite.any():
        beyond = ", which float32 cannot hold" if np.isfinite(array[infinite][0]) else ""
        received = f"{_first(array, infinite)}{beyond}"
        raise ValueError(f"{label} must be finite, or NaN where missing. Received: {received}")
    return numbers


def _as_array(values: Any, label: str, field: Field) -> Array:
    """Return values as an array of integers or of numbers, as the field's kind says."""
    kinds, wanted = ("iu", "integer ids") if field.is_categorical else ("fiub", "numbers")
    try:
        array = np.asarray(values)
        if array.dtype == object:
            array = np.asarray(array.tolist())  # such as a column of lists of one length
    except ValueError:
        raise ValueError(_uneven(values, label, field)) from None
    if array.size == 0:
        return array.astype(field.dtype)  # numpy takes an empty list for floats
    if array.dtype.kind in kinds:
        return array
    received = f"dtype {array.dtype}"
    for row, value in enumerate(values if array.ndim else ()):
        if np.asarray(value).dtype.kind not in kinds:
            text = repr(value) if isinstance(value, str) else str(value)
            received += f", {text[:80]} in row {row}"
            break
    raise ValueError(f"{label} must hold {wanted}. Received: {received}")


def _uneven(values: Any, label: str, field: Field) -> str:
    """Return the message that names the first row whose length differs, or that is not a list."""
    sizes = [len(value) if hasattr(value, "__len__") else None for value in values]
    row = next((row for row, size in enumerate(sizes) if size != sizes[0]), 0)
    shown = [f"{values[r]!r} in row {r}" if sizes[r] is None else f"{sizes[r]} in row {r}" for r in (row, 0)]
    padded = ", padded with 0" if field.is_list and not field.layout.is_sized else ""
    return f"{label} must have rows of one length{padded}. Received: {' after '.join(shown)}"


def _first(array: Array, wrong: Array) -> str:
    """Return the first wrong value and its row, for a message."""
    place = tuple(np.argwhere(wrong)[0])
    return f"{array[place]} in row {place[0]}"
