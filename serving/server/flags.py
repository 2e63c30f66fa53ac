"""The server's settings under the names of TensorFlow Serving's flags, and a few of our own."""

from __future__ import annotations

import argparse
import dataclasses
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from serving.protocol.errors import invalid_argument
from serving.server.foreign_flags import split_foreign
from serving.server.request_log.settings import check_prefix

# Smallest and largest value. Beyond them the libraries fail late or use another value: port 70000 becomes 4464.
_BOUNDS: dict[str, tuple[float, float]] = {
    "port": (0, 65535),
    "workers": (1, math.inf),
    "rest_api_port": (-1, 65535),
    "rest_api_num_threads": (0, math.inf),
    "rest_api_timeout_in_ms": (1, math.inf),
    "grpc_max_threads": (1, math.inf),
    "max_request_rows": (0, math.inf),
    "max_request_values": (0, math.inf),
    "max_request_strings": (0, math.inf),
    "max_request_matches": (0, math.inf),
    "max_running_rows": (0, math.inf),
    "grpc_message_seconds": (0.001, math.inf),
    "grpc_reply_seconds": (0.001, math.inf),
    "grpc_max_message_parts": (0, math.inf),
    "max_held_reply_bytes": (1, math.inf),
    "grpc_max_message_bytes": (1, 2**31 - 1),
    "grpc_max_concurrent_streams": (1, 2**31 - 1),
    "grpc_max_concurrent_requests": (1, math.inf),
    "rest_api_max_body_bytes": (1, math.inf),
    "rest_api_max_held_bytes": (1, math.inf),
    "rest_api_max_parsed_bytes": (0, math.inf),
    "rest_api_max_json_lists": (0, math.inf),
    "rest_api_max_json_depth": (0, math.inf),
    "rest_api_max_connections": (1, math.inf),
    "grpc_max_connections": (0, math.inf),
    "grpc_max_connection_idle_ms": (0, 2**31 - 1),
    "rest_api_header_seconds": (0.001, math.inf),
    "load_retry_multiplier": (1, math.inf),
    "drain_seconds": (0, math.inf),
    "access_log_sample": (0, 1),
    "slow_request_ms": (0, math.inf),
    "request_log_sample": (0, 1),
    "request_log_file_bytes": (1024, math.inf),
    "request_log_file_seconds": (0.001, math.inf),
    "request_log_max_bytes": (0, math.inf),
}
_MAY_BE_FREE = ("health", "metrics")
_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}


def _flag(default: Any, help_text: str, *, ours: bool = False) -> Any:
    return field(
        default=default, metadata={"help": help_text + (" [not a flag of TensorFlow Serving]" if ours else "")}
    )


