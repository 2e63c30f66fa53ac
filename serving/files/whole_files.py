"""Files and folders that appear whole or not at all, also where the disk is full or the machine stops."""

from __future__ import annotations

import os
import shutil
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


def sync_path(path: Path | str) -> None:
    """Returns when a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(folder: Path | str) -> None:
    """Returns when all that is below `folder` is on the disk, so that a rename never shows a part of it."""
    for path, _, names in os.walk(folder, topdown=False):
        for name in (*names, "."):
            sync_path(os.path.join(path, name))


def begin_folder(out: Path | str) -> Path:
    """Returns the path of a folder to write in the place of `out`, without what a killed process left there."""
    aside = Path(f"{out}.writing")
    shutil.rmtree(aside, ignore_errors=True)
    return aside


def replace_folder(aside: Path | str, out: Path | str) -> None:
    """Puts a folder that was begun in the place of `out`. Between two renames only `earlier` is there."""
    sync_tree(aside)
    before = earlier(out)
    if os.path.exists(out):
        shutil.rmtree(before, ignore_errors=True)
        os.rename(out, before)
    os.rename(aside, out)
    shutil.rmtree(before, ignore_errors=True)


def earlier(out: Path | str) -> Path:
    """Returns where the folder lies that `out` is to take the place of, if a process was killed meanwhile."""
    return Path(f"{out}.before")
