"""Several processes on the same ports, their parent, and their page of metrics."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest
import small_model

from serving.protocol.errors import RequestError
from serving.server import EmbeddedServer, ServerFlags
from serving.server.flags import parse_flags
from serving.server.metrics import Metrics
from serving.server.ports import check_ports
from serving.server.workers.metrics_page import MetricsPage, merged
from serving.server.workers.parent import with_shared_cores
from serving.server.workers.place import Place
from serving.server.workers.ports import SharedPorts
from serving.server.workers.process import command
from tests.waiting import LAST_RESORT, eventually

PAGE = "/monitoring/prometheus/metrics"


# ---- Flags.


@pytest.mark.parametrize(
    ("setting", "text"),
    [
        (
            {"allow_reload": True},
            r"`allow_reload` needs `workers` to be 1: a reload would reach one of them. Received: 2",
        ),
        ({"grpc_socket_path": "/s"}, r"`grpc_socket_path` needs `workers` to be 1"),
        ({"workers": 0}, r"`workers` must be 1 or more. Received: 0"),
    ],
)
def test_what_workers_cannot_do_ends_the_start(setting: dict[str, Any], text: str) -> None:
    with pytest.raises(RequestError, match=text):
        ServerFlags(**{"model_base_path": "/m", "workers": 2, **setting})


def test_a_server_in_this_process_has_no_workers() -> None:
    with pytest.raises(RequestError, match="`workers` must be 1 for a server in this process"):
        EmbeddedServer(model_base_path="/m", workers=2)


def test_the_command_line_of_a_worker_gives_the_same_settings() -> None:
    flags = parse_flags(
        ["--model_base_path=/a b/ü", "--workers=3", "--enable_batching", "--slow_request_ms=0.1", "--auth_free="]
    )
    assert parse_flags(command(flags)[3:]) == flags


# ---- Ports.


def test_the_parent_holds_its_ports_against_others_but_not_against_workers() -> None:
    flags = ServerFlags(model_base_path="/m", port=0, rest_api_port=-1, workers=2)
    with closing(SharedPorts(flags)) as ports:
        assert ports.port > 0 and ports.rest_port > 0 and ports.port != ports.rest_port
        others: tuple[dict[str, Any], ...] = ({"port": ports.port}, {"port": 0, "rest_api_port": ports.rest_port})
        for other in others:
            with pytest.raises(RequestError, match="Address already in use"):
                check_ports(ServerFlags(model_base_path="/m", **other))
        workers = []
        for _ in range(2):
            worker = socket.socket()
            worker.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            worker.bind(("127.0.0.1", ports.port))
            worker.listen()
            workers.append(worker)
        # Nobody is sent to the parent, which does not listen.
        for _ in range(20):
            socket.create_connection(("127.0.0.1", ports.port), LAST_RESORT).close()
        for worker in workers:
            worker.close()
    check_ports(ServerFlags(model_base_path="/m", port=ports.port))


def test_grpc_and_rest_cannot_share_a_port() -> None:
    with pytest.raises(RequestError, match=r"cannot listen on 127.0.0.1:7777 for both gRPC and REST"):
        SharedPorts(ServerFlags(model_base_path="/m", port=7777, rest_api_port=7777, workers=2))


def test_no_rest_port_is_held_where_there_is_no_rest() -> None:
    with closing(SharedPorts(ServerFlags(model_base_path="/m", port=0, workers=2))) as ports:
        assert ports.rest_port == 0


def test_a_system_that_cannot_share_ports_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(socket, "SO_REUSEPORT")
    with pytest.raises(
        RequestError, match=r"--workers: expected a system with SO_REUSEPORT.*Received: " + sys.platform
    ):
        SharedPorts(ServerFlags(model_base_path="/m", port=0, workers=2))


# ---- Metrics.


def test_pages_are_merged_by_metric() -> None:
    one = '# TYPE a counter\na{x="1"} 2\n# TYPE b gauge\nb{} 3.5\n'
    two = '# TYPE a counter\na{x="1"} 4\na{x="{"} 1\n'
    assert merged({1: two, 0: one}) == (
        '# TYPE a counter\na{worker="0",x="1"} 2\na{worker="1",x="1"} 4\na{worker="1",x="{"} 1\n'
        '# TYPE b gauge\nb{worker="0"} 3.5\n'
    )


def test_each_worker_shows_the_metrics_of_all(tmp_path: Path) -> None:
    pages = []
    for number in range(2):
        metrics = Metrics()
        metrics.requests.labels("ü/{}", "OK").inc(number + 1)
        pages.append(MetricsPage(Place(number, str(tmp_path), -1), metrics.render))
        pages[-1].start()
    (tmp_path / "2.sock").touch()  # of a worker that died
    for page in pages:
        lines = [line for line in page.render().splitlines() if line.startswith(":tensorflow:serving:request_count{")]
        assert lines == [
            ':tensorflow:serving:request_count{worker="0",model_name="ü/{}",status="OK"} 1',
            ':tensorflow:serving:request_count{worker="1",model_name="ü/{}",status="OK"} 2',
        ]
    pages[0].stop()
    assert 'worker="0"' not in pages[1].render()
    pages[1].stop()


# ---- Processes.


@pytest.mark.slow
def test_workers_that_cannot_start_end_with_one_message(tmp_path: Path) -> None:
    config = tmp_path / "models.config"
    config.write_text("no proto")
    arguments = ["--workers=2", "--port=0", f"--model_config_file={config}", "--num_load_threads=2"]
    done = subprocess.run(
        [sys.executable, "-m", "serving.server", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=LAST_RESORT,
    )
    foreign, failure = done.stderr.splitlines()
    assert foreign == "Flags of tensorflow_model_server that do nothing here: --num_load_threads"
    assert failure.startswith(f"Failed to start server. Error: INVALID_ARGUMENT: Invalid protobuf file: '{config}'")
    assert (done.returncode, done.stdout) == (255, "")


def test_a_worker_ends_with_its_parent() -> None:
    code = (
        "import signal\nfrom serving.server.workers.place import Place\n"
        "Place(0, '', -1).end_with_parent()\nprint('waits', flush=True)\nsignal.pause()"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as worker:
        assert worker.stdin is not None and worker.stdout is not None
        assert worker.stdout.readline() == b"waits\n"
        assert worker.poll() is None
        worker.stdin.close()
        assert worker.wait(LAST_RESORT) == -signal.SIGTERM


def get(port: int, path: str) -> tuple[int, str]:
    """Returns status and body over a connection of its own."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=LAST_RESORT) as reply:
            return reply.status, str(reply.read(), "utf-8")
    except urllib.error.HTTPError as error:
        return error.code, ""


