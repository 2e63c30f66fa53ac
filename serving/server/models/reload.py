"""HandleReloadConfigRequest, and the configuration file that is read again while the server runs.

Source: tensorflow_serving/model_servers/{model_service_impl,server_core,server}.cc.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

import grpc
from tensorflow_serving.apis import model_management_pb2

from serving.protocol.errors import RequestError, invalid_argument, permission_denied
from serving.server.metrics import Metrics
from serving.server.models.config import read_model_config_file
from serving.server.models.core import ServerCore

logger = logging.getLogger("serving.server")
#: Reloads that may run or wait. One waits for as long as its models are not loaded.
MAX_RELOADS = 4


class Reloads:
    """Answers HandleReloadConfigRequest, where the flags allow it.

    Args:
        core: The models.
        metrics: Asked for the increases that a request wants.
        is_allowed: `--allow_reload`. A reload can unload every model.
    """

    def __init__(self, core: ServerCore, metrics: Metrics, *, is_allowed: bool) -> None:
        self._core = core
        self._metrics = metrics
        self._is_allowed = is_allowed
        self._free = threading.BoundedSemaphore(MAX_RELOADS)

    def answer(self, request: Any, wanted: Callable[[], bool] = lambda: True) -> Any:
        """Replaces the models by those of a ReloadConfigRequest.

        Args:
            request: A ReloadConfigRequest.
            wanted: Whether the client is still there.

        Raises:
            RequestError: With TensorFlow Serving's code and text. (It puts the status into the response too, but gRPC
                drops the response of a call that failed.) PERMISSION_DENIED without `--allow_reload`, and
                RESOURCE_EXHAUSTED if too many reloads run or wait.
        """
        if not self._is_allowed:
            raise permission_denied("HandleReloadConfigRequest: expected --allow_reload=true. Received: false")
        if not self._free.acquire(blocking=False):
            raise RequestError(
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                f"expected at most {MAX_RELOADS} reloads to run or wait. Received: one more. Try again later.",
            )
        try:
            return self._reload(request, wanted)
        finally:
            self._free.release()

    def _reload(self, request: Any, wanted: Callable[[], bool]) -> Any:
        if request.config.WhichOneof("config") != "model_config_list":
            raise invalid_argument(
                "ServerModelConfig type not supported by HandleReloadConfigRequest. Only ModelConfigList is currently "
                "supported"
            )
        before = {name: self._metrics.value(name) for name in request.metric_names}
        self._core.reload(request.config, wanted=wanted)
        response = model_management_pb2.ReloadConfigResponse()
        response.status.error_code = 0
        for name, value in before.items():
            response.metric.add(name=name, int64_value_increase=int(self._metrics.value(name) - value))
        return response


class ConfigFilePoller:
    """Reads `--model_config_file` again and again; a file that is refused changes nothing and is reported once."""

    def __init__(self, core: ServerCore, path: str, seconds: float) -> None:
        self._core = core
        self._path = path
        self._seconds = seconds
        self._stop = threading.Event()
        self._last = ""
        self._thread = threading.Thread(target=self._work, name="serving-config", daemon=True)

    def start(self) -> None:
        """Begins to poll."""
        self._thread.start()

    def begin_stop(self) -> None:
        """Starts no further reload, and reports none that the server's end cuts short."""
        self._stop.set()

    def stop(self) -> None:
        """Ends; a reload that waits for a model is left behind."""
        self.begin_stop()
        self._thread.join(timeout=1)

    def _work(self) -> None:
        while not self._stop.wait(self._seconds):
            try:
                self._core.reload(read_model_config_file(self._path), trusted=True)
                self._last = ""
            except RequestError as error:
                if str(error) != self._last and not self._stop.is_set():
                    logger.error("%s was not taken over: %s", self._path, error)
                self._last = str(error)
