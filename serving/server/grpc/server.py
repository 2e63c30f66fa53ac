"""The gRPC server: ports, certificates, limits, services."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc

from serving.protocol.errors import unavailable
from serving.server.config_files import server_credentials
from serving.server.file_descriptors import connections_within
from serving.server.flags import ServerFlags, address
from serving.server.grpc.health import Health
from serving.server.grpc.messages import MessageInterceptor
from serving.server.grpc.reflection import Reflection
from serving.server.grpc.services import Services
from serving.server.inference.context import RunContext
from serving.server.limits import Bounds
from serving.server.metrics import Metrics
from serving.server.models.core import ServerCore
from serving.server.models.readiness import ReadinessWatch
from serving.server.models.reload import Reloads

_GRACE_SECONDS = 5.0
_HANDSHAKE_MS = 10_000
# REST has half of the file descriptors, gRPC a quarter. The rest is for models, logs and the look for versions.
_SHARE_OF_DESCRIPTORS = 0.25
# A client that is gone without a word, such as one whose cable was cut, is noticed after these.
_KEEPALIVE_MS, _KEEPALIVE_TIMEOUT_MS = 120_000, 20_000

_NEVER_MS = 2**31 - 1
_MAX_PENDING = 20_000
_NO_COMPRESSION = 1


class GrpcServer:
    """Listens on a TCP port and, where asked to, on a Unix socket.

    Args:
        flags: The settings.
        core: The models.
        settings: How requests are run.
        metrics: Where they are counted.
        bounds: What a request may cost.
        interceptors: What every call passes, the outermost first.
    """

    def __init__(
        self,
        flags: ServerFlags,
        core: ServerCore,
        settings: RunContext,
        metrics: Metrics,
        bounds: Bounds,
        interceptors: Sequence[grpc.ServerInterceptor] = (),
    ) -> None:
        self._flags = flags
        self._credentials = server_credentials(flags.ssl_config_file)
        # Most threads only wait for messages. The interceptor lets --grpc_max_threads of them run.
        self._messages = MessageInterceptor(flags)
        self._pool = ThreadPoolExecutor(flags.grpc_max_concurrent_requests, thread_name_prefix="serving-grpc")
        self._server = grpc.server(
            self._pool,
            options=_arguments(flags),
            maximum_concurrent_rpcs=flags.grpc_max_concurrent_requests,
            interceptors=(self._messages, *interceptors),
        )
        self._ended: threading.Event | None = None
        reloads = Reloads(core, metrics, is_allowed=flags.allow_reload)
        self._services = Services(core, settings, metrics, bounds, reloads)
        self._server.add_generic_rpc_handlers(self._services.handlers())
        self._health = Health() if flags.enable_grpc_healthcheck_service else None
        if self._health is not None:
            self._server.add_generic_rpc_handlers((self._health.handler(),))
            self._watch = ReadinessWatch(core, self._health.tell_models)
        if flags.enable_grpc_reflection:
            self._server.add_generic_rpc_handlers(Reflection(health=self._health is not None).handlers())

    def start(self) -> int:
        """Listens; returns the TCP port.

        Raises:
            RequestError: UNAVAILABLE, if the port or the socket cannot be opened.
        """
        port = self._listen(address(self._flags.host, self._flags.port))
        if self._flags.grpc_socket_path:
            self._listen(f"unix:{self._flags.grpc_socket_path}")
        if self._health is not None:
            self._watch.start()
        self._server.start()
        return port

    def begin_drain(self) -> None:
        """Tells those who ask for health that the server is about to end. Requests are still answered."""
        if self._health is not None:
            self._health.begin_drain()

    def begin_stop(self) -> None:
        """Takes no more requests; those that run have a few seconds to end."""
        if self._ended is None:
            self._ended = self._server.stop(_GRACE_SECONDS)

    def stop(self) -> None:
        """Waits until the requests have ended or their time is over. Threads that still run are left behind."""
        self.begin_stop()
        assert self._ended is not None
        self._ended.wait()
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._services.stop()
        self._messages.stop()

    def _listen(self, where: str) -> int:
        try:
            if self._credentials is None:
                return int(self._server.add_insecure_port(where))
            return int(self._server.add_secure_port(where, self._credentials))
        except RuntimeError as error:
            raise unavailable(f"cannot listen on {where}: {error}") from error


def _arguments(flags: ServerFlags) -> list[tuple[str, Any]]:
    arguments: list[tuple[str, Any]] = [
        ("grpc.max_receive_message_length", flags.grpc_max_message_bytes),
        # Bounded by the rows of a request. Clients have a limit of their own.
        ("grpc.max_send_message_length", -1),
        # A connection without a whole handshake holds a file descriptor.
        ("grpc.server_handshake_timeout_ms", _HANDSHAKE_MS),
        ("grpc.keepalive_time_ms", _KEEPALIVE_MS),
        ("grpc.keepalive_timeout_ms", _KEEPALIVE_TIMEOUT_MS),
        # A client that is still there connects again when it next has a request.
        ("grpc.max_connection_idle_ms", flags.grpc_max_connection_idle_ms or _NEVER_MS),
        ("grpc.max_concurrent_streams", flags.grpc_max_concurrent_streams),
        # Beyond these gRPC refuses calls by chance, which thousands of calls that are cancelled at once would cause.
        ("grpc.server.max_pending_requests", _MAX_PENDING),
        ("grpc.server.max_pending_requests_hard_limit", 2 * _MAX_PENDING),
        # A packed message of 16 MB is gigabytes, and gRPC looks at its size before it unpacks it.
        ("grpc.compression_enabled_algorithms_bitset", _NO_COMPRESSION),
        # Without this, two servers on one port would share its requests. The second must fail.
        ("grpc.so_reuseport", int(flags.workers > 1)),
    ]
    if flags.grpc_max_connections:
        most = connections_within(flags.grpc_max_connections, _SHARE_OF_DESCRIPTORS)
        # Counted from the first byte on. One connection too many is closed at once.
        arguments.append(("grpc.max_allowed_incoming_connections", most))
    for pair in filter(None, flags.grpc_channel_arguments.split(",")):
        key, _, value = pair.partition("=")
        arguments.append((key, int(value) if value.lstrip("-").isdigit() else value))
    return arguments
