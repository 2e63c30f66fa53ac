"""One process at a time in a folder: a lock that ends with the process that holds it, however that ends."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_HELD_BY_ANOTHER = (errno.EACCES, errno.EAGAIN)
#: Errors of `open` and `lockf` on file systems without locks.
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL)
#: What this process holds, by the file that is locked.
_held: set[Path] = set()


_IN_USE = "{}: expected a folder that no other run uses. Received: one in use by {}. Wait for it or stop it."


class FolderError(ValueError):
    """A folder cannot be used. The message names it, what was expected and what was received."""


class FolderInUseError(FolderError):
    """Another process uses the folder. The message says which."""


@contextmanager
def only_process_in(folder: Path | str, name: str = ".lock", shown: Path | str | None = None) -> Iterator[None]:
    """Holds `folder` for this process while the block runs; a missing folder is made, and stays if the block fills it.

    The lock is one of the kernel's on the file `name` in the folder (POSIX, `fcntl.lockf`). It belongs to this process
    alone: it ends with it, also after `kill -9`, no forked or started process inherits it, and network file systems
    carry it to other hosts. The file's text only names its holder.

    Args:
        folder: The folder to hold.
        name: Of the file that is locked.
        shown: What messages call the folder; by default its path.

    Raises:
        FolderInUseError: If another process holds it, or this one does already.
        FolderError: If the folder cannot be made or written.
    """
    folder, shown = Path(folder).absolute(), shown or folder
    made = [parent for parent in (folder, *folder.parents) if not os.path.lexists(parent)]
    path = folder / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = _open_locked(path, shown)
    except OSError as error:
        _remove_empty(made)
        raise FolderError(
            f"{shown}: expected a folder that can be written. Received: {_received(folder, error)}"
        ) from error
    _held.add(path)
    try:
        yield
    finally:
        _held.discard(path)
        # Before the lock ends: a later process then locks a new file.
        with suppress(OSError):
            path.unlink()
        os.close(descriptor)
        _remove_empty(made)


def _open_locked(path: Path, shown: Path | str) -> int:
    """Returns the descriptor of the locked file, whose text names this process."""
    if path in _held:  # to open the file and close it would end the lock
        raise FolderInUseError(_IN_USE.format(shown, f"this process, {os.getpid()}"))
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not _is_still(path, descriptor):  # its holder has just ended and removed it
                os.close(descriptor)
                continue
        except OSError as error:
            if error.errno in _HELD_BY_ANOTHER:
                os.close(descriptor)
                raise FolderInUseError(_IN_USE.format(shown, _holder(path))) from error
            if error.errno not in _NO_LOCKS:
                os.close(descriptor)
                raise
            sys.stderr.write(f"{shown}: its file system has no locks, so nothing keeps a second run out.\n")
        try:
            _sign(descriptor)
        except OSError:
            path.unlink()
            os.close(descriptor)
            raise
        return descriptor


def _is_still(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _sign(descriptor: int) -> None:
    since = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
    holder = {"pid": os.getpid(), "host": socket.gethostname(), "since": since}
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, (json.dumps(holder) + "\n").encode(), 0)


def _holder(path: Path) -> str:
    try:
        holder = json.loads(path.read_text(encoding="utf-8"))
        return f"process {holder['pid']} on {holder['host']}, since {holder['since']}"
    except (OSError, ValueError, KeyError, TypeError):  # it is about to write its name
        return "another process"


def _received(folder: Path, error: OSError) -> str:
    if isinstance(error, FileExistsError):
        return f"{folder}, which is a {'link that leads nowhere' if folder.is_symlink() else 'file'}"
    if isinstance(error, NotADirectoryError):
        return "a folder below a file"
    return error.strerror or type(error).__name__


def _remove_empty(folders: list[Path]) -> None:
    """Removes the folders that hold nothing, innermost first."""
    for folder in folders:
        with suppress(OSError):
            folder.rmdir()
