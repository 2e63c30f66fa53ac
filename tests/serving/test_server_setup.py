"""Flags, certificates, sockets, health, limits, and the command line in a process of its own."""

from __future__ import annotations

import ipaddress
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import psutil
import pytest
import small_model
from certificates import ssl_config, write_certificates
from grpc_health.v1 import health_pb2
from tensorflow_serving.apis import model_management_pb2

from serving.client import TLS, Backoff, Client, ServingError
from serving.protocol import protos
from serving.protocol.tensors import to_proto
from serving.server import EmbeddedServer, RequestError, ServerFlags
from serving.server.config_files import metrics_path, server_credentials
from serving.server.flags import parse_flags
from serving.server.metrics import Metrics
from tests.waiting import LAST_RESORT, eventually, reserved_port

ONCE = Backoff(attempts=1)


def serve(base: Path, **settings: Any) -> EmbeddedServer:
    return EmbeddedServer(port=0, model_name="bcl", model_base_path=str(base), **settings)


def test_flags_are_tensorflow_servings() -> None:
    flags = parse_flags(
        [
            "--port=1234",
            "--rest_api_port",
            "8501",
            "--model_name=m",
            "--model_base_path=/models/m",
            "--enable_batching",
            "--enable_model_warmup=false",
            "--file_system_poll_wait_seconds=0.5",
        ]
    )
    assert (flags.port, flags.rest_api_port, flags.model_name) == (1234, 8501, "m")
    assert flags.enable_batching and not flags.enable_model_warmup
    assert flags.file_system_poll_wait_seconds == 0.5
    assert flags.host == "127.0.0.1"


@pytest.mark.parametrize(
    "arguments", [["--nope=1"], ["--port=x"], ["--enable_batching=maybe"]], ids=["unknown", "number", "boolean"]
)
def test_flags_that_are_wrong(arguments: list[str], capsys: Any) -> None:
    with pytest.raises(SystemExit) as caught:
        parse_flags([*arguments, "--model_base_path=/m"])
    assert caught.value.code == 2
    assert arguments[0].split("=")[0] in capsys.readouterr().err


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        (
            {"model_base_path": "/m", "batching_parameters_file": "x"},
            "server_options.batching_parameters_file is set without setting server_options.enable_batching to true.",
        ),
        ({}, "Both server_options.model_base_path and server_options.model_config_file are empty!"),
        (
            {f"tensorflow_{kind}_parallelism": 2 for kind in ("session", "intra_op", "inter_op")}
            | {"model_base_path": "/m"},
            "Either configure server_options.tensorflow_session_parallelism or (server_options.tensorflow_intra_op_"
            "parallelism, server_options.tensorflow_inter_op_parallelism) separately. You cannot configure all.",
        ),
        ({"model_base_path": "/m", "grpc_max_threads": 0}, "`grpc_max_threads` must be 1 or more. Received: 0"),
        ({"model_base_path": "/m", "port": 70000}, "`port` must be between 0 and 65535. Received: 70000"),
        ({"model_base_path": "/m", "rest_api_port": -2}, "`rest_api_port` must be between -1 and 65535. Received: -2"),
        (
            {"model_base_path": "/m", "rest_api_num_threads": -3},
            "`rest_api_num_threads` must be 0 or more. Received: -3",
        ),
    ],
)
def test_flags_that_do_not_fit(settings: dict[str, Any], text: str) -> None:
    with pytest.raises(RequestError) as caught:
        ServerFlags(**settings)
    assert caught.value.code == grpc.StatusCode.INVALID_ARGUMENT and caught.value.message == text


def test_flags_or_settings() -> None:
    with pytest.raises(ValueError, match=r"exclude each other. Received: \['port'\]"):
        EmbeddedServer(ServerFlags(model_base_path="/m"), port=1)


def test_relative_base_path(base: Path) -> None:
    with pytest.raises(
        RequestError, match=r"Expected model bcl to have an absolute path or URI; got base_path..=models"
    ):
        EmbeddedServer(port=0, model_name="bcl", model_base_path="models").start()


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_certificates(tmp_path_factory.mktemp("certificates"))


def target(server: EmbeddedServer) -> str:
    return f"localhost:{server.port}"


