"""A seeded stream of malformed requests, each with the code and text of its answer."""

from __future__ import annotations

import gzip
import http.client
import json
import random
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import grpc
import numpy as np
from tensorflow.core.example import example_pb2
from tensorflow_serving.apis import classification_pb2, model_management_pb2

from serving.protocol import protos
from serving.protocol.tensors import to_proto

PREDICT = "/tensorflow.serving.PredictionService/Predict"
METADATA = "/tensorflow.serving.PredictionService/GetModelMetadata"
STATUS = "/tensorflow.serving.ModelService/GetModelStatus"
RELOAD = "/tensorflow.serving.ModelService/HandleReloadConfigRequest"
CLASSIFY = "/tensorflow.serving.PredictionService/Classify"
Code = grpc.StatusCode
# Ten megabytes in ten kilobytes.
_BOMB = gzip.compress(b" " * 10_000_000)
# Seconds; a busy machine does not reach it.
_LAST_RESORT = 1800.0
INVALID, INTERNAL, MISSING = Code.INVALID_ARGUMENT, Code.INTERNAL, Code.NOT_FOUND


@dataclass(frozen=True)
class Malformed:
    """One call over gRPC and its possible answers: several codes and no text where the bytes are random."""

    method: str
    data: bytes
    codes: tuple[grpc.StatusCode, ...]
    text: str = ""  # a regular expression


def predict_request(signature: str = "dense", **inputs: Any) -> Any:
    """A PredictRequest for model `bcl`."""
    request = protos.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = "bcl", signature
    for name, value in inputs.items():
        to_proto(value, request.inputs[name])
    return request


def _good(rng: random.Random) -> Any:
    return predict_request(x=np.ones((rng.randint(1, 5), 2), np.float32))


def _wrong_dtype(rng: random.Random) -> Malformed:
    dtype = rng.choice([np.float64, np.int32, np.int64, np.bool_, np.float16, object])
    value = np.full((2, 2), b"x", object) if dtype is object else np.ones((2, 2), dtype)
    name = {np.float64: "double", np.float16: "half", np.bool_: "bool", object: "string"}.get(dtype, dtype.__name__)
    text = rf"^Expects arg\[0\] to be float but {name} is provided$"
    return Malformed(PREDICT, predict_request(x=value).SerializeToString(), (INVALID,), text)


def _wrong_shape(rng: random.Random) -> Malformed:
    shape = rng.choice([(), (2,), (1, 3), (2, 1), (1, 1, 3), (0,), (3, 0)])
    data = predict_request(x=np.ones(shape, np.float32)).SerializeToString()
    return Malformed(PREDICT, data, (INVALID,), r"Matrix size-incompatible: In\[0\]|In\[0\] .*not a matrix|ndims")


def _wrong_names(rng: random.Random) -> Malformed:
    names = rng.sample(["z", "y", "", "x" * 100, "ü"], rng.randint(1, 3))
    inputs: dict[str, Any] = {name: np.ones((1, 2), np.float32) for name in names}
    text = "^Signature input alias: x\\(feed name: dense_x:0\\) not found in request and no default value provided."
    if len(names) > 1:
        text = rf"^input size does not match signature: {len(names)}!=1 len\(\{{.*Missing but required: \{{x\}}\.$"
    return Malformed(PREDICT, predict_request(**inputs).SerializeToString(), (INVALID,), text)


