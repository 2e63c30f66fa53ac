"""Servers of their own processes: started with a log, waited for, killed, ended."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.waiting import eventually
from tfx_pipeline.runtime.stopping import descendants

ROOT = Path(__file__).parents[2]
_SECONDS_TO_END = 15


@dataclass
class Server:
    """A process that serves.

    Attributes:
        process: The process.
        log: What it writes.
    """

    process: subprocess.Popen[bytes]
    log: Path

    @property
    def pid(self) -> int:
        return self.process.pid

    def kill(self) -> None:
        """Kills it at once, and what it has started."""
        for pid in (*descendants(self.pid), self.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()

    def end(self) -> None:
        """Ends it in order, or kills it."""
        started = descendants(self.pid)
        self.process.terminate()
        try:
            self.process.wait(timeout=_SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            self.kill()
        for pid in started:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def tail(self) -> str:
        return self.log.read_text(errors="replace")[-2000:]


@dataclass
class Servers:
    """Servers that end together.

    Attributes:
        folder: Where their logs go.
    """

    folder: Path
    started: dict[str, Server] = field(default_factory=dict)

    def start(
        self, name: str, command: Sequence[str | Path], *, port: int, environment: Mapping[str, str] | None = None
    ) -> Server:
        """Starts a server and waits until it listens on its port."""
        self.folder.mkdir(parents=True, exist_ok=True)
        log = self.folder / f"{name}.log"
        with log.open("ab") as output:
            process = subprocess.Popen(
                [str(word) for word in command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self.folder,
                env={**os.environ, **python_environment(), **(environment or {})},
            )
        server = self.started[name] = Server(process, log)
        assert eventually(lambda: listens(port) or process.poll() is not None)
        assert process.poll() is None, f"{name} ended with {process.returncode}: {server.tail()}"
        return server

    def __getitem__(self, name: str) -> Server:
        return self.started[name]


@contextlib.contextmanager
def servers(folder: Path) -> Iterator[Servers]:
    """Ends what was started in it, the last first."""
    group = Servers(folder)
    try:
        yield group
    finally:
        for server in reversed(group.started.values()):
            if server.process.poll() is None:
                server.end()


def python_environment() -> dict[str, str]:
    """A pool starts its workers with whatever `python` is on the path; this one has the packages of the tests."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    return {"PATH": path, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}


def listens(port: int) -> bool:
    """Whether a server listens on a port of this machine."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False
