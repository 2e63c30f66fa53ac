"""REST requests to the messages that the gRPC handlers take.

Source: tensorflow_serving/util/json_tensor.cc.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2

from serving.protocol.data_types import shape_text
from serving.protocol.errors import RequestError, invalid_argument
from serving.protocol.tensors import to_proto
from serving.server.inference.tensor_io import Array
from serving.server.rest.json_document import decode_base64, is_base64, kind_of, text_of
from serving.server.rest.json_numbers import NotPlainError
from serving.server.rest.json_tensors import COLUMN, ROW, read_tensor


def fill_predict_request(document: Mapping[str, Any], signature: Any, request: predict_pb2.PredictRequest) -> str:
    """Puts a body's tensors into a PredictRequest.

    Returns:
        The format that the reply must have, row or column.

    Raises:
        RequestError: INVALID_ARGUMENT, if they do not fit the signature.
        NotPlainError: If the body has an array of `json_numbers` where only lists can be looked at.
    """
    has_rows, has_columns = "instances" in document, "inputs" in document
    if has_rows and has_columns:
        raise invalid_argument(
            f"JSON Value: {text_of(document)} Not formatted correctly expecting only one of 'inputs' or 'instances' "
            "keys to exist "
        )
    if not has_rows and not has_columns:
        raise invalid_argument("Missing 'inputs' or 'instances' key")
    if has_columns:
        arrays = _read_columns(document["inputs"], signature.inputs)
    else:
        instances = document["instances"]
        if isinstance(instances, np.ndarray):
            return _fill_rows_of_one_input(instances, signature.inputs, request)
        if not isinstance(instances, list):
            raise invalid_argument(f"JSON Value: {text_of(document)} Excepting 'instances' to be an list/array")
        if not instances:
            raise invalid_argument(f"JSON Value: {text_of(document)} No values in 'instances' array")
        arrays = _read_rows(instances, signature.inputs)
    for name, array in arrays.items():
        to_proto(array, request.inputs[name])
    return COLUMN if has_columns else ROW


def _fill_rows_of_one_input(rows: Array, inputs: Mapping[str, Any], request: predict_pb2.PredictRequest) -> str:
    if len(inputs) > 1:
        raise NotPlainError("rows of several inputs must be objects")
    ((name, info),) = inputs.items()
    to_proto(read_tensor(rows, info.dtype), request.inputs[name])
    return ROW


def _read_columns(value: Any, inputs: Mapping[str, Any]) -> dict[str, Array]:
    if not isinstance(value, dict) or is_base64(value):
        if len(inputs) > 1:
            raise invalid_argument(
                "inputs is a plain value/list, but expecting an object as multiple input tensors required as per "
                "tensorinfo_map"
            )
        ((name, info),) = inputs.items()
        return {name: read_tensor(value, info.dtype)}
    arrays = {}
    for name, info in sorted(inputs.items()):
        if name not in value:
            raise invalid_argument(f"Missing named input: {name} in 'inputs' object.")
        arrays[name] = read_tensor(value[name], info.dtype)
    return arrays


def _is_object(value: Any) -> bool:
    return isinstance(value, dict) and not is_base64(value)


def _read_rows(instances: list[Any], inputs: Mapping[str, Any]) -> dict[str, Array]:
    if not isinstance(instances[0], dict) and len(inputs) > 1:
        raise invalid_argument(
            "instances is a plain list, but expecting list of objects as multiple input tensors required as per "
            "tensorinfo_map"
        )
    named = _is_object(instances[0])
    columns: dict[str, list[Array]] = {name: [] for name in inputs}
    for number, element in enumerate(instances):
        if named and not _is_object(element):
            raise invalid_argument(f"Expecting object but got list at item {number} of input list")
        if not named and _is_object(element):
            raise invalid_argument(f"Expecting value/list but got object at item {number} of input list")
        values = element if named else {next(iter(inputs)): element}
        for name, value in values.items():
            try:
                _add_item(value, name, inputs, columns)
            except RequestError as error:
                key = f" key: {name}" if named else ""
                raise invalid_argument(
                    f"Failed to process element: {number}{key} of 'instances' list. Error: {error}"
                ) from error
        if named and set(values) != set(inputs):
            raise invalid_argument(
                f"Failed to process element: {number} of 'instances' list. JSON object: {text_of(element)} must only "
                f"have keys: {','.join(sorted(inputs))}"
            )
    return {name: np.stack(rows) for name, rows in columns.items()}


def _add_item(value: Any, name: str, inputs: Mapping[str, Any], columns: dict[str, list[Array]]) -> None:
    if name not in inputs:
        raise invalid_argument(f"JSON object: does not have named input: {name}")
    array = read_tensor(value, inputs[name].dtype)
    if columns[name]:
        first = columns[name][0]
        if array.size != first.size:
            raise invalid_argument(f"Expecting tensor size: {first.size} but got: {array.size}")
        if array.shape != first.shape:
            raise invalid_argument(f"Expecting shape {shape_text(first)} but got: {shape_text(array)}")
    columns[name].append(array)


def fill_examples(document: Mapping[str, Any], request: Any) -> None:
    """Puts a body's `examples` and `context` into a ClassificationRequest or RegressionRequest.

    Raises:
        RequestError: INVALID_ARGUMENT, if they are no tf.Examples.
    """
    target = request.input.example_list
    if "context" in document:
        target = request.input.example_list_with_context
        _fill_example(document["context"], target.context)
    if "examples" not in document:
        raise invalid_argument(
            f"JSON Value: {text_of(document)} When method is classify, key 'examples' is expected and was not found"
        )
    examples = document["examples"]
    if not isinstance(examples, list):
        raise invalid_argument(f"JSON Value: {text_of(document)} Expecting 'examples' value to be an list/array")
    if not examples:
        raise invalid_argument(f"JSON Value: {text_of(document)} 'examples' value is an empty array")
    for example in examples:
        _fill_example(example, target.examples.add())


def _fill_example(value: Any, example: tf.train.Example) -> None:
    if not isinstance(value, dict):
        raise invalid_argument(f"Example must be JSON object but got JSON {kind_of(value)}")
    for name, content in value.items():
        feature = example.features.feature[name]
        for element in content if isinstance(content, list) else [content]:
            _add_to_feature(element, name, feature)


def _add_to_feature(value: Any, name: str, feature: tf.train.Feature) -> None:
    if value is None or isinstance(value, list) or (isinstance(value, dict) and not is_base64(value)):
        raise invalid_argument(f"Feature: {name} has element with unexpected JSON type: {kind_of(value)}")
    kind = (
        "bytes_list" if isinstance(value, (str, dict)) else "float_list" if isinstance(value, float) else "int64_list"
    )
    present = feature.WhichOneof("kind")
    if present not in (None, kind):
        raise invalid_argument(
            f"Unexpected element type in feature: {name} expecting type: {present.removesuffix('_list')}"
        )
    if isinstance(value, int) and value >= 2**63:
        raise invalid_argument(f"Feature: {name} has uint64 element. Only int64 is supported.")
    if isinstance(value, dict):
        value = decode_base64(value)
    elif isinstance(value, str):
        value = value.encode("utf-8", "surrogateescape")
    getattr(feature, kind).value.append(int(value) if kind == "int64_list" else value)
