"""Files that flags name, as text protos.

`serving/protocol/definitions/server_config.proto` has the messages that tensorflow-serving-api lacks.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import grpc
from google.protobuf import text_format

from serving.protocol.errors import invalid_argument, not_found
from serving.protocol.protos import message_class


def read_text_proto(path: str, name: str) -> Any:
    """Reads a file as the message `tensorflow.serving.<name>`.

    Raises:
        RequestError: If the file is missing or is no such message; the text says line and column.
    """
    return fill_text_proto(path, message_class(f"tensorflow.serving.{name}")())


def fill_text_proto(path: str, message: Any) -> Any:
    """Reads a file into an empty message and returns it; raises as `read_text_proto`."""
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
    """Returns the certificates of `--ssl_config_file`, which has PEM contents, not paths; None for no file.

    Raises:
        RequestError: If the file cannot be read, or lacks key, certificate or the authority to verify clients by.
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


def check_plaintext(ssl_config_file: str, rest_api_port: int, *, allowed: bool) -> None:
    """Checks that REST, which has no TLS, is no way round the certificates that gRPC asks its clients for.

    Raises:
        RequestError: INVALID_ARGUMENT, if it is and was not allowed.
    """
    if not ssl_config_file or not rest_api_port or allowed:
        return
    if read_text_proto(ssl_config_file, "SSLConfig").client_verify:
        raise invalid_argument(
            f"`client_verify` in {ssl_config_file} asks clients for certificates, but REST on port {rest_api_port} "
            "would take requests in plain text from anyone. Leave --rest_api_port out, or put a proxy with TLS before "
            "it and set --allow_plaintext_rest"
        )


def metrics_path(path: str) -> str | None:
    """Returns the metrics' path on the REST port, by `--monitoring_config_file`; None where they are switched off."""
    if not path:
        return None
    config = read_text_proto(path, "MonitoringConfig").prometheus_config
    return (config.path or "/monitoring/prometheus/metrics") if config.enable else None
