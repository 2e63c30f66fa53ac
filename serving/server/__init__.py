"""The embedded server: TensorFlow Serving's gRPC and REST interfaces on TensorFlow's own session.

`grpc` and `rest` take requests, `inference` answers them, `models` loads versions, `batching` joins requests.

Imports: files, protocol, savedmodel.
Imported by: refresh, request_log, tfx_pipeline.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from serving.protocol.errors import RequestError
from serving.server.flags import ServerFlags

if TYPE_CHECKING:
    from serving.server.embedded import EmbeddedServer

__all__ = ["EmbeddedServer", "RequestError", "ServerFlags"]


def __getattr__(name: str) -> Any:
    # Late: the command line sets where TensorFlow's messages go before TensorFlow is imported.
    if name == "EmbeddedServer":
        from serving.server.embedded import EmbeddedServer

        return EmbeddedServer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
