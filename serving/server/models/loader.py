"""From a version's folder to something that answers requests."""

from __future__ import annotations

import time
from typing import Any

import tensorflow as tf

from serving.protocol.errors import RequestError
from serving.savedmodel.session import SavedModelSession
from serving.server.batching.scheduler import BatchScheduler
from serving.server.batching.session import BatchingSession
from serving.server.flags import ServerFlags
from serving.server.inference.servable import Servable
from serving.server.inference.warmup import warm_up
from serving.server.metrics import Metrics
from serving.server.models.lifecycle import ModelVersion


class Loader:
    """Loads versions as the flags say.

    Args:
        flags: Parallelism, tags, warm-up.
        metrics: Where warm-ups are counted.
        scheduler: Joins requests into batches; None = no batching.
    """

    def __init__(self, flags: ServerFlags, metrics: Metrics, scheduler: BatchScheduler | None) -> None:
        self._flags = flags
        self._metrics = metrics
        self._scheduler = scheduler

    def load(self, version: ModelVersion) -> Servable:
        """Loads and warms up one version.

        Raises:
            RequestError: If it cannot be loaded, or a warm-up request fails.
        """
        start = time.perf_counter()
        tags = self._flags.saved_model_tags.split(",")
        session = SavedModelSession(version.path, tags=tags, config=self._session_config())
        batching = None if self._scheduler is None else BatchingSession(session, self._scheduler, self._metrics)
        servable = Servable(version.name, session, batching)
        try:
            if self._flags.enable_model_warmup:
                self._warm_up(servable, version)
        except BaseException:
            servable.close()
            raise
        self._metrics.load_seconds.labels(version.name).observe(time.perf_counter() - start)
        return servable

    def _session_config(self) -> Any:
        intra, inter = self._flags.tensorflow_intra_op_parallelism, self._flags.tensorflow_inter_op_parallelism
        if intra <= 0 and inter <= 0:
            intra = inter = self._flags.tensorflow_session_parallelism
        config = tf.compat.v1.ConfigProto(intra_op_parallelism_threads=intra, inter_op_parallelism_threads=inter)
        config.gpu_options.allow_growth = not self._flags.per_process_gpu_memory_fraction
        config.gpu_options.per_process_gpu_memory_fraction = self._flags.per_process_gpu_memory_fraction
        return config

    def _warm_up(self, servable: Servable, version: ModelVersion) -> None:
        start, status = time.perf_counter(), "OK"
        try:
            records = warm_up(servable, version.path, version.version, self._flags.num_request_iterations_for_warmup)
        except RequestError as error:
            records, status = 1, error.code.name
            raise
        finally:
            if records:
                elapsed = (time.perf_counter() - start) * 1e6
                # TensorFlow Serving's label is the path from the root on, which clients need not know.
                self._metrics.warmup.labels(f"{version.name}/{version.version}", status).observe(elapsed)
