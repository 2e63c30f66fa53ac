"""Regress: one number per tf.Example.

Source: tensorflow_serving/servables/tensorflow/regressor.cc.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tensorflow_serving.apis import regression_pb2

from serving.protocol.errors import invalid_argument
from serving.server.inference.context import RunContext
from serving.server.inference.examples import (
    check_method,
    find_signature,
    run_examples,
    set_model_spec,
    shape_text,
    type_text,
)
from serving.server.inference.servable import Servable
from serving.server.inference.tensor_io import Array
from serving.server.models.core import ServerCore

METHOD = "tensorflow/serving/regress"


def regression_tensors(signature: Any, context: RunContext) -> tuple[str, list[str]]:
    """Names of the input tensor and of the output of a signature that regresses.

    Raises:
        RequestError: the signature cannot regress.
    """
    check_method(signature, METHOD, "regression", context)
    if len(signature.inputs) != 1:
        raise invalid_argument("Expected one input Tensor.")
    if len(signature.outputs) != 1:
        raise invalid_argument("Expected one output Tensor.")
    if "inputs" not in signature.inputs:
        raise invalid_argument(f"No regression inputs found in SignatureDef: {signature}")
    if "outputs" not in signature.outputs:
        raise invalid_argument(f"No regression outputs found in SignatureDef: {signature}")
    return signature.inputs["inputs"].name, [signature.outputs["outputs"].name]


def regression_result(signature: Any, values: Mapping[str, Array], count: int) -> Any:
    """RegressionResult of the fetched tensor.

    Raises:
        RequestError: an output of the wrong shape or type.
    """
    output = values[signature.outputs["outputs"].name]
    if not (output.ndim == 1 or (output.ndim == 2 and output.shape[1] == 1)):
        raise invalid_argument(
            f"Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got {shape_text(output)}"
        )
    if len(output) != count:
        raise invalid_argument(f"Input batch size did not match output batch size: {count} vs. {len(output)}")
    if type_text(output) != "DT_FLOAT":
        raise invalid_argument(f"Expected output Tensor of DT_FLOAT.  Got: {type_text(output)}")
    result = regression_pb2.RegressionResult()
    for value in output.ravel().tolist():
        result.regressions.add(value=value)
    return result


def run_regress(servable: Servable, request: Any, version: int, context: RunContext) -> Any:
    """Answer a RegressionRequest from one servable."""
    signature = find_signature(servable, request.model_spec, "No signature was found with the name")
    feed, fetches = regression_tensors(signature, context)
    name = request.model_spec.name
    values, count = run_examples(servable, request.input, [feed], fetches, context, api="Regress", model_name=name)
    response = regression_pb2.RegressionResponse()
    response.result.CopyFrom(regression_result(signature, values, count))
    set_model_spec(response.model_spec, request.model_spec, version)
    return response


def regress(core: ServerCore, request: Any, context: RunContext) -> Any:
    """Answer a RegressionRequest.

    Raises:
        RequestError: with TensorFlow Serving's code and text.
    """
    if not request.HasField("model_spec"):
        raise invalid_argument("Missing ModelSpec")
    with core.lease(request.model_spec) as lent:
        return run_regress(lent.servable, request, lent.version, context)
