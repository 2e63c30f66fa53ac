"""One worker as its parent sees it."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
from typing import TextIO

from serving.server.flags import ServerFlags
from serving.server.workers.place import Place


def command(flags: ServerFlags) -> list[str]:
    """Returns the command line of a server with these settings."""
    settings = dataclasses.asdict(flags)
    return [sys.executable, "-m", "serving.server", *(f"--{name}={value}" for name, value in settings.items())]


class WorkerProcess:
    """A process that was started to serve. It is a new program, not a fork: TensorFlow and gRPC cannot be forked.

    Args:
        flags: The settings, with the ports of all workers.
        number: Of the worker.
        folder: Of the workers' sockets.
        errors: Standard error of the worker.

    Attributes:
        number: Of the worker.
        ready: Which models answer where, once they do.
        failed: Why the worker could not go on, where it told.
    """

    def __init__(self, flags: ServerFlags, number: int, folder: str, errors: TextIO) -> None:
        self.number = number
        self.ready = ""
        self.failed = ""
        self._text = b""
        self._is_told_to_end = False
        self._pipe, reports = os.pipe()
        os.set_blocking(self._pipe, False)
        try:
            self._process = subprocess.Popen(
                command(flags),
                stdin=subprocess.PIPE,
                stderr=errors,
                env=Place(number, folder, reports).environment(),
                pass_fds=(reports,),
                # Ctrl-C in a terminal reaches the parent alone, which passes it on.
                start_new_session=True,
            )
        except BaseException:
            os.close(self._pipe)
            raise
        finally:
            os.close(reports)

    @property
    def pid(self) -> int:
        """Number of the process."""
        return self._process.pid

    def look(self) -> bool:
        """Reads what the worker told; returns whether it still runs."""
        code = self._process.poll()
        self._read()
        return code is None

    def end(self, number: int, *, again: bool = False) -> None:
        """Sends a signal: once, unless `again`, because a second one ends a worker in the middle of its drain."""
        if again or not self._is_told_to_end:
            self._is_told_to_end = True
            # While Python starts it meets Ctrl-C with a traceback.
            early = number == signal.SIGINT and not self.ready
            self._process.send_signal(signal.SIGTERM if early else number)

    def close(self, seconds: float) -> None:
        """Waits until the process has ended, and kills it after a while."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        assert self._process.stdin is not None
        self._process.stdin.close()
        os.close(self._pipe)

    def how_it_ended(self) -> str:
        """Returns the cause in words, for a process that has ended."""
        code = self._process.returncode
        how = f"by {signal.Signals(-code).name}" if code < 0 else f"with code {code}"
        return f"{how}: {self.failed}" if self.failed else how

    def _read(self) -> None:
        try:
            while part := os.read(self._pipe, 65536):
                self._text += part
        except BlockingIOError:
            pass
        *lines, self._text = self._text.split(b"\n")
        for line in lines:
            told = json.loads(line)
            self.ready = told["ready"] or self.ready
            self.failed = told["failed"] or self.failed
