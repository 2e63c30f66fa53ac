"""serving/config/nginx.conf, run by nginx before a server: TLS, limits, logs, and errors that tell nothing."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
import small_model
from certificates import write_certificates
from tensorflow_serving.apis import model_management_pb2, model_service_pb2_grpc

from serving.client import TLS, Backoff, Client, ServingError
from serving.server import EmbeddedServer
from serving.server.flags import ServerFlags
from tests.waiting import LAST_RESORT, eventually, reserved_port

CONF = Path(__file__).parents[2] / "serving" / "config" / "nginx.conf"
NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
ONCE = Backoff(attempts=1)
BODY = b'{"signature_name": "match", "instances": [{"attribute_genre": "jazz", "k": 2}]}'
needs_nginx = pytest.mark.skipif(NGINX is None, reason="nginx is not installed (Debian: nginx-light)")


@dataclass
class Proxy:
    """A running nginx: its port, its folder, its certificates."""

    port: int
    folder: Path
    certificates: Path

    def ask(
        self, path: str, body: bytes | None = None, headers: dict[str, str] | None = None, *, known: bool = False
    ) -> tuple[int, bytes, dict[str, str]]:
        """Returns status, body and headers of a reply over TLS; `known` sends the client's certificate."""
        context = ssl.create_default_context(cafile=str(self.certificates / "ca.pem"))
        if known:
            context.load_cert_chain(self.certificates / "client.pem", self.certificates / "client.key")
        connection = http.client.HTTPSConnection("localhost", self.port, context=context, timeout=LAST_RESORT)
        try:
            connection.request("GET" if body is None else "POST", path, body, headers or {})
            reply = connection.getresponse()
            return reply.status, reply.read(), dict(reply.headers)
        finally:
            connection.close()

    def log(self) -> list[dict[str, Any]]:
        """Returns the lines of the access log."""
        return [json.loads(line) for line in (self.folder / "songs.log").read_text().splitlines()]


def adapted(folder: Path, certificates: Path, port: int, rest: int, remote: int, changes: dict[str, str]) -> str:
    """The file as it is shipped, but for ports, paths and what a test asks for."""
    text = CONF.read_text()
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = "".join(f"  {kind}_temp_path {folder}/{kind};\n" for kind in kinds)
    replaced = {
        # Other users cannot read a test's folders. Without root the line means nothing, and nginx warns of it.
        "user www-data;\n": "" if os.getuid() else "user root;\n",
        "worker_processes auto;": "worker_processes 1;",
        "/run/nginx.pid": f"{folder}/nginx.pid",
        "/var/log/nginx/error.log": f"{folder}/error.log",
        "/var/log/nginx/songs.log": f"{folder}/songs.log",
        "listen 443 ": f"listen 127.0.0.1:{port} ",
        "songs.example.org": "localhost",
        "/etc/ssl/songs.pem": f"{certificates}/server.pem",
        "/etc/ssl/songs.key": f"{certificates}/server.key",
        "/etc/ssl/songs-clients.pem": f"{certificates}/ca.pem",
        "127.0.0.1:8501": f"127.0.0.1:{rest}",
        "127.0.0.1:8500;": f"127.0.0.1:{remote};",
        "http {\n": f"http {{\n{temporary}",
        **changes,
    }
    for old, new in replaced.items():
        assert old in text, old
        text = text.replace(old, new)
    return text


@contextmanager
def proxy(folder: Path, rest: int, remote: int, changes: dict[str, str] | None = None) -> Iterator[Proxy]:
    assert NGINX is not None
    folder.mkdir(exist_ok=True)
    certificates = write_certificates(folder)
    with reserved_port() as port:
        file = folder / "nginx.conf"
        file.write_text(adapted(folder, certificates, port, rest, remote, changes or {}))
        process = subprocess.Popen([NGINX, "-p", str(folder), "-c", str(file), "-g", "daemon off;"])
        try:
            assert eventually(lambda: process.poll() is not None or answers(port))
            assert process.poll() is None, (folder / "error.log").read_text()
            yield Proxy(port, folder, certificates)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(LAST_RESORT)


