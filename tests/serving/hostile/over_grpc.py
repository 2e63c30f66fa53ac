"""Hostile requests over gRPC, as messages of its own client."""

from __future__ import annotations

import functools
import random

import grpc
import numpy as np
from tensorflow.core.example import example_pb2
from tensorflow_serving.apis import classification_pb2, model_management_pb2

from serving.protocol import protos
from serving.protocol.tensors import to_proto
from tests.serving.hostile.kinds import CLASSIFY, COSTLY, PREDICT, RELOAD, Kind, Place, kind

_REFUSED = r"^INVALID_ARGUMENT .*expected at most \d+ .*\(--\w*max_\w+\)\. Received: "
_LARGE = 15_000_000


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


def _part(tag: int, content: bytes) -> bytes:
    """A field of bytes on the wire."""
    return bytes([tag]) + _varint(len(content)) + content


def _request(signature: str = "match", **inputs: object) -> protos.PredictRequest:
    request = protos.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = "bcl", signature
    for name, value in inputs.items():
        to_proto(value, request.inputs[name])
    return request


@kind(_REFUSED)
def declared_shape(place: Place, rng: random.Random) -> str:
    """A shape without values: 48 bytes that ask for a tensor of gigabytes."""
    request = _request(rng.choice(["serving_default", "embed"]))
    tensor = request.inputs[rng.choice(["examples", "attribute_genre"])]
    tensor.dtype = rng.choice([1, 7, 9])
    for size in rng.choice([(100_000,), (3_000_000,), (2**62,), (1, 2**30), (1000, 1000, 1000)]):
        tensor.tensor_shape.dim.add(size=size)
    return place.call(PREDICT, request.SerializeToString())


@kind(_REFUSED)
def millions_of_rows(place: Place, rng: random.Random) -> str:
    """Three million rows, all of them sent."""
    return place.call(PREDICT, _request("embed", audio_tempo=np.zeros(3_000_000, np.float32)).SerializeToString())


@functools.cache
def _many_inputs() -> bytes:
    return b"".join(_part(0x12, _part(0x0A, b"%x" % number) + b"\x12\x00") for number in range(1_000_000))


@kind(r"^INVALID_ARGUMENT .*expected at most 1024 inputs or features\. Received: 1025 or more")
def many_inputs(place: Place, rng: random.Random) -> str:
    """A million names of inputs: an object for each."""
    return place.call(PREDICT, _request().SerializeToString() + _many_inputs())


