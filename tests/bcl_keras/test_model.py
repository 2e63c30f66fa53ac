"""The model: what it learns, keeps and gives back."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy_reference as reference
import pytest
import small_catalogue as small
from keras import ops

from bcl_keras import BCLConfig
from bcl_keras.data import PairStream
from bcl_keras.metrics import embedding_ranks, recall_at_k
from bcl_keras.models import BCLModel


def weights_of(model: BCLModel) -> list[np.ndarray]:
    kept = [v for v in model.variables if not v.path.startswith("feature_table")]
    return [ops.convert_to_numpy(variable) for variable in kept]


def assert_same_weights(first: BCLModel, second: BCLModel) -> None:
    for one, other in zip(weights_of(first), weights_of(second), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


@pytest.mark.parametrize("loss", ["bpr", "sampled_softmax"])
def test_loss_is_the_sum_of_its_parts(loss: str) -> None:
    config = replace(small.SMALL, supervised_loss=loss, contrast_weight=0.7)
    model, stream = small.model_and_stream(config)
    batch = {name: ops.convert_to_tensor(rows) for name, rows in stream[0][0].items()}
    outputs = model(batch)
    total = float(model.compute_loss(batch, y_pred=outputs, training=False))
    supervised, contrastive = (float(m.result()) for m in (model.supervised_loss, model.contrastive_loss))
    assert total == pytest.approx(supervised + 0.7 * contrastive, rel=1e-5)


def test_contrastive_part_is_info_nce_of_the_views() -> None:
    model, stream = small.model_and_stream(small.SMALL, songs=200)
    batch = {name: ops.convert_to_tensor(rows) for name, rows in stream[0][0].items()}
    outputs = {name: ops.convert_to_numpy(values) for name, values in model(batch).items()}
    values = reference.info_nce(outputs["view_1"], outputs["view_2"], small.SMALL.contrast_temperature)
    expected = (values * outputs["usable"]).sum() / outputs["usable"].sum()
    model.compute_loss(batch, y_pred={k: ops.convert_to_tensor(v) for k, v in outputs.items()}, training=False)
    assert float(model.contrastive_loss.result()) == pytest.approx(expected, rel=1e-4)


def test_without_a_head_the_contrast_acts_on_the_embeddings_served() -> None:
    """Each view, embedded as a song that lacks the other group's fields is embedded when it is served."""
    config = replace(small.SMALL, projection_dim=0, operators=(), input_dropout=0.0, normalize=False)
    model, stream = small.model_and_stream(config)
    assert not model.head.weights
    rows = stream[0][0]["contrast"]
    outputs = model({name: ops.convert_to_tensor(values) for name, values in stream[0][0].items()})
    vectors, presence = model.song_tower.encode_fields(model.feature_table(ops.convert_to_tensor(rows)))
    views = np.stack([ops.convert_to_numpy(outputs[name]) for name in ("view_1", "view_2")], axis=1)
    kept = [np.array(group) for group in itertools.product((False, True), repeat=len(model.fields)) if sum(group) > 0]
    served = [model.song_tower.aggregate(vectors, presence & ops.convert_to_tensor(group)[None]) for group in kept]
    distances = np.abs(np.stack([ops.convert_to_numpy(each) for each in served], axis=1)[:, None] - views[:, :, None])
    usable = ops.convert_to_numpy(outputs["usable"]) > 0
    assert usable.any()
    np.testing.assert_allclose(distances.max(axis=-1).min(axis=-1)[usable], 0, atol=1e-5)


@pytest.mark.slow
def test_learns_which_songs_are_similar() -> None:
    config = replace(small.SMALL, learning_rate=0.01, input_dropout=0.0, hidden_dropout=0.0)
    model, stream = small.model_and_stream(config, songs=96, cold=32, steps=20)
    distances = np.abs(np.subtract.outer(*[np.nan_to_num(small.features(128)["audio_tempo"])] * 2))
    truth = np.argsort(distances[96:, :96], axis=1)[:, :5]

    def recall() -> float:
        ranks = embedding_ranks(
            model.embed_songs(np.arange(96, 128)), model.embed_songs(np.arange(96), candidate=True), truth
        )
        return float(np.mean(ops.convert_to_numpy(recall_at_k(ranks, 10))))

    model.compile()
    before = recall()
    history = model.fit(stream, epochs=10, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]
    assert set(history) == {"loss", "supervised_loss", "contrastive_loss"}
    assert recall() > max(0.35, 1.5 * before)  # chance is 10 / 96


