"""When a failed call is sent again."""

from __future__ import annotations

import json
from dataclasses import dataclass

# gRPC sends a call no more often, whatever its service config says.
_MOST_ATTEMPTS = 5


@dataclass(frozen=True)
class Backoff:
    """Attempts of a call that fails with UNAVAILABLE, and the waits between them.

    Any other code would come back the same, or the call may have done its work. The waits are `initial * multiplier**i`
    seconds, at most `maximum`; gRPC varies each by a fifth at random. An attempt is never sent after the call's time
    limit: the call then ends with DEADLINE_EXCEEDED.

    Args:
        attempts: Calls in all, with the first one; 1 to 5, default 5. 1 never retries.
        initial: Seconds before the second attempt; default 0.1.
        multiplier: Growth per attempt; default 2.
        maximum: Longest wait in seconds; default 2.
    """

    attempts: int = 5
    initial: float = 0.1
    multiplier: float = 2.0
    maximum: float = 2.0

    def __post_init__(self) -> None:
        if not 1 <= self.attempts <= _MOST_ATTEMPTS:
            raise ValueError(f"`attempts` must be 1 to {_MOST_ATTEMPTS}. Received: {self.attempts}")
        for name in ("initial", "multiplier", "maximum"):
            if not getattr(self, name) > 0:
                raise ValueError(f"`{name}` must be a positive number. Received: {getattr(self, name)}")

    def service_config(self) -> str:
        """Returns gRPC's service config, as JSON, in which every method of a channel is retried so."""
        if self.attempts == 1:
            return "{}"
        policy = {
            "maxAttempts": self.attempts,
            "initialBackoff": f"{self.initial:.9f}s",
            "maxBackoff": f"{self.maximum:.9f}s",
            "backoffMultiplier": self.multiplier,
            "retryableStatusCodes": ["UNAVAILABLE"],
        }
        return json.dumps({"methodConfig": [{"name": [{}], "retryPolicy": policy}]})
