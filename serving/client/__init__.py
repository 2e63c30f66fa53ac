"""Client of TensorFlow Serving and of the embedded server: numpy, protobuf and grpcio only, no TensorFlow.

Imports: protocol.
Imported by: smoke, tfx_pipeline.
"""

from serving.client.aio import AsyncClient
from serving.client.channel import TLS
from serving.client.known_fields import UnknownSongWarning
from serving.client.operations import Explained, VersionStatus
from serving.client.retry import Backoff, ServingError
from serving.client.signatures import Signature, TensorSpec
from serving.client.sync import Client

__all__ = [
    "TLS",
    "AsyncClient",
    "Backoff",
    "Client",
    "Explained",
    "ServingError",
    "Signature",
    "TensorSpec",
    "UnknownSongWarning",
    "VersionStatus",
]