@pytest.mark.slow
@pytest.mark.parametrize("projection_dim", [0, 5])
def test_weights_correlation_seeds_and_optimizer_survive(tmp_path: Path, projection_dim: int) -> None:
    config = replace(small.SMALL, projection_dim=projection_dim)
    model, stream = small.model_and_stream(config)
    model.compile()
    model.fit(stream, epochs=2, verbose=0)
    model.save(tmp_path / "half.keras")
    model.fit(stream, initial_epoch=2, epochs=4, verbose=0)

    restored = keras.saving.load_model(tmp_path / "half.keras")
    assert isinstance(restored, BCLModel) and restored.config == model.config
    assert int(restored.contrastive_views.correlation.steps) == 8
    restored.set_catalogue(small.features(72))
    _, again = small.model_and_stream(config)
    restored.fit(again, initial_epoch=2, epochs=4, verbose=0)
    assert_same_weights(restored, model)
    for one, other in zip(restored.optimizer.variables, model.optimizer.variables, strict=True):
        np.testing.assert_allclose(ops.convert_to_numpy(one), ops.convert_to_numpy(other), atol=1e-6)


@pytest.mark.slow
def test_checkpoint_callback_resumes_too(tmp_path: Path) -> None:
    model, stream = small.model_and_stream()
    model.compile()
    model.fit(
        stream, epochs=1, verbose=0, callbacks=[keras.callbacks.BackupAndRestore(tmp_path, delete_checkpoint=False)]
    )
    resumed, again = small.model_and_stream()
    resumed.compile()
    resumed.fit(again, epochs=2, verbose=0, callbacks=[keras.callbacks.BackupAndRestore(tmp_path)])
    model.fit(stream, initial_epoch=1, epochs=2, verbose=0)
    assert_same_weights(resumed, model)


def test_saved_file_leaves_the_table_out_unless_asked(tmp_path: Path) -> None:
    for save_table, rows in ((False, 0), (True, 72)):
        model = BCLModel(small.FIELDS, 64, small.SMALL, save_table=save_table)
        model.set_catalogue(small.features(72))
        model.save(tmp_path / "model.keras")
        restored = keras.saving.load_model(tmp_path / "model.keras")
        assert restored.feature_table.num_rows == rows
        if rows:
            np.testing.assert_allclose(restored.embed_songs(), model.embed_songs(), atol=1e-6)


def test_predict_embeds_songs_of_no_catalogue(tmp_path: Path) -> None:
    model, _ = small.model_and_stream()
    features = small.features(72)
    by_features = model.predict(features, batch_size=32, verbose=0)
    np.testing.assert_allclose(by_features, model.embed_songs(), atol=1e-6)
    warm = {**{k: v[:64] for k, v in features.items()}, "song_index": np.arange(1, 65)}
    np.testing.assert_allclose(
        model.predict(warm, verbose=0), model.embed_songs(np.arange(64), candidate=True), atol=1e-6
    )


def test_evaluate_reports_the_parts_and_learns_nothing() -> None:
    model, stream = small.model_and_stream()
    model.compile()
    before = [
        ops.convert_to_numpy(v).copy() for v in [*model.trainable_variables, model.contrastive_views.correlation.matrix]
    ]
    logs = model.evaluate(stream, verbose=0, return_dict=True)
    assert set(logs) == {"loss", "supervised_loss", "contrastive_loss"}
    after = [*model.trainable_variables, model.contrastive_views.correlation.matrix]
    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(one, ops.convert_to_numpy(other))


