"""The ports that workers share."""

from __future__ import annotations

import socket
import sys
from contextlib import ExitStack

from serving.protocol.errors import failed_precondition, unavailable
from serving.server.flags import ServerFlags, address


class SharedPorts:
    """Holds the ports of all workers for as long as their parent runs, so that nobody else takes them meanwhile.

    The sockets here are bound and do not listen: the system gives every connection to one of the workers.

    Args:
        flags: The settings; for a port that the system chooses it chooses now.

    Attributes:
        port: Of gRPC.
        rest_port: Of REST; 0 = no REST.

    Raises:
        RequestError: FAILED_PRECONDITION, if the system has no SO_REUSEPORT. UNAVAILABLE, if a port is taken.
    """

    def __init__(self, flags: ServerFlags) -> None:
        if not hasattr(socket, "SO_REUSEPORT"):
            raise failed_precondition(
                f"--workers: expected a system with SO_REUSEPORT, such as Linux. Received: {sys.platform}"
            )
        if flags.port == flags.rest_api_port > 0:
            # Workers may listen on the same port, so the system would not object.
            raise unavailable(f"cannot listen on {address(flags.host, flags.port)} for both gRPC and REST")
        self._held = ExitStack()
        try:
            self.port = self._hold(flags.host, flags.port)
            self.rest_port = self._hold(flags.host, max(0, flags.rest_api_port)) if flags.rest_api_port else 0
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Lets the ports go."""
        self._held.close()

    def _hold(self, host: str, port: int) -> int:
        """Binds a port on every address of a host; returns its number."""
        try:
            found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
            for family, kind, protocol, _, where in found:
                holder = self._held.enter_context(socket.socket(family, kind, protocol))
                holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                if family == socket.AF_INET6:
                    holder.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                holder.bind((where[0], port, *where[2:]))
                # It was needed beside connections of a server that has ended. Now a second server must fail.
                holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
                port = int(holder.getsockname()[1])
        except OSError as error:
            raise unavailable(f"cannot listen on {address(host, port)}: {error}") from error
        return port
