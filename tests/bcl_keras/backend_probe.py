"""Compute the same things on whatever backend Keras runs, from the same weights and inputs, and write them to a file.

    KERAS_BACKEND=jax python tests/bcl_keras/backend_probe.py OUT.npz

Run by test_backends.py in an environment that has nothing but keras, numpy and the backend.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import bcl_keras

LOADED_BY_IMPORT = set(sys.modules)

import keras  # noqa: E402
import numpy as np  # noqa: E402
import small_catalogue as small  # noqa: E402
from keras import ops  # noqa: E402

from bcl_keras import layers, losses, metrics, models  # noqa: E402
from bcl_keras import ops as bcl_ops  # noqa: E402

Results = dict[str, np.ndarray]


def tensor(values: Any) -> Any:
    return ops.convert_to_tensor(values)


def set_weights_by_rule(variables: list[Any]) -> None:
    """Give every variable values that depend on its place and shape alone."""
    for place, variable in enumerate(variables):
        rng = np.random.default_rng(place)
        variable.assign(0.3 * rng.normal(size=tuple(variable.shape)).astype("float32"))


def correlations() -> Results:
    rng = np.random.default_rng(0)
    taste = rng.normal(size=(40, 2))
    fields = [taste, taste[:, 0] ** 2, taste @ rng.normal(size=(2, 5)), rng.normal(size=40)]
    fields = [tensor(field.astype("float32")) for field in fields]
    mask = tensor(rng.random((40, 4)) < 0.7)
    layer = layers.FeatureCorrelation(4, momentum=0.6, update_every=1)
    for shift in range(3):
        layer([ops.roll(f, shift * i, axis=0) for i, f in enumerate(fields)], presence=mask, training=True)
    return {
        "correlation": bcl_ops.distance_correlation(fields),
        "correlation_unbiased": bcl_ops.distance_correlation(fields, unbiased=True),
        "correlation_masked": bcl_ops.distance_correlation(fields, mask=mask, block_rows=20),
        "correlation_ewma": layer.matrix,
    }


def groups() -> Results:
    rng = np.random.default_rng(1)
    matrix = rng.random((5, 5)).astype("float32")
    matrix[0] = 0.5  # ties are broken by position
    seeds, noise = rng.integers(0, 5, 30).astype("int32"), rng.gumbel(size=(30, 5)).astype("float32")
    noise[:10] = 0.0
    return {"groups": bcl_ops.group_fields(tensor(matrix), tensor(seeds), tensor(noise), 3)}


def loss_values() -> Results:
    rng = np.random.default_rng(2)
    anchors, positives = (tensor(rng.normal(size=(8, 4)).astype("float32")) for _ in range(2))
    ids = tensor(np.array([1, 2, 3, 1, 5, 6, 7, 2], "int32"))
    known = tensor(np.array([[2, -1]] * 4 + [[-1, -1]] * 4, "int32"))
    log_q = tensor(np.log(rng.dirichlet(np.ones(8))).astype("float32"))
    masked: dict[str, Any] = {"temperature": 0.3, "positive_ids": ids, "known_positives": known}
    return {
        "bpr": losses.bpr(anchors, positives, negative_log_q=log_q, **masked),
        "bpr_hard": losses.bpr(anchors, positives, hardness=1.0, **masked),
        "softmax": losses.sampled_softmax(anchors, positives, positive_log_q=log_q, **masked),
        "info_nce": losses.info_nce(anchors, positives, ids=ids),
    }


def ranks() -> Results:
    rng = np.random.default_rng(3)
    # Eighths: products and sums are exact, so that ties are ties on every backend.
    queries, candidates = (np.round(rng.normal(size=(n, 3)) * 8).astype("float32") / 8 for n in (6, 50))
    candidates[25:] = candidates[:25]
    positives = rng.integers(0, 50, (6, 4))
    positives[0] = -1
    found = metrics.embedding_ranks(queries, candidates, positives, block_size=16)
    return {"ranks": found, "recall": metrics.recall_at_k(found, 10), "ndcg": metrics.ndcg_at_k(found, 10)}


def towers_and_views() -> Results:
    model, _ = small.model_and_stream()
    set_weights_by_rule(model.trainable_variables)
    vectors, presence = model.song_tower.encode_fields(model.feature_table(tensor(np.arange(20, dtype="int32"))))
    group = tensor(np.random.default_rng(4).random((20, 4)) < 0.5)
    views, kept = layers.SplitViews()((vectors, presence, group))
    projected = model.head(model.song_tower.aggregate(views, kept))
    contrast = losses.info_nce(projected[:20], projected[20:])
    path = Path(tempfile.mkdtemp()) / "model.keras"
    model.save(path)
    restored = keras.saving.load_model(path)
    return {
        "query": model.embed_songs(),
        "candidate": model.embed_songs(np.arange(64), candidate=True),
        "contrast": contrast,
        "query_after_loading": restored.predict(small.features(72), verbose=0),
    }


def closed_form() -> Results:
    """What is stored, and the scores that follow from it."""
    features, others = small.features(60), small.features(20, seed=5)
    settings = {"ridges": (2.0,), "own_shares": (0.5,), "powers": (1.0,), "spreads": (0.5,), "rank": 60}
    ridge = models.AudienceRidge(small.FIELDS, 60, settings)
    ridge.adapt(features, small.pairs(features, 60, each=6))
    towers, _ = small.model_and_stream(songs=60, cold=12)
    set_weights_by_rule(towers.trainable_variables)
    joined = models.JoinedModel([ridge, towers])
    joined.adapt()
    queries = {name: tensor(values) for name, values in others.items()}
    parts = {"ridge_scores": ridge, "joined_scores": joined}
    scores = {
        name: ops.convert_to_numpy(model.embed_features(queries)) @ model.warm_candidates().T
        for name, model in parts.items()
    }
    sketch = models.ContentSketch(small.FIELDS, 60, 32)
    sketch.adapt(features)
    stored = {"sketch_candidates": sketch.warm_candidates(), "sketch_parts": sketch.block_parts(queries)}
    stored |= {"ridge_candidates": ridge.warm_candidates(), "joined_candidates": joined.warm_candidates()}
    return {**scores, **stored, "content": ridge.content(queries)}


def training() -> Results:
    """Train without any randomness, so that every backend must come to the same weights."""
    config = replace(
        small.SMALL,
        contrast_weight=0.0,
        input_dropout=0.0,
        hidden_dropout=0.0,
        field_dropout=0.0,
        plays_dropout=0.0,
    )
    model, stream = small.model_and_stream(config)
    set_weights_by_rule(model.trainable_variables)
    model.compile(keras.optimizers.SGD(0.1))
    loss = model.fit(stream, epochs=3, verbose=0).history["loss"]
    return {"trained": model.embed_songs(), "trained_loss": np.array(loss)}


def whole_method() -> Results:
    """Train the whole method, compiled where the backend can; its draws are the backend's own."""
    keras.utils.set_random_seed(0)
    model, stream = small.model_and_stream()
    model.compile(jit_compile=keras.backend.backend() != "torch")
    loss = model.fit(stream, epochs=6, verbose=0).history["loss"]
    return {"whole_loss": np.array(loss), "whole_correlation": model.contrastive_views.correlation.matrix}