def test_tls(base: Path, certificates: Path) -> None:
    with serve(base, ssl_config_file=ssl_config(certificates, verify=False)) as server:
        with Client(target(server), tls=TLS(ca=str(certificates / "ca.pem"))) as client:
            assert client.embed({}).shape == (1, 4)
        with Client(target(server), backoff=ONCE) as plain, pytest.raises(ServingError, match="UNAVAILABLE"):
            plain.status()
        doubtful = Client(target(server), tls=TLS(), backoff=ONCE)
        with doubtful, pytest.raises(ServingError, match="UNAVAILABLE"):
            doubtful.status()


def test_tls_with_client_verification_and_socket(base: Path, certificates: Path, tmp_path: Path) -> None:
    path = tmp_path / "serving.sock"
    with serve(base, ssl_config_file=ssl_config(certificates, verify=True), grpc_socket_path=str(path)) as server:
        known = TLS(*(str(certificates / name) for name in ("ca.pem", "client.pem", "client.key")))
        with Client(target(server), tls=known) as client:
            assert client.embed({}).shape == (1, 4)
        unknown = Client(target(server), tls=TLS(ca=known.ca), backoff=ONCE)
        with unknown, pytest.raises(ServingError, match="UNAVAILABLE"):
            unknown.status()
        # The socket asks for the same credentials.
        with Client(f"unix:{path}", backoff=ONCE) as plain, pytest.raises(ServingError, match="UNAVAILABLE"):
            plain.status()


def test_unix_socket(base: Path, tmp_path: Path) -> None:
    path = tmp_path / "serving.sock"
    with serve(base, grpc_socket_path=str(path)), Client(f"unix:{path}") as client:
        assert client.embed({}).shape == (1, 4)


def test_ssl_config_that_is_wrong(tmp_path: Path) -> None:
    assert server_credentials("") is None
    with pytest.raises(RequestError, match=r"NOT_FOUND: .*missing.config; No such file or directory"):
        server_credentials(str(tmp_path / "missing.config"))
    file = tmp_path / "ssl.config"
    file.write_text('server_key: "x"')
    with pytest.raises(RequestError, match="must set `server_key` and `server_cert` to PEM contents"):
        server_credentials(str(file))
    file.write_text('server_key: "x" server_cert: "x" client_verify: true')
    with pytest.raises(RequestError, match=r"must set `custom_ca` where it sets `client_verify`. Received: none"):
        server_credentials(str(file))
    file.write_text("server_key: x")
    with pytest.raises(RequestError, match=r"INVALID_ARGUMENT: Invalid protobuf file: '.*ssl.config'"):
        server_credentials(str(file))


def test_monitoring_config(tmp_path: Path) -> None:
    file = tmp_path / "monitoring.config"
    for text, path in [
        ('prometheus_config { enable: true path: "/metrics" }', "/metrics"),
        ("prometheus_config { enable: true }", "/monitoring/prometheus/metrics"),
        ('prometheus_config { enable: false path: "/metrics" }', None),
    ]:
        file.write_text(text)
        assert metrics_path(str(file)) == path
    assert metrics_path("") is None


def test_metrics_escape_what_clients_send() -> None:
    metrics = Metrics()
    with metrics.counted('a"b\\c\nd', "Predict", "GRPC"):
        pass
    assert ':tensorflow:serving:request_count{model_name="a\\"b\\\\c\\nd",status="OK"} 1' in metrics.render()
    assert metrics.value("/tensorflow/serving/request_count") == 1
    assert metrics.value("/nope") == 0


def test_metrics_do_not_grow_with_what_clients_send() -> None:
    metrics = Metrics()
    for number in range(3000):
        with metrics.counted(f"{number}-{'x' * 5000}", "Predict", "GRPC"):
            pass
    assert metrics.value("/tensorflow/serving/request_count") == 3000
    counts = [line for line in metrics.render().splitlines() if line.startswith(":tensorflow:serving:request_count{")]
    assert len(counts) == 1001 and max(map(len, counts)) < 300
    assert ':tensorflow:serving:request_count{model_name="(others)",status="OK"} 2000' in counts


@pytest.fixture(scope="module")
def healthy(base: Path) -> Iterator[Any]:
    settings = {"enable_grpc_healthcheck_service": True, "grpc_channel_arguments": "grpc.max_connection_age_ms=600000"}
    with serve(base, **settings) as server, grpc.insecure_channel(server.target) as channel:
        yield channel


def _check(channel: grpc.Channel, name: str) -> int:
    call = channel.unary_unary(
        "/grpc.health.v1.Health/Check",
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=health_pb2.HealthCheckResponse.FromString,
    )
    return call(health_pb2.HealthCheckRequest(service=name)).status


