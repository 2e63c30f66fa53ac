"""Server reflection: what tools are told, and what strangers may cost."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import small_model
from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from tensorflow_serving.apis import model_service_pb2_grpc, prediction_service_pb2_grpc

from serving.client import Client
from serving.protocol import protos
from serving.server import EmbeddedServer, RequestError
from tests.waiting import eventually

NAMES = ["grpc.reflection.v1alpha.ServerReflection", "grpc.reflection.v1.ServerReflection"]


def serve(base: Path, **settings: Any) -> EmbeddedServer:
    return EmbeddedServer(port=0, model_name="bcl", model_base_path=str(base), enable_grpc_reflection=True, **settings)


@pytest.fixture(scope="module")
def server(base: Path) -> Iterator[EmbeddedServer]:
    pytest.importorskip("grpc_reflection", reason="needs grpcio-reflection")
    with serve(base) as running:
        yield running


def ask(channel: grpc.Channel, requests: Iterator[Any], name: str = NAMES[0], **settings: Any) -> Any:
    from grpc_reflection.v1alpha import reflection_pb2

    stream = channel.stream_stream(
        f"/{name}/ServerReflectionInfo",
        request_serializer=lambda request: request if isinstance(request, bytes) else request.SerializeToString(),
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )
    return stream(requests, timeout=30, **settings)


def request(**fields: Any) -> Any:
    from grpc_reflection.v1alpha import reflection_pb2

    return reflection_pb2.ServerReflectionRequest(**fields)


@pytest.mark.parametrize("name", NAMES)
def test_the_services_are_listed(server: EmbeddedServer, name: str) -> None:
    with grpc.insecure_channel(server.target) as channel:
        (reply,) = ask(channel, iter([request(list_services="")]), name)
    assert {service.name for service in reply.list_services_response.service} == {
        "tensorflow.serving.PredictionService",
        "tensorflow.serving.ModelService",
        NAMES[0],
    }


class Methods:
    """Stands for a channel: notes the methods that a stub of tensorflow-serving-api has, and their replies."""

    def __init__(self, stub: type) -> None:
        self.replies: dict[str, str] = {}
        stub(self)

    def unary_unary(self, path: str, response_deserializer: Any, **_: Any) -> None:
        self.replies[path.rpartition("/")[2]] = response_deserializer(b"").DESCRIPTOR.full_name


@pytest.mark.parametrize(
    ("service", "stub"),
    [
        ("PredictionService", prediction_service_pb2_grpc.PredictionServiceStub),
        ("ModelService", model_service_pb2_grpc.ModelServiceStub),
    ],
)
def test_a_tool_is_told_the_methods_of_tensorflow_serving(server: EmbeddedServer, service: str, stub: type) -> None:
    methods = described(server, f"tensorflow.serving.{service}").methods_by_name
    assert {name: method.output_type.full_name for name, method in methods.items()} == Methods(stub).replies


def test_a_tool_can_build_a_request_from_what_it_is_told(server: EmbeddedServer) -> None:
    predict = described(server, "tensorflow.serving.PredictionService").methods_by_name["Predict"].input_type
    kind = message_factory.GetMessageClass(predict)
    sent = kind(model_spec={"name": "bcl", "signature_name": "gather"})
    sent.inputs["rows"].dtype = (
        sent.inputs["rows"].DESCRIPTOR.fields_by_name["dtype"].enum_type.values_by_name["DT_INT32"].number
    )
    sent.inputs["rows"].int_val.append(3)
    sent.inputs["rows"].tensor_shape.dim.add(size=1)
    with grpc.insecure_channel(server.target) as channel:
        call = channel.unary_unary("/tensorflow.serving.PredictionService/Predict", kind.SerializeToString)
        reply = protos.PredictResponse.FromString(call(sent, timeout=30))
    assert list(reply.outputs["y"].float_val) == small_model.INDEX[3].tolist()


def described(server: EmbeddedServer, symbol: str) -> Any:
    """Returns a service as a tool reads it."""
    with grpc.insecure_channel(server.target) as channel:
        (reply,) = ask(channel, iter([request(file_containing_symbol=symbol)]))
    files = {}
    for data in reply.file_descriptor_response.file_descriptor_proto:
        file = FileDescriptorProto.FromString(data)
        files[file.name] = file
    pool = descriptor_pool.DescriptorPool()

    def add(name: str) -> None:
        file = files.pop(name, None)
        if file is not None:
            for dependency in file.dependency:
                add(dependency)
            pool.Add(file)

    for name in list(files):
        add(name)
    return pool.FindServiceByName(symbol)


def test_a_request_that_cannot_be_read_is_refused(server: EmbeddedServer) -> None:
    with grpc.insecure_channel(server.target) as channel, pytest.raises(grpc.RpcError, match="deserializing request"):
        list(ask(channel, iter([b"\xff\xff"])))


def test_streams_cannot_use_up_the_threads(server: EmbeddedServer) -> None:
    with grpc.insecure_channel(server.target) as channel:

        def unending() -> Iterator[Any]:
            yield request(list_services="")
            yield from iter(lambda: release.wait(30) and None, None)

        release = threading.Event()
        streams = [ask(channel, unending()) for _ in range(4)]
        for stream in streams:
            next(stream)
        with pytest.raises(grpc.RpcError, match="more than 4 streams"):
            list(ask(channel, iter([request(list_services="")])))
        with Client(server.target) as client:
            assert client.status()
        for stream in streams:
            stream.cancel()
        release.set()

        def is_free() -> bool:
            try:
                return bool(list(ask(channel, iter([request(list_services="")]))))
            except grpc.RpcError:
                return False

        eventually(is_free)


def test_it_needs_the_token(base: Path, tmp_path: Path) -> None:
    pytest.importorskip("grpc_reflection", reason="needs grpcio-reflection")
    (tmp_path / "tokens").write_text("secret\n")
    with (
        serve(base, auth_token_file=str(tmp_path / "tokens")) as server,
        grpc.insecure_channel(server.target) as channel,
    ):
        with pytest.raises(grpc.RpcError, match="a bearer token is needed"):
            list(ask(channel, iter([request(list_services="")])))
        metadata = (("authorization", "Bearer secret"),)
        assert list(ask(channel, iter([request(list_services="")]), metadata=metadata))


def test_without_the_flag_there_is_none(base: Path) -> None:
    pytest.importorskip("grpc_reflection", reason="needs grpcio-reflection")
    quiet = EmbeddedServer(port=0, model_name="bcl", model_base_path=str(base))
    with quiet as server, grpc.insecure_channel(server.target) as channel, pytest.raises(grpc.RpcError) as caught:
        list(ask(channel, iter([request(list_services="")])))
    assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED


def test_without_the_package_the_start_says_what_to_install(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("grpc_reflection", "grpc_reflection.v1alpha"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(RequestError, match=r"enable_grpc_reflection.*pip install grpcio-reflection"):
        serve(base).start()
