"""Runs a command to its end, or kills it in the middle, and measures what it used."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Ended:
    """How a command ended.

    Attributes:
        exit_code: Its exit code; negative where a signal ended it.
        line: The JSON object on standard output; None where there is none.
        messages: Standard error.
        seconds: How long it took.
        cpu: Processor seconds, with those of its child processes.
        peak: Largest memory, in bytes.
    """

    exit_code: int
    line: dict[str, Any] | None
    messages: str
    seconds: float
    cpu: float
    peak: int


def run(command: Sequence[str], temporary: Path, *, kill_after: str | None = None) -> Ended:
    """Runs a module of Python.

    Args:
        command: The module and its arguments.
        temporary: Folder for temporary files, which is made.
        kill_after: The process and its children are killed once a line of standard error begins with this word.
    """
    temporary.mkdir(parents=True, exist_ok=True)
    began, lines = time.monotonic(), []
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(temporary)},
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    for line in process.stderr:
        lines.append(line)
        if kill_after is not None and line.split()[:1] == [kill_after]:
            os.killpg(process.pid, signal.SIGKILL)
    out = process.stdout.read()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return Ended(
        process.returncode,
        _json_of(out),
        "".join(lines),
        round(time.monotonic() - began, 1),
        round(used.ru_utime + used.ru_stime, 1),
        used.ru_maxrss * 1024,
    )


def _json_of(out: str) -> dict[str, Any] | None:
    lines = out.splitlines()
    return dict(json.loads(lines[-1])) if lines and lines[-1].startswith("{") else None
