"""How many clients a batch can expect."""

from __future__ import annotations

import math


class Presence:
    """How many requests wait or run, and how many did lately at most.

    Those that are answered together come back together, if their clients have more to ask. Lately means since the batch
    before the last one. Before the first batches nothing is known.
    """

    def __init__(self) -> None:
        self.now = 0
        self._peaks = (math.inf, 0.0)

    def change(self, by: int) -> None:
        """Counts requests that come or go."""
        self.now += by
        before, last = self._peaks
        self._peaks = before, max(last, self.now)

    def batch_taken(self) -> None:
        """Forgets what is long ago."""
        self._peaks = self._peaks[1], self.now

    def is_complete(self) -> bool:
        """Returns whether as many are there as lately at most."""
        return self.now >= max(self._peaks)