def _wrong_model(rng: random.Random) -> Malformed:
    request = _good(rng)
    kind = rng.randrange(5)
    if kind == 0:
        request.model_spec.name = rng.choice(["nope", "../bcl", "bcl\0", "/etc/passwd"])
    elif kind == 1:
        request.model_spec.version.value = rng.choice([0, -1, 2**63 - 1])
    elif kind == 2:
        request.model_spec.version_label = "nope"
    elif kind == 3:
        request.model_spec.signature_name = rng.choice(["nope", "__init__", "ü"])
    else:
        request.ClearField("model_spec")
    codes = {1: (MISSING,), 0: (MISSING,), 3: (Code.FAILED_PRECONDITION,)}.get(kind, (INVALID,))
    text = [
        r"^Servable not found for request: Latest\(",
        r"^Servable not found for request: Specific\(bcl, -?\d+\)$",
        "^Unrecognized servable version label: nope$",
        '^Serving signature key ".*" not found.$',
        "^Missing ModelSpec$",
    ][kind]
    return Malformed(PREDICT, request.SerializeToString(), codes, text)


def _broken_tensor(rng: random.Random) -> Malformed:
    request = _good(rng)
    tensor = request.inputs["x"]
    kind = rng.randrange(4)
    if kind == 0:
        tensor.tensor_content = tensor.tensor_content[: rng.randint(1, 7)]
    elif kind == 1:
        tensor.dtype = rng.choice([0, 99, 20, 101])
    elif kind == 2:
        tensor.tensor_shape.dim[0].size = rng.choice([-1, -(2**62)])
    else:
        tensor.ClearField("tensor_content")
        tensor.float_val.append(1.0)
        tensor.tensor_shape.dim[0].size = rng.choice([2**24, 2**31, 2**40, 2**62])
    text = r"max_request_rows\)" if kind == 3 else "^tensor parsing error: x$"
    return Malformed(PREDICT, request.SerializeToString(), (INVALID,), text)


def _truncated(rng: random.Random) -> Malformed:
    data = _good(rng).SerializeToString()
    return Malformed(PREDICT, data[: rng.randint(1, len(data) - 1)], (INTERNAL, INVALID))


def _random_bytes(rng: random.Random) -> Malformed:
    method = rng.choice([PREDICT, METADATA, STATUS, CLASSIFY])
    return Malformed(method, rng.randbytes(rng.randint(0, 200)), (INTERNAL, INVALID, MISSING))


def _flipped_bytes(rng: random.Random) -> Malformed:
    data = bytearray(predict_request("nope", x=np.ones((1, 2), np.float32)).SerializeToString())
    for _ in range(rng.randint(1, 4)):
        data[rng.randrange(len(data))] = rng.randrange(256)
    return Malformed(PREDICT, bytes(data), (INTERNAL, INVALID, MISSING, Code.FAILED_PRECONDITION))


def _not_utf8(rng: random.Random) -> Malformed:
    name = b"\xff\xfe"
    model_spec = b"\x0a" + bytes([len(name)]) + name
    data = b"\x0a" + bytes([len(model_spec)]) + model_spec
    return Malformed(PREDICT, data, (INTERNAL,), "^Exception deserializing request!$")


def _oversize(rng: random.Random) -> Malformed:
    request = predict_request(x=np.zeros((40_000, 2), np.float32))
    return Malformed(PREDICT, request.SerializeToString(), (Code.RESOURCE_EXHAUSTED,), r"message larger than max \(")


def _unknown_method(rng: random.Random) -> Malformed:
    method = rng.choice(
        ["/tensorflow.serving.PredictionService/Nope", "/x/y", "/tensorflow.serving.SessionService/Run"]
    )
    return Malformed(method, b"", (Code.UNIMPLEMENTED,))


def _broken_examples(rng: random.Random) -> Malformed:
    broken = np.array([rng.choice([b"\xff", b"text", b"\xff\xfe\x00" + rng.randbytes(8)])], object)
    data = predict_request("serving_default", examples=broken).SerializeToString()
    return Malformed(PREDICT, data, (INVALID,), "^Could not parse example input, value: '")


def _other_calls(rng: random.Random) -> Malformed:
    method = rng.choice([METADATA, STATUS, CLASSIFY])
    request = protos.GetModelMetadataRequest()
    request.model_spec.name = rng.choice(["nope", ""])
    return Malformed(method, request.SerializeToString(), (INVALID, MISSING))


