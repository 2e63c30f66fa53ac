"""Ctrl-C and SIGTERM end a command with one line, without a traceback and without processes left behind."""

from __future__ import annotations

import atexit
import ctypes
import os
import signal
import socket
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
#: Seconds for the main thread to see the signal, for all to end in order, and for other processes to end.
_TO_SEE, _TO_END, _TO_LEAVE = 1.0, 5.0, 2.0

_OUR_TFX = b"tfx_pipeline.tfx_command"
_SIGNAL_AT_PARENTS_DEATH = 1  # PR_SET_PDEATHSIG of <linux/prctl.h>

GOES_ON = "The next run goes on where this one stopped."


def stop_on_signals(then: str = GOES_ON) -> None:
    """Makes SIGINT, SIGTERM and SIGHUP end this process: one line at once, then exit code 128 + the signal's number.

    The main thread gets a `SystemExit`, so unfinished files are removed as after any error. If a library keeps the main
    thread busy for some seconds, or a second signal comes, the process ends as after `kill -9`. Its child processes end
    with it. A signal that the parent process ignores stays ignored.

    Args:
        then: The text after "Stopped.".
    """
    _Stop(then).install()


def stop_with_tfx() -> None:
    """Sends this process SIGTERM when its parent `tfx run create` ends, which passes no signals on."""
    with suppress(OSError, AttributeError):  # these calls exist on Linux only
        parent = os.getppid()
        words = [os.path.basename(word) for word in Path(f"/proc/{parent}/cmdline").read_bytes().split(b"\0")]
        if (b"tfx" in words[:2] or _OUR_TFX in words) and b"run" in words:
            ctypes.CDLL(None).prctl(_SIGNAL_AT_PARENTS_DEATH, signal.SIGTERM)
            if os.getppid() != parent:
                signal.raise_signal(signal.SIGTERM)


class _Stop:
    """The steps from the signal to the end of the process."""

    def __init__(self, then: str) -> None:
        self._line = f"Stopped. {then}\n".encode()
        # Standard error may be a log file by the time the signal comes.
        self._terminal = os.dup(2)
        self._came, self._wake = socket.socketpair()
        self._code = 0
        self._lock, self._is_written = threading.Lock(), False
        self._seen = threading.Event()
        self._blocked = threading.local()
        self._signals = [number for number in _SIGNALS if signal.getsignal(number) != signal.SIG_IGN]

    def install(self) -> None:
        self._wake.setblocking(False)
        threading.Thread(target=self._watch, name="signals", daemon=True).start()
        # The handler runs in the main thread, and only between two steps of Python; this tells the watcher at once.
        signal.set_wakeup_fd(self._wake.fileno(), warn_on_full_buffer=False)
        for number in self._signals:
            signal.signal(number, self._raise)
        os.register_at_fork(before=self._block, after_in_parent=self._unblock, after_in_child=self._forget)
        atexit.register(self._finish)  # first in, last out

    def _raise(self, number: int, _: FrameType | None) -> None:
        if not self._seen.is_set():
            self._seen.set()
            self._code = 128 + number
            # Whatever else fails from here on fails because of the signal.
            for place, hook in ((sys, "excepthook"), (sys, "unraisablehook"), (threading, "excepthook")):
                setattr(place, hook, lambda *_: None)
            raise SystemExit(self._code)

    def _watch(self) -> None:
        while (number := self._came.recv(1)[0]) not in self._signals:
            pass
        self._code = 128 + number
        self._write_line()
        self._seen.wait(_TO_SEE)
        _end(descendants(os.getpid()))
        self._came.settimeout(_TO_END)
        with suppress(TimeoutError):
            while self._came.recv(1)[0] not in self._signals:
                pass
        self._finish()

    def _write_line(self) -> None:
        with self._lock, suppress(OSError):
            if not self._is_written:
                os.write(self._terminal, self._line)
            self._is_written = True

    def _finish(self) -> None:
        """Ends the process without the exit handlers of libraries, whose threads may be in the middle of something."""
        if self._code:
            self._write_line()
            _end(descendants(os.getpid()))
            for stream in (sys.stdout, sys.stderr):
                with suppress(OSError, ValueError):
                    stream.flush()
            os._exit(self._code)

    def _block(self) -> None:
        """Holds signals back during a fork: a signal to the child must not count as one to this process."""
        self._blocked.before = signal.pthread_sigmask(signal.SIG_BLOCK, self._signals)

    def _unblock(self) -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, self._blocked.before)

    def _forget(self) -> None:
        """Restores the default handlers of signals in a forked process."""
        self._code = 0
        with suppress(ValueError):  # forked by another thread than the main one
            signal.set_wakeup_fd(-1)
            for number in self._signals:
                if signal.getsignal(number) == self._raise:
                    signal.signal(number, signal.SIG_DFL)
        self._unblock()


def descendants(pid: int) -> list[int]:
    """Returns the child processes of a process, and their children."""
    found: list[int] = []
    with suppress(OSError):
        for children in Path(f"/proc/{pid}/task").glob("*/children"):
            with suppress(OSError):
                for child in map(int, children.read_text().split()):
                    found += [child, *descendants(child)]
    return found


def _end(processes: list[int]) -> None:
    for number, seconds in ((signal.SIGTERM, _TO_LEAVE), (signal.SIGKILL, 0.0)):
        for process in processes:
            with suppress(OSError):
                os.kill(process, number)
        end = time.monotonic() + seconds
        while processes := [process for process in processes if _runs(process)]:
            if time.monotonic() >= end:
                break
            time.sleep(0.02)


def _runs(process: int) -> bool:
    """Returns whether the process still runs. A zombie does not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