def test_export_answers_with_the_query_tower(tmp_path: Path) -> None:
    tf = pytest.importorskip("tensorflow")
    model, _ = small.model_and_stream()
    features = small.features(6)
    model.predict(features, verbose=0)
    signature = {n: keras.InputSpec(shape=(None, *v.shape[1:]), dtype=v.dtype.name) for n, v in features.items()}
    signature["attribute_tags"] = keras.InputSpec(shape=(None, None), dtype="int32")
    model.export(tmp_path / "export", input_signature=[signature], verbose=False)
    served = tf.saved_model.load(str(tmp_path / "export"))
    np.testing.assert_allclose(served.serve(features).numpy(), model.predict(features, verbose=0), atol=1e-6)


@pytest.mark.parametrize("negatives", ["in_batch", "uniform"])
@pytest.mark.parametrize("loss", ["bpr", "sampled_softmax"])
def test_gradients_are_finite_with_missing_fields(negatives: str, loss: str) -> None:
    tf = pytest.importorskip("tensorflow")
    config = replace(small.SMALL, supervised_loss=loss, correct_log_q=negatives == "in_batch")
    model, stream = small.model_and_stream(config, negatives=negatives, with_log_q=negatives == "in_batch")
    features = small.features(72, missing=0.6)
    for values in features.values():
        values[:5] = np.nan if values.dtype.kind == "f" else 0  # songs that have nothing at all
    model.set_catalogue(features)
    batch = {name: ops.convert_to_tensor(rows) for name, rows in stream[0][0].items()}
    with tf.GradientTape() as tape:
        value = model.compute_loss(batch, y_pred=model(batch, training=True))
    gradients = tape.gradient(value, [variable.value for variable in model.trainable_variables])
    assert np.isfinite(float(value)) and len(gradients) == len(model.trainable_variables)
    for variable, gradient in zip(model.trainable_variables, gradients, strict=True):
        assert np.isfinite(tf.convert_to_tensor(gradient).numpy()).all(), variable.path


def test_without_contrast_nothing_of_it_is_built() -> None:
    model, stream = small.model_and_stream(replace(small.SMALL, contrast_weight=0.0))
    model.compile()
    history = model.fit(stream, verbose=0).history
    assert set(history) == {"loss", "supervised_loss"}
    assert not [v for v in model.trainable_variables if "head" in v.path]


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {"views": "corrupt", "operators": ("span_mask", "uniform_noise"), "grouping": "top"},
        {"grouping": "uniform", "correlation_mode": "static", "operators": ()},
        {"projection_dim": 0, "hidden_dims": ()},
        {"plays_part": "none", "correlation_mode": "last_batch", "unbiased_correlation": True},
        {"plays_part": "vector", "normalize": False, "hidden_dims": (), "field_dropout": 0.4},
    ],
)
def test_other_settings_train(changes: dict[str, Any]) -> None:
    model, stream = small.model_and_stream(replace(small.SMALL, **changes))
    model.compile()
    history = model.fit(stream, epochs=1, verbose=0).history
    assert np.isfinite(history["loss"]).all()


@pytest.mark.slow
@pytest.mark.parametrize("jit_compile", [False, True])
def test_compiled_step_equals_the_plain_one(jit_compile: bool) -> None:
    config = replace(
        small.SMALL, input_dropout=0.0, hidden_dropout=0.0, plays_dropout=0.0, operators=(), grouping="top"
    )
    losses = []
    for eager in (True, False):
        keras.utils.set_random_seed(1)
        model, stream = small.model_and_stream(config, contrast_over="none")
        model.compile(run_eagerly=eager, jit_compile=jit_compile and not eager)
        losses.append(model.fit(stream, epochs=2, verbose=0).history["loss"])
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-4)


