"""REST: paths, bodies, replies, and each refusal with its status and text."""

from __future__ import annotations

import gzip
import http.client
import json
import math
import re
import socket
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import small_model
from fuzz import PREDICT, predict_request

from serving.protocol.errors import RequestError
from serving.server import EmbeddedServer
from serving.server.rest.json_document import parse_object, text_of
from serving.server.rest.json_tensors import convert, read_tensor
from serving.server.rest.replies import decimal, tensors_to_json
from tests.waiting import LAST_RESORT

Reply = tuple[int, str, str]


def send(server: Any, method: str, path: str, body: Any = None, **headers: str) -> Reply:
    connection = http.client.HTTPConnection("127.0.0.1", server.rest_port, timeout=LAST_RESORT)
    data = body if isinstance(body, (bytes, type(None))) else json.dumps(body).encode()
    connection.request(method, path, data, headers)
    reply = connection.getresponse()
    text = reply.read().decode("utf-8", "surrogateescape")
    connection.close()
    return reply.status, reply.headers["Content-Type"].split(";")[0], text


def ask(server: Any, signature: str, body: dict[str, Any], path: str = "/v1/models/bcl:predict") -> Any:
    status, kind, text = send(server, "POST", path, {"signature_name": signature, **body})
    assert (status, kind) == (200, "application/json"), text
    return json.loads(text)


def refused(server: Any, body: Any, path: str = "/v1/models/bcl:predict", method: str = "POST") -> tuple[int, str]:
    status, kind, text = send(server, method, path, body)
    assert kind == "application/json" and list(json.loads(text)) == ["error"]
    return status, json.loads(text)["error"]


SONG = {"attribute_genre": "jazz", "attribute_tags": ["a", "b"], "audio_tempo": 3.5, "lyric_vector": [1.0, 2.0, 3.0]}


def test_rows(server: Any) -> None:
    reply = ask(server, "embed", {"instances": [SONG, SONG]})
    np.testing.assert_allclose(reply["predictions"], small_model.embedding([SONG, SONG]))


def test_columns(server: Any) -> None:
    columns = {name: [value] for name, value in SONG.items()}
    reply = ask(server, "embed", {"inputs": {**columns, "surplus": "is ignored"}})
    np.testing.assert_allclose(reply["outputs"], small_model.embedding([SONG]))


def test_several_outputs_are_named(server: Any) -> None:
    reply = ask(server, "match", {"instances": [{**SONG, "k": 2, "exclude": ""}]})
    (row,) = reply["predictions"]
    assert row["song_ids"][0] == "s5" and row["scores"][0] == 6.0
    columns = {name: [value] for name, value in {**SONG, "k": 2, "exclude": "s5"}.items()}
    reply = ask(server, "match", {"inputs": columns})
    assert set(reply["outputs"]) == {"song_ids", "scores"} and "s5" not in reply["outputs"]["song_ids"][0]


def test_a_single_input_goes_without_its_name(server: Any) -> None:
    expected = [[3.0, 5.0, 7.0]]
    row_bodies: tuple[dict[str, Any], ...] = ({"instances": [[1, 1]]}, {"instances": [{"x": [1, 1]}]})
    for body in row_bodies:
        assert ask(server, "dense", body) == {"predictions": expected}
    column_bodies: tuple[dict[str, Any], ...] = ({"inputs": [[1, 1]]}, {"inputs": {"x": [[1, 1]]}})
    for body in column_bodies:
        assert ask(server, "dense", body) == {"outputs": expected}


def test_versions_and_upper_case(server: Any) -> None:
    for path in ("/v1/models/bcl/versions/3:predict", "/V1/MODELS/bcl:PREDICT", "/v1/models/%62cl:predict"):
        assert "predictions" in ask(server, "dense", {"instances": [[1, 1]]}, path)


