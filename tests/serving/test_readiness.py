"""Ready means that every configured model has a version that answers, over both ports."""

from __future__ import annotations

import json
import shutil
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import grpc
import numpy as np
import pytest
import small_model
from grpc_health.v1 import health_pb2

from serving.client import Client
from serving.protocol.errors import RequestError
from serving.savedmodel.warmup_requests import write_requests
from serving.server import EmbeddedServer
from serving.server.grpc.health import Health
from serving.server.inference.context import RunContext
from serving.server.inference.servable import Servable
from tests.waiting import LAST_RESORT, eventually

SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
MODEL = 'config {{ name: "{0}" base_path: "{1}/{0}" model_platform: "tensorflow" }}'


def ready(port: int) -> tuple[int, Any]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/health/ready", timeout=LAST_RESORT) as reply:
            return reply.status, json.loads(reply.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def check(channel: grpc.Channel, name: str) -> int:
    call = channel.unary_unary(
        "/grpc.health.v1.Health/Check",
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=health_pb2.HealthCheckResponse.FromString,
    )
    return int(call(health_pb2.HealthCheckRequest(service=name)).status)


def test_a_model_that_loses_its_last_version_is_not_ready(saved_model: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        small_model.publish(saved_model, tmp_path / name, 1)
    config = tmp_path / "models.config"
    config.write_text(f"model_config_list {{ {''.join(MODEL.format(name, tmp_path) for name in ('one', 'two'))} }}")
    settings: dict[str, Any] = {"enable_grpc_healthcheck_service": True, "file_system_poll_wait_seconds": 0.02}
    with (
        EmbeddedServer(port=0, rest_api_port=-1, model_config_file=str(config), **settings) as server,
        grpc.insecure_channel(server.target) as channel,
    ):
        watch = channel.unary_stream(
            "/grpc.health.v1.Health/Watch",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )(health_pb2.HealthCheckRequest())
        assert next(watch).status == SERVING
        assert ready(server.rest_port) == (200, {"status": "ready"})
        shutil.rmtree(tmp_path / "two" / "1")
        assert next(watch).status == NOT_SERVING
        assert ready(server.rest_port) == (503, {"status": "a model has no version that answers"})
        names = ("", "PredictionService", "ModelService")
        assert [check(channel, name) for name in names] == [NOT_SERVING, NOT_SERVING, SERVING]
        small_model.publish(saved_model, tmp_path / "two", 2)
        assert next(watch).status == SERVING
        assert ready(server.rest_port)[0] == 200
        watch.cancel()


def test_a_failed_version_beside_one_that_answers_leaves_the_server_ready(saved_model: Path, tmp_path: Path) -> None:
    small_model.publish(saved_model, tmp_path / "bcl", 1)
    settings: dict[str, Any] = {"file_system_poll_wait_seconds": 0.02, "max_num_load_retries": 0}
    base = str(tmp_path / "bcl")
    with (
        EmbeddedServer(port=0, rest_api_port=-1, model_name="bcl", model_base_path=base, **settings) as server,
        Client(server.target) as client,
    ):
        (tmp_path / "bcl" / "2").mkdir()
        assert eventually(lambda: [status.state for status in client.status()] == ["END", "AVAILABLE"])
        assert ready(server.rest_port) == (200, {"status": "ready"})


def test_models_that_become_ready_do_not_end_a_drain() -> None:
    health = Health()
    health.begin_drain()
    health.tell_models(True)
    state = health._servicer.Check(health_pb2.HealthCheckRequest(), None)
    assert state.status == NOT_SERVING


def test_metrics_and_replies_name_no_folder(saved_model: Path, tmp_path: Path) -> None:
    base = tmp_path / "a b" / "bcl"
    version = small_model.publish(saved_model, base, 7)
    write_requests(str(version), {"dense": {"x": np.ones((1, 2), np.float32)}})
    with EmbeddedServer(port=0, model_name="bcl", model_base_path=str(base)) as server:
        page = server.metrics.render()
    assert 'model_warmup_latency_count{model_path="bcl/7",status="OK"} 1' in page
    assert str(tmp_path) not in page


def test_an_error_of_the_graph_names_no_folder() -> None:
    class Session:
        signatures: Mapping[str, Any] = MappingProxyType({})

        def run(self, *_: Any) -> Any:
            raise RequestError(grpc.StatusCode.NOT_FOUND, "/srv/models/bcl/1/words.txt; No such file [[{{node a/b}}]]")

    with pytest.raises(RequestError) as caught:
        Servable("bcl", Session(), None).run([], [], RunContext(), api=None)  # type: ignore[arg-type]
    assert caught.value.message == "words.txt; No such file [[{{node a/b}}]]"