@dataclass(frozen=True)
class ServerFlags:
    """Every setting with its default; the names are the flags', so `--port=8501` is `ServerFlags(port=8501)`."""

    host: str = _flag("127.0.0.1", "address to bind; 0.0.0.0 for all", ours=True)
    port: int = _flag(8500, "TCP port of gRPC; 0 picks a free one")
    workers: int = _flag(
        1, "processes that share the ports; a parent starts them and replaces those that die", ours=True
    )
    grpc_socket_path: str = _flag("", "path of a Unix socket to answer gRPC on as well")
    rest_api_port: int = _flag(0, "TCP port of REST; 0 = no REST, -1 picks a free one")
    rest_api_num_threads: int = _flag(0, "REST requests that run at the same time; 0 = as --grpc_max_threads")
    rest_api_timeout_in_ms: int = _flag(30000, "milliseconds that a REST request may take: read, run and write")
    rest_api_enable_cors_support: bool = _flag(False, "answer CORS preflight requests")
    model_name: str = _flag("default", "name of the model; ignored with --model_config_file")
    model_base_path: str = _flag("", "absolute path of the folder that holds the version folders")
    model_config_file: str = _flag("", "file with a text proto ModelServerConfig")
    model_config_file_poll_wait_seconds: float = _flag(
        0.0, "seconds between two readings of --model_config_file; 0 = it is read only once"
    )
    saved_model_tags: str = _flag("serve", "tags of the graph to load, separated by commas")
    file_system_poll_wait_seconds: float = _flag(
        1.0, "seconds between two searches for new versions; 0 = only at the start"
    )
    max_num_load_retries: int = _flag(5, "further attempts to load a version that failed")
    load_retry_interval_micros: int = _flag(
        5_000_000, "microseconds before the first retry of a failed load; 60000000 in TensorFlow Serving"
    )
    load_retry_multiplier: float = _flag(
        2.0, "factor by which each retry of a load waits longer; 1 = no growth, as in TensorFlow Serving", ours=True
    )
    allow_version_labels_for_unavailable_models: bool = _flag(False, "let new labels name versions not yet loaded")
    enable_model_warmup: bool = _flag(True, "replay assets.extra/tf_serving_warmup_requests before a version serves")
    num_request_iterations_for_warmup: int = _flag(1, "how often each warm-up record is replayed")
    enable_batching: bool = _flag(False, "join concurrent requests into batches")
    batching_parameters_file: str = _flag("", "file with a text proto BatchingParameters; needs --enable_batching")
    batch_whole_timeout: bool = _flag(
        False,
        "let every batch that is not full wait for batch_timeout_micros, as in TensorFlow Serving; by default it runs "
        "earlier, once as many requests wait or run as at the recent peak",
        ours=True,
    )
    monitoring_config_file: str = _flag(
        "", "file with a text proto MonitoringConfig: Prometheus metrics on the REST port"
    )
    ssl_config_file: str = _flag("", "file with a text proto SSLConfig with PEM contents: TLS on gRPC")
    enable_grpc_healthcheck_service: bool = _flag(False, "answer grpc.health.v1.Health")
    enable_grpc_reflection: bool = _flag(
        False, "tell tools such as grpcurl the services and messages; needs grpcio-reflection", ours=True
    )
    grpc_channel_arguments: str = _flag("", "comma-separated key=value arguments of the gRPC server")
    grpc_max_threads: int = _flag(32, "requests over gRPC that run at the same time")
    enable_signature_method_name_check: bool = _flag(False, "refuse signatures whose method_name does not fit the call")
    enable_serialization_as_tensor_content: bool = _flag(False, "reply with tensor_content in place of typed values")
    tensorflow_session_parallelism: int = _flag(0, "value of the next two flags, unless one of them is given")
    tensorflow_intra_op_parallelism: int = _flag(0, "threads inside one op; 0 = TensorFlow decides")
    tensorflow_inter_op_parallelism: int = _flag(0, "ops at the same time; 0 = TensorFlow decides")
    per_process_gpu_memory_fraction: float = _flag(0.0, "share of the GPU's memory; 0 = grow as needed")
    model_roots: str = _flag(
        "",
        "folders, separated by colons, that all models must lie in; default the configured base paths. A "
        "HandleReloadConfigRequest can name no other folder. TensorFlow Serving has no such limit",
        ours=True,
    )
    allow_reload: bool = _flag(
        False, "answer HandleReloadConfigRequest, as TensorFlow Serving always does; at most 4 wait", ours=True
    )
    max_request_rows: int = _flag(1024, "most rows (songs) of a request; 0 = no limit", ours=True)
    max_request_values: int = _flag(
        4 * 2**20, "most numbers of a request, and most values of a JSON body; 0 = no limit", ours=True
    )
    max_request_strings: int = _flag(
        256 * 2**10,
        "most words of a request, counted after its lists are padded to one length; 0 = no limit",
        ours=True,
    )
    max_request_matches: int = _flag(
        128 * 2**10, "most matches that a request asks for: its rows times its largest k; 0 = no limit", ours=True
    )
    max_running_rows: int = _flag(
        4096, "most rows that run at the same time; further requests wait; 0 = no limit", ours=True
    )
    grpc_max_message_bytes: int = _flag(16 * 2**20, "bytes of the largest request over gRPC", ours=True)
    grpc_max_concurrent_streams: int = _flag(
        100, "most open requests of one connection; further ones wait in the client", ours=True
    )
    grpc_max_concurrent_requests: int = _flag(
        1000,
        "most gRPC requests that run or wait, and most REST requests; further ones get RESOURCE_EXHAUSTED",
        ours=True,
    )
    grpc_max_connections: int = _flag(
        512,
        "most open gRPC connections, and never more than a quarter of the file descriptors; 0 = no limit",
        ours=True,
    )
    grpc_max_connection_idle_ms: int = _flag(
        900_000, "milliseconds without a request after which a gRPC connection is closed; 0 = never", ours=True
    )
    grpc_max_message_parts: int = _flag(
        300_000, "most fields of one message and of all messages inside it; each string is one; 0 = no limit", ours=True
    )
    grpc_message_seconds: float = _flag(
        30.0,
        "seconds in which the message of a call must arrive. If three quarters of --grpc_max_concurrent_requests are "
        "still sending, the oldest of them is cancelled earlier",
        ours=True,
    )
    grpc_reply_seconds: float = _flag(30.0, "seconds in which a client must take a large reply over gRPC", ours=True)
    max_held_reply_bytes: int = _flag(
        256 * 2**20,
        "most bytes of gRPC replies that clients have not yet taken, and of REST replies; beyond that, the slowest "
        "client loses its reply",
        ours=True,
    )
    rest_api_max_body_bytes: int = _flag(16 * 2**20, "bytes of the largest body of a REST request, unpacked", ours=True)
    rest_api_max_held_bytes: int = _flag(
        256 * 2**20, "most bytes of all REST bodies that are being read, wait or run", ours=True
    )
    rest_api_max_parsed_bytes: int = _flag(
        64 * 2**20,
        "most bytes of unpacked REST bodies that are parsed or run at the same time; 0 = no limit",
        ours=True,
    )
    rest_api_max_json_lists: int = _flag(65536, "most lists and objects in a JSON body; 0 = no limit", ours=True)
    rest_api_max_json_depth: int = _flag(64, "greatest depth of lists and objects in a JSON body", ours=True)
    rest_api_max_connections: int = _flag(
        512, "most open REST connections, and never more than half of the file descriptors", ours=True
    )
    rest_api_header_seconds: float = _flag(10.0, "seconds in which the header of a REST request must arrive", ours=True)
    rest_api_strict: bool = _flag(
        False, "refuse over REST what TensorFlow Serving refuses: missing fields, lists of different length", ours=True
    )
    check_song_inputs: bool = _flag(
        True, "refuse vectors of the wrong length and unknown features of tf.Examples for every model", ours=True
    )
    allow_unknown_songs: bool = _flag(
        False, "let `match` answer for songs without any field that the model knows, too", ours=True
    )
    version_zero_is_latest: bool = _flag(
        False, "let version 0 in a request mean the latest version, as ovmsclient does", ours=True
    )
    drain_seconds: float = _flag(
        30.0,
        "most seconds after SIGTERM in which requests are still answered; health says NOT_SERVING. 5 seconds without "
        "a request end it early",
        ours=True,
    )
    auth_token_file: str = _flag(
        "",
        "file with one bearer token per line; every request must send one of them. Default: no token needed",
        ours=True,
    )
    auth_free: str = _flag("health", "what needs no token: health, metrics, or both with a comma between", ours=True)
    allow_plaintext_rest: bool = _flag(
        False,
        "open the plain-text REST port even if --ssl_config_file demands certificates of gRPC clients",
        ours=True,
    )
    access_log_file: str = _flag(
        "", "file that gets one JSON line per request; - for standard output; default none", ours=True
    )
    access_log_sample: float = _flag(
        1.0, "share of the requests in the access log, 0 to 1; failed and slow ones are always there", ours=True
    )
    slow_request_ms: float = _flag(1000.0, "milliseconds from which the access log calls a request slow", ours=True)
    request_log_prefix: str = _flag(
        "",
        "absolute path and first part of the names of the request log's files; default no log. The files are TFRecord "
        "of PredictionLog. With --model_config_file, set `logging_config` of each model instead",
        ours=True,
    )
    request_log_sample: float = _flag(1.0, "share of the requests in the request log, 0 to 1", ours=True)
    request_log_file_bytes: int = _flag(64 * 2**20, "bytes at which a file of the request log is closed", ours=True)
    request_log_file_seconds: float = _flag(
        3600.0, "seconds after which a file of the request log is closed, however small", ours=True
    )
    request_log_max_bytes: int = _flag(
        2**30, "most bytes of all files of a request log; the oldest are deleted; 0 = no limit", ours=True
    )
    error_log_file: str = _flag("", "file for the server's own messages as JSON lines; default the terminal", ours=True)
    log_file: str = _flag("", "file for what TensorFlow and gRPC write; default nowhere", ours=True)

    def __post_init__(self) -> None:
        if self.batching_parameters_file and not self.enable_batching:
            raise invalid_argument(
                "server_options.batching_parameters_file is set without setting server_options.enable_batching to true."
            )
        if not self.model_base_path and not self.model_config_file:
            raise invalid_argument(
                "Both server_options.model_base_path and server_options.model_config_file are empty!"
            )
        if self.request_log_prefix:
            check_prefix(self.request_log_prefix, "`request_log_prefix`")
            if self.model_config_file:
                raise invalid_argument(
                    "`request_log_prefix`: expected `logging_config` in the file of --model_config_file. "
                    "Received: both flags"
                )
        if 0 < self.request_log_max_bytes < self.request_log_file_bytes:
            raise invalid_argument(
                f"`request_log_max_bytes` must be 0, or at least --request_log_file_bytes, which is "
                f"{self.request_log_file_bytes}. Received: {self.request_log_max_bytes}"
            )
        unknown = sorted(self.free_of_tokens() - set(_MAY_BE_FREE))
        if unknown:
            raise invalid_argument(f"`auth_free` must name some of {', '.join(_MAY_BE_FREE)}. Received: {unknown[0]!r}")
        parallelism = (self.tensorflow_intra_op_parallelism, self.tensorflow_inter_op_parallelism)
        if self.tensorflow_session_parallelism > 0 and min(parallelism) > 0:
            raise invalid_argument(
                "Either configure server_options.tensorflow_session_parallelism or "
                "(server_options.tensorflow_intra_op_parallelism, server_options.tensorflow_inter_op_parallelism) "
                "separately. You cannot configure all."
            )
        for name, (least, most) in _BOUNDS.items():
            value = getattr(self, name)
            if not least <= value <= most:
                wanted = f"{least} or more" if most == math.inf else f"between {least} and {most}"
                raise invalid_argument(f"`{name}` must be {wanted}. Received: {value}")

        self._check_workers()

    def _check_workers(self) -> None:
        """Refuses what only one process can do."""
        if self.workers == 1:
            return
        if self.allow_reload:
            raise invalid_argument(
                f"`allow_reload` needs `workers` to be 1: a reload would reach one of them. Received: {self.workers}. "
                "Change --model_config_file in its place, and set --model_config_file_poll_wait_seconds"
            )
        if self.grpc_socket_path:
            raise invalid_argument(
                f"`grpc_socket_path` needs `workers` to be 1: one process has a Unix socket. Received: {self.workers}"
            )

    def free_of_tokens(self) -> set[str]:
        """Returns what needs no token."""
        return {name.strip() for name in self.auth_free.split(",") if name.strip()}