def answers(port: int) -> bool:
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module")
def server(saved_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    folder = tmp_path_factory.mktemp("behind")
    small_model.publish(saved_model, folder / "bcl", 1)
    with EmbeddedServer(
        port=0,
        rest_api_port=-1,
        model_name="bcl",
        model_base_path=str(folder / "bcl"),
        enable_grpc_healthcheck_service=True,
        allow_reload=True,
        access_log_file=str(folder / "access.jsonl"),
    ) as running:
        yield running


@pytest.fixture(scope="module")
def before(server: EmbeddedServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    with proxy(tmp_path_factory.mktemp("nginx"), server.rest_port, server.port) as running:
        yield running


def test_its_limits_are_those_of_the_server() -> None:
    flags, text = ServerFlags(model_base_path="/m"), CONF.read_text()
    assert flags.rest_api_max_body_bytes == flags.grpc_max_message_bytes == 16 * 2**20
    assert re.search(r"client_max_body_size +16m;", text)
    assert re.search(rf"client_header_timeout {flags.rest_api_header_seconds:g}s;", text)
    # The server's own time-out comes first, and its message says why.
    timeouts = re.findall(r"(?:proxy|grpc)_read_timeout +(\d+)s;", text)
    assert [int(seconds) > flags.rest_api_timeout_in_ms / 1000 for seconds in timeouts] == [True, True]


@needs_nginx
def test_rest_and_grpc_pass_through_tls(before: Proxy, server: EmbeddedServer) -> None:
    status, text, headers = before.ask("/v1/models/bcl:predict", BODY, {"Content-Type": "application/json"})
    assert status == 200 and len(json.loads(text)["predictions"][0]["song_ids"]) == 2
    assert "nginx/" not in headers["Server"]
    assert before.ask("/v1/health/ready")[:2] == (200, b'{"status": "ready"}')
    with Client(f"localhost:{before.port}", tls=TLS(ca=str(before.certificates / "ca.pem"))) as client:
        ids, scores = client.match([{"attribute_genre": "jazz"}], k=2)
        assert [status.version for status in client.status()] == [1]
        with pytest.raises(ServingError, match=r"INVALID_ARGUMENT: .*indices"):
            client.predict({"rows": [99]}, "gather")
    assert ids.tolist() == [json.loads(text)["predictions"][0]["song_ids"]] and scores.shape == (1, 2)


@needs_nginx
def test_strangers_can_neither_reload_nor_see_metrics(before: Proxy) -> None:
    with pytest.raises(ssl.SSLError), socket.create_connection(("localhost", before.port)) as plain:
        ssl.create_default_context().wrap_socket(plain, server_hostname="localhost")  # knows not the authority
    for path in ("/monitoring/prometheus/metrics", "/", "/v1/health/live", "/etc/passwd"):
        status, text, _ = before.ask(path)
        assert (status, json.loads(text)) == (404, {"error": "no such path"})
    credentials = grpc.ssl_channel_credentials((before.certificates / "ca.pem").read_bytes())
    with grpc.secure_channel(f"localhost:{before.port}", credentials) as channel:
        reload = model_service_pb2_grpc.ModelServiceStub(channel).HandleReloadConfigRequest
        with pytest.raises(grpc.RpcError) as caught:
            reload(model_management_pb2.ReloadConfigRequest(), timeout=LAST_RESORT)
    assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED


@needs_nginx
def test_a_request_id_is_in_every_log_and_in_the_reply(before: Proxy, server: EmbeddedServer) -> None:
    ids: dict[str | None, str] = {}
    for given in ("of-the-client.1", "not fit", None):
        headers: dict[str, str] = {} if given is None else {"X-Request-Id": given}
        status, _, reply = before.ask("/v1/models/bcl:predict", BODY, headers)
        assert status == 200
        ids[given] = reply["X-Request-Id"]
    assert ids["of-the-client.1"] == "of-the-client.1"
    assert re.fullmatch("[0-9a-f]{32}", ids["not fit"]) and re.fullmatch("[0-9a-f]{32}", ids[None])
    logged = eventually(lambda: (found := before.log()) and found[-1]["request_id"] == ids[None] and found)
    own = [json.loads(line) for line in Path(server.flags.access_log_file).read_text().splitlines()]
    for lines in (logged, own):
        assert [line["request_id"] for line in lines[-3:]] == list(ids.values())
    assert (logged[-1]["call"], logged[-1]["status"]) == ("POST /v1/models/bcl:predict", 200)


@needs_nginx
def test_a_large_body_is_refused_before_the_server_sees_it(before: Proxy, server: EmbeddedServer) -> None:
    status, text, _ = before.ask("/v1/models/bcl:predict", bytes(16 * 2**20 + 1))
    assert (status, json.loads(text)) == (413, {"error": "expected a body of at most 16 MiB"})
    calls = Path(server.flags.access_log_file).read_text()
    assert '"status": "413"' not in calls


@needs_nginx
def test_a_body_and_a_reply_that_nginx_keeps_on_the_disk_pass(before: Proxy) -> None:
    songs = [{"attribute_tags": ["ü" * 1000], "audio_tempo": float(number)} for number in range(500)]
    body = json.dumps({"signature_name": "embed", "instances": songs}, ensure_ascii=False).encode()
    assert len(body) > 10**6
    status, text, _ = before.ask("/v1/models/bcl:predict", body)
    assert status == 200
    assert [row[1:3] for row in json.loads(text)["predictions"]] == [[1.0, float(number)] for number in range(500)]


@needs_nginx
def test_a_client_that_asks_too_fast_is_told_so(server: EmbeddedServer, tmp_path: Path) -> None:
    slower = {"rate=20r/s": "rate=1r/m", "burst=40": "burst=4"}
    with proxy(tmp_path / "nginx", server.rest_port, server.port, slower) as slow, ThreadPoolExecutor(4) as pool:
        replies = list(pool.map(lambda _: slow.ask("/v1/models/bcl"), range(20)))
    statuses = [status for status, _, _ in replies]
    assert 5 <= statuses.count(200) < 20 and set(statuses) == {200, 429}  # a sixth after a minute
    assert {text for status, text, _ in replies if status == 429} == {
        b'{"error": "too many requests of this client, try again later"}'
    }


@needs_nginx
def test_a_server_that_is_down_tells_no_path(tmp_path: Path) -> None:
    with ExitStack() as ports:
        rest, remote = (ports.enter_context(reserved_port()) for _ in range(2))
        with proxy(tmp_path / "nginx", rest, remote) as alone:
            for path in ("/v1/models/bcl", "/v1/health/ready"):
                status, text, headers = alone.ask(path)
                assert status == 503 and headers["Content-Type"] == "application/json"
                assert json.loads(text) == {"error": "the model server does not answer, try again later"}
            tls = TLS(ca=str(alone.certificates / "ca.pem"))
            client = Client(f"localhost:{alone.port}", tls=tls, backoff=ONCE)
            with client, pytest.raises(ServingError, match="UNAVAILABLE") as caught:
                client.status()
    assert str(tmp_path) not in str(caught.value) and str(remote) not in str(caught.value)


@needs_nginx
def test_clients_need_certificates_where_two_lines_are_uncommented(server: EmbeddedServer, tmp_path: Path) -> None:
    lines = {f"# ssl_{name}": f"ssl_{name}" for name in ("client_certificate", "verify_client")}
    with proxy(tmp_path / "nginx", server.rest_port, server.port, lines) as strict:
        assert strict.ask("/v1/models/bcl")[0] == 400
        assert strict.ask("/v1/models/bcl", known=True)[0] == 200
        known = TLS(*(str(strict.certificates / name) for name in ("ca.pem", "client.pem", "client.key")))
        with Client(f"localhost:{strict.port}", tls=known) as client:
            assert client.embed({}).shape == (1, 4)


@needs_nginx
def test_nginx_takes_the_file_without_a_warning(tmp_path: Path) -> None:
    assert NGINX is not None
    write_certificates(tmp_path)
    file = tmp_path / "nginx.conf"
    file.write_text(adapted(tmp_path, tmp_path, 443, 8501, 8500, {}))
    command = [NGINX, "-t", "-p", str(tmp_path), "-c", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "LC_ALL": "C"})
    assert done.returncode == 0, done.stderr
    version = subprocess.run([NGINX, "-v"], capture_output=True, text=True, check=False).stderr
    numbers = tuple(map(int, re.findall(r"nginx/(\d+)\.(\d+)\.(\d+)", version)[0]))
    assert numbers >= (1, 25, 1) or "[warn]" not in done.stderr  # later ones prefer `http2 on`
