"""The served model compared with the judged one: do both find the same songs?"""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from bcl_keras.evaluation.choices import best_rows
from tfx_pipeline.contract.splits import COLD_SPLITS

Vectors: TypeAlias = npt.NDArray[np.floating[Any]]

_BLOCK = 512
_NAMED = 5  # songs that a message names


@dataclass(frozen=True)
class Embedded:
    """Embeddings of the same songs, in the same order, by one model.

    Attributes:
        queries: `(n, d)`, of the content of songs to match.
        candidates: `(m, d)`, of songs in both indices.
    """

    queries: Vectors
    candidates: Vectors


@dataclass(frozen=True)
class Overlap:
    """Share of the best matches that two models have in common.

    Attributes:
        k: Length of the lists.
        songs: Songs that were matched.
        mean: Mean share of a list that is in both.
        by_split: The same for the songs of each split.
        by_chance: The share that random lists would have in common.
    """

    k: int
    songs: int
    mean: float
    by_split: dict[str, float]
    by_chance: float


def overlap_of(judged: Embedded, served: Embedded, splits: npt.NDArray[Any], k: int) -> Overlap:
    """Compares the k best candidates of each song.

    Args:
        judged: By the judged model.
        served: By the model to be served.
        splits: `(n,)` the split of each song in the judged run.
        k: Length of the lists; with fewer candidates their number.
    """
    k = min(k, len(judged.candidates))
    parts = [
        _shared(judged, served, slice(start, start + _BLOCK), k) for start in range(0, len(judged.queries), _BLOCK)
    ]
    shares = np.concatenate([np.zeros(0), *parts])
    by_split = {split: float(shares[splits == split].mean()) for split in COLD_SPLITS if (splits == split).any()}
    mean = float(shares.mean()) if len(shares) else 1.0
    return Overlap(k, len(shares), mean, by_split, k / max(len(judged.candidates), 1))


def _shared(judged: Embedded, served: Embedded, rows: slice, k: int) -> npt.NDArray[np.float64]:
    first, second = (best_rows(model.queries[rows] @ model.candidates.T, k) for model in (judged, served))
    return (first & second).sum(axis=1) / k


def problems(
    served: Sequence[Vectors], index: Set[str], warm: Set[str], overlap: Overlap | None, least: float
) -> list[str]:
    """Returns the reasons not to push the model; an empty list if it may be pushed.

    Args:
        served: Embeddings by the model.
        index: Ids of the songs in its index.
        warm: Ids of the songs that must be there.
        overlap: Its agreement with the judged model; None where it could not be compared.
        least: The least mean overlap.
    """
    found = []
    if broken := sum(int((~np.isfinite(rows)).any(axis=1).sum()) for rows in served):
        found.append(f"served model: expected finite embeddings. Received: NaN or infinity in {broken} of them")
    for name, songs in (("without", warm - index), ("with others, such as", index - warm)):
        if songs:
            shown = ", ".join(sorted(songs)[:_NAMED])
            found.append(
                f"served model: expected an index of all {len(warm)} songs with enough listeners. Received: one of "
                f"{len(index)} songs, {name} {shown}"
            )
    if overlap is not None and overlap.mean < least:
        found.append(
            f"served model: expected to share at least {least:.2f} of the first {overlap.k} matches with the judged "
            f"model (`refit_overlap`). Received: {overlap.mean:.2f} over {overlap.songs} songs"
        )
    return found