def test_base64_and_bytes_that_are_no_utf8(server: Any) -> None:
    body = {"instances": [{"b64": "AAEC"}, "abcd"]}
    reply = ask(server, "regress", body)
    assert reply["predictions"] == [3.0, 4.0]
    status, _, text = send(
        server, "POST", "/v1/models/bcl:predict", b'{"signature_name":"regress","instances":["\xff"]}'
    )
    assert (status, json.loads(text)) == (200, {"predictions": [1.0]})


def test_gzip(server: Any) -> None:
    body = gzip.compress(json.dumps({"signature_name": "dense", "instances": [[1, 1]]}).encode())
    status, _, text = send(server, "POST", "/v1/models/bcl:predict", body, **{"Content-Encoding": "gzip"})
    assert (status, json.loads(text)) == (200, {"predictions": [[3.0, 5.0, 7.0]]})
    status, _, _ = send(server, "POST", "/v1/models/bcl:predict", b"no gzip", **{"Content-Encoding": "gzip"})
    assert status == 400


def test_classify_and_regress(server: Any) -> None:
    body: dict[str, Any] = {
        "signature_name": "classify",
        "examples": [{"a": 1, "b": [1.5], "c": "x", "d": {"b64": "AA=="}}],
    }
    status, _, text = send(server, "POST", "/v1/models/bcl:classify", body)
    assert (status, json.loads(text)) == (200, {"results": [[["no", 0.25], ["yes", 0.75]]]})
    body = {"signature_name": "regress", "context": {"c": True}, "examples": [{}, {"a": 1}]}
    status, _, text = send(server, "POST", "/v1/models/bcl:regress", body)
    assert status == 200 and len(json.loads(text)["results"]) == 2