@kind(_REFUSED, most=COSTLY)
def many_examples(place: Place, rng: random.Random) -> str:
    """Seven million empty tf.Examples in 15 MB: a message for each."""
    data = _part(0x0A, b"\x0a\x03bcl") + _part(0x12, _part(0x0A, b"\x0a\x00" * (_LARGE // 2)))
    return place.call(CLASSIFY, data)


@kind(_REFUSED, most=COSTLY)
def many_words(place: Place, rng: random.Random) -> str:
    """Seven million empty words in one tensor."""
    tensor = b"\x08\x07" + _part(0x12, _part(0x12, b"\x08\x01")) + b"\x42\x00" * (_LARGE // 2)
    return place.call(
        PREDICT, _request("embed").SerializeToString() + _part(0x12, _part(0x0A, b"x") + _part(0x12, tensor))
    )


@kind(_REFUSED, most=COSTLY)
def many_dimensions(place: Place, rng: random.Random) -> str:
    """A tensor with seven million dimensions."""
    tensor = b"\x08\x01" + _part(0x12, b"\x12\x00" * (_LARGE // 2))
    return place.call(
        PREDICT, _request("embed").SerializeToString() + _part(0x12, _part(0x0A, b"x") + _part(0x12, tensor))
    )


@kind(_REFUSED, most=COSTLY)
def many_outputs(place: Place, rng: random.Random) -> str:
    """Seven million names of outputs to return."""
    return place.call(PREDICT, _request("embed").SerializeToString() + b"\x1a\x00" * (_LARGE // 2))


@functools.cache
def _example(features: int, words: int) -> bytes:
    example = example_pb2.Example()
    for number in range(features):
        example.features.feature[f"attribute_{number}"].bytes_list.value.extend([b"w"] * words)
    return bytes(example.SerializeToString())


@kind(r"^INVALID_ARGUMENT ", most=COSTLY)
def many_features(place: Place, rng: random.Random) -> str:
    """A tf.Example with 300,000 features, of which the model knows none."""
    return place.call(
        PREDICT, _request("serving_default", examples=np.array([_example(300_000, 1)], object)).SerializeToString()
    )


@kind(_REFUSED)
def one_long_feature(place: Place, rng: random.Random) -> str:
    """One list of 20,000 words, to whose length the lists of a thousand examples would be padded."""
    example = example_pb2.Example()
    example.features.feature["attribute_tags"].bytes_list.value.extend([b"w"] * 20_000)
    examples = np.array([example.SerializeToString(), *[b""] * 1000], object)
    return place.call(PREDICT, _request("serving_default", examples=examples).SerializeToString())


@kind(_REFUSED, most=COSTLY)
def copied_context(place: Place, rng: random.Random) -> str:
    """A context of megabytes that is copied into a thousand examples."""
    request = classification_pb2.ClassificationRequest()
    request.model_spec.name = "bcl"
    target = request.input.example_list_with_context
    target.context.ParseFromString(_example(1000, 300))
    for _ in range(1000):
        target.examples.add()
    return place.call(CLASSIFY, request.SerializeToString())


@kind(r"^(INTERNAL|INVALID_ARGUMENT) ")
def claimed_lengths(place: Place, rng: random.Random) -> str:
    """Bytes that claim to go on for gigabytes, or groups inside each other without end."""
    claims = [b"\x0a" + _varint(2**31 - 1), b"\x12" + _varint(2**40), b"\x0b" * 1_000_000, b"\xff" * 1_000_000]
    return place.call(PREDICT, _request().SerializeToString() + rng.choice(claims))


def _match(place: Place, rows: int, k: int, exclude: bytes = b"") -> bytes:
    columns: dict[str, object] = {}
    for name, value in place.fields.items():
        dtype = object if isinstance(value, str) or (isinstance(value, list) and isinstance(value[0], str)) else "f4"
        columns[name] = np.array([value] * rows, dtype)
    columns |= {"k": np.full(rows, k, np.int32), "exclude": np.array([exclude] * rows, object)}
    return bytes(_request("match", **columns).SerializeToString())


@kind(r"^OK|^INVALID_ARGUMENT .*max_request_matches")
def many_matches(place: Place, rng: random.Random) -> str:
    """The most rows with the largest k, or the most that the bounds allow."""
    return place.call(PREDICT, _match(place, 1024, rng.choice([128, 1000])))


@kind(r"^INVALID_ARGUMENT .*k: expected an integer from 1")
def huge_k(place: Place, rng: random.Random) -> str:
    """Two billion matches of one song."""
    return place.call(PREDICT, _match(place, 1, 2**31 - 1))


@kind(r"^OK")
def long_excluded_id(place: Place, rng: random.Random) -> str:
    """An id of megabytes to exclude."""
    return place.call(PREDICT, _match(place, 1, 10, b"x" * 10_000_000))


@kind(r"^(PERMISSION_DENIED|UNAUTHENTICATED) ")
def reloads(place: Place, rng: random.Random) -> str:
    """A reload without models, which unloads everything, or one that waits for a model."""
    request = model_management_pb2.ReloadConfigRequest()
    request.config.model_config_list.SetInParent()
    if rng.randrange(2):
        request.config.model_config_list.config.add(name="slow", base_path="/nowhere", model_platform="tensorflow")
    return place.call(RELOAD, request.SerializeToString())


@kind(r"^NOT_FOUND ")
def unknown_names(place: Place, rng: random.Random) -> str:
    """Another long model name each time: a label of the metrics for each would be memory."""
    request = _request("embed")
    request.model_spec.name = rng.randbytes(5000).hex()
    return place.call(PREDICT, request.SerializeToString())


@kind(r"^(CANCELLED|DEADLINE_EXCEEDED) |^OK")
def leaves(place: Place, rng: random.Random) -> str:
    """A large request whose client goes after some milliseconds."""
    return place.call(PREDICT, _match(place, 200, 500), timeout=rng.uniform(0.002, 0.05))


@kind(r"^(UNIMPLEMENTED|RESOURCE_EXHAUSTED|INTERNAL|INVALID_ARGUMENT) ", most=20)
def packed_message(place: Place, rng: random.Random) -> str:
    """A message that gzip unpacks to hundreds of megabytes."""
    return place.call(PREDICT, _zeros(), compression=grpc.Compression.Gzip)


@functools.cache
def _zeros() -> bytes:
    return bytes(200_000_000)


OVER_GRPC: list[Kind] = [value for value in list(globals().values()) if isinstance(value, Kind)]
