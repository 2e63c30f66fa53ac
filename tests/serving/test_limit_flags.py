"""Each limit of a request, by its flag: the refusal names the flag, its value and what was received."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import small_model
from fuzz import PREDICT, predict_request

from serving.protocol.errors import RequestError
from serving.server import EmbeddedServer, ServerFlags
from tests.serving.hostile.kinds import Place

LOW = {
    "max_request_rows": 10,
    "max_request_values": 100,
    "max_request_strings": 40,
    "max_request_matches": 30,
    "grpc_max_message_parts": 200,
    "grpc_max_message_bytes": 5000,
    "rest_api_max_body_bytes": 3000,
    "rest_api_max_json_lists": 30,
    "rest_api_max_json_depth": 5,
}
# These bound what many requests need together, or connections. test_limits, test_rest_connections, test_server_setup
# and test_grpc_connections have them.
SHARED = {
    "grpc_max_concurrent_requests",
    "grpc_max_concurrent_streams",
    "grpc_max_connection_idle_ms",
    "grpc_max_connections",
    "grpc_max_threads",
    "max_held_reply_bytes",
    "max_running_rows",
    "rest_api_max_connections",
    "rest_api_max_held_bytes",
    "rest_api_max_parsed_bytes",
}
NOT_OF_REQUESTS = {"max_num_load_retries", "request_log_max_bytes"}


@pytest.fixture(scope="module")
def place(saved_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    base = tmp_path_factory.mktemp("limits") / "bcl"
    small_model.publish(saved_model, base, 1)
    settings: dict[str, Any] = LOW
    with EmbeddedServer(port=0, rest_api_port=-1, model_name="bcl", model_base_path=str(base), **settings) as server:
        yield Place("127.0.0.1", server.port, server.rest_port, {})


def over_grpc(signature: str = "serving_default", **inputs: Any) -> Callable[[Place], str]:
    request = predict_request(**inputs)
    request.model_spec.signature_name = signature
    return lambda place: place.call(PREDICT, request.SerializeToString())


def over_rest(body: dict[str, Any] | bytes) -> Callable[[Place], str]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return lambda place: place.post("/v1/models/bcl:predict", data)


def matches(rows: int, k: int) -> Callable[[Place], str]:
    return over_grpc(
        "match",
        attribute_genre=np.array(["rock"] * rows, object),
        attribute_tags=np.array([["t"]] * rows, object),
        audio_tempo=np.ones(rows, np.float32),
        lyric_vector=np.ones((rows, 3), np.float32),
        k=np.full(rows, k, np.int32),
        exclude=np.array([""] * rows, object),
    )


REFUSED = [
    ("max_request_rows", over_grpc(x=np.ones((11, 2), np.float32)), 11),
    ("max_request_rows", over_rest({"instances": [[1, 1]] * 12}), 12),
    ("max_request_rows", over_rest({"inputs": {"x": [[1, 1]] * 13}}), 13),
    ("max_request_values", over_grpc(x=np.ones((1, 101), np.float32)), 101),
    ("max_request_values", over_rest({"instances": [[1] * 102]}), 102),
    ("max_request_strings", over_grpc(x=np.array([["ü"] * 41], object)), 41),
    ("max_request_strings", over_rest({"instances": [["[,:"] * 42]}), 42),
    ("max_request_strings", over_rest({str(number): 1 for number in range(43)}), 43),
    ("max_request_matches", matches(8, 4), 32),
    ("grpc_max_message_parts", lambda place: place.call(PREDICT, b"\x1a\x00" * 205), 201),
    ("rest_api_max_body_bytes", over_rest(b" " * 3001), 3001),
    ("rest_api_max_json_lists", over_rest({"instances": [[]] * 33}), 35),
    ("rest_api_max_json_depth", over_rest({"instances": [[[[[1]]]]]}), 6),
]


@pytest.mark.parametrize(("flag", "send", "received"), REFUSED)
def test_a_refusal_names_the_limit_and_what_was_received(
    flag: str, send: Callable[[Place], str], received: int, place: Place
) -> None:
    answer = send(place)
    assert answer.startswith(("INVALID_ARGUMENT ", "400 ", "413 "))
    assert f"expected at most {LOW[flag]} " in answer
    assert f"(--{flag}). Received: {received}" in answer


def test_grpc_itself_refuses_large_messages(place: Place) -> None:
    """In its own words, which name no flag, before the server sees the message."""
    answer = place.call(PREDICT, b"\x0a" * 5001)
    assert answer.startswith(f"{grpc.StatusCode.RESOURCE_EXHAUSTED.name} ") and "(5001 vs. 5000)" in answer


def test_every_limit_is_in_the_table_or_named_as_shared() -> None:
    limits = {flag.name for flag in dataclasses.fields(ServerFlags) if "max_" in flag.name}
    assert limits == set(LOW) | SHARED | NOT_OF_REQUESTS
    assert set(LOW) == {flag for flag, _, _ in REFUSED} | {"grpc_max_message_bytes"}


@pytest.mark.parametrize("name", sorted({*LOW, *SHARED}))
def test_no_limit_can_be_negative(name: str) -> None:
    with pytest.raises(RequestError, match=rf"^INVALID_ARGUMENT: `{name}` must be .*Received: -5"):
        ServerFlags(model_base_path="/models/bcl", **{name: -5})  # type: ignore[arg-type]