def test_status_and_metadata(server: Any) -> None:
    for path in ("/v1/models/bcl", "/v1/models/bcl/versions/3"):
        status, _, text = send(server, "GET", path)
        assert (status, json.loads(text)) == (
            200,
            {
                "model_version_status": [
                    {"version": "3", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
                ]
            },
        )
    status, _, text = send(server, "GET", "/v1/models/bcl/metadata")
    document = json.loads(text)
    assert (status, document["model_spec"]["version"]) == (200, "3")
    inputs = document["metadata"]["signature_def"]["signature_def"]["dense"]["inputs"]
    assert inputs["x"]["dtype"] == "DT_FLOAT" and inputs["x"]["tensor_shape"]["dim"][1]["size"] == "2"


def test_paths_that_are_wrong(server: Any) -> None:
    status, kind, text = send(server, "GET", "/elsewhere")
    assert (status, kind) == (404, "text/html") and "<H1>Not Found</H1>" in text
    assert refused(server, None, "/v1/models/m", "PUT") == (400, "Malformed request: PUT /v1/models/m")
    assert refused(server, None, "/v1/models/bcl:predict", "GET")[1] == "Malformed request: GET /v1/models/bcl:predict"
    assert refused(server, {}, "/v1/models/bcl:guess")[1] == "Malformed request: POST /v1/models/bcl:guess"
    assert refused(server, None, "/v1/models", "GET") == (400, "Missing model name in request.")
    assert refused(server, None, "/v1/models/bcl", "OPTIONS")[0] == 400
    assert refused(server, None, "/v1/models/m", "GET") == (404, "Could not find any versions of model m")
    huge = "9" * 30
    assert refused(server, None, f"/v1/models/bcl/versions/{huge}", "GET") == (
        400,
        f"Failed to convert version: {huge} to numeric.",
    )
    assert refused(server, {}, "/v1/models/%ff:predict") == (400, "Failed to decode model name:%ff")
    assert refused(server, None, "/v1/models/..%2f..%2fetc/metadata", "GET")[0] == 404


@pytest.mark.parametrize(
    ("digits", "status"),
    [("9" * 5000, 400), (str(2**63), 400), (str(2**63 - 1), 404), ("0" * 5000 + "7", 404), ("0" * 5000, 404)],
    ids=lambda value: str(value)[-6:],
)
def test_version_numbers_of_any_length(server: Any, digits: str, status: int) -> None:
    for path in (f"/v1/models/bcl/versions/{digits}", f"/v1/models/bcl/versions/{digits}/metadata"):
        assert refused(server, None, path, "GET")[0] == status
    body = {"signature_name": "dense", "inputs": [[1.0, 2.0]]}
    assert refused(server, body, f"/v1/models/bcl/versions/{digits}:predict")[0] == status


def test_order_of_the_checks(server: Any) -> None:
    status, text = refused(server, b"[1, 2]]", "/v1/models/m:predict")
    assert (status, text) == (
        400,
        "JSON Parse error: The document root must not be followed by other values. at offset: 6",
    )
    assert refused(server, {"signature_name": 5}, "/v1/models/m:predict") == (
        400,
        'JSON Value: {\n    "signature_name": 5\n} not formatted correctly. '
        "'signature_name' key must be a string value.",
    )
    assert refused(server, {"signature_name": "zzz"}, "/v1/models/m:predict") == (
        404,
        "Servable not found for request: Latest(m)",
    )
    assert refused(server, {"signature_name": "zzz"}) == (
        400,
        'Serving signature name: "zzz" not found in signature def',
    )
    label = refused(server, {"signature_name": "zzz"}, "/v1/models/bcl/labels/x:predict")
    assert label == (400, "Unrecognized servable version label: x")


BODIES = [
    ({}, "Missing 'inputs' or 'instances' key"),
    ({"inputs": [[1]], "instances": [[1]]}, "Not formatted correctly expecting only one of 'inputs' or 'instances'"),
    ({"inputs": {"z": 1}}, "Missing named input: x in 'inputs' object."),
    ({"instances": {"x": 1}}, "Excepting 'instances' to be an list/array"),
    ({"instances": []}, "No values in 'instances' array"),
    (
        {"instances": ["a"]},
        "Failed to process element: 0 of 'instances' list. Error: INVALID_ARGUMENT: JSON Value: \"a\" Type: String is "
        "not of expected type: float",
    ),
    ({"instances": [[1, 2], [1, 2, 3]]}, "Expecting tensor size: 2 but got: 3"),
    ({"instances": [[[1, 2]], [[1], [2]]]}, "Expecting shape [1,2] but got: [2,1]"),
    ({"instances": [[[1, 2], [3]]]}, "Encountered list at unexpected size: 1 at level: 1 expected size: 2"),
    ({"instances": [[1, [2]]]}, "Encountered list at unexpected level: 1 expected < 1"),
    ({"instances": [[[1], 2]]}, "JSON Value: 2 found at incorrect level: 2 in the JSON DOM. Expected at level: 2"),
    ({"instances": [[1, 2], {"x": 1}]}, "Expecting value/list but got object at item 1 of input list"),
    ({"instances": [{"x": [1, 2]}, [1, 2]]}, "Expecting object but got list at item 1 of input list"),
    (
        {"instances": [{"x": [1, 2], "z": 1}]},
        "Failed to process element: 0 key: z of 'instances' list. Error: INVALID_ARGUMENT: JSON object: does not have "
        "named input: z",
    ),
    ({"instances": [{}]}, "must only have keys: x"),
    ({"instances": [[1, None]]}, "JSON Value: null Type: Null is not of expected type: float"),
    ({"instances": [[1, True]]}, "JSON Value: true Type: True is not of expected type: float"),
    ({"instances": [[1, {"b64": "AA=="}]]}, "Type: Object is not of expected type: float"),
    ({"instances": [[1, 16777217]]}, "Cannot convert JSON value: 16777217 to float without loss of precision."),
    ({"instances": [[1, 1e39]]}, "Cannot convert JSON value: 1e+39 to float without loss of precision."),
    ({"instances": [[1, 3.4028235e38]]}, "Cannot convert JSON value: 3.4028235e+38 to float without loss"),
    ({"inputs": [[1, 2, 3]]}, "Matrix size-incompatible: In[0]: [1,3], In[1]: [2,3]"),
]


@pytest.mark.parametrize(("body", "text"), BODIES, ids=[str(number) for number in range(len(BODIES))])
def test_bodies_that_are_wrong(server: Any, body: dict[str, Any], text: str) -> None:
    status, error = refused(server, {"signature_name": "dense", **body})
    assert status == 400
    assert text in error


def test_several_inputs_need_names(server: Any) -> None:
    body = {"signature_name": "embed", "instances": [[1]]}
    assert "instances is a plain list, but expecting list of objects" in refused(server, body)[1]
    body = {"signature_name": "embed", "inputs": [[1]]}
    assert "inputs is a plain value/list, but expecting an object" in refused(server, body)[1]


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", "JSON Parse error: The document is empty"),
        (b"{", "JSON Parse error: Missing a name for object member. at offset: 1"),
        (b'{"a" 1}', "JSON Parse error: Missing a colon after a name of object member. at offset: 5"),
        (b"nope", "JSON Parse error: Invalid value. at offset: 0"),
        (b"[1]", "Is not object"),
        (b'{"a": "\\x"}', "JSON Parse error: Invalid escape character in string."),
        (b"[" * 60, "JSON Parse error: "),
        (b"[" * 100_000, "at most 65536 lists and objects (--rest_api_max_json_lists). Received: 100000"),
    ],
)
def test_documents_that_are_no_json(server: Any, body: bytes, text: str) -> None:
    status, error = refused(server, body)
    assert status == 400 and text in error


