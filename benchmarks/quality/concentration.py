"""How far the matches of many songs gather on few candidates, beside the same figures of the truth."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from bcl_keras.evaluation.ranking import ranking_keys
from bcl_keras.fields import Array

PLACES = 10
_BLOCK = 256
_PLACE = np.uint64(0xFFFFFFFF)


@dataclass(frozen=True)
class Concentration:
    """What the lists of some songs share, whatever is right.

    Attributes:
        coverage: Share of the candidates that some list has.
        gini: Gini coefficient of how often each candidate is listed: 0 if all are listed equally often, 1 - 1 / n if
            one of n has all places.
        hubness: Skewness of how often each candidate is listed; 0 if all are listed equally often. Large where a few
            candidates are in very many lists.
        popularity: Mean listeners of a listed song over the mean of all candidates. 1 if lists do not favour popular
            songs.
    """

    coverage: float
    gini: float
    hubness: float
    popularity: float

    @classmethod
    def of(cls, lists: Array, listeners: Array) -> Concentration:
        """Returns the figures of `(n, k)` places of candidates, padded with -1, with `(candidates,)` listeners.

        Figures of lists that name nobody are NaN.

        Raises:
            ValueError: If a list names a candidate that does not exist.
        """
        lists = np.asarray(lists)
        if lists.size and not -1 <= lists.min() <= lists.max() < len(listeners):
            raise ValueError(
                f"Argument `lists` must hold places from -1 to {len(listeners) - 1}. "
                f"Received: {lists.min()} to {lists.max()}"
            )
        counts = np.bincount(lists[lists >= 0], minlength=len(listeners)).astype(np.float64)
        if not counts.any():
            return cls(*[float("nan")] * 4)
        mean = float(np.mean(listeners))
        popularity = float(counts @ listeners / counts.sum() / mean) if mean > 0 else float("nan")
        return cls(float(np.mean(counts > 0)), gini(counts), skewness(counts), popularity)

    def to_dict(self) -> dict[str, float]:
        """Returns the figures by name."""
        return asdict(self)


def gini(counts: Array) -> float:
    """Returns the Gini coefficient of counts of at least 0: mean difference of two over twice the mean."""
    ascending = np.sort(np.asarray(counts, np.float64))
    size, total = len(ascending), ascending.sum()
    if not total > 0:
        return float("nan")
    weighted = float(np.arange(1, size + 1) @ ascending)
    return 2.0 * weighted / (size * total) - (size + 1) / size


def skewness(counts: Array) -> float:
    """Returns the third standardised moment; 0 where all counts are equal."""
    apart = np.asarray(counts, np.float64) - np.mean(counts)
    spread = np.sqrt(np.mean(apart**2))
    return float(np.mean(apart**3) / spread**3) if spread > 1e-12 else 0.0


def first_places(scores: Array, places: int = PLACES) -> Array:
    """Returns `(n, places)` of each song's best candidates; equal scores are ranked by position.

    Args:
        scores: `(n, candidates)`, larger is better; compared in float32.
        places: Length of a list; at most the number of candidates.
    """
    found = []
    for start in range(0, len(scores), _BLOCK):
        keys = ranking_keys(scores[start : start + _BLOCK])
        depth = min(places, keys.shape[1])
        best = np.sort(np.partition(keys, depth - 1, axis=1)[:, :depth], axis=1)
        found.append((best & _PLACE).astype(np.int64))
    return np.concatenate(found) if found else np.zeros((0, places), np.int64)


def against_truth(
    scores: Array, truth: Array, listeners: Array, places: int = PLACES
) -> tuple[Concentration, Concentration]:
    """Returns the figures of the best matches and of the truth, over the songs whose truth fills the list.

    A short list of truth would make the two differ by its length alone.

    Args:
        scores: `(n, candidates)`, larger is better.
        truth: `(n, P)` places of the right candidates, best first, padded with -1.
        listeners: `(candidates,)` number of listeners of each candidate.
        places: Length of the lists compared.
    """
    if truth.shape[1] < places:
        raise ValueError(f"Argument `truth` must hold at least {places} places. Received: {truth.shape[1]}")
    full = truth[:, places - 1] >= 0
    matches = first_places(scores[full], places)
    return Concentration.of(matches, listeners), Concentration.of(truth[full, :places], listeners)
