"""The console, which shows our lines; output of TensorFlow, TFX and Beam goes to a log file."""

from __future__ import annotations

import errno
import importlib
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from typing import TextIO


class StoppedError(RuntimeError):
    """A run stopped early. The message has the reason and the path of the log.

    Attributes:
        exit_code: 2 where the disk was full, as for everything that the user can fix at once; else 1.
    """

    exit_code = 1


class Console:
    """Prints lines for the user, also while the process's own output goes to a log file."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stdout

    def say(self, line: str = "") -> None:
        """Prints one line at once."""
        write_text(line + "\n", self._stream)
        self._stream.flush()

    @contextmanager
    def output_to_log(self, log: Path) -> Iterator[None]:
        """Redirects stdout and stderr of this process and its children to the end of `log`; `say` still prints.

        It redirects file descriptors, not Python's streams, because much of the output comes from C++.
        """
        log.parent.mkdir(parents=True, exist_ok=True)
        sys.stdout.flush()
        sys.stderr.flush()
        saved = [os.dup(descriptor) for descriptor in (1, 2)]
        shown = saved[1] if self._stream is sys.stderr else saved[0]
        previous, self._stream = self._stream, os.fdopen(os.dup(shown), "w")
        with log.open("ab", buffering=0) as file:
            _output_of_imports.move_to(file)
            for descriptor in (1, 2):
                os.dup2(file.fileno(), descriptor)
            try:
                yield
            finally:
                for stream in (sys.stdout, sys.stderr):
                    with suppress(OSError):  # the log's disk is full
                        stream.flush()
                _output_of_imports.move_to(file)
                for descriptor, original in zip((1, 2), saved, strict=True):
                    os.dup2(original, descriptor)
                    os.close(original)
                self._stream.close()
                self._stream = previous


def write_text(text: str, stream: TextIO | None = None) -> None:
    """Writes text, by default to stdout; a character that the stream's encoding lacks is escaped, not an error."""
    stream = stream or sys.stdout
    encoding = stream.encoding or "utf-8"
    stream.write(text.encode(encoding, "backslashreplace").decode(encoding))


@contextmanager
def stop_with_message(log: Path) -> Iterator[None]:
    """Raises a `StoppedError` in place of any error; the traceback goes to standard error, which is the log."""
    try:
        yield
    except Exception as error:
        with suppress(OSError):
            traceback.print_exc()
        full = is_disk_full(error)
        why = f"{log.parent}: no space is left on the disk. Free some and start again." if full else error
        stopped = StoppedError(f"The pipeline stopped: {why}\nLog: {log}")
        stopped.exit_code = 2 if full else 1
        raise stopped from None


def is_disk_full(error: BaseException | None) -> bool:
    """Returns whether an error, or one of its causes, means that a disk is full."""
    while error is not None:
        if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
            return True
        if any(words in str(error) for words in ("No space left on device", "disk is full")):  # TensorFlow, SQLite
            return True
        error = error.__cause__ or error.__context__
    return False


class _KeptOutput:
    """Output of packages that `import_quietly` imported, in memory until there is a log."""

    def __init__(self) -> None:
        self._file = -1

    def descriptor(self) -> int:
        """Returns the file descriptor to write to."""
        if self._file < 0:
            self._file = os.memfd_create("import") if hasattr(os, "memfd_create") else os.open(os.devnull, os.O_RDWR)
        return self._file

    def move_to(self, log: FileIO) -> None:
        """Moves the kept output to the log."""
        if self._file >= 0:
            with suppress(OSError):  # the log's disk is full
                log.write(os.pread(self._file, os.fstat(self._file).st_size, 0))
            os.close(self._file)
            self._file = -1


_output_of_imports = _KeptOutput()


def import_quietly(package: str) -> None:
    """Imports a package without printing its messages; `Console.output_to_log` writes them to the log.

    What TensorFlow 2.21 logs while it is loaded ignores its log level (github.com/tensorflow/tensorflow/issues/100442).
    """
    sys.stderr.flush()
    saved = os.dup(2)
    os.dup2(_output_of_imports.descriptor(), 2)
    try:
        importlib.import_module(package)
    finally:
        sys.stderr.flush()
        os.dup2(saved, 2)
        os.close(saved)