def test_health(healthy: grpc.Channel, server: Any) -> None:
    assert [_check(healthy, name) for name in ("", "PredictionService", "ModelService")] == [1, 1, 1]
    with pytest.raises(grpc.RpcError) as caught:
        _check(healthy, "tensorflow.serving.PredictionService")
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND
    with grpc.insecure_channel(server.target) as channel, pytest.raises(grpc.RpcError) as caught:
        _check(channel, "")
    assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED


def test_watching_health_cannot_use_up_the_threads(healthy: grpc.Channel) -> None:
    watch = healthy.unary_stream(
        "/grpc.health.v1.Health/Watch",
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=health_pb2.HealthCheckResponse.FromString,
    )
    calls = [watch(health_pb2.HealthCheckRequest()) for _ in range(8)]
    assert [next(call).status for call in calls] == [1] * 8
    with pytest.raises(grpc.RpcError) as caught:
        next(watch(health_pb2.HealthCheckRequest()))
    assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert _check(healthy, "") == 1
    for call in calls:
        call.cancel()
    unknown = health_pb2.HealthCheckRequest(service="tensorflow.serving.PredictionService")

    def watched_again() -> bool:
        call = watch(unknown)
        try:
            return next(call).status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
        except grpc.RpcError:
            return False
        finally:
            call.cancel()

    assert eventually(watched_again)


def test_message_limit(base: Path) -> None:
    with serve(base, grpc_max_message_bytes=20_000) as server, Client(server.target, max_rows=None) as client:
        with pytest.raises(ServingError, match=r"RESOURCE_EXHAUSTED: .*message larger than max \(\d+ vs. 20000\)"):
            client.embed([{}] * 2000)
        assert client.embed([{}]).shape == (1, 4)


def test_requests_beyond_the_limit_are_refused_at_once(base: Path) -> None:
    no_limit = {"rest_api_timeout_in_ms": LAST_RESORT * 1000}
    with (
        serve(base, grpc_max_concurrent_requests=2, rest_api_port=-1, **no_limit) as server,
        Client(server.target, backoff=ONCE) as client,
        ThreadPoolExecutor(4) as pool,
    ):
        client.metadata()
        held: list[Any] = [pool.submit(client.predict, {"rows": [7]}, "hold") for _ in range(2)]
        assert eventually(lambda: server.core.versions.states("bcl")[1].users == 2)
        with pytest.raises(ServingError, match="RESOURCE_EXHAUSTED: Concurrent RPC limit exceeded"):
            client.status()
        small_model.release(server, 2)
        assert [future.result()["y"].tolist() for future in held] == [[7], [7]]
        # The server counts a request until a moment after its answer.
        assert eventually(lambda: _answers(client))

        body = json.dumps({"signature_name": "hold", "instances": [7]}).encode()
        url = f"http://127.0.0.1:{server.rest_port}/v1/models/bcl"
        held = [pool.submit(_status, f"{url}:predict", body) for _ in range(2)]
        assert eventually(lambda: server.core.versions.states("bcl")[1].users == 2)
        assert _status(url) == (
            429,
            b'{"error": "expected at most 2 requests at the same time (--grpc_max_concurrent_requests). '
            b'Received: one more"}',
        )
        small_model.release(server, 2)
        assert [future.result()[0] for future in held] == [200, 200]
        assert eventually(lambda: _status(url)[0] == 200)


def _answers(client: Client) -> bool:
    try:
        return client.embed({}).shape == (1, 4)
    except ServingError:
        return False


def _status(url: str, body: bytes | None = None) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(url, body, timeout=LAST_RESORT) as reply:
            return reply.status, reply.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def test_streams_of_a_connection_are_limited(base: Path) -> None:
    with (
        serve(base, grpc_max_concurrent_streams=1) as server,
        ThreadPoolExecutor(1) as pool,
        Client(server.target, backoff=ONCE) as first,
        Client(server.target, backoff=ONCE) as second,
    ):
        first.metadata()
        # gRPC shares a connection between channels of the same target and options: this one gets its own.
        alone = grpc.insecure_channel(server.target, [("grpc.use_local_subchannel_pool", 1)])
        held = pool.submit(first.predict, {"rows": [7]}, "hold")
        assert eventually(lambda: server.core.versions.states("bcl")[1].users)
        with pytest.raises(ServingError, match="DEADLINE_EXCEEDED"):
            second.status(timeout=0.5)
        call = alone.unary_unary("/tensorflow.serving.ModelService/GetModelStatus")
        request = protos.GetModelStatusRequest()
        request.model_spec.name = "bcl"
        assert call(request.SerializeToString())
        small_model.release(server, 1)
        assert held.result()["y"].tolist() == [7]
        alone.close()


