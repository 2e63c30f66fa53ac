"""Songs that were taken down: recorded beside the versions of a model, so that no later version brings them back.

A song that is dropped from an index comes back with the next training or refresh, as long as the catalogue has it. So
every step that makes a version reads this record first.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection

from serving.files.whole_files import write_whole

#: Not a number, so that no server takes it for a version.
RECORD = ".taken_down.json"


class TakedownError(ValueError):
    """The record of songs that were taken down cannot be read."""


def taken_down(base: str | os.PathLike[str]) -> frozenset[str]:
    """Returns the ids of the songs that were taken down, as text; none where nothing was recorded.

    Args:
        base: Folder of the model's versions.

    Raises:
        TakedownError: If the record is damaged. Ignoring it would bring songs back.
    """
    path = os.path.join(base, RECORD)
    try:
        with open(path, encoding="utf-8") as file:
            ids = json.load(file)["song_ids"]
    except FileNotFoundError:
        return frozenset()
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise TakedownError(f"{path}: expected the record of songs taken down. Received: {error}") from error
    if not (isinstance(ids, list) and all(isinstance(song_id, str) for song_id in ids)):
        raise TakedownError(f"{path}: expected `song_ids` to be a list of strings. Received: something else")
    return frozenset(ids)


def digest_of_taken_down(base: str | os.PathLike[str]) -> str:
    """Returns a digest of what `taken_down` returns, "" where that is none."""
    ids = sorted(taken_down(base))
    return hashlib.sha256(json.dumps(ids).encode()).hexdigest() if ids else ""


def record_taken_down(base: str | os.PathLike[str], ids: Collection[str]) -> None:
    """Makes `ids` the songs that are taken down, whole or not at all.

    Args:
        base: Folder of the model's versions; it is made where it is not there yet.
        ids: All of them, not only the new ones.
    """
    if frozenset(ids) == taken_down(base):
        return
    os.makedirs(base, exist_ok=True)
    write_whole(os.path.join(base, RECORD), json.dumps({"song_ids": sorted(ids)}, indent=1) + "\n")
