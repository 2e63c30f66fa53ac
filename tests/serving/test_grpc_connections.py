"""Connections to the gRPC port: how many there may be, and who survives strangers that hold them."""

from __future__ import annotations

import resource
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import grpc
import pytest
import small_model

from serving.client import Client
from serving.server.file_descriptors import connections_within
from tests.waiting import LAST_RESORT, eventually

DESCRIPTORS = 256
# Both limits: the server raises its own one as far as it may.
START = """
import resource, runpy, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (%d, %d))
sys.argv[0] = "serving.server"
runpy.run_module("serving.server", run_name="__main__", alter_sys=True)
"""


@contextmanager
def serve(base: Path, *flags: str) -> Iterator[tuple[int, int]]:
    """Gives the ports of a server process that has few file descriptors."""
    code = START % (DESCRIPTORS // 2, DESCRIPTORS)
    ports = ["--port=0", "--rest_api_port=-1", "--model_name=bcl", f"--model_base_path={base}"]
    process = subprocess.Popen([sys.executable, "-c", code, *ports, *flags], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        grpc_port, rest_port = (int(part.split(",")[0]) for part in line.split("127.0.0.1:")[1:])
        yield grpc_port, rest_port
    finally:
        process.kill()
        process.communicate()


def read(port: int, path: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=LAST_RESORT) as page:
        return str(page.read(), "utf-8")


def descriptors(port: int) -> dict[str, float]:
    page = read(port, "/monitoring/prometheus/metrics").splitlines()
    return {line.split("{")[0]: float(line.rsplit(" ", 1)[1]) for line in page if line.startswith("process_")}


def silent(port: int, stack: ExitStack) -> socket.socket:
    """Returns a connection that never sends a byte."""
    client = stack.enter_context(socket.create_connection(("127.0.0.1", port), LAST_RESORT))
    client.setblocking(False)
    return client


def is_closed(client: socket.socket) -> bool:
    try:
        return client.recv(1024) == b""
    except BlockingIOError:
        return False
    except ConnectionError:
        return True


def test_2000_silent_connections_take_no_descriptors_from_the_others(saved_model: Path, tmp_path: Path) -> None:
    base = tmp_path / "bcl"
    small_model.publish(saved_model, base, 1)
    monitoring = tmp_path / "monitoring.config"
    monitoring.write_text("prometheus_config { enable: true }")
    flags = ("--file_system_poll_wait_seconds=0.05", f"--monitoring_config_file={monitoring}")
    with serve(base, *flags) as (port, rest_port), ExitStack() as stack, Client(f"127.0.0.1:{port}") as client:
        assert client.embed({}).shape == (1, 4)
        before = descriptors(rest_port)
        assert before["process_max_fds"] == DESCRIPTORS
        held = [silent(port, stack) for _ in range(2000)]
        # A quarter of the descriptors, the good client's connection included.
        assert eventually(lambda: sum(map(is_closed, held)) >= 2000 - DESCRIPTORS // 4 + 1)
        assert descriptors(rest_port)["process_open_fds"] <= before["process_open_fds"] + DESCRIPTORS // 4
        # The look for versions, REST and the clients that are connected go on.
        small_model.publish(saved_model, base, 2)
        assert eventually(lambda: [status.state for status in client.status()] == ["AVAILABLE", "END"])
        assert '"state": "AVAILABLE"' in read(rest_port, "/v1/models/bcl")
        # Silent connections are closed after the handshake's 10 seconds. Then others find a place.
        assert eventually(lambda: answers(port))


def answers(port: int) -> bool:
    """Returns whether a new connection gets an answer."""
    with grpc.insecure_channel(f"127.0.0.1:{port}", options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
        try:
            channel.unary_unary("/tensorflow.serving.ModelService/GetModelStatus")(b"", timeout=5)
        except grpc.RpcError as error:
            return bool(error.code() == grpc.StatusCode.INVALID_ARGUMENT)
        return False


@pytest.mark.parametrize(("soft", "most"), [(1024, 256), (8192, 512), (3, 1), (None, 512)])
def test_connections_are_a_share_of_the_descriptors(
    soft: int | None, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = resource.RLIM_INFINITY if soft is None else soft
    monkeypatch.setattr(resource, "getrlimit", lambda _: (limit, limit))
    assert connections_within(512, 0.25) == most


def test_the_limit_is_raised_as_far_as_it_may() -> None:
    code = "import resource\nfrom serving.server.file_descriptors import raise_limit\n{}\nprint(raise_limit())"
    for limits, expected in (("(100, 300)", "300"), ("(300, 300)", "300")):
        command = code.format(f"resource.setrlimit(resource.RLIMIT_NOFILE, {limits})")
        done = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == expected