@pytest.mark.parametrize(
    "body",
    [
        b'{"signature_name": "\\ud800", "instances": [[1, 1]]}',
        b'{"signature_name": "regress", "instances": ["a\\uDC80"]}',
        b'{"\\udfff": 1}',
        b'{"examples": [{"\\uD83C\\uD83C": 1}]}',
    ],
)
def test_half_a_surrogate_pair_is_no_string(server: Any, body: bytes) -> None:
    for method in ("predict", "classify", "regress"):
        status, error = refused(server, body, f"/v1/models/bcl:{method}")
        assert status == 400
        assert re.fullmatch(r"JSON Parse error: The surrogate pair in string is invalid. at offset: \d+", error)


def test_whole_pairs_and_escaped_backslashes_are_strings() -> None:
    body = b'{"a": "\\ud83c\\udfb5", "b": "\\\\ud800", "c": "\\n\\u00e4"}'
    assert parse_object(body) == {"a": "\N{MUSICAL NOTE}", "b": "\\ud800", "c": "\nä"}


@pytest.mark.parametrize(
    ("method", "body"),
    [
        ("predict", b'{"signature_name": "\xff", "instances": [[1, 1]]}'),
        ("predict", b'{"signature_name": "dense", "instances": [{"\xff": [1, 1]}]}'),
        ("classify", b'{"signature_name": "\xff", "examples": [{}]}'),
        ("regress", b'{"signature_name": "regress", "examples": [{"\xff": 1}]}'),
    ],
)
def test_names_that_are_no_utf8(server: Any, method: str, body: bytes) -> None:
    status, error = refused(server, body, f"/v1/models/bcl:{method}")
    assert status == 400
    assert "is not valid UTF-8, as a name must be" in error or "does not have named input" in error


def test_an_error_writes_only_the_start_of_a_large_document() -> None:
    read = 0

    class Rows(list[int]):
        def __iter__(self) -> Iterator[int]:
            nonlocal read
            for value in super().__iter__():
                read += 1
                yield value

    text = text_of({"instances": Rows(range(100_000))})
    assert len(text) == 1027 and text.endswith("...") and read < 1000
    assert text_of({"a": [1]}) == json.dumps({"a": [1]}, indent=4)


