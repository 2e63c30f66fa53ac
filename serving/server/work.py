"""The time of a request, its client, and what requests share. Who waits and is left by its client waits no longer."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import grpc

from serving.protocol.errors import RequestError, deadline_exceeded


class Work:
    """The time of one request, and whether its client still waits.

    Args:
        seconds: The time limit; None = none.
    """

    def __init__(self, seconds: float | None = None) -> None:
        self._seconds = seconds
        self._end = None if seconds is None else time.monotonic() + seconds
        self._lock = threading.Lock()
        self._is_left = False
        self._wake: Callable[[], object] | None = None

    def leave(self) -> None:
        """Notes that nobody waits any more, and wakes what waits for the request."""
        with self._lock:
            self._is_left = True
            wake = self._wake
        if wake is not None:
            wake()

    @property
    def is_left(self) -> bool:
        """Whether nobody waits any more."""
        return self._is_left

    @contextmanager
    def waking(self, wake: Callable[[], object]) -> Iterator[None]:
        """Calls `wake` once the client leaves; at once where it has left."""
        with self._lock:
            self._wake = wake
        try:
            if self._is_left:
                wake()
            yield
        finally:
            with self._lock:
                self._wake = None

    def left_ms(self) -> int | None:
        """Returns the milliseconds left, None without a limit."""
        return None if self._end is None else max(0, int((self._end - time.monotonic()) * 1000))

    def left_seconds(self) -> float | None:
        """Returns the seconds left, None without a limit."""
        return None if self._end is None else max(0.0, self._end - time.monotonic())

    def check(self) -> None:
        """Ends the request where its time is over or its client has left.

        Raises:
            RequestError: DEADLINE_EXCEEDED or CANCELLED.
        """
        if self._is_left:
            raise client_left()
        if self._end is not None and time.monotonic() >= self._end:
            raise deadline_exceeded(f"expected the request to take at most {self._seconds:g} s")


def client_left() -> RequestError:
    """Returns the error of work that nobody waits for."""
    return RequestError(grpc.StatusCode.CANCELLED, "the client has left")


@dataclass(eq=False)
class _Place:
    """A place in the queue for units."""

    amount: int
    called: threading.Event = field(default_factory=threading.Event)
    has_units: bool = False


class Budget:
    """Units that requests share, such as rows that run at the same time. First come, first served.

    Args:
        total: Units that may be in use; a request for more gets them all. 0 = no limit.
        what: What the units are, for the message.
    """

    def __init__(self, total: int, what: str) -> None:
        self._total = total
        self._free = total
        self._what = what
        self._lock = threading.Lock()
        self._queue: deque[_Place] = deque()

    @contextmanager
    def share(self, amount: int, work: Work | None = None) -> Iterator[None]:
        """Lends some units.

        Args:
            amount: How many.
            work: What they are for. Its time and its client end the wait.

        Raises:
            RequestError: DEADLINE_EXCEEDED if they are not free in time, CANCELLED if the client leaves meanwhile.
        """
        amount = min(amount, self._total)
        self._take(amount, work or Work())
        try:
            yield
        finally:
            self._give_back(amount)

    def _take(self, amount: int, work: Work) -> None:
        with self._lock:
            if not self._queue and self._free >= amount:
                self._free -= amount
                return
            place = _Place(amount)
            self._queue.append(place)
        patience = work.left_ms()
        with work.waking(place.called.set):
            place.called.wait(work.left_seconds())
        with self._lock:
            if place.has_units:
                return
            self._queue.remove(place)
            self._call_next()
        if work.is_left:
            raise client_left()
        raise deadline_exceeded(f"waited {patience} ms for {amount} of {self._total} {self._what}")

    def _give_back(self, amount: int) -> None:
        with self._lock:
            self._free += amount
            self._call_next()

    def _call_next(self) -> None:
        """Lends what is free to those who wait, the first ones first."""
        while self._queue and self._queue[0].amount <= self._free:
            place = self._queue.popleft()
            self._free -= place.amount
            place.has_units = True
            place.called.set()
