"""What both clients are made of: settings, a channel, and a stub per method."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, ClassVar

from serving.client.calls import METHODS
from serving.client.channel import (
    DEFAULT_MAX_MESSAGE_BYTES,
    DEFAULT_MAX_ROWS,
    TLS,
    bearer_metadata,
    channel_options,
    check_target,
)
from serving.client.operations import Operations
from serving.client.retry import Backoff


def document(method: Callable[..., Any], operation: Callable[..., Any]) -> None:
    """Gives a client's method the name, docstring and signature of its operation; `Steps[T]` becomes T."""
    functools.update_wrapper(method, operation)
    signature = inspect.signature(operation)
    returned = str(signature.return_annotation).removeprefix("Steps[").removesuffix("]")
    method.__signature__ = signature.replace(return_annotation=returned)  # type: ignore[attr-defined]


class Connection:
    """A channel to a server, for one model.

    Args:
        target: `host:port` or `unix:/path`.
        model_name: Default "bcl".
        version: Number of the version that answers; default the latest.
        version_label: Label of the version that answers; default the latest version.
        timeout: Seconds for a whole operation, its retries and all parts of a split batch; default 10, None = no limit.
        tls: Certificates; None = plain text.
        token: Bearer token, for a server that asks for one; None sends none. In plain text anyone on the way reads it.
        backoff: Retries on UNAVAILABLE, and on nothing else.
        max_message_bytes: Larger batches are sent in several messages; default 4 MiB.
        max_rows: So are batches of more rows, where every output has a row per row; default 256, as many as
            serving/config/batching.config lets a message have. None = no limit, for a server without batching.
    """

    #: `grpc` or `grpc.aio`.
    _library: ClassVar[Any]

    def __init__(
        self,
        target: str,
        *,
        model_name: str = "bcl",
        version: int | None = None,
        version_label: str | None = None,
        timeout: float | None = 10.0,
        tls: TLS | None = None,
        token: str | None = None,
        backoff: Backoff | None = None,
        max_message_bytes: int = DEFAULT_MAX_MESSAGE_BYTES,
        max_rows: int | None = DEFAULT_MAX_ROWS,
    ) -> None:
        self.target = check_target(target)
        self._operations = Operations(
            model_name,
            target=target,
            version=version,
            version_label=version_label,
            timeout=timeout,
            max_message_bytes=max_message_bytes,
            max_rows=max_rows,
        )
        #: What every call sends beside its request.
        self._metadata = bearer_metadata(token)
        options = channel_options(max_message_bytes, backoff or Backoff())
        if tls is None:
            self._channel = self._library.insecure_channel(target, options)
        else:
            self._channel = self._library.secure_channel(target, tls.credentials(), options)
        self._stubs = {
            method: self._channel.unary_unary(
                method.path,
                request_serializer=lambda request: request.SerializeToString(),
                response_deserializer=method.reply.FromString,
            )
            for method in METHODS
        }
