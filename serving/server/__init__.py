"""Embedded server: TensorFlow Serving's gRPC and REST interfaces on TensorFlow's own session.

Imports: protocol, savedmodel.
Imported by: refresh, tfx_pipeline.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from serving.protocol.errors import RequestError
from serving.server.flags import ServerFlags

if TYPE_CHECKING:
    from serving.server.embedded import EmbeddedServer

__all__ = ["EmbeddedServer", "RequestError", "ServerFlags"]


def __getattr__(name: str) -> Any:
    # The command line must say where TensorFlow's messages go before TensorFlow is imported.
    if name == "EmbeddedServer":
        from serving.server.embedded import EmbeddedServer

        return EmbeddedServer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