def _declared(rng: random.Random) -> Malformed:
    """A shape without values: a few bytes that ask for a large tensor."""
    request = predict_request(rng.choice(["serving_default", "dense", "embed"]))
    sizes = rng.choice([(100_000,), (3_000_000,), (2**62,), (1, 2**30), (1000, 1000, 1000)])
    name = rng.choice(["examples", "x", "attribute_genre"])
    request.inputs[name].dtype = rng.choice([1, 3, 7, 9])
    for size in sizes:
        request.inputs[name].tensor_shape.dim.add(size=size)
    return Malformed(
        PREDICT, request.SerializeToString(), (INVALID,), r"expected at most \d+ \w+ \(--max_request_\w+\)"
    )


def _many_rows(rng: random.Random) -> Malformed:
    rows = rng.randint(1025, 20_000)
    data = predict_request(x=np.zeros((rows, 2), np.float32)).SerializeToString()
    return Malformed(PREDICT, data, (INVALID,), rf"at most 1024 rows \(--max_request_rows\)\. Received: {rows}$")


def _wide_examples(rng: random.Random) -> Malformed:
    """One long list, to the length of which a model would pad all rows."""
    example = example_of_words(20_000)
    rows = rng.randint(100, 1024)
    if rng.randrange(2):
        values = np.array([example, *[b""] * (rows - 1)], object)
        data, method = predict_request("serving_default", examples=values).SerializeToString(), PREDICT
    else:
        request = classification_pb2.ClassificationRequest()
        request.model_spec.name, request.model_spec.signature_name = "bcl", "classify"
        request.input.example_list.examples.add().ParseFromString(example)
        for _ in range(rows - 1):
            request.input.example_list.examples.add()
        data, method = request.SerializeToString(), CLASSIFY
    return Malformed(method, data, (INVALID,), r"padded: expected at most 262144 strings \(--max_request_strings\)")


def _many_examples(rng: random.Random) -> Malformed:
    """Many empty examples, or a large context that each of them would get a copy of."""
    request = classification_pb2.ClassificationRequest()
    request.model_spec.name, request.model_spec.signature_name = "bcl", "classify"
    if rng.randrange(2):
        target, rows, limit = request.input.example_list, 20_000, "rows"
    else:
        target, rows, limit = request.input.example_list_with_context, 1000, "values"
        target.context.ParseFromString(example_of_words(20_000))
    for _ in range(rows):
        target.examples.add()
    return Malformed(CLASSIFY, request.SerializeToString(), (INVALID,), rf"\(--max_request_{limit}\)")


def _reload_of_nothing(_: random.Random) -> Malformed:
    request = model_management_pb2.ReloadConfigRequest()
    request.config.model_config_list.SetInParent()
    return Malformed(RELOAD, request.SerializeToString(), (Code.PERMISSION_DENIED,), "--allow_reload=true")


def example_of_words(count: int) -> bytes:
    """Returns a serialized tf.Example with a list of so many words."""
    example = example_pb2.Example()
    example.features.feature["attribute_tags"].bytes_list.value.extend([b"w"] * count)
    return bytes(example.SerializeToString())


KINDS: list[Callable[[random.Random], Malformed]] = [
    _wrong_dtype,
    _wrong_shape,
    _wrong_names,
    _wrong_model,
    _broken_tensor,
    _truncated,
    _random_bytes,
    _flipped_bytes,
    _not_utf8,
    _oversize,
    _unknown_method,
    _broken_examples,
    _other_calls,
    _declared,
    _many_rows,
    _wide_examples,
    _many_examples,
    _reload_of_nothing,
]
#: Small requests that ask for much, over gRPC.
HOSTILE = KINDS[-5:]


