"""What `export` writes answers without this library, as TensorFlow Serving would load it, and holds no song's data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import small_catalogue as small

from bcl_keras.models import AudienceRidge, JoinedModel, RidgeConfig

tf = pytest.importorskip("tensorflow")

SONGS = 40
OTHERS = small.features(7, seed=3)
# As many tags as no song of the catalogue has, and one song with nothing at all.
OTHERS["attribute_tags"] = np.concatenate([OTHERS["attribute_tags"], np.full((7, 9), 12, "int32")], axis=1)
for values in OTHERS.values():
    values[0] = np.nan if values.dtype.kind == "f" else 0


@pytest.fixture(scope="module")
def models() -> dict[str, Any]:
    """One of each kind: trained, solved, joined."""
    towers, stream = small.model_and_stream(songs=SONGS)
    towers.compile()
    towers.fit(stream, epochs=1, verbose=0)
    features = small.features(SONGS)
    ridge = AudienceRidge(small.FIELDS, SONGS, RidgeConfig(rank=8))
    ridge.adapt(features, small.pairs(features, SONGS))
    joined = JoinedModel([ridge, towers])
    joined.adapt()
    return {"towers": towers, "ridge": ridge, "joined": joined}


def embedded(model: Any) -> np.ndarray:
    return model.embed_songs(OTHERS)


def answer_in_a_session(folder: Path) -> np.ndarray:
    with tf.compat.v1.Session(graph=tf.Graph()) as session:
        graph = tf.compat.v1.saved_model.load(session, ["serve"], str(folder))
        signature = graph.signature_def["serving_default"]
        assert set(signature.inputs) == set(OTHERS)
        feed = {signature.inputs[name].name: values for name, values in OTHERS.items()}
        (output,) = signature.outputs.values()
        return session.run(output.name, feed)


@pytest.mark.parametrize("name", ["towers", "ridge", "joined"])
def test_an_export_answers_in_a_session_before_and_after_it_was_saved(
    models: dict[str, Any], name: str, tmp_path: Path
) -> None:
    model = models[name]
    expected = embedded(model)
    assert np.isfinite(expected).all() and len(np.unique(expected.round(4), axis=0)) > 3
    model.export(tmp_path / "export", verbose=False)
    np.testing.assert_allclose(answer_in_a_session(tmp_path / "export"), expected, atol=1e-5)
    model.save(tmp_path / "model.keras")
    restored = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(embedded(restored), expected, atol=1e-6)
    # Nothing was called before: sizes follow from the fields.
    keras.saving.load_model(tmp_path / "model.keras").export(tmp_path / "again", verbose=False)
    np.testing.assert_allclose(answer_in_a_session(tmp_path / "again"), expected, atol=1e-5)


def test_an_export_holds_no_song_that_was_trained_on(models: dict[str, Any], tmp_path: Path) -> None:
    models["towers"].export(tmp_path / "export", verbose=False)
    reader = tf.train.load_checkpoint(str(tmp_path / "export" / "variables" / "variables"))
    shapes = reader.get_variable_to_shape_map().values()
    assert shapes and not [shape for shape in shapes if shape and shape[0] >= SONGS and shape[0] != 4 * 6]


def test_an_export_of_candidates(models: dict[str, Any], tmp_path: Path) -> None:
    model = models["joined"]
    index = np.array([0, 3, SONGS, 0, 1, 2, 5], "int32")
    signature = {**model.input_signature(), "song_index": keras.InputSpec(shape=(None,), dtype="int32")}
    model.export(tmp_path / "export", input_signature=[signature], verbose=False)
    served = tf.saved_model.load(str(tmp_path / "export"))
    expected = model.predict({**OTHERS, "song_index": index}, verbose=0)
    np.testing.assert_allclose(served.serve({**OTHERS, "song_index": index}).numpy(), expected, atol=1e-5)


def test_an_export_of_wide_vectors(tmp_path: Path) -> None:
    fields = [small.Field("a", "vector", 384), small.Field("b", "category", 2)]
    ridge = AudienceRidge(fields, 12, RidgeConfig(rank=4))
    rng = np.random.default_rng(0)
    features = {"a": rng.normal(size=(12, 384)).astype("float32"), "b": np.ones(12, "int32")}
    ridge.adapt(features, (np.arange(12), np.arange(12)[::-1], np.ones(12)))
    ridge.export(tmp_path / "export", verbose=False)
    served = tf.saved_model.load(str(tmp_path / "export"))
    np.testing.assert_allclose(served.serve(features).numpy(), ridge.predict(features, verbose=0), atol=1e-5)
    assert ridge.input_signature()["a"].shape == (None, 384)
