"""Rows in closed form on a planted problem: their scores are those of the equations written out."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.quality import closed_form
from benchmarks.quality.baselines import artists, kernel, metadata, neighbours, side_information
from benchmarks.quality.baselines.audiences import OF_MATCHES, OF_WEIGHTS, predicted_audience, targets
from benchmarks.quality.baselines.side_information import BY_WEIGHT
from benchmarks.quality.problem import Problem
from benchmarks.quality.scorer import ListenerScorer, Scorer
from benchmarks.quality.supervision import by_supervision
from benchmarks.quality.towers import similar_pairs
from benchmarks.quality.validation import recalls, worth
from tests.benchmarks.planted_problem import planted_problem


@pytest.fixture(scope="module")
def problem() -> Problem:
    return planted_problem()


def cold(problem: Problem) -> np.ndarray:
    return problem.cold("test")


def content_of_all(problem: Problem, songs: np.ndarray) -> np.ndarray:
    """Content of songs as rows whose products are the kernel."""
    weights = closed_form.content_of(problem).weights
    blocks = problem.encoding.blocks(songs)
    return np.concatenate([np.sqrt(weights[name]) * block.toarray() for name, block in blocks.items()], axis=1)


def audiences(problem: Problem) -> np.ndarray:
    """Cosines of the warm audiences from the plays, the diagonal zero."""
    played = problem.plays.toarray().astype(float)
    unit = played / np.maximum(np.linalg.norm(played, axis=1, keepdims=True), 1e-12)
    cosines = unit @ unit.T
    np.fill_diagonal(cosines, 0)
    return cosines


def test_targets_have_an_own_share_and_columns_of_length_one(problem: Problem) -> None:
    wanted = audiences(problem) + 0.5 * np.eye(len(problem.warm))
    np.testing.assert_allclose(targets(problem, 0.5, 0.0), wanted, atol=1e-6)
    np.testing.assert_allclose(targets(problem, 0.5, 1.0), wanted / np.linalg.norm(wanted, axis=0), atol=1e-6)


def test_a_weighted_count_is_the_sum_over_the_nearest_songs(problem: Problem) -> None:
    settings = {"power": 2.0, "neighbours": 7, "own_share": 0.5, "column_power": 1.0, "listeners": OF_WEIGHTS}
    scorer = neighbours.count(problem, tuple(settings.items()))
    assert isinstance(scorer, ListenerScorer)
    learnt = audiences(problem) + 0.5 * np.eye(len(problem.warm))
    learnt /= np.linalg.norm(learnt, axis=0)
    warm = content_of_all(problem, problem.warm)
    for song in cold(problem)[:6].tolist():
        near = warm @ content_of_all(problem, np.array([song]))[0]
        if len(set(np.round(np.sort(near)[-8:], 5))) < 8:
            continue  # ties may be broken either way
        best = np.argsort(-near)[:7]
        expected = sum(near[place] ** 2 * learnt[place] for place in best)
        np.testing.assert_allclose(scorer(np.array([song]), problem.encoding)[0], expected, rtol=1e-4, atol=1e-6)
        heard = sum(near[place] ** 2 * problem.plays[place].toarray()[0] for place in best)
        np.testing.assert_allclose(scorer.listeners(np.array([song]), problem.encoding)[0], heard, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("squared", [True, False])
def test_kernel_ridge_with_options_is_its_equation(problem: Problem, squared: bool) -> None:
    settings = {"squared": squared, "ridge": 2.0, "own_share": 0.5, "column_power": 0.5, "neighbours": 0.5}
    scorer = kernel.KernelRidge(problem).scorer(tuple({**settings, "listeners": OF_MATCHES}.items()))
    warm, asked = content_of_all(problem, problem.warm), content_of_all(problem, cold(problem))
    scale = kernel.DIAGONAL / np.mean((warm**2).sum(axis=1))
    of_warm, of_asked = scale * warm @ warm.T, scale * asked @ warm.T
    if squared:
        of_warm, of_asked = of_warm + of_warm**2, of_asked + of_asked**2
    similar = audiences(problem)
    learnt = similar + 0.5 * np.eye(len(warm))
    learnt /= np.sqrt(np.linalg.norm(learnt, axis=0))
    scores = of_asked @ np.linalg.inv(of_warm + 2.0 * np.eye(len(warm))) @ learnt
    expected = scores + 0.5 * (scores @ similar) / similar.sum(axis=1)
    np.testing.assert_allclose(scorer(cold(problem), problem.encoding), expected, atol=2e-4)


def test_a_new_column_of_ease_is_that_of_ease_with_the_song_in_it(problem: Problem) -> None:
    settings = {"content": 30.0, "ridge": 10.0, "similar": BY_WEIGHT, "listeners": OF_WEIGHTS}
    found = side_information.ease(problem, tuple(settings.items()))(cold(problem), problem.encoding)
    for row, song in enumerate(cold(problem)[:4].tolist()):
        songs = np.append(problem.warm, song)
        played = np.vstack([problem.plays.toarray(), np.zeros(problem.plays.shape[1])]).T  # nobody plays it
        stacked = np.vstack([played, np.sqrt(30.0) * content_of_all(problem, songs).T])
        inverse = np.linalg.inv(stacked.T @ stacked + 10.0 * np.eye(len(songs)))
        weights = -inverse / np.diag(inverse)  # Steck, WWW 2019, equation 8
        np.testing.assert_allclose(found[row], weights[:-1, -1], atol=2e-4)


def test_predicted_audiences_are_compared_by_cosine(problem: Problem) -> None:
    weights = np.random.default_rng(0).normal(size=(3, len(problem.warm)))
    played = problem.plays.toarray()
    audience = weights @ played
    expected = audience @ (played / np.linalg.norm(played, axis=1, keepdims=True)).T
    np.testing.assert_allclose(predicted_audience(problem, weights), expected, rtol=1e-3, atol=1e-3)


def test_a_new_column_of_marec_is_that_of_marec_with_the_song_in_it(problem: Problem) -> None:
    settings = {"ridge": 5.0, "beta": 3.0, "percentile": 30, "similar": BY_WEIGHT, "listeners": OF_WEIGHTS}
    known = metadata.Metadata(problem, smoothing=1.0)
    found = metadata.aligned(problem, tuple(settings.items()), known)(cold(problem), problem.encoding)
    plays = problem.plays.toarray().astype(float)
    limit = np.percentile(plays.sum(axis=1), 30)
    strength = np.append(3.0 * np.maximum(limit - plays.sum(axis=1), 0) / limit, 3.0)
    for row, song in enumerate(cold(problem)[:4].tolist()):
        songs = np.append(problem.warm, song)
        near = smoothed(problem, songs, known.weights, 1.0)
        played = np.vstack([plays, np.zeros(plays.shape[1])]).T
        aligned = played.T @ played + played.T @ (played @ near) * strength
        inverse = np.linalg.inv(aligned + 5.0 * np.eye(len(songs)))
        free = inverse @ aligned
        weights = free - inverse @ np.diag(np.diag(free) / np.diag(inverse))
        np.testing.assert_allclose(found[row], weights[:-1, -1], atol=1e-3 * np.abs(weights[:-1, -1]).max())


def smoothed(problem: Problem, songs: np.ndarray, weights: dict[str, float], smoothing: float) -> np.ndarray:
    total = np.zeros((len(songs), len(songs)))
    for name, block in problem.encoding.blocks(songs).items():
        rows = block.toarray()
        lengths = np.sqrt(np.outer((rows != 0).sum(axis=1), (rows != 0).sum(axis=1)))
        total += weights[name] * (rows @ rows.T) * lengths / (lengths + smoothing)
    np.fill_diagonal(total, 0)
    return total


def test_fields_of_marec_are_weighed_by_a_weighted_regression(problem: Problem) -> None:
    known = metadata.Metadata(problem, smoothing=0.0)
    played = problem.plays.toarray().T.astype(float)
    columns = []
    for block in problem.encoding.blocks(problem.warm).values():
        near = (block @ block.T).toarray().astype(float)
        np.fill_diagonal(near, 0)
        columns.append((played @ near).ravel())
    root = np.sqrt(np.where(played.ravel() > 0, 1.0, metadata.NOT_PLAYED))
    table = np.stack([*columns, np.ones(played.size)], axis=1) * root[:, None]
    expected = np.linalg.lstsq(table, played.ravel() * root, rcond=None)[0]
    np.testing.assert_allclose(list(known.weights.values()), expected[:-1], rtol=2e-2, atol=1e-4)


def test_artist_attention_is_the_artists_mean_or_the_kernel_ridge(problem: Problem) -> None:
    mean = {"sharpness": 0.0, "shrinkage": 0.0, "own_share": 0.0, "column_power": 0.0}
    found = artists.attention(problem, tuple(mean.items()))(cold(problem), problem.encoding)
    names = problem.encoding.features[closed_form.ARTIST]
    ridge = kernel.ridge_of(problem).weights(cold(problem), problem.encoding, True, 2.0) @ audiences(problem)
    of_known = 0
    for row, song in enumerate(cold(problem).tolist()):
        same = (names[problem.warm] == names[song]) & (names[song] > 0)
        of_known += same.any()
        expected = audiences(problem)[same].mean(axis=0) if same.any() else ridge[row]
        np.testing.assert_allclose(found[row], expected, atol=2e-4)
    assert of_known > 0
    nobody = problem.encoding.without(frozenset({closed_form.ARTIST}))
    alone = artists.attention(problem, tuple(mean.items()))(cold(problem), nobody)
    ridge = kernel.ridge_of(problem).weights(cold(problem), nobody, True, 2.0) @ audiences(problem)
    np.testing.assert_allclose(alone, ridge, atol=2e-4)


def test_the_long_tail_by_supervision_is_seldom_a_positive(problem: Problem) -> None:
    parts = by_supervision(problem)
    few, many = parts["few positives (third)"], parts["many positives (two thirds)"]
    # Songs with as many positives as the third's last one belong to it, too.
    assert (few ^ many).all() and len(few) / 3 <= few.sum() < len(few)
    positives = Counter(similar_pairs(problem)[1].tolist())
    typical = [
        np.median([positives[place] for place in places[:20].tolist() if place >= 0])
        for places in problem.similar_truth(cold(problem))
    ]
    assert max(np.array(typical)[few]) <= min(np.array(typical)[many])


def test_validation_recalls_are_those_by_hand(problem: Problem) -> None:
    songs = problem.cold("val")
    rng = np.random.default_rng(1)
    scores = {song: rng.random(len(problem.warm)) for song in songs.tolist()}
    users = {song: rng.random(problem.plays.shape[1]) for song in songs.tolist()}

    class Drawn:
        def __call__(self, songs: np.ndarray, _: object) -> np.ndarray:
            return np.stack([scores[song] for song in songs.tolist()])

        def listeners(self, songs: np.ndarray, _: object) -> np.ndarray:
            return np.stack([users[song] for song in songs.tolist()])

    similar, listeners = [], []
    for song, places in zip(songs.tolist(), problem.similar_truth(songs), strict=True):
        right = {place for place in places[:20].tolist() if place >= 0}
        similar.append(len(right & set(np.argsort(-scores[song])[:50].tolist())) / len(right))
        heard = set(np.flatnonzero(problem.heard(np.array([song])).toarray()[0]).tolist())
        most = min(100, problem.plays.shape[1] - 1)
        listeners.append(len(heard & set(np.argsort(-users[song])[:most].tolist())) / len(heard))
    found = recalls(problem, Drawn())
    assert found.similar == pytest.approx(np.mean(similar)) and found.listeners == pytest.approx(np.mean(listeners))
    base = recalls(problem, closed_form.content_cosine(problem))
    expected = np.sqrt(found.similar * found.listeners / (base.similar * base.listeners))
    assert worth(problem, Drawn()) == pytest.approx(expected)


@pytest.mark.parametrize(
    "fit",
    [
        neighbours.weighted_count_with_options,
        kernel.kernel_ridge_with_options,
        side_information.collective_ease,
        metadata.marec,
        artists.artist_attention,
    ],
)
def test_options_are_chosen_on_validation_songs(problem: Problem, fit: object) -> None:
    assert callable(fit)
    few, all_of_them = replace(problem, epochs=1), problem
    fitted: list[Scorer] = [fit(few), fit(all_of_them)]
    assert worth(problem, fitted[1]) >= worth(problem, fitted[0]) - 1e-4  # twenty settings against three of them
    by_chance = recalls(problem, closed_form.random_order(problem)).similar
    assert recalls(problem, fitted[1]).similar > 1.2 * by_chance