@pytest.mark.slow
def test_bcl_step_compiles_with_xla() -> None:
    model, stream = small.model_and_stream()
    model.compile(jit_compile=True)
    history = model.fit(stream, epochs=2, verbose=0).history
    assert np.isfinite(history["loss"]).all()
    assert float(ops.max(ops.abs(model.contrastive_views.correlation.matrix - 1.0))) > 0.01


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_half_precision_trains_and_correlates_in_float32(policy: str) -> None:
    model = BCLModel(small.FIELDS, 64, small.SMALL, dtype=policy)
    model.set_catalogue(small.features(72))
    assert model.song_tower.output_layer.compute_dtype == policy.removeprefix("mixed_")
    stream = PairStream(small.pairs(small.features(72), 64), 64, num_rows=72, batch_size=16, steps_per_epoch=4)
    model.compile()
    history = model.fit(stream, epochs=4, verbose=0).history
    assert np.isfinite(history["loss"]).all() and history["loss"][-1] < history["loss"][0]
    correlation = model.contrastive_views.correlation
    rows = ops.convert_to_tensor(np.random.default_rng(0).normal(size=(32, 4, 6)).astype("float32"))
    assert keras.backend.standardize_dtype(correlation(rows).dtype) == "float32"
    assert keras.backend.standardize_dtype(correlation.matrix.dtype) == "float32"
    assert model.predict(small.features(5), verbose=0).dtype == np.float32


def test_replicas_train_together(two_replicas: Any) -> None:
    with two_replicas.scope():
        model, stream = small.model_and_stream()
        model.compile(jit_compile=False)
    history = model.fit(stream, epochs=2, verbose=0).history
    parts = np.array(history["supervised_loss"]) + model.config.contrast_weight * np.array(history["contrastive_loss"])
    np.testing.assert_allclose(history["loss"], parts, rtol=1e-4)
    matrix = model.contrastive_views.correlation.matrix.value
    held = [value.numpy() for value in two_replicas.experimental_local_results(matrix)]
    np.testing.assert_array_equal(held[0], held[1])
    assert (held[0] != 1.0).any()


def test_messages() -> None:
    model = BCLModel(small.FIELDS, 64, small.SMALL)
    with pytest.raises(ValueError, match=r"`features` must hold at least 64 warm songs. Received: 10"):
        model.set_catalogue(small.features(10))
    with pytest.raises(ValueError, match="must be filled by `set_catalogue`"):
        model.embed_songs(np.arange(3))


def test_call_embeds_training_batches_alone() -> None:
    model, stream = small.model_and_stream()
    assert {"anchor", "positive", "view_1", "view_2", "usable"} == set(model(stream[0][0]))
    features = small.features(4)
    for given in (features, {name: ops.convert_to_tensor(values) for name, values in features.items()}):
        with pytest.raises(
            ValueError, match=r"must hold rows of `anchor` and `positive`. `embed_songs` takes features"
        ):
            model(given)


def test_songs_are_embedded_by_features_as_by_rows() -> None:
    model, stream = small.model_and_stream()
    model.compile()
    model.fit(stream, epochs=1, verbose=0)
    features, index = small.features(72), np.append(np.arange(1, 65), np.zeros(8, int))
    np.testing.assert_allclose(model.embed_songs(features, batch_size=50), model.embed_songs(), atol=1e-6)
    with_plays = model.embed_songs({**features, "song_index": index}, candidate=True)
    np.testing.assert_allclose(with_plays, model.embed_songs(candidate=True), atol=1e-6)
    new = model.embed_songs(features, candidate=True)
    np.testing.assert_allclose(new, model.embed_songs(), atol=1e-6)  # no plays are known: content alone
    assert np.abs(new - with_plays).max() > 1e-3
    with pytest.raises(ValueError, match=r"no fields other than .* Received: \['song_index'\]"):
        model.embed_songs({**features, "song_index": index})


@pytest.mark.parametrize("num_songs", [0, 2.0, BCLConfig()])
def test_a_number_of_songs_that_is_none(num_songs: Any) -> None:
    with pytest.raises(ValueError, match=r"`num_songs` must be an integer of at least 1. Received: "):
        BCLModel(small.FIELDS, num_songs)


def test_the_number_of_songs_is_required() -> None:
    with pytest.raises(TypeError, match="num_songs"):
        BCLModel(small.FIELDS)  # type: ignore[call-arg]


def test_defaults_are_the_whole_method() -> None:
    config = BCLConfig()
    assert (config.supervised_loss, config.grouping, config.correlation_mode) == ("bpr", "gumbel", "ewma")
    assert config.contrast_weight > 0 and config.operators
    # But for the projection head: the contrast acts on the embeddings that are served.
    assert config.projection_dim == 0
