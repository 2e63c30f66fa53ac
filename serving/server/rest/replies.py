"""Replies as JSON text.

Source: tensorflow_serving/util/json_tensor.cc, tensorflow_serving/model_servers/http_rest_api_util.cc.
"""

from __future__ import annotations

import base64
import inspect
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from google.protobuf import json_format
from tensorflow_serving.apis import get_model_metadata_pb2

from serving.protocol.errors import invalid_argument
from serving.server.inference.metadata import SIGNATURE_DEF
from serving.server.inference.tensor_io import Array
from serving.server.rest.json_tensors import ROW

# protobuf 5 renamed the option.
_DEFAULTS = (
    "always_print_fields_with_no_presence"
    if "always_print_fields_with_no_presence" in inspect.signature(json_format.MessageToDict).parameters
    else "including_default_value_fields"
)
_quoted = json.JSONEncoder(ensure_ascii=False).encode
_WORDS = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}


def decimal(value: float, single: bool) -> str:
    """Returns a number as short as its type allows, always with a point or exponent; NaN and Infinity as bare words."""
    return _decimals(np.array([value], np.float32 if single else np.float64))[0]


def _decimals(values: Array) -> list[str]:
    """Returns what `decimal` returns for each: six digits where they are enough, else all that the type has."""
    digits = 9 if values.dtype == np.dtype(np.float32) else 17
    numbers = values.tolist()
    texts = [f"{number:g}" for number in numbers]
    enough = (np.array([float(text) for text in texts]).astype(values.dtype) == values) | ~np.isfinite(values)
    for position in np.flatnonzero(~enough).tolist():
        texts[position] = f"{numbers[position]:.{digits}g}"
    return [text if "." in text or "e" in text else _WORDS.get(text) or f"{text}.0" for text in texts]


def _string(value: bytes, as_bytes: bool) -> str:
    if as_bytes:
        return f'{{"b64": "{base64.b64encode(value).decode()}"}}'
    return _quoted(value.decode("utf-8", "surrogateescape"))


def _values(array: Array, as_bytes: bool) -> list[str]:
    """Returns the elements of an array of one dimension."""
    if array.dtype == np.dtype(object):
        return [_string(value, as_bytes) for value in array]
    if array.dtype.kind == "f":
        return _decimals(array)
    if array.dtype.kind == "b":
        return ["true" if value else "false" for value in array]
    return [str(value) for value in array.tolist()]


def _tensor(array: Array, as_bytes: bool) -> str:
    if array.ndim == 0:
        return _values(array.reshape(1), as_bytes)[0]
    parts = _values(array, as_bytes) if array.ndim == 1 else [_tensor(row, as_bytes) for row in array]
    return f"[{', '.join(parts)}]"


def _rows(array: Array, name: str) -> Iterator[str]:
    """Yields the text of each row."""
    if array.dtype.kind == "c" or array.dtype == np.dtype(np.float16):
        raise invalid_argument(f"Failed to write JSON value for tensor type: {array.dtype}")
    as_bytes = array.dtype == np.dtype(object) and name.endswith("_bytes")
    if array.ndim < 2:
        yield from _values(array.reshape(-1), as_bytes)
    else:
        for row in array:
            yield _tensor(row, as_bytes)


def _listed(rows: Iterable[str]) -> Iterator[str]:
    """Yields a list of texts."""
    before = "["
    for row in rows:
        yield before
        yield row
        before = ", "
    yield "[]" if before == "[" else "]"


def _column(array: Array, name: str) -> Iterator[str]:
    return _rows(array, name) if array.ndim == 0 else _listed(_rows(array, name))


def tensors_to_json(outputs: Mapping[str, Array], form: str, check: Callable[[], None] = lambda: None) -> bytearray:
    """Returns `predictions`, a list of rows, or `outputs`, whole tensors; a single output goes without its name.

    It is written row by row: no other form of all of it is held. Strings that are no UTF-8 are the same bytes in it.

    Args:
        outputs: Tensors by name.
        form: `ROW` or `COLUMN`.
        check: Called before each row. It raises when the time is over.

    Raises:
        RequestError: If rows were asked for and the outputs do not have the same number of them.
    """
    reply = bytearray()
    for piece in _pieces(outputs, form):
        check()
        reply += piece.encode("utf-8", "surrogateescape")
    return reply


def _pieces(outputs: Mapping[str, Array], form: str) -> Iterator[str]:
    if form == ROW:
        _check_rows(outputs)
        yield '{"predictions": '
        yield from _listed(_row_objects(outputs))
        yield "}"
    elif len(outputs) == 1:
        ((name, array),) = outputs.items()
        yield '{"outputs": '
        yield from _column(array, name)
        yield "}"
    else:
        before = '{"outputs": {'
        for name, array in outputs.items():
            yield f"{before}{json.dumps(name)}: "
            yield from _column(array, name)
            before = ", "
        yield "}}"


def _row_objects(outputs: Mapping[str, Array]) -> Iterator[str]:
    """Yields the text of each row: an object of all outputs, or the only output."""
    names = [json.dumps(name) for name in outputs]
    for texts in zip(*(_rows(array, name) for name, array in outputs.items()), strict=True):
        named = ", ".join(f"{name}: {text}" for name, text in zip(names, texts, strict=True))
        yield texts[0] if len(texts) == 1 else f"{{{named}}}"


def _check_rows(outputs: Mapping[str, Array]) -> None:
    rows = 0
    for name, array in outputs.items():
        if array.ndim == 0:
            raise invalid_argument(f"Tensor name: {name} has no shape information ")
        if len(array) < 1:
            raise invalid_argument(f"Tensor name: {name} has invalid batch size: {len(array)}")
        if rows not in (0, len(array)):
            raise invalid_argument(f"Tensor name: {name} has inconsistent batch size: {len(array)} expecting: {rows}")
        rows = len(array)


def classification_to_json(result: Any) -> str:
    """Returns `results`: per example a list of [label, score]."""
    rows = []
    for entry in result.classifications:
        pairs = [f"[{json.dumps(c.label, ensure_ascii=False)}, {decimal(c.score, True)}]" for c in entry.classes]
        rows.append(f"[{', '.join(pairs)}]")
    return f'{{"results": [{", ".join(rows)}]}}'


def regression_to_json(result: Any) -> str:
    """Returns `results`: a number per example."""
    return f'{{"results": [{", ".join(decimal(entry.value, True) for entry in result.regressions)}]}}'


def _as_dict(message: Any) -> Any:
    return json_format.MessageToDict(message, preserving_proto_field_name=True, **{_DEFAULTS: True})


def status_to_json(response: Any) -> str:
    """Returns a GetModelStatusResponse as JSON; 64-bit versions are strings."""
    return json.dumps(_as_dict(response), indent=1) + "\n"


def metadata_to_json(response: Any) -> str:
    """Returns a GetModelMetadataResponse as JSON, with the signatures unpacked."""
    signatures = get_model_metadata_pb2.SignatureDefMap()
    response.metadata[SIGNATURE_DEF].Unpack(signatures)
    document = {
        "model_spec": _as_dict(response.model_spec),
        "metadata": {SIGNATURE_DEF: _as_dict(signatures)},
    }
    return json.dumps(document, indent=1) + "\n"


def error_to_json(message: str) -> str:
    """Returns `error`: the text."""
    return json.dumps({"error": message})