@pytest.mark.parametrize("character", ["x", "ü", "\N{MUSICAL NOTE}", "\n"])
def test_long_messages_are_cut_by_bytes(server: Any, character: str) -> None:
    error = RequestError.from_number(3, "a" + character * 2000)
    text = error.wire_message.removesuffix("...TRUNCATED")
    assert error.message.startswith(text) and 1020 < len(text.encode()) <= 1024
    assert RequestError.from_number(3, character * 10).wire_message == character * 10
    # gRPC writes three bytes for each that is not ASCII, and its limit is 8 KiB.
    with grpc.insecure_channel(server.target) as channel, pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary(PREDICT)(predict_request(character * 2000).SerializeToString())
    assert caught.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    assert caught.value.details().startswith('Serving signature key "')


def _begin(server: Any) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", server.rest_port), timeout=LAST_RESORT)
    connection.sendall(b"POST /v1/models/bcl:predict HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{")
    return connection


def test_slow_bodies_do_not_block_other_clients(saved_model: Path, tmp_path: Path) -> None:
    small_model.publish(saved_model, tmp_path / "bcl", 1)
    settings: dict[str, Any] = {"grpc_max_concurrent_requests": 2, "rest_api_timeout_in_ms": 1000}
    with EmbeddedServer(
        port=0, rest_api_port=-1, model_name="bcl", model_base_path=str(tmp_path / "bcl"), **settings
    ) as server:
        slow = [_begin(server) for _ in range(4)]
        assert send(server, "GET", "/v1/models/bcl")[0] == 200
        for connection in slow:
            # The rest never comes: the server answers and closes the connection.
            reply = b"".join(iter(partial(connection.recv, 4096), b""))
            connection.close()
            assert reply.startswith(b"HTTP/1.1 408 ") and reply.endswith(b'{"error": "Body did not arrive within 1 s"}')


def test_deep_nesting_is_refused(server: Any) -> None:
    for depth, text in ((33, "at most 32 dimensions. Received: 33"), (900, "at most 64 levels")):
        body = b'{"signature_name": "dense", "inputs": ' + b"[" * depth + b"1" + b"]" * depth + b"}"
        status, error = refused(server, body)
        assert status == 400 and text in error


@pytest.mark.parametrize(
    ("method", "body", "text"),
    [
        ("classify", {}, "When method is classify, key 'examples' is expected and was not found"),
        ("classify", {"examples": 1}, "Expecting 'examples' value to be an list/array"),
        ("classify", {"examples": []}, "'examples' value is an empty array"),
        ("regress", {"examples": [1]}, "Example must be JSON object but got JSON Number"),
        ("regress", {"examples": [{"a": None}]}, "Feature: a has element with unexpected JSON type: Null"),
        ("regress", {"examples": [{"a": [1, "x"]}]}, "Unexpected element type in feature: a expecting type: int64"),
        ("regress", {"examples": [{"a": 2**63}]}, "Feature: a has uint64 element. Only int64 is supported."),
        ("classify", {"examples": [{}]}, "No signature was found with the name: nope"),
    ],
)
def test_examples_that_are_wrong(server: Any, method: str, body: dict[str, Any], text: str) -> None:
    status, error = refused(server, {"signature_name": "nope", **body}, f"/v1/models/bcl:{method}")
    assert status == 400 and text in error


def test_deadline_is_a_gateway_timeout(saved_model: Path, tmp_path: Path) -> None:
    small_model.publish(saved_model, tmp_path / "bcl", 1)
    with EmbeddedServer(
        port=0, rest_api_port=-1, model_name="bcl", model_base_path=str(tmp_path / "bcl"), rest_api_timeout_in_ms=200
    ) as server:
        body = {"signature_name": "slow", "instances": [10**8]}
        assert refused(server, body) == (504, "Timed out waiting for notification")


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (0, 200),  # OK
        (3, 400),  # INVALID_ARGUMENT
        (9, 400),  # FAILED_PRECONDITION
        (11, 400),  # OUT_OF_RANGE
        (16, 401),  # UNAUTHENTICATED
        (7, 403),  # PERMISSION_DENIED
        (5, 404),  # NOT_FOUND
        (6, 409),  # ALREADY_EXISTS
        (10, 409),  # ABORTED
        (8, 429),  # RESOURCE_EXHAUSTED
        (1, 499),  # CANCELLED
        (2, 500),  # UNKNOWN
        (13, 500),  # INTERNAL
        (15, 500),  # DATA_LOSS
        (12, 501),  # UNIMPLEMENTED
        (14, 503),  # UNAVAILABLE
        (4, 504),  # DEADLINE_EXCEEDED
        (99, 500),  # no code at all counts as UNKNOWN
    ],
)
def test_http_status_of_every_code(code: int, status: int) -> None:
    assert RequestError.from_number(code, "x").http_status == status


