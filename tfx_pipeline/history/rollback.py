"""Back to the model that was served before: a copy of it under a new number, which every model server loads."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from serving.files.linked_files import link_tree
from serving.files.whole_files import put_link
from serving.savedmodel.publish import next_version
from serving.savedmodel.versions import scan
from tfx_pipeline.history.gate_memory import go_back_to
from tfx_pipeline.history.pruning import published_version
from tfx_pipeline.history.run_history import pushes, read_runs
from tfx_pipeline.history.run_records import RunRecords
from tfx_pipeline.history.served_copies import Copy, drop_taken_down, origin_of, pushed_as, write_record
from tfx_pipeline.runtime.run_folder import RunFolder


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

    A second rollback goes one version further back. It does not undo the first.

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


def settle_after(done: Rollback, folder: RunFolder) -> list[str]:
    """Makes the gates and the link `latest` follow a rollback.

    Args:
        done: The rollback.
        folder: The run's folder, whose lock the caller holds.

    Returns:
        Lines for the user: what could not be restored, and where `latest` leads now.
    """
    records = RunRecords.of(folder)
    pushed = pushes(read_runs(records)) if records.exist() else ()
    origin = pushed_as(folder.serving, done.published, pushed) or done.source
    return [*(f"note: {line}" for line in go_back_to(folder, origin)), *_point_latest(folder, origin)]


def _point_latest(folder: RunFolder, version: int) -> list[str]:
    """Makes `latest` a link to what the run published that pushed `version`, if both exist."""
    published = [path for path in folder.history.glob("[!.]*") if published_version(path) == str(version)]
    if not (folder.latest.is_symlink() and published):
        return []
    aside = folder.home / ".latest.writing"
    aside.unlink(missing_ok=True)
    os.symlink(os.path.join(folder.history.name, max(published).name), aside)
    put_link(aside, folder.latest)
    return [f"{folder.latest} leads to {max(published).name}"]


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
