"""The study of quality: metrics by hand, splits without leaks, and the command from data to table."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse, stats

from bcl_keras import BCLConfig
from bcl_keras.evaluation.bootstrap import interval, resampled_means
from benchmarks.quality import closed_form, pictures, towers
from benchmarks.quality.__main__ import main
from benchmarks.quality.baselines import collective_factors
from benchmarks.quality.gallery import gallery
from benchmarks.quality.metrics import as_truth, metrics_of
from benchmarks.quality.problem import Problem
from benchmarks.quality.tasks import DAY_ZERO, SIMILAR_20, ask, listener_scores, slices
from benchmarks.significance import holm, mean_of_seeds, p_over_seeds
from benchmarks.targeting_study.datasets import read_data_set
from tfx_pipeline.datasets.simulate import simulate


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("simulated") / "catalogue"
    simulate(out, songs=700, users=400, plays=20_000, seed=2)
    return out


@pytest.fixture(scope="module")
def problem(folder: Path) -> Problem:
    return Problem.of(read_data_set(folder), seed=1)


def test_metrics_are_those_by_hand() -> None:
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 40, (30, 120)).astype("float32")  # many ties
    right = rng.random((30, 120)) < 0.1
    right[3] = False
    found = metrics_of(scores, sparse.csr_matrix(right))
    for row in range(30):
        ranking = sorted(range(120), key=lambda place: (-scores[row, place], place))
        hits = [bool(right[row, place]) for place in ranking]
        if row == 3:
            assert all(np.isnan(found[metric][row]) for metric in found)
            continue
        total = sum(hits)
        for k in (20, 50, 100):
            assert found[f"recall@{k}"][row] == pytest.approx(sum(hits[:k]) / total)
        gain = sum(hit / np.log2(place + 2) for place, hit in enumerate(hits[:50]))
        ideal = sum(1 / np.log2(place + 2) for place in range(min(total, 50)))
        assert found["ndcg@50"][row] == pytest.approx(gain / ideal)
        assert found["mrr"][row] == pytest.approx(1 / (1 + hits.index(True)))


def test_scores_must_be_finite() -> None:
    with pytest.raises(ValueError, match=r"expected finite numbers\. Received: 1 that are not"):
        metrics_of(np.array([[0.0, np.nan]]), sparse.csr_matrix(np.array([[True, False]])))


def test_holm_is_the_step_down_rule() -> None:
    corrected = holm({"a": 0.01, "b": 0.04, "c": 0.03, "none": float("nan")})
    assert corrected["a"] == pytest.approx(0.03)
    assert corrected["c"] == corrected["b"] == pytest.approx(0.06)
    assert np.isnan(corrected["none"])


def test_p_is_the_paired_t_test() -> None:
    rng = np.random.default_rng(1)
    first = [rng.normal(0.3, 0.1, 200) for _ in range(5)]
    second = [values - rng.normal(0.02, 0.05, 200) for values in first]
    expected = stats.ttest_rel([v.mean() for v in first], [v.mean() for v in second]).pvalue
    assert p_over_seeds(first, second) == pytest.approx(expected)
    assert np.isnan(p_over_seeds(first[:1], second[:1]))


def test_interval_is_that_of_the_normal_law() -> None:
    rng = np.random.default_rng(2)
    values = [rng.normal(seed, 1.0, (900, 1)) * [1.0, 2.0] for seed in range(4)]
    values[0][:5, 1] = np.nan
    draws = resampled_means(values)
    means = [mean_of_seeds([table[:, column] for table in values]) for column in (0, 1)]
    for column, size in ((0, 1.0), (1, 2.0)):
        found = interval(means[column], draws[:, column])
        half = 1.96 * size / np.sqrt(4 * 900)
        assert found.high - found.value == pytest.approx(half, rel=0.2)
        assert found.value - found.low == pytest.approx(half, rel=0.2)
    # The columns are resampled together: one is the double of the other in every draw.
    np.testing.assert_allclose(draws[:, 1], 2 * draws[:, 0], rtol=1e-4)


@pytest.mark.slow
def test_no_play_of_a_test_song_is_an_input(problem: Problem) -> None:
    """Other plays of the test songs give the same inputs, scores and choices."""
    data = problem.data
    plays = data.plays.tolil()
    other = np.random.default_rng(0).permutation(data.plays.shape[1])
    for song in problem.cold("test"):
        plays[song] = data.plays[song][:, other]
    changed = Problem(type(data)(**{**vars(data), "plays": plays.tocsr()}), 1, problem.split, problem.encoding)
    assert (plays.tocsr() != data.plays).nnz > 0
    assert (changed.plays != problem.plays).nnz == 0
    test = problem.cold("test")
    for row in (closed_form.kernel_ridge, towers.audience_ridge):
        np.testing.assert_array_equal(row(problem)(test, problem.encoding), row(changed)(test, changed.encoding))


def test_truth_is_the_most_similar_audience(problem: Problem) -> None:
    test = problem.cold("test")[:10]
    played = np.asarray((problem.data.plays > 0).todense(), float)
    for song, places in zip(test, problem.similar_truth(test), strict=True):
        warm = played[problem.warm]
        cosine = warm @ played[song] / np.sqrt(warm.sum(axis=1) * played[song].sum())
        np.testing.assert_allclose(cosine[places], np.sort(cosine)[::-1][:50], atol=1e-6)


def test_kernel_ridge_is_scikit_learns(problem: Problem) -> None:
    from sklearn.kernel_ridge import KernelRidge

    test, content = problem.cold("test"), closed_form.Content(problem)
    theirs = KernelRidge(alpha=2.0, kernel="precomputed").fit(content.of_warm, problem.similarity)
    ours = content.kernel(test, problem.encoding) @ content.solve(2.0, problem.similarity)
    np.testing.assert_allclose(ours, theirs.predict(content.kernel(test, problem.encoding)), atol=2e-4)


def test_rows_find_what_is_planted(problem: Problem) -> None:
    """Content tells taste, taste tells audiences: what learns from plays beats what does not, which beats chance."""
    recalls = {}
    for row in (closed_form.random_order, closed_form.content_cosine, closed_form.kernel_ridge):
        recalls[row.__name__] = float(np.nanmean(ask(problem, row(problem))[SIMILAR_20]["recall@50"]))
    assert recalls["kernel_ridge"] > recalls["content_cosine"] > 1.5 * recalls["random_order"]


def test_withheld_fields_are_not_seen(problem: Problem) -> None:
    values = ask(problem, closed_form.content_cosine(problem))
    assert not np.array_equal(values[DAY_ZERO]["recall@50"], values[SIMILAR_20]["recall@50"])
    bare = problem.encoding.without(frozenset({"lyric_topics"}))
    assert not bare.features["lyric_topics"].any() and problem.encoding.features["lyric_topics"].any()


def test_listeners_come_from_the_best_matches(problem: Problem) -> None:
    scores = np.zeros((1, len(problem.warm)), np.float32)
    scores[0, 7] = 100.0  # one match that stands out
    listeners = listener_scores(problem, scores)[0]
    played = problem.plays[7].toarray()[0] > 0
    assert listeners[played].min() > 0.5 > listeners[~played].max()


def test_the_truth_of_a_simulated_catalogue_is_its_ceiling(problem: Problem) -> None:
    recalls = [
        float(np.nanmean(ask(problem, row(problem))[SIMILAR_20]["recall@50"]))
        for row in (closed_form.true_taste, closed_form.kernel_ridge, towers.audience_ridge)
    ]
    assert recalls[0] > max(recalls[1:]) > 0.3


@pytest.mark.slow
@pytest.mark.skipif(find_spec("cmfrec") is None, reason="cmfrec is not installed; it takes minutes to compile")
def test_collective_factors_learn(problem: Problem) -> None:
    scorer = collective_factors.collective_factors(replace(problem, epochs=1))
    by_chance = 50 / len(problem.warm)
    assert float(np.nanmean(ask(problem, scorer)[SIMILAR_20]["recall@50"])) > 1.5 * by_chance


@pytest.mark.slow
def test_gallery_shows_what_the_model_says(problem: Problem) -> None:
    bcl = towers.tower(replace(problem, epochs=1), BCLConfig())
    model, recall = towers.joined(problem, bcl)
    assert recall > 0.3
    shown = gallery(problem, model, bcl)
    assert np.array(shown["correlation"]).shape == (len(shown["fields"]),) * 2
    assert len(shown["map"]["x"]) == len(shown["map"]["label"]) == len(problem.warm)
    recalls = [example["recall"] for example in shown["examples"]]
    assert len(recalls) == 5 and recalls == sorted(recalls)
    for example in shown["examples"]:
        scores = [match["score"] for match in example["matches"]]
        assert scores == sorted(scores, reverse=True) and len(scores) == 8
        shown_and_matched = set(example["truth"]) & {match["song"] for match in example["matches"]}
        assert shown_and_matched <= {match["song"] for match in example["matches"] if match["right"]}
    for figure in (pictures.correlation(shown), pictures.song_map(shown["map"])):
        assert figure.get_axes()


def test_slices_part_the_songs(problem: Problem) -> None:
    parts = slices(problem)
    assert (parts["long tail (third)"] ^ parts["popular (two thirds)"]).all()
    assert (parts["few fields"] ^ parts["many fields"]).all()
    assert as_truth(np.array([[2, 0, -1]]), 3, 2).toarray().tolist() == [[True, False, True]]


@pytest.mark.slow
def test_command_writes_results_and_goes_on(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(towers, "MOST_STEPS", 2 * towers.ROUND)
    arguments = ["--data", str(folder), "--out", str(tmp_path), "--seeds", "1", "--jobs", "1"]
    arguments += ["--rows", "random", "kernel ridge"]
    assert main([*arguments, "BPR only"]) == 0
    assert capsys.readouterr().out.count("R@50") == 3
    (result,) = json.loads((tmp_path / "results.json").read_text())
    table = result["tasks"][SIMILAR_20]
    assert table["BPR only"]["metrics"]["recall@50"]["value"] > 2 * table["random"]["metrics"]["recall@50"]["value"]
    assert set(table["BPR only"]["against"]) == {"kernel ridge"} and len(result["splits"]) == 1
    assert "| kernel ridge |" in (tmp_path / "table.md").read_text()
    assert sum(len(parts) for parts in result["popularity"]["rows"].values()) == 2 * 5
    shown = (tmp_path / "report.html").read_text()
    assert "<td>kernel ridge</td>" in shown and "data:image/svg+xml;base64," in shown and "http" not in shown
    campaign = {
        "effective plays per song": [2.0, 1.5, 2.5],
        "lift over count": [0.25, 0.1, 0.4],
        "p against count": 0.01,
    }
    found = {"songs": 12, "budget": 100, "rules": {"a rule": campaign}}
    (tmp_path / "campaign-planted-100.json").write_text(json.dumps(found))
    assert main([*arguments, "BPR only", "content cosine", "--targeting", str(tmp_path)]) == 0
    assert capsys.readouterr().out.count("R@50") == 1  # the new row alone
    shown = (tmp_path / "report.html").read_text()
    assert "planted-100: 12 cold songs, 100 listeners each" in shown and "<td>+25.0 % [+10.0, +40.0]</td>" in shown
    assert 'alt="effective plays over those of count: planted-100' in shown
