"""One version of a model from START to END, and the count of requests that use it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from serving.protocol.errors import RequestError

START, LOADING, AVAILABLE, UNLOADING, END = 10, 20, 30, 40, 50


@dataclass(eq=False)
class ModelVersion:
    """A version the server knows of. Fields change only under the manager's lock.

    Attributes:
        name: Of the model.
        version: Its number.
        path: Where its files are.
        state: Number of ModelVersionStatus.State.
        error: Why loading failed last, or None.
        aspired: Whether the version policy wants it served.
        servable: What answers requests while AVAILABLE.
        attempts: How often loading was tried.
        retry_at: The time.monotonic() of the next attempt to load.
        users: Requests that run now.
    """

    name: str
    version: int
    path: str
    state: int = START
    error: RequestError | None = None
    aspired: bool = True
    servable: Any = None
    attempts: int = 0
    retry_at: float = 0.0
    users: int = 0

    @property
    def is_waiting(self) -> bool:
        """Whether it is to be loaded, for the first time or again."""
        return self.aspired and (self.state == START or (self.state == LOADING and self.retry_at > 0))
