"""Version folders: which one is the latest, and how the next one appears whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from serving.files.folder_lock import FolderError, only_process_in
from serving.files.whole_files import put_folder
from serving.savedmodel.versions import dangling, scan

# Not numbers, so that no server takes them for versions.
_STAGING = ".refreshing"
#: The file that a process locks which publishes or removes versions.
LOCK = ".refresh.lock"


class PublishError(ValueError):
    """A version cannot be published; nothing changed."""


@dataclass
class Publication:
    """A version in the making.

    Attributes:
        latest: Folder of the version that is the latest now.
        staging: Folder to write, which does not exist yet.
        published: Folder of the new version, once it is there.
    """

    latest: str
    staging: str
    published: str | None = None


def latest_version(base: str) -> tuple[int, str]:
    """Returns number and folder of the highest version below `base`. Version and base may be links to folders.

    Raises:
        PublishError: If there is none, or the highest one is a link to nothing.
    """
    try:
        versions = scan(base)
    except OSError as error:
        raise PublishError(f"{base}: expected a folder of model versions. Received: {error.strerror}") from error
    if not versions and not dangling(base):
        raise PublishError(f"{base}: expected version folders such as 1/. Received: none")
    for number, path in dangling(base).items():
        if number > max(versions, default=-1):
            raise PublishError(
                f"{path}: expected a version folder, or a link to one. Received: a link to {os.readlink(path)}, which "
                "is no folder. Remove the link or mend it"
            )
    return max(versions.items())


@contextmanager
def next_version(base: str) -> Iterator[Publication]:
    """Yields a folder to write; when the block ends well and has written it, it becomes the next version by a rename.

    Its number is the latest plus one. That is above what is served, and below the number of any later push, which is a
    time in seconds.

    Raises:
        PublishError: If there is no version yet, another publication is under way, or the latest version has changed
            meanwhile.
    """
    latest_version(base)  # names what is wrong with a folder that cannot be locked
    with _only_one(base):
        number, latest = latest_version(base)
        publication = Publication(latest, os.path.join(base, _STAGING))
        shutil.rmtree(publication.staging, ignore_errors=True)  # what a killed run left
        try:
            yield publication
            if not os.path.isdir(publication.staging):
                return
            if (now := latest_version(base)[0]) != number:
                raise PublishError(
                    f"{base}: expected version {number} to be the latest still. Received: version {now}, published "
                    "meanwhile; start again from that"
                )
            path = os.path.join(base, str(number + 1))
            put_folder(publication.staging, path)
            publication.published = path
        finally:
            shutil.rmtree(publication.staging, ignore_errors=True)


@contextmanager
def _only_one(base: str) -> Iterator[None]:
    with ExitStack() as stack:
        try:
            stack.enter_context(only_process_in(base, LOCK))
        except FolderError as error:
            raise PublishError(str(error)) from error
        yield
