"""What the operators and the pairs of views do to field vectors."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import ops

from bcl_keras.layers import CorruptViews, FieldDropout, RandomMask, SpanMask, SplitViews, UniformNoise


def ones(*shape: int) -> np.ndarray:
    return np.ones(shape, "float32")


def applied(layer: keras.layers.Layer, inputs: np.ndarray) -> np.ndarray:
    return ops.convert_to_numpy(layer(ops.convert_to_tensor(inputs), training=True))


@pytest.mark.parametrize("layer", [RandomMask(0.5, seed=1), SpanMask(0.5, seed=1), UniformNoise(1.0, seed=1)])
def test_nothing_happens_outside_training(layer: keras.layers.Layer) -> None:
    inputs = np.random.default_rng(0).normal(size=(3, 2, 4)).astype("float32")
    np.testing.assert_array_equal(ops.convert_to_numpy(layer(ops.convert_to_tensor(inputs))), inputs)


def test_random_mask_zeroes_the_stated_share() -> None:
    result = applied(RandomMask(0.3, seed=1), ones(200, 10, 16))
    assert set(np.unique(result)) == {0.0, 1.0}
    assert (result == 0).mean() == pytest.approx(0.3, abs=0.01)


def test_span_mask_zeroes_one_run_anywhere() -> None:
    result = applied(SpanMask(0.3, seed=1), ones(500, 2, 10)).reshape(-1, 10)
    starts = []
    for row in result:
        hidden = np.flatnonzero(row == 0)
        assert len(hidden) == 3 and hidden[-1] - hidden[0] == 2
        starts.append(hidden[0])
    counts = np.bincount(starts, minlength=8)
    assert len(counts) == 8 and counts.min() > 0.7 * len(starts) / 8


def test_uniform_noise_scales_with_the_deviation() -> None:
    rng = np.random.default_rng(2)
    inputs = (rng.normal(size=(4000, 2)) * [1.0, 50.0]).astype("float32")
    noise = applied(UniformNoise(0.2, seed=1), inputs) - inputs
    deviation = inputs.std(axis=0)
    assert (np.abs(noise).max(axis=0) <= 0.2 * deviation * 1.001).all()
    np.testing.assert_allclose(noise.std(axis=0), 0.2 * deviation / np.sqrt(3), rtol=0.05)  # of a uniform law


def test_uniform_noise_leaves_a_constant_alone() -> None:
    np.testing.assert_array_equal(applied(UniformNoise(0.5, seed=1), ones(6, 3)), ones(6, 3))


def test_field_dropout_keeps_one_present_field() -> None:
    presence = np.random.default_rng(3).random((2000, 5)) < 0.4
    result = applied(FieldDropout(0.8, seed=1), presence)
    assert result.dtype == bool
    assert not (result & ~presence).any()
    assert (result.any(axis=1) == presence.any(axis=1)).all()


def test_field_dropout_drops_the_stated_share_of_many() -> None:
    result = applied(FieldDropout(0.3, seed=1), ones(2000, 20))
    assert (result == 0).mean() == pytest.approx(0.3, abs=0.01)


def views_inputs(songs: int = 4, fields: int = 3) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(4)
    return (
        rng.normal(size=(songs, fields, 6)).astype("float32") + 10.0,
        rng.random((songs, fields)) < 0.8,
        rng.random((songs, fields)) < 0.5,
    )


def test_split_views_keep_one_group_each() -> None:
    vectors, presence, group = views_inputs()
    out_vectors, out_presence = SplitViews()(tuple(map(ops.convert_to_tensor, (vectors, presence, group))))
    np.testing.assert_array_equal(ops.convert_to_numpy(out_vectors), np.concatenate([vectors, vectors]))
    expected = np.concatenate([presence & group, presence & ~group])
    np.testing.assert_array_equal(ops.convert_to_numpy(out_presence), expected)


def test_corrupt_views_touch_one_group_each() -> None:
    vectors, presence, group = views_inputs()
    layer = CorruptViews([RandomMask(0.9, seed=5)])
    inputs = tuple(map(ops.convert_to_tensor, (vectors, presence, group)))
    out_vectors, out_presence = (ops.convert_to_numpy(part) for part in layer(inputs, training=True))
    touched = (out_vectors != np.concatenate([vectors, vectors])).any(axis=2)
    np.testing.assert_array_equal(touched, np.concatenate([group, ~group]))
    np.testing.assert_array_equal(out_presence, np.concatenate([presence, presence]))


def test_one_group_for_all_songs() -> None:
    vectors, presence, _ = views_inputs()
    group = np.array([True, False, True])
    _, kept = SplitViews()(tuple(map(ops.convert_to_tensor, (vectors, presence, group))))
    np.testing.assert_array_equal(ops.convert_to_numpy(kept)[:4], presence & group)


def test_both_views_are_corrupted_independently() -> None:
    vectors, presence, group = views_inputs()
    out, _ = SplitViews([RandomMask(0.5, seed=6)])(
        tuple(map(ops.convert_to_tensor, (vectors, presence, group))), training=True
    )
    out = ops.convert_to_numpy(out)
    assert (out[:4] != out[4:]).any()


def test_operators_in_views_survive_config() -> None:
    layer = SplitViews([SpanMask(0.25, seed=2), UniformNoise(0.5)])
    restored = SplitViews.from_config(layer.get_config())
    assert [type(op).__name__ for op in restored.operators] == ["SpanMask", "UniformNoise"]
    assert restored.operators[0].rate == 0.25 and restored.operators[1].scale == 0.5


@pytest.mark.parametrize("layer", [RandomMask, SpanMask, FieldDropout])
def test_rate_message(layer: type) -> None:
    with pytest.raises(ValueError, match=r"`rate` must be in \[0, 1\). Received: 1.0"):
        layer(1.0)


def test_scale_message() -> None:
    with pytest.raises(ValueError, match=r"`scale` must be at least 0. Received: -0.1"):
        UniformNoise(-0.1)
