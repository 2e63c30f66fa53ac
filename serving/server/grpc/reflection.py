"""Server reflection, behind `--enable_grpc_reflection`: tells tools the services and their messages."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from typing import Any

import grpc
from google.protobuf import descriptor_pool
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_health.v1 import health_pb2
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    predict_pb2,
    regression_pb2,
)

from serving.protocol.errors import failed_precondition
from serving.server.grpc.requests import decoder, refuse_undecodable

# The messages of both are the same. Older tools ask for the first, newer ones for the second.
_SERVICES = ("grpc.reflection.v1alpha.ServerReflection", "grpc.reflection.v1.ServerReflection")
# Each stream holds a thread of the server.
_MAX_STREAMS = 4
_PACKAGE = "tensorflow.serving"
_FOLDER = "tensorflow_serving/apis"
_PREDICTION = {
    "Classify": (classification_pb2.ClassificationRequest, classification_pb2.ClassificationResponse),
    "Regress": (regression_pb2.RegressionRequest, regression_pb2.RegressionResponse),
    "Predict": (predict_pb2.PredictRequest, predict_pb2.PredictResponse),
    "MultiInference": (inference_pb2.MultiInferenceRequest, inference_pb2.MultiInferenceResponse),
    "GetModelMetadata": (
        get_model_metadata_pb2.GetModelMetadataRequest,
        get_model_metadata_pb2.GetModelMetadataResponse,
    ),
}
_MODEL = {
    "GetModelStatus": (get_model_status_pb2.GetModelStatusRequest, get_model_status_pb2.GetModelStatusResponse),
    "HandleReloadConfigRequest": (
        model_management_pb2.ReloadConfigRequest,
        model_management_pb2.ReloadConfigResponse,
    ),
}


def _service_file(file_name: str, service: str, methods: Mapping[str, tuple[Any, Any]]) -> FileDescriptorProto:
    """Returns the .proto file of a service. The modules of tensorflow-serving-api that have it cannot be imported."""
    file = FileDescriptorProto(name=f"{_FOLDER}/{file_name}", package=_PACKAGE, syntax="proto3")
    defined = file.service.add(name=service)
    for name, (request, reply) in methods.items():
        kinds = {"input_type": f".{request.DESCRIPTOR.full_name}", "output_type": f".{reply.DESCRIPTOR.full_name}"}
        defined.method.add(name=name, **kinds)
    messages = [message.DESCRIPTOR.file.name for both in methods.values() for message in both]
    file.dependency.extend(dict.fromkeys(messages))
    return file


def _add(pool: Any, file: Any, added: set[str]) -> None:
    """Adds a file of the default pool to a pool, after those that it imports."""
    if file.name in added:
        return
    added.add(file.name)
    for imported in file.dependencies:
        _add(pool, imported, added)
    pool.AddSerializedFile(file.serialized_pb)


def _described(modules: list[Any]) -> Any:
    """Returns a pool with the services and their messages, and with the files of some modules."""
    pool, added = descriptor_pool.DescriptorPool(), set[str]()
    for request, reply in [*_PREDICTION.values(), *_MODEL.values()]:
        _add(pool, request.DESCRIPTOR.file, added)
        _add(pool, reply.DESCRIPTOR.file, added)
    for module in modules:
        _add(pool, module.DESCRIPTOR, added)
    pool.Add(_service_file("prediction_service.proto", "PredictionService", _PREDICTION))
    pool.Add(_service_file("model_service.proto", "ModelService", _MODEL))
    return pool


class Reflection:
    """Answers which services there are, and with the .proto files that describe them.

    The servicer is that of grpcio-reflection. Its own way to register cannot be used: it reads requests with a
    deserializer that may fail, and takes any number of streams.

    Args:
        health: Whether the server answers for health, too.

    Raises:
        RequestError: FAILED_PRECONDITION, if grpcio-reflection is not installed.
    """

    def __init__(self, *, health: bool) -> None:
        try:
            from grpc_reflection.v1alpha import reflection, reflection_pb2
        except ImportError as error:
            raise failed_precondition(
                "`enable_grpc_reflection` needs the package grpcio-reflection: pip install grpcio-reflection"
            ) from error
        modules = [reflection_pb2, *([health_pb2] if health else [])]
        names = [service.full_name for module in modules for service in module.DESCRIPTOR.services_by_name.values()]
        names += [f"{_PACKAGE}.PredictionService", f"{_PACKAGE}.ModelService"]
        self._servicer = reflection.ReflectionServicer(names, _described(modules))
        self._request_class = reflection_pb2.ServerReflectionRequest
        self._streams = threading.BoundedSemaphore(_MAX_STREAMS)

    def handlers(self) -> tuple[grpc.GenericRpcHandler, ...]:
        """Returns what the gRPC server registers."""
        info = grpc.stream_stream_rpc_method_handler(
            self._info,
            request_deserializer=decoder(self._request_class),
            response_serializer=lambda response: response.SerializeToString(),
        )
        return tuple(grpc.method_handlers_generic_handler(name, {"ServerReflectionInfo": info}) for name in _SERVICES)

    def _info(self, requests: Iterator[Any], context: Any) -> Iterator[Any]:
        if not self._streams.acquire(blocking=False):
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, f"more than {_MAX_STREAMS} streams of reflection")
        if not context.add_callback(self._streams.release):
            self._streams.release()
            return
        yield from self._servicer.ServerReflectionInfo(_readable(requests, context), context)


def _readable(requests: Iterator[Any], context: Any) -> Iterator[Any]:
    for request in requests:
        refuse_undecodable(request, context)
        yield request
