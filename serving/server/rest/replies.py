"""Replies as JSON text.

Source: tensorflow_serving/util/json_tensor.cc, tensorflow_serving/model_servers/http_rest_api_util.cc.
"""

from __future__ import annotations

import base64
import inspect
import json
import math
from collections.abc import Mapping
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


def decimal(value: float, single: bool) -> str:
    """Returns a number as short as its type allows, always with a point or exponent; NaN and Infinity as bare words."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    text = f"{value:g}"
    if (np.float32(text) != np.float32(value)) if single else (float(text) != value):
        text = f"{value:.{9 if single else 17}g}"
    return text if "." in text or "e" in text else f"{text}.0"


def _value(value: Any, as_bytes: bool, single: bool) -> str:
    if isinstance(value, bytes):
        if as_bytes:
            return f'{{"b64": "{base64.b64encode(value).decode()}"}}'
        return json.dumps(value.decode("utf-8", "surrogateescape"), ensure_ascii=False)
    if isinstance(value, bool):
        return "true" if value else "false"
    return decimal(value, single) if isinstance(value, float) else str(value)


def _tensor(array: Array, name: str) -> str:
    as_bytes = array.dtype == np.dtype(object) and name.endswith("_bytes")
    single = array.dtype == np.dtype(np.float32)

    def write(value: Any) -> str:
        if isinstance(value, list):
            return f"[{', '.join(write(element) for element in value)}]"
        return _value(value, as_bytes, single)

    if array.dtype.kind == "c" or array.dtype == np.dtype(np.float16):
        raise invalid_argument(f"Failed to write JSON value for tensor type: {array.dtype}")
    return write(array.tolist())


def tensors_to_json(outputs: Mapping[str, Array], form: str) -> str:
    """Returns `predictions`, a list of rows, or `outputs`, whole tensors; a single output goes without its name.

    Raises:
        RequestError: If rows were asked for and the outputs do not have the same number of them.
    """
    if form != ROW:
        if len(outputs) == 1:
            ((name, array),) = outputs.items()
            return f'{{"outputs": {_tensor(array, name)}}}'
        parts = [f"{json.dumps(name)}: {_tensor(array, name)}" for name, array in outputs.items()]
        return f'{{"outputs": {{{", ".join(parts)}}}}}'
    rows = 0
    for name, array in outputs.items():
        if array.ndim == 0:
            raise invalid_argument(f"Tensor name: {name} has no shape information ")
        if len(array) < 1:
            raise invalid_argument(f"Tensor name: {name} has invalid batch size: {len(array)}")
        if rows not in (0, len(array)):
            raise invalid_argument(f"Tensor name: {name} has inconsistent batch size: {len(array)} expecting: {rows}")
        rows = len(array)
    lines = []
    for row in range(rows):
        texts = {name: _tensor(array[row : row + 1], name)[1:-1] for name, array in outputs.items()}
        named = ", ".join(f"{json.dumps(name)}: {text}" for name, text in texts.items())
        lines.append(next(iter(texts.values())) if len(texts) == 1 else f"{{{named}}}")
    return f'{{"predictions": [{", ".join(lines)}]}}'


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
