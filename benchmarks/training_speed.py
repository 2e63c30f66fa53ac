"""Measure the speed of training, as ratios in one run. Prints a line of JSON for each part.

python -m benchmarks.training_speed correlation   32 fields, 512 songs: distance_correlation beside the dcor package
python -m benchmarks.training_speed step          a step of the whole method beside a step of BPR alone, batch 1024
python -m benchmarks.training_speed tfrs          examples per second beside TFRS's own two-tower, batch 1024
KERAS_BACKEND=jax python -m benchmarks.training_speed gpu   batch 8192, 64 fields, a million songs in the table

The rivals take turns in rounds, and their medians are compared: other work on the machine slows both.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# What TFRS needs; Keras 3 itself does not look at it.
os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")

import keras
import numpy as np
from keras import ops

from bcl_keras import BCLConfig, Field, models
from bcl_keras.data import ContrastOver, PairStream
from bcl_keras.kinds import FieldKind
from bcl_keras.ops import distance_correlation

IDS, VALUES_PER_SET, VECTOR = 1000, 8, 32
# Sixteen fields of all kinds. Further ones repeat them.
KINDS: tuple[FieldKind, ...] = ("category",) * 4 + ("multi_category",) * 3 + ("number",) * 8 + ("vector",)
CONFIG = BCLConfig(
    embedding_dim=64, field_dim=32, hidden_dims=(256,), batch_size=1024, update_every=10, correlation_songs=512
)


def fields_of(count: int) -> list[Field]:
    """Returns fields of all kinds in turn."""
    sizes = {"category": IDS, "multi_category": IDS, "number": 1, "vector": VECTOR}
    kinds = [KINDS[place % len(KINDS)] for place in range(count)]
    return [Field(f"field_{place}", kind, sizes[kind]) for place, kind in enumerate(kinds)]


def features_of(fields: list[Field], songs: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Returns random values of each field."""
    rng = np.random.default_rng(seed)
    draw: dict[str, Callable[[], np.ndarray]] = {
        "category": lambda: rng.integers(0, IDS, songs, dtype="int32"),
        "multi_category": lambda: rng.integers(0, IDS, (songs, VALUES_PER_SET), dtype="int32"),
        "number": lambda: rng.normal(size=songs).astype("float32"),
        "vector": lambda: rng.normal(size=(songs, VECTOR)).astype("float32"),
    }
    return {field.name: draw[field.kind]() for field in fields}


def stream_of(songs: int, config: BCLConfig, steps: int, known_positives: int = 20) -> PairStream:
    """Returns a stream of random pairs of songs."""
    anchors = np.repeat(np.arange(songs), 5)
    positives = np.random.default_rng(1).integers(0, songs, len(anchors))
    contrast: ContrastOver = "warm" if config.contrast_weight else "none"
    return PairStream(
        (anchors, positives, np.ones(len(anchors))),
        songs,
        batch_size=config.batch_size,
        steps_per_epoch=steps,
        contrast_over=contrast,
        known_positives=known_positives,
    )


def trainer(config: BCLConfig, songs: int, fields: list[Field], steps: int, **stream: Any) -> Callable[[], None]:
    """Return a function that trains an epoch of `steps` steps, traced already."""
    model = models.BCLModel(fields, songs, config)
    model.set_catalogue(features_of(fields, songs))
    source = stream_of(songs, config, steps, **stream)
    model.compile()

    def run() -> None:
        model.fit(source, epochs=1, verbose=0)

    run()
    return run


