"""Songs of the simulated catalogue, drawn block by block from one joint distribution."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import tensorflow as tf
import tensorflow_probability as tfp

from tfx_pipeline.contract.ids import SONG_ID
from tfx_pipeline.datasets.simulation.names import artists, titles, vocabulary
from tfx_pipeline.datasets.simulation.seeds import joint_seed
from tfx_pipeline.datasets.simulation.world import FIELDS, GROUPS, Array, FieldModel, World

tfd = tfp.distributions
BLOCK = 4_096
FIRST_DAY, LAST_DAY = np.datetime64("2005-01-01"), np.datetime64("2025-01-01")
# Word counts of multi-valued fields: one and a Poisson number more.
_MORE_WORDS = 2.5
NAMES = tuple(model.field.name for model in FIELDS)
SIZES = tuple(model.size for model in FIELDS)


@dataclass(frozen=True)
class SongBlock:
    """One block of songs.

    Attributes:
        table: The rows of songs.parquet.
        taste: (n, dimensions) latent taste.
        cluster: (n,) cluster of taste.
        released: (n,) release time in [0, 1).
        weight: (n,) popularity, Pareto-distributed; 0 for songs released after the last play.
        shown: Per field the shown values of all songs, missing ones included: (n, size) numbers or word indicators.
    """

    table: pa.Table
    taste: Array
    cluster: Array
    released: Array
    weight: Array
    shown: dict[str, Array]


def song_law(world: World, count: int) -> Any:
    """Returns the law of `count` songs: release, cluster, popularity, taste, group factors, scores, presence."""
    settings = world.settings
    centres = tf.constant(world.centres, tf.float32)

    def songs() -> Generator[Any, Any, None]:
        root = tfd.JointDistributionCoroutine.Root
        released = yield root(tfd.Sample(tfd.Uniform(0.0, 1.0), count, name="released"))
        shares = tf.constant(world.cluster_shares, tf.float32)
        cluster = yield root(tfd.Sample(tfd.Categorical(probs=shares), count, name="cluster"))
        yield root(tfd.Sample(tfd.Pareto(settings.song_power, 1.0), count, name="weight"))
        deviation = settings.spread / settings.dimensions**0.5
        taste = yield tfd.Independent(tfd.Normal(tf.gather(centres, cluster), deviation), 2, name="taste")
        shape = [count, len(GROUPS), settings.factor_dimensions]
        factors = yield root(tfd.Sample(tfd.Normal(0.0, 1.0), shape, name="factors"))
        yield _scores(world, released, taste, factors)
        shares = tf.constant(list(_presence(world).values()), tf.float32)
        yield root(tfd.Sample(tfd.Independent(tfd.Bernoulli(probs=shares), 1), count, name="has"))

    return tfd.JointDistributionCoroutine(songs)


def _scores(world: World, released: Any, taste: Any, factors: Any) -> Any:
    """Returns the law of all fields' scores side by side (n, total size), of unit variance around the words' biases."""
    # One distribution for all fields: one for each would take TFP seconds to trace.
    taste_loadings = np.concatenate([world.taste_loadings[name] for name in NAMES])
    strength = tf.constant(np.repeat([model.strength for model in FIELDS], SIZES), tf.float32)
    centred = taste - tf.constant(world.taste_mean, tf.float32)
    loc = tf.sqrt(strength) * tf.matmul(centred, tf.constant(taste_loadings.T, tf.float32))
    share = tf.zeros_like(loc)  # r of each song and score
    for index, group in enumerate(GROUPS):
        member = tf.constant(np.repeat([float(model.group == group) for model in FIELDS], SIZES), tf.float32)
        group_loadings = np.concatenate([world.group_loadings[name] for name in NAMES])
        common = tf.matmul(factors[:, index], tf.constant(group_loadings.T, tf.float32))
        here = member * tf.cast(world.group_share(group, released), tf.float32)[:, None]
        loc += tf.sqrt((1 - strength) * here) * common
        share += here
    loc += tf.constant(np.concatenate([world.biases[name] for name in NAMES]), tf.float32)
    return tfd.Independent(tfd.Normal(loc, tf.sqrt((1 - strength) * (1 - share))), 2, name="scores")


def _presence(world: World) -> dict[str, float]:
    whole = {"lyric": 1 - world.settings.without_lyrics, "audio": 1 - world.settings.without_audio}
    return {**whole, **{model.field.name: 1 - model.missing for model in FIELDS}}


def draw_songs(world: World, count: int, seed: int) -> Iterator[SongBlock]:
    """Yields blocks of songs; block b depends on the seed and b alone."""
    law = song_law(world, BLOCK)
    for block, start in enumerate(range(0, count, BLOCK)):
        draw = law.sample(seed=joint_seed(seed, block))
        # A whole block always: the law is built once, and a song does not depend on how many follow it in its block.
        values = {name: np.asarray(value)[: count - start] for name, value in draw._asdict().items()}
        yield _block(world, values, start, np.random.default_rng([seed, 1, block]), count)


def _block(world: World, values: dict[str, Array], start: int, generator: np.random.Generator, count: int) -> SongBlock:
    size = len(values["released"])
    # As an int of Python: numpy 2 would turn float32 into float64 with one of its own.
    days = int((LAST_DAY - FIRST_DAY).astype(int))
    columns: dict[str, Any] = {
        SONG_ID: [f"s{index:07d}" for index in range(start, start + size)],
        "title": titles(generator, size),
        "artist": artists(generator, values["cluster"], max(1, count // 100)),
        "released": pa.array(FIRST_DAY + np.floor(values["released"] * days).astype("timedelta64[D]"), pa.date32()),
    }
    shown, has = {}, dict(zip(_presence(world), values["has"].T == 1, strict=True))
    scores = np.split(values["scores"], np.cumsum(SIZES)[:-1], axis=1)
    for model, name, score in zip(FIELDS, NAMES, scores, strict=True):
        shown[name] = _show(model, score, generator)
        columns[name] = _column(model, shown[name], has[name] & has.get(model.field.group, True))
    weight = np.where(values["released"] < 1 - world.settings.unreleased, values["weight"], 0.0)
    return SongBlock(pa.table(columns), values["taste"], values["cluster"], values["released"], weight, shown)


def _show(model: FieldModel, scores: Array, generator: np.random.Generator) -> Array:
    """Returns what a listener of the data sees: scaled numbers, or 1 for each chosen word."""
    if not model.words:
        return np.asarray(model.scale[0] + model.scale[1] * scores, np.float32)
    words = np.ones(len(scores), int)
    if model.field.is_list:
        words += np.minimum(generator.poisson(_MORE_WORDS, len(scores)), 7)
    rank = np.argsort(np.argsort(-scores, axis=1, kind="stable"), axis=1, kind="stable")
    return np.asarray(rank < words[:, None], np.float32)


def _column(model: FieldModel, shown: Array, present: Array) -> pa.Array:
    field = model.field
    if field.is_categorical:
        words = np.array(vocabulary(model.words, model.size))
        values = [words[row > 0].tolist() for row in shown] if field.is_list else words[shown.argmax(axis=1)].tolist()
    else:
        values = shown if field.is_list else shown[:, 0]
    if not field.is_list:
        return pa.array(values, field.arrow.type, mask=~present)
    return pa.array([value if here else None for value, here in zip(values, present, strict=True)], field.arrow.type)
