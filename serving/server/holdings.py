"""What clients hold of the server without asking for work: messages that do not end, replies that they do not take."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

# How often the time of what is held is looked at, in seconds.
_LOOK = 1.0


@dataclass(eq=False)
class Held:
    """One thing that is held.

    Attributes:
        amount: Of units.
        until: The time.monotonic() at which it is dropped.
        drop: Takes it from its client.
    """

    amount: int
    until: float
    drop: Callable[[], object]


class Holdings:
    """Things that clients hold. The oldest goes where they are too many, so that newcomers are not kept out.

    Args:
        most: Units that may be held.
        seconds: How long one thing may be held.
        name: Of the thread that looks at the time.
    """

    def __init__(self, most: int, seconds: float, name: str) -> None:
        self._most = most
        self._seconds = seconds
        self._name = name
        self._changed = threading.Condition()
        self._held: dict[Held, None] = {}  # the oldest first
        self._total = 0
        self._thread: threading.Thread | None = None
        self._is_stopped = False

    @contextmanager
    def holding(self, amount: int, drop: Callable[[], object]) -> Iterator[None]:
        """Counts something as held for as long as the block runs."""
        held = self.hold(amount, drop)
        try:
            yield
        finally:
            self.release(held)

    def hold(self, amount: int, drop: Callable[[], object]) -> Held:
        """Counts something as held until `release`."""
        held = Held(amount, time.monotonic() + self._seconds, drop)
        with self._changed:
            self._held[held] = None
            self._total += amount
            too_many = []
            while self._total > self._most and len(self._held) > 1:
                too_many.append(self._pop_oldest())
            if self._thread is None and not self._is_stopped:
                self._thread = threading.Thread(target=self._look, name=self._name, daemon=True)
                self._thread.start()
        for one in too_many:
            one.drop()
        return held

    def release(self, held: Held) -> None:
        """Notes that something is held no longer, or was dropped."""
        with self._changed:
            if held in self._held:
                del self._held[held]
                self._total -= held.amount

    def stop(self) -> None:
        """Ends the thread."""
        with self._changed:
            self._is_stopped = True
            self._changed.notify_all()

    def _pop_oldest(self) -> Held:
        oldest = next(iter(self._held))
        del self._held[oldest]
        self._total -= oldest.amount
        return oldest

    def _look(self) -> None:
        while True:
            with self._changed:
                if self._is_stopped:
                    return
                self._changed.wait(_LOOK)
                now, late = time.monotonic(), []
                while self._held and next(iter(self._held)).until <= now:
                    late.append(self._pop_oldest())
            for one in late:
                one.drop()
