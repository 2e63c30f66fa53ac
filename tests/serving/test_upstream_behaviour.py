"""What TensorFlow Serving's own client suite expects of a server, beyond the other tests.

Its models: y = x / 2 + 2 (and + 3), as TensorFlow 1 saved them, with reference variables, an asset, an initialiser and
an input that is fed behind tf.Example's parser, and as TensorFlow 2 saves them, with an input tensor per signature.
"""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import tensorflow as tf
from tensorflow_serving.apis import (
    classification_pb2,
    inference_pb2,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

from serving.server import EmbeddedServer
from tests.waiting import LAST_RESORT

v1 = tf.compat.v1
CLASSIFY, REGRESS = "tensorflow/serving/classify", "tensorflow/serving/regress"
PREDICT = "tensorflow/serving/predict"
MODELS = ["half_plus_two", "half_plus_two_tf2"]
VERSION = 123


def export_v1(folder: Path, summand: float) -> None:
    asset = folder.parent.with_name("summand.txt")
    asset.write_text(str(summand))
    with v1.Session(graph=tf.Graph()) as session:
        half, b = (v1.Variable(value, use_resource=False) for value in (0.5, summand))
        examples = v1.placeholder(tf.string, [None], "tf_example")
        spec = {name: tf.io.FixedLenFeature([1], tf.float32, [0.0]) for name in ("x", "x2")}
        parsed = tf.io.parse_example(examples, spec)
        x, x2 = (tf.identity(parsed[name], name) for name in ("x", "x2"))
        y, y3 = tf.identity(half * x + b, "y"), tf.identity(half * x2 + 3, "y3")
        path = tf.constant(str(asset))
        v1.add_to_collection(v1.GraphKeys.ASSET_FILEPATHS, path)
        # Set from the model's own file when it is loaded.
        read = v1.Variable(0.0, use_resource=False, collections=[], name="read")
        total = tf.identity(half * x + read, "from_asset")
        signatures = {
            "classify_x_to_y": ({"inputs": examples}, {"scores": y}, CLASSIFY),
            "regress_x_to_y": ({"inputs": examples}, {"outputs": y}, REGRESS),
            "regress_x2_to_y3": ({"inputs": x2}, {"outputs": y3}, REGRESS),
            "serving_default": ({"x": x}, {"y": y}, PREDICT),
            "from_asset": ({"x": x}, {"y": total}, PREDICT),
        }
        session.run(v1.global_variables_initializer())
        builder = v1.saved_model.Builder(str(folder))
        builder.add_meta_graph_and_variables(
            session,
            ["serve"],
            {
                name: v1.saved_model.build_signature_def(
                    *({k: info(t) for k, t in part.items()} for part in parts), method
                )
                for name, (*parts, method) in signatures.items()
            },
            assets_collection=v1.get_collection(v1.GraphKeys.ASSET_FILEPATHS),
            main_op=read.assign(tf.strings.to_number(tf.io.read_file(path))).op,
        )
        builder.save()
    asset.unlink()


def info(tensor: tf.Tensor) -> Any:
    return v1.saved_model.build_tensor_info(tensor)


def export_v2(folder: Path, default: str = "serving_default") -> None:
    module = tf.Module()
    module.half, module.two = tf.Variable(0.5), tf.Variable(2.0)
    spec = {"x": tf.io.FixedLenFeature([1], tf.float32, [0.0])}
    strings, floats = tf.TensorSpec([None], tf.string), tf.TensorSpec(None, tf.float32)

    def of_examples(inputs: tf.Tensor) -> tf.Tensor:
        return module.half * tf.io.parse_example(inputs, spec)["x"] + module.two

    functions = {
        "classify_x_to_y": (strings, lambda inputs: {"scores": of_examples(inputs)}),
        "regress_x_to_y": (strings, lambda inputs: {"outputs": of_examples(inputs)}),
        "serving_default": (floats, lambda x: {"y": module.half * x + module.two}),
        "custom_signature_key": (floats, lambda x: {"y": 2.0}),
    }
    signatures = {
        name: tf.function(function, input_signature=[signature]) for name, (signature, function) in functions.items()
    }
    tf.saved_model.save(module, str(folder), {**signatures, "serving_default": signatures[default]})


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    folder = tmp_path_factory.mktemp("upstream")
    export_v1(folder / "half_plus_two" / f"{VERSION:08}", 2.0)
    export_v1(folder / "half_plus_three" / f"{VERSION:08}", 3.0)
    export_v2(folder / "half_plus_two_tf2" / f"{VERSION:08}")
    export_v2(folder / "classifier" / f"{VERSION:08}", "classify_x_to_y")
    config, monitoring = folder / "models.config", folder / "monitoring.config"
    entries = (
        f'config: {{ name: "{name}", base_path: "{folder / name}", model_platform: "tensorflow" }}'
        for name in [*MODELS, "half_plus_three", "classifier"]
    )
    # Colons and commas are optional in text protos; TensorFlow Serving's own files have them.
    config.write_text(f"model_config_list: {{ {', '.join(entries)} }}")
    monitoring.write_text("prometheus_config: {\n  enable: true,\n}\n")
    with EmbeddedServer(
        port=0,
        rest_api_port=-1,
        model_config_file=str(config),
        model_config_file_poll_wait_seconds=0,
        file_system_poll_wait_seconds=0,
        monitoring_config_file=str(monitoring),
        # A number and a string. Connections end while the tests run; clients do not notice.
        grpc_channel_arguments="grpc.max_connection_age_ms=500,grpc.lb_policy_name=grpclb",
    ) as running:
        config.write_text("model_config_list {}")
        export_v2(folder / "half_plus_two_tf2" / str(VERSION + 1))
        yield running


@pytest.fixture(scope="module")
def stub(server: EmbeddedServer) -> Iterator[Any]:
    with grpc.insecure_channel(server.target) as channel:
        yield prediction_service_pb2_grpc.PredictionServiceStub(channel)


def with_example(request: Any, model: str, signature: str) -> Any:
    request.model_spec.name, request.model_spec.signature_name = model, signature
    request.input.example_list.examples.add().features.feature["x"].float_list.value.append(2.0)
    return request


def check(model_spec: Any, model: str, signature: str) -> None:
    assert (model_spec.name, model_spec.signature_name, model_spec.version.value) == (model, signature, VERSION)


@pytest.mark.parametrize("outputs", [["y"], []], ids=["filter", "all"])
@pytest.mark.parametrize(
    ("model", "signature", "expected"),
    [
        ("half_plus_two", "serving_default", 3.0),
        ("half_plus_two", "from_asset", 3.0),
        ("half_plus_three", "serving_default", 4.0),
        ("half_plus_three", "from_asset", 4.0),
        ("half_plus_two_tf2", "serving_default", 3.0),
        ("half_plus_two_tf2", "custom_signature_key", 2.0),
    ],
)
def test_predict(stub: Any, model: str, signature: str, expected: float, outputs: list[str]) -> None:
    """Without a batch dimension that the signature may declare, and with an output that has none."""
    request = predict_pb2.PredictRequest(output_filter=outputs)
    request.model_spec.name, request.model_spec.signature_name = model, signature
    request.inputs["x"].dtype = tf.float32.as_datatype_enum
    request.inputs["x"].float_val.append(2.0)
    request.inputs["x"].tensor_shape.dim.add(size=1)
    reply = stub.Predict(request)
    assert list(reply.outputs) == ["y"] and list(reply.outputs["y"].float_val) == [expected]
    check(reply.model_spec, model, signature)


@pytest.mark.parametrize("model", MODELS)
def test_examples_over_grpc(stub: Any, model: str) -> None:
    reply = stub.Classify(with_example(classification_pb2.ClassificationRequest(), model, "classify_x_to_y"))
    ((found,),) = ([(entry.label, entry.score) for entry in row.classes] for row in reply.result.classifications)
    assert found == ("", 3.0)
    check(reply.model_spec, model, "classify_x_to_y")
    reply = stub.Regress(with_example(regression_pb2.RegressionRequest(), model, "regress_x_to_y"))
    assert [entry.value for entry in reply.result.regressions] == [3.0]
    check(reply.model_spec, model, "regress_x_to_y")


def infer(stub: Any, model: str) -> Any:
    request = inference_pb2.MultiInferenceRequest()
    for signature, method in (("regress_x_to_y", REGRESS), ("classify_x_to_y", CLASSIFY)):
        task = request.tasks.add(method_name=method)
        task.model_spec.name, task.model_spec.signature_name = model, signature
    request.input.example_list.examples.add().features.feature["x"].float_list.value.append(2.0)
    return stub.MultiInference(request).results


@pytest.mark.parametrize("model", MODELS)
def test_multi_inference(stub: Any, model: str) -> None:
    regressed, classified = infer(stub, model)
    assert regressed.regression_result.regressions[0].value == 3.0
    assert classified.classification_result.classifications[0].classes[0].score == 3.0
    check(regressed.model_spec, model, "regress_x_to_y")
    check(classified.model_spec, model, "classify_x_to_y")


def test_the_default_signature_is_named_in_replies(stub: Any) -> None:
    """The same holds for Classify."""
    reply = stub.Classify(with_example(classification_pb2.ClassificationRequest(), "classifier", ""))
    check(reply.model_spec, "classifier", "serving_default")


def call(server: EmbeddedServer, path: str, body: Any = None) -> str:
    data = None if body is None else json.dumps(body).encode()
    # As urllib sends it: the body's type is that of a form.
    with urllib.request.urlopen(f"http://127.0.0.1:{server.rest_port}{path}", data, timeout=LAST_RESORT) as reply:
        return str(reply.read().decode())


@pytest.mark.parametrize(
    ("call_name", "body", "expected"),
    [
        ("classify", {"signature_name": "classify_x_to_y", "examples": [{"x": 2.0}]}, {"results": [[["", 3.0]]]}),
        ("regress", {"signature_name": "regress_x_to_y", "examples": [{"x": 2.0}]}, {"results": [3.0]}),
        ("predict", {"instances": [2.0, 3.0, 4.0]}, {"predictions": [3.0, 3.5, 4.0]}),
        ("predict", {"inputs": [2.0, 3.0, 4.0]}, {"outputs": [3.0, 3.5, 4.0]}),
    ],
    ids=["classify", "regress", "rows", "columns"],
)
@pytest.mark.parametrize("model", MODELS)
def test_rest(server: EmbeddedServer, model: str, call_name: str, body: Any, expected: Any) -> None:
    assert json.loads(call(server, f"/v1/models/{model}:{call_name}", body)) == expected


def test_metadata_over_rest_is_complete(server: EmbeddedServer) -> None:
    def tensor(dtype: str, name: str, *sizes: str) -> dict[str, Any]:
        shape = {"dim": [{"size": size, "name": ""} for size in sizes], "unknown_rank": False}
        return {"dtype": dtype, "tensor_shape": shape, "name": name}

    def signature(inputs: dict[str, Any], outputs: dict[str, Any], method: str) -> dict[str, Any]:
        return {"inputs": inputs, "outputs": outputs, "method_name": method, "defaults": {}}

    x, x2, y, y3, total = (tensor("DT_FLOAT", f"{name}:0", "-1", "1") for name in ("x", "x2", "y", "y3", "from_asset"))
    examples = {"inputs": tensor("DT_STRING", "tf_example:0", "-1")}
    assert json.loads(call(server, "/v1/models/half_plus_two/metadata")) == {
        "model_spec": {"name": "half_plus_two", "signature_name": "", "version": str(VERSION)},
        "metadata": {
            "signature_def": {
                "signature_def": {
                    "classify_x_to_y": signature(examples, {"scores": y}, CLASSIFY),
                    "regress_x_to_y": signature(examples, {"outputs": y}, REGRESS),
                    "regress_x2_to_y3": signature({"inputs": x2}, {"outputs": y3}, REGRESS),
                    "serving_default": signature({"x": x}, {"y": y}, PREDICT),
                    "from_asset": signature({"x": x}, {"y": total}, PREDICT),
                }
            }
        },
    }


def test_metrics_are_written_as_upstream_writes_them(server: EmbeddedServer, stub: Any) -> None:
    """Names, limits and numbers are exact, since dashboards match them; MultiInference has no runtime."""
    infer(stub, "half_plus_three")
    stub.Regress(with_example(regression_pb2.RegressionRequest(), "half_plus_three", "regress_x_to_y"))
    lines = call(server, "/monitoring/prometheus/metrics").splitlines()
    types = [line for line in lines if line.startswith("#")]
    # Our own metrics have names of their own and stand after TensorFlow Serving's.
    known = tuple(f"# TYPE {prefix}" for prefix in (":tensorflow:serving:", "process_", "serving_"))
    assert types == sorted(types) and all(line.startswith(known) for line in types)
    prefix, label = ":tensorflow:serving:request_example_count", '{model="half_plus_three"'
    assert [line for line in lines if line.startswith(prefix) and label in line][:4] == [
        f"{prefix}_total{label}}} 2",
        f'{prefix}s_bucket{label},le="1"}} 0',  # a value at a limit counts as above it
        f'{prefix}s_bucket{label},le="2"}} 2',
        f'{prefix}s_bucket{label},le="4"}} 2',
    ]
    assert f"{prefix}s_sum{label}}} 2" in lines
    latencies = [line for line in lines if 'request_latency_bucket{model_name="half_plus_three",API="Regress"' in line]
    limits = [line.split('le="')[1].split('"')[0] for line in latencies]
    assert limits[:6] == ["10", "18", "32.4", "58.32", "104.976", "188.957"] and limits[-1] == "+Inf"
    assert not any("MultiInference" in line for line in lines)


def test_zero_poll_seconds_mean_one_look(server: EmbeddedServer) -> None:
    """The configuration, which lists no model by now, and the folders, one with a new version, are not read again."""
    status = json.loads(call(server, "/v1/models/half_plus_two_tf2"))["model_version_status"]
    state = {"state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
    assert status == [{"version": str(VERSION), **state}]
