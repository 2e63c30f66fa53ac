"""How far the matches of a song can be relied on: the recall to expect, from 0 to 1.

The evidence is the scores of the matches, how many fields are known, how much of the scores each block of fields gives,
how far each part of the model tells songs apart, and whether the parts agree. Each number becomes its place among those
of the validation songs. A logistic regression, fitted on validation songs alone, turns the places into recall.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from bcl_keras.fields import Array

#: Columns of a table of matches that are read.
COLUMNS = ("match_scores", "match_shares", "share_names", "known_fields", "evidence", "evidence_names")
BEST_SCORE, MEAN_SCORE, KNOWN_FIELDS = "best score", "mean score", "known fields"
#: With fewer validation songs no reliability is fitted.
FEWEST_SONGS = 50
#: Validation songs that each number needs, beyond the scores. With fewer songs the fit would follow noise.
_SONGS_PER_NUMBER = 50
_SHARE = "share of "
_KNOTS = 21
#: The strength of scikit-learn's default penalty; the places have deviations of about 0.3.
_PENALTY = 1.0

Evidence = dict[str, Array]


@dataclass(frozen=True)
class Reliability:
    """Turns the evidence for the matches of a song into the recall to expect.

    Attributes:
        k: Length of the list whose recall is meant.
        knots: By number, its quantiles over the validation songs.
        weights: By number, the weight of its place among the validation songs, from -0.5 to 0.5.
        intercept: Of the regression.
    """

    k: int
    knots: dict[str, list[float]]
    weights: dict[str, float]
    intercept: float

    @classmethod
    def fit(cls, evidence: Evidence, recall: Array, k: int) -> Reliability | None:
        """Fits the evidence for matches to the recall of validation songs; None if there are too few.

        Args:
            evidence: `(n,)` by name; songs with a NaN are left out.
            recall: `(n,)` from 0 to 1.
            k: Length of the list whose recall is given.
        """
        from sklearn.linear_model import LogisticRegression

        usable = np.all([np.isfinite(column) for column in evidence.values()], axis=0)
        recall = recall[usable]
        if len(recall) < FEWEST_SONGS or not recall.any() or (recall == 1.0).all():
            return None
        values = {name: evidence[name][usable] for name in _affordable(list(evidence), len(recall))}
        grid = np.linspace(0.0, 1.0, _KNOTS)
        knots = {name: np.quantile(column, grid).tolist() for name, column in values.items()}
        places = np.stack([_places(column, knots[name]) for name, column in values.items()], axis=1)
        # Recall is a share of hits: a song counts as found by that share, and as not found by the rest.
        outcome = np.repeat([1, 0], len(recall))
        share = np.concatenate([recall, 1.0 - recall])
        found = LogisticRegression(C=1.0 / _PENALTY, max_iter=1000).fit(
            np.concatenate([places, places]), outcome, sample_weight=share
        )
        weights = dict(zip(values, found.coef_[0].tolist(), strict=True))
        return cls(k, knots, weights, float(found.intercept_[0]))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Reliability:
        """Restores what `to_dict` gave."""
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values for JSON."""
        return asdict(self)

    def predict(self, evidence: Evidence) -> Array:
        """Returns the recall to expect, `(n,)` from 0 to 1; 0 for a song without matches.

        A number that the validation songs had and a song lacks, as after a change of the model, counts as average.
        """
        has_matches = np.isfinite(evidence[BEST_SCORE])
        total = np.full(len(has_matches), self.intercept)
        for name, weight in self.weights.items():
            column = evidence.get(name, np.full(len(has_matches), np.nan))
            known = np.isfinite(column)
            total += weight * np.where(known, _places(np.where(known, column, 0.0), self.knots[name]), 0.0)
        return np.where(has_matches, 1.0 / (1.0 + np.exp(-total)), 0.0)

    def predict_table(self, matches: pa.Table) -> pa.Array:
        """Returns the recall to expect for each song of a table of matches, in its order."""
        return pa.array(self.predict(evidence_of(matches, self.k)), pa.float32())


def _affordable(names: Sequence[str], songs: int) -> list[str]:
    """Returns the numbers that there are songs enough for: scores first, then other numbers, then shares of blocks."""
    scores = [name for name in names if name in (BEST_SCORE, MEAN_SCORE)]
    shares = [name for name in names if name.startswith(_SHARE)]
    chosen = scores
    for more in ([name for name in names if name not in (*scores, *shares)], shares):
        if len(chosen) + len(more) > songs // _SONGS_PER_NUMBER:
            break
        chosen = chosen + more
    return chosen


def evidence_of(matches: pa.Table, k: int) -> Evidence:
    """Returns the evidence for the matches of songs, `(n,)` by name; NaN for a song without matches.

    Args:
        matches: A table with `COLUMNS`.
        k: Number of matches that are read.
    """
    scores = _Lists.of(matches["match_scores"])
    known = matches["known_fields"].to_numpy().astype(float)
    found: Evidence = {
        KNOWN_FIELDS: known,
        BEST_SCORE: scores.first_means(scores.values, 1),
        MEAN_SCORE: scores.first_means(scores.values, k),
    }
    if names := _names(matches["evidence_names"]):
        evidence = _Lists.of(matches["evidence"])
        by_name = evidence.values.reshape(-1, len(names))
        for place, name in enumerate(names):
            found[name] = np.full(len(known), np.nan)
            found[name][evidence.counts > 0] = by_name[:, place]
    if names := _names(matches["share_names"]):
        shares = _Lists.of(matches["match_shares"])
        by_name = _Lists.of(shares.values).values.reshape(-1, len(names))
        for place, name in enumerate(names):
            found[f"{_SHARE}{name}"] = shares.first_means(by_name[:, place], k)
    usable = (scores.counts > 0) & (known != 0)
    return {name: np.where(usable, column, np.nan) for name, column in found.items()}


@dataclass(frozen=True)
class _Lists:
    """A column of lists: how many values each has, none where it is null, and all values one after the other."""

    counts: Array
    values: Any

    @classmethod
    def of(cls, column: pa.ChunkedArray | pa.Array) -> _Lists:
        array = _joined(column) if isinstance(column, pa.ChunkedArray) else column
        values = array.flatten()
        counts = pc.fill_null(pc.list_value_length(array), 0).to_numpy()
        return cls(counts, values if pa.types.is_list(values.type) else values.to_numpy(zero_copy_only=False))

    def first_means(self, values: Array, most: int) -> Array:
        """Returns the mean of the first values of each list, NaN for an empty one, of as many values as there are."""
        row = np.repeat(np.arange(len(self.counts)), self.counts)
        place = np.arange(len(row)) - (np.cumsum(self.counts) - self.counts)[row]
        first = place < most
        sums = np.bincount(row[first], weights=values[first], minlength=len(self.counts))
        return np.where(self.counts > 0, sums / np.maximum(np.minimum(self.counts, most), 1), np.nan)


def _names(column: pa.ChunkedArray) -> list[str]:
    """Returns the names in the first row that has some; all such rows have the same."""
    given = column.drop_null()
    return list(given[0].as_py()) if len(given) else []


def _joined(column: pa.ChunkedArray) -> pa.Array:
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)


def _places(values: Array, knots: Sequence[float]) -> Array:
    """Returns the place of each value among those that the knots stand for, -0.5 for the least and 0.5 for the most.

    A value that many songs have gets the middle of their places. So a value that all songs have gets 0.
    """
    levels, first, counts = np.unique(knots, return_index=True, return_counts=True)
    middle = (first + (counts - 1) / 2.0) / (len(knots) - 1)
    return np.asarray(np.interp(values, levels, middle) - 0.5)
