"""Deadlines, retries on UNAVAILABLE, and the error a caller sees."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import grpc


class ServingError(Exception):
    """A call that the server, or the way to it, refused.

    Attributes:
        code: grpc.StatusCode.
        details: the server's own text.
    """

    def __init__(self, code: grpc.StatusCode, details: str, *, method: str, target: str) -> None:
        super().__init__(f"{method} at {target} failed with {code.name}: {details}")
        self.code = code
        self.details = details

    @classmethod
    def from_rpc(cls, error: grpc.RpcError, *, method: str, target: str) -> ServingError:
        """Wrap what grpc raises, sync or async."""
        return cls(error.code(), error.details() or "", method=method, target=target)


@dataclass(frozen=True)
class Backoff:
    """Waits between attempts: `initial * multiplier**i` seconds, at most `maximum`, each times 0.5 to 1.5 at random.

    Args:
        attempts: calls in all, the first one included; default 5, 1 = never retry.
        initial: seconds before the second attempt; default 0.1.
        multiplier: growth per attempt; default 2.
        maximum: longest wait in seconds; default 2.
        seed: of the random factor; None draws one.
    """

    attempts: int = 5
    initial: float = 0.1
    multiplier: float = 2.0
    maximum: float = 2.0
    seed: int | None = None
    _random: random.Random = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise ValueError(f"`attempts` must be 1 or more. Received: {self.attempts}")
        object.__setattr__(self, "_random", random.Random(self.seed))

    def waits(self) -> Iterator[float]:
        """Seconds to wait before the second, third, ... attempt."""
        for attempt in range(self.attempts - 1):
            yield min(self.maximum, self.initial * self.multiplier**attempt) * self._random.uniform(0.5, 1.5)


class Deadline:
    """What is left of a call's time, over its attempts and over the parts of a split batch."""

    def __init__(self, seconds: float | None) -> None:
        if seconds is not None and seconds <= 0:
            raise ValueError(f"`timeout` must be a positive number of seconds or None. Received: {seconds}")
        self._end = None if seconds is None else time.monotonic() + seconds

    def left(self) -> float | None:
        """Seconds left, 0 when it has passed, None without a limit."""
        return None if self._end is None else max(0.0, self._end - time.monotonic())

    def allows(self, wait: float) -> bool:
        """Whether an attempt after `wait` seconds could still be answered."""
        left = self.left()
        return left is None or wait < left


def may_retry(error: grpc.RpcError) -> bool:
    """Only UNAVAILABLE is tried again: every other code would come back the same, or may have done work."""
    return bool(error.code() == grpc.StatusCode.UNAVAILABLE)
