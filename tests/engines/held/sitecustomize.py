"""Holds a worker in the middle of a step: the first file that it opens to write under a name waits for the test.

A pool with this folder on its PYTHONPATH starts workers that import this module. HOLD_AT is a part of the file's path,
HELD the file that gets the worker's process id. A later attempt finds HELD and goes on.
"""

from __future__ import annotations

import os
import sys
import time

_AT, _HELD = os.environ.get("HOLD_AT"), os.environ.get("HELD")


def _hold(event: str, arguments: tuple[object, ...]) -> None:
    if event != "open" or _AT is None or _HELD is None or _AT not in str(arguments[0]):
        return
    mode = str(arguments[1] or "")
    if "w" not in mode or os.path.exists(_HELD):
        return
    descriptor = os.open(_HELD, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    os.write(descriptor, str(os.getpid()).encode())
    os.close(descriptor)
    time.sleep(3600)


sys.addaudithook(_hold)
