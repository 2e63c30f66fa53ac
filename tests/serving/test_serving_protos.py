"""Our messages and the generated ones: same numbers, same bytes, no clash, no TensorFlow."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorSet
from tensorflow.core.framework import tensor_pb2, types_pb2
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from serving.protocol import bundle, generate, protos
from serving.protocol.descriptors import FILES
from serving.protocol.tensors import from_proto, to_proto

ARRAYS: list[np.ndarray] = [
    np.array([[1.5, -2.0, np.nan]], np.float32),
    np.array([1.5, np.inf], np.float64),
    np.array([[1], [-(2**31)]], np.int32),
    np.array([2**63 - 1, -1], np.int64),
    np.array([0, 255], np.uint8),
    np.array([-128, 127], np.int8),
    np.array([-32768, 32767], np.int16),
    np.array([65535], np.uint16),
    np.array([2**32 - 1], np.uint32),
    np.array([2**64 - 1], np.uint64),
    np.array([True, False]),
    np.array([1.5, -0.25], np.float16),
    np.array([1 + 2j, -3j], np.complex64),
    np.array([1 + 2j], np.complex128),
    np.array([["ä".encode(), b""], [b"\x00\xff", b"x" * 300]], object),
    np.zeros((0, 3), np.float32),
    np.array(7, np.int32),
]
IDS = [f"{array.dtype}-{array.ndim}d-{array.size}" for array in ARRAYS]


SHARED_FILES = ("tensorflow.proto", "tensorflow_serving.proto")


def _messages(prefix: str, messages: Iterable[DescriptorProto]) -> Iterator[str]:
    for message in messages:
        if not message.options.map_entry:
            yield f"{prefix}.{message.name}"
            yield from _messages(f"{prefix}.{message.name}", message.nested_type)


@pytest.mark.parametrize(
    "full_name",
    [
        name
        for file in FileDescriptorSet.FromString(FILES).file
        if file.name in SHARED_FILES
        for name in _messages(file.package, file.message_type)
    ],
)
def test_fields_are_those_of_the_generated_modules(full_name: str) -> None:
    generated = descriptor_pool.Default().FindMessageTypeByName(full_name)
    ours = protos.message_class(full_name).DESCRIPTOR
    assert ours.fields
    for field in ours.fields:
        theirs = generated.fields_by_name[field.name]
        # gRPC's own codes stand for the enum tensorflow.error.Code, which has their numbers.
        is_code = theirs.enum_type is not None and theirs.enum_type.full_name == "tensorflow.error.Code"
        expected = FieldDescriptor.TYPE_INT32 if is_code else theirs.type
        assert (field.number, field.type) == (theirs.number, expected), field.name
        assert (field.containing_oneof is None) == (theirs.containing_oneof is None), field.name
        if field.type == FieldDescriptor.TYPE_MESSAGE:
            assert field.message_type.full_name == theirs.message_type.full_name
            assert field.message_type.GetOptions().map_entry == theirs.message_type.GetOptions().map_entry


def test_the_module_of_descriptors_is_what_the_proto_files_give() -> None:
    pytest.importorskip("grpc_tools")
    assert generate.MODULE.read_text(encoding="utf-8") == generate.module_text(generate.compiled())


class Methods:
    """Stands for a channel: notes the paths that a stub of tensorflow-serving-api calls, and their replies."""

    def __init__(self) -> None:
        self.replies: dict[str, str] = {}

    def unary_unary(self, path: str, response_deserializer: Any, **_: Any) -> None:
        self.replies[path] = response_deserializer(b"").DESCRIPTOR.full_name


def test_services_are_those_of_the_generated_modules() -> None:
    theirs = Methods()
    prediction_service_pb2_grpc.PredictionServiceStub(theirs)
    model_service_pb2_grpc.ModelServiceStub(theirs)
    (file,) = (file for file in FileDescriptorSet.FromString(FILES).file if file.name == "tensorflow_serving.proto")
    assert [service.name for service in file.service] == ["PredictionService", "ModelService"]
    for service in file.service:
        assert service.method
        for method in service.method:
            path = f"/{file.package}.{service.name}/{method.name}"
            assert method.output_type == f".{theirs.replies[path]}"
            assert method.input_type == f".{theirs.replies[path].removesuffix('Response')}Request"


def test_the_bundle_compiles_to_the_descriptors_that_it_has(tmp_path: Path) -> None:
    protoc = pytest.importorskip("grpc_tools.protoc")
    assert bundle.main([str(tmp_path / "new" / "bundle")]) == 0
    folder = tmp_path / "new" / "bundle"
    assert {path.name for path in folder.iterdir()} == {"tensorflow.proto", "tensorflow_serving.proto", "bcl.protoset"}
    includes = [f"--proto_path={folder}", f"--proto_path={Path(protoc.__file__).with_name('_proto')}"]
    out = tmp_path / "compiled"
    command = ["protoc", *includes, "--include_imports", f"--descriptor_set_out={out}", "tensorflow_serving.proto"]
    assert protoc.main(command) == 0
    compiled = {file.name: file for file in FileDescriptorSet.FromString(out.read_bytes()).file}
    given = {file.name: file for file in FileDescriptorSet.FromString((folder / "bcl.protoset").read_bytes()).file}
    assert set(given) == set(compiled)
    assert all(given[name] == compiled[name] for name in bundle.SOURCES)


def test_the_set_of_the_bundle_can_be_read_alone() -> None:
    pool = descriptor_pool.DescriptorPool()
    for file in FileDescriptorSet.FromString(bundle.descriptor_set()).file:
        pool.AddSerializedFile(file.SerializeToString())
    method = pool.FindServiceByName("tensorflow.serving.PredictionService").methods_by_name["Predict"]
    assert method.input_type.fields_by_name["inputs"].message_type.GetOptions().map_entry


def test_a_bundle_that_cannot_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert bundle.main([str(tmp_path / "file" / "bundle")]) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_data_types_and_states_have_their_official_numbers() -> None:
    assert {name: types_pb2.DataType.Value(name) for name in protos.DATA_TYPES} == protos.DATA_TYPES
    states = get_model_status_pb2.ModelVersionStatus.State
    assert dict(map(reversed, states.items())) == protos.STATES


@pytest.mark.parametrize("array", ARRAYS, ids=IDS)
@pytest.mark.parametrize("as_content", [True, False], ids=["content", "values"])
def test_tensorflow_reads_what_we_write(array: np.ndarray, as_content: bool) -> None:
    data = to_proto(array, protos.TensorProto(), as_content=as_content).SerializeToString()
    theirs = tf.io.parse_tensor(data, tf.as_dtype(array.dtype)).numpy()
    np.testing.assert_array_equal(theirs, array)
    assert theirs.shape == array.shape


@pytest.mark.parametrize("array", ARRAYS, ids=IDS)
def test_we_read_what_tensorflow_writes(array: np.ndarray) -> None:
    for data in (tf.make_tensor_proto(array).SerializeToString(), tf.io.serialize_tensor(array).numpy()):
        ours = from_proto(protos.TensorProto.FromString(data))
        np.testing.assert_array_equal(ours, array)
        assert (ours.shape, ours.dtype) == (array.shape, array.dtype)


def test_requests_and_replies_have_the_same_bytes_as_the_generated_ones() -> None:
    ours = protos.PredictRequest(output_filter=["embedding"])
    ours.model_spec.name, ours.model_spec.signature_name = "bcl", "embed"
    ours.model_spec.version.value = 3
    to_proto(np.arange(3, dtype=np.float32), ours.inputs["x"])
    theirs = predict_pb2.PredictRequest.FromString(ours.SerializeToString())
    assert (theirs.model_spec.name, theirs.model_spec.signature_name) == ("bcl", "embed")
    assert (theirs.model_spec.version.value, list(theirs.output_filter)) == (3, ["embedding"])
    assert theirs.SerializeToString(deterministic=True) == ours.SerializeToString(deterministic=True)


def test_metadata_travels_through_any() -> None:
    signatures = get_model_metadata_pb2.SignatureDefMap()
    signatures.signature_def["embed"].inputs["x"].dtype = types_pb2.DT_FLOAT
    theirs = get_model_metadata_pb2.GetModelMetadataResponse()
    theirs.metadata["signature_def"].Pack(signatures)
    ours = protos.GetModelMetadataResponse.FromString(theirs.SerializeToString())
    read = protos.SignatureDefMap.FromString(ours.metadata["signature_def"].value)
    assert read.signature_def["embed"].inputs["x"].dtype == protos.DATA_TYPES["DT_FLOAT"]


def test_classes_differ_from_the_generated_ones() -> None:
    # Registering them in the default pool would fail, or hand out the generated classes.
    assert protos.TensorProto is not tensor_pb2.TensorProto
    assert protos.TensorProto.DESCRIPTOR.full_name == tensor_pb2.TensorProto.DESCRIPTOR.full_name


def test_the_client_imports_no_tensorflow() -> None:
    code = "import serving.client, serving.client.__main__, sys; print('tensorflow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_our_messages_stay_out_of_the_default_pool() -> None:
    # The generated modules may be imported later.
    code = (
        "from google.protobuf import descriptor_pool; from serving.protocol import protos\n"
        "try: descriptor_pool.Default().FindMessageTypeByName('tensorflow.TensorProto')\n"
        "except KeyError: print('absent')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "absent"
