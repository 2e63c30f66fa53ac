"""Runs work in processes of its own, each with its share of the cores: a training step is too small for several."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from multiprocessing import get_context
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from typing import Any, NamedTuple

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")


class Work(NamedTuple):
    """What one process does.

    Attributes:
        name: For messages.
        arguments: Of the function, after the connection that it sends its lines to.
    """

    name: str
    arguments: tuple[Any, ...]


def cores() -> int:
    """Returns the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_processes(target: Callable[..., None], work: Sequence[Work], say: Callable[[str], None], jobs: int) -> None:
    """Runs all work, `jobs` processes at once, and passes on their lines.

    Args:
        target: A function of a module; its first argument is a connection that takes lines.
        work: In the order in which it is started.
        say: Takes the lines.
        jobs: Most processes at once.

    Raises:
        RuntimeError: If a process failed; the others are stopped.
    """
    threads = dict.fromkeys(_THREADS, str(max(1, cores() // jobs)))
    # Libraries read these when they are imported, which a new process does after it has them; what is set stays.
    added = {name: value for name, value in threads.items() if name not in os.environ}
    os.environ.update(added)
    context, waiting = get_context("spawn"), list(work)
    running: dict[Any, tuple[BaseProcess, str]] = {}
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                one = waiting.pop(0)
                lines, sender = context.Pipe(duplex=False)
                process = context.Process(target=target, args=(sender, *one.arguments))
                process.start()
                sender.close()  # while it is open here, no end of the process is seen
                running[lines] = process, one.name
            for ready in wait(list(running)):
                _take_line(ready, running, say)
    finally:
        for started, _ in running.values():
            started.terminate()
        for name in added:
            del os.environ[name]


def _take_line(lines: Any, running: dict[Any, tuple[BaseProcess, str]], say: Callable[[str], None]) -> None:
    """Passes on a line of a process, or removes the process that has ended.

    Raises:
        RuntimeError: If the process failed.
    """
    try:
        say(lines.recv())
    except EOFError:
        process, name = running.pop(lines)
        process.join()
        if process.exitcode:
            raise RuntimeError(f"{name}: expected exit code 0 of its process. Received: {process.exitcode}") from None
