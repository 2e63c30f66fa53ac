"""What a refusal of something too large says."""

from __future__ import annotations

from serving.protocol.errors import RequestError, invalid_argument


def exceeds(flag: str, limit: int, received: int, what: str, where: str = "the request") -> RequestError:
    """Returns the refusal of something too large, with the flag that limits it."""
    return invalid_argument(f"{where}: expected at most {limit} {what} (--{flag}). Received: {received}")