def messages() -> Results:
    """The messages of a model for values that tables do not have, and where it cannot write a SavedModel."""
    model, _ = small.model_and_stream(songs=24, cold=0)
    right = small.features(5)
    wrong = {"attribute_genre": [0, 1, 99, 1, 2], "attribute_tags": [[0, 1], [-4, 1]] + [[0, 0]] * 3}
    given = []
    for name, values in wrong.items():
        features = {**right, name: np.array(values)}
        given += [_message(partial(way, features)) for way in (model.embed_songs, model.predict_on_batch)]
    given += [_message(partial(model.embed_songs, rows)) for rows in ([0, 24], [-1])]
    export = _message(lambda: model.export(Path(tempfile.mkdtemp()) / "export", verbose=False))
    return {"messages": np.array(given), "messages_export": np.array(export)}


def _message(ask: Callable[[], Any]) -> str:
    try:
        ask()
    except (ValueError, ImportError) as error:
        return str(error)
    return "nothing"


def compute() -> Results:
    """Return every result as a numpy array."""
    results: Results = {}
    for part in (
        correlations,
        groups,
        loss_values,
        ranks,
        towers_and_views,
        closed_form,
        training,
        whole_method,
        messages,
    ):
        results |= {name: np.asarray(ops.convert_to_numpy(value)) for name, value in part().items()}
    return results


if __name__ == "__main__":
    assert bcl_keras.__version__
    np.savez(sys.argv[1], loaded=np.array(sorted(LOADED_BY_IMPORT)), **compute())
