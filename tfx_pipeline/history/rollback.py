"""Back to the model that was served before: a copy of it under a new number, which every model server takes up."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from serving.files.linked_files import link_tree
from serving.savedmodel.publish import next_version
from serving.savedmodel.versions import scan
from tfx_pipeline.history.served_copies import Copy, drop_taken_down, origin_of, write_record


class RollbackError(ValueError):
    """There is no version to go back to; nothing changed."""


@dataclass(frozen=True)
class Rollback:
    """What was done.

    Attributes:
        source: Number of the version that is served again.
        instead_of: Number of the version that was served.
        published: Number of the copy.
    """

    source: int
    instead_of: int
    published: int


def roll_back(base: Path) -> Rollback:
    """Serves the previous version again, without songs that were taken down since.

    A second rollback goes one version further back, not to the one that the first went back from.

    Args:
        base: Folder of the model's versions.

    Raises:
        RollbackError: If there is no earlier version.
        PublishError: If there is no version at all, or another publication is under way.
    """
    with next_version(str(base)) as publication:
        served = int(os.path.basename(publication.latest))
        source = previous_version(base, served)
        version = served + 1
        link_tree(scan(str(base))[source], publication.staging)
        drop_taken_down(base, publication.staging)
        write_record(Path(publication.staging), Copy(version, copy_of=source, instead_of=served))
    return Rollback(source, served, version)


def previous_version(base: Path, served: int) -> int:
    """Returns the version to go back to.

    Raises:
        RollbackError: If there is none.
    """
    origin = origin_of(base, served, of_rollbacks=True)
    earlier = [number for number in scan(str(base)) if number < origin]
    if not earlier:
        copied = "" if origin == served else f", a copy of version {origin}"
        raise RollbackError(
            f"{base}: expected a version before {origin}. Received: version {served}{copied}, and none."
        )
    return max(earlier)
