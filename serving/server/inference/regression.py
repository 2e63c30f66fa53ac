"""Regress: one number per tf.Example.

Source: tensorflow_serving/servables/tensorflow/regressor.cc.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tensorflow_serving.apis import regression_pb2

from serving.protocol.data_types import array_dtype_name, shape_text
from serving.protocol.errors import invalid_argument
from serving.server.inference.examples import ExampleMethod
from serving.server.inference.tensor_io import Array


def _tensors(signature: Any) -> tuple[str, list[str]]:
    if len(signature.outputs) != 1:
        raise invalid_argument("Expected one output Tensor.")
    if "inputs" not in signature.inputs:
        raise invalid_argument(f"No regression inputs found in SignatureDef: {signature}")
    if "outputs" not in signature.outputs:
        raise invalid_argument(f"No regression outputs found in SignatureDef: {signature}")
    return signature.inputs["inputs"].name, [signature.outputs["outputs"].name]


def _result(signature: Any, values: Mapping[str, Array], count: int) -> Any:
    """Returns the RegressionResult of the fetched tensor.

    Raises:
        RequestError: If the output has the wrong shape or type.
    """
    output = values[signature.outputs["outputs"].name]
    if not (output.ndim == 1 or (output.ndim == 2 and output.shape[1] == 1)):
        raise invalid_argument(
            f"Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got {shape_text(output)}"
        )
    if len(output) != count:
        raise invalid_argument(f"Input batch size did not match output batch size: {count} vs. {len(output)}")
    if array_dtype_name(output) != "DT_FLOAT":
        raise invalid_argument(f"Expected output Tensor of DT_FLOAT.  Got: {array_dtype_name(output)}")
    result = regression_pb2.RegressionResult()
    for value in output.ravel().tolist():
        result.regressions.add(value=value)
    return result


REGRESS = ExampleMethod(
    name="tensorflow/serving/regress",
    api="Regress",
    kind="regression",
    response=regression_pb2.RegressionResponse,
    tensors=_tensors,
    result=_result,
)
