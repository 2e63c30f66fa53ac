"""Whether ports are free, before the minute that a model may take to load."""

from __future__ import annotations

import os
import socket

from serving.protocol.errors import unavailable
from serving.server.flags import ServerFlags, address


def check_ports(flags: ServerFlags) -> None:
    """Checks that the server will be able to listen.

    Raises:
        RequestError: UNAVAILABLE, if a port is taken, or the host is no address of this machine.
    """
    for port in (flags.port, flags.rest_api_port):
        if port > 0:
            _check_port(flags.host.strip("[]"), port)
    if flags.grpc_socket_path:
        _check_folder(flags.grpc_socket_path)


def _check_port(host: str, port: int) -> None:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, kind, protocol, _, where in found:
            with socket.socket(family, kind, protocol) as probe:
                # As the servers do. Connections of a server that has ended do not keep the port.
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                probe.bind(where)
    except OSError as error:
        raise unavailable(f"cannot listen on {address(host, port)}: {error}") from error


def _check_folder(path: str) -> None:
    folder = os.path.dirname(path) or "."
    if not os.path.isdir(folder):
        raise unavailable(f"cannot listen on unix:{path}: {folder} is no folder")
