"""The closed form against scikit-learn and a numpy re-derivation; joined scores against their formula."""

from __future__ import annotations

import json
from pathlib import Path

import keras
import numpy as np
import pytest
import small_catalogue as small
from keras import ops
from sklearn.decomposition import TruncatedSVD
from sklearn.kernel_ridge import KernelRidge

from bcl_keras import Field
from bcl_keras.closed_form import AudienceSimilarity, AudienceTargets
from bcl_keras.evaluation.choices import Judge
from bcl_keras.layers import ContentVector
from bcl_keras.models import AudienceRidge, JoinedModel, RidgeConfig

SONGS = 60
FEATURES = small.features(SONGS)
ONE_CHOICE = RidgeConfig(rank=SONGS, ridges=(1.5,), own_shares=(0.5,), powers=(1.0,), spreads=(0.5,))


def numpy_content(features: dict[str, np.ndarray], learnt_on: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Unit blocks, worked out song by song from the documented meaning."""
    blocks: dict[str, list[np.ndarray]] = {
        "attribute_genre": [],
        "attribute_tags": [],
        "audio_timbre": [],
        "numbers": [],
    }
    for name, size in (("attribute_genre", 6), ("attribute_tags", 13)):
        known = learnt_on[name].reshape(SONGS, -1)
        idf = np.array([np.log((1 + SONGS) / (1 + (known == word).any(axis=1).sum())) for word in range(size)])
        for ids in features[name].reshape(len(features[name]), -1):
            row = np.zeros(size)
            row[ids[ids > 0]] = idf[ids[ids > 0]]
            blocks[name].append(row / max(float(np.linalg.norm(row)), 1e-12))
    for vector, tempo in zip(features["audio_timbre"], features["audio_tempo"], strict=True):
        known = np.zeros(4) if np.isnan(vector).any() else vector
        blocks["audio_timbre"].append(known / max(float(np.linalg.norm(known)), 1e-12))
        blocks["numbers"].append(np.nan_to_num(np.sign([tempo])))
    return {name: np.array(rows) for name, rows in blocks.items()}


def numpy_kernel(queries: dict[str, np.ndarray], songs: dict[str, np.ndarray]) -> np.ndarray:
    """Blocks of one weight, by which the mean squared length of the warm songs is 1.3."""
    length = sum(np.square(block).sum() for block in songs.values()) / SONGS
    content = 1.3 / length * sum(queries[name] @ songs[name].T for name in queries)
    return content + content**2


def numpy_similarity(pairs: tuple[np.ndarray, np.ndarray, np.ndarray]) -> np.ndarray:
    matrix = np.zeros((SONGS, SONGS))
    for anchor, positive, weight in zip(*pairs, strict=True):
        matrix[anchor, positive] = weight
    return np.where(matrix > 0, matrix, matrix.T)


def symmetric_pairs() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pairs whose weight is the same from both sides."""
    anchors, positives, _ = small.pairs(FEATURES, SONGS, each=6)
    low, high = np.minimum(anchors, positives), np.maximum(anchors, positives)
    return anchors, positives, 0.1 + ((7 * low + 3 * high) % 10) / 10


def embed(model: keras.Layer, features: dict[str, np.ndarray], **more: np.ndarray) -> np.ndarray:
    tensors = {name: ops.convert_to_tensor(values) for name, values in {**features, **more}.items()}
    return ops.convert_to_numpy((model if isinstance(model, ContentVector) else model.embed_features)(tensors))


def test_products_of_content_are_weighted_cosines_of_the_fields() -> None:
    layer = ContentVector(small.FIELDS)
    layer.adapt(FEATURES)
    weights = {"attribute_genre": 0.5, "attribute_tags": 2.0, "audio_timbre": 0.3, "numbers": 0.1}
    layer.set_block_weights(weights)
    others = small.features(20, seed=5)
    queries, songs = (numpy_content(features, FEATURES) for features in (others, FEATURES))
    expected = sum(weight * queries[name] @ songs[name].T for name, weight in weights.items())
    np.testing.assert_allclose(embed(layer, others) @ embed(layer, FEATURES).T, expected, atol=1e-5)


def test_many_ids_are_projected_on_their_main_directions() -> None:
    rng = np.random.default_rng(0)
    topics = rng.integers(0, 5, 200)
    ids = (1 + topics[:, None] * 12 + rng.integers(0, 12, (200, 6))).astype("int32")
    ids = np.array([np.pad(np.unique(row), (0, 6 - len(np.unique(row)))) for row in ids])
    layer = ContentVector([Field("tags", "multi_category", 61), Field("tempo", "number")], max_rank=8)
    layer.adapt({"tags": ids, "tempo": np.full(200, np.nan)})
    rows = np.zeros((200, 61))
    for row, words in zip(rows, ids, strict=True):
        row[words[words > 0]] = 1.0
    counts = rows.sum(axis=0)
    rows *= np.log(201 / (1 + counts))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    expected = TruncatedSVD(8, n_iter=20, random_state=0).fit_transform(rows)
    found = embed(layer, {"tags": ids, "tempo": np.full(200, np.nan, "float32")})
    # Same subspace, up to what three iterations leave: products agree closely and lose no more than the best ones.
    best, ours = (np.linalg.norm(rows @ rows.T - part @ part.T) for part in (expected, found))
    assert best * 0.999 <= ours <= best * 1.05


def test_scores_are_those_of_kernel_ridge() -> None:
    pairs = symmetric_pairs()
    model = AudienceRidge(small.FIELDS, SONGS, ONE_CHOICE)
    chosen = model.adapt(FEATURES, pairs)
    assert [chosen[name] for name in ("ridge", "own_share", "power", "spread")] == [1.5, 0.5, 1.0, 0.5]
    others = small.features(25, seed=9)
    songs = numpy_content(FEATURES, FEATURES)
    similarity = numpy_similarity(pairs)
    targets = similarity + 0.5 * np.eye(SONGS)
    targets /= np.linalg.norm(targets, axis=0)
    ridge = KernelRidge(alpha=1.5, kernel="precomputed").fit(numpy_kernel(songs, songs), targets)
    predicted = ridge.predict(numpy_kernel(numpy_content(others, FEATURES), songs))
    expected = predicted + 0.5 * predicted @ (similarity / similarity.sum(axis=1, keepdims=True)).T
    found = embed(model, others) @ model.warm_candidates().T
    np.testing.assert_allclose(found, expected, atol=5e-3)  # what is added to the diagonal of K_mm


def test_songs_that_are_no_candidates_teach_the_model() -> None:
    """Least squares in the span of the warm songs' kernels, with rows of songs that nothing retrieves."""
    of_warm, more = symmetric_pairs(), small.features(15, seed=3)
    anchors, positives = np.repeat(np.arange(15), 4), (np.arange(60) * 7) % SONGS
    weights = 0.1 + np.arange(60) % 5 / 5
    pairs = tuple(np.concatenate(both) for both in zip(of_warm, (SONGS + anchors, positives, weights), strict=True))
    everything = {name: np.concatenate([FEATURES[name], more[name]]) for name in FEATURES}
    model = AudienceRidge(small.FIELDS, SONGS, ONE_CHOICE)
    model.adapt(everything, pairs)
    songs, others = numpy_content(FEATURES, FEATURES), small.features(25, seed=9)
    kernel, similarity = numpy_kernel(songs, songs), numpy_similarity(of_warm)
    targets, further = similarity + 0.5 * np.eye(SONGS), np.zeros((15, SONGS))
    further[anchors, positives] = weights
    lengths = np.linalg.norm(targets, axis=0)
    rows = np.concatenate([kernel, numpy_kernel(numpy_content(more, FEATURES), songs)])
    # The minimum of |rows A - T|^2 + 1.5 tr(A' K A); K is singular where two songs have the same content.
    system = rows.T @ rows + 1.5 * kernel + 1e-6 * np.eye(SONGS)
    solved = np.linalg.solve(system, rows.T @ (np.concatenate([targets, further]) / lengths))
    predicted = numpy_kernel(numpy_content(others, FEATURES), songs) @ solved
    expected = predicted + 0.5 * predicted @ (similarity / similarity.sum(axis=1, keepdims=True)).T
    found = embed(model, others) @ model.warm_candidates().T
    np.testing.assert_allclose(found, expected, atol=1e-2)
    alone = AudienceRidge(small.FIELDS, SONGS, ONE_CHOICE)
    alone.adapt(FEATURES, of_warm)
    assert np.abs(embed(alone, others) @ alone.warm_candidates().T - expected).max() > 0.1
    # What content says of a candidate without plays is learnt from the candidates alone.
    unknown = embed(model, others, song_index=np.zeros(25, "int32"))
    ridge = KernelRidge(alpha=1.5, kernel="precomputed").fit(kernel, model.warm_candidates())
    np.testing.assert_allclose(unknown, ridge.predict(numpy_kernel(numpy_content(others, FEATURES), songs)), atol=1e-2)


def test_few_directions_hold_most_of_the_prediction_and_landmarks_stand_for_all() -> None:
    pairs, others = symmetric_pairs(), small.features(25, seed=9)
    full = AudienceRidge(small.FIELDS, SONGS, ONE_CHOICE)
    full.adapt(FEATURES, pairs)
    expected = embed(full, others) @ full.warm_candidates().T
    for change in ({"rank": 20}, {"max_landmarks": 40}):
        model = AudienceRidge(small.FIELDS, SONGS, {**ONE_CHOICE.to_dict(), **change})
        model.adapt(FEATURES, pairs)
        found = embed(model, others) @ model.warm_candidates().T
        assert np.linalg.norm(found - expected) < 0.4 * np.linalg.norm(expected)


def test_a_cold_candidate_is_predicted_and_a_warm_one_is_kept() -> None:
    model = AudienceRidge(small.FIELDS, SONGS, ONE_CHOICE)
    model.adapt(FEATURES, symmetric_pairs())
    candidates = model.warm_candidates()
    index = np.arange(1, SONGS + 1)
    np.testing.assert_allclose(embed(model, FEATURES, song_index=index), candidates, atol=1e-6)
    cold = embed(model, FEATURES, song_index=np.zeros(SONGS, "int64"))
    songs = numpy_content(FEATURES, FEATURES)
    kernel = numpy_kernel(songs, songs)
    expected = KernelRidge(alpha=1.5, kernel="precomputed").fit(kernel, candidates).predict(kernel)
    np.testing.assert_allclose(cold, expected, atol=2e-3)


def test_validation_songs_choose() -> None:
    # Audiences follow tempo and timbre alone, so blocks of words must lose weight.
    pairs = small.pairs(FEATURES, SONGS, each=6)
    held_out = small.features(80, seed=3, missing=0.0)
    tempo = np.nan_to_num(FEATURES["audio_tempo"])
    distances = np.abs(held_out["audio_tempo"][:, None] - tempo[None, :])
    positives = np.argsort(distances, axis=1)[:, :5]
    model = AudienceRidge(small.FIELDS, SONGS, RidgeConfig(rank=16, k=8))
    chosen = model.adapt(FEATURES, pairs, (held_out, positives))
    weights = chosen["block_weights"]
    assert min(weights["audio_timbre"], weights["numbers"]) > max(weights["attribute_genre"], weights["attribute_tags"])
    plain = AudienceRidge(small.FIELDS, SONGS, RidgeConfig(rank=16, k=8))
    assert plain.adapt(FEATURES, pairs)["validation_recall"] is None
    judge = Judge(positives, 8)
    recalls = [judge.recall(embed(m, held_out), m.warm_candidates()) for m in (model, plain)]
    assert recalls[0] == pytest.approx(chosen["validation_recall"], abs=1e-6) and recalls[0] > recalls[1]


def test_chosen_settings_are_used_unchanged() -> None:
    pairs, held_out = small.pairs(FEATURES, SONGS, each=6), small.features(80, seed=3, missing=0.0)
    distances = np.abs(held_out["audio_tempo"][:, None] - np.nan_to_num(FEATURES["audio_tempo"])[None, :])
    config = RidgeConfig(rank=16, k=8)
    first, second, plain = (AudienceRidge(small.FIELDS, SONGS, config) for _ in range(3))
    chosen = first.adapt(FEATURES, pairs, (held_out, np.argsort(distances, axis=1)[:, :5]))
    again = second.adapt(FEATURES, pairs, chosen=chosen)
    plain.adapt(FEATURES, pairs)
    assert again["validation_recall"] is None
    for name in ("ridge", "own_share", "power", "spread"):
        assert again[name] == chosen[name]
    assert again["block_weights"] == pytest.approx(chosen["block_weights"])
    wanted, found, others = (embed(m, held_out) @ m.warm_candidates().T for m in (first, second, plain))
    np.testing.assert_allclose(found, wanted, atol=1e-3 * np.abs(wanted).max())
    assert np.abs(others - wanted).max() > 0.05 * np.abs(wanted).max()
    # What was chosen survives JSON, and needs no value that the config knows.
    kept = json.loads(json.dumps({**chosen, "ridge": 3.25, "spread": 0.125}))
    third = AudienceRidge(small.FIELDS, SONGS, config).adapt(FEATURES, pairs, chosen=kept)
    assert (third["ridge"], third["spread"]) == (3.25, 0.125)


def test_joined_scores_are_standardised_sums() -> None:
    towers, _ = small.model_and_stream(songs=SONGS, cold=0)
    ridge = AudienceRidge(small.FIELDS, SONGS, RidgeConfig(rank=16))
    ridge.adapt(FEATURES, symmetric_pairs())
    others = small.features(30, seed=4)
    joined = JoinedModel([ridge, towers])
    # Positives as the towers rank them, so that their weight must be the largest.
    wanted = embed(towers, others) @ towers.warm_candidates().T
    report = joined.adapt((others, np.argsort(-wanted, axis=1)[:, :5]), k=5)
    assert report["weights"] == [1.0, 4.0] and report["alone"][1] == 1.0 > report["validation_recall"] > 0.5
    expected = 0.0
    for weight, model in zip((1.0, 4.0), (ridge, towers), strict=True):
        scores = embed(model, others) @ model.warm_candidates().T
        expected += weight * scores / scores.std(axis=1, keepdims=True)
    candidates = joined.warm_candidates()
    found = embed(joined, others) @ candidates.T
    ratio = found / expected
    np.testing.assert_allclose(ratio, np.broadcast_to(ratio.mean(axis=1, keepdims=True), ratio.shape), rtol=1e-3)
    assert found.max() <= 1.0 and np.linalg.norm(candidates, axis=1).max() == pytest.approx(1.0)
    np.testing.assert_allclose(embed(joined, FEATURES, song_index=np.arange(1, SONGS + 1)), candidates, atol=1e-5)
    again = JoinedModel([ridge, towers])
    assert again.adapt(weights=report["weights"]) == {"weights": [1.0, 4.0], "validation_recall": None, "alone": []}
    np.testing.assert_allclose(embed(again, others) @ again.warm_candidates().T, found, atol=1e-6)


def test_no_score_exceeds_one_whatever_songs_come_later() -> None:
    """A song that came after training may have a longer candidate than any warm one: here all have."""
    towers, _ = small.model_and_stream(songs=SONGS, cold=0)
    ridge = AudienceRidge(small.FIELDS, SONGS, RidgeConfig(rank=16))
    ridge.adapt(FEATURES, symmetric_pairs())
    joined = JoinedModel([ridge, towers])
    joined.adapt()
    ridge.candidate_map.assign(50.0 * ops.convert_to_numpy(ridge.candidate_map))
    others = small.features(30, seed=9, missing=0.0)
    later = embed(joined, others, song_index=np.zeros(30, "int32"))
    np.testing.assert_allclose(np.linalg.norm(later, axis=1), 1.0, atol=1e-5)
    parts = [embed(model, others, song_index=np.zeros(30, "int32")) for model in (ridge, towers)]
    longer = np.concatenate(parts, axis=1)
    np.testing.assert_allclose(later, longer / np.linalg.norm(longer, axis=1, keepdims=True), atol=1e-5)
    warm = embed(joined, FEATURES, song_index=np.arange(1, SONGS + 1))
    scores = embed(joined, others) @ np.concatenate([warm, later]).T
    assert np.abs(scores).max() <= 1.0 + 1e-5
    np.testing.assert_allclose(warm, joined.warm_candidates(), atol=1e-6)


def test_a_loaded_model_embeds_as_the_saved_one(tmp_path: Path) -> None:
    towers, _ = small.model_and_stream(songs=SONGS, cold=0)
    ridge = AudienceRidge(small.FIELDS, SONGS, RidgeConfig(rank=16))
    ridge.adapt(FEATURES, symmetric_pairs())
    joined = JoinedModel([ridge, towers])
    joined.adapt()
    others = small.features(10, seed=8)
    expected = embed(joined, others)
    joined.save(tmp_path / "joined.keras")
    np.testing.assert_allclose(embed(keras.saving.load_model(tmp_path / "joined.keras"), others), expected, atol=1e-6)


def test_similarities_count_once_from_either_side() -> None:
    pairs = (np.array([0, 1, 2, 3]), np.array([1, 0, 0, 3]), np.array([0.5, 0.5, 0.25, 9.0]))
    similarity = AudienceSimilarity(pairs, 4)
    expected = np.array([[0, 0.5, 0.25, 0], [0.5, 0, 0, 0], [0.25, 0, 0, 0], [0, 0, 0, 0]])
    np.testing.assert_allclose(similarity @ np.eye(4, dtype="float32"), expected)
    targets = AudienceTargets(similarity, 1.0)
    wanted = (expected + np.eye(4)) / np.linalg.norm(expected + np.eye(4), axis=0)
    np.testing.assert_allclose(targets @ np.eye(4, dtype="float32"), wanted, atol=1e-6)
    np.testing.assert_allclose(targets.transposed(np.eye(4, dtype="float32")), wanted.T, atol=1e-6)
    plain = AudienceTargets(similarity, 0.0, power=0.0) @ np.eye(4, dtype="float32")
    np.testing.assert_allclose(plain, plain.max() / 0.5 * expected, atol=1e-6)


def test_products_with_similarities_are_those_of_the_matrix() -> None:
    rng = np.random.default_rng(0)
    matrix = np.triu(rng.random((700, 700)) * (rng.random((700, 700)) < 0.2), 1)
    matrix[:, 3] = matrix[3] = 0.0  # a song without any pair, and one with many
    matrix[5, 6:] = rng.random(694)
    anchors, positives = np.nonzero(matrix)
    dense = rng.normal(size=(700, 9)).astype("float32")
    found = AudienceSimilarity((anchors, positives, matrix[anchors, positives]), 700) @ dense
    np.testing.assert_allclose(found, (matrix + matrix.T) @ dense, atol=1e-3)
    further = rng.random((40, 700)) * (rng.random((40, 700)) < 0.1)
    rows, columns = np.nonzero(further)
    pairs = (
        np.concatenate([anchors, 700 + rows]),
        np.concatenate([positives, columns]),
        np.concatenate([matrix[anchors, positives], further[rows, columns]]),
    )
    tall = np.concatenate([matrix + matrix.T, further])
    similarity = AudienceSimilarity(pairs, 700, 740)
    np.testing.assert_allclose(similarity @ dense, tall @ dense, atol=1e-3)
    back = rng.normal(size=(740, 9)).astype("float32")
    np.testing.assert_allclose(similarity.transposed(back), tall.T @ back, atol=1e-3)
    np.testing.assert_allclose(similarity.sums(), tall[:700].sum(axis=1), rtol=1e-5)


def test_songs_without_content_or_audience_are_no_obstacle() -> None:
    empty = {
        "attribute_genre": np.zeros(SONGS, "int32"),
        "attribute_tags": np.zeros((SONGS, 2), "int32"),
        "audio_tempo": np.full(SONGS, np.nan, "float32"),
        "audio_timbre": np.full((SONGS, 4), np.nan, "float32"),
    }
    model = AudienceRidge(small.FIELDS, SONGS, RidgeConfig(rank=4))
    nobody = np.full((SONGS, 3), -1)
    model.adapt(empty, (np.array([0]), np.array([1]), np.array([0.5])), (empty, nobody))
    joined = JoinedModel([model])
    joined.adapt((empty, nobody))
    assert np.isfinite(embed(joined, empty)).all() and np.isfinite(joined.warm_candidates()).all()


def test_messages() -> None:
    with pytest.raises(ValueError, match=r"`ridges` must hold numbers above 0. Received: \(0.0,\)"):
        RidgeConfig(ridges=(0.0,))
    with pytest.raises(ValueError, match=r"`rank` must be at least 1. Received: 0"):
        RidgeConfig(rank=0)
    model = AudienceRidge(small.FIELDS, SONGS)
    with pytest.raises(ValueError, match=r"`similar` must hold rows of warm songs, 0 to 59. Received: 60 to 60"):
        model.adapt(FEATURES, (np.array([3]), np.array([60]), np.array([0.5])))
    with pytest.raises(ValueError, match=r"`similar` must hold rows, 0 to 59. Received: 60 to 60"):
        model.adapt(FEATURES, (np.array([60]), np.array([3]), np.array([0.5])))
    with pytest.raises(ValueError, match=r"`features` must hold at least 60 warm songs. Received: 59"):
        model.adapt({k: v[:59] for k, v in FEATURES.items()}, (np.array([60]), np.array([3]), np.array([0.5])))
    with pytest.raises(ValueError, match=r"every field. Received: nothing for 'audio_tempo'"):
        ContentVector(small.FIELDS).adapt({k: v for k, v in FEATURES.items() if k != "audio_tempo"})
    good = {"block_weights": {}, "ridge": 1.0, "own_share": 0.0, "power": 1.0, "spread": 0.0}
    pairs = symmetric_pairs()
    with pytest.raises(ValueError, match=r"what `adapt` returned. Received: .*, without \['power'\]"):
        model.adapt(FEATURES, pairs, chosen={name: value for name, value in good.items() if name != "power"})
    with pytest.raises(ValueError, match=r"`weights` must hold .*'audio_timbre'.*Received: {}"):
        model.adapt(FEATURES, pairs, chosen=good)
    with pytest.raises(ValueError, match="`chosen` and `validation` must not both be given"):
        model.adapt(FEATURES, pairs, (FEATURES, np.zeros((SONGS, 1), int)), chosen=good)
    for weights in ([1.0, 2.0], [-1.0], [np.nan]):
        with pytest.raises(ValueError, match="`weights` must hold 1 finite numbers of at least 0"):
            JoinedModel([model]).adapt(weights=weights)
    with pytest.raises(ValueError, match="`weights` and `validation` must not both be given"):
        JoinedModel([model]).adapt((FEATURES, np.zeros((SONGS, 1), int)), weights=[1.0])
    with pytest.raises(ValueError, match="`models` must hold at least one model"):
        JoinedModel([])