def test_reply_as_tensor_content_and_method_names(base: Path) -> None:
    settings = {"enable_serialization_as_tensor_content": True, "enable_signature_method_name_check": True}
    with serve(base, **settings) as server, Client(server.target) as client:
        np.testing.assert_allclose(client.predict({"x": [[1, 1]]}, "dense")["y"], [[3, 5, 7]])


def listens_on(port: int) -> set[str]:
    """Returns the addresses that have a listener at this port, by the kernel's table."""
    found = set()
    for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        for line in table.read_text().splitlines()[1:] if table.exists() else ():
            host, number = line.split()[1].split(":")
            if int(number, 16) == port and line.split()[3] == "0A":
                # Words of four bytes in this machine's order; gRPC listens for IPv4 on a socket of IPv6.
                words = struct.unpack(f">{len(host) // 8}I", bytes.fromhex(host))
                found_address = ipaddress.ip_address(struct.pack(f"={len(words)}I", *words))
                found.add(str(getattr(found_address, "ipv4_mapped", None) or found_address))
    return found


linux = pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="reads the kernel's table of sockets")


@linux
def test_it_binds_to_loopback(server: Any, base: Path) -> None:
    assert listens_on(server.port) == listens_on(server.rest_port) == {"127.0.0.1"}
    with serve(base, host="0.0.0.0", rest_api_port=-1) as everywhere:
        # The check can fail. (For gRPC 0.0.0.0 means all addresses of both kinds.)
        assert listens_on(everywhere.port) <= {"0.0.0.0", "::"} and listens_on(everywhere.rest_port) == {"0.0.0.0"}


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


@linux
@pytest.mark.skipif(not _has_ipv6(), reason="this machine has no IPv6")
@pytest.mark.parametrize("host", ["::1", "[::1]"])
def test_it_binds_to_an_ipv6_address(base: Path, host: str) -> None:
    with serve(base, host=host, rest_api_port=-1) as server, Client(server.target) as client:
        assert server.target == f"[::1]:{server.port}" and server.target in server.describe()
        assert client.embed({}).shape == (1, 4)
        assert listens_on(server.port) == listens_on(server.rest_port) == {"::1"}
        assert _status(f"http://[::1]:{server.rest_port}/v1/models/bcl")[0] == 200


def test_a_port_that_is_taken(base: Path, server: Any) -> None:
    with pytest.raises(RequestError, match=f"UNAVAILABLE: cannot listen on 127.0.0.1:{server.port}"):
        EmbeddedServer(port=server.port, model_name="bcl", model_base_path=str(base)).start()
    with pytest.raises(RequestError, match=f"UNAVAILABLE: cannot listen on 127.0.0.1:{server.rest_port}"):
        serve(base, rest_api_port=server.rest_port).start()


def start(*arguments: str, cwd: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "serving.server", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=cwd,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "0"},
    )


@pytest.mark.slow
def test_command_line_from_start_to_kill_to_start(base: Path, tmp_path: Path) -> None:
    log, sock = tmp_path / "server.log", tmp_path / "serving.sock"
    arguments = ["--model_name=bcl", f"--model_base_path={base}", f"--log_file={log}", f"--grpc_socket_path={sock}"]
    arguments.append("--drain_seconds=0")
    with reserved_port() as grpc_port, reserved_port() as rest_port:
        ports = [f"--port={grpc_port}", f"--rest_api_port={rest_port}"]
        _from_start_to_kill_to_start([*arguments, *ports], grpc_port, rest_port, sock)
    assert log.stat().st_size > 0


