"""The flags' text-proto files whose protos tensorflow-serving-api does not ship.

Source of the fields: tensorflow_serving/config/{monitoring_config,ssl_config}.proto,
tensorflow_serving/servables/tensorflow/session_bundle_config.proto.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import grpc
from google.protobuf import message_factory, text_format

from serving.protocol.errors import invalid_argument, not_found
from serving.protocol.protos import build_pool

_POOL = build_pool(
    {
        "google.protobuf": {"Int64Value": "int64 value = 1", "StringValue": "string value = 1"},
        "tensorflow.serving": {
            "BatchingParameters": (
                ".google.protobuf.Int64Value max_batch_size = 1; .google.protobuf.Int64Value batch_timeout_micros = 2;"
                ".google.protobuf.Int64Value max_enqueued_batches = 3;"
                ".google.protobuf.Int64Value num_batch_threads = 4;"
                ".google.protobuf.StringValue thread_pool_name = 5; repeated int64 allowed_batch_sizes = 6;"
                "bool pad_variable_length_inputs = 7; bool enable_large_batch_splitting = 8;"
                ".google.protobuf.Int64Value max_execution_batch_size = 9"
            ),
            "SSLConfig": "string server_key = 1; string server_cert = 2; string custom_ca = 3; bool client_verify = 4",
            "PrometheusConfig": "bool enable = 1; string path = 2",
            "MonitoringConfig": ".tensorflow.serving.PrometheusConfig prometheus_config = 1",
        },
    }
)


def read_text_proto(path: str, name: str) -> Any:
    """Read a file as the message `tensorflow.serving.<name>`.

    Raises:
        RequestError: the file is not there or is no such message; the text says line and column.
    """
    return fill_text_proto(
        path, message_factory.GetMessageClass(_POOL.FindMessageTypeByName(f"tensorflow.serving.{name}"))()
    )


def fill_text_proto(path: str, message: Any) -> Any:
    """Read a file into an empty message and return it; raises as `read_text_proto`."""
    try:
        text_format.Parse(Path(path).read_text(encoding="utf-8"), message)
    except OSError as error:
        raise not_found(f"{path}; {error.strerror}") from error
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise invalid_argument(
            f"Invalid protobuf file: '{path}': Error parsing text-format {message.DESCRIPTOR.full_name}: {error}"
        ) from error
    return message


def server_credentials(path: str) -> grpc.ServerCredentials | None:
    """Certificates of `--ssl_config_file`, which holds PEM contents, not paths; None for no file.

    Raises:
        RequestError: the file cannot be read, or lacks key, certificate or the authority to verify clients by.
    """
    if not path:
        return None
    config = read_text_proto(path, "SSLConfig")
    if not config.server_key or not config.server_cert:
        raise invalid_argument(f"'{path}' must set `server_key` and `server_cert` to PEM contents. Received: {path}")
    if config.client_verify and not config.custom_ca:
        raise invalid_argument(f"'{path}' must set `custom_ca` where it sets `client_verify`. Received: none")
    authority = config.custom_ca.encode() or None
    return grpc.ssl_server_credentials(
        [(config.server_key.encode(), config.server_cert.encode())],
        root_certificates=authority,
        require_client_auth=config.client_verify,
    )


def metrics_path(path: str) -> str | None:
    """Where on the REST port the metrics are, by `--monitoring_config_file`; None where they are switched off."""
    if not path:
        return None
    config = read_text_proto(path, "MonitoringConfig").prometheus_config
    return (config.path or "/monitoring/prometheus/metrics") if config.enable else None
