"""The parent of the workers: it starts them, starts another one for each that dies, and passes signals on."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from typing import TextIO

from serving.server.flags import ServerFlags
from serving.server.ports import check_ports
from serving.server.workers.ports import SharedPorts
from serving.server.workers.process import WorkerProcess

logger = logging.getLogger("serving.server")
_TURN = 0.1  # seconds after which the parent looks at its workers again
# Before a worker that died is started again. Twice as long each time, until one has been ready for a while.
_FIRST_WAIT, _LONGEST_WAIT = 1.0, 30.0
_GOOD_TIME = 60.0
# Beyond the drain. A worker bounds its own end; this is for one that hangs.
_LAST_SECONDS = 60.0
# A socket's path may have about 100 bytes.
_LONGEST_FOLDER = 60


@dataclass
class _Seat:
    """One of the workers' numbers, and the process that has it now.

    Attributes:
        worker: The process; None while it waits to be started again.
        wait: Seconds before the next start.
        due: The time.monotonic() of the next start.
        ready_since: The time.monotonic() since which the worker answers, 0 before.
    """

    worker: WorkerProcess | None = None
    wait: float = _FIRST_WAIT
    due: float = 0.0
    ready_since: float = 0.0


class Parent:
    """Serves with several processes on the same ports until a signal comes.

    Args:
        flags: The settings.
        errors: Where the workers write their messages.

    Raises:
        RequestError: A port is taken, or the system cannot share ports.
    """

    def __init__(self, flags: ServerFlags, errors: TextIO) -> None:
        check_ports(flags)
        self._ports = SharedPorts(flags)
        self._flags = with_shared_cores(replace(flags, port=self._ports.port, rest_api_port=self._ports.rest_port))
        self._errors = errors
        parent_folder = None if len(tempfile.gettempdir()) < _LONGEST_FOLDER else "/tmp"
        self._folder = tempfile.mkdtemp(prefix="serving-", dir=parent_folder)
        self._seats = [_Seat() for _ in range(flags.workers)]
        self._is_announced = False
        self._signal = 0

    def run(self) -> None:
        """Returns after a signal, when every worker has ended.

        Raises:
            ChildProcessError: A worker ended before all of them were ready for the first time.
        """
        for wanted in (signal.SIGTERM, signal.SIGINT):
            signal.signal(wanted, self._on_signal)
        # Where the start fails, nobody knows of the server yet.
        last: int = signal.SIGKILL
        try:
            while not self._signal:
                for number, seat in enumerate(self._seats):
                    self._look(number, seat)
                self._announce()
                time.sleep(_TURN)
            last = self._signal
        finally:
            self._end(last)

    def _look(self, number: int, seat: _Seat) -> None:
        """Starts the worker of a seat where it is due, and notes what became of it."""
        worker = seat.worker
        if worker is None:
            if time.monotonic() >= seat.due and not self._signal:
                seat.worker = WorkerProcess(self._flags, number, self._folder, self._errors)
            return
        runs = worker.look()
        if worker.ready and not seat.ready_since:
            seat.ready_since = time.monotonic()
            if self._is_announced:
                logger.warning("worker %d (process %d) is ready", number, worker.pid)
        if not runs and not self._signal:
            self._replace(number, seat, worker)

    def _replace(self, number: int, seat: _Seat, worker: WorkerProcess) -> None:
        """Makes a seat whose worker has ended wait for another one."""
        worker.close(0)
        seat.worker = None
        if not self._is_announced:
            raise ChildProcessError(
                worker.failed or f"worker {number} ended {worker.how_it_ended()} before it was ready"
            )
        if seat.ready_since and time.monotonic() - seat.ready_since >= _GOOD_TIME:
            seat.wait = _FIRST_WAIT
        logger.error(
            "worker %d (process %d) ended %s; the next one starts in %g s",
            *(number, worker.pid, worker.how_it_ended(), seat.wait),
        )
        seat.due, seat.ready_since = time.monotonic() + seat.wait, 0.0
        seat.wait = min(_LONGEST_WAIT, 2 * seat.wait)

    def _announce(self) -> None:
        """Prints one line for people when all workers are ready for the first time."""
        if self._is_announced or not all(seat.ready_since for seat in self._seats):
            return
        self._is_announced = True
        assert self._seats[0].worker is not None
        sys.stdout.write(f"{self._seats[0].worker.ready}, {len(self._seats)} workers\n")
        sys.stdout.flush()

    def _on_signal(self, number: int, _: object) -> None:
        """Passes a signal on. A second one ends everything at once, as it does a single server."""
        again, self._signal = bool(self._signal), number
        for seat in self._seats:
            if seat.worker is not None:
                seat.worker.end(number, again=again)
        if again:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

    def _end(self, number: int) -> None:
        """Ends the workers that have not been told yet, waits for all, and lets the ports go."""
        running = [seat.worker for seat in self._seats if seat.worker is not None]
        for worker in running:
            worker.end(number)
        end = time.monotonic() + self._flags.drain_seconds + _LAST_SECONDS
        for worker in running:
            worker.close(max(0.0, end - time.monotonic()))
        self._ports.close()
        shutil.rmtree(self._folder, ignore_errors=True)


def with_shared_cores(flags: ServerFlags) -> ServerFlags:
    """Returns flags with which each worker's TensorFlow has its share of the cores, unless they say how many threads.

    Otherwise every worker would have threads for all cores, and the workers would wait for each other.
    """
    given = (
        flags.tensorflow_session_parallelism,
        flags.tensorflow_intra_op_parallelism,
        flags.tensorflow_inter_op_parallelism,
    )
    if any(given):
        return flags
    return replace(flags, tensorflow_session_parallelism=max(1, len(os.sched_getaffinity(0)) // flags.workers))
