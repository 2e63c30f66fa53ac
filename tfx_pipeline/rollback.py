"""Back to the model that was served before: a copy of it under a new number, which every model server takes up."""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from serving.linked_files import link_tree
from serving.publish import next_version
from serving.server.versions import scan
from serving.takedown import taken_down
from serving.whole_files import write_whole
from tfx_pipeline.console import import_quietly

#: In a version that is a copy: of which version, and instead of which.
RECORD = os.path.join("assets.extra", "rollback.json")


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


def origin_of(base: Path, number: int) -> int:
    """Returns the number under which a version was pushed first, where it is a copy that a rollback made."""
    seen: set[int] = set()
    while number not in seen:
        seen.add(number)
        with suppress(OSError, ValueError, KeyError, TypeError):
            record = json.loads((base / str(number) / RECORD).read_text(encoding="utf-8"))
            if record["version"] == number:  # a refresh of a copy has its record, and is a version of its own
                number = int(record["copy_of"])
    return number


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
        _drop_taken_down(base, publication.staging)
        _write_record(Path(publication.staging), version=version, copy_of=source, instead_of=served)
    return Rollback(source, served, version)


def previous_version(base: Path, served: int) -> int:
    """Returns the version to go back to.

    Raises:
        RollbackError: If there is none.
    """
    origin = origin_of(base, served)
    earlier = [number for number in scan(str(base)) if number < origin]
    if not earlier:
        copied = "" if origin == served else f", a copy of version {origin}"
        raise RollbackError(
            f"{base}: expected a version before {origin}. Received: version {served}{copied}, and none."
        )
    return max(earlier)


def _drop_taken_down(base: Path, staging: str) -> None:
    gone = taken_down(base)
    if not gone:
        return
    import_quietly("tensorflow")
    from serving.refresh import drop_songs

    drop_songs(staging, gone)


def _write_record(staging: Path, **numbers: int) -> None:
    """The copy's own record: the file may be one with the version's that it was copied from, so it is replaced."""
    (staging / RECORD).parent.mkdir(exist_ok=True)
    when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    write_whole(staging / RECORD, json.dumps({**numbers, "when": when}) + "\n")
