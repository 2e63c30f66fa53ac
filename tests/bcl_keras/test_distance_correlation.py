"""Distance correlation against the dcor package, a float64 derivation, and its own definition."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import numpy_reference as reference
import pytest
from keras import ops

from bcl_keras.ops import correlation, distance_correlation


def related_fields(n: int, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    taste = rng.normal(size=(n, 3))
    return [
        taste + 0.3 * rng.normal(size=(n, 3)),
        np.sin(taste[:, 0]),
        taste @ rng.normal(size=(3, 12)) + rng.normal(size=(n, 12)),
        rng.integers(0, 4, n).astype("float64"),
        rng.normal(size=(n, 3)),
    ]


def computed(fields: list[np.ndarray], **kwargs: Any) -> np.ndarray:
    tensors = [ops.convert_to_tensor(field.astype("float32")) for field in fields]
    return ops.convert_to_numpy(distance_correlation(tensors, **kwargs))


@pytest.mark.parametrize("n", [2, 3, 10, 200])
def test_matches_dcor_package(n: int, dcor: Any) -> None:
    fields = related_fields(n)
    expected = [[dcor.distance_correlation(x, y) for y in fields] for x in fields]
    np.testing.assert_allclose(computed(fields), expected, atol=2e-3 if n < 4 else 5e-4)


@pytest.mark.parametrize("n", [5, 60])
def test_unbiased_matches_dcor_package(n: int, dcor: Any) -> None:
    fields = related_fields(n)
    squared = np.array([[dcor.u_distance_correlation_sqr(x, y) for y in fields] for x in fields])
    result = computed(fields, unbiased=True)
    np.testing.assert_allclose(result**2, np.clip(squared, 0.0, 1.0), atol=1e-5)


@pytest.mark.parametrize("unbiased", [False, True])
def test_missing_values_use_songs_that_have_both(unbiased: bool) -> None:
    fields = related_fields(80, seed=3)
    mask = np.random.default_rng(4).random((80, len(fields))) < 0.6
    absent = [np.where(mask[:, i].reshape(-1, *[1] * (f.ndim - 1)), f, np.nan) for i, f in enumerate(fields)]
    result = computed(absent, mask=ops.convert_to_tensor(mask), unbiased=unbiased)
    expected = reference.correlation_matrix(fields, mask, unbiased)
    np.testing.assert_allclose(result**2, expected**2, atol=2e-5)


def test_full_mask_changes_nothing() -> None:
    fields = related_fields(50)
    full = ops.ones((50, len(fields)), dtype="bool")
    np.testing.assert_allclose(computed(fields, mask=full), computed(fields), atol=1e-5)


def test_fields_never_seen_together_have_no_correlation() -> None:
    fields = related_fields(20)[:2]
    mask = np.zeros((20, 2), bool)
    mask[:10, 0] = mask[10:, 1] = True
    result = computed(fields, mask=ops.convert_to_tensor(mask))
    np.testing.assert_allclose(result, np.eye(2), atol=1e-4)


def test_sound_for_many_songs_far_from_zero(dcor: Any) -> None:
    rng = np.random.default_rng(5)
    x = rng.normal(size=4096).astype("float32")
    fields = [1000.0 + x, 1e-3 * x, 1e6 * (x + rng.normal(size=4096))]
    result = computed([field.astype("float32") for field in fields])
    as_float32 = [field.astype("float32").astype("float64") for field in fields]
    expected = [[dcor.distance_correlation(a, b, method="mergesort") for b in as_float32] for a in as_float32]
    np.testing.assert_allclose(result, expected, atol=1e-3)


@pytest.mark.parametrize("value", [0.0, 1000.1, 1e20])
def test_constant_field_has_zero_correlation(value: float) -> None:
    fields = [*related_fields(30)[:2], np.full((30, 4), value), np.full(30, value)]
    result = computed(fields)
    np.testing.assert_array_equal(result[2:], 0.0)
    np.testing.assert_array_equal(result[:, 2:], 0.0)
    np.testing.assert_allclose(np.diag(result)[:2], 1.0, atol=1e-5)


def test_field_constant_where_both_are_present_has_zero_correlation() -> None:
    x, y = np.r_[np.zeros(10), np.arange(10.0)], np.random.default_rng(0).normal(size=20)
    mask = np.ones((20, 2), bool)
    mask[10:, 1] = False
    result = computed([x, y], mask=ops.convert_to_tensor(mask))
    assert result[0, 1] == result[1, 0] == 0.0


def test_independent_of_scale_shift_and_order() -> None:
    fields = related_fields(40)
    moved = [5.0 - 3.0 * field for field in fields]
    np.testing.assert_allclose(computed(moved), computed(fields), atol=1e-4)
    order = [3, 0, 4, 2, 1]
    np.testing.assert_allclose(computed([fields[i] for i in order]), computed(fields)[np.ix_(order, order)], atol=1e-5)


@pytest.mark.parametrize("block_rows", [1, 7, 50, 64])
@pytest.mark.parametrize("masked", [False, True])
def test_blocks_give_the_same_matrix(block_rows: int, masked: bool) -> None:
    fields = related_fields(50)
    mask = ops.convert_to_tensor(np.random.default_rng(1).random((50, len(fields))) < 0.8) if masked else None
    whole = computed(fields, mask=mask)
    np.testing.assert_allclose(computed(fields, mask=mask, block_rows=block_rows), whole, atol=1e-4)


def test_memory_is_bounded_by_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    plain = correlation._distances

    def recorded(rows: Any, columns: Any) -> Any:
        result = plain(rows, columns)
        sizes.append(int(np.prod(result.shape)))
        return result

    monkeypatch.setattr(correlation, "_distances", recorded)
    monkeypatch.setattr(correlation, "BLOCK_ELEMENTS", 5000)
    computed(related_fields(200)[:1])
    assert max(sizes) <= 5000 and sum(sizes) == 2 * 200 * 200


def test_unknown_number_of_songs_while_tracing() -> None:
    tf = pytest.importorskip("tensorflow")
    fields = [field.astype("float32") for field in related_fields(300)]
    mask = np.random.default_rng(2).random((300, len(fields))) < 0.7

    @tf.function(
        input_signature=[tf.TensorSpec([None, *f.shape[1:]]) for f in fields] + [tf.TensorSpec([None, 5], tf.bool)]
    )
    def traced(*inputs: Any) -> Any:
        return distance_correlation(list(inputs[:-1]), mask=inputs[-1])

    np.testing.assert_allclose(
        traced(*fields, mask).numpy(), computed(fields, mask=ops.convert_to_tensor(mask)), atol=1e-4
    )


def test_gradients_are_finite_with_equal_songs() -> None:
    tf = pytest.importorskip("tensorflow")
    rows = tf.Variable(np.repeat(np.random.default_rng(0).normal(size=(6, 3)), 2, axis=0).astype("float32"))
    other = tf.constant(np.random.default_rng(1).normal(size=(12, 2)).astype("float32"))
    with tf.GradientTape() as tape:
        value = distance_correlation([rows, other])[0, 1]
    gradient = tape.gradient(value, rows).numpy()
    assert np.isfinite(gradient).all() and np.abs(gradient).max() > 0


def test_half_precision_input_is_computed_in_float32() -> None:
    fields = [ops.cast(ops.convert_to_tensor(100.0 * f.astype("float32")), "float16") for f in related_fields(64)]
    result = distance_correlation(fields)
    assert keras.backend.standardize_dtype(result.dtype) == "float32"
    expected = reference.correlation_matrix([ops.convert_to_numpy(f).astype("float64") for f in fields])
    np.testing.assert_allclose(ops.convert_to_numpy(result), expected, atol=1e-3)


@pytest.mark.parametrize(
    ("fields", "kwargs", "message"),
    [
        ([], {}, r"`fields` must hold at least one tensor. Received: an empty list"),
        ([np.zeros((4, 2)), np.zeros((5, 2))], {}, r"`fields` must hold tensors .* of one n. Received: shapes"),
        ([np.zeros((4, 2, 2))], {}, r"`fields` must hold tensors .* Received: shapes \[\(4, 2, 2\)\]"),
        ([np.zeros((1, 2))], {}, r"`fields` must hold at least 2 songs. Received: 1"),
        ([np.zeros((3, 2))], {"unbiased": True}, r"`fields` must hold at least 4 songs. Received: 3"),
        ([np.zeros((4, 2))], {"mask": np.ones((4, 2))}, r"`mask` must have shape .* = \(4, 1\). Received: \(4, 2\)"),
    ],
)
def test_error_messages(fields: list[np.ndarray], kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        distance_correlation(fields, **kwargs)
