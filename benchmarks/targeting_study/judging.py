"""Runs the product's own rules on held-out songs and counts who of the targeted listeners did play them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy import sparse

from benchmarks.targeting_study.counts import CUTOFFS, KINDS, TRUE_TASTE, UNTARGETED, Judged
from benchmarks.targeting_study.datasets import DataSet
from benchmarks.targeting_study.matching import Embeddings
from tfx_pipeline.columnar.coded import Coded
from tfx_pipeline.contract.ids import arrow_texts, id_array
from tfx_pipeline.contract.splits import WARM
from tfx_pipeline.targeting import TargetingConfig
from tfx_pipeline.targeting.beam.audiences import audiences, requested_audiences
from tfx_pipeline.targeting.beam.blocks import Catalogue, Listeners, Plays, PlaysWithVectors
from tfx_pipeline.targeting.beam.candidates import Candidates, score_songs
from tfx_pipeline.targeting.beam.cold_shard import Shard, ShardParts, make_shard
from tfx_pipeline.targeting.beam.count_weight import choose_weight, count_hits
from tfx_pipeline.targeting.beam.input_tables import pack_matches
from tfx_pipeline.targeting.beam.listener_vectors import listener_vectors
from tfx_pipeline.targeting.rules.clustering import one_thread
from tfx_pipeline.targeting.rules.scores import score_listeners


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
        self._shards: dict[tuple[int, ...], Shard] = {}

    def judge(self, rules: Mapping[str, TargetingConfig]) -> Judged:
        """Counts for every rule, and for the untargeted rows."""
        counts: dict[str, np.ndarray] = {}
        for config, named in _by_work(rules).items():
            counts |= self._counts(config, named)
        counts = {name: counts[name] for name in rules}
        audience = np.zeros(len(self.rows), np.int64)
        for place, candidates in enumerate(self.candidates(TargetingConfig(rule="count", matches_per_song=50))):
            audience[place] = candidates.counts["audience"]
            for name, row in self._untargeted(place, candidates).items():
                counts.setdefault(name, np.zeros((len(self.rows), len(CUTOFFS), len(KINDS))))[place] = row
        sizes = np.diff(self._data.plays.indptr)[self.rows]
        return Judged(self._data.songs[self.rows], sizes, audience, counts)

    def choose_weight(self, config: TargetingConfig) -> float:
        """The weight of the count that the step would choose on these songs, held out as validation songs."""
        plays = _play_block(self._data, self.rows)
        truth = requested_audiences(audiences(plays, config.max_audience, config.seed), plays.songs.ids)
        with one_thread():
            return choose_weight(count_hits(self.shard(config), [truth], config))

    def ranking(self, candidates: Candidates, config: TargetingConfig) -> np.ndarray:
        """The first targets of a song, as rows of `users`: what the step on Beam gives, for one song."""
        if candidates.scores is None:
            return np.zeros(0, np.int64)
        vectors, counts = self._listener_vectors(config.interests), candidates.scores.count
        if config.reach == "expand":
            everyone = np.zeros(len(self._data.users))
            everyone[candidates.audience] = counts
            return _first(score_listeners(vectors, everyone, candidates.query, config).score, CUTOFFS[-1])
        score = score_listeners(vectors[candidates.audience], counts, candidates.query, config).score
        return candidates.audience[_first(score, CUTOFFS[-1])]

    def played(self, targets: pa.Table) -> int:
        """How many of the targets did play their song."""
        song = np.searchsorted(self._data.songs, id_array(targets["song_id"].to_pylist()))
        user = np.searchsorted(self._data.users, id_array(targets["user_id"].to_pylist()))
        return int((np.asarray(self._data.plays[song, user]) > 0).sum())

    def _counts(self, shared: TargetingConfig, rules: Mapping[str, TargetingConfig]) -> dict[str, np.ndarray]:
        """Counts of rules whose audiences and queries are those of `shared`."""
        counts = {name: np.zeros((len(self.rows), len(CUTOFFS), len(KINDS))) for name in rules}
        with one_thread():
            for place, candidates in enumerate(self.candidates(shared)):
                truth = self._truth(place)
                for name, config in rules.items():
                    chosen = truth[:, self.ranking(candidates, config)]
                    counts[name][place] = [chosen[:, :cutoff].sum(axis=1) for cutoff in CUTOFFS]
        return counts

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
        shard = self.shard(config)
        return score_songs(shard, config, shard.catalogue.ids)

    def shard(self, config: TargetingConfig) -> Shard:
        """All judged songs as one shard; the last one is kept, since most rules have the same."""
        key = (config.matches_per_song, config.interests, config.max_audience, config.seed)
        if key not in self._shards:
            self._shards = {key: make_shard(self._parts(config), config)}
        return self._shards[key]

    def _parts(self, config: TargetingConfig) -> ShardParts:
        songs, users = self._data.songs[self.rows], self._data.users
        wanted = arrow_texts(songs)
        matches = self._found.matches.filter(pc.is_in(self._found.matches["song_id"], value_set=wanted))
        block = pack_matches(matches, config.matches_per_song)
        table = audiences(self._plays, config.max_audience, config.seed)
        query, split = self._found.query[self.rows], id_array(self._found.split[self.rows])
        return ShardParts(
            catalogue=[Catalogue(songs, split, query, query)],
            matches=[block],
            audiences=[requested_audiences(table, block.match)],
            listeners=[Listeners.not_excluded(users, self._listener_vectors(config.interests))],
        )

    def _listener_vectors(self, interests: int) -> np.ndarray:
        if interests not in self._vectors:
            songs = np.searchsorted(self._data.songs, self._plays.songs.ids)
            part = PlaysWithVectors(self._plays, self._found.candidate[songs])
            table = listener_vectors([part], interests, 0)
            vectors = np.zeros((len(self._data.users), *table.vectors.shape[1:]), np.float32)
            vectors[np.searchsorted(self._data.users, table.users)] = table.vectors
            self._vectors[interests] = vectors
        return self._vectors[interests]


def _by_work(rules: Mapping[str, TargetingConfig]) -> dict[TargetingConfig, dict[str, TargetingConfig]]:
    """Rules that differ in the weight of the count or in reach have their audiences and clusters in common."""
    groups: dict[TargetingConfig, dict[str, TargetingConfig]] = {}
    for name, config in rules.items():
        shared = replace(config, count_weight=0.0) if config.rule == "hybrid" else config
        shared = shared if config.rule == "count" else replace(shared, reach="filter")
        groups.setdefault(shared, {})[name] = config
    return groups


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


def _play_block(data: DataSet, warm: np.ndarray) -> Plays:
    """Plays of warm songs as a block of the targeting step."""
    plays = data.plays[warm].tocoo()
    users, user = np.unique(plays.col, return_inverse=True)
    listeners = Coded(data.users[users], user.astype(np.int32))
    return Plays(listeners, Coded(data.songs[warm], plays.row.astype(np.int32)), plays.data)
