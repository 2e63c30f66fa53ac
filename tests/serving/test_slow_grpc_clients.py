"""Clients that send or take slowly over gRPC, and reloads: none of them holds what others need."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import small_model
from fuzz import PREDICT, predict_request
from tensorflow_serving.apis import model_management_pb2

from serving.client import Client
from serving.server import EmbeddedServer
from serving.server.models.reload import Reloads
from tests.serving.hostile.kinds import RELOAD, Place
from tests.serving.hostile.over_http2 import call_headers, data_frames, greeted
from tests.waiting import LAST_RESORT

_RESET = 3
_NO_WINDOW = struct.pack(">HI", 4, 0)


@contextmanager
def serve(saved_model: Path, folder: Path, **settings: Any) -> Iterator[EmbeddedServer]:
    small_model.publish(saved_model, folder / "bcl", 1)
    with EmbeddedServer(port=0, model_name="bcl", model_base_path=str(folder / "bcl"), **settings) as server:
        yield server


@contextmanager
def connected(server: EmbeddedServer, settings: bytes = b"") -> Iterator[socket.socket]:
    place = Place("127.0.0.1", server.port, 0, {})
    try:
        yield greeted(place, settings)
    finally:
        place.release()  # otherwise the server's end waits for it


def reset_streams(plain: socket.socket, count: int) -> set[int]:
    """Reads frames until so many streams were reset; returns their numbers."""
    plain.settimeout(LAST_RESORT)
    stream = plain.makefile("rb")
    found: set[int] = set()
    while len(found) < count and (head := stream.read(9)):
        stream.read(int.from_bytes(head[:3], "big"))
        if head[3] == _RESET:
            found.add(int.from_bytes(head[5:], "big"))
    return found


def test_a_message_that_does_not_arrive_in_time_ends_its_call(saved_model: Path, tmp_path: Path) -> None:
    with (
        serve(saved_model, tmp_path, grpc_message_seconds=0.1, grpc_max_concurrent_requests=8) as server,
        Client(server.target) as client,
        connected(server) as plain,
    ):
        plain.sendall(call_headers(1) + call_headers(3) + data_frames(3, b"x" * 100, whole=False))
        assert reset_streams(plain, 2) == {1, 3}
        assert client.embed([{}]).shape == (1, 4)


def test_a_reply_that_is_not_taken_in_time_ends_its_call(
    saved_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.server.grpc.messages._SMALL_REPLY", 1)
    data = predict_request(x=np.ones((100, 2), np.float32)).SerializeToString()
    with (
        serve(saved_model, tmp_path, grpc_reply_seconds=0.1) as server,
        Client(server.target) as client,
        connected(server, _NO_WINDOW) as plain,
    ):
        plain.sendall(call_headers(1) + data_frames(1, data))
        assert reset_streams(plain, 1) == {1}
        assert client.embed([{}]).shape == (1, 4)


def test_reloads_run_on_threads_of_their_own(
    saved_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind everything that a call passes: tokens, the count of running requests, the access log."""
    seen = []

    def answer(self: Reloads, request: Any, wanted: Any) -> Any:
        seen.append(threading.current_thread().name)
        return model_management_pb2.ReloadConfigResponse()

    monkeypatch.setattr(Reloads, "answer", answer)
    tokens = tmp_path / "tokens"
    tokens.write_text("a-token-of-length\n")
    log = tmp_path / "access.log"
    with (
        serve(saved_model, tmp_path, auth_token_file=str(tokens), access_log_file=str(log)) as server,
        grpc.insecure_channel(server.target) as channel,
    ):
        known = (("authorization", "Bearer a-token-of-length"),)
        channel.unary_unary(RELOAD)(b"", metadata=known, timeout=LAST_RESORT)
        data = predict_request(x=np.ones((1, 2), np.float32)).SerializeToString()
        channel.unary_unary(PREDICT)(data, metadata=known, timeout=LAST_RESORT)
    assert len(seen) == 1 and seen[0].startswith("serving-reload")
    assert "HandleReloadConfigRequest" in log.read_text()
