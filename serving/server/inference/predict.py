"""Predict: the checks of a request in TensorFlow Serving's order, the run, the reply.

Source: tensorflow_serving/servables/tensorflow/{predict_impl,predict_util}.cc, tensorflow/cc/saved_model/util.cc.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from tensorflow_serving.apis import predict_pb2

from serving.protocol.errors import failed_precondition, internal, invalid_argument
from serving.protocol.tensors import to_proto
from serving.savedmodel.raw_fields import UNKNOWN_TOO
from serving.server.inference.context import RunContext
from serving.server.inference.model_spec import check_model_spec, set_model_spec, signature_name
from serving.server.inference.servable import Models, Servable
from serving.server.inference.tensor_io import Array, read_tensor

METHODS = ("tensorflow/serving/predict", "tensorflow/serving/classify", "tensorflow/serving/regress")


def _join(names: Collection[str]) -> str:
    return ",".join(sorted(names))


def check_method_name(signature: Any) -> None:
    """Raises INTERNAL for a signature made for something else."""
    if signature.method_name not in METHODS:
        raise internal(
            f"Expected prediction signature method_name to be one of {{{', '.join(METHODS)}}}. "
            f"Was: {signature.method_name}"
        )


def _check_input_count(signature: Any, inputs: Any) -> None:
    too_few = len(inputs) < len(signature.inputs) and not signature.defaults
    if len(inputs) <= len(signature.inputs) and not too_few:
        return
    sent, known = set(inputs), set(signature.inputs)
    raise invalid_argument(
        f"input size does not match signature: {len(inputs)}!={len(signature.inputs)} len({{{_join(sent)}}}) != "
        f"len({{{_join(known)}}}). Sent extra: {{{_join(sent - known)}}}. "
        f"Missing but required: {{{_join(known - sent)}}}."
    )


def read_inputs(signature: Any, inputs: Any) -> list[tuple[str, Array]]:
    """Returns the names of the graph's tensors and the values sent for them.

    Raises:
        RequestError: If an input is missing or cannot be read.
    """
    feeds = []
    for alias, info in sorted(signature.inputs.items()):
        proto = inputs[alias] if alias in inputs else signature.defaults.get(alias)
        if proto is None:
            raise invalid_argument(
                f"Signature input alias: {alias}(feed name: {info.name}) not found in request and no default value "
                f"provided. Inputs expected to be in the request {{{_join(inputs)}}}, or default input alias set: "
                f"{_join(signature.defaults)}"
            )
        feeds.append((info.name, read_tensor(proto, alias)))
    return feeds


def choose_outputs(signature: Any, output_filter: Collection[str]) -> list[str]:
    """Returns the aliases to fetch: those of the filter, or all.

    Raises:
        RequestError: If an alias is unknown or repeated.
    """
    chosen: list[str] = []
    for alias in output_filter:
        if alias not in signature.outputs:
            raise invalid_argument(
                f"output tensor alias not found in signature: {alias} Outputs expected to be in the set "
                f"{{{_join(signature.outputs)}}}."
            )
        if alias in chosen:
            raise invalid_argument(f"duplicate output tensor alias: {alias}")
        chosen.append(alias)
    return chosen or sorted(signature.outputs)


def run_predict(servable: Servable, request: Any, version: int, context: RunContext) -> Any:
    """Answers a PredictRequest from one servable; the reply carries the resolved signature and the version."""
    name = signature_name(request.model_spec)
    if name not in servable.signatures:
        raise failed_precondition(f'Serving signature key "{name}" not found.')
    signature = servable.signatures[name]
    if context.allow_unknown_songs:
        signature = servable.signatures.get(UNKNOWN_TOO.get(name, name), signature)
    if context.check_method_name:
        check_method_name(signature)
    _check_input_count(signature, request.inputs)
    feeds = read_inputs(signature, request.inputs)
    sent = {name: value for name, (_, value) in zip(sorted(signature.inputs), feeds, strict=True)}
    servable.song_fields.check_matches(sent, context.max_matches)
    if context.check_songs:
        servable.song_fields.check(signature, sent)
    aliases = choose_outputs(signature, request.output_filter)
    values = servable.run(feeds, [signature.outputs[alias].name for alias in aliases], context, api="Predict")
    response = predict_pb2.PredictResponse()
    set_model_spec(response.model_spec, request.model_spec, version)
    for alias, value in zip(aliases, values, strict=True):
        to_proto(value, response.outputs[alias], as_content=context.as_content)
    return response


def predict(models: Models, request: Any, context: RunContext) -> Any:
    """Answers a PredictRequest.

    Raises:
        RequestError: With TensorFlow Serving's code and text.
    """
    check_model_spec(request)
    with models.lease(request.model_spec) as lent:
        return context.logged(request, run_predict(lent.servable, request, lent.version, context))
