"""The whole server as one object: models, gRPC, and what the flags ask for beyond that."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import tensorflow as tf
from tensorflow_serving.apis import model_service_pb2_grpc, prediction_service_pb2_grpc

from serving.server.context import RunContext
from serving.server.core import ServerCore
from serving.server.errors import unavailable
from serving.server.flags import ServerFlags
from serving.server.grpc_services import ModelService, PredictionService
from serving.server.lifecycle import AVAILABLE, ModelVersion
from serving.server.metrics import Metrics
from serving.server.model_config import Roots, read_model_config_file, single_model
from serving.server.model_manager import ModelManager
from serving.server.reload import ConfigFilePoller
from serving.server.servable import Servable
from serving.server.session import SavedModelSession
from serving.server.warmup import warm_up

logger = logging.getLogger("serving.server")
_GRACE_SECONDS = 5.0


class EmbeddedServer:
    """TensorFlow Serving's interface in this process, for tests, validation and laptops.

    Use it as a context manager, or call `start` and `stop`. `start` returns when every configured model answers.

    Args:
        flags: the settings, or
        **settings: fields of ServerFlags. `port=0` picks a free port.

    Attributes:
        port, rest_port: where it listens; 0 before the start and for what is switched off.
    """

    def __init__(self, flags: ServerFlags | None = None, **settings: Any) -> None:
        if flags is not None and settings:
            raise ValueError(f"`flags` and single settings exclude each other. Received: {sorted(settings)}")
        self.flags = flags if flags is not None else ServerFlags(**settings)
        self.metrics = Metrics()
        self.port = 0
        self.rest_port = 0
        self._config = (
            read_model_config_file(self.flags.model_config_file)
            if self.flags.model_config_file
            else single_model(self.flags.model_name, self.flags.model_base_path)
        )
        roots = Roots(filter(None, self.flags.model_roots.split(":")))
        self._manager = ModelManager(
            self._load,
            roots=roots,
            poll_seconds=self.flags.file_system_poll_wait_seconds,
            max_retries=self.flags.max_num_load_retries,
            retry_seconds=self.flags.load_retry_interval_micros / 1e6,
        )
        self.core = ServerCore(
            self._manager,
            roots=roots,
            labels_for_unavailable=self.flags.allow_version_labels_for_unavailable_models,
        )
        self._grpc: grpc.Server | None = None
        self._poller: ConfigFilePoller | None = None

    @property
    def target(self) -> str:
        """What a client on this machine connects to."""
        host = "localhost" if self.flags.host in ("0.0.0.0", "::", "") else self.flags.host
        return f"{host}:{self.port}"

    def start(self, timeout: float | None = None) -> EmbeddedServer:
        """Load the models, then open the ports.

        Args:
            timeout: seconds to wait for the models; default no limit, as an empty folder may be filled later.

        Raises:
            RequestError: the configuration is refused, a model cannot be loaded, or a port is taken.
            TimeoutError: a model is not there in time.
        """
        try:
            self._manager.start()
            self.core.reload(self._config, timeout, trusted=not self.flags.model_roots)
            self._start_grpc()
        except BaseException:
            self.stop()
            raise
        seconds = self.flags.model_config_file_poll_wait_seconds
        if self.flags.model_config_file and seconds > 0:
            self._poller = ConfigFilePoller(self.core, self.flags.model_config_file, seconds)
            self._poller.start()
        return self

    def stop(self) -> None:
        """Let running requests end, close the ports, unload the models."""
        if self._poller is not None:
            self._poller.stop()
        if self._grpc is not None:
            self._grpc.stop(_GRACE_SECONDS).wait()
            self._grpc = None
        self._manager.stop()

    def __enter__(self) -> EmbeddedServer:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def describe(self) -> str:
        """One line for people: which models answer where."""
        versions = {name: max(numbers, default="none yet") for name, numbers in sorted(self._available().items())}
        models = ", ".join(f"{name} version {version}" for name, version in versions.items())
        rest = f", REST on {self.flags.host}:{self.rest_port}" if self.rest_port else ""
        return f"Serving {models}: gRPC on {self.flags.host}:{self.port}{rest}"

    def _available(self) -> dict[str, list[int]]:
        names = [entry.name for entry in self._config.model_config_list.config]
        states = {name: self._manager.states(name) for name in names}
        return {name: [n for n, v in known.items() if v.state == AVAILABLE] for name, known in states.items()}

    def wait(self) -> None:
        """Block until the server is stopped."""
        if self._grpc is not None:
            self._grpc.wait_for_termination()

    def _load(self, version: ModelVersion) -> Servable:
        config = tf.compat.v1.ConfigProto(
            intra_op_parallelism_threads=self.flags.tensorflow_intra_op_parallelism,
            inter_op_parallelism_threads=self.flags.tensorflow_inter_op_parallelism,
        )
        config.gpu_options.allow_growth = not self.flags.per_process_gpu_memory_fraction
        config.gpu_options.per_process_gpu_memory_fraction = self.flags.per_process_gpu_memory_fraction
        session = SavedModelSession(version.path, tags=self.flags.saved_model_tags.split(","), config=config)
        servable = Servable(version.name, session)
        try:
            if self.flags.enable_model_warmup:
                warm_up(servable, version.path, version.version, self.flags.num_request_iterations_for_warmup)
        except BaseException:
            servable.close()
            raise
        return servable

    def _start_grpc(self) -> None:
        flags = self.flags
        server = grpc.server(
            ThreadPoolExecutor(flags.grpc_max_threads, thread_name_prefix="serving-grpc"),
            options=_channel_arguments(flags),
            maximum_concurrent_rpcs=flags.grpc_max_concurrent_requests,
        )
        settings = RunContext(flags.enable_signature_method_name_check, flags.enable_serialization_as_tensor_content)
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
            PredictionService(self.core, settings, self.metrics), server
        )
        model_service_pb2_grpc.add_ModelServiceServicer_to_server(ModelService(self.core, self.metrics), server)
        address = f"{flags.host}:{flags.port}"
        try:
            self.port = server.add_insecure_port(address)
        except RuntimeError as error:
            raise unavailable(f"cannot listen on {address}: {error}") from error
        server.start()
        self._grpc = server


def _channel_arguments(flags: ServerFlags) -> list[tuple[str, Any]]:
    arguments: list[tuple[str, Any]] = [
        ("grpc.max_receive_message_length", flags.grpc_max_message_bytes),
        ("grpc.max_send_message_length", flags.grpc_max_message_bytes),
        ("grpc.max_concurrent_streams", flags.grpc_max_concurrent_streams),
        # Two servers on one port would share its requests; the second one must fail instead.
        ("grpc.so_reuseport", 0),
    ]
    for pair in filter(None, flags.grpc_channel_arguments.split(",")):
        key, _, value = pair.partition("=")
        arguments.append((key, int(value) if value.lstrip("-").isdigit() else value))
    return arguments