def started(rest_port: int) -> dict[str, str]:
    """Returns when each worker's process started, by the workers' numbers; nothing where a worker dies meanwhile."""
    try:
        page = get(rest_port, PAGE)[1]
    except (ConnectionError, urllib.error.URLError, http.client.HTTPException):
        # The system had given the connection to a worker that was killed before it took it.
        return {}
    return dict(re.findall(r'process_start_time_seconds\{worker="(\d)"\} (\S+)', page))


def ask(port: int) -> Any:
    """Asks on a connection of its own, which the system gives to either worker."""
    with grpc.insecure_channel(f"127.0.0.1:{port}", options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
        return channel.unary_unary("/tensorflow.serving.ModelService/GetModelStatus")(b"\n\x05\n\x03bcl", timeout=600)


@pytest.mark.slow
def test_two_workers_share_the_ports_are_replaced_and_drain(saved_model: Path, tmp_path: Path) -> None:
    small_model.publish(saved_model, tmp_path / "bcl", 1)
    monitoring, errors, log = (tmp_path / name for name in ("monitoring.config", "errors.jsonl", "access.jsonl"))
    monitoring.write_text("prometheus_config { enable: true }")
    arguments = [
        *("--workers=2", "--port=0", "--rest_api_port=-1", "--model_name=bcl", f"--model_base_path={tmp_path / 'bcl'}"),
        *(f"--monitoring_config_file={monitoring}", f"--error_log_file={errors}", f"--access_log_file={log}"),
    ]
    process = subprocess.Popen(
        [sys.executable, "-m", "serving.server", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        found = re.fullmatch(
            r"Serving bcl version 1: gRPC on 127.0.0.1:(\d+), REST on 127.0.0.1:(\d+), 2 workers\n", line
        )
        assert found, line
        port, rest_port = map(int, found.groups())
        before = started(rest_port)
        assert sorted(before) == ["0", "1"]
        # With a fair coin, 60 connections leave one worker out once in 10**18 runs.
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda _: ask(port), range(60)))
        # A worker that dies is replaced, and the other one answers meanwhile.
        killed = _child(process.pid)
        os.kill(killed, signal.SIGKILL)
        assert eventually(lambda: len(set(started(rest_port).items()) | set(before.items())) == 3)
        assert eventually(lambda: sorted(started(rest_port)) == ["0", "1"])
        told = [json.loads(text)["message"] for text in errors.read_text().splitlines()]
        assert re.fullmatch(rf"worker \d \(process {killed}\) ended by SIGKILL; the next one starts in 1 s", told[0])
        process.send_signal(signal.SIGTERM)
        assert eventually(lambda: _drains(rest_port))
        out, err = process.communicate(timeout=LAST_RESORT)
        assert (process.returncode, out, err) == (0, "", "")
        assert len([json.loads(text) for text in log.read_text().splitlines()]) == 60
    finally:
        process.kill()


def _child(parent: int) -> int:
    return int(Path(f"/proc/{parent}/task/{parent}/children").read_text().split()[0])


def _drains(rest_port: int) -> bool:
    try:
        return get(rest_port, "/v1/health/ready")[0] == 503
    except OSError:
        return False


def test_workers_share_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    flags = ServerFlags(model_base_path="/models/bcl", workers=3)
    assert with_shared_cores(flags).tensorflow_session_parallelism == 2
    assert with_shared_cores(replace(flags, workers=20)).tensorflow_session_parallelism == 1
    given = replace(flags, tensorflow_intra_op_parallelism=5)
    assert with_shared_cores(given) == given
