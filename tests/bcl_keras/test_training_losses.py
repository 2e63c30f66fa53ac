"""The losses that training uses: from `compile` or the config, saved with the model, with integers as ids."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy_reference as reference
import pytest
import small_catalogue as small
from keras import ops

from bcl_keras.losses import BPR, InfoNCE, PairLoss, SampledSoftmax, bpr, info_nce

#: Two neighbours that float32, and two that float64, cannot tell apart.
LARGE_IDS = [(2**24, 2**24 + 1, "int32"), (2**53, 2**53 + 1, "int64")]


class NoLoss(PairLoss):
    """Costs nothing, and keeps what it was called with."""

    seen: dict[str, Any]

    def pair_values(self, anchors: Any, positives: Any, negatives: Any, known: dict[str, Any]) -> Any:
        self.seen = {name: keras.backend.standardize_dtype(values.dtype) for name, values in known.items()}
        return 0.0 * ops.sum(anchors * positives, axis=1)


def batch_of(stream: Any) -> dict[str, Any]:
    return {name: ops.convert_to_tensor(rows) for name, rows in stream[0][0].items()}


def losses_of(model: Any, stream: Any) -> tuple[float, float]:
    batch = batch_of(stream)
    model.reset_metrics()
    keras.utils.set_random_seed(1)
    model.compute_loss(batch, y_pred=model(batch), training=False)
    return float(model.supervised_loss.result()), float(model.contrastive_loss.result())


def test_the_loss_given_to_compile_is_the_one_that_is_computed() -> None:
    config = replace(small.SMALL, mask_accidental_hits=False)
    model, stream = small.model_and_stream(config, negatives="uniform")
    model.compile(loss=BPR(0.5, margin=2.0, hardness=0.7, mask_accidental_hits=False))
    found, _ = losses_of(model, stream)
    outputs = {name: ops.convert_to_numpy(values).astype("float64") for name, values in model(batch_of(stream)).items()}
    negative = outputs["anchor"] @ outputs["negative"].T / 0.5
    positive = (outputs["anchor"] * outputs["positive"]).sum(axis=1, keepdims=True) / 0.5
    weights = np.exp(0.7 * negative)
    costs = np.log1p(np.exp(negative - positive + 2.0))
    assert found == pytest.approx(((weights * costs).sum(axis=1) / weights.sum(axis=1)).mean(), rel=1e-4)


def test_the_contrastive_loss_given_to_compile_is_the_one_that_is_computed() -> None:
    model, stream = small.model_and_stream(replace(small.SMALL, operators=(), grouping="top"), songs=200)
    model.compile(loss={"contrastive": InfoNCE(0.5)})
    batch = batch_of(stream)
    outputs = model(batch)
    model.compute_loss(batch, y_pred=outputs, training=False)
    views = [ops.convert_to_numpy(outputs[name]) for name in ("view_1", "view_2")]
    usable = ops.convert_to_numpy(outputs["usable"])
    expected = (reference.info_nce(*views, 0.5) * usable).sum() / usable.sum()
    assert float(model.contrastive_loss.result()) == pytest.approx(expected, rel=1e-4)


def test_training_follows_no_other_loss() -> None:
    config = replace(small.SMALL, contrast_weight=0.0, weight_decay=0.0)
    model, stream = small.model_and_stream(config)
    model.compile(loss=NoLoss())
    before = [ops.convert_to_numpy(variable).copy() for variable in model.trainable_variables]
    assert model.fit(stream, verbose=0).history["loss"] == [0.0]
    for one, other in zip(before, model.trainable_variables, strict=True):
        np.testing.assert_array_equal(one, ops.convert_to_numpy(other))
    assert model.task_losses.supervised.seen == {"positive_ids": "int32", "known_positives": "int32"}


@pytest.mark.parametrize("name", ["bpr", "sampled_softmax"])
def test_the_config_gives_the_same_losses_as_objects(name: str) -> None:
    config = replace(small.SMALL, supervised_loss=name, correct_log_q=True, margin=1.5, temperature=0.2)
    shared: dict[str, Any] = {"temperature": 0.2, "correct_log_q": True}
    objects: dict[str, PairLoss] = {
        "bpr": BPR(margin=1.5, hardness=1.0, **shared),
        "sampled_softmax": SampledSoftmax(**shared),
    }
    found = []
    for loss in (None, name, objects[name], {"supervised": objects[name], "contrastive": InfoNCE(0.1)}):
        keras.utils.set_random_seed(0)
        model, stream = small.model_and_stream(config, with_log_q=True)
        model.compile(loss=loss)
        found.append(losses_of(model, stream))
    assert len(set(found)) == 1


def test_a_saved_model_has_the_loss_that_it_was_compiled_with(tmp_path: Path) -> None:
    model, _ = small.model_and_stream()
    model.compile(loss={"supervised": SampledSoftmax(0.3), "contrastive": InfoNCE(0.4, symmetric=False)})
    model.save(tmp_path / "model.keras")
    restored = keras.saving.load_model(tmp_path / "model.keras").task_losses
    assert isinstance(restored.supervised, SampledSoftmax)
    assert isinstance(restored.contrastive, InfoNCE)
    assert (restored.supervised.temperature, restored.contrastive.temperature) == (0.3, 0.4)
    assert not restored.contrastive.symmetric


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        ("mse", "`loss` must be 'bpr', 'sampled_softmax' or a loss object. Received: 'mse'"),
        (InfoNCE(), "`loss` must be a `PairLoss` such as `BPR`. Received: .*InfoNCE"),
        ({"contrast": InfoNCE()}, r"`loss` must have no keys but \['supervised', 'contrastive'\]. Received: \['contr"),
        ({"contrastive": BPR()}, "must have a loss of two views such as `InfoNCE` for 'contrastive'. Received: .*BPR"),
    ],
)
def test_losses_that_do_not_fit(loss: Any, message: str) -> None:
    model, _ = small.model_and_stream()
    with pytest.raises(ValueError, match=message):
        model.compile(loss=loss)


def test_examples_of_weight_zero_do_not_count() -> None:
    pairs = np.random.default_rng(0).normal(size=(4, 2, 5)).astype("float32")
    values = ops.convert_to_numpy(bpr(pairs[:, 0], pairs[:, 1]))
    ids, weights = np.arange(4), np.array([1.0, 0.0, 3.0, 0.0], "float32")
    assert float(BPR()(ids, pairs, weights)) == pytest.approx((values[0] + 3 * values[2]) / 4, rel=1e-5)
    by_size = BPR(reduction="sum_over_batch_size")
    assert float(by_size(ids, pairs, weights)) == pytest.approx((values[0] + 3 * values[2]) / 4, rel=1e-5)
    ones = np.array([1.0, 0.0, 1.0, 0.0], "float32")
    assert float(BPR()(ids, pairs, ones)) == pytest.approx((values[0] + values[2]) / 2, rel=1e-5)
    assert float(by_size(ids, pairs, ones)) == pytest.approx((values[0] + values[2]) / 4, rel=1e-5)
    each = BPR(reduction=None)(ids, pairs, weights)
    np.testing.assert_allclose(ops.convert_to_numpy(each), values * weights, rtol=1e-5)


@pytest.mark.parametrize(("low", "high", "dtype"), LARGE_IDS)
@pytest.mark.parametrize("loss", [BPR(), SampledSoftmax(), InfoNCE()], ids=lambda loss: loss.name)
def test_large_ids_are_told_apart(loss: Any, low: int, high: int, dtype: str) -> None:
    pairs = np.random.default_rng(0).normal(size=(4, 2, 5)).astype("float32")
    large, small_ids = np.array([low, high, low, 7], dtype), np.array([1, 2, 1, 3], "int32")
    assert float(loss(large, pairs)) == float(loss(small_ids, pairs))
    assert float(loss(large, pairs)) != float(loss(np.array([1, 1, 1, 3], "int32"), pairs))


def test_large_ids_of_known_positives_are_told_apart() -> None:
    pairs = np.random.default_rng(0).normal(size=(3, 2, 5)).astype("float32")
    large = np.array([[2**24, 2**24 + 1], [2**24 + 1, -1], [2**24 + 2, -1]], "int32")
    assert float(BPR()(large, pairs)) == float(BPR()(np.array([[1, 2], [2, -1], [3, -1]], "int32"), pairs))


def test_large_ids_reach_the_loss_of_a_plain_keras_model() -> None:
    pairs = np.random.default_rng(0).normal(size=(4, 2, 5)).astype("float32")
    ids = np.array([2**24, 2**24 + 1, 2**24 + 2, 2**24 + 3], "int32")
    inputs = keras.Input((2, 5))
    model = keras.Model(inputs, keras.layers.Identity()(inputs))
    model.compile(loss=InfoNCE(0.5))
    expected = ops.convert_to_numpy(info_nce(pairs[:, 0], pairs[:, 1], temperature=0.5)).mean()
    assert model.evaluate(pairs, ids, verbose=0) == pytest.approx(expected, rel=1e-5)


def test_ids_that_are_no_integers_are_refused() -> None:
    pairs = np.ones((2, 2, 3), "float32")
    for loss in (BPR(), SampledSoftmax(), InfoNCE()):
        with pytest.raises(ValueError, match=r"`y_true` must hold integer ids. Received: dtype float"):
            loss(np.array([1.0, 2.0]), pairs)
