"""Predict, GetModelMetadata and GetModelStatus over gRPC: each of TensorFlow Serving's conditions, code and text."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import small_model
import tensorflow as tf
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from serving.protocol.errors import RequestError
from serving.server import EmbeddedServer
from serving.server.flags import ServerFlags
from tests.waiting import eventually

INVALID, MISSING = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND
FAILED = grpc.StatusCode.FAILED_PRECONDITION


@pytest.fixture(scope="module")
def channel(server: Any) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(server.target) as opened:
        yield opened


@pytest.fixture(scope="module")
def stub(channel: grpc.Channel) -> Any:
    return prediction_service_pb2_grpc.PredictionServiceStub(channel)


@pytest.fixture(scope="module")
def models(channel: grpc.Channel) -> Any:
    return model_service_pb2_grpc.ModelServiceStub(channel)


def request(signature: str = "dense", **inputs: Any) -> Any:
    message = predict_pb2.PredictRequest()
    message.model_spec.name = "bcl"
    message.model_spec.signature_name = signature
    for name, value in inputs.items():
        message.inputs[name].CopyFrom(value if hasattr(value, "dtype_") else tf.make_tensor_proto(value))
    return message


def refusal(call: Callable[..., Any], message: Any, **options: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as caught:
        call(message, **options)
    return caught.value.code(), caught.value.details()


X = np.ones((2, 2), np.float32)


def test_reply_carries_name_signature_version_and_typed_values(stub: Any) -> None:
    reply = stub.Predict(request(x=X))
    assert (reply.model_spec.name, reply.model_spec.signature_name) == ("bcl", "dense")
    assert reply.model_spec.version.value == 3
    assert list(reply.outputs["y"].float_val) == [3, 5, 7, 3, 5, 7] and not reply.outputs["y"].tensor_content


def test_empty_signature_name_is_resolved(stub: Any) -> None:
    example = tf.train.Example()
    example.features.feature["audio_tempo"].float_list.value.append(4.0)
    reply = stub.Predict(request("", examples=[example.SerializeToString()]))
    assert reply.model_spec.signature_name == "serving_default"
    assert list(reply.outputs["embedding"].float_val) == [0, 0, 4, 0]


def test_no_model_spec(stub: Any) -> None:
    assert refusal(stub.Predict, predict_pb2.PredictRequest()) == (INVALID, "Missing ModelSpec")


def test_empty_name(stub: Any) -> None:
    message = request(x=X)
    message.model_spec.name = ""
    assert refusal(stub.Predict, message) == (INVALID, "ModelSpec has no name specified.")


def test_unknown_label(stub: Any) -> None:
    message = request(x=X)
    message.model_spec.version_label = "stable"
    assert refusal(stub.Predict, message) == (INVALID, "Unrecognized servable version label: stable")


def test_unknown_model(stub: Any) -> None:
    message = request(x=X)
    message.model_spec.name = "nope"
    assert refusal(stub.Predict, message) == (MISSING, "Servable not found for request: Latest(nope)")


@pytest.mark.parametrize("version", [0, 7, -1, 2**63 - 1, -(2**63)])
def test_unknown_version(stub: Any, version: int) -> None:
    message = request(x=X)
    message.model_spec.version.value = version
    assert refusal(stub.Predict, message) == (MISSING, f"Servable not found for request: Specific(bcl, {version})")


def test_unknown_signature(stub: Any) -> None:
    assert refusal(stub.Predict, request("zzz")) == (FAILED, 'Serving signature key "zzz" not found.')


def test_errors_of_the_ops_themselves(stub: Any) -> None:
    code, text = refusal(stub.Predict, request("gather", rows=np.array([0, 9], np.int32)))
    assert code == INVALID and text.startswith("indices[1] = 9 is not in [0, 5)")
    code, text = refusal(stub.Predict, request("add", x=np.ones((3, 2), np.float32), y=X))
    assert code == INVALID and text.startswith("Incompatible shapes: [3,2] vs. [2,2]")


def test_a_wrong_rank_that_the_ops_accept_succeeds(stub: Any) -> None:
    """The server never compares shapes with the signature, which has (?, 2) here."""
    reply = stub.Predict(request("add", x=np.ones((4, 2, 2), np.float32), y=X))
    assert [dim.size for dim in reply.outputs["z"].tensor_shape.dim] == [4, 2, 2]
    assert list(reply.outputs["z"].float_val) == [2.0] * 16
    reply = stub.Predict(request("add", x=np.float32(1), y=np.float32(2)))
    assert list(reply.outputs["z"].float_val) == [3.0]


def test_input_count_is_checked_before_names(stub: Any) -> None:
    assert refusal(stub.Predict, request(z=X, x=X)) == (
        INVALID,
        "input size does not match signature: 2!=1 len({x,z}) != len({x}). Sent extra: {z}. Missing but required: {}.",
    )
    assert refusal(stub.Predict, request()) == (
        INVALID,
        "input size does not match signature: 0!=1 len({}) != len({x}). Sent extra: {}. Missing but required: {x}.",
    )


def test_right_count_wrong_name(stub: Any) -> None:
    code, text = refusal(stub.Predict, request(z=X))
    assert code == INVALID
    assert text.startswith("Signature input alias: x(feed name: dense_x:0) not found in request and no default value")
    assert text.endswith("Inputs expected to be in the request {z}, or default input alias set: ")


def test_undecodable_tensor(stub: Any) -> None:
    message = request(x=X)
    message.inputs["x"].tensor_content = b"123"
    assert refusal(stub.Predict, message) == (INVALID, "tensor parsing error: x")
    message.inputs["x"].Clear()
    assert refusal(stub.Predict, message) == (INVALID, "tensor parsing error: x")


@pytest.mark.parametrize("rows", [2**24, 2**30, 2**40])
def test_a_few_bytes_cannot_declare_a_huge_tensor(stub: Any, rows: int) -> None:
    message = request(x=X)
    message.inputs["x"].tensor_content = b""
    message.inputs["x"].float_val.append(1.0)
    message.inputs["x"].tensor_shape.dim[0].size = rows
    text = f"input x: expected at most 1024 rows (--max_request_rows). Received: {rows}"
    assert refusal(stub.Predict, message) == (INVALID, text)


def test_one_value_may_stand_for_many(stub: Any) -> None:
    message = request(x=X)
    message.inputs["x"].tensor_content = b""
    message.inputs["x"].float_val.append(1.0)
    assert list(stub.Predict(message).outputs["y"].float_val) == [3, 5, 7, 3, 5, 7]


def test_output_filter(stub: Any) -> None:
    message = request(x=X)
    message.output_filter.append("y")
    assert list(stub.Predict(message).outputs) == ["y"]
    message.output_filter.append("y")
    assert refusal(stub.Predict, message) == (INVALID, "duplicate output tensor alias: y")
    message.output_filter[0] = "q"
    assert refusal(stub.Predict, message) == (
        INVALID,
        "output tensor alias not found in signature: q Outputs expected to be in the set {y}.",
    )


def test_wrong_types(stub: Any) -> None:
    double = "Expects arg[0] to be float but double is provided"
    assert refusal(stub.Predict, request(x=X.astype(np.float64))) == (INVALID, double)
    assert refusal(stub.Predict, request(x=[["a", "b"]]))[1] == "Expects arg[0] to be float but string is provided"


def test_types_that_numpy_lacks(stub: Any) -> None:
    code, text = refusal(stub.Predict, request(x=tf.cast(X, tf.bfloat16)))
    assert (code, text) == (INVALID, "Expects arg[0] to be float but bfloat16 is provided")


def test_shapes_are_left_to_the_ops(stub: Any) -> None:
    code, text = refusal(stub.Predict, request(x=np.ones((2, 5), np.float32)))
    assert code == INVALID
    assert text.startswith("Matrix size-incompatible: In[0]: [2,5], In[1]: [2,3]\n\t [[{{node ")
    assert refusal(stub.Predict, request(x=np.ones(2, np.float32)))[0] == INVALID


def test_batch_of_zero_rows(stub: Any) -> None:
    reply = stub.Predict(request(x=np.zeros((0, 2), np.float32)))
    assert [dim.size for dim in reply.outputs["y"].tensor_shape.dim] == [0, 3]


def test_strings_come_back_as_bytes(stub: Any) -> None:
    inputs = {
        "attribute_genre": ["jazz"],
        "attribute_tags": np.array([[b"a"]], object),
        "audio_tempo": np.array([9], np.float32),
        "lyric_vector": np.zeros((1, 3), np.float32),
        "k": np.array([1], np.int32),
        "exclude": [""],
    }
    reply = stub.Predict(request("match", **inputs))
    scores = small_model.embedding([{"attribute_genre": "jazz", "attribute_tags": ["a"], "audio_tempo": 9}])
    best = small_model.INDEX_IDS[int(np.argmax(scores @ small_model.INDEX.T))]
    assert list(reply.outputs["song_ids"].string_val) == [best.encode()]


def test_deadline_reaches_the_session(stub: Any, server: Any) -> None:
    code, _ = refusal(stub.Predict, request("slow", rounds=np.array([10**8], np.int32)), timeout=0.3)
    assert code == grpc.StatusCode.DEADLINE_EXCEEDED
    # The client ended the call itself. The server's own answer is visible from within.
    with server.core.versions.lease("bcl", None) as lent:
        output = lent.servable.signatures["slow"].outputs["y"].name
        feed = (lent.servable.signatures["slow"].inputs["rounds"].name, np.array([10**8], np.int32))
        with pytest.raises(RequestError) as caught:
            lent.servable._session.run([feed], [output], timeout_ms=100)
    assert caught.value.code == grpc.StatusCode.DEADLINE_EXCEEDED
    assert caught.value.message == "Timed out waiting for notification"


def test_a_run_cut_short_leaves_no_work_behind(stub: Any, server: Any) -> None:
    refusal(stub.Predict, request("slow", rounds=np.array([10**8], np.int32)), timeout=0.2)
    assert eventually(lambda: server.core.versions.states("bcl")[3].users == 0)


def test_truncated_and_unknown_calls(channel: grpc.Channel) -> None:
    broken = request(x=X).SerializeToString()[:-3]
    call = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
    assert refusal(call, broken)[0] == grpc.StatusCode.INTERNAL
    call = channel.unary_unary("/tensorflow.serving.PredictionService/Nope")
    assert refusal(call, b"")[0] == grpc.StatusCode.UNIMPLEMENTED
    # SessionService exists as a proto, and TensorFlow Serving does not offer it either.
    call = channel.unary_unary("/tensorflow.serving.SessionService/SessionRun")
    assert refusal(call, b"")[0] == grpc.StatusCode.UNIMPLEMENTED


def test_long_messages_are_cut() -> None:
    assert RequestError(INVALID, "x" * 1024).wire_message == "x" * 1024
    assert RequestError(INVALID, "x" * 1025).wire_message == "x" * 1024 + "...TRUNCATED"


def metadata_request(*fields: str, name: str = "bcl") -> Any:
    message = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=fields)
    message.model_spec.name = name
    return message


def test_metadata(stub: Any) -> None:
    reply = stub.GetModelMetadata(metadata_request("signature_def"))
    assert (reply.model_spec.name, reply.model_spec.version.value) == ("bcl", 3)
    signatures = get_model_metadata_pb2.SignatureDefMap()
    assert reply.metadata["signature_def"].Unpack(signatures)
    assert {"embed", "match", "serving_default", "__saved_model_init_op"} <= set(signatures.signature_def)
    assert set(signatures.signature_def["dense"].inputs) == {"x"}


def test_metadata_refusals(stub: Any) -> None:
    call = stub.GetModelMetadata
    assert refusal(call, get_model_metadata_pb2.GetModelMetadataRequest()) == (INVALID, "Missing ModelSpec")
    assert refusal(call, metadata_request(name="nope")) == (
        INVALID,
        "GetModelMetadataRequest must specify at least one metadata_field",
    )
    assert refusal(call, metadata_request("x", name="nope")) == (INVALID, "Metadata field x is not supported")
    assert refusal(call, metadata_request("signature_def", name="nope"))[0] == MISSING


def status_request(name: str, version: int | None = None, label: str | None = None) -> Any:
    message = get_model_status_pb2.GetModelStatusRequest()
    message.model_spec.name = name
    if version is not None:
        message.model_spec.version.value = version
    if label is not None:
        message.model_spec.version_label = label
    return message


def test_status(models: Any) -> None:
    for message in (status_request("bcl"), status_request("bcl", 3), status_request("bcl", label="any")):
        (status,) = models.GetModelStatus(message).model_version_status
        assert (status.version, status.state, status.status.error_code) == (3, 30, 0)


def test_status_refusals(models: Any) -> None:
    call = models.GetModelStatus
    assert refusal(call, get_model_status_pb2.GetModelStatusRequest()) == (INVALID, "Missing ModelSpec")
    assert refusal(call, status_request("m")) == (MISSING, "Could not find any versions of model m")
    assert refusal(call, status_request("")) == (MISSING, "Could not find any versions of model ")
    assert refusal(call, status_request("bcl", 5)) == (MISSING, "Could not find version 5 of model bcl")


def test_version_0_is_the_latest_only_if_the_server_is_told_so(saved_model: Path, tmp_path: Path) -> None:
    for version in (3, 4):
        small_model.publish(saved_model, tmp_path / "bcl", version)
    message = request(x=X)
    message.model_spec.version.value = 0
    flags = ServerFlags(port=0, model_name="bcl", model_base_path=str(tmp_path / "bcl"), version_zero_is_latest=True)
    with EmbeddedServer(flags) as told, grpc.insecure_channel(told.target) as channel:
        predict = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict
        assert predict(message).model_spec.version.value == 4
        status = model_service_pb2_grpc.ModelServiceStub(channel).GetModelStatus
        assert [found.version for found in status(status_request("bcl", 0)).model_version_status] == [4]
        message.model_spec.version.value = 5
        assert refusal(predict, message) == (MISSING, "Servable not found for request: Specific(bcl, 5)")
