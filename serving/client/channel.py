"""Where and how to connect: address, TLS, message limits, retries."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import grpc

from serving.client.retry import Backoff

# gRPC's default limit of a reply in Python. Requests stay below it, too: servers and proxies rarely allow less.
DEFAULT_MAX_MESSAGE_BYTES = 4 * 1024 * 1024
# `max_batch_size` of serving/config/batching.config: a batching server refuses a message with more rows.
DEFAULT_MAX_ROWS = 256
# Replies may be larger than estimated (long song ids), hence room above `max_message_bytes`.
_REPLY_ROOM = 16


@dataclass(frozen=True)
class TLS:
    """Files of an encrypted connection.

    Args:
        ca: PEM file of the authority that signed the server's certificate; None takes the system's authorities.
        cert: PEM file of the client's own certificate, for a server that verifies its clients.
        key: PEM file of the certificate's key. `cert` and `key` are given together or not at all.
    """

    ca: str | None = None
    cert: str | None = None
    key: str | None = None

    def __post_init__(self) -> None:
        if (self.cert is None) != (self.key is None):
            raise ValueError(f"`cert` and `key` must be given together. Received: cert={self.cert!r}, key={self.key!r}")

    def credentials(self) -> grpc.ChannelCredentials:
        """Reads the files; OSError where one cannot be read."""
        ca, key, cert = (None if path is None else Path(path).read_bytes() for path in (self.ca, self.key, self.cert))
        return grpc.ssl_channel_credentials(ca, key, cert)


def channel_options(max_message_bytes: int, backoff: Backoff) -> list[tuple[str, int | str]]:
    """Returns gRPC's options of a channel.

    Args:
        max_message_bytes: Where messages are split.
        backoff: When a call is sent again.
    """
    return [
        ("grpc.max_send_message_length", -1),
        ("grpc.max_receive_message_length", min(2**31 - 1, max_message_bytes * _REPLY_ROOM)),
        ("grpc.service_config", backoff.service_config()),
        # gRPC keeps a call's messages to send them again, up to 256 KiB by default. Larger ones would not be retried.
        ("grpc.per_rpc_retry_buffer_size", min(2**31 - 1, max_message_bytes * _REPLY_ROOM)),
        # The library waits up to two minutes between attempts to reconnect; a restarted server is back in seconds.
        ("grpc.max_reconnect_backoff_ms", 2000),
        ("grpc.initial_reconnect_backoff_ms", 200),
    ]


def bearer_metadata(token: str | None) -> tuple[tuple[str, str], ...]:
    """Returns gRPC metadata that carry a token; none for None. ValueError for a token that no header can carry."""
    if token is None:
        return ()
    if not token or not all("!" <= letter <= "~" for letter in token):
        raise ValueError("`token` must be visible ASCII characters without spaces. Received: another text")
    return (("authorization", f"Bearer {token}"),)


def check_target(target: str) -> str:
    """Accepts `host:port`, `unix:/path` and gRPC's other schemes; ValueError for a bare host or a URL of HTTP."""
    if "://" in target and target.split("://", 1)[0] in ("http", "https"):
        raise ValueError(f"`target` must be host:port or unix:/path, without http. Received: {target!r}")
    if ":" not in target:
        raise ValueError(f"`target` must be host:port or unix:/path. Received: {target!r}")
    return target
