"""Directions and choices that rounding must not decide: equal runs store equal embeddings."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import small_catalogue as small
from keras import ops

from bcl_keras import Field, blocks
from bcl_keras.content.directions import fading, orthonormal, turn_to_draws
from bcl_keras.evaluation.choices import EQUAL_RECALL, Judge, best_rows, first_best, is_better
from bcl_keras.layers import ContentVector
from bcl_keras.models import AudienceRidge, JoinedModel

SONGS = 60
Catalogue = tuple[dict[str, np.ndarray], tuple[np.ndarray, np.ndarray, np.ndarray]]


def planted() -> Catalogue:
    features = small.features(SONGS)
    return features, small.pairs(features, SONGS, each=6)


def equal_genres() -> Catalogue:
    """Five genres of twelve songs in a ring: nothing tells one genre from the next, so directions come in fives."""
    features = {name: values.copy() for name, values in small.features(SONGS, missing=1.0).items()}
    features["attribute_genre"] = (1 + np.arange(SONGS) % 5).astype("int32")
    anchors = np.repeat(np.arange(SONGS), 2)
    positives = (anchors + np.tile([5, -5], SONGS)) % SONGS
    return features, (anchors, positives, np.full(len(anchors), 0.5))


def copies() -> Catalogue:
    """Every song six times: fewer directions than songs."""
    few = small.features(10, missing=0.0)
    features = {name: np.concatenate([values] * 6) for name, values in few.items()}
    return features, small.pairs(features, SONGS, each=6)


def solved(
    catalogue: Catalogue, rank: int, noise: float = 0.0, seed: int = 0, *, choose: bool = False
) -> tuple[AudienceRidge, dict[str, Any]]:
    """The closed form, its kernel off by a share that rounding in float32 may reach."""
    features, pairs = catalogue
    rng = np.random.default_rng(seed)

    class Rounded(AudienceRidge):
        def _numpy_kernel(self, some: Mapping[str, np.ndarray]) -> np.ndarray:
            kernel = super()._numpy_kernel(some)
            return (kernel * (1 + noise * rng.normal(size=kernel.shape))).astype("float32")

    settings = {"rank": rank} if choose else {"rank": rank, "ridges": (1.5,), "own_shares": (0.5,), "powers": (1.0,)}
    model = Rounded(small.FIELDS, SONGS, {**settings, "k": 8})
    held_out = small.features(40, seed=3, missing=0.0)
    distances = np.abs(held_out["audio_tempo"][:, None] - np.nan_to_num(features["audio_tempo"])[None, :])
    truth = np.argsort(distances, axis=1, kind="stable")[:, :5]
    return model, model.adapt(features, pairs, (held_out, truth) if choose else None)


def embedded(model: AudienceRidge) -> tuple[np.ndarray, np.ndarray]:
    others = {name: ops.convert_to_tensor(values) for name, values in small.features(25, seed=9).items()}
    return ops.convert_to_numpy(model(others)), model.warm_candidates()


def check_equal(first: AudienceRidge, second: AudienceRidge) -> None:
    """What is stored is the same, and so is what follows from it: scores, and the songs that are retrieved."""
    for mine, other in zip(embedded(first), embedded(second), strict=True):
        np.testing.assert_allclose(mine, other, atol=2e-4 * np.abs(mine).max())
    (queries, songs), (others, other_songs) = embedded(first), embedded(second)
    scores, other_scores = queries @ songs.T, others @ other_songs.T
    np.testing.assert_allclose(scores, other_scores, atol=2e-5 * np.abs(scores).max())
    assert (best_rows(scores, 10) == best_rows(other_scores, 10)).mean() > 0.999


@pytest.mark.parametrize("catalogue", [planted, equal_genres, copies])
@pytest.mark.parametrize("rank", [8, 20, SONGS])
def test_rounding_of_the_kernel_changes_no_stored_direction(catalogue: Callable[[], Catalogue], rank: int) -> None:
    plain, _ = solved(catalogue(), rank)
    assert np.abs(plain.warm_candidates()).max() > 0.01
    for seed in range(3):
        check_equal(plain, solved(catalogue(), rank, 1e-7, seed)[0])


def test_rounding_changes_no_choice() -> None:
    plain, chosen = solved(planted(), 20, choose=True)
    for noise, seed in ((1e-12, 0), (1e-7, 1), (1e-7, 2)):
        again, same = solved(planted(), 20, noise, seed, choose=True)
        assert {**same, "validation_recall": 0} == {**chosen, "validation_recall": 0}
        assert same["validation_recall"] == pytest.approx(chosen["validation_recall"], abs=EQUAL_RECALL)
        check_equal(plain, again)


def test_neither_blocks_nor_threads_change_what_is_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    plain, _ = solved(planted(), 20)
    monkeypatch.setattr(blocks, "ROWS", 7)
    check_equal(plain, solved(planted(), 20)[0])
    monkeypatch.undo()
    limits = pytest.importorskip("threadpoolctl").threadpool_limits
    for count in (1, 4):
        with limits(count):
            check_equal(plain, solved(planted(), 20)[0])
    stop = threading.Event()
    # A loaded machine: other threads multiply while this one solves.
    loads = [threading.Thread(target=_multiply, args=(stop,)) for _ in range(3)]
    for load in loads:
        load.start()
    try:
        check_equal(plain, solved(planted(), 20)[0])
    finally:
        stop.set()
        for load in loads:
            load.join()


def _multiply(stop: threading.Event) -> None:
    matrix = np.random.default_rng(0).normal(size=(150, 150))
    while not stop.is_set():
        matrix @ matrix


def test_a_joined_model_stores_the_same() -> None:
    towers, _ = small.model_and_stream(songs=SONGS, cold=0)
    joined = [JoinedModel([solved(planted(), 16, noise, 1)[0], towers]) for noise in (0.0, 1e-7)]
    for model in joined:
        model.adapt()
    first, second = (model.warm_candidates() for model in joined)
    np.testing.assert_allclose(first, second, atol=1e-4)


def test_songs_without_any_content_are_joined_to_zeros_and_not_to_nan() -> None:
    nothing = small.features(SONGS, missing=1.0)
    ridge = AudienceRidge(small.FIELDS, SONGS, {"rank": 8})
    ridge.adapt({**nothing, "attribute_tags": np.zeros((SONGS, 2), "int32")}, planted()[1])
    joined = JoinedModel([ridge])
    joined.adapt()
    assert not joined.warm_candidates().any()


def test_the_turn_depends_on_the_subspace_alone() -> None:
    rng = np.random.default_rng(1)
    basis = np.linalg.qr(rng.normal(size=(5000, 12)))[0] * np.linspace(1.0, 0.0, 12)
    turned = basis @ turn_to_draws(basis)
    np.testing.assert_allclose(turned @ turned[:40].T, basis @ basis[:40].T, atol=1e-12)
    signs, rotation = np.diag(np.sign(rng.normal(size=12))), np.linalg.qr(rng.normal(size=(12, 12)))[0]
    for other in (basis @ signs, basis @ rotation, basis[:, ::-1]):
        np.testing.assert_allclose(other @ turn_to_draws(other), turned, atol=1e-12)
    near = basis + 1e-12 * rng.normal(size=basis.shape)
    np.testing.assert_allclose(near @ turn_to_draws(near), turned, atol=1e-10)


def test_directions_fade_where_rounding_would_choose() -> None:
    assert fading(np.array([5.0, 4.0, 3.0, 2.0]), 3).tolist() == [1.0, 1.0, 1.0]
    counts = fading(np.array([5.0, 2.04, 2.0, 2.0]), 3)  # the third is as heavy as the fourth, which is left out
    np.testing.assert_allclose(counts, [1.0, 0.4, 0.0])
    np.testing.assert_allclose(fading(np.array([1.0, 1e-2, 5.5e-4, 1e-7]), 4), [1.0, 1.0, 0.5, 0.0])
    assert fading(np.zeros(4), 2).tolist() == [0.0, 0.0]


def test_columns_keep_their_sign_and_zero_stays_zero() -> None:
    rng = np.random.default_rng(2)
    columns = rng.normal(size=(30, 4)) @ rng.normal(size=(4, 7))  # three of seven hold nothing of their own
    basis = orthonormal(columns)
    np.testing.assert_allclose(basis.T @ basis, np.diag([1.0] * 4 + [0.0] * 3), atol=1e-9)
    assert (np.diagonal(basis.T @ columns)[:4] > 0).all()
    np.testing.assert_allclose(basis @ (basis.T @ columns), columns, atol=1e-9)
    np.testing.assert_allclose(orthonormal(columns + 1e-13 * rng.normal(size=columns.shape)), basis, atol=1e-10)
    assert not orthonormal(np.zeros((5, 3))).any()


def test_ids_that_few_songs_have_leave_no_random_direction() -> None:
    """Fewer kinds of songs than directions: what is stored is the same in any order of the songs."""
    rng = np.random.default_rng(3)
    kinds = rng.integers(1, 61, (9, 5)).astype("int32")
    ids = kinds[rng.integers(0, 9, 200)]
    held_out = rng.integers(1, 61, (30, 5)).astype("int32")
    found = []
    for order in (np.arange(200), rng.permutation(200), np.arange(200)[::-1]):
        layer = ContentVector([Field("tags", "multi_category", 61)], max_rank=32)
        layer.adapt({"tags": ids[order]})
        found.append((ops.convert_to_numpy(layer.bases["tags"]), ops.convert_to_numpy(layer({"tags": held_out}))))
    for basis, vectors in found[1:]:
        np.testing.assert_allclose(basis, found[0][0], atol=1e-6)
        np.testing.assert_allclose(vectors, found[0][1], atol=1e-6)
    assert (np.linalg.norm(found[0][0], axis=0) > 0.5).sum() <= 9


def test_of_nearly_equal_scores_the_smaller_row_is_among_the_best() -> None:
    rng = np.random.default_rng(4)
    exact = rng.integers(0, 6, (200, 40)) / 5.0
    noisy = (exact * (1 + 1e-7 * rng.normal(size=exact.shape))).astype("float32")
    for k in (1, 7, 39, 40):
        wanted = np.zeros(exact.shape, bool)
        np.put_along_axis(wanted, np.argsort(-exact, axis=1, kind="stable")[:, :k], True, axis=1)
        assert (best_rows(noisy, k) == wanted).all() and (best_rows(exact, k) == wanted).all()
    assert best_rows(np.zeros((1, 4)), 2).tolist() == [[True, True, False, False]]
    positives = np.array([[0, 1]] * 200)
    assert Judge(positives, 7).recall_of([(noisy, np.arange(200))]) == Judge(positives, 7).recall_of(
        [(exact, np.arange(200))]
    )


def test_of_nearly_equal_recalls_the_first_setting_is_chosen() -> None:
    assert not is_better(0.5 + EQUAL_RECALL / 2, 0.5) and is_better(0.5 + 2 * EQUAL_RECALL, 0.5)
    assert first_best({"a": 0.3, "b": 0.5, "c": 0.5 + EQUAL_RECALL / 2}) == "b"
    assert first_best({"a": 0.3, "b": 0.5, "c": 0.5 + 2 * EQUAL_RECALL}) == "c"
