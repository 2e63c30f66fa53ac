"""Listener vectors, in a shard of listeners: formed from what they play, or taken from a given table."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import sparse

from tfx_pipeline.columnar.rows import Array
from tfx_pipeline.contract.ids import Ids, among, lookup, no_ids
from tfx_pipeline.targeting.beam.blocks import Listeners, Plays, PlaysWithVectors
from tfx_pipeline.targeting.rules.clustering import normalize, spherical_kmeans


def listener_vectors(parts: Sequence[PlaysWithVectors], interests: int, seed: int) -> Listeners:
    """Returns listeners, sorted, with vectors formed from the songs they play.

    A vector is the mean of the unit candidate vectors weighted by log(1 + plays), scaled to length one. With several
    interests, the vectors are the spherical k-means centroids of those vectors with those weights.

    Args:
        parts: Plays of disjoint songs.
        interests: Vectors for each listener. Listeners with fewer distinct songs leave the last ones zero.
        seed: Of the clustering.
    """
    if not parts:
        return Listeners.not_excluded(no_ids(), np.zeros((0, interests, 1), np.float32))
    plays = Plays.merge([part.plays for part in parts])
    songs = np.concatenate([part.plays.songs.ids for part in parts])
    order = np.argsort(songs, kind="stable")
    vectors = normalize(np.concatenate([part.vectors for part in parts])[order].astype(np.float64))
    shape = (len(plays.users.ids), len(songs))
    weights = sparse.csr_matrix((np.log1p(plays.counts), (plays.users.codes, plays.songs.codes)), shape=shape)
    weights.sort_indices()  # sums run over songs in the order of their ids
    if interests == 1:
        found = normalize(weights @ vectors)[:, None]
    else:
        found = np.stack([_interests(weights[row], vectors, interests, seed) for row in range(shape[0])])
    return Listeners.not_excluded(plays.users.ids, found.astype(np.float32))


def given_listeners(blocks: Sequence[Listeners]) -> Listeners:
    """Returns the listeners of a given table, sorted, with vectors of length one.

    Args:
        blocks: Parts of the table.

    Raises:
        ValueError: If a listener is there twice.
    """
    joined = Listeners.concatenate(blocks)
    order = np.argsort(joined.users, kind="stable")
    users = joined.users[order]
    same = users[1:] == users[:-1]
    if same.any():
        twice = users[1:][same][0].decode()
        raise ValueError(f"`listeners` must hold every listener once. Received: user {twice!r} more than once")
    return Listeners.not_excluded(users, normalize(joined.vectors[order].astype(np.float64)).astype(np.float32))


def pick_listeners(table: Listeners, wanted: Ids, excluded: Ids) -> Listeners:
    """Returns the wanted listeners; one that the table lacks has a zero vector.

    Args:
        table: Listeners, sorted.
        wanted: (n,) ids.
        excluded: Ids of the listeners who are excluded from every song.
    """
    position = lookup(wanted, table.users)
    vectors = np.zeros((len(wanted), *table.vectors.shape[1:]), dtype=np.float32)
    vectors[position >= 0] = table.vectors[position[position >= 0]]
    return Listeners(wanted, vectors, among(wanted, excluded))


def _interests(weights: sparse.csr_matrix, vectors: Array, interests: int, seed: int) -> Array:
    result = np.zeros((interests, vectors.shape[1]))
    used = (weights.data > 0) & vectors[weights.indices].any(axis=1)
    played, weight = vectors[weights.indices[used]], weights.data[used]
    if len(played):
        centers, _ = spherical_kmeans(played, weight, min(interests, len(played)), iterations=10, seed=seed)
        result[: len(centers)] = centers
    return result
