"""From a shard of cold songs to scored candidates: each song's audience, its query and its scores."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator

import numpy as np

from tfx_pipeline.columnar.hashing import Hashes
from tfx_pipeline.columnar.rows import Array, ranges, smallest
from tfx_pipeline.contract.ids import Ids, among, lookup, no_ids
from tfx_pipeline.targeting.beam.cold_shard import MatchLists, Shard
from tfx_pipeline.targeting.config import TargetingConfig
from tfx_pipeline.targeting.rules.scores import Query, Scores, make_query, score_listeners, weighted_counts

Counts = dict[str, int | bool | str]


@dataclasses.dataclass(frozen=True)
class Candidates:
    """One cold song's audience, scored.

    Attributes:
        song: Id.
        split: Of the catalogue; "" if the song is not in it.
        counts: Numbers for the summary.
        audience: (n,) index into the shard's users, ascending.
        scores: Scores of the n listeners, or None where no score can be given.
        query: What other listeners can be compared with, or None.
        pair_listener: The listener, 0 to n - 1, of each pair of a listener and a matched song, by match.
        pair_match: The matched song of each pair, its place in the shard's matches.
        excluded: Ids excluded from this song.
    """

    song: bytes
    split: bytes
    counts: Counts
    audience: Array
    scores: Scores | None
    query: Query | None
    pair_listener: Array
    pair_match: Array
    excluded: Ids


@dataclasses.dataclass(frozen=True)
class SongQuery:
    """What the listeners outside a song's audience are compared with.

    Attributes:
        song: Id.
        split: Of the catalogue.
        query: Centers that vectors are compared with.
        excluded: Ids of listeners who must not be targets.
    """

    song: bytes
    split: bytes
    query: Query
    excluded: Ids


def score_songs(shard: Shard, config: TargetingConfig, only: Ids | None = None) -> Iterator[Candidates]:
    """Yields songs of a shard, each with its audience scored.

    Args:
        shard: The shard.
        config: Settings, with a number as `count_weight`.
        only: Ids of the songs to score; None = those that get targets: of `config.target_splits`, and those that have
            matches and are not in the catalogue, for their status in the summary.
    """
    cold = np.union1d(shard.catalogue.ids, shard.matches.songs)
    if only is None:
        wanted = np.isin(shard.catalogue.split, np.array(config.target_splits, dtype=np.bytes_))
        cold = np.setdiff1d(cold, shard.catalogue.ids[~wanted])
    else:
        cold = np.intersect1d(cold, only)
    rows, listed = lookup(cold, shard.catalogue.ids).tolist(), lookup(cold, shard.matches.songs).tolist()
    for song, row, place in zip(cold.tolist(), rows, listed, strict=True):
        yield _score_song(song, row, place, shard, config)


def song_seed(song: bytes, seed: int) -> int:
    """Returns the seed of a song's clustering, the same wherever and in whatever order the song is worked on.

    Args:
        song: Id.
        seed: Of the run.
    """
    return int.from_bytes(hashlib.blake2b(song, digest_size=8, key=f"cluster {seed}".encode()).digest(), "little")


def _score_song(song: bytes, row: int, listed: int, shard: Shard, config: TargetingConfig) -> Candidates:
    split = shard.catalogue.split[row] if row >= 0 else b""
    vector = shard.catalogue.embedding[row] if row >= 0 else np.zeros(max(1, shard.listeners.vectors.shape[-1]))
    counts, match_rows, similarity = _usable_matches(shard.matches, listed)
    counts["status"] = _status(row, listed, split, vector, counts, config)
    if counts["status"]:
        return _unscored(song, split, counts)
    audience, pair_listener, pair_match, pair_score = _audience(shard, match_rows, similarity, counts, config)
    pairs = shard.pairs.users[shard.pairs.songs == song]
    here = shard.listeners.take(audience)
    eligible = ~(here.excluded | among(here.users, pairs))
    if not eligible.any():  # with `expand`, other listeners may still be found, and `finish` corrects this
        counts["status"] = "all excluded"
    weight = weighted_counts(pair_listener, pair_score, len(audience))
    listeners = here.vectors
    members = _members(shard.hashes[audience], config)
    query = make_query(vector, listeners[members], weight[members], config, song_seed(song, config.seed))
    if query is not None and similarity.max() > 0:
        query = dataclasses.replace(query, count_unit=float(similarity.max()))
    scores = score_listeners(listeners, weight, query, config, eligible)
    counts["excluded"] = int((~eligible).sum())
    counts["without_vector"] = int((~listeners.any(axis=(1, 2))).sum())
    counts["clusters"] = len(query.centers) if query is not None and config.vector_rule == "cat" else 0
    return Candidates(song, split, counts, audience, scores, query, pair_listener, match_rows[pair_match], pairs)


def _members(hashes: Hashes, config: TargetingConfig) -> Array:
    """Returns a mask of the listeners whose vectors are clustered: all, or a sample by hash of too many."""
    sampled = config.vector_rule == "cat" and len(hashes) > config.max_members
    return smallest(hashes, config.max_members) if sampled else np.ones(len(hashes), dtype=bool)


def _unscored(song: bytes, split: bytes, counts: Counts) -> Candidates:
    none = np.zeros(0, dtype=np.int64)
    zeros = {"audience": 0, "sampled": False, "scored": 0, "excluded": 0, "without_vector": 0, "clusters": 0}
    return Candidates(song, split, {**counts, **zeros}, none, None, None, none, none, no_ids())


def _status(row: int, listed: int, split: bytes, vector: Array, counts: Counts, config: TargetingConfig) -> str:
    """Returns why a song cannot be scored; "" if it can."""
    needs_song = config.vector_rule == "song" or config.song_role != "none"
    if row < 0:
        return "not a cold song of the catalogue"
    if listed < 0 or not counts["matches_given"]:
        return "no matches"
    if needs_song and not vector.any():
        return "song has no vector"
    if not counts["matches_used"]:
        return "matches have no listeners" if counts["matches_kept"] else "no usable matches"
    return ""


def _usable_matches(matches: MatchLists, listed: int) -> tuple[Counts, Array, Array]:
    """Returns counts, the places of the matches that have an audience, and their scores."""
    if listed < 0:
        none = {"matches_given": 0, "matches_bad": 0, "matches_kept": 0, "matches_used": 0}
        return {**none}, np.zeros(0, np.int64), np.zeros(0)
    positions = np.arange(matches.start[listed], matches.start[listed] + matches.size[listed])
    used = positions[matches.row[positions] >= 0]
    counts: Counts = {
        "matches_given": int(matches.given[listed]),
        "matches_bad": int(matches.bad[listed]),
        "matches_kept": len(positions),
        "matches_used": len(used),
    }
    return counts, used, matches.score[used]


def _audience(
    shard: Shard, match_rows: Array, similarity: Array, counts: Counts, config: TargetingConfig
) -> tuple[Array, Array, Array, Array]:
    """Returns the listeners, ascending, and of each pair the listener's place, the match's place and score."""
    table = shard.audiences
    songs = shard.matches.row[match_rows]
    kept = table.kept[songs]
    audience, listener = np.unique(table.user[ranges(table.start[songs], kept)], return_inverse=True)
    match = np.repeat(np.arange(len(songs)), kept)
    counts["sampled"] = bool((kept < table.size[songs]).any() or len(audience) > config.max_audience)
    counts["audience"] = len(audience)
    if counts["sampled"]:
        mask = smallest(shard.hashes[audience], config.max_audience)
        # Of uniform hashes the k smallest are kept, so the k-th gives an estimate of how many there are in all.
        largest = int(shard.hashes[audience][mask].max())
        counts["audience"] = max(len(audience), round((int(mask.sum()) - 1) * 2**64 / max(1, largest)))
        pairs = mask[listener]
        audience, listener, match = audience[mask], (np.cumsum(mask) - 1)[listener[pairs]], match[pairs]
    counts["scored"] = len(audience)
    return audience, listener, match, similarity[match]
