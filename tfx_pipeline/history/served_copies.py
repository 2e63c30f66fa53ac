"""Versions that are copies of earlier ones, and the push that a version comes from.

A copy has a record with its number and that of its original. A refresh of a copy copies the record along, so a record
with another number is that of an ancestor.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from serving.files.whole_files import write_whole
from serving.refresh.takedown import taken_down
from serving.savedmodel.versions import scan
from tfx_pipeline.runtime.console import import_quietly

_RECORD = os.path.join("assets.extra", "rollback.json")


@dataclass(frozen=True)
class Copy:
    """The record of a copy.

    Attributes:
        version: Its number.
        copy_of: Number of the version that it is a copy of.
        instead_of: Number of the version that was served before it.
        run: The run whose data gave the model again; None for a rollback.
    """

    version: int
    copy_of: int
    instead_of: int
    run: str | None = None


def copies(base: Path) -> list[Copy]:
    """Returns the versions that are copies, the oldest first."""
    numbers = sorted(scan(str(base))) if base.is_dir() else []
    return [copy for number in numbers if (copy := _record(base, number)) is not None and copy.version == number]


def served_again_by(base: Path) -> dict[str, int]:
    """Returns the versions that runs published again from the cache, by the run's id."""
    return {copy.run: copy.version for copy in copies(base) if copy.run is not None}


def origin_of(base: Path, number: int, *, of_rollbacks: bool = False) -> int:
    """Returns the version that another was copied from, directly or not; its own number if it is not a copy.

    Args:
        base: Folder of the model's versions.
        number: The version.
        of_rollbacks: Whether to count only copies made by rollbacks.
    """
    by_number = {copy.version: copy for copy in copies(base)}
    seen: set[int] = set()
    while number in by_number and number not in seen and not (of_rollbacks and by_number[number].run):
        seen.add(number)
        number = by_number[number].copy_of
    return number


def pushed_as(base: Path, number: int, pushed: Collection[int]) -> int | None:
    """Returns the push that a version comes from, whether it is that, or copies and refreshes lie between.

    Args:
        base: Folder of the model's versions.
        number: The version.
        pushed: Numbers under which runs pushed models. A refresh comes from the last one before it.

    Returns:
        One of `pushed`; None where the version is older than all of them.
    """
    seen: set[int] = set()
    while number not in pushed and number not in seen:
        seen.add(number)
        record = _record(base, number)
        number = number if record is None else record.copy_of
    return max((one for one in pushed if one <= number), default=None)


def rolled_back(base: Path, pushed: Collection[int]) -> set[int]:
    """Returns the pushes that were rolled back, as far as the copies are kept."""
    found: set[int] = set()
    for copy in copies(base):
        gone, back = (pushed_as(base, number, pushed) for number in (copy.instead_of, copy.copy_of))
        if copy.run is None and gone is not None and gone != back:
            found.add(gone)
    return found


def write_record(staging: Path, copy: Copy) -> None:
    """Writes the record of a copy. An earlier record is replaced, as it may be a hard link to the original's."""
    (staging / _RECORD).parent.mkdir(exist_ok=True)
    numbers = {"version": copy.version, "copy_of": copy.copy_of, "instead_of": copy.instead_of}
    content = {**numbers, "run": copy.run, "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
    write_whole(staging / _RECORD, json.dumps(content) + "\n")


def drop_taken_down(base: Path, staging: str) -> None:
    """Drops songs from the index of an unpublished copy that were taken down since its model was pushed."""
    gone = taken_down(base)
    if not gone:
        return
    import_quietly("tensorflow")
    from serving.refresh.index import drop_songs

    drop_songs(staging, gone)


def _record(base: Path, number: int) -> Copy | None:
    with suppress(OSError, ValueError, KeyError, TypeError):
        found = json.loads((base / str(number) / _RECORD).read_text(encoding="utf-8"))
        return Copy(int(found["version"]), int(found["copy_of"]), int(found["instead_of"]), found.get("run"))
    return None
