"""TensorFlow Serving's messages, built at import in a descriptor pool of their own.

The generated modules of `tensorflow-serving-api` import all of TensorFlow. These classes need protobuf alone: same full
names, same field numbers, hence the same bytes on the wire. A private pool keeps them apart from the generated ones, so
that a process may hold both. Enums are declared as int32, which is what they are on the wire; `DATA_TYPES` and `STATES`
name their values.

Source of the numbers: tensorflow_serving/apis/*.proto, tensorflow/core/framework/{tensor,tensor_shape}.proto,
tensorflow/core/protobuf/meta_graph.proto, grpc/health/v1/health.proto. A test compares each with the generated modules.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

# package -> message (dots nest) -> fields as a .proto file writes them.
_PACKAGES: dict[str, dict[str, str]] = {
    "google.protobuf": {
        "Any": "string type_url = 1; bytes value = 2",
        "Int64Value": "int64 value = 1",
    },
    "tensorflow": {
        "TensorShapeProto": "repeated .tensorflow.TensorShapeProto.Dim dim = 2; bool unknown_rank = 3",
        "TensorShapeProto.Dim": "int64 size = 1; string name = 2",
        "TensorProto": (
            "int32 dtype = 1; .tensorflow.TensorShapeProto tensor_shape = 2; int32 version_number = 3;"
            "bytes tensor_content = 4; repeated float float_val = 5; repeated double double_val = 6;"
            "repeated int32 int_val = 7;"
            "repeated bytes string_val = 8; repeated float scomplex_val = 9; repeated int64 int64_val = 10;"
            "repeated bool bool_val = 11; repeated double dcomplex_val = 12; repeated int32 half_val = 13;"
            "repeated uint32 uint32_val = 16; repeated uint64 uint64_val = 17"
        ),
        "TensorInfo": "string name = 1; int32 dtype = 2; .tensorflow.TensorShapeProto tensor_shape = 3",
        "SignatureDef": (
            "map<string, .tensorflow.TensorInfo> inputs = 1; map<string, .tensorflow.TensorInfo> outputs = 2;"
            "string method_name = 3; map<string, .tensorflow.TensorProto> defaults = 4"
        ),
    },
    "tensorflow.serving": {
        "ModelSpec": (
            "string name = 1; .google.protobuf.Int64Value version = 2; string signature_name = 3;"
            "string version_label = 4"
        ),
        "PredictRequest": (
            ".tensorflow.serving.ModelSpec model_spec = 1; map<string, .tensorflow.TensorProto> inputs = 2;"
            "repeated string output_filter = 3"
        ),
        "PredictResponse": (
            "map<string, .tensorflow.TensorProto> outputs = 1; .tensorflow.serving.ModelSpec model_spec = 2"
        ),
        "SignatureDefMap": "map<string, .tensorflow.SignatureDef> signature_def = 1",
        "GetModelMetadataRequest": ".tensorflow.serving.ModelSpec model_spec = 1; repeated string metadata_field = 2",
        "GetModelMetadataResponse": (
            ".tensorflow.serving.ModelSpec model_spec = 1; map<string, .google.protobuf.Any> metadata = 2"
        ),
        "GetModelStatusRequest": ".tensorflow.serving.ModelSpec model_spec = 1",
        "StatusProto": "int32 error_code = 1; string error_message = 2",
        "ModelVersionStatus": "int64 version = 1; int32 state = 2; .tensorflow.serving.StatusProto status = 3",
        "GetModelStatusResponse": "repeated .tensorflow.serving.ModelVersionStatus model_version_status = 1",
    },
    "grpc.health.v1": {
        "HealthCheckRequest": "string service = 1",
        "HealthCheckResponse": "int32 status = 1",
    },
}

# tensorflow.DataType, the members a served model can meet on the wire.
DATA_TYPES: dict[str, int] = {
    "DT_FLOAT": 1,
    "DT_DOUBLE": 2,
    "DT_INT32": 3,
    "DT_UINT8": 4,
    "DT_INT16": 5,
    "DT_INT8": 6,
    "DT_STRING": 7,
    "DT_COMPLEX64": 8,
    "DT_INT64": 9,
    "DT_BOOL": 10,
    "DT_UINT16": 17,
    "DT_COMPLEX128": 18,
    "DT_HALF": 19,
    "DT_UINT32": 22,
    "DT_UINT64": 23,
}
# ModelVersionStatus.State.
STATES: dict[int, str] = {0: "UNKNOWN", 10: "START", 20: "LOADING", 30: "AVAILABLE", 40: "UNLOADING", 50: "END"}

_SCALARS = {
    name: getattr(descriptor_pb2.FieldDescriptorProto, f"TYPE_{name.upper()}")
    for name in ("double", "float", "int64", "uint64", "int32", "uint32", "bool", "string", "bytes")
}
_FIELD = re.compile(
    r"\s*(?:(?P<repeated>repeated)\s+)?(?:map<string,\s*(?P<map>[\w.]+)>|(?P<type>[\w.]+))\s+(?P<name>\w+)\s*=\s*(?P<number>\d+)\s*"
)


def _set_type(field: descriptor_pb2.FieldDescriptorProto, type_name: str) -> None:
    if type_name in _SCALARS:
        field.type = _SCALARS[type_name]
    else:
        field.type = descriptor_pb2.FieldDescriptorProto.TYPE_MESSAGE
        field.type_name = type_name


def _add_map_entry(message: descriptor_pb2.DescriptorProto, entry_name: str, value_type: str) -> None:
    """Declare the nested key-value message that a map field is on the wire."""
    entry = message.nested_type.add(name=entry_name)
    entry.options.map_entry = True
    for number, (name, type_name) in enumerate((("key", "string"), ("value", value_type)), start=1):
        _set_type(entry.field.add(name=name, number=number, label=1), type_name)


def _add_fields(message: descriptor_pb2.DescriptorProto, full_name: str, fields: str) -> None:
    for declaration in fields.split(";"):
        match = _FIELD.fullmatch(declaration)
        assert match is not None, f"not a field declaration: {declaration!r}"
        name = match["name"]
        repeated = bool(match["repeated"] or match["map"])
        field = message.field.add(name=name, number=int(match["number"]), label=3 if repeated else 1)
        if match["map"]:
            entry_name = name.title().replace("_", "") + "Entry"
            _add_map_entry(message, entry_name, match["map"])
            _set_type(field, f".{full_name}.{entry_name}")
        else:
            _set_type(field, match["type"])


def build_pool(packages: Mapping[str, Mapping[str, str]]) -> descriptor_pool.DescriptorPool:
    """Declare messages in a pool of their own.

    Args:
        packages: package -> message (dots nest, at most once) -> fields as a .proto file writes them, types by full
            name with a leading dot; a package may use those before it.
    """
    pool = descriptor_pool.DescriptorPool()
    earlier: list[str] = []
    for package, messages in packages.items():
        file = descriptor_pb2.FileDescriptorProto(name=f"serving/{package}.proto", package=package, syntax="proto3")
        file.dependency.extend(earlier)
        for name, fields in messages.items():
            outer, _, inner = name.partition(".")
            holder = next((m for m in file.message_type if m.name == outer), None)
            holder = holder if holder is not None else file.message_type.add(name=outer)
            _add_fields(holder.nested_type.add(name=inner) if inner else holder, f"{package}.{name}", fields)
        pool.AddSerializedFile(file.SerializeToString())
        earlier.append(file.name)
    return pool


_POOL = build_pool(_PACKAGES)


def _class(full_name: str) -> Any:
    return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(full_name))


TensorProto = _class("tensorflow.TensorProto")
SignatureDefMap = _class("tensorflow.serving.SignatureDefMap")
PredictRequest = _class("tensorflow.serving.PredictRequest")
PredictResponse = _class("tensorflow.serving.PredictResponse")
GetModelMetadataRequest = _class("tensorflow.serving.GetModelMetadataRequest")
GetModelMetadataResponse = _class("tensorflow.serving.GetModelMetadataResponse")
GetModelStatusRequest = _class("tensorflow.serving.GetModelStatusRequest")
GetModelStatusResponse = _class("tensorflow.serving.GetModelStatusResponse")
HealthCheckRequest = _class("grpc.health.v1.HealthCheckRequest")
HealthCheckResponse = _class("grpc.health.v1.HealthCheckResponse")


def full_names() -> list[str]:
    """Full names of every message declared here, for the test that compares them with the generated modules."""
    return [f"{package}.{name}" for package, messages in _PACKAGES.items() for name in messages]


def message_class(full_name: str) -> Any:
    """Class of the message `full_name`, for example `tensorflow.TensorProto`."""
    return _class(full_name)
