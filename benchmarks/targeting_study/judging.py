"""Runs the product's own rules on held-out songs and counts who of the targeted listeners did play them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from benchmarks.targeting_study.datasets import DataSet
from benchmarks.targeting_study.matching import Embeddings
from tfx_pipeline.cold_split import WARM
from tfx_pipeline.targeting import TargetingConfig, listeners, packing
from tfx_pipeline.targeting.clustering import one_thread
from tfx_pipeline.targeting.rules import score_listeners
from tfx_pipeline.targeting.shards import Shard, make_shard
from tfx_pipeline.targeting.songs import Candidates, score_songs

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


class Judge:
    """Judges rules on the held-out songs of one split.

    Args:
        data: The data set.
        found: A split of it, with embeddings.
        songs: Most songs judged, drawn by the seed; None = all.
        min_plays: Plays from which one counts as effective.
        seed: Of the draw.
        chance: (songs, users) true chance that a user plays a song; None where nobody knows.
    """

    def __init__(
        self,
        data: DataSet,
        found: Embeddings,
        split: str,
        *,
        songs: int | None = None,
        min_plays: int = 1,
        seed: int = 0,
        chance: np.ndarray | None = None,
    ) -> None:
        self._data, self._found = data, found
        rows = np.flatnonzero(found.split == split)
        if songs is not None and len(rows) > songs:
            rows = np.sort(np.random.default_rng(seed).choice(rows, songs, replace=False))
        self.rows = rows
        self._red = data.red if data.red is not None else sparse.csr_matrix(data.plays.shape, dtype=bool)
        self._min_plays, self._chance = min_plays, chance
        warm = np.flatnonzero(found.split == WARM)
        self._plays = _play_block(data, warm)
        self._active = np.argsort(-np.diff(data.plays[warm].T.tocsr().indptr), kind="stable")
        self._vectors: dict[int, np.ndarray] = {}

    def judge(self, rules: Mapping[str, TargetingConfig]) -> Judged:
        """Counts for every rule, and for the untargeted rows."""
        counts = {name: self._counts(config) for name, config in rules.items()}
        audience = np.zeros(len(self.rows), np.int64)
        for place, candidates in enumerate(self.candidates(TargetingConfig(rule="count"))):
            audience[place] = len(candidates.audience)
            for name, row in self._untargeted(place, candidates).items():
                counts.setdefault(name, np.zeros((len(self.rows), len(CUTOFFS), len(KINDS))))[place] = row
        sizes = np.diff(self._data.plays.indptr)[self.rows]
        return Judged(self._data.songs[self.rows], sizes, audience, counts)

    def ranking(self, candidates: Candidates, config: TargetingConfig) -> np.ndarray:
        """The first targets of a song, as rows of `users`: what the step on Beam gives, for one song."""
        if config.reach == "expand" and candidates.query is not None:
            everyone = np.zeros(len(self._data.users))
            if candidates.scores is not None:
                everyone[candidates.audience] = candidates.scores.count
            vectors = self._listener_vectors(config.interests)
            score = score_listeners(vectors, everyone, candidates.query, config).score
            return _first(score, CUTOFFS[-1])
        if candidates.scores is None:
            return np.zeros(0, np.int64)
        return candidates.audience[_first(candidates.scores.score, CUTOFFS[-1])]

    def _counts(self, config: TargetingConfig) -> np.ndarray:
        result = np.zeros((len(self.rows), len(CUTOFFS), len(KINDS)))
        with one_thread():
            for place, candidates in enumerate(self.candidates(config)):
                truth = self._truth(place)[:, self.ranking(candidates, config)]
                result[place] = [truth[:, :cutoff].sum(axis=1) for cutoff in CUTOFFS]
        return result

    def _truth(self, place: int) -> np.ndarray:
        """(kinds, users) of one song."""
        row = self.rows[place]
        marks = np.zeros((len(KINDS), len(self._data.users)))
        users, plays = _row(self._data.plays, row)
        marks[0, users] = 1
        marks[1, users] = plays >= self._min_plays
        marks[2, _row(self._red, row)[0]] = 1
        marks[2] *= marks[1]
        if self._chance is not None:
            marks[3] = self._chance[row]
        return marks

    def _untargeted(self, place: int, candidates: Candidates) -> dict[str, np.ndarray]:
        """Who plays most, and what drawing at random brings on average."""
        truth = self._truth(place)
        inside = truth[:, candidates.audience]
        active = [truth[:, self._active[:cutoff]].sum(axis=1) for cutoff in CUTOFFS]
        anyone = [truth.mean(axis=1) * cutoff for cutoff in CUTOFFS]
        size = inside.shape[1]
        similar = [inside.sum(axis=1) * min(1.0, cutoff / max(1, size)) for cutoff in CUTOFFS]
        rows = dict(zip(UNTARGETED, map(np.array, (active, anyone, similar)), strict=True))
        if self._chance is not None:
            order = np.argsort(-truth[3], kind="stable")
            rows[TRUE_TASTE] = np.array([truth[:, order[:cutoff]].sum(axis=1) for cutoff in CUTOFFS])
        return rows

    def candidates(self, config: TargetingConfig) -> Iterator[Candidates]:
        """The judged songs by id, each with its audience scored."""
        return score_songs(self._shard(config), config)

    def _shard(self, config: TargetingConfig) -> Shard:
        wanted = set(self._data.songs[self.rows].astype(str).tolist())
        matches = self._found.matches
        kept = [song in wanted for song in matches["song_id"].to_pylist()]
        block = packing.pack_matches(matches.filter(kept), config.matches_per_song)
        audiences = listeners.audiences(self._plays, config.max_audience, config.seed)
        query = self._found.query[self.rows]
        users = self._data.users
        parts: dict[str, list[dict[str, Any]]] = {
            "catalogue": [
                {
                    "ids": self._data.songs[self.rows],
                    "split": self._found.split[self.rows].astype(bytes),
                    "embedding": query,
                    "candidate": query,
                }
            ],
            "matches": [block],
            "audiences": [listeners.requested_audiences(audiences, block["match"])],
            "listeners": [
                {
                    "users": users,
                    "vectors": self._listener_vectors(config.interests),
                    "excluded": np.zeros(len(users), bool),
                }
            ],
            "pairs": [],
        }
        return make_shard(parts, config)

    def _listener_vectors(self, interests: int) -> np.ndarray:
        if interests not in self._vectors:
            songs = np.searchsorted(self._data.songs, self._plays["songs"])
            part = {**self._plays, "vectors": self._found.candidate[songs]}
            table = listeners.listener_vectors([part], interests, 0)
            vectors = np.zeros((len(self._data.users), *table["vectors"].shape[1:]), np.float32)
            vectors[np.searchsorted(self._data.users, table["users"])] = table["vectors"]
            self._vectors[interests] = vectors
        return self._vectors[interests]


def join(parts: Sequence[Judged]) -> Judged:
    """Joins the counts of several splits."""
    columns = {name: np.concatenate([getattr(part, name) for part in parts]) for name in ("songs", "listeners")}
    counts = {name: np.concatenate([part.counts[name] for part in parts]) for name in parts[0].counts}
    return Judged(**columns, audience=np.concatenate([part.audience for part in parts]), counts=counts)


def _first(score: np.ndarray, most: int) -> np.ndarray:
    """Rows of the `most` largest scores as the product ranks them: rounded to float32, ties by place."""
    rounded = -score.astype(np.float32)
    if len(rounded) > 4 * most:
        edge = np.partition(rounded, most)[most]
        near = np.flatnonzero(rounded <= edge)
        return near[np.argsort(rounded[near], kind="stable")[:most]]
    return np.argsort(rounded, kind="stable")[:most]


def _row(matrix: sparse.csr_matrix, row: int) -> tuple[np.ndarray, np.ndarray]:
    span = slice(matrix.indptr[row], matrix.indptr[row + 1])
    return matrix.indices[span], matrix.data[span]


def _play_block(data: DataSet, warm: np.ndarray) -> dict[str, np.ndarray]:
    """Plays of warm songs as a block of the targeting step."""
    plays = data.plays[warm].tocoo()
    users, user = np.unique(plays.col, return_inverse=True)
    return {
        "users": data.users[users],
        "user": user.astype(np.int32),
        "songs": data.songs[warm],
        "song": plays.row.astype(np.int32),
        "plays": plays.data,
    }
