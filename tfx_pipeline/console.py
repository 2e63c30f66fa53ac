"""What the user sees: our lines. What TensorFlow, TFX and Beam say goes to a log file."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO


class Console:
    """Prints lines for the user, also while the process's own output goes to a log file."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stdout

    def say(self, line: str = "") -> None:
        """Prints one line at once."""
        write_text(line + "\n", self._stream)
        self._stream.flush()

    @contextmanager
    def chatter_to(self, log: Path) -> Iterator[None]:
        """Appends whatever this process or its children write to stdout and stderr to `log`; `say` still prints.

        File descriptors are redirected, not Python's streams, because much of the chatter comes from C++.
        """
        log.parent.mkdir(parents=True, exist_ok=True)
        sys.stdout.flush()
        sys.stderr.flush()
        saved = [os.dup(descriptor) for descriptor in (1, 2)]
        previous, self._stream = self._stream, os.fdopen(os.dup(saved[0]), "w")
        with log.open("ab", buffering=0) as file:
            for descriptor in (1, 2):
                os.dup2(file.fileno(), descriptor)
            try:
                yield
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
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


def import_quietly(package: str) -> None:
    """Imports a package for a command that shows nothing of what the package says of itself, such as its own warnings.

    What TensorFlow 2.21 logs while it is loaded heeds no log level (github.com/tensorflow/tensorflow/issues/100442).
    """
    sys.stderr.flush()
    saved = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    try:
        importlib.import_module(package)
    finally:
        os.dup2(saved, 2)
        os.close(saved)
