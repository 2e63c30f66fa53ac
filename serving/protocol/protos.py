"""Messages of TensorFlow and TensorFlow Serving, without TensorFlow.

The modules of `tensorflow-serving-api` import all of TensorFlow. These classes need protobuf alone. They have the same
full names and field numbers, hence the same bytes on the wire. The .proto files are in `definitions`, and
`python -m serving.protocol.generate` compiles them into `descriptors`.

The classes live in a descriptor pool of their own. The default pool holds TensorFlow's messages of the same names where
TensorFlow is imported, and protobuf refuses a second definition there. protoc's own Python modules always use the
default pool, so they cannot be used here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from google.protobuf import any_pb2, descriptor_pb2, descriptor_pool, message_factory, wrappers_pb2

from serving.protocol.descriptors import FILES


def _pool() -> descriptor_pool.DescriptorPool:
    pool = descriptor_pool.DescriptorPool()
    for module in (any_pb2, wrappers_pb2):
        pool.AddSerializedFile(module.DESCRIPTOR.serialized_pb)
    for file in descriptor_pb2.FileDescriptorSet.FromString(FILES).file:
        pool.AddSerializedFile(file.SerializeToString())
    return pool


_POOL = _pool()


def message_class(full_name: str) -> Any:
    """Returns the class of a message, for example of `tensorflow.TensorProto`."""
    return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(full_name))


def _numbers(enum: str) -> Mapping[str, int]:
    return {value.name: value.number for value in _POOL.FindEnumTypeByName(enum).values}


TensorProto = message_class("tensorflow.TensorProto")
SignatureDefMap = message_class("tensorflow.serving.SignatureDefMap")
PredictRequest = message_class("tensorflow.serving.PredictRequest")
PredictResponse = message_class("tensorflow.serving.PredictResponse")
GetModelMetadataRequest = message_class("tensorflow.serving.GetModelMetadataRequest")
GetModelMetadataResponse = message_class("tensorflow.serving.GetModelMetadataResponse")
GetModelStatusRequest = message_class("tensorflow.serving.GetModelStatusRequest")
GetModelStatusResponse = message_class("tensorflow.serving.GetModelStatusResponse")

#: Numbers of `tensorflow.DataType` by name, of the types that a served model can meet on the wire.
DATA_TYPES = _numbers("tensorflow.DataType")
#: Names of `tensorflow.serving.ModelVersionStatus.State` by number.
STATES = {number: name for name, number in _numbers("tensorflow.serving.ModelVersionStatus.State").items()}