def _broken_body(rng: random.Random) -> bytes:
    """No JSON, or JSON that no signature takes."""
    good = json.dumps({"signature_name": "dense", "instances": [[1, 1]]}).encode()
    rows: Any = rng.choice([[], 1, None, [[1]], ["a"], [{}]])
    half = rng.choice([b"\\ud800", b"\\uDFFF", b"\\ud800\\ud800", b"\xff", b"\xed\xa0\x80"])
    return rng.choice(
        [
            rng.randbytes(rng.randint(0, 100)),
            good[: rng.randint(0, len(good) - 1)],
            b"[" * rng.randint(1, 5000),
            json.dumps({"signature_name": "dense", "instances": rows}).encode(),
            json.dumps({"signature_name": rng.choice([1, None, "nope"]), "inputs": [[1, 1]]}).encode(),
            b'{"signature_name": "dense", "inputs": [[1, ' + b"9" * rng.randint(50, 5000) + b"]]}",
            b'{"signature_name": "dense", "inputs": [[1, "' + half + b'"]]}',
            b'{"signature_name": "' + half + b'", "instances": [[1, 1]]}',
            b'{"signature_name": "dense", "instances": [{"' + half + b'": [1, 1]}]}',
            b'{"signature_name": "dense", "' + half + b'": [[1, 1]]}',
        ]
    )


def _broken_example(rng: random.Random) -> bytes:
    half = rng.choice([b"\\ud800", b"\\udc80", b"\xff"])
    return rng.choice(
        [
            b'{"signature_name": "nope", "examples": [{"a": "' + half + b'"}]}',
            b'{"signature_name": "regress", "examples": [{"' + half + b'": 1}]}',
            b'{"signature_name": "regress", "examples": [{"a": [1, "x"]}]}',
            b'{"signature_name": "' + half + b'", "examples": [{}]}',
            b'{"examples": 1}',
        ]
    )


