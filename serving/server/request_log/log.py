"""The log of requests: what requests hand over, and the thread that writes it.

A request never waits for the disk. It hands its record to a queue. If the queue is full, the record is dropped and
counted.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

from serving.protocol.errors import invalid_argument
from serving.server.access_log import current
from serving.server.flags import ServerFlags
from serving.server.metrics import Metrics
from serving.server.request_log.files import LogFiles, Rotation
from serving.server.request_log.records import model_name, prediction_log
from serving.server.request_log.settings import LogSettings

logger = logging.getLogger("serving.server")
_QUEUE_BYTES = 64 * 2**20
# Seconds: the longest time that a record stays in the process, and that a broken log is left alone. The writer is not
# woken for each record: that would take time from the requests.
_FLUSH, _REPAIR = 0.2, 10.0
_LAST_RECORDS = 10.0  # seconds that the end waits for the disk
_WRITTEN, _DROPPED = "written", "dropped"


class RequestLog:
    """Logs requests and replies of the models that have a log.

    Args:
        metrics: Counts what was written and what was dropped.
        rotation: When a file is whole, and how much stays on the disk.
        queue_bytes: Bytes of the records that may wait for the disk.
    """

    def __init__(self, metrics: Metrics, rotation: Rotation, *, queue_bytes: int = _QUEUE_BYTES) -> None:
        self._count = metrics.request_log
        self._rotation = rotation
        self._queue_bytes = queue_bytes
        self._models: dict[str, LogSettings] = {}
        self._files: dict[str, LogFiles] = {}
        self._broken_until: dict[str, float] = {}
        self._queue: deque[tuple[str, str, bytes]] = deque()  # model, prefix, record
        self._waiting = 0  # bytes in the queue
        self._changed = threading.Condition()
        self._is_ending = False
        self._thread: threading.Thread | None = None

    def settings(self, model: str) -> LogSettings | None:
        """Returns how a model is logged; None where it is not."""
        return self._models.get(model)

    def update(self, models: Mapping[str, LogSettings | None]) -> None:
        """Takes over the settings of all models.

        Raises:
            RequestError: INVALID_ARGUMENT, if the files of a model cannot be written.
        """
        wanted = {name: settings for name, settings in models.items() if settings is not None}
        for name, settings in wanted.items():
            if settings.prefix not in self._files:
                try:
                    self._files[settings.prefix] = LogFiles(settings.prefix, self._rotation)
                except OSError as error:
                    raise invalid_argument(f"request log of model {name}: cannot be written: {error}") from error
        self._models = wanted
        if wanted and self._thread is None:
            self._thread = threading.Thread(target=self._work, name="serving-request-log", daemon=True)
            self._thread.start()

    def record(self, request: Any, reply: Any) -> None:
        """Hands over a request that was answered. It never waits, and never fails."""
        if not self._models:
            return
        name = model_name(request)
        settings = self._models.get(name)
        if settings is None or random.random() >= settings.rate:
            return
        try:
            access = current.get()
            log = prediction_log(request, reply, settings.rate, "" if access is None else access.request_id)
            data = log.SerializeToString()
        except Exception:  # the request was answered, and stays so
            logger.exception("a request could not be logged")
            self._count.labels(name, _DROPPED).inc()
            return
        with self._changed:
            fits = self._waiting + len(data) <= self._queue_bytes and not self._is_ending
            if fits:
                self._waiting += len(data)
                self._queue.append((name, settings.prefix, data))
                if self._is_urgent():
                    self._changed.notify()
        if not fits:
            self._count.labels(name, _DROPPED).inc()

    def stop(self) -> None:
        """Writes what waits, and makes the last files whole. A disk that does not answer is left behind."""
        with self._changed:
            self._is_ending = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(_LAST_RECORDS)

    def _is_urgent(self) -> bool:
        """Whether the writer must look now: at the end, or when the queue fills up."""
        return self._is_ending or self._waiting > self._queue_bytes // 4

    def _work(self) -> None:
        is_ending = False
        while not is_ending:
            with self._changed:
                self._changed.wait_for(self._is_urgent, _FLUSH)
                is_ending = self._is_ending
                records, self._queue = self._queue, deque()
            for name, prefix, data in records:
                self._count.labels(name, _WRITTEN if self._write(prefix, data) else _DROPPED).inc()
                with self._changed:
                    self._waiting -= len(data)
            for prefix, files in list(self._files.items()):
                self._guarded(prefix, files.finish if is_ending else files.flush)

    def _write(self, prefix: str, data: bytes) -> bool:
        if time.monotonic() < self._broken_until.get(prefix, 0.0):
            return False
        return self._guarded(prefix, lambda: self._files[prefix].write(data))

    def _guarded(self, prefix: str, act: Callable[[], bool | None]) -> bool:
        """Returns what `act` returns; False where the disk failed, which is then left alone for a while."""
        try:
            return bool(act())
        except (OSError, tf.errors.OpError) as error:
            logger.error("request log %s: cannot be written, tried again in %g s: %s", prefix, _REPAIR, error)
            self._files[prefix].abandon()
            self._broken_until[prefix] = time.monotonic() + _REPAIR
            return False


def rotation_of(flags: ServerFlags) -> Rotation:
    """Returns the rotation that the flags set."""
    return Rotation(flags.request_log_file_bytes, flags.request_log_file_seconds, flags.request_log_max_bytes)
