"""How many requests run, and the drain: the time in which a server that ends still answers."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

#: Seconds without a request that end a drain early. A balancer needs them to see that the server is not ready.
QUIET_SECONDS = 5.0


class Traffic:
    """Counts the requests that run. Health checks and metrics are no traffic.

    Attributes:
        draining: Whether the server is about to end. It is not ready then.
    """

    def __init__(self) -> None:
        self.draining = False
        self._lock = threading.Lock()
        self._running: Counter[str] = Counter()
        self._last = time.monotonic()

    @contextmanager
    def request(self, interface: str) -> Iterator[None]:
        """Counts one request of an interface, gRPC or REST, for as long as it runs."""
        self._change(interface, 1)
        try:
            yield
        finally:
            self._change(interface, -1)

    def running(self, interface: str) -> int:
        """Returns how many requests of an interface run now."""
        return self._running[interface]

    def begin_drain(self) -> None:
        """Makes the server not ready. Requests are still answered."""
        with self._lock:
            self.draining, self._last = True, time.monotonic()

    def wait_until_quiet(self, seconds: float, quiet: float = QUIET_SECONDS) -> bool:
        """Waits until no request has come or run for a while.

        Args:
            seconds: The longest wait.
            quiet: Seconds without a request that end the wait.

        Returns:
            Whether no request runs now.
        """
        end = time.monotonic() + seconds
        while (now := time.monotonic()) < end:
            with self._lock:
                busy = self._running.total() > 0
                left = quiet if busy else self._last + quiet - now
            if left <= 0:
                return True
            time.sleep(min(left, end - now))
        return self._running.total() == 0

    def _change(self, interface: str, by: int) -> None:
        with self._lock:
            self._running[interface] += by
            self._last = time.monotonic()