def address(host: str, port: int) -> str:
    """Returns `host:port`, with the brackets that an IPv6 address needs."""
    return f"[{host}]:{port}" if ":" in host and not host.startswith("[") else f"{host}:{port}"


def _version() -> str:
    try:
        return version("bcl")
    except PackageNotFoundError:  # a checkout that is not installed
        return "unknown"


def _boolean(text: str) -> bool:
    try:
        return _BOOLEANS[text.lower()]
    except KeyError:
        raise argparse.ArgumentTypeError(f"must be true or false. Received: {text!r}") from None


def parse_flags(argv: Sequence[str] | None = None) -> ServerFlags:
    """Reads a command line; both `--flag=value` and `--flag value`, and a bare `--flag` for booleans.

    One line on standard error names the flags of tensorflow_model_server that do nothing here.

    Raises:
        SystemExit: If flags or values are unknown, as argparse does.
        RequestError: If flags exclude each other, or one needs another.
    """
    parser = argparse.ArgumentParser(
        prog="python -m serving.server",
        description="Serve SavedModels over TensorFlow Serving's gRPC and REST interfaces.",
        allow_abbrev=False,
    )
    # tensorflow_model_server has it, too.
    parser.add_argument("--version", action="version", version=f"bcl {_version()}", help="show the version and end")
    for flag in dataclasses.fields(ServerFlags):
        kind = type(flag.default)
        text = f"{flag.metadata['help']} (default {flag.default!r})".replace("%", "%%")
        if kind is bool:
            parser.add_argument(f"--{flag.name}", type=_boolean, nargs="?", const=True, default=flag.default, help=text)
        else:
            parser.add_argument(f"--{flag.name}", type=kind, default=flag.default, metavar=kind.__name__, help=text)
    own, foreign = split_foreign(sys.argv[1:] if argv is None else argv)
    if foreign:
        names = ", ".join(f"--{name}" for name in foreign)
        sys.stderr.write(f"Flags of tensorflow_model_server that do nothing here: {names}\n")
    return ServerFlags(**vars(parser.parse_args(own)))
