"""One line per component of a pipeline that runs on this machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tfx.orchestration.portable import launcher

_RAN, _CACHED, _FAILED = "{:6.1f} s", "from cache", "failed"


class OutOfTimeError(RuntimeError):
    """The time budget of a run is used up. The next run takes the results so far from the cache."""


@contextmanager
def component_lines(say: Callable[[str], None], *, until: float | None = None) -> Iterator[None]:
    """Calls `say` with a line when a component ends: its name and how long it took, or that the cache had its result.

    TFX offers no hook for this, so its launcher is patched. Its log is not reliable, because components change the
    log's level.

    Args:
        say: Gets each line.
        until: Time of `time.monotonic` after which no component starts but raises `OutOfTimeError`; None for no end.
    """
    launch, run_executor = launcher.Launcher.launch, launcher.Launcher._run_executor
    executed: set[str] = set()

    def noting(self: launcher.Launcher, *arguments: Any) -> Any:
        executed.add(self._pipeline_node.node_info.id)
        return run_executor(self, *arguments)

    def timed(self: launcher.Launcher) -> Any:
        name = self._pipeline_node.node_info.id
        start = time.monotonic()
        if until is not None and start >= until:
            raise OutOfTimeError(f"The time budget was used up before {name}. The next run goes on from there.")
        try:
            execution = launch(self)
        except Exception:
            say(_line(name, _FAILED))
            raise
        say(_line(name, _RAN.format(time.monotonic() - start) if name in executed else _CACHED))
        return execution

    launcher.Launcher.launch, launcher.Launcher._run_executor = timed, noting
    try:
        yield
    finally:
        launcher.Launcher.launch, launcher.Launcher._run_executor = launch, run_executor


def _line(name: str, outcome: str) -> str:
    return f"  {name:<22}{outcome:>12}"