@pytest.fixture(scope="module")
def limited(saved_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    base = tmp_path_factory.mktemp("limited") / "bcl"
    small_model.publish(saved_model, base, 1)
    monitoring = base.parent / "monitoring.config"
    monitoring.write_text('prometheus_config { enable: true path: "/monitoring/prometheus/metrics" }')
    with EmbeddedServer(
        port=0,
        rest_api_port=-1,
        model_name="bcl",
        model_base_path=str(base),
        rest_api_max_body_bytes=10_000,
        rest_api_enable_cors_support=True,
        monitoring_config_file=str(monitoring),
    ) as server:
        yield server


def test_large_bodies_are_refused_packed_or_not(limited: EmbeddedServer) -> None:
    large = json.dumps({"signature_name": "dense", "instances": [[1, 1]] * 5000}).encode()
    assert refused(limited, large) == (
        413,
        f"Body: expected at most 10000 bytes (--rest_api_max_body_bytes). Received: {len(large)}",
    )
    packed = gzip.compress(large)
    assert len(packed) < 10_000
    status, _, _ = send(limited, "POST", "/v1/models/bcl:predict", packed, **{"Content-Encoding": "gzip"})
    assert status == 413
    assert ask(limited, "dense", {"instances": [[1, 1]]}) == {"predictions": [[3.0, 5.0, 7.0]]}


def test_cors(limited: EmbeddedServer, server: Any) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", limited.rest_port)
    connection.request("OPTIONS", "/v1/models/bcl:predict", headers={"Origin": "http://x"})
    reply = connection.getresponse()
    assert reply.status == 200 and reply.headers["Access-Control-Allow-Origin"] == "*"
    connection.close()
    assert send(server, "OPTIONS", "/v1/models/bcl:predict", Origin="http://x")[0] == 400


def test_metrics_page(limited: EmbeddedServer, server: Any) -> None:
    ask(limited, "dense", {"instances": [[1, 1]]})
    refused(limited, {"signature_name": "zzz"})
    status, kind, text = send(limited, "GET", "/monitoring/prometheus/metrics")
    assert (status, kind) == (200, "text/plain")
    lines = text.splitlines()
    assert "# TYPE :tensorflow:serving:request_count counter" in lines
    counts = {line.split()[0]: float(line.split()[1]) for line in lines if not line.startswith("#")}
    assert counts[':tensorflow:serving:request_count{model_name="bcl",status="OK"}'] >= 1
    assert counts[':tensorflow:serving:request_count{model_name="bcl",status="INVALID_ARGUMENT"}'] >= 1
    bucket = ':tensorflow:serving:request_latency_bucket{model_name="bcl",API="Predict",entrypoint="REST",le="+Inf"}'
    assert counts[bucket] == counts[':tensorflow:serving:request_count{model_name="bcl",status="OK"}']
    runtime = ':tensorflow:serving:runtime_latency_count{model_name="bcl",API="Predict",runtime="TF1"}'
    assert counts[runtime] == counts[bucket]
    assert send(server, "GET", "/monitoring/prometheus/metrics")[0] == 404


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.0, "1.0"),
        (0.1, "0.1"),
        (9e6, "9e+06"),
        (1 / 3, "0.333333343"),
        (-2.5, "-2.5"),
        (math.nan, "NaN"),
        (-math.inf, "-Infinity"),
    ],
)
def test_decimals(value: float, text: str) -> None:
    assert decimal(float(np.float32(value)), single=True) == text
    if math.isfinite(value):
        assert np.float32(decimal(float(np.float32(value)), single=True)) == np.float32(value)
        assert float(decimal(value, single=False)) == value


