"""MultiInference: several signatures of one model on the same examples, in one run.

Source: tensorflow_serving/servables/tensorflow/{multi_inference,multi_inference_helper}.cc.
"""

from __future__ import annotations

from typing import Any

from tensorflow_serving.apis import inference_pb2

from serving.protocol.errors import invalid_argument, unimplemented
from serving.server.inference.classification import CLASSIFY
from serving.server.inference.context import RunContext
from serving.server.inference.examples import find_signature, run_examples
from serving.server.inference.model_spec import set_model_spec, signature_name
from serving.server.inference.regression import REGRESS
from serving.server.inference.servable import Models, Servable

_METHODS = {method.name: method for method in (CLASSIFY, REGRESS)}
_NOT_FOUND = "Requested signature not found in model graph"


def _plan(servable: Servable, request: Any, context: RunContext) -> tuple[list[str], list[str]]:
    """Returns the input tensors of all tasks, which differ in models of TensorFlow 2, and the tensors to fetch."""
    model_name = ""
    seen: set[str] = set()
    feeds: set[str] = set()
    fetches: set[str] = set()
    for task in request.tasks:
        if not task.model_spec.name:
            raise invalid_argument("Found ModelSpec with an empty model name.")
        model_name = model_name or task.model_spec.name
        if task.model_spec.name != model_name:
            raise invalid_argument("All ModelSpecs in a MultiInferenceRequest must access the same model name.")
        name = signature_name(task.model_spec)
        if name in seen:
            raise invalid_argument(f"Duplicate evaluation of signature: {name}")
        seen.add(name)
        signature = find_signature(servable, task.model_spec, _NOT_FOUND)
        if task.method_name not in _METHODS:
            raise unimplemented(f"Unsupported signature method_name: {task.method_name}")
        feed, task_fetches = _METHODS[task.method_name].find_tensors(signature, context)
        feeds.add(feed)
        fetches.update(task_fetches)
    return sorted(feeds), sorted(fetches)


def run_multi_inference(servable: Servable, request: Any, version: int, context: RunContext) -> Any:
    """Answers a MultiInferenceRequest from one servable."""
    feeds, fetches = _plan(servable, request, context)
    name = request.tasks[0].model_spec.name
    values, count = run_examples(servable, request.input, feeds, fetches, context, api=None, model_name=name)
    response = inference_pb2.MultiInferenceResponse()
    for task in request.tasks:
        signature = find_signature(servable, task.model_spec, _NOT_FOUND)
        result = response.results.add()
        method = _METHODS[task.method_name]
        getattr(result, f"{method.kind}_result").CopyFrom(method.result(signature, values, count))
        set_model_spec(result.model_spec, task.model_spec, version)
    return response


def multi_inference(models: Models, request: Any, context: RunContext) -> Any:
    """Answers a MultiInferenceRequest; the first task says which model.

    Raises:
        RequestError: With TensorFlow Serving's code and text.
    """
    if not request.tasks:
        raise invalid_argument("ModelSpec has no name specified.")
    with models.lease(request.tasks[0].model_spec) as lent:
        return context.logged(request, run_multi_inference(lent.servable, request, lent.version, context))
