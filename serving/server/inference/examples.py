"""What Classify, Regress and MultiInference share: tf.Examples in, checked tensors out.

Source: tensorflow_serving/servables/tensorflow/util.cc.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from serving.protocol.arrays import object_array
from serving.protocol.errors import invalid_argument
from serving.server.inference.context import RunContext
from serving.server.inference.model_spec import check_model_spec, set_model_spec, signature_name
from serving.server.inference.servable import Models, Servable
from serving.server.inference.tensor_io import Array


@dataclass(frozen=True)
class ExampleMethod:
    """A method that turns each tf.Example into a result: Classify or Regress.

    Attributes:
        name: The method name that a signature has, for example `tensorflow/serving/classify`.
        api: What the metrics call it.
        kind: What texts and fields of messages call it: `classification` or `regression`.
        response: Class of the reply.
        tensors: Returns the names of the input tensor and of the outputs of a signature, or raises RequestError.
        result: Returns the result of the fetched tensors, for a signature and a number of examples, or raises
            RequestError.
    """

    name: str
    api: str
    kind: str
    response: Any
    tensors: Callable[[Any], tuple[str, list[str]]]
    result: Callable[[Any, Mapping[str, Array], int], Any]

    def find_tensors(self, signature: Any, context: RunContext) -> tuple[str, list[str]]:
        """Returns the names of the input tensor and of the outputs of a signature.

        Raises:
            RequestError: If the signature is for something else.
        """
        if context.check_method_name and signature.method_name != self.name:
            raise invalid_argument(
                f"Expected {self.kind} signature method_name to be {self.name}. Was: {signature.method_name}"
            )
        if len(signature.inputs) != 1:
            raise invalid_argument("Expected one input Tensor.")
        return self.tensors(signature)

    def run(self, servable: Servable, request: Any, version: int, context: RunContext) -> Any:
        """Answers a request from one servable."""
        signature = find_signature(servable, request.model_spec, "No signature was found with the name")
        feed, fetches = self.find_tensors(signature, context)
        name = request.model_spec.name
        values, count = run_examples(servable, request.input, [feed], fetches, context, api=self.api, model_name=name)
        response = self.response()
        response.result.CopyFrom(self.result(signature, values, count))
        set_model_spec(response.model_spec, request.model_spec, version)
        return response

    def answer(self, models: Models, request: Any, context: RunContext) -> Any:
        """Answers a request.

        Raises:
            RequestError: With TensorFlow Serving's code and text.
        """
        check_model_spec(request)
        with models.lease(request.model_spec) as lent:
            return context.logged(request, self.run(lent.servable, request, lent.version, context))


def read_examples(inputs: Any) -> Array:
    """Returns the serialized examples of an Input, the common context merged into each.

    Raises:
        RequestError: If there is none.
    """
    if inputs.WhichOneof("kind") == "example_list_with_context":
        context = inputs.example_list_with_context.context.SerializeToString()
        # A reader merges concatenated messages, and the later one wins: the example's own features.
        examples = [context + example.SerializeToString() for example in inputs.example_list_with_context.examples]
    else:
        examples = [example.SerializeToString() for example in inputs.example_list.examples]
    if not examples:
        raise invalid_argument("Input is empty.")
    return object_array(examples)


def run_examples(
    servable: Servable,
    inputs: Any,
    feeds: Sequence[str],
    fetches: Sequence[str],
    context: RunContext,
    *,
    api: str | None,
    model_name: str,
) -> tuple[dict[str, Array], int]:
    """Runs a signature on the examples, which every tensor of `feeds` gets.

    Returns:
        The fetched tensors by name, and the number of examples.
    """
    examples = read_examples(inputs)
    if context.metrics is not None:
        context.metrics.count_examples(model_name, len(examples))
    values = servable.run([(feed, examples) for feed in feeds], fetches, context, api=api)
    return dict(zip(fetches, values, strict=True)), len(examples)


def find_signature(servable: Servable, model_spec: Any, not_found: str) -> Any:
    """Returns the signature that a ModelSpec names; INVALID_ARGUMENT with the text `not_found` where there is none."""
    name = signature_name(model_spec)
    if name not in servable.signatures:
        raise invalid_argument(f"{not_found}: {name}")
    return servable.signatures[name]
