"""What is counted for every judged song."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

CUTOFFS = (50, 100, 200)
#: What is summed over the first k targets: who plays the song, who plays it often enough, who of those loves it, and
#: the true chance that they play it, where a simulation tells.
KINDS = ("played", "effective", "red", "chance")
TRUE_TASTE = "true taste"
UNTARGETED = ("most active listeners", "random listeners", "random similar-song listeners")


@dataclass(frozen=True)
class Judged:
    """Counts for every judged song.

    Attributes:
        songs: (n,) ids.
        listeners: (n,) how many listeners the song has.
        audience: (n,) how many listeners its matches have, with 50 matches.
        counts: By rule (n, cutoffs, kinds); expected sums where a rule draws at random.
    """

    songs: np.ndarray
    listeners: np.ndarray
    audience: np.ndarray
    counts: dict[str, np.ndarray]


def join(parts: Sequence[Judged]) -> Judged:
    """Joins the counts of several splits."""
    columns = {name: np.concatenate([getattr(part, name) for part in parts]) for name in ("songs", "listeners")}
    counts = {name: np.concatenate([part.counts[name] for part in parts]) for name in parts[0].counts}
    return Judged(**columns, audience=np.concatenate([part.audience for part in parts]), counts=counts)
