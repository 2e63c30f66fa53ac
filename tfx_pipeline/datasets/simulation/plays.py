"""Users and plays of the simulated catalogue.

A user picks a station by taste, the station a song by place and popularity:
P(song | user) = sum over stations of P(station | user) P(song | station), a law of low rank. So drawing P plays of N
songs by M users costs P + stations (N + M), not N times M.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import tensorflow as tf
import tensorflow_probability as tfp

from tfx_pipeline.contract.ids import SONG_ID, USER_ID
from tfx_pipeline.datasets.simulation.seeds import Dirichlet, NegativeBinomial, joint_seed
from tfx_pipeline.datasets.simulation.songs import FIRST_DAY, LAST_DAY
from tfx_pipeline.datasets.simulation.world import Array, World

tfd = tfp.distributions
BLOCK = 65_536
# Plays fall in the last year before the newest songs came out.
_YEAR = 365
_ROUNDS = 12


@dataclass(frozen=True)
class Users:
    """Users of the simulated catalogue.

    Attributes:
        taste: (m, dimensions) latent taste.
        activity: (m,) Pareto-distributed.
        plays: (m,) number of different songs each plays; sums to the asked number of plays.
    """

    taste: Array
    activity: Array
    plays: Array


def draw_users(world: World, count: int, plays: int, most: int, seed: int) -> Users:
    """Returns the users.

    Args:
        world: The world.
        count: Number of users.
        plays: Rows of plays.parquet in all.
        most: The most songs one user may play.
        seed: The seed.
    """
    settings, centres = world.settings, tf.constant(world.centres, tf.float32)
    root = tfd.JointDistributionCoroutine.Root

    def users() -> Any:
        concentration = tf.fill([len(world.centres)], settings.interests)
        interests = yield root(tfd.Sample(Dirichlet(concentration), count, name="interests"))
        middle = tf.math.l2_normalize(tf.matmul(interests, centres), axis=-1)
        deviation = settings.spread / 2 / settings.dimensions**0.5
        yield tfd.Independent(tfd.Normal(middle, deviation), 2, name="taste")
        yield root(tfd.Sample(tfd.Pareto(settings.user_power, 1.0), count, name="activity"))

    draw = tfd.JointDistributionCoroutine(users).sample(seed=joint_seed(seed, -1))
    activity = np.asarray(draw.activity, np.float64)
    return Users(np.asarray(draw.taste), activity, share_out(activity, plays, most))


def share_out(weights: Array, total: int, most: int) -> Array:
    """Returns whole numbers in 1..most that sum to `total`, 1 each and the rest as the weights say, where it fits."""
    counts = np.ones(len(weights), np.int64)
    while (left := total - int(counts.sum())) > 0:
        open_ = counts < most
        ideal = np.where(open_, weights, 0.0)
        ideal = left * ideal / ideal.sum()
        step = np.minimum(np.floor(ideal).astype(np.int64), most - counts)
        if not step.any():  # The rest, one each to the largest remainders.
            step[np.argsort(-ideal, kind="stable")[: min(left, int(open_.sum()))]] = 1
        counts += step
    return counts


def station_logits(world: World, users: Array) -> Array:
    """Returns log P(station | user) up to a constant, (n, stations)."""
    return np.asarray(world.settings.user_focus * users @ world.stations.T)


def song_chances(world: World, taste: Array, weight: Array) -> Array:
    """Returns cumulative P(song | station), (stations, songs)."""
    cumulative = np.empty((len(world.stations), len(taste)))
    for row, station in zip(cumulative, world.stations, strict=True):
        logits = world.settings.song_focus * (taste @ station)
        np.cumsum(weight * np.exp(logits - logits.max()), out=row)
        np.divide(row, row[-1], out=row)
    return cumulative


class PlayLaw:
    """Draws the plays of users, block by block.

    Args:
        world: The world.
        users: The users.
        taste: (songs, dimensions).
        weight: (songs,) popularity; a song of weight 0 is never played.
        released: (songs,) in [0, 1).
    """

    def __init__(self, world: World, users: Users, taste: Array, weight: Array, released: Array):
        self.world, self.users = world, users
        self.taste, self.released = taste, released
        self.cumulative = song_chances(world, taste, weight)
        self.playable = np.flatnonzero(weight)

    def blocks(self) -> list[tuple[int, int]]:
        """Returns (first user, last user + 1) of each block: about `BLOCK` plays each, whatever their number in all."""
        number = (np.cumsum(self.users.plays) - self.users.plays) // BLOCK
        edges = [0, *(np.flatnonzero(np.diff(number)) + 1).tolist(), len(number)]
        return list(pairwise(edges))

    def draw(self, seed: int) -> Iterator[pa.Table]:
        """Yields tables of plays; block b depends on the seed, b and its users alone."""
        for block, (first, last) in enumerate(self.blocks()):
            generator = np.random.default_rng([seed, 2, block])
            user, song = self._pairs(first, last, generator)
            yield self._table(user, song, joint_seed(seed, -2 - block))

    def _pairs(self, first: int, last: int, generator: np.random.Generator) -> tuple[Array, Array]:
        """Returns users and their different songs, in order of user."""
        songs = len(self.taste)
        logits = station_logits(self.world, self.users.taste[first:last])
        wanted = self.users.plays[first:last]
        keys = np.empty(0, np.int64)  # user * songs + song, sorted, without doubles
        for round_ in range(1_000):
            missing = wanted - np.bincount(keys // songs, minlength=len(wanted))
            if not missing.any():
                break
            user = np.repeat(np.arange(len(wanted)), missing)
            song = (
                self._songs(logits[user], generator) if round_ < _ROUNDS else generator.choice(self.playable, len(user))
            )
            keys = np.union1d(keys, user * songs + song)
        return keys // songs + first, keys % songs

    def _songs(self, logits: Array, generator: np.random.Generator) -> Array:
        """Returns a song for each row of station logits."""
        station = np.asarray(tfd.Categorical(logits=logits.astype(np.float32)).sample(seed=_pair(generator)))
        chance = generator.random(len(station))
        song = np.empty(len(station), np.int64)
        for index in np.unique(station):
            here = station == index
            song[here] = np.searchsorted(self.cumulative[index], chance[here], side="right")
        return song

    def _table(self, user: Array, song: Array, seed: Any) -> pa.Table:
        """Returns the rows of plays.parquet: taste that fits brings more plays and likes."""
        fit = np.einsum("nd,nd->n", self.users.taste[user], self.taste[song]).astype(np.float32)
        newest = 1 - self.world.settings.unreleased
        # As an int of Python: numpy 2 would turn float32 into float64 with one of its own.
        span = int((LAST_DAY - FIRST_DAY).astype(int))
        start = np.maximum(self.released[song], newest - _YEAR / span)

        law = tfd.JointDistributionNamed(
            {
                "more": NegativeBinomial(total_count=0.8, logits=0.5 + fit),
                "liked": tfd.Bernoulli(logits=3.0 * fit - 2.5),
                "moment": tfd.Uniform(start.astype(np.float64), np.float64(newest)),
            },
            validate_args=False,
        )
        draw = law.sample(seed=seed)
        seconds = np.asarray(draw["moment"]) * span * 86_400 + FIRST_DAY.astype("datetime64[s]").astype(np.int64)
        return pa.table(
            {
                USER_ID: [f"u{index:07d}" for index in user],
                SONG_ID: [f"s{index:07d}" for index in song],
                "plays": pa.array(1 + np.asarray(draw["more"]).astype(np.int32)),
                "liked": pa.array(np.asarray(draw["liked"]) == 1),
                "timestamp": pa.array(seconds.astype(np.int64), pa.timestamp("s")),
            }
        )


def _pair(generator: np.random.Generator) -> Any:
    return tf.constant(generator.integers(2**31, size=2), tf.int32)
