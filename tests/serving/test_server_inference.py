"""Classify, Regress and MultiInference over gRPC: answers, and each refusal with code and text."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import tensorflow as tf
from google.protobuf import text_format
from tensorflow_serving.apis import (
    classification_pb2,
    inference_pb2,
    predict_pb2,
    prediction_log_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

from serving.savedmodel.warmup_requests import REQUESTS_FILE
from serving.server import EmbeddedServer

CLASSIFY, REGRESS = "tensorflow/serving/classify", "tensorflow/serving/regress"
PREDICT = "tensorflow/serving/predict"


def _graph() -> dict[str, tuple[str, dict[str, tf.Tensor], dict[str, tf.Tensor]]]:
    """Signatures around one input, as TensorFlow 1 saved them: method, inputs, outputs."""
    examples = tf.compat.v1.placeholder(tf.string, [None], "examples")
    other = tf.compat.v1.placeholder(tf.string, [None], "other")
    spec = {"a": tf.io.FixedLenFeature([], tf.float32, -1.0), "b": tf.io.FixedLenFeature([], tf.float32, -1.0)}
    parsed = tf.io.parse_example(examples, spec)
    both = tf.stack([parsed["a"], parsed["b"]], axis=1)
    labels = tf.tile([["no", "yes"]], [tf.size(examples), 1])
    inputs = {"inputs": examples}
    return {
        "classify": (CLASSIFY, inputs, {"classes": labels, "scores": both}),
        "scores": (CLASSIFY, inputs, {"scores": both}),
        "classes": (CLASSIFY, inputs, {"classes": labels}),
        "flat classes": (CLASSIFY, inputs, {"classes": labels[:, 0]}),
        "number classes": (CLASSIFY, inputs, {"classes": both}),
        "double scores": (CLASSIFY, inputs, {"scores": tf.cast(both, tf.float64)}),
        "one row": (CLASSIFY, inputs, {"scores": both[:1]}),
        "widths": (CLASSIFY, inputs, {"classes": labels, "scores": both[:, :1]}),
        "no scores": (CLASSIFY, inputs, {"x": both}),
        "three outputs": (CLASSIFY, inputs, {"classes": labels, "scores": both, "x": both}),
        "two inputs": (CLASSIFY, {"inputs": examples, "x": examples}, {"scores": both}),
        "serving_default": (PREDICT, {"examples": examples}, {"embedding": both}),
        "regress": (REGRESS, inputs, {"outputs": parsed["a"]}),
        "column": (REGRESS, inputs, {"outputs": both[:, :1]}),
        "matrix": (REGRESS, inputs, {"outputs": both}),
        "first": (REGRESS, inputs, {"outputs": parsed["a"][:1]}),
        "doubles": (REGRESS, inputs, {"outputs": tf.cast(parsed["a"], tf.float64)}),
        "unnamed": (REGRESS, inputs, {"x": parsed["a"]}),
        "two outputs": (REGRESS, inputs, {"outputs": parsed["a"], "x": both}),
        "regress two inputs": (REGRESS, {"inputs": examples, "x": examples}, {"outputs": parsed["a"]}),
        "other input": (REGRESS, {"inputs": other}, {"outputs": tf.cast(tf.strings.length(other), tf.float32)}),
        "odd": ("someone's/method", {"examples": examples}, {"embedding": both}),
    }


def export(folder: Path) -> Path:
    build = tf.compat.v1.saved_model.build_tensor_info
    with tf.compat.v1.Session(graph=tf.Graph()) as session:
        signatures = {
            name: tf.compat.v1.saved_model.build_signature_def(
                {key: build(value) for key, value in inputs.items()},
                {key: build(value) for key, value in outputs.items()},
                method,
            )
            for name, (method, inputs, outputs) in _graph().items()
        }
        builder = tf.compat.v1.saved_model.Builder(str(folder))
        builder.add_meta_graph_and_variables(session, ["serve"], signatures)
        builder.save()
    return folder


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("inference") / "bcl"
    export(base / "2")
    return base


@pytest.fixture(scope="module")
def served(base: Path) -> Iterator[EmbeddedServer]:
    with EmbeddedServer(port=0, model_name="bcl", model_base_path=str(base)) as server:
        yield server


@pytest.fixture(scope="module")
def stub(served: EmbeddedServer) -> Iterator[Any]:
    with grpc.insecure_channel(served.target) as channel:
        yield prediction_service_pb2_grpc.PredictionServiceStub(channel)


@pytest.fixture(scope="module")
def strict(base: Path) -> Iterator[Any]:
    """A server that checks the method of a signature."""
    with (
        EmbeddedServer(
            port=0, model_name="bcl", model_base_path=str(base), enable_signature_method_name_check=True
        ) as server,
        grpc.insecure_channel(server.target) as channel,
    ):
        yield prediction_service_pb2_grpc.PredictionServiceStub(channel)


def example(**features: float) -> str:
    entries = [f'feature {{ key: "{k}" value {{ float_list {{ value: {v} }} }} }}' for k, v in features.items()]
    return f"{{ features {{ {' '.join(entries)} }} }}"


EXAMPLES = f"example_list {{ examples {example(a=0.25)} examples {example(a=0.75)} }}"


def request(message: Any, signature: str = "", examples: str = EXAMPLES) -> Any:
    message.model_spec.name, message.model_spec.signature_name = "bcl", signature
    text_format.Parse(examples, message.input)
    return message


def classification(signature: str = "", examples: str = EXAMPLES) -> Any:
    return request(classification_pb2.ClassificationRequest(), signature, examples)


def regression(signature: str = "", examples: str = EXAMPLES) -> Any:
    return request(regression_pb2.RegressionRequest(), signature, examples)


def inference(*tasks: tuple[str, str], name: str = "bcl", examples: str = EXAMPLES) -> Any:
    message = inference_pb2.MultiInferenceRequest()
    for signature, method in tasks:
        task = message.tasks.add(method_name=method)
        task.model_spec.name, task.model_spec.signature_name = name, signature
    text_format.Parse(examples, message.input)
    return message


def refusal(call: Callable[..., Any], message: Any) -> tuple[str, str]:
    with pytest.raises(grpc.RpcError) as caught:
        call(message)
    return caught.value.code().name, caught.value.details()


def test_classify(stub: Any) -> None:
    reply = stub.Classify(classification("classify"))
    assert (reply.model_spec.name, reply.model_spec.version.value) == ("bcl", 2)
    rows = [[(entry.label, entry.score) for entry in row.classes] for row in reply.result.classifications]
    assert rows == [[("no", 0.25), ("yes", -1.0)], [("no", 0.75), ("yes", -1.0)]]
    scores = stub.Classify(classification("scores")).result.classifications[1].classes
    assert [(entry.label, entry.score) for entry in scores] == [("", 0.75), ("", -1.0)]
    classes = stub.Classify(classification("classes")).result.classifications[0].classes
    assert [(entry.label, entry.score) for entry in classes] == [("no", 0.0), ("yes", 0.0)]


def test_regress(stub: Any) -> None:
    for signature in ("regress", "column"):
        reply = stub.Regress(regression(signature))
        assert [entry.value for entry in reply.result.regressions] == [0.25, 0.75]
        assert reply.model_spec.signature_name == signature


def test_a_context_is_part_of_every_example_and_the_example_wins(stub: Any) -> None:
    text = f"context {example(a=5, b=6)} examples {example(a=7)} examples {{}}"
    text = f"example_list_with_context {{ {text} }}"
    rows = stub.Classify(classification("scores", text)).result.classifications
    assert [[entry.score for entry in row.classes] for row in rows] == [[7.0, 6.0], [5.0, 6.0]]


def test_examples_are_counted(served: EmbeddedServer, stub: Any) -> None:
    def total() -> float:
        samples = [s for m in served.metrics.registry.collect() for s in m.samples]
        return sum(s.value for s in samples if s.name.endswith("request_example_counts_sum"))

    before = total()
    stub.Classify(classification("scores"))
    assert total() == before + 2


INVALID = "INVALID_ARGUMENT"
CLASSIFICATIONS = [
    ("zzz", "No signature was found with the name: zzz"),
    ("", "No classification inputs found in SignatureDef: inputs {\n  key: "),
    ("regress", "Expected classification signature outputs to contain at least one of "),
    ("two inputs", "Expected one input Tensor."),
    ("three outputs", "Expected one or two output Tensors, found 3"),
    ("no scores", 'Expected classification signature outputs to contain at least one of "classes" or "scores". '),
    ("flat classes", "Expected Tensor shape: [batch_size num_classes] but got [2]"),
    ("number classes", "Expected classes Tensor of DT_STRING. Got: DT_FLOAT"),
    ("double scores", "Expected scores Tensor of DT_FLOAT. Got: DT_DOUBLE"),
    ("one row", "Expected scores output batch size of 2. Got: 1"),
    ("widths", "Tensors class and score should match in dim_size(1). Got 2 vs. 1"),
]


@pytest.mark.parametrize(("signature", "text"), CLASSIFICATIONS, ids=[name or "default" for name, _ in CLASSIFICATIONS])
def test_classify_refusals(stub: Any, signature: str, text: str) -> None:
    code, details = refusal(stub.Classify, classification(signature))
    assert code == INVALID and details.startswith(text)


REGRESSIONS = [
    ("zzz", "No signature was found with the name: zzz"),
    ("", "No regression inputs found in SignatureDef: inputs {\n  key: "),
    ("regress two inputs", "Expected one input Tensor."),
    ("two outputs", "Expected one output Tensor."),
    ("unnamed", "No regression outputs found in SignatureDef: inputs {\n  key: "),
    ("matrix", "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got [2,2]"),
    ("first", "Input batch size did not match output batch size: 2 vs. 1"),
    ("doubles", "Expected output Tensor of DT_FLOAT.  Got: DT_DOUBLE"),
]


@pytest.mark.parametrize(("signature", "text"), REGRESSIONS, ids=[name or "default" for name, _ in REGRESSIONS])
def test_regress_refusals(stub: Any, signature: str, text: str) -> None:
    code, details = refusal(stub.Regress, regression(signature))
    assert code == INVALID and details.startswith(text)


@pytest.mark.parametrize("examples", ["", "example_list {}", "example_list_with_context { context {} }"])
def test_no_examples(stub: Any, examples: str) -> None:
    for call, message in (
        (stub.Classify, classification("classify", examples)),
        (stub.Regress, regression("regress", examples)),
        (stub.MultiInference, inference(("regress", REGRESS), examples=examples)),
    ):
        assert refusal(call, message) == (INVALID, "Input is empty.")


def test_models_that_are_not_there(stub: Any) -> None:
    for call, message in (
        (stub.Classify, classification_pb2.ClassificationRequest()),
        (stub.Regress, regression_pb2.RegressionRequest()),
    ):
        assert refusal(call, message) == (INVALID, "Missing ModelSpec")
        message.model_spec.signature_name = "x"
        assert refusal(call, message) == (INVALID, "ModelSpec has no name specified.")
        message.model_spec.name = "nope"
        assert refusal(call, message) == ("NOT_FOUND", "Servable not found for request: Latest(nope)")


def test_multi_inference_runs_several_signatures_on_the_same_examples(stub: Any) -> None:
    reply = stub.MultiInference(inference(("classify", CLASSIFY), ("regress", REGRESS)))
    first, second = reply.results
    assert first.classification_result.classifications[1].classes[0].score == 0.75
    assert [entry.value for entry in second.regression_result.regressions] == [0.25, 0.75]
    assert [result.model_spec.signature_name for result in reply.results] == ["classify", "regress"]
    assert [result.model_spec.version.value for result in reply.results] == [2, 2]
    # Each input tensor gets all examples, as models of TensorFlow 2 have one per signature.
    reply = stub.MultiInference(inference(("regress", REGRESS), ("other input", REGRESS)))
    lengths = [len(entry.SerializeToString()) for entry in regression().input.example_list.examples]
    assert [entry.value for entry in reply.results[1].regression_result.regressions] == lengths


INFERENCES = [
    ((), INVALID, "ModelSpec has no name specified."),
    ((("regress", REGRESS), ("regress", REGRESS)), INVALID, "Duplicate evaluation of signature: regress"),
    ((("zzz", REGRESS),), INVALID, "Requested signature not found in model graph: zzz"),
    ((("serving_default", PREDICT),), "UNIMPLEMENTED", f"Unsupported signature method_name: {PREDICT}"),
    ((("regress", ""),), "UNIMPLEMENTED", "Unsupported signature method_name: "),
    ((("", CLASSIFY),), INVALID, "No classification inputs found in SignatureDef: "),
    ((("matrix", REGRESS),), INVALID, "Expected output Tensor shape to be either [batch_size] or [batch_size, 1]"),
]


@pytest.mark.parametrize(("tasks", "code", "text"), INFERENCES, ids=[str(number) for number in range(len(INFERENCES))])
def test_multi_inference_refusals(stub: Any, tasks: Any, code: str, text: str) -> None:
    received, details = refusal(stub.MultiInference, inference(*tasks))
    assert received == code and details.startswith(text)


def test_multi_inference_asks_one_model(stub: Any) -> None:
    message = inference(("classify", CLASSIFY), ("regress", REGRESS))
    message.tasks[1].model_spec.name = "other"
    assert refusal(stub.MultiInference, message) == (
        INVALID,
        "All ModelSpecs in a MultiInferenceRequest must access the same model name.",
    )
    message.tasks[1].model_spec.name = ""
    assert refusal(stub.MultiInference, message) == (INVALID, "Found ModelSpec with an empty model name.")
    unknown = inference(("regress", REGRESS), name="nope")
    assert refusal(stub.MultiInference, unknown) == ("NOT_FOUND", "Servable not found for request: Latest(nope)")


def test_method_names_are_checked_if_the_flag_is_set(strict: Any, stub: Any) -> None:
    assert len(strict.Classify(classification("classify")).result.classifications) == 2
    assert len(strict.Regress(regression("regress")).result.regressions) == 2
    assert refusal(strict.Classify, classification()) == (
        INVALID,
        f"Expected classification signature method_name to be {CLASSIFY}. Was: {PREDICT}",
    )
    assert refusal(strict.Regress, regression("classify")) == (
        INVALID,
        f"Expected regression signature method_name to be {REGRESS}. Was: {CLASSIFY}",
    )
    predict = predict_pb2.PredictRequest()
    predict.model_spec.name, predict.model_spec.signature_name = "bcl", "odd"
    predict.inputs["examples"].CopyFrom(tf.make_tensor_proto([b""]))
    assert len(stub.Predict(predict).outputs["embedding"].float_val) == 2
    assert refusal(strict.Predict, predict) == (
        "INTERNAL",
        f"Expected prediction signature method_name to be one of {{{PREDICT}, {CLASSIFY}, {REGRESS}}}. "
        "Was: someone's/method",
    )


def test_an_example_that_cannot_be_parsed(stub: Any) -> None:
    predict = predict_pb2.PredictRequest()
    predict.model_spec.name = "bcl"
    for broken in (b"plain text", b"\xff\xfe\x00"):
        predict.inputs["examples"].CopyFrom(tf.make_tensor_proto([broken]))
        code, details = refusal(stub.Predict, predict)
        assert code == INVALID and details.startswith("Could not parse example input, value: '")


def test_warm_up_of_several_signatures_at_once(tmp_path: Path) -> None:
    folder = export(tmp_path / "bcl" / "1")
    (folder / REQUESTS_FILE).parent.mkdir()
    log = prediction_log_pb2.PredictionLog()
    log.multi_inference_log.request.CopyFrom(inference(("classify", CLASSIFY), ("regress", REGRESS)))
    with tf.io.TFRecordWriter(str(folder / REQUESTS_FILE)) as writer:
        writer.write(log.SerializeToString())
    with EmbeddedServer(port=0, model_name="bcl", model_base_path=str(tmp_path / "bcl")) as server:
        assert server.core.versions.is_available("bcl", 1)