def in_turns(rivals: dict[str, Callable[[], None]], rounds: int) -> dict[str, float]:
    """Return the median seconds of each rival."""
    seconds: dict[str, list[float]] = {name: [] for name in rivals}
    for _ in range(rounds):
        for name, run in rivals.items():
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def correlation(rounds: int) -> dict[str, Any]:
    """Time the matrix of 32 fields over 512 songs."""
    import dcor

    rng = np.random.default_rng(0)
    taste = rng.normal(size=(512, 8))
    fields = [(taste @ rng.normal(size=(8, 16)) + rng.normal(size=(512, 16))).astype("float32") for _ in range(32)]
    tensors = [ops.convert_to_tensor(field) for field in fields]
    doubles = [field.astype("float64") for field in fields]
    found: dict[str, np.ndarray] = {}

    def ours() -> None:
        found["ours"] = ops.convert_to_numpy(distance_correlation(tensors))

    def theirs() -> None:
        matrix = np.eye(len(doubles))
        for i, one in enumerate(doubles):
            for j in range(i):
                matrix[i, j] = matrix[j, i] = dcor.distance_correlation(one, doubles[j])
        found["theirs"] = matrix

    ours()
    seconds = in_turns({"bcl_keras": ours, "dcor": theirs}, rounds)
    difference = float(np.abs(found["ours"] - found["theirs"]).max())
    return {
        "seconds": seconds,
        "times_faster": seconds["dcor"] / seconds["bcl_keras"],
        "largest_difference": difference,
    }


def step(rounds: int) -> dict[str, Any]:
    """Time a step of the whole method beside BPR alone, with the same towers."""
    steps, songs, fields = 20, 20_000, fields_of(16)
    runs = {
        "bpr_only": trainer(replace(CONFIG, contrast_weight=0.0), songs, fields, steps),
        "bcl": trainer(CONFIG, songs, fields, steps),
    }
    seconds = {name: value / steps for name, value in in_turns(runs, rounds).items()}
    return {"seconds_per_step": seconds, "cost_of_bcl": seconds["bcl"] / seconds["bpr_only"]}


def tfrs(rounds: int) -> dict[str, Any]:
    """Time our supervised task beside TFRS's Retrieval task: same fields, tower, batch, optimizer and softmax loss."""
    steps, songs, fields = 20, 20_000, fields_of(16)
    plain = replace(CONFIG, contrast_weight=0.0, supervised_loss="sampled_softmax", mask_accidental_hits=False)
    runs = {
        "bcl_keras": trainer(plain, songs, fields, steps, known_positives=0),
        "tfrs": tfrs_trainer(plain, songs, fields, steps),
    }
    rates = {name: steps * CONFIG.batch_size / value for name, value in in_turns(runs, rounds).items()}
    return {"examples_per_second": rates, "ratio": rates["bcl_keras"] / rates["tfrs"]}


def tfrs_trainer(config: BCLConfig, songs: int, fields: list[Field], steps: int) -> Callable[[], None]:
    """Return an epoch of a two-tower written as TFRS's guide writes it, in Keras 2, its features in the stream."""
    import tensorflow as tf
    import tensorflow_recommenders as recommenders
    import tf_keras

    def encoder(field: Field) -> Any:
        layers = tf_keras.layers
        if field.kind == "category":
            return layers.Embedding(field.size, config.field_dim)
        if field.kind == "multi_category":
            embedding = layers.Embedding(field.size, config.field_dim, mask_zero=True)
            return tf_keras.Sequential([embedding, layers.GlobalAveragePooling1D()])
        return tf_keras.Sequential([layers.Reshape((field.size,)), layers.Dense(config.field_dim)])

    class TwoTower(recommenders.Model):
        def __init__(self) -> None:
            super().__init__()
            self.encoders = {field.name: encoder(field) for field in fields}
            layers = tf_keras.layers
            self.tower = tf_keras.Sequential(
                [layers.Dropout(config.input_dropout)]
                + [
                    layer
                    for units in config.hidden_dims
                    for layer in (layers.Dense(units, "gelu"), layers.Dropout(0.3))
                ]
                + [layers.Dense(config.embedding_dim)]
            )
            self.plays = layers.Embedding(songs + 1, config.embedding_dim)
            self.task = recommenders.tasks.Retrieval(temperature=config.temperature)

        def embed(self, features: Any, training: bool) -> Any:
            joined = tf.concat([self.encoders[name](features[name]) for name in self.encoders], axis=1)
            return tf.math.l2_normalize(self.tower(joined, training=training), axis=1)

        def compute_loss(self, inputs: Any, training: bool = False) -> Any:
            candidates = self.embed(inputs["positive"], training) + self.plays(inputs["song_index"])
            anchors = self.embed(inputs["anchor"], training)
            return self.task(anchors, tf.math.l2_normalize(candidates, axis=1), compute_metrics=False)

    features, source = features_of(fields, songs), stream_of(songs, config, steps)
    batches = [source[i][0] for i in range(steps)]
    anchors, positives = (np.stack([batch[side] for batch in batches]) for side in ("anchor", "positive"))
    inputs = {
        "anchor": {name: values[anchors] for name, values in features.items()},
        "positive": {name: values[positives] for name, values in features.items()},
        "song_index": positives + 1,
    }
    data = tf.data.Dataset.from_tensor_slices(inputs).prefetch(tf.data.AUTOTUNE)
    model = TwoTower()
    model.compile(tf_keras.optimizers.AdamW(config.learning_rate, weight_decay=config.weight_decay))

    def run() -> None:
        model.fit(data, epochs=1, verbose=0)

    run()
    return run


