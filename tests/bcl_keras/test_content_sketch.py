"""The sketch of content against a numpy re-derivation: signs, weights of ids, errors, files, joined scores."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
import small_catalogue as small
from keras import ops

from bcl_keras import Field
from bcl_keras.models import AudienceRidge, BCLModel, ContentSketch, EvenedModel, JoinedModel, join_if_better

SONGS, LONG, DIM = 60, 300, 256
FIELDS = (*small.FIELDS, Field("lyric_vector", "vector", LONG))
WEIGHTS = {"attribute_genre": 0.5, "attribute_tags": 2.0, "audio_timbre": 0.3, "lyric_vector": 1.0, "numbers": 0.1}
Features = dict[str, np.ndarray]


def catalogue(songs: int = SONGS, seed: int = 0) -> Features:
    vectors = np.random.default_rng(seed + 50).normal(size=(songs, LONG)).astype("float32")
    vectors[::7, 5] = np.nan
    return small.features(songs, seed) | {"lyric_vector": vectors}


def nothing(songs: int) -> Features:
    """Songs without any value."""
    missing = {name: np.zeros_like(values) for name, values in catalogue(songs).items()}
    return {name: values if values.dtype.kind == "i" else values * np.nan for name, values in missing.items()}


def unit(row: np.ndarray) -> np.ndarray:
    return row / max(float(np.linalg.norm(row)), 1e-12)


def numpy_blocks(features: Features, learnt_on: Features) -> dict[str, np.ndarray]:
    """Unit blocks before the projection, worked out song by song, in the order of the model's blocks."""
    count = len(learnt_on["attribute_genre"])
    blocks = {}
    for name, size in (("attribute_genre", 6), ("attribute_tags", 13)):
        known = learnt_on[name].reshape(count, -1)
        idf = [np.log((1 + count) / (1 + (known == word).any(axis=1).sum())) for word in range(size)]
        rows = np.zeros((len(features[name]), size))
        for row, ids in zip(rows, features[name].reshape(len(rows), -1), strict=True):
            row[ids[ids > 0]] = np.array(idf)[ids[ids > 0]]
        blocks[name] = np.array([unit(row) for row in rows])
    for name in ("audio_timbre", "lyric_vector"):
        blocks[name] = np.array([unit(np.zeros(len(v)) if np.isnan(v).any() else v) for v in features[name]])
    blocks["numbers"] = np.nan_to_num(np.sign(features["audio_tempo"]))[:, None]
    return blocks