def _from_start_to_kill_to_start(arguments: list[str], grpc_port: int, rest_port: int, sock: Path) -> None:
    first = start(*arguments, cwd=sock.parent)
    assert first.stdout is not None
    line = first.stdout.readline()
    assert line == f"Serving bcl version 1: gRPC on 127.0.0.1:{grpc_port}, REST on 127.0.0.1:{rest_port}\n"
    with Client(f"127.0.0.1:{grpc_port}") as client:
        client.embed({})
        first.send_signal(signal.SIGKILL)
        first.communicate()
        assert sock.exists()
        # The same ports, and the socket that the killed server left. The same client finds it again.
        second = start(*arguments, cwd=sock.parent)
        assert second.stdout is not None
        assert second.stdout.readline() == line
        assert client.embed({"audio_tempo": 2.0})[0, 2] == 2.0
    with Client(f"unix:{sock}") as client:
        assert client.embed({"audio_tempo": 2.0})[0, 2] == 2.0
    with urllib.request.urlopen(f"http://127.0.0.1:{rest_port}/v1/models/bcl") as reply:
        assert reply.status == 200
    second.send_signal(signal.SIGTERM)
    output, errors = second.communicate(timeout=LAST_RESORT)
    assert (second.returncode, output, errors) == (0, "", "")


@pytest.mark.slow
def test_command_line_that_cannot_start(tmp_path: Path) -> None:
    (tmp_path / "bcl" / "1").mkdir(parents=True)
    done = start(f"--model_base_path={tmp_path / 'bcl'}", "--port=0", "--max_num_load_retries=0", cwd=tmp_path)
    output, errors = done.communicate(timeout=LAST_RESORT)
    assert (done.returncode, output) == (255, "")
    last = errors.splitlines()[-1]
    assert last.startswith(
        "Failed to start server. Error: UNKNOWN: 1 servable(s) did not become available: {{{name: default version: 1} "
        "due to error: NOT_FOUND: Could not find SavedModel .pb or .pbtxt at supplied export directory path: "
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flag", "text"),
    [
        ("--port=70000", "INVALID_ARGUMENT: `port` must be between 0 and 65535. Received: 70000"),
        (
            "--grpc_channel_arguments=grpc.max_metadata_size=99999999999",
            "INTERNAL: OverflowError: value too large to convert to int",
        ),
    ],
    ids=["refused flag", "failure of no kind that is foreseen"],
)
def test_any_failure_at_the_start_is_reported(flag: str, text: str, base: Path, tmp_path: Path) -> None:
    done = start(f"--model_base_path={base}", "--port=0", flag, cwd=tmp_path)
    assert done.communicate(timeout=LAST_RESORT) == ("", f"Failed to start server. Error: {text}\n")
    assert done.returncode == 255


@pytest.mark.slow
def test_sigterm_ends_it_while_handlers_wait_and_run(base: Path, tmp_path: Path) -> None:
    """A reload that waits for a model that never comes, and a request without a deadline that would run for hours."""
    empty = tmp_path / "empty"
    empty.mkdir()
    roots = f"--model_roots={base.parent}:{tmp_path}"
    arguments = [
        "--model_name=bcl",
        f"--model_base_path={base}",
        roots,
        "--port=0",
        "--allow_reload",
        "--drain_seconds=1",
    ]
    process = start(*arguments, cwd=tmp_path)
    assert process.stdout is not None and process.stderr is not None
    port = process.stdout.readline().strip().rsplit(":", 1)[1]
    request = model_management_pb2.ReloadConfigRequest()
    for name, path in (("bcl", base), ("empty", empty)):
        request.config.model_config_list.config.add(name=name, base_path=str(path), model_platform="tensorflow")
    predict = protos.PredictRequest()
    predict.model_spec.name, predict.model_spec.signature_name = "bcl", "slow"
    to_proto(np.array([2 * 10**9], np.int32), predict.inputs["rounds"])
    try:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            reload = channel.unary_unary("/tensorflow.serving.ModelService/HandleReloadConfigRequest")
            run = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
            running = run.future(predict.SerializeToString())
            waiting = reload.future(request.SerializeToString())
            assert "No versions of servable empty found" in process.stderr.readline()
            # Processor time shows that the request runs and was not only received.
            server, before = psutil.Process(process.pid), psutil.Process(process.pid).cpu_times().user
            assert eventually(lambda: server.cpu_times().user > before + 0.5)
            process.send_signal(signal.SIGTERM)
            with pytest.raises(grpc.RpcError) as caught:
                waiting.result(timeout=LAST_RESORT)
            assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
            assert caught.value.details() == "the server is shutting down"
            output, errors = process.communicate(timeout=LAST_RESORT)
            assert (process.returncode, output, errors) == (0, "", "")
            assert isinstance(running.exception(timeout=LAST_RESORT), grpc.RpcError)
    finally:
        process.kill()
