"""Command line of the embedded server.

    python -m serving.server --port=8500 --model_name=bcl --model_base_path=/absolute/path

Prints one line when it is ready. After SIGTERM its health says NOT_SERVING, and it answers requests for
`--drain_seconds`. Ctrl-C ends it without that. A second signal ends it at once. The exit code is 0 after a signal, and
255 if it cannot start, as TensorFlow Serving's.
"""

from __future__ import annotations

import gc
import logging
import logging.handlers
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, TextIO

from serving.protocol.errors import RequestError, internal
from serving.server.access_log import JsonFormatter
from serving.server.file_descriptors import raise_limit
from serving.server.flags import ServerFlags, parse_flags
from serving.server.workers.parent import Parent
from serving.server.workers.place import Place

if TYPE_CHECKING:
    from serving.server.embedded import EmbeddedServer

_FAILED = 255
# Seconds that the server's threads have to end after it has stopped.
_LAST_THREADS = 1.0
_TURN = 0.5  # seconds after which the main thread looks for a signal again


def _redirect(log_file: str, error_log_file: str, terminal: TextIO) -> None:
    """Sends what TensorFlow and gRPC write from C++ to a file, or silences it; our own lines go elsewhere.

    Args:
        log_file: The file; empty silences them.
        error_log_file: Where our own lines go, as JSON; empty means to the terminal, as text.
        terminal: What standard error was.
    """
    if log_file:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "0")
        descriptor = os.open(log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    else:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        os.environ.setdefault("GRPC_VERBOSITY", "NONE")
        descriptor = os.open(os.devnull, os.O_WRONLY)
    os.dup2(descriptor, sys.stderr.fileno())
    os.close(descriptor)
    handler: logging.Handler
    if error_log_file:
        handler = logging.handlers.WatchedFileHandler(error_log_file, encoding="utf-8")
        handler.setFormatter(JsonFormatter())
    else:
        handler = logging.StreamHandler(terminal)
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logger = logging.getLogger("serving.server")
    logger.addHandler(handler)
    logger.propagate = False


class _StopRequestedError(Exception):
    """A signal asked the server to stop."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


def _stop(number: int, _: object) -> None:
    # From now on a signal ends the process at once.
    for again in (signal.SIGTERM, signal.SIGINT):
        signal.signal(again, signal.SIG_DFL)
    raise _StopRequestedError(number)


def _server_class() -> type[EmbeddedServer]:
    """Imports the server with all that it needs."""
    # The import makes many objects that live to the end. To look among them for garbage takes a fifth of its time, and
    # later a moment of all requests whenever a version is unloaded.
    gc.disable()
    # Late: TensorFlow reads the environment that `_redirect` sets.
    from serving.server.embedded import EmbeddedServer

    gc.freeze()
    gc.enable()
    return EmbeddedServer


def _serve(flags: ServerFlags, place: Place | None) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _stop)
    try:
        with _server_class()(flags, place) as server:
            try:
                _tell_ready(server.describe(), place)
                # In turns: a signal that comes just before a wait begins does not end it.
                while not threading.Event().wait(_TURN):
                    pass
            except _StopRequestedError as stop:
                if stop.number == signal.SIGTERM:
                    server.drain(flags.drain_seconds)
    except _StopRequestedError:
        pass


def _tell_ready(line: str, place: Place | None) -> None:
    if place is not None:
        place.report(ready=line)
    else:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


def main(argv: Sequence[str] | None = None) -> int:
    """Serves until a signal comes, and returns the exit code."""
    terminal = sys.stderr
    place = Place.given()
    try:
        flags = parse_flags(argv)
        terminal = os.fdopen(os.dup(sys.stderr.fileno()), "w", buffering=1)
        _redirect(flags.log_file, flags.error_log_file, terminal)
        raise_limit()
        if flags.workers > 1 and place is None:
            Parent(flags, terminal).run()
        else:
            if place is not None:
                place.end_with_parent()
            _serve(flags, place)
    except Exception as error:
        # Any type: standard error is a log file by now, where nobody would look for a traceback.
        known = isinstance(error, (RequestError, OSError))
        failure = error if known else internal(f"{type(error).__name__}: {error}")
        if place is not None:
            place.report(failed=str(failure))
        else:
            terminal.write(f"Failed to start server. Error: {failure}\n")
        return _FAILED
    return 0


def _leave(code: int) -> None:
    """Ends the process, also where a thread of the server still runs: Python would wait for it, perhaps for ever."""
    end = time.monotonic() + _LAST_THREADS
    for thread in threading.enumerate():
        if thread.name.startswith("serving-"):
            thread.join(max(0.0, end - time.monotonic()))
            if thread.is_alive():
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
    sys.exit(code)


if __name__ == "__main__":
    _leave(main())
