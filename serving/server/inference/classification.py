"""Classify: labels and scores per tf.Example.

Source: tensorflow_serving/servables/tensorflow/classifier.cc.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tensorflow_serving.apis import classification_pb2

from serving.protocol.data_types import array_dtype_name, shape_text
from serving.protocol.errors import invalid_argument
from serving.server.inference.examples import ExampleMethod
from serving.server.inference.tensor_io import Array


def _tensors(signature: Any) -> tuple[str, list[str]]:
    if len(signature.outputs) not in (1, 2):
        raise invalid_argument(f"Expected one or two output Tensors, found {len(signature.outputs)}")
    if "inputs" not in signature.inputs:
        raise invalid_argument(f"No classification inputs found in SignatureDef: {signature}")
    outputs = [signature.outputs[alias].name for alias in ("classes", "scores") if alias in signature.outputs]
    if not outputs:
        raise invalid_argument(
            'Expected classification signature outputs to contain at least one of "classes" or "scores". '
            f"Signature was: {signature}"
        )
    return signature.inputs["inputs"].name, outputs


def _check_matrix(array: Array, name: str, type_name: str, count: int) -> None:
    if array.ndim != 2:
        raise invalid_argument(f"Expected Tensor shape: [batch_size num_classes] but got {shape_text(array)}")
    if array_dtype_name(array) != type_name:
        raise invalid_argument(f"Expected {name} Tensor of {type_name}. Got: {array_dtype_name(array)}")
    if len(array) != count:
        raise invalid_argument(f"Expected {name} output batch size of {count}. Got: {len(array)}")


def _result(signature: Any, values: Mapping[str, Array], count: int) -> Any:
    """Returns the ClassificationResult of the fetched tensors, by tensor name.

    Raises:
        RequestError: If an output has the wrong shape or type.
    """
    aliases = [alias for alias in ("classes", "scores") if alias in signature.outputs]
    found = {alias: values[signature.outputs[alias].name] for alias in aliases}
    classes, scores = found.get("classes"), found.get("scores")
    if classes is not None:
        _check_matrix(classes, "classes", "DT_STRING", count)
    if scores is not None:
        _check_matrix(scores, "scores", "DT_FLOAT", count)
    if classes is not None and scores is not None and classes.shape[1] != scores.shape[1]:
        raise invalid_argument(
            f"Tensors class and score should match in dim_size(1). Got {classes.shape[1]} vs. {scores.shape[1]}"
        )
    result = classification_pb2.ClassificationResult()
    for row in range(count):
        entry = result.classifications.add()
        for column in range(found[aliases[0]].shape[1]):
            label = "" if classes is None else classes[row, column].decode("utf-8", "replace")
            entry.classes.add(label=label, score=0.0 if scores is None else scores[row, column])
    return result


CLASSIFY = ExampleMethod(
    name="tensorflow/serving/classify",
    api="Classify",
    kind="classification",
    response=classification_pb2.ClassificationResponse,
    tensors=_tensors,
    result=_result,
)
