"""What operations return besides arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from serving.protocol import protos

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class VersionStatus:
    """One version of a model as the server sees it.

    Attributes:
        version: Its number.
        state: START, LOADING, AVAILABLE, UNLOADING or END. Versions that were unloaded stay listed as END.
        error_code: The number of a gRPC code, 0 = fine.
        error_message: Why it could not be loaded, or "".
    """

    version: int
    state: str
    error_code: int
    error_message: str


def is_song(song_id: object) -> bool:
    """Returns whether an id is that of a song; a place of `match` without a song has "" or -1."""
    return song_id not in ("", -1)


def read_status(reply: Any) -> list[VersionStatus]:
    """Returns the versions of a GetModelStatusResponse, highest first."""
    versions = [
        VersionStatus(v.version, protos.STATES.get(v.state, str(v.state)), v.status.error_code, v.status.error_message)
        for v in reply.model_version_status
    ]
    return sorted(versions, key=lambda status: -status.version)


@dataclass(frozen=True)
class Likely:
    """Matches of n songs, best first, and how likely each is right. A place without a song has 0.

    Attributes:
        ids: `(n, k)`.
        scores: `(n, k)`.
        chance: `(n, k)`, the chance that a match is among the 20 songs of most similar audience.
        low: `(n, k)`, lower bounds of the 95 % intervals of the chances.
        high: `(n, k)`, upper bounds.
        known_fields: `(n,)`, how many fields of each song the model knows.
    """

    ids: Array
    scores: Array
    chance: Array
    low: Array
    high: Array
    known_fields: Array


@dataclass(frozen=True)
class Explained:
    """Matches of n songs, best first, and why.

    Attributes:
        ids: `(n, k)`.
        scores: `(n, k)`.
        shares: `(n, k, parts)`, what each part of a song gives to a score. The shares of a match add up to its score.
        parts: Names of the parts: blocks of fields, and a rest. None where no song was asked about.
    """

    ids: Array
    scores: Array
    shares: Array
    parts: tuple[str, ...]
