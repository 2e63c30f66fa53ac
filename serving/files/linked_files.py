"""Copies that take no room: hard links in place of second files with the same content.

A file that may have another name must not be changed in place. `whole_files` writes a new one and renames it.
"""

from __future__ import annotations

import errno
import filecmp
import os
import shutil
from pathlib import Path

from serving.files.whole_files import put_link

#: Errors where the file system has no hard links, or the file is on another one.
_NO_LINKS = (errno.EXDEV, errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS)


def link_or_copy(source: Path | str, out: Path | str) -> None:
    """Makes `out` the same file as `source`; a copy of it where a file cannot have two names.

    Raises:
        OSError: If it cannot be written, as where the disk is full.
    """
    try:
        os.link(source, out)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        shutil.copy2(source, out)


def link_tree(source: Path | str, out: Path | str) -> None:
    """Makes a copy of a folder whose files are those of `source`; copies them where a file cannot have two names.

    Raises:
        OSError: If it cannot be written, as where the disk is full.
    """
    shutil.copytree(source, out, copy_function=link_or_copy)


def share_files(original: Path | str, copy: Path | str) -> None:
    """Makes the files of a copy those of the original where both have the same content; leaves all others alone."""
    for folder, _, names in os.walk(copy):
        for name in names:
            path = os.path.join(folder, name)
            same = os.path.join(original, os.path.relpath(path, copy))
            if os.path.isfile(same) and not os.path.samefile(same, path) and filecmp.cmp(same, path, shallow=False):
                _replace_by_link(same, path)


def _replace_by_link(original: str, path: str) -> None:
    aside = f"{path}.linking"
    try:
        os.link(original, aside)
    except OSError:
        return
    put_link(aside, path)
