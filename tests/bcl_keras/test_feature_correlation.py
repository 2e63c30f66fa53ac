"""The moving average of the correlation matrix, alone and over replicas, and the structure it must find."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy_reference as reference
import pytest
from keras import ops

from bcl_keras.layers import CorrelationGrouping, FeatureCorrelation

N, F, D = 24, 3, 2


def batch(seed: int, songs: int = N) -> np.ndarray:
    rng = np.random.default_rng(seed)
    shared = rng.normal(size=(songs, 1, D))
    return (shared * [[[1.0], [0.5], [0.0]]] + rng.normal(size=(songs, F, D))).astype("float32")


def expected_matrix(rows: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
    return reference.correlation_matrix([rows[:, field] for field in range(rows.shape[1])], mask)


def step(layer: FeatureCorrelation, rows: np.ndarray, training: bool = True) -> np.ndarray:
    return ops.convert_to_numpy(layer(ops.convert_to_tensor(rows), training=training))


def test_moving_average_starts_from_the_first_batch() -> None:
    layer = FeatureCorrelation(F, momentum=0.75, update_every=1)
    first = step(layer, batch(0))
    np.testing.assert_allclose(first, expected_matrix(batch(0)), atol=1e-4)
    second = step(layer, batch(1))
    np.testing.assert_allclose(second, 0.75 * first + 0.25 * expected_matrix(batch(1)), atol=1e-4)


def test_update_is_due_every_k_training_steps() -> None:
    layer = FeatureCorrelation(F, momentum=0.5, update_every=3)
    seen = [step(layer, batch(seed)) for seed in range(7)]
    assert (seen[0] == seen[1]).all() and (seen[1] == seen[2]).all()
    np.testing.assert_allclose(seen[3], 0.5 * seen[0] + 0.5 * expected_matrix(batch(3)), atol=1e-4)
    assert (seen[3] == seen[5]).all() and (seen[6] != seen[5]).any()


def test_static_keeps_the_first_and_last_batch_the_latest() -> None:
    static, latest = (
        FeatureCorrelation(F, update_every=1, mode="static"),
        FeatureCorrelation(F, update_every=1, mode="last_batch"),
    )
    for seed in range(3):
        kept, last = step(static, batch(seed)), step(latest, batch(seed))
    np.testing.assert_allclose(kept, expected_matrix(batch(0)), atol=1e-4)
    np.testing.assert_allclose(last, expected_matrix(batch(2)), atol=1e-4)


def test_nothing_changes_outside_training() -> None:
    layer = FeatureCorrelation(F)
    np.testing.assert_array_equal(step(layer, batch(0), training=False), np.ones((F, F)))
    step(layer, batch(0))
    kept = step(layer, batch(1), training=False)
    np.testing.assert_allclose(kept, expected_matrix(batch(0)), atol=1e-4)
    assert int(layer.steps) == 1


def test_first_songs_and_their_presence_are_used() -> None:
    layer = FeatureCorrelation(F, max_songs=10)
    presence = np.random.default_rng(9).random((N, F)) < 0.8
    rows = np.where(presence[:, :, None], batch(0), np.nan).astype("float32")
    result = layer(ops.convert_to_tensor(rows), presence=ops.convert_to_tensor(presence), training=True)
    np.testing.assert_allclose(ops.convert_to_numpy(result), expected_matrix(batch(0)[:10], presence[:10]), atol=1e-3)


def test_fields_of_different_length_come_as_a_list() -> None:
    rng = np.random.default_rng(0)
    fields = [rng.normal(size=(N, width)).astype("float32") for width in (1, 4, 7)]
    result = FeatureCorrelation(F)([ops.convert_to_tensor(field) for field in fields], training=True)
    np.testing.assert_allclose(ops.convert_to_numpy(result), reference.correlation_matrix(fields), atol=1e-4)


def test_no_gradient_flows_back() -> None:
    tf = pytest.importorskip("tensorflow")
    rows = tf.Variable(batch(0))
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(FeatureCorrelation(F)(rows, training=True))
    assert tape.gradient(total, rows) is None


def test_one_song_is_refused() -> None:
    with pytest.raises(ValueError, match=r"must hold at least 2 songs. Received: 1"):
        FeatureCorrelation(F)(ops.ones((1, F, D)), training=True)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"num_fields": 1}, "`num_fields` must be at least 2. Received: 1"),
        ({"num_fields": 2, "momentum": 1.0}, r"`momentum` must be in \[0, 1\). Received: 1.0"),
        ({"num_fields": 2, "update_every": 0}, "`update_every` must be at least 1. Received: 0"),
        ({"num_fields": 2, "mode": "mean"}, "`mode` must be one of .* Received: 'mean'"),
        ({"num_fields": 2, "max_songs": 3}, "`max_songs` must be at least 4. Received: 3"),
    ],
)
def test_error_messages(kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FeatureCorrelation(**kwargs)


def planted(rng: np.random.Generator, blocks: list[list[int]], songs: int = 256, fields: int = 6) -> np.ndarray:
    """Fields of one block follow one taste, with noise of a fifth of its size; the others follow none."""
    rows = rng.normal(size=(songs, fields, 3))
    for block in blocks:
        rows[:, block] = rng.normal(size=(songs, 1, 3)) + 0.2 * rng.normal(size=(songs, len(block), 3))
    return rows.astype("float32")


def share_of_blocks(matrix: np.ndarray, blocks: list[list[int]]) -> float:
    """Return how often the grouping puts a whole block together, as a share of its draws."""
    groups = ops.convert_to_numpy(CorrelationGrouping(6, 3, seed=1)(ops.convert_to_tensor(matrix), num_draws=3000))
    return float(np.mean([tuple(np.flatnonzero(group)) in {tuple(block) for block in blocks} for group in groups]))


def law_of_blocks(matrix: np.ndarray, blocks: list[list[int]]) -> float:
    """Return that share from the Plackett-Luce law: seed uniform, two others without replacement."""
    total = 0.0
    for block in blocks:
        for seed in block:
            first, second = (field for field in block if field != seed)
            weights = np.delete(matrix[seed], seed).sum()
            p, q = matrix[seed, first], matrix[seed, second]
            total += (p / weights * q / (weights - p) + q / weights * p / (weights - q)) / 6
    return total


def test_planted_blocks_are_found_followed_and_grouped() -> None:
    rng = np.random.default_rng(11)
    layer = FeatureCorrelation(6, momentum=0.8, update_every=1)
    before, after = [[0, 1, 2], [3, 4, 5]], [[0, 2, 4], [1, 3, 5]]

    def follow(blocks: list[list[int]], steps: int) -> np.ndarray:
        for _ in range(steps):
            matrix = step(layer, planted(rng, blocks))
        return matrix

    for blocks, steps in ((before, 5), (after, 30)):  # 0.8 ** 30 of the first structure is left: a thousandth
        matrix = follow(blocks, steps)
        inside = np.zeros((6, 6), bool)
        for block in blocks:
            inside[np.ix_(block, block)] = True
        apart = matrix[~inside]
        assert matrix[inside].min() > 0.9 and apart.max() < 0.35
        expected = law_of_blocks(matrix, blocks)
        # Blocks of chance come together in 2 of 20 ways; here at the rate that their correlations say.
        assert expected > 0.3
        assert share_of_blocks(matrix, blocks) == pytest.approx(expected, abs=4 * np.sqrt(0.25 / 3000))


def test_drift_is_followed_at_the_stated_rate() -> None:
    rng = np.random.default_rng(12)
    layer = FeatureCorrelation(6, momentum=0.5, update_every=1)
    step(layer, planted(rng, [[0, 1, 2]]))
    for _ in range(3):
        matrix = step(layer, planted(rng, [[3, 4, 5]]))
    floor = step(FeatureCorrelation(6), planted(rng, [[3, 4, 5]]))[0, 1]  # the bias of independent fields
    assert matrix[0, 1] == pytest.approx(0.125 * 0.97 + 0.875 * floor, abs=0.05)
    assert matrix[3, 4] > 0.8


def test_all_replicas_hold_the_matrix_of_the_whole_batch(two_replicas: Any) -> None:
    tf = pytest.importorskip("tensorflow")
    with two_replicas.scope():
        layer = FeatureCorrelation(F, momentum=0.5, update_every=2, max_songs=2 * N)
        layer.build((None, F, D))
    alone = FeatureCorrelation(F, momentum=0.5, update_every=2, max_songs=2 * N)
    presence = np.random.default_rng(3).random((2 * N, F)) < 0.8

    @tf.function
    def run(rows: Any, present: Any) -> Any:
        return two_replicas.run(lambda r, p: layer(r, presence=p, training=True), args=(rows, present))

    for seed in range(3):
        rows = batch(seed, songs=2 * N)
        parts = [
            two_replicas.experimental_distribute_values_from_function(
                lambda c, v=v: v[c.replica_id_in_sync_group * N :][:N]
            )
            for v in (tf.constant(rows), tf.constant(presence))
        ]
        run(*parts)
        alone(ops.convert_to_tensor(rows), presence=ops.convert_to_tensor(presence), training=True)
    held = [value.numpy() for value in two_replicas.experimental_local_results(layer.matrix.value)]
    assert len(held) == 2
    np.testing.assert_array_equal(held[0], held[1])
    np.testing.assert_allclose(held[0], ops.convert_to_numpy(alone.matrix), atol=1e-4)
    assert [int(value) for value in two_replicas.experimental_local_results(layer.steps.value)] == [3, 3]
