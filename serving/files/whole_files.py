"""Files and folders that appear whole or not at all, also where the disk is full or the machine stops.

The content is written aside, reaches the disk, and gets its name by a rename. Nothing else in the project renames what
it has written.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def write_whole(path: Path | str, text: str) -> None:
    """Writes a text file aside, then puts it in its place; what was there stays if that fails.

    Raises:
        OSError: If it cannot be written, as where the disk is full.
    """
    with writing_whole(path) as aside:
        aside.write_text(text, encoding="utf-8")


@contextmanager
def writing_whole(path: Path | str) -> Iterator[Path]:
    """Yields a file to write, which takes the place of `path` when the block ends without an error."""
    path = Path(path)
    aside = path.with_name(f".{path.name}.writing")
    try:
        yield aside
        put_file(aside, path)
    finally:
        aside.unlink(missing_ok=True)


def put_file(aside: Path | str, path: Path | str) -> None:
    """Puts a file that was written aside in its place."""
    sync_path(aside)
    put_link(aside, path)


def put_link(aside: Path | str, path: Path | str) -> None:
    """Puts a link in its place, symbolic or a second name of a file. What it leads to is on the disk already."""
    os.replace(aside, path)
    sync_path(Path(path).parent)


def put_folder(aside: Path | str, path: Path | str) -> None:
    """Puts a folder that was written aside in its place, where nothing is yet."""
    sync_tree(aside)
    _rename_folder(aside, path)


def begin_folder(out: Path | str) -> Path:
    """Returns the path of a folder to write in the place of `out`, without what a killed process left there."""
    aside = Path(f"{out}.writing")
    shutil.rmtree(aside, ignore_errors=True)
    return aside


def replace_folder(aside: Path | str, out: Path | str, before: Path | str | None = None) -> None:
    """Puts a folder that was written aside in the place of another.

    Args:
        aside: The folder that was written.
        out: The folder to replace; it may be missing.
        before: Where `out` is moved first, and removed at the end; by default `earlier(out)`. If the process is killed
            between the two renames, the only one there is that.
    """
    sync_tree(aside)
    before = earlier(out) if before is None else before
    if os.path.exists(out):
        shutil.rmtree(before, ignore_errors=True)
        os.rename(out, before)
    _rename_folder(aside, out)
    shutil.rmtree(before, ignore_errors=True)


def earlier(out: Path | str) -> Path:
    """Returns where the folder is that `out` was to replace, if a process was killed meanwhile."""
    return Path(f"{out}.before")


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


def _rename_folder(aside: Path | str, path: Path | str) -> None:
    os.rename(aside, path)
    sync_path(Path(path).parent)
