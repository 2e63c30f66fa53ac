"""What Classify, Regress and MultiInference share: lists of tf.Example in, checked tensors out.

Source: tensorflow_serving/servables/tensorflow/util.cc.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from serving.protocol.errors import invalid_argument
from serving.protocol.tensors import array_dtype_name
from serving.server.inference.context import RunContext
from serving.server.inference.servable import Servable
from serving.server.inference.tensor_io import Array

DEFAULT_SIGNATURE = "serving_default"


def read_examples(inputs: Any) -> Array:
    """Serialized examples of an Input, the common context merged into each.

    Raises:
        RequestError: none at all.
    """
    if inputs.WhichOneof("kind") == "example_list_with_context":
        context = inputs.example_list_with_context.context.SerializeToString()
        # Concatenated messages are merged by whoever reads them, so the example's own features win.
        examples = [context + example.SerializeToString() for example in inputs.example_list_with_context.examples]
    else:
        examples = [example.SerializeToString() for example in inputs.example_list.examples]
    if not examples:
        raise invalid_argument("Input is empty.")
    array = np.empty(len(examples), object)
    array[:] = examples
    return array


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
    """Fetched tensors by name, and how many examples there were, which every tensor of `feeds` gets."""
    examples = read_examples(inputs)
    if context.metrics is not None:
        context.metrics.count_examples(model_name, len(examples))
    values = servable.run([(feed, examples) for feed in feeds], fetches, context, api=api)
    return dict(zip(fetches, values, strict=True)), len(examples)


def find_signature(servable: Servable, model_spec: Any, complaint: str) -> Any:
    """The signature that a ModelSpec names, INVALID_ARGUMENT with `complaint` where there is none."""
    name = model_spec.signature_name or DEFAULT_SIGNATURE
    if name not in servable.signatures:
        raise invalid_argument(f"{complaint}: {name}")
    return servable.signatures[name]


def check_method(signature: Any, expected: str, kind: str, context: RunContext) -> None:
    """Refuse a signature made for another method, where the server was told to look."""
    if context.check_method_name and signature.method_name != expected:
        raise invalid_argument(f"Expected {kind} signature method_name to be {expected}. Was: {signature.method_name}")


def shape_text(array: Array) -> str:
    """A shape as TensorFlow prints it."""
    return f"[{','.join(str(size) for size in array.shape)}]"


def type_text(array: Array) -> str:
    """A type as TensorFlow prints it, for example `DT_FLOAT`."""
    return array_dtype_name(array)


def set_model_spec(target: Any, model_spec: Any, version: int) -> None:
    """Say in a reply which signature of which version answered."""
    target.name = model_spec.name
    target.signature_name = model_spec.signature_name or DEFAULT_SIGNATURE
    target.version.value = version