def test_values_of_every_type() -> None:
    outputs = {
        "i": np.array([2**63 - 1]),
        "b": np.array([True]),
        "s": np.array(["ä".encode()], object),
        "x_bytes": np.array([b"\x00\xff"], object),
        "n": np.array([np.nan, np.inf]),
    }
    text = tensors_to_json(outputs, "column").decode()
    assert text == (
        '{"outputs": {"i": [9223372036854775807], "b": [true], "s": ["ä"], "x_bytes": [{"b64": "AP8="}], '
        '"n": [NaN, Infinity]}}'
    )
    with pytest.raises(RequestError, match="Failed to write JSON value for tensor type: complex64"):
        tensors_to_json({"c": np.zeros(1, np.complex64)}, "column")


def test_rows_need_equal_numbers_of_rows() -> None:
    cases: list[tuple[dict[str, Any], str]] = [
        ({"a": np.float32(1)}, "Tensor name: a has no shape information "),
        ({"a": np.zeros(0)}, "Tensor name: a has invalid batch size: 0"),
        ({"a": np.zeros(2), "b": np.zeros(3)}, "Tensor name: b has inconsistent batch size: 3 expecting: 2"),
    ]
    for outputs, text in cases:
        with pytest.raises(RequestError, match=text):
            tensors_to_json(outputs, "row")


@pytest.mark.parametrize(
    ("value", "dtype", "expected"),
    [
        ([1, 2], 3, np.array([1, 2], np.int32)),
        ([300], 4, np.array([44], np.uint8)),
        ([2**64 - 1], 23, np.array([2**64 - 1], np.uint64)),
        (["a", {"b64": "-_8"}], 7, np.array([b"a", b"\xfb\xff"], object)),
        ([True], 10, np.array([True])),
        (2.5, 2, np.array(2.5)),
        ([[], []], 1, np.zeros((2, 0), np.float32)),
    ],
)
def test_tensors_of_every_type(value: Any, dtype: int, expected: np.ndarray) -> None:
    result = read_tensor(value, dtype)
    np.testing.assert_array_equal(result, expected)
    assert (result.dtype, result.shape) == (expected.dtype, expected.shape)


@pytest.mark.parametrize(
    ("value", "name", "text"),
    [
        (1.5, "int32", "JSON Value: 1.5 Type: Number is not of expected type: int32"),
        (2**31, "int32", "JSON Value: 2147483648 Type: Number is not of expected type: int32"),
        (-1, "uint32", "JSON Value: -1 Type: Number is not of expected type: uint32"),
        (1, "bool", "JSON Value: 1 Type: Number is not of expected type: bool"),
        (1, "string", "JSON Value: 1 Type: Number is not of expected type: string"),
        ({"b64": "*"}, "string", "Unable to base64 decode"),
        ({"c": 1}, "string", "not formatted correctly for base64 data"),
        (1, "complex64", "Conversion of JSON Value: 1 to type: complex64"),
    ],
)
def test_values_that_do_not_fit(value: Any, name: str, text: str) -> None:
    with pytest.raises(RequestError) as caught:
        convert(value, name)
    assert text in caught.value.message


def test_numbers_of_endless_digits_become_doubles() -> None:
    assert parse_object(b'{"a": 18446744073709551615}') == {"a": 2**64 - 1}
    assert parse_object(b'{"a": 18446744073709551616}') == {"a": 2.0**64}
    for digits in (
        b"9" * 10_000,
        b"1e999",
        b"2e308",
        b"1E+309",
        b"-1e400",
        b"9" * 309 + b".5",
        b"9" * 250 + b"e60",
        b"99" * 160 + b"e-5",
    ):
        with pytest.raises(RequestError, match=r"Number too big to be stored in double."):
            parse_object(b'{"a": ' + digits + b"}")
    assert math.isnan(parse_object(b'{"a": NaN}')["a"])
