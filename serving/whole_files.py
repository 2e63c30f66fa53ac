"""Files that appear whole or not at all, also where the disk is full or the machine stops."""

from __future__ import annotations

import os
from pathlib import Path


def write_whole(path: Path | str, text: str) -> None:
    """Writes a text file aside, then puts it in its place; what was there stays if that fails.

    Raises:
        OSError: If it cannot be written, as where the disk is full.
    """
    path = Path(path)
    aside = path.with_name(f".{path.name}.writing")
    try:
        with aside.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


def sync_tree(folder: Path | str) -> None:
    """Returns when all that is below `folder` is on the disk, so that a rename never shows a part of it."""
    for path, _, names in os.walk(folder, topdown=False):
        for name in (*names, "."):
            descriptor = os.open(os.path.join(path, name), os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