def gpu(rounds: int) -> dict[str, Any]:
    """Time steps at the size of a real catalogue, beside the floor that memory and arithmetic of this device set."""
    steps, songs, fields = 50, 1_000_000, fields_of(64)
    config = replace(CONFIG, batch_size=8192)
    run = trainer(config, songs, fields, steps)
    seconds = in_turns({"step": run}, rounds)["step"] / steps
    bandwidth, arithmetic = device_rates()
    width = len(fields) * config.field_dim
    tables = sum(field.size * config.field_dim for field in fields) + songs * config.embedding_dim
    dense = width * 256 + 256 * config.embedding_dim
    # AdamW reads and writes each weight and both moments, and the gradient is written and read.
    moved = 4 * 8 * (tables + dense) + 4 * 2 * 5 * config.batch_size * width * 3
    multiplied = 2 * 3 * dense * 4 * config.batch_size + 2 * len(fields) ** 2 * config.correlation_songs**2 // 10
    floor = {"memory": moved / bandwidth, "arithmetic": multiplied / arithmetic}
    return {
        "backend": keras.backend.backend(),
        "steps_per_second": 1 / seconds,
        "floor_seconds": floor,
        "share_of_floor": {name: value / seconds for name, value in floor.items()},
        "measured": {"gigabytes_per_second": bandwidth / 1e9, "teraflops": arithmetic / 1e12},
    }


def device_rates() -> tuple[float, float]:
    """Measure bytes per second of a large sum of arrays, and operations per second of a large product."""
    size, side = 2**26, 4096
    long, square = ops.ones((size,)), ops.ones((side, side))

    def seconds(run: Callable[[], Any]) -> float:
        float(ops.convert_to_numpy(ops.ravel(run())[0]))
        start = time.perf_counter()
        for _ in range(10):
            result = run()
        float(ops.convert_to_numpy(ops.ravel(result)[0]))
        return (time.perf_counter() - start) / 10

    return 3 * 4 * size / seconds(lambda: long + long), 2 * side**3 / seconds(lambda: ops.matmul(square, square))


PARTS = {"correlation": correlation, "step": step, "tfrs": tfrs, "gpu": gpu}


def main(arguments: list[str]) -> None:
    """Run the parts named, or all that need no GPU."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.training_speed",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("parts", nargs="*", help=f"what to measure, of {', '.join(PARTS)} (default: all but gpu)")
    parser.add_argument("--rounds", type=int, default=5, help="number of turns of each rival (default: %(default)s)")
    chosen = parser.parse_args(arguments)
    unknown = set(chosen.parts) - set(PARTS)
    if unknown:
        parser.error(f"parts must be of {sorted(PARTS)}. Received: {sorted(unknown)}")
    for name in chosen.parts or ("correlation", "step", "tfrs"):
        keras.utils.set_random_seed(0)
        sys.stdout.write(json.dumps({"part": name, **PARTS[name](chosen.rounds)}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