def _hostile_body(rng: random.Random, size: int) -> bytes:
    """A body of about `size` bytes, small when packed, that would become many objects, rows or levels."""
    count = size // 5
    return rng.choice(
        [
            b'{"instances": [' + b"[]," * count + b"[]]}",
            b'{"instances": [' + b"{}," * count + b"{}]}",
            b'{"examples": [' + b"{}," * count + b"{}]}",
            b'{"signature_name": "dense", "inputs": [' + b"[1,1]," * (size // 7) + b"[1,1]]}",
            b'{"instances": ' + b"[" * count + b"]" * count + b"}",
            b'{"instances": ' + b'{"a":' * (count // 2) + b"1" + b"}" * (count // 2) + b"}",
            b'{"signature_name": "embed", "instances": [{"attribute_tags": ['
            + b'"w",' * (min(size, 100_000) // 5)
            + b'"w"]}'
            + b",{}" * 999
            + b"]}",
        ]
    )


@dataclass(frozen=True)
class _Rest:
    """One request over REST, and the only status it may get."""

    method: str
    path: str
    body: bytes | None
    status: int
    is_packed: bool = False


def _rest(rng: random.Random) -> _Rest:
    good = json.dumps({"signature_name": "dense", "instances": [[1, 1]]}).encode()
    predict = "/v1/models/bcl:predict"
    return rng.choice(
        [
            _Rest("POST", predict, _broken_body(rng), 400),
            _Rest("POST", predict, _broken_body(rng), 400),
            _Rest("POST", predict, _broken_body(rng), 400),
            _Rest("POST", f"/v1/models/bcl:{rng.choice(['classify', 'regress'])}", _broken_example(rng), 400),
            _Rest("POST", predict, b" " * 300_000, 413),
            _Rest("POST", predict, rng.randbytes(50), 400, is_packed=True),
            _Rest("POST", predict, gzip.compress(_hostile_body(rng, 150_000), 1), 400, is_packed=True),
            _Rest("POST", predict, _BOMB, 413, is_packed=True),
            _Rest("POST", rng.choice(["/v1/models/nope:predict", "/v1/models/bcl/versions/9:predict"]), good, 404),
            _Rest("POST", rng.choice(["/v1/models/%ff:predict", "/v1/models/bcl/labels/x:predict"]), good, 400),
            _Rest("GET", rng.choice(["/v1/models/nope", "/v1/models/bcl/versions/9"]), None, 404),
            _Rest("GET", rng.choice(["/v1/models/", "/v1/models", "/v1/models/%ff", predict]), None, 400),
            _Rest(rng.choice(["PUT", "DELETE", "PATCH"]), rng.choice([predict, "/v1/models/bcl"]), good, 400),
            _Rest(rng.choice(["POST", "GET"]), rng.choice(["/", "/v2/models/bcl"]), None, 404),
        ]
    )


def _send_rest(connection: http.client.HTTPConnection, rng: random.Random) -> int:
    request = _rest(rng)
    headers = {"Content-Encoding": "gzip"} if request.is_packed else {}
    connection.request(request.method, request.path, request.body, headers)
    reply = connection.getresponse()
    text = reply.read()
    assert reply.status == request.status, f"{request} got {reply.status} {text!r}"
    if request.path.startswith("/v1/"):
        assert list(json.loads(text)) == ["error"], text
    return reply.status


def send_hostile(target: str, rest_port: int, count: int, seed: int) -> None:
    """Sends `count` small requests that ask for much, of the sizes that a server without limits falls to.

    Raises:
        AssertionError: If a request gets another answer than its refusal.
    """
    rng = random.Random(seed)
    bodies = [gzip.compress(_hostile_body(rng, 12_000_000), 1) for _ in range(8)]
    with grpc.insecure_channel(target) as channel:
        for number in range(count):
            if number % 4 == 3:
                connection = http.client.HTTPConnection(target.rsplit(":", 1)[0], rest_port, timeout=_LAST_RESORT)
                connection.request("POST", "/v1/models/bcl:predict", rng.choice(bodies), {"Content-Encoding": "gzip"})
                reply = connection.getresponse()
                text = reply.read().decode()
                assert reply.status == 400 and "expected at most" in text, (reply.status, text)
                connection.close()
                continue
            request = rng.choice(HOSTILE)(rng)
            try:
                channel.unary_unary(request.method)(request.data, timeout=_LAST_RESORT)
                code, details = Code.OK, ""
            except grpc.RpcError as error:
                code, details = error.code(), error.details()
            assert code in request.codes and re.search(request.text, details), (code, details)


def fuzz(target: str, rest_port: int, count: int, seed: int) -> Counter[str]:
    """Sends `count` malformed requests, one in five over REST, and a good one after every hundred.

    Returns:
        How often each code came back.

    Raises:
        AssertionError: If a request gets another code or text than its own, or a good one gets no answer.
    """
    rng = random.Random(seed)
    seen: Counter[str] = Counter()
    host = target.rsplit(":", 1)[0]
    with grpc.insecure_channel(target, [("grpc.max_send_message_length", -1)]) as channel:
        for number in range(count):
            if number % 5 == 4:
                connection = http.client.HTTPConnection(host, rest_port, timeout=_LAST_RESORT)
                seen[f"HTTP {_send_rest(connection, rng)}"] += 1
                connection.close()
            else:
                kind = rng.choice(KINDS)
                request = kind(rng)
                try:
                    channel.unary_unary(request.method)(request.data, timeout=_LAST_RESORT)
                    code, details = Code.OK, ""
                except grpc.RpcError as error:
                    code, details = error.code(), error.details()
                assert code in request.codes, f"{kind.__name__} got {code} {details}: {request.data!r}"
                assert re.search(request.text, details, re.DOTALL), f"{kind.__name__} got {details}: {request.data!r}"
                seen[code.name] += 1
            if number % 100 == 99:
                reply = channel.unary_unary(PREDICT)(_good(rng).SerializeToString(), timeout=_LAST_RESORT)
                assert protos.PredictResponse.FromString(reply).model_spec.name == "bcl"
    return seen
