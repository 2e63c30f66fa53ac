"""What a worker is told by its parent, and what it tells back."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

# The parent alone sets it. It is no flag, because nobody else can give it a fitting value.
_VARIABLE = "SERVING_WORKER"


@dataclass(frozen=True)
class Place:
    """One worker among those of a parent.

    Attributes:
        number: Its own, from 0.
        folder: Where each worker has the socket of its metrics. Only the operator's user may enter it.
        reports: File descriptor on which the worker tells that it is ready, or why it ends.
    """

    number: int
    folder: str
    reports: int

    def environment(self) -> dict[str, str]:
        """Returns the environment in which a child process finds its place."""
        return {**os.environ, _VARIABLE: json.dumps(vars(self))}

    @classmethod
    def given(cls) -> Place | None:
        """Returns the place of this process, None for a process that is no worker."""
        text = os.environ.pop(_VARIABLE, "")
        return cls(**json.loads(text)) if text else None

    def socket_path(self) -> Path:
        """Returns the socket of this worker's metrics."""
        return Path(self.folder) / f"{self.number}.sock"

    def report(self, *, ready: str = "", failed: str = "") -> None:
        """Tells the parent which models answer where, or what failed."""
        os.write(self.reports, (json.dumps({"ready": ready, "failed": failed}) + "\n").encode())

    def end_with_parent(self) -> None:
        """Ends this process as SIGTERM does once the parent, which holds standard input open, is gone."""
        threading.Thread(target=_await_end, name="worker-parent", daemon=True).start()


def _await_end() -> None:
    while os.read(sys.stdin.fileno(), 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
