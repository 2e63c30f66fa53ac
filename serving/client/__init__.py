"""Asks TensorFlow Serving or the embedded server. Needs numpy, protobuf and grpcio, but no TensorFlow.

Imports: protocol.
Imported by: smoke, tfx_pipeline.
"""

from serving.client.aio import AsyncClient
from serving.client.calls import ServingError
from serving.client.channel import TLS
from serving.client.known_fields import UnknownSongWarning
from serving.client.results import Explained, Likely, VersionStatus, is_song
from serving.client.retry import Backoff
from serving.client.signatures import Signature, TensorSpec
from serving.client.sync import Client

__all__ = [
    "TLS",
    "AsyncClient",
    "Backoff",
    "Client",
    "Explained",
    "Likely",
    "ServingError",
    "Signature",
    "TensorSpec",
    "UnknownSongWarning",
    "VersionStatus",
    "is_song",
]
