"""Bad input is refused before anything is computed: every way into a model, every kind of mistake."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import small_catalogue as small
from keras import ops

from bcl_keras.callbacks import ValidationRecall
from bcl_keras.data import PairStream
from bcl_keras.models import AudienceRidge, BCLModel, JoinedModel, RidgeConfig

SONGS = 24
FEATURES = small.features(SONGS)
PAIRS = small.pairs(FEATURES, SONGS)
POSITIVES = np.array([[0, 1], [2, -1], [5, 6]])
Way = Callable[[Any], Any]


def changed(name: str, **values: Any) -> dict[str, Any]:
    """Return the features with some values of a field replaced: `row_<n>` or `all`."""
    array = values.get("all", FEATURES[name].copy())
    for key, value in values.items():
        if key != "all":
            array[int(key.removeprefix("row_"))] = value
    return {**FEATURES, name: array}


MISTAKES = [
    (changed("attribute_genre", row_7=6, row_9=99), r"`attribute_genre` \(category\) .* from 0 to 5.*6 in row 7"),
    (changed("attribute_genre", row_3=-1), "`attribute_genre` .* Received: -1 in row 3"),
    (changed("attribute_genre", all=np.ones(SONGS)), "`attribute_genre` .* integer ids. Received: dtype float64"),
    (changed("attribute_genre", all=["rock"] * SONGS), "`attribute_genre` .* integer ids. .*'rock' in row 0"),
    (changed("attribute_tags", row_5=[1, 2, 13]), "`attribute_tags` .* from 0 to 12. Received: 13 in row 5"),
    (changed("attribute_tags", all=[[1, 2]] * 4 + [[1]] * 20), "`attribute_tags` .* one length.*1 in row 4 after 2"),
    (changed("audio_tempo", row_2=np.inf), "`audio_tempo` .* finite.* Received: inf in row 2"),
    (changed("audio_tempo", all=["fast"] * SONGS), "`audio_tempo` .* numbers. .*'fast' in row 0"),
    (changed("audio_timbre", all=np.zeros((SONGS, 5))), r"`audio_timbre` .* length 4. Received: shape \(24, 5\)"),
    (changed("audio_timbre", row_6=-np.inf), "`audio_timbre` .* Received: -inf in row 6"),
    ({k: v for k, v in FEATURES.items() if k != "audio_tempo"}, r"nothing for \['audio_tempo'\]"),
    ({**FEATURES, "tempo": FEATURES["audio_tempo"]}, r"no fields other than .* Received: \['tempo'\]"),
    (changed("audio_tempo", all=np.zeros(SONGS - 1)), "one row per song in every field. Received: .*'audio_tempo': 23"),
]


def solved_ridge() -> AudienceRidge:
    ridge = AudienceRidge(small.FIELDS, SONGS, RidgeConfig(rank=8))
    ridge.adapt(FEATURES, PAIRS)
    return ridge


@pytest.fixture(scope="module")
def ways() -> dict[str, Way]:
    """Every way by which features come into a model, by name."""
    model, _ = small.model_and_stream(songs=SONGS, cold=0)
    ridge = solved_ridge()
    joined = JoinedModel([ridge, model])
    joined.adapt()

    def watch(features: Any) -> None:
        ValidationRecall(features, np.zeros((SONGS, 1), int)).set_model(model)

    positives = np.zeros((SONGS, 1), int)
    return {
        "set_catalogue": model.set_catalogue,
        "predict": lambda features: model.predict(features, verbose=0),
        "predict_on_batch": model.predict_on_batch,
        "embed_songs": model.embed_songs,
        "candidates": lambda features: model.embed_songs(features, candidate=True),
        "ridge's candidates": lambda features: ridge.embed_songs(features, candidate=True),
        "adapt": lambda features: AudienceRidge(small.FIELDS, SONGS).adapt(features, PAIRS),
        "validation of adapt": lambda features: ridge.adapt(FEATURES, PAIRS, (features, positives)),
        "ridge": ridge,
        "ridge's predict": lambda features: ridge.predict(features, verbose=0),
        "joined": joined,
        "joined adapt": lambda features: joined.adapt((features, positives)),
        "joined predict": lambda features: joined.predict(features, verbose=0),
        "callback": watch,
    }


@pytest.mark.parametrize(("features", "message"), MISTAKES)
def test_every_way_refuses_every_mistake(ways: dict[str, Way], features: dict[str, Any], message: str) -> None:
    for way in ways.values():
        with pytest.raises(ValueError, match=message):
            way(features)


def test_every_way_takes_what_is_right(ways: dict[str, Way]) -> None:
    as_lists = {name: values.tolist() for name, values in FEATURES.items()}
    for name in ("embed_songs", "candidates", "ridge", "joined"):
        np.testing.assert_allclose(
            ops.convert_to_numpy(ways[name](as_lists)), ops.convert_to_numpy(ways[name](FEATURES)), atol=1e-6
        )
    for name in ("predict", "ridge's predict", "joined predict"):
        assert ways[name](as_lists).shape[0] == SONGS
    for name in ("set_catalogue", "callback"):
        ways[name](as_lists)


@pytest.mark.parametrize(
    "name", ["candidates", "predict", "ridge's candidates", "ridge", "ridge's predict", "joined", "joined predict"]
)
def test_a_song_index_beyond_the_warm_songs(ways: dict[str, Way], name: str) -> None:
    index = np.arange(SONGS)
    assert len(ways[name]({**FEATURES, "song_index": index})) == SONGS
    index[4] = SONGS + 1
    with pytest.raises(ValueError, match=r"`song_index` .* ids from 0 to 24. Received: 25 in row 4"):
        ways[name]({**FEATURES, "song_index": index})


def test_no_songs_at_all(ways: dict[str, Way]) -> None:
    nothing = {name: values[:0] for name, values in FEATURES.items()}
    assert ways["predict"](nothing).shape == (0, 8) and ways["ridge's predict"](nothing).shape == (0, 8)
    assert ways["joined predict"](nothing).shape == (0, 16)


def test_features_that_are_no_dict() -> None:
    model = BCLModel(small.FIELDS, SONGS, small.SMALL)
    with pytest.raises(ValueError, match=r"`features` must be a dict of arrays by field. Received: list"):
        model.set_catalogue([1, 2])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("positives", "message"),
    [
        ([[0], [SONGS], [1]], r"`validation` must hold row numbers from -1 to 23. Received: 24 in row 1"),
        ([[0], [-2], [1]], r"Received: -2 in row 1"),
        ([[0], [1]], "one row of positives for each of 3 songs. Received: 2"),
        ([[0.0], [1.0], [2.0]], r"integers of 2 axes. Received: dtype float64, shape \(3, 1\)"),
        ([0, 1, 2], r"integers of 2 axes. Received: dtype int64, shape \(3,\)"),
    ],
)
def test_positives_that_are_no_rows_of_warm_songs(positives: Any, message: str) -> None:
    others, ridge = small.features(3, seed=2), solved_ridge()
    with pytest.raises(ValueError, match=message):
        ridge.adapt(FEATURES, PAIRS, (others, positives))
    with pytest.raises(ValueError, match=message):
        JoinedModel([ridge]).adapt((others, positives))


def batch(**changes: Any) -> dict[str, Any]:
    rows = np.arange(8)
    known = {"known_positives": np.full((8, 2), -1), "weight": np.ones(8, "float32")}
    return {"anchor": rows, "positive": rows[::-1], "contrast": rows, **known, **changes}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"anchor": np.arange(25, 33)}, "`anchor` must hold row numbers from 0 to 31. Received: 32 in row 7"),
        ({"positive": np.arange(-1, 7)}, "`positive` .* Received: -1 in row 0"),
        (
            {"contrast": np.full(8, 1.0)},
            "`contrast` must hold row numbers, integers of 1 axes. Received: dtype float64",
        ),
        ({"negative": ["a"] * 8}, "`negative` must hold row numbers, integers of 1 axes. Received: dtype <U1"),
        ({"known_positives": np.full((8, 2), 40)}, "`known_positives` .* from -1 to 31. Received: 40 in row 0"),
        ({"weight": np.full(8, np.inf)}, r"Field `weight` \(number\) must be finite"),
        ({"anchors": np.arange(8)}, "`x` must hold `anchor`, `positive` and nothing else but"),
    ],
)
def test_batches_of_rows_that_the_catalogue_lacks(changes: dict[str, Any], message: str) -> None:
    model, _ = small.model_and_stream(songs=SONGS)
    model.compile()
    for way in (model.fit, model.evaluate):
        with pytest.raises(ValueError, match=message):
            way(batch(**changes), verbose=0)


def test_batches_of_rows_train_the_model() -> None:
    model, _ = small.model_and_stream(songs=SONGS)
    model.compile()
    losses = model.fit(batch(), verbose=0).history["loss"]
    assert np.isfinite(losses).all() and np.isfinite(model.evaluate(batch(), verbose=0)).all()


def test_a_stream_of_more_rows_than_the_catalogue_has() -> None:
    model, _ = small.model_and_stream(songs=SONGS, cold=2)
    model.compile()
    for songs, rows in ((SONGS, 40), (26, 26)):
        stream = PairStream(PAIRS, songs, num_rows=rows, batch_size=8)
        for way in (model.fit, model.evaluate):
            with pytest.raises(
                ValueError, match=r"at most 26 rows, 24 of them warm songs.* Received: (40 and 24|26 and)"
            ):
                way(stream, verbose=0)


def test_rows_to_embed_that_the_catalogue_lacks() -> None:
    model, _ = small.model_and_stream(songs=SONGS, cold=0)
    assert model.embed_songs([]).shape == (0, 8) and model.embed_songs([3, 3]).shape == (2, 8)
    with pytest.raises(ValueError, match=r"`songs` must hold row numbers from 0 to 23. Received: 24 in row 1"):
        model.embed_songs([0, 24])
    with pytest.raises(ValueError, match=r"`songs` .* Received: -1 in row 0"):
        model.embed_songs(np.array([-1]))


def test_tensors_and_graphs_are_not_checked() -> None:
    model, _ = small.model_and_stream(songs=SONGS, cold=0)
    tensors = {name: ops.convert_to_tensor(values) for name, values in FEATURES.items()}
    np.testing.assert_allclose(
        ops.convert_to_numpy(model.embed_features(tensors)), model.predict(FEATURES, verbose=0), atol=1e-6
    )
    inputs = {f.name: keras.Input(tuple(FEATURES[f.name].shape[1:]), name=f.name, dtype=f.dtype) for f in small.FIELDS}
    assert model.embed_features(inputs).shape == (None, 8)
