"""The files of a log: whole files whose names sort by time, and one that is being written.

A file is named `<prefix>-<UTC time of its first record>-<process>.tfrecord`. While it is written, `.part` follows. So
nobody takes it for whole. A `.part` that a killed process left has whole records, and perhaps a broken one at its end.
"""

from __future__ import annotations

import fcntl
import os
import re
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

import tensorflow as tf

from serving.files.whole_files import put_file

SUFFIX, PART = ".tfrecord", ".part"
# What TFRecord adds to a record: its length, and two checksums.
_FRAME_BYTES = 16
# Requests are nobody's but the operator's.
_MODE = 0o640
_TIME = "%Y%m%dT%H%M%S.%fZ"


@dataclass(frozen=True)
class Rotation:
    """When a file is whole, and how much stays on the disk.

    Attributes:
        file_bytes: Bytes of a file.
        file_seconds: Seconds after which a file is whole, however small it is.
        max_bytes: Bytes of all files of one prefix; the oldest go. 0 = no limit.
    """

    file_bytes: int = 64 * 2**20
    file_seconds: float = 3600.0
    max_bytes: int = 2**30


class LogFiles:
    """Appends records to files below one prefix. Use it in one thread.

    Args:
        prefix: Absolute path that the names of the files begin with.
        rotation: When a file is whole, and how much stays.

    Raises:
        OSError: If the folder cannot be written.
    """

    def __init__(self, prefix: str, rotation: Rotation) -> None:
        self._prefix = prefix
        self._rotation = rotation
        self._writer: Any = None
        self._lock = -1
        self._path = ""
        self._size = 0
        self._end = 0.0
        self._last = datetime.min.replace(tzinfo=timezone.utc)
        os.makedirs(os.path.dirname(prefix), exist_ok=True)
        if not os.access(os.path.dirname(prefix), os.W_OK | os.X_OK):
            raise PermissionError(f"{os.path.dirname(prefix)}: expected a folder that can be written")

    def write(self, record: bytes) -> bool:
        """Appends a record; returns False for one that is too large for any file.

        Raises:
            OSError, tf.errors.OpError: If it cannot be written, as where the disk is full.
        """
        size = len(record) + _FRAME_BYTES
        if size > self._rotation.file_bytes:
            return False
        if self._size + size > self._rotation.file_bytes:
            self.finish()
        if self._writer is None:
            self._open()
        self._writer.write(record)
        self._size += size
        return True

    def flush(self) -> None:
        """Hands what was written to the system, so that a killed process loses none of it. Ends a file that is old."""
        if self._writer is not None:
            self._writer.flush()
            if time.monotonic() >= self._end:
                self.finish()

    def finish(self) -> None:
        """Makes the current file a whole one."""
        if self._writer is None:
            return
        try:
            self._writer.close()
            put_file(self._path + PART, self._path)
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Leaves the current file as it is, after an error. The next record begins another."""
        self._writer, self._size = None, 0
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _open(self) -> None:
        self._make_room()
        # A clock that was set back must not change the order.
        self._last = max(datetime.now(timezone.utc), self._last + timedelta(microseconds=1))
        self._path = f"{self._prefix}-{self._last.strftime(_TIME)}-{os.getpid()}{SUFFIX}"
        self._lock = os.open(self._path + PART, os.O_CREAT | os.O_RDWR, _MODE)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self._writer = tf.io.TFRecordWriter(self._path + PART)
        self._end = time.monotonic() + self._rotation.file_seconds

    def _make_room(self) -> None:
        """Removes the oldest files, so that one more full file fits. Other processes may do the same."""
        if not self._rotation.max_bytes:
            return
        sizes = {path: self._bytes_of(path) for path in log_files(self._prefix)}
        total = sum(sizes.values())
        for path, size in sizes.items():
            if total + self._rotation.file_bytes <= self._rotation.max_bytes:
                return
            if not _is_being_written(path):
                with suppress(FileNotFoundError):
                    os.unlink(path)
                total -= size

    def _bytes_of(self, path: str) -> int:
        try:
            return self._rotation.file_bytes if _is_being_written(path) else os.path.getsize(path)
        except FileNotFoundError:
            return 0


def log_files(prefix: str) -> list[str]:
    """Returns the files of a log, the oldest first, those that are not whole among them."""
    folder, start = os.path.split(prefix)
    name = re.compile(
        re.escape(start) + r"-\d{8}T\d{6}\.\d{6}Z-\d+" + re.escape(SUFFIX) + f"(?:{re.escape(PART)})?", re.ASCII
    )
    return [os.path.join(folder, found) for found in sorted(os.listdir(folder)) if name.fullmatch(found)]


def _is_being_written(path: str) -> bool:
    """Whether a process holds the file. One that was killed holds none."""
    if not path.endswith(PART):
        return False
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return False
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