def numpy_signs(place: int, size: int, dim: int = DIM) -> np.ndarray:
    """Signs of a block, bit by bit: a number of 16 bits has the signs of 16 elements, the lowest bit first."""
    drawn = np.random.default_rng([0, place]).integers(0, 2**16, (size, dim // 16)).tolist()
    bits = [[int(bit) for number in row for bit in reversed(f"{number:016b}")] for row in drawn]
    return 1 - 2 * np.array(bits)


def sketch(dim: int = DIM, seed: int = 0) -> ContentSketch:
    model = ContentSketch(FIELDS, SONGS, dim, seed)
    model.adapt(catalogue(), block_weights=WEIGHTS)
    return model


def tensors(features: Features) -> Features:
    return {name: ops.convert_to_tensor(values) for name, values in features.items()}


def test_embeddings_are_the_projection_worked_out_by_hand() -> None:
    others = catalogue(20, seed=5)
    parts = [
        np.sqrt(WEIGHTS[name] / DIM) * rows @ numpy_signs(place, rows.shape[1])
        for place, (name, rows) in enumerate(numpy_blocks(others, catalogue()).items())
    ]
    model = sketch()
    np.testing.assert_allclose(model.embed_songs(others), np.sum(parts, axis=0), atol=1e-5)
    found = ops.convert_to_numpy(model.query_parts(tensors(others)))
    np.testing.assert_allclose(found[:, :-1], np.stack(parts, axis=1), atol=1e-5)
    np.testing.assert_allclose(found[:, -1], 0, atol=1e-5)
    assert model.part_names[:-1] == tuple(WEIGHTS)


def test_products_are_cosines_but_for_the_error_of_random_signs() -> None:
    """The mean squared error over seeds is `(|x|^2 |y|^2 + (x y)^2 - 2 sum_i x_i^2 y_i^2) / dim`."""
    others = catalogue(20, seed=5)
    x, y = (
        np.concatenate(
            [np.sqrt(WEIGHTS[name]) * rows for name, rows in numpy_blocks(part, catalogue()).items()], axis=1
        )
        for part in (others, catalogue())
    )
    products, lengths = x @ y.T, np.square(x).sum(axis=1)[:, None] * np.square(y).sum(axis=1)
    expected = lengths + products**2 - 2 * np.square(x) @ np.square(y).T
    for dim in (64, 512):
        models = [sketch(dim, seed) for seed in range(4)]
        errors = [model.embed_songs(others) @ model.warm_candidates().T - products for model in models]
        assert np.mean(np.square(errors)) == pytest.approx(expected.mean() / dim, rel=0.5)
        assert abs(np.mean(errors)) < 0.05
        assert np.abs(errors).max() < (6 * np.sqrt(2 * lengths / dim)).max()


def test_shared_ids_count_in_full_and_unknown_ones_hardly() -> None:
    """One field of 5,000 words, of which warm songs have half."""
    ids = np.arange(1, 2501).repeat(2)
    model = ContentSketch([Field("album", "category", 5001)], len(ids))
    model.adapt({"album": ids})
    scores = model.embed_songs({"album": [1, 2500, 4000, 0]}) @ model.warm_candidates().T
    same = ids[None, :] == np.array([1, 2500, 4000, 0])[:, None]
    np.testing.assert_allclose(scores[same], 1.0, atol=1e-5)
    assert np.abs(scores[~same]).max() < 6 / 16 and scores[:3][~same[:3]].std() == pytest.approx(1 / 16, rel=0.1)
    assert np.linalg.norm(model.embed_songs({"album": [4000, 0]}), axis=1) == pytest.approx([1, 0])


def test_only_the_first_words_of_a_list_count() -> None:
    field = Field("tags", "multi_category", 40, max_values=2)
    model = ContentSketch([field], 3)
    model.adapt({"tags": [[1, 2, 3], [0, 4, 5], [6, 0, 0]]})
    found = model.embed_songs({"tags": [[0, 7, 8, 9], [7, 8, 0, 0], [8, 7, 0, 0], [7, 9, 0, 0]]})
    np.testing.assert_allclose(found[0], found[1], atol=1e-6)
    np.testing.assert_allclose(found[1], found[2], atol=1e-6)
    assert np.abs(found[1] - found[3]).max() > 0.05


def test_candidates_are_warm_songs_by_index_and_others_by_content() -> None:
    model, others = sketch(), catalogue(SONGS, seed=3)
    index = np.where(np.arange(SONGS) % 2, np.arange(1, SONGS + 1), 0)
    found = model.embed_songs({**others, "song_index": index}, candidate=True)
    expected = np.where((index > 0)[:, None], model.embed_songs(catalogue()), model.embed_songs(others))
    np.testing.assert_allclose(found, expected, atol=1e-6)
    np.testing.assert_array_equal(model.embed_songs(nothing(4)), np.zeros((4, DIM)))


def test_validation_songs_choose_the_block_that_tells_audiences_apart() -> None:
    """The truth of a song is the warm songs of its album; its tags are noise."""
    rng = np.random.default_rng(2)
    fields = [Field("album", "category", 31), Field("tags", "multi_category", 21)]
    songs = {"album": np.arange(90) % 30 + 1, "tags": rng.integers(1, 21, (90, 4))}
    asked = {"album": np.arange(30) + 1, "tags": rng.integers(1, 21, (30, 4))}
    truth = np.stack([np.arange(30), np.arange(30) + 30, np.arange(30) + 60], axis=1)
    model = ContentSketch(fields, 90)
    chosen = model.adapt(songs, (asked, truth), k=3)["block_weights"]
    assert chosen["album"] > chosen["tags"]
    best = np.argsort(-model.embed_songs(asked) @ model.warm_candidates().T, axis=1)[:, :3]
    assert (np.sort(best, axis=1) == truth).mean() > 0.95
    again = ContentSketch(fields, 90)
    assert again.adapt(songs, block_weights=chosen) == {"block_weights": chosen}
    np.testing.assert_array_equal(again.warm_candidates(), model.warm_candidates())
    assert ContentSketch(fields, 90).adapt(songs)["block_weights"] == {"album": 1.0, "tags": 1.0}


def test_100_000_words_take_few_bytes_each(tmp_path: Path) -> None:
    words = 100_000
    model = ContentSketch([Field("words", "multi_category", words)], 2)
    model.adapt({"words": np.array([[1, 2], [words - 1, 0]])})
    model.save(tmp_path / "model.keras")
    assert (tmp_path / "model.keras").stat().st_size < 80 * words < words * DIM * 4 / 12
    again = keras.saving.load_model(tmp_path / "model.keras")
    songs = {"words": np.array([[words - 1, 5], [2, 0]])}
    np.testing.assert_array_equal(again.embed_songs(songs), model.embed_songs(songs))
    np.testing.assert_array_equal(again.warm_candidates(), model.warm_candidates())


def parts(seed: int = 1) -> tuple[AudienceRidge, BCLModel, ContentSketch]:
    rng = np.random.default_rng(seed)
    pairs = (np.repeat(np.arange(SONGS), 3), rng.integers(0, SONGS, 3 * SONGS), rng.uniform(0.1, 1, 3 * SONGS))
    ridge = AudienceRidge(FIELDS, SONGS, {"rank": 12})
    chosen = ridge.adapt(catalogue(), pairs)
    towers = BCLModel(FIELDS, SONGS, small.SMALL)
    towers.set_catalogue(catalogue())
    content = ContentSketch(FIELDS, SONGS, 32)
    content.adapt(catalogue(), block_weights=chosen["block_weights"])  # the closed form's, whatever their scale
    return ridge, towers, content


def test_shares_of_three_joined_models_add_up_and_files_hold_them(tmp_path: Path) -> None:
    model = JoinedModel(parts())
    model.adapt(weights=[1.0, 0.5, 2.0])
    evened = EvenedModel(model)
    evened.adapt(catalogue(), strength=0.5)
    songs = {name: np.concatenate([values, nothing(1)[name]]) for name, values in catalogue(9, seed=4).items()}
    scores = evened.embed_songs(songs) @ evened.warm_candidates().T
    shares = ops.convert_to_numpy(evened.query_parts(tensors(songs))) @ evened.warm_candidates().T
    np.testing.assert_allclose(shares.sum(axis=1), scores, atol=1e-5)
    assert evened.embedding_dim == 12 + 8 + 32 and len(evened.evidence_names) == 6
    evened.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(again.embed_songs(songs), evened.embed_songs(songs), atol=1e-5)
    candidates = {**catalogue(), "song_index": np.arange(1, SONGS + 1)}  # towers keep no table of songs in a file
    found = again.embed_songs(candidates, candidate=True)
    np.testing.assert_allclose(found, evened.warm_candidates(), atol=1e-5)


@pytest.mark.parametrize("wanted", [0, 2])
def test_a_sketch_is_joined_only_if_validation_songs_want_it(wanted: int) -> None:
    models, asked = parts(), catalogue(40, seed=6)
    scores = models[wanted].embed_songs(asked) @ models[wanted].warm_candidates().T
    truth = np.argsort(-scores, axis=1)[:, :5]
    model, report = join_if_better(models[:2], models[2], (asked, truth), k=5)
    assert len(report["alone"]) == 3 and report["alone"][wanted] == 1.0
    assert len(model.models) == len(report["weights"]) == (3 if wanted else 2)
    expected = 0.0
    for weight, part in zip(report["weights"], model.models, strict=True):
        found = part.embed_songs(asked) @ part.warm_candidates().T
        expected += weight * found / found.std(axis=1, keepdims=True)
    best = np.argsort(-expected, axis=1)[:, :5]
    recall = np.mean([np.isin(row, right).mean() for row, right in zip(best, truth, strict=True)])
    assert report["validation_recall"] == pytest.approx(recall) and recall > 0.7
    nobody, report = join_if_better(models[:2], models[2], (asked, np.full_like(truth, -1)))
    assert len(nobody.models) == 2 and report["weights"] == [1.0, 1.0]


def test_messages() -> None:
    for dim in (0, 100):
        with pytest.raises(ValueError, match=rf"`dim` must be a multiple of 16 above 0\. Received: {dim}"):
            ContentSketch(FIELDS, SONGS, dim)
    model, positives = ContentSketch(FIELDS, SONGS), np.zeros((SONGS, 1), int)
    with pytest.raises(ValueError, match=r"at least 60 warm songs\. Received: 59"):
        model.adapt({name: values[:59] for name, values in catalogue().items()})
    with pytest.raises(ValueError, match="`block_weights` and `validation` must not both be given"):
        model.adapt(catalogue(), (catalogue(), positives), block_weights=WEIGHTS)
    with pytest.raises(ValueError, match=r"`weights` must hold .*'lyric_vector'.*Received: {'numbers': 1.0}"):
        model.adapt(catalogue(), block_weights={"numbers": 1.0})
    with pytest.raises(ValueError, match=r"Field `attribute_genre` \(category\) must hold ids from 0 to 5"):
        model.embed_songs({**catalogue(2), "attribute_genre": [6, 0]})
