"""Loads and unloads versions as the folders and the version policies say, and lends them to requests.

A new version is loaded before the old one is unloaded (TensorFlow Serving's availability-preserving policy), so that a
request always finds one. Loading happens on one thread of its own; a version is unloaded when the last request that
uses it has ended.
"""

from __future__ import annotations

import gc
import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from serving.protocol.errors import RequestError, internal
from serving.savedmodel.versions import dangling, scan, why_unlisted
from serving.server.models.config import ModelConfig, Roots
from serving.server.models.lifecycle import AVAILABLE, END, LOADING, UNLOADING, ModelVersion
from serving.server.models.version_table import VersionTable
from serving.server.public_text import public_error

logger = logging.getLogger("serving.server")
_NEVER = threading.TIMEOUT_MAX / 2
# When the server stops, a request that still runs after these seconds loses its model.
_LAST_REQUESTS = 1.0
# Retries wait no longer than this, unless the first wait is longer.
_LONGEST_WAIT = 300.0
# A load cannot be interrupted. A server that stops does not wait longer for one.
_LAST_LOAD = 10.0


def _is_idle(version: ModelVersion) -> bool:
    return version.users == 0


class ModelManager:
    """The versions of all models.

    Args:
        load: Makes a servable (with `close`) of a ModelVersion; raises RequestError where it cannot.
        roots: Where models may lie.
        poll_seconds: Time between looks at the folders; default 1. 0 or less = only when the models change.
        max_retries: Further attempts to load a version that failed; default 5.
        retry_seconds: Time before the first of them; default 5.
        retry_multiplier: Growth of that time from attempt to attempt; default 2. It never exceeds five minutes.
    """

    def __init__(
        self,
        load: Callable[[ModelVersion], Any],
        *,
        roots: Roots,
        poll_seconds: float = 1.0,
        max_retries: int = 5,
        retry_seconds: float = 5.0,
        retry_multiplier: float = 2.0,
    ) -> None:
        self._load = load
        self._roots = roots
        self._poll_seconds = poll_seconds
        self._max_retries = max_retries
        self._retry_seconds = retry_seconds
        self._retry_multiplier = retry_multiplier
        self._wake = threading.Event()
        self.table = VersionTable(self._wake.set)
        self._look_now = False
        self._models: dict[str, ModelConfig] = {}
        self._complaints: dict[str, str] = {}
        self._thread = threading.Thread(target=self._work, name="serving-models", daemon=True)

    def start(self) -> None:
        """Begins to look at the folders."""
        self._thread.start()

    def stop(self) -> None:
        """Unloads everything and ends; waits a moment for running requests, then cancels them."""
        self.table.release()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(_LAST_LOAD)
        end = time.monotonic() + _LAST_REQUESTS
        for version in self.table.all():
            with self.table.changed:
                self.table.changed.wait_for(partial(_is_idle, version), max(0.0, end - time.monotonic()))
            if version.servable is not None:
                self._unload(version)

    def set_models(self, models: Sequence[ModelConfig]) -> None:
        """Replaces the models; those that are gone are unloaded."""
        with self.table.changed:
            self._models = {model.name: model for model in models}
            self._look_now = True
            self.table.changed.notify_all()
        self._wake.set()

    def _work(self) -> None:
        next_poll = 0.0
        while not self.table.stopping:
            self._wake.clear()
            if self._look_now or time.monotonic() >= next_poll:
                self._look_now = False
                self._poll()
                next_poll = time.monotonic() + (self._poll_seconds if self._poll_seconds > 0 else _NEVER)
            if not self._step():
                retries = [version.retry_at for version in self.table.all() if version.is_waiting]
                self._wake.wait(max(0.0, min([next_poll, *retries]) - time.monotonic()))

    def _poll(self) -> None:
        """Looks at every folder and notes which versions are wanted."""
        with self.table.changed:
            models = dict(self._models)
        for name in set(self.table.names()) - set(models):
            self.table.aspire(name, {})
        for name, model in models.items():
            duplicates: list[str] = []
            try:
                found = model.policy.select(scan(model.base_path, duplicates))
                broken_links = dangling(model.base_path)
            except OSError as error:
                # The versions are unknown if the folder cannot be read. Those that serve keep serving.
                self._complain(name, why_unlisted(model.base_path, name, error))
                continue
            if not found:
                self._complain(
                    name,
                    f"No versions of servable {name} found under base path {model.base_path}. Did you forget to name "
                    "your leaf directory as a number (eg. '/1/')?",
                )
            elif broken_links:
                links = ", ".join(broken_links.values())
                self._complain(name, f"Versions of servable {name} that are links to no folder are not served: {links}")
            elif duplicates:
                self._complain(name, f"Duplicate version directories of servable {name}: {'; '.join(duplicates)}")
            else:
                self._complaints.pop(name, None)
            self.table.aspire(name, found)

    def _complain(self, name: str, message: str) -> None:
        if self._complaints.get(name) != message:
            logger.warning(message)
            self._complaints[name] = message

    def _step(self) -> bool:
        """Unloads or loads one version; False where nothing is to be done now."""
        for version in self.table.all():
            if version.state == AVAILABLE and not version.aspired and self.table.may_unload(version.name):
                with self.table.changed:
                    version.state = UNLOADING
                    self.table.changed.notify_all()
            if version.state == UNLOADING and version.users == 0:
                self._unload(version)
                return True
        waiting = [v for v in self.table.all() if v.is_waiting and v.retry_at <= time.monotonic()]
        if waiting:
            self._try_to_load(max(waiting, key=lambda version: version.version))
            return True
        return False

    def _try_to_load(self, version: ModelVersion) -> None:
        with self.table.changed:
            version.state, version.retry_at = LOADING, 0.0
            version.attempts += 1
        try:
            self._roots.check(version.path, f"version {version.version} of model {version.name}")
            servable = self._load(version)
        except Exception as error:
            failure = error if isinstance(error, RequestError) else internal(f"{type(error).__name__}: {error}")
            self._note_failure(version, failure)
            gc.collect()
            return
        with self.table.changed:
            version.servable, version.state, version.error = servable, AVAILABLE, None
            self.table.changed.notify_all()

    def _note_failure(self, version: ModelVersion, error: RequestError) -> None:
        with self.table.changed:
            version.error = public_error(error, os.path.dirname(version.path))
            left = self._max_retries - version.attempts + 1
            if left > 0 and version.aspired:
                version.retry_at = time.monotonic() + self._wait_before_retry(version.attempts)
            else:
                version.state = END
            self.table.changed.notify_all()
        logger.error(
            "Loading servable: {name: %s version: %s} failed: %s (%s attempts left)",
            *(version.name, version.version, error, max(0, left)),
        )

    def _wait_before_retry(self, attempts: int) -> float:
        """Returns the seconds from a failed attempt to the next."""
        wait = self._retry_seconds
        for _ in range(attempts - 1):
            if wait >= _LONGEST_WAIT:
                break
            wait = min(_LONGEST_WAIT, wait * self._retry_multiplier)
        return wait

    def _unload(self, version: ModelVersion) -> None:
        servable, version.servable = version.servable, None
        servable.close()
        del servable
        # A TensorFlow graph has reference cycles. Without this, unloaded versions would stay in memory for a while.
        gc.collect()
        with self.table.changed:
            version.state = END
            self.table.changed.notify_all()
