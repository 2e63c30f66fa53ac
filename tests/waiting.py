"""Waiting for events. The limits are there to end what hangs; a loaded machine must not reach them."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")

#: Seconds. What is waited for takes less than a minute where nothing else runs.
LAST_RESORT = 1800


def eventually(condition: Callable[[], T]) -> T:
    """Returns the condition's first true value, or its last one after the last resort."""
    end = time.monotonic() + LAST_RESORT
    while not (value := condition()) and time.monotonic() < end:
        time.sleep(0.01)
    return value


@contextmanager
def reserved_port() -> Iterator[int]:
    """Gives a TCP port of this machine that a server may listen on and that nobody else is given meanwhile.

    A port found free and let go can be anybody's by the time a server asks for it. This one stays bound, and Linux lets
    a second socket with SO_REUSEADDR listen on it, as long as the first does not listen.
    """
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]
