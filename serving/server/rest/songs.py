"""What REST takes beyond TensorFlow Serving: songs with missing fields, and with lists of different length.

TensorFlow Serving refuses both, because a tensor has no holes. Here the body is completed to one that it accepts: a
missing word becomes "", a missing number NaN, a missing vector a row of NaN, and "" pads lists of words. An input of a
signature is a field of songs if its name has a prefix of the input contract. All other inputs stay as they are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

import numpy as np

from serving.protocol.arrays import padded
from serving.protocol.errors import RequestError, invalid_argument
from serving.protocol.protos import DATA_TYPES
from serving.server.inference.song_fields import FIELD_NAME
from serving.server.limits import Limits
from serving.server.rest.json_document import is_base64, text_of
from serving.server.rest.json_numbers import NotPlainError
from serving.server.rest.json_tensors import convert

#: The input of `match` that may be left out. Then no song is excluded.
_EXCLUDE = "exclude"
_NO_SONG = {DATA_TYPES["DT_STRING"]: "", DATA_TYPES["DT_INT64"]: -1}
# Far below the largest float32. Larger numbers are checked by `convert`.
_SURELY_FITS = 1e38
Fail = Callable[[int, str, str], RequestError]


def completed(document: Mapping[str, Any], signature: Any, limits: Limits) -> Mapping[str, Any]:
    """Returns the body of a predict request in the form that TensorFlow Serving takes.

    Args:
        document: The body.
        signature: The SignatureDef that is asked for.
        limits: Of the lists of words after they are padded.

    Raises:
        RequestError: INVALID_ARGUMENT, if a value of a song's field is wrong. Row and field are named.
    """
    fields = _fields(signature.inputs)
    rows, columns = document.get("instances"), document.get("inputs")
    if not fields or (rows is not None and columns is not None):
        return document
    if isinstance(rows, list) and rows and _is_object(rows[0]):
        return {**document, "instances": _rows(rows, fields, signature.inputs, limits)}
    if _is_object(columns):
        return {**document, "inputs": _columns(columns, fields, signature.inputs, limits)}
    return document


def _is_object(value: Any) -> TypeGuard[dict[str, Any]]:
    return isinstance(value, dict) and not is_base64(value)


@dataclass(frozen=True)
class _Field:
    """An input that is a field of songs. `size` is the length of its lists, None where any will do."""

    name: str
    is_text: bool
    is_list: bool
    size: int | None

    @property
    def missing(self) -> str | float:
        return "" if self.is_text else math.nan

    def expected(self) -> str:
        """Returns what a value must be."""
        one = "string" if self.is_text else "number"
        return f"a list of {'' if self.size is None else f'{self.size} '}{one}s" if self.is_list else f"a {one}"


def _fields(inputs: Mapping[str, Any]) -> list[_Field]:
    """Returns the inputs of a signature that are fields of songs."""
    fields = []
    for name, info in sorted(inputs.items()):
        sizes = [dim.size for dim in info.tensor_shape.dim]
        is_text, is_number = info.dtype == DATA_TYPES["DT_STRING"], info.dtype == DATA_TYPES["DT_FLOAT"]
        # A missing list of numbers needs a length.
        has_shape = len(sizes) == 1 or (len(sizes) == 2 and (is_text or sizes[1] > 0))
        if FIELD_NAME.match(name) and (is_text or is_number) and has_shape:
            is_list = len(sizes) == 2
            fields.append(_Field(name, is_text, is_list, sizes[1] if is_list and not is_text else None))
    return fields


def _rows(
    rows: Sequence[dict[str, Any]], fields: Sequence[_Field], inputs: Mapping[str, Any], limits: Limits
) -> list[Any]:
    def fail(number: int, name: str, text: str) -> RequestError:
        return invalid_argument(
            f"Failed to process element: {number} key: {name} of 'instances' list. Error: {invalid_argument(text)}"
        )

    for number, row in enumerate(rows):
        if not _is_object(row):
            raise invalid_argument(f"Expecting object but got list at item {number} of input list")
        for name in row:
            if name not in inputs:
                raise fail(number, name, f"JSON object: does not have named input: {name}{_known(inputs)}")
        for name in sorted(set(inputs) - set(row) - {field.name for field in fields} - {_EXCLUDE}):
            raise fail(number, name, f"Missing named input: {name}")
    filled = {field.name: _filled([row.get(field.name) for row in rows], field, fail, limits) for field in fields}
    if _EXCLUDE in inputs:
        filled[_EXCLUDE] = _exclude([row.get(_EXCLUDE) for row in rows], inputs)
    return [{**row, **{name: values[number] for name, values in filled.items()}} for number, row in enumerate(rows)]


def _columns(
    columns: dict[str, Any], fields: Sequence[_Field], inputs: Mapping[str, Any], limits: Limits
) -> dict[str, Any]:
    def fail(number: int, name: str, text: str) -> RequestError:
        return invalid_argument(
            f"Failed to process element: {number} of {name} in 'inputs' object. Error: {invalid_argument(text)}"
        )

    left_out = [field.name for field in fields if field.name not in columns]
    for name in sorted(set(columns) - set(inputs)):
        if left_out:  # TensorFlow Serving ignores other keys. Here one may be a misspelt field.
            raise invalid_argument(f"'inputs' object: does not have named input: {name}{_known(inputs)}")
    count = _count(columns, fields)
    filled: dict[str, Any] = {}
    for field in fields:
        values = columns.get(field.name)
        filled[field.name] = _filled([None] * count if values is None else values, field, fail, limits)
    if _EXCLUDE in inputs:
        excluded = columns.get(_EXCLUDE)
        excluded = [None] * count if excluded is None else excluded
        filled[_EXCLUDE] = _exclude(excluded, inputs) if isinstance(excluded, list) else excluded
    return {**columns, **filled}


def _known(inputs: Mapping[str, Any]) -> str:
    return f". Inputs of the signature: {', '.join(sorted(inputs))}"


def _count(columns: Mapping[str, Any], fields: Sequence[_Field]) -> int:
    """Returns the number of songs. It is that of any other input where no field is given."""
    first = None
    for field in fields:
        values = columns.get(field.name)
        if values is None:
            continue
        if not isinstance(values, (list, np.ndarray)):
            raise invalid_argument(
                f"'inputs' object: expected {field.name} to be a list with a value for each song. "
                f"Received: {text_of(values)}"
            )
        first = first or (field.name, len(values))
        if len(values) != first[1]:
            raise invalid_argument(
                f"'inputs' object: expected {first[1]} values of {field.name}, as many as of {first[0]}. "
                f"Received: {len(values)}"
            )
    return (
        first[1]
        if first
        else max((len(value) for value in columns.values() if isinstance(value, (list, np.ndarray))), default=1)
    )


def _filled(values: Sequence[Any], field: _Field, fail: Fail, limits: Limits) -> Any:
    """Returns one value for each song, none of them missing, all of one shape."""
    if isinstance(values, np.ndarray):
        if field.is_text or values.shape[1:] != ((field.size,) if field.is_list else ()):
            raise NotPlainError(f"an array cannot be {field.name}")
        return values
    for number, value in enumerate(values):
        if value is None or _is_vector(value, field):
            continue
        if isinstance(value, list) != field.is_list:
            raise fail(number, field.name, f"expected {field.expected()}, or null. Received: {text_of(value)}")
        if field.size is not None and len(value) != field.size:
            raise fail(number, field.name, f"expected {field.expected()}, or null. Received: {len(value)} of them")
        for element in value if field.is_list else [value]:
            try:
                _check(element, field.is_text)
            except RequestError as error:
                raise fail(number, field.name, error.message) from error
    missing = field.missing
    if not field.is_list:
        return [missing if value is None else value for value in values]
    rows: list[Any] = [
        value if isinstance(value, np.ndarray) else [missing if part is None else part for part in value or ()]
        for value in values
    ]
    if field.size is None:
        cells = len(rows) * (1 + max(map(len, rows), default=0))
        limits.check_values(cells, f"{field.name}, padded", are_strings=True)
    return (
        padded(rows, missing) if field.size is None else [row if len(row) else [missing] * field.size for row in rows]
    )


def _is_vector(value: Any, field: _Field) -> bool:
    """Returns whether a value is an array that has the field's length. No array is a list of words."""
    return isinstance(value, np.ndarray) and not field.is_text and value.shape == (field.size,)


def _check(value: Any, is_text: bool) -> None:
    """Raises RequestError where TensorFlow Serving would refuse the value. Null inside a list is missing, too."""
    if is_text:
        if value is not None and type(value) is not str:
            convert(value, "string")
    elif value is not None and not (type(value) is float and abs(value) < _SURELY_FITS):
        convert(value, "float")


def _exclude(values: Sequence[Any], inputs: Mapping[str, Any]) -> list[Any]:
    none = _NO_SONG.get(inputs[_EXCLUDE].dtype)
    return [none if value is None else value for value in values]
