"""How listeners are ranked: the count by hand, a rule chosen on validation songs, and rows with a rule of their own."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.quality import closed_form
from benchmarks.quality.encoding import Encoding
from benchmarks.quality.listeners import RULES, CountRule, choose_rule, listener_scores
from benchmarks.quality.problem import Problem
from benchmarks.quality.scorer import ListenerScorer, Scorer, WithListeners
from benchmarks.quality.tasks import LISTENERS, SIMILAR_20, SONGS_OF_TEST, ask
from benchmarks.targeting_study.datasets import read_data_set
from tfx_pipeline.datasets.simulate import simulate


@pytest.fixture(scope="module")
def problem(tmp_path_factory: pytest.TempPathFactory) -> Problem:
    out = tmp_path_factory.mktemp("listeners") / "catalogue"
    simulate(out, songs=600, users=300, plays=15_000, seed=9)
    return Problem.of(read_data_set(out), seed=0)


@pytest.mark.parametrize("rule", [RULES[0], CountRule(7, 0.5, 1.0), CountRule(None, 2.0, 0.5), CountRule(10**6)])
def test_a_count_is_that_by_hand(problem: Problem, rule: CountRule) -> None:
    rng = np.random.default_rng(0)
    scores = rng.normal(3, 5, (6, len(problem.warm)))
    plays = np.asarray(problem.plays.todense(), float)
    for row, found in zip(scores, listener_scores(problem, scores, rule), strict=True):
        best = np.argsort(-row)[: rule.matches]
        weights = np.exp(rule.sharpness * (row - row.mean()) / row.std()) / plays.sum(axis=1) ** rule.popularity_power
        expected = weights[best] @ plays[best] / weights[best].sum()
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-7)


def test_scores_without_any_difference_are_a_plain_count(problem: Problem) -> None:
    found = listener_scores(problem, np.full((2, len(problem.warm)), 7.0), CountRule(None))
    np.testing.assert_allclose(found[1], np.asarray(problem.plays.mean(axis=0)).ravel(), rtol=1e-4)


def test_the_rule_that_validation_songs_prefer_is_chosen(problem: Problem) -> None:
    """Listeners of validation songs are known: the number that each match shares with the song."""
    heard = np.asarray(problem.heard(problem.cold("val")).todense())
    warm = np.asarray(problem.plays.todense())
    overlap = heard @ warm.T

    def sharp(songs: np.ndarray, _: Encoding) -> np.ndarray:
        return np.asarray(overlap if len(songs) == len(heard) else np.zeros((len(songs), len(warm))))

    chosen = choose_rule(problem, sharp)
    assert chosen in RULES
    recalls = {}
    for rule in RULES:
        order = np.argsort(-listener_scores(problem, overlap, rule), axis=1, kind="stable")[:, :100]
        recalls[rule] = np.mean(np.take_along_axis(heard, order, axis=1).sum(axis=1) / heard.sum(axis=1))
    assert chosen is not None and recalls[chosen] == pytest.approx(max(recalls.values()), abs=2e-4)


def test_a_row_may_bring_a_rule_of_its_own(problem: Problem) -> None:
    """Whoever plays the song ranks first: the row's own listeners are asked, whatever its similar songs."""
    similar = closed_form.random_order(problem)
    asked: list[int] = []

    def knows(songs: np.ndarray, _: Encoding) -> np.ndarray:
        asked.append(len(songs))
        return np.asarray(problem.heard(songs).todense()) + 0.0

    scorer: Scorer = WithListeners(similar, knows)
    assert isinstance(scorer, ListenerScorer) and not isinstance(similar, ListenerScorer)
    assert choose_rule(problem, scorer) is None
    values, plain = ask(problem, scorer), ask(problem, similar)
    sizes = np.diff(problem.heard(problem.cold("test")).indptr)
    np.testing.assert_allclose(values[LISTENERS]["recall@100"], np.minimum(1, 100 / sizes))
    np.testing.assert_allclose(values[LISTENERS]["recovered@100"], np.minimum(sizes, 100))
    assert np.nanmean(values[SONGS_OF_TEST]["recall@50"]) > np.nanmean(plain[SONGS_OF_TEST]["recall@50"])
    np.testing.assert_array_equal(values[SIMILAR_20]["recall@50"], plain[SIMILAR_20]["recall@50"])
    assert max(asked) <= 256
