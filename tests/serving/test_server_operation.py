"""What an operator and a stranger meet: health, drain, tokens, plain text, paths in errors, logs, foreign flags."""

from __future__ import annotations

import asyncio
import http.client
import json
import logging
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
import small_model
from grpc_health.v1 import health_pb2

from serving.client import AsyncClient, Backoff, Client, ServingError
from serving.server import EmbeddedServer, RequestError
from serving.server.access_log import Access, AccessLog, JsonFormatter, current, request_id
from serving.server.config_files import check_plaintext
from serving.server.flags import parse_flags
from serving.server.models.config import Roots
from serving.server.models.manager import ModelManager
from serving.server.public_text import without_folders
from serving.server.tokens import Tokens
from serving.server.traffic import Traffic
from tests.waiting import LAST_RESORT, eventually, reserved_port

ONCE = Backoff(attempts=1)
BODY = b'{"signature_name": "dense", "instances": [[1, 1], [2, 2]]}'


def serve(base: Path, **settings: Any) -> EmbeddedServer:
    return EmbeddedServer(port=0, rest_api_port=-1, model_name="bcl", model_base_path=str(base), **settings)


def ask(
    port: int, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
) -> tuple[int, Any, dict[str, str]]:
    """Returns status, body and headers of a reply over REST."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", body, headers or {})
    try:
        with urllib.request.urlopen(request, timeout=LAST_RESORT) as reply:
            return reply.status, reply.read(), dict(reply.headers)
    except urllib.error.HTTPError as error:
        return error.code, error.read(), dict(error.headers)


def health(channel: grpc.Channel) -> int:
    call = channel.unary_unary(
        "/grpc.health.v1.Health/Check",
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=health_pb2.HealthCheckResponse.FromString,
    )
    return int(call(health_pb2.HealthCheckRequest()).status)


# ---- Health and drain.


def test_a_drain_turns_health_first_and_still_answers(base: Path) -> None:
    with (
        serve(base, enable_grpc_healthcheck_service=True) as server,
        Client(server.target, backoff=ONCE) as client,
        grpc.insecure_channel(server.target) as channel,
        ThreadPoolExecutor(2) as pool,
    ):
        port = server.rest_port
        assert health(channel) == health_pb2.HealthCheckResponse.SERVING
        assert ask(port, "/v1/health/ready")[:2] == (200, b'{"status": "ready"}')
        assert ask(port, "/v1/health/live")[:2] == (200, b'{"status": "live"}')
        client.metadata()
        held = pool.submit(client.predict, {"rows": [7]}, "hold")
        assert eventually(lambda: server.core.versions.states("bcl")[1].users == 1)
        drained = pool.submit(server.drain, LAST_RESORT, quiet=0.1)
        assert eventually(lambda: ask(port, "/v1/health/ready")[:2] == (503, b'{"status": "draining"}'))
        assert health(channel) == health_pb2.HealthCheckResponse.NOT_SERVING
        assert ask(port, "/v1/health/live")[0] == 200
        assert ask(port, "/v1/models/bcl:predict", BODY)[0] == 200
        assert server.traffic.running("gRPC") == 1 and not drained.done()
        small_model.release(server, 1)
        assert held.result()["y"].tolist() == [7]
        assert drained.result() is True


def test_a_drain_ends_when_its_time_is_over() -> None:
    traffic = Traffic()
    with traffic.request("gRPC"):
        assert traffic.wait_until_quiet(0.05, quiet=0.01) is False
    assert traffic.wait_until_quiet(LAST_RESORT, quiet=0.01) is True
    assert traffic.wait_until_quiet(0.0) is True


def start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "serving.server", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.slow
def test_sigterm_drains_and_a_second_signal_ends_it_at_once(base: Path, tmp_path: Path) -> None:
    log = tmp_path / "access.jsonl"
    ports = ["--port=0", "--rest_api_port=-1", "--drain_seconds=3600", f"--access_log_file={log}"]
    process = start("--model_name=bcl", f"--model_base_path={base}", "--num_load_threads=2", *ports)
    try:
        assert process.stdout is not None
        line = process.stdout.readline().strip()
        grpc_port, rest_port = (int(part.split(",")[0]) for part in line.split("127.0.0.1:")[1:])
        with Client(f"127.0.0.1:{grpc_port}", backoff=ONCE) as client, ThreadPoolExecutor(1) as pool:
            client.metadata()
            held = pool.submit(client.predict, {"rows": [7]}, "hold", timeout=LAST_RESORT)
            process.send_signal(signal.SIGTERM)
            assert eventually(lambda: ask(rest_port, "/v1/health/ready")[0] == 503)
            assert ask(rest_port, "/v1/models/bcl:predict", BODY)[0] == 200
            process.send_signal(signal.SIGTERM)
            _, errors = process.communicate(timeout=LAST_RESORT)
            assert process.returncode == -signal.SIGTERM
            assert errors == "Flags of tensorflow_model_server that do nothing here: --num_load_threads\n"
            with pytest.raises(ServingError, match="UNAVAILABLE"):
                held.result()
        calls = [json.loads(text)["call"] for text in log.read_text().splitlines()]
        assert calls == ["GetModelMetadata", "POST /v1/models/bcl:predict"]
    finally:
        process.kill()


# ---- The start.


def test_a_taken_port_is_found_before_the_model_loads(tmp_path: Path) -> None:
    empty = tmp_path / "bcl"
    empty.mkdir()
    with reserved_port() as port, socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", port))
        taken.listen()
        # The folder has no model: a server that loads first would wait for ever.
        cases: tuple[dict[str, Any], ...] = ({"port": port}, {"port": 0, "rest_api_port": port})
        for ports in cases:
            server = EmbeddedServer(model_name="bcl", model_base_path=str(empty), **ports)
            with pytest.raises(RequestError, match=f"UNAVAILABLE: cannot listen on 127.0.0.1:{port}: "):
                server.start(timeout=LAST_RESORT)


def test_retries_of_a_load_come_after_5_seconds_and_then_twice_as_late() -> None:
    manager = ModelManager(lambda version: None, roots=Roots())
    assert [manager._wait_before_retry(attempts) for attempts in range(1, 9)] == [5, 10, 20, 40, 80, 160, 300, 300]
    upstream = ModelManager(lambda version: None, roots=Roots(), retry_seconds=600, retry_multiplier=1)
    assert [upstream._wait_before_retry(attempts) for attempts in (1, 2, 1000)] == [600, 600, 600]


def test_flags_of_tensorflow_serving_that_do_nothing_here_are_named(capsys: Any) -> None:
    base_path = "--model_base_path=/m"
    arguments = [
        "--enable_profiler=false",
        base_path,
        "--num_load_threads",
        "4",
        "--flush_filesystem_caches",
        "--port",
        "7",
    ]
    flags = parse_flags(arguments)
    assert (flags.port, flags.model_base_path) == (7, "/m")
    assert capsys.readouterr().err == (
        "Flags of tensorflow_model_server that do nothing here: "
        "--enable_profiler, --num_load_threads, --flush_filesystem_caches\n"
    )
    parse_flags([base_path])
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("flag", ["--num_laod_threads=4", "--use_alts_credentials", "4"])
def test_flags_that_nobody_knows_end_the_start(flag: str, capsys: Any) -> None:
    with pytest.raises(SystemExit) as caught:
        parse_flags(["--model_base_path=/m", flag])
    assert caught.value.code == 2 and flag in capsys.readouterr().err


def test_values_of_the_flags_are_checked() -> None:
    with pytest.raises(RequestError, match=r"`auth_free` must name some of health, metrics. Received: 'everything'"):
        parse_flags(["--model_base_path=/m", "--auth_free=health,everything"])
    with pytest.raises(RequestError, match=r"`access_log_sample` must be between 0 and 1. Received: 2.0"):
        parse_flags(["--model_base_path=/m", "--access_log_sample=2"])


def test_certificates_of_clients_and_rest_in_plain_text_exclude_each_other(tmp_path: Path) -> None:
    config = tmp_path / "ssl.config"
    config.write_text('server_key: "k" server_cert: "c" custom_ca: "a" client_verify: true')
    with pytest.raises(
        RequestError, match=r"REST on port 8501 would take requests in plain text.*allow_plaintext_rest"
    ):
        EmbeddedServer(model_base_path="/m", rest_api_port=8501, ssl_config_file=str(config))
    check_plaintext(str(config), 8501, allowed=True)
    check_plaintext(str(config), 0, allowed=False)
    config.write_text('server_key: "k" server_cert: "c"')
    check_plaintext(str(config), 8501, allowed=False)


# ---- Tokens.


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@pytest.fixture(scope="module")
def guarded(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[EmbeddedServer, Path]]:
    file = tmp_path_factory.mktemp("tokens") / "tokens"
    file.write_text("# of the shop\nfirst-token\n\nsecond-token\n")
    monitoring = file.with_name("monitoring.config")
    monitoring.write_text("prometheus_config { enable: true }")
    with serve(
        base,
        auth_token_file=str(file),
        monitoring_config_file=str(monitoring),
        enable_grpc_healthcheck_service=True,
    ) as server:
        yield server, file


def test_both_ports_ask_for_a_token(guarded: tuple[EmbeddedServer, Path]) -> None:
    server, _ = guarded
    for token in ("first-token", "second-token"):
        with Client(server.target, token=token) as client:
            assert client.embed({}).shape == (1, 4)
        assert ask(server.rest_port, "/v1/models/bcl:predict", BODY, bearer(token))[0] == 200
    with (
        Client(server.target) as client,
        pytest.raises(ServingError, match=r"UNAUTHENTICATED: a bearer token is needed"),
    ):
        client.status()
    with (
        Client(server.target, token="first") as client,
        pytest.raises(ServingError, match="the bearer token is unknown"),
    ):
        client.status()
    for path in ("/v1/models/bcl", "/v1/models/bcl:predict", "/monitoring/prometheus/metrics", "/elsewhere"):
        status, _, headers = ask(server.rest_port, path, headers=bearer("# of the shop"))
        assert (status, headers["WWW-Authenticate"]) == (401, "Bearer"), path
    status, body, _ = ask(server.rest_port, "/v1/models/bcl", headers={"Authorization": "Basic first-token"})
    assert status == 401 and json.loads(body)["error"].startswith("a bearer token is needed")


def test_the_client_for_asyncio_sends_a_token_too(guarded: tuple[EmbeddedServer, Path]) -> None:
    server, _ = guarded

    async def ask_with(token: str | None) -> int:
        async with AsyncClient(server.target, token=token, backoff=ONCE) as client:
            assert (await client.embed([{}, {}])).shape == (2, 4)
            return len(await client.status())

    assert asyncio.run(ask_with("second-token")) == 1
    for token, message in ((None, "a bearer token is needed"), ("second", "the bearer token is unknown")):
        with pytest.raises(ServingError, match=f"UNAUTHENTICATED: {message}"):
            asyncio.run(ask_with(token))
    with pytest.raises(ValueError, match="`token` must be visible ASCII characters"):
        asyncio.run(ask_with("two words"))


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_the_certificate_and_the_token_of_the_page_work(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "serve-in-production.md").read_text(encoding="utf-8")
    section = page[page.index("**TLS and tokens.**") : page.index("**mTLS.**")]
    (commands,) = re.findall(r"^```bash\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    (asking,) = re.findall(r"^```python\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    subprocess.run(["bash", "-ec", commands], cwd=tmp_path, check=True, capture_output=True)
    monkeypatch.chdir(tmp_path)
    with serve(base, ssl_config_file="ssl.config", auth_token_file="tokens") as server:
        exec(asking.replace("localhost:8500", f"localhost:{server.port}"), {})
        assert "AVAILABLE" in capsys.readouterr().out
        # REST stays plain text, and asks for the token.
        assert ask(server.rest_port, "/v1/models/bcl")[0] == 401
        token = (tmp_path / "tokens").read_text().strip()
        assert ask(server.rest_port, "/v1/models/bcl", headers=bearer(token))[0] == 200


def test_a_refused_call_says_which_scheme_is_wanted(guarded: tuple[EmbeddedServer, Path]) -> None:
    with grpc.insecure_channel(guarded[0].target) as channel:
        call = channel.unary_unary("/tensorflow.serving.PredictionService/NoSuchMethod")
        with pytest.raises(grpc.RpcError) as caught:
            call(b"no proto")
        assert caught.value.code() == grpc.StatusCode.UNAUTHENTICATED
        assert ("www-authenticate", "Bearer") in caught.value.trailing_metadata()


def test_health_needs_no_token(guarded: tuple[EmbeddedServer, Path]) -> None:
    server, _ = guarded
    assert [ask(server.rest_port, f"/v1/health/{name}")[0] for name in ("live", "ready")] == [200, 200]
    with grpc.insecure_channel(server.target) as channel:
        assert health(channel) == health_pb2.HealthCheckResponse.SERVING


def test_metrics_are_free_and_health_is_not_where_a_flag_says_so(
    base: Path, guarded: tuple[EmbeddedServer, Path]
) -> None:
    _, file = guarded
    monitoring = str(file.with_name("monitoring.config"))
    settings = {"auth_token_file": str(file), "auth_free": "metrics", "monitoring_config_file": monitoring}
    with (
        serve(base, enable_grpc_healthcheck_service=True, **settings) as server,
        grpc.insecure_channel(server.target) as channel,
    ):
        status, _, headers = ask(server.rest_port, "/monitoring/prometheus/metrics")
        assert (status, headers["Content-Type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
        assert ask(server.rest_port, "/v1/health/ready")[0] == 401
        with pytest.raises(grpc.RpcError) as caught:
            health(channel)
        assert caught.value.code() == grpc.StatusCode.UNAUTHENTICATED


def test_changed_tokens_hold_from_the_next_request(tmp_path: Path, caplog: Any) -> None:
    file = tmp_path / "tokens"
    file.write_text("old\n")
    tokens = Tokens(str(file))
    tokens.check("Bearer old")
    file.write_text("newer\n")
    tokens.check("bearer  newer ")
    with pytest.raises(RequestError, match="UNAUTHENTICATED: the bearer token is unknown"):
        tokens.check("Bearer old")
    with caplog.at_level("ERROR", "serving.server"):
        file.write_text("# none any more\n")
        tokens.check("Bearer newer")
        file.unlink()
        tokens.check("Bearer newer")
        tokens.check("Bearer newer")
    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR"]
    assert "expected one token a line. Received: no token" in caplog.text


def test_a_token_file_that_names_none_ends_the_start(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    with pytest.raises(RequestError, match=r"`auth_token_file` cannot be read: .*tokens; No such file"):
        Tokens(str(file))
    file.write_text("\n")
    with pytest.raises(RequestError, match=r"tokens: expected one token a line. Received: no token"):
        Tokens(str(file))


# ---- What replies tell.


def test_replies_name_no_versions_of_libraries(base: Path) -> None:
    with serve(base) as server:
        port = server.rest_port
        assert ask(port, "/v1/models/bcl")[2]["Server"] == "model-server"
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=LAST_RESORT)
        connection.putrequest("GET", "/v1/models/bcl", skip_host=True)
        connection.putheader("Bad\x01Name", "x")
        connection.endheaders()
        reply = connection.getresponse()
        connection.close()
        assert (reply.status, reply.headers["Server"]) == (400, "model-server")


@pytest.mark.parametrize(
    ("text", "public"),
    [
        ("not found: /srv/models/bcl/2/saved_model.pb", "not found: saved_model.pb"),
        ("in '/a b/models/2/x' and /etc/y", "in '2/x' and y"),
        ("see https://example.org/a/b and a/b/c", "see https://example.org/a/b and a/b/c"),
    ],
)
def test_absolute_paths_are_cut(text: str, public: str) -> None:
    assert without_folders(text, "/a b/models") == public


def test_the_status_of_a_failed_version_tells_no_path(saved_model: Path, tmp_path: Path) -> None:
    own = tmp_path / "models"
    small_model.publish(saved_model, own, 1)
    (own / "2").mkdir()
    (own / "3").symlink_to(saved_model)
    small_model.publish(saved_model, own, 4)
    policy = "model_version_policy { all {} }"
    config = tmp_path / "models.config"
    config.write_text(
        f'model_config_list {{ config {{ name: "bcl" base_path: "{own}" model_platform: "tensorflow" {policy} }} }}'
    )
    with (
        EmbeddedServer(port=0, model_config_file=str(config), max_num_load_retries=0) as server,
        Client(server.target) as client,
    ):
        assert eventually(lambda: [s.state for s in client.status()] == ["AVAILABLE", "END", "END", "AVAILABLE"])
        linked, empty = (status.error_message for status in client.status()[1:3])
    assert "export directory path: 2. " in empty
    assert linked.endswith("a folder of --model_roots. Received: 3")
    assert str(tmp_path) not in linked + empty


# ---- Logs.


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_access_log_tells_of_both_ports(base: Path, tmp_path: Path) -> None:
    path = tmp_path / "access.jsonl"
    with serve(base, access_log_file=str(path)) as server, Client(server.target) as client:
        client.embed([{}, {}, {}])
        with pytest.raises(ServingError):
            client.predict({"rows": [99]}, "gather")
        status, _, headers = ask(
            server.rest_port, "/v1/models/bcl/versions/1:predict", BODY, {"X-Request-Id": "of-the-client.1"}
        )
        assert (status, headers["X-Request-Id"]) == (200, "of-the-client.1")
        assert ask(server.rest_port, "/v1/models/nope")[0] == 404
        ask(server.rest_port, "/v1/health/ready")
        found = lines(path)
    told = [(x["interface"], x["call"], x["model"], x["version"], x["rows"], x["status"]) for x in found]
    assert told == [
        ("gRPC", "GetModelMetadata", "bcl", 1, None, "OK"),
        ("gRPC", "Predict", "bcl", 1, 3, "OK"),
        ("gRPC", "Predict", "bcl", None, 1, "INVALID_ARGUMENT"),
        ("REST", "POST /v1/models/bcl/versions/1:predict", "bcl", 1, 2, "200"),
        ("REST", "GET /v1/models/nope", "nope", None, None, "404"),
    ]
    assert found[3]["request_id"] == "of-the-client.1"
    assert len({line["request_id"] for line in found}) == 5
    assert all(line["milliseconds"] > 0 and line["slow"] is False for line in found)


def test_failed_and_slow_requests_are_never_left_out(tmp_path: Path) -> None:
    path = tmp_path / "access.jsonl"
    log = AccessLog(str(path), sample=0, slow_ms=1000)
    for name, status, start in (("fine", "OK", 1e12), ("failed", "404", 1e12), ("slow", "200", 0.0)):
        log.write(Access("REST", name, "id", status=status, start=start if start == 0.0 else Access("", "", "").start))
    log.close()
    assert [(line["call"], line["slow"]) for line in lines(path)] == [("failed", False), ("slow", True)]


def test_an_id_that_does_not_fit_is_replaced() -> None:
    assert request_id("a-B.9_c") == "a-B.9_c"
    for given in (None, "", "a b", "x" * 65, 'quote"', "ä"):
        assert len(request_id(given)) == 32


def test_errors_of_the_server_are_json_lines_with_the_request() -> None:
    access = Access("gRPC", "Predict", "the-id")
    mark = current.set(access)
    try:
        raise ValueError("boom")
    except ValueError:
        record = logging.LogRecord("serving.server", logging.ERROR, "", 0, "request %s", ("failed",), sys.exc_info())
        line = json.loads(JsonFormatter().format(record))
    finally:
        current.reset(mark)
    assert (line["level"], line["message"], line["request_id"]) == ("ERROR", "request failed", "the-id")
    assert line["traceback"].endswith("ValueError: boom")
    assert os.linesep not in JsonFormatter().format(record)


# ---- Metrics.


def test_metrics_tell_of_requests_batches_versions_and_the_process(base: Path) -> None:
    with serve(base, enable_batching=True) as server, Client(server.target) as client, ThreadPoolExecutor(1) as pool:
        client.embed([{}, {}, {}])
        held = pool.submit(client.predict, {"rows": [7]}, "hold")
        assert eventually(lambda: server.traffic.running("gRPC") == 1)
        try:
            samples = dict(line.rsplit(" ", 1) for line in server.metrics.render().splitlines() if line[0] != "#")
        finally:
            small_model.release(server, 1)
        held.result()
    assert samples['serving_requests_in_flight{interface="gRPC"}'] == "1"
    assert samples['serving_requests_in_flight{interface="REST"}'] == "0"
    assert samples["serving_loaded_versions{}"] == "1"
    assert samples['serving_load_seconds_count{model_name="bcl"}'] == "1"
    assert float(samples["serving_batch_rows_sum{}"]) >= 3
    assert int(samples["serving_batch_queue_depth{}"]) in (0, 1)
    assert float(samples["process_resident_memory_bytes{}"]) > 1e7
    assert 0 < float(samples["process_open_fds{}"]) < float(samples["process_max_fds{}"])
