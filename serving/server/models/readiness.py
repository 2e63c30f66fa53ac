"""Tells who asks for it when the server becomes ready, and when it no longer is."""

from __future__ import annotations

import threading
from collections.abc import Callable

from serving.server.models.core import ServerCore


class ReadinessWatch:
    """Follows whether every configured model has a version that answers, on a thread of its own.

    Args:
        core: The models.
        tell: Gets the state at the start, and each new one.
    """

    def __init__(self, core: ServerCore, tell: Callable[[bool], None]) -> None:
        self._core = core
        self._tell = tell
        self._told = False
        self._thread = threading.Thread(target=self._work, name="serving-readiness", daemon=True)

    def start(self) -> None:
        """Begins to follow. It ends when the versions are released."""
        self._told = self._core.is_ready()
        self._tell(self._told)
        self._thread.start()

    def _work(self) -> None:
        versions = self._core.versions
        while True:
            with versions.changed:
                versions.changed.wait_for(lambda: versions.stopping or self._core.is_ready() != self._told)
                if versions.stopping:
                    return
                self._told = not self._told
            self._tell(self._told)
