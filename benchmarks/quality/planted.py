"""A planted catalogue in which learning the correlation of fields must pay, if it ever does.

Fields come in groups. Those of a group share a strong factor that says nothing about who listens. All fields share a
weak taste, which does. Few songs have plays, so that supervision alone cannot tell the two apart; thousands have
content only. If views part a group, the contrast pulls a song's views together by the group's factor. If each view
keeps whole groups, taste is all that views have in common. With drift, groups are made of other fields in each quarter
of the release times, and the contrast passes the catalogue in that order: then a matrix of the first batch is wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
from scipy import sparse

from bcl_keras import BCLConfig
from benchmarks.quality import towers
from benchmarks.quality.metrics import MAIN, as_truth, metrics_of
from benchmarks.quality.problem import Problem
from benchmarks.quality.towers import Training
from benchmarks.targeting_study.datasets import DataSet
from tfx_pipeline.contract import SongField
from tfx_pipeline.contract.splits import TEST

MODALITIES = ("attribute", "audio", "lyric")


@dataclass(frozen=True)
class World:
    """What is planted.

    Attributes:
        groups: Of fields.
        fields: Of a group.
        length: Of a field's vector.
        factor: Length of a group's factor, which tells nothing.
        taste: Length of a song's taste, which tells who listens.
        taste_share: Share of a field's variance that taste explains.
        noise_share: The same of noise of the field alone; the group's factor explains the rest.
        played: Songs with listeners.
        unplayed: Songs with content alone.
        users: Listeners.
        plays: Songs of a listener.
        periods: Release periods; a field is in another group in each. 1 = no drift.
    """

    groups: int = 2
    fields: int = 4
    length: int = 12
    factor: int = 6
    taste: int = 8
    taste_share: float = 0.15
    noise_share: float = 0.1
    played: int = 1000
    unplayed: int = 3000
    users: int = 400
    plays: int = 25
    periods: int = 1


def planted(world: World, seed: int = 0) -> DataSet:
    """Returns the catalogue; ids are in the order of release."""
    rng = np.random.default_rng(seed)
    count = world.played + world.unplayed
    taste = rng.normal(size=(count, world.taste))
    period = np.arange(count) * world.periods // count
    members = membership(world)
    factors = rng.normal(size=(world.groups, count, world.factor))
    columns: dict[str, pa.Array] = {}
    fields = []
    for place in range(world.groups * world.fields):
        own = factors[members[period, place], np.arange(count)]
        parts = (
            (world.taste_share, taste @ _loadings(rng, world.taste, world.length)),
            (1 - world.taste_share - world.noise_share, own @ _loadings(rng, world.factor, world.length)),
            (world.noise_share, rng.normal(size=(count, world.length))),
        )
        rows = np.sum([np.sqrt(share) * part for share, part in parts], axis=0).astype(np.float32)
        name = f"{MODALITIES[place % 3]}_field_{place:02d}"
        columns[name] = pa.array(rows.tolist(), pa.list_(pa.float32()))
        fields.append(SongField(name, "vector", world.length))
    ids = [f"song {row:06d}" for row in range(count)]
    songs = np.array([song.encode() for song in ids], object)
    users = np.array([f"user {row}".encode() for row in range(world.users)], object)
    plays = _plays(world, taste, rng)
    name = "planted-drift" if world.periods > 1 else "planted"
    ordered = tuple(sorted(fields, key=lambda field: field.name))
    return DataSet(name, songs, users, plays, None, pa.table({"song_id": ids, **columns}), ordered, Path(name))


def membership(world: World) -> np.ndarray:
    """Returns (periods, fields): the group of each field in each period, groups of equal size in all of them."""
    place = np.arange(world.groups * world.fields)
    found = [place // world.fields]
    for period in range(1, world.periods):
        found.append(np.random.default_rng(period).permutation(place) // world.fields)
    return np.array(found)


def _loadings(rng: np.random.Generator, inputs: int, outputs: int) -> np.ndarray:
    return rng.normal(size=(inputs, outputs)) / np.sqrt(inputs)


def _plays(world: World, taste: np.ndarray, rng: np.random.Generator) -> sparse.csr_matrix:
    """Each user plays the songs nearest to a taste, among songs spread over all release times."""
    played = np.sort(rng.permutation(len(taste))[: world.played])
    users = rng.normal(size=(world.users, world.taste))
    scores = users @ taste[played].T + 0.5 * rng.gumbel(size=(world.users, len(played)))
    best = np.argsort(-scores, axis=1)[:, : world.plays]
    user = np.repeat(np.arange(world.users), world.plays)
    ones = np.ones(len(user), np.int64)
    return sparse.csr_matrix((ones, (played[best.ravel()], user)), shape=(len(taste), world.users))


#: One hidden layer, the contrast on the embeddings, no other dropout or operator: what differs is how groups are drawn.
_BASE = BCLConfig(
    hidden_dims=(64,),
    embedding_dim=32,
    field_dim=32,
    input_dropout=0.0,
    hidden_dropout=0.0,
    plays_part="none",
    margin=0.0,
    negative_hardness=0.0,
    operators=(),
    contrast_weight=1.0,
    batch_size=256,
    correlation_songs=256,
    update_every=1,
    learning_rate=2e-3,
)


def compared() -> dict[str, BCLConfig]:
    """Returns what is compared, by name."""
    return {
        "BPR alone": replace(_BASE, contrast_weight=0.0),
        "random groups": replace(_BASE, grouping="uniform"),
        "learnt, drawn": _BASE,
        "learnt, top": replace(_BASE, grouping="top"),
        "static, drawn": replace(_BASE, correlation_mode="static"),
        "static, top": replace(_BASE, grouping="top", correlation_mode="static"),
    }


def measure(world: World, seeds: int, rounds: int, say: Callable[[str], None]) -> dict[str, list[tuple[float, float]]]:
    """Returns two recalls@50 of similar songs on test songs, by name of the setting, an element per seed.

    The first is with all fields, the second without those of the first period's second group.

    Args:
        world: What is planted.
        seeds: Number of catalogues, splits and initial states.
        rounds: Most rounds of 100 steps.
        say: Takes a line for each.
    """
    found: dict[str, list[tuple[float, float]]] = {}
    for seed in range(seeds):
        problem = Problem.of(planted(world, seed), seed, epochs=rounds)
        for name, config in compared().items():
            both = recalls_of(problem, world, config)
            found.setdefault(name, []).append(both)
            say(f"{problem.data.name}, seed {seed}: {name:16} R@50 {both[0]:.3f}, fields withheld {both[1]:.3f}")
    return found


def recalls_of(problem: Problem, world: World, config: BCLConfig) -> tuple[float, float]:
    """Returns recall@50 of one setting with all fields, and without those of the second group."""
    window = 1 / world.periods if world.periods > 1 else 0.0
    model = towers.tower(problem, config, Training(patient=True, contrast_over="catalogue", window=window))
    second = np.flatnonzero(membership(world)[0] == 1).tolist()
    withheld = frozenset(f"{MODALITIES[place % 3]}_field_{place:02d}" for place in second)
    score, songs = towers.scorer(model), problem.cold(TEST)
    truth = as_truth(problem.similar_truth(songs), len(problem.warm), 20)
    scores = score(songs, problem.encoding), score(songs, problem.encoding.without(withheld))
    whole, bare = (float(np.nanmean(metrics_of(each, truth)[MAIN])) for each in scores)
    return whole, bare
