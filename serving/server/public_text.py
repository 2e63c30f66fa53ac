"""What a client may read of an error: not where the server's files lie."""

from __future__ import annotations

import re

from serving.protocol.errors import RequestError, internal

# A folder and those in it, from the root on. Not inside a URL, and not inside a relative path.
_FOLDERS = re.compile(r"(?<![\w.:/}-])/(?:[^\s/'\"]+/)+")


def without_folders(text: str, folder: str = "") -> str:
    """Returns a text whose absolute paths are cut to their last part.

    Args:
        text: Of an error.
        folder: A folder that is surely named, perhaps with spaces in its path.
    """
    if folder:
        text = text.replace(folder.rstrip("/") + "/", "")
    return _FOLDERS.sub("", text)


def public_error(error: RequestError, folder: str = "") -> RequestError:
    """Returns an error as clients may read it; see `without_folders`."""
    return RequestError(error.code, without_folders(error.message, folder))


def unforeseen(error: Exception) -> RequestError:
    """Returns INTERNAL for an error that nothing in the server raises on purpose."""
    return internal(without_folders(f"{type(error).__name__}: {error}"))
