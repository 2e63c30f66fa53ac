"""Gives memory of large requests back to the system.

The C library keeps what was freed for the next request, in several parts that threads do not share. After many large
requests that would be gigabytes which nobody uses.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable
from pathlib import Path

# How often the memory is looked at, in seconds, and how many bytes may be kept. Giving back costs milliseconds.
_LOOK = 2.0
_KEPT_BYTES = 32 * 2**20
_PAGE = os.sysconf("SC_PAGE_SIZE")


def resident_bytes() -> int:
    """Returns the memory of this process, 0 where the system does not tell."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE
    except OSError:
        return 0


def trimmer() -> Callable[[], object] | None:
    """Returns what gives free memory back, None where the C library has no such function."""
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):
        return None
    return lambda: trim(0)


class FreeMemory:
    """A thread that gives free memory back once the process has grown.

    Args:
        trim: Gives it back.
        resident: Returns the memory of the process.
    """

    def __init__(self, trim: Callable[[], object] | None = None, resident: Callable[[], int] = resident_bytes) -> None:
        self._trim = trim or trimmer()
        self._resident = resident
        self._stop = threading.Event()
        self._least = 0
        self._thread = threading.Thread(target=self._work, name="serving-memory", daemon=True)

    def start(self) -> None:
        """Begins to look, where there is something to do."""
        if self._trim is not None:
            self._thread.start()

    def stop(self) -> None:
        """Ends the thread."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def look(self) -> bool:
        """Gives free memory back where the process has grown since the last time; returns whether it did."""
        assert self._trim is not None
        if self._resident() <= self._least + _KEPT_BYTES:
            return False
        self._trim()
        # Models that were loaded meanwhile stay. What only shrank is measured anew.
        self._least = self._resident()
        return True

    def _work(self) -> None:
        while not self._stop.wait(_LOOK):
            self.look()
            self._least = min(self._least, self._resident())
