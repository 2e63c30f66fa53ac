"""The judgement of cold songs, on planted embeddings whose order is known."""

from dataclasses import replace

import numpy as np
import pytest

from tfx_pipeline.contract import SongField
from tfx_pipeline.evaluation import retrieval
from tfx_pipeline.evaluation.config import EvaluationConfig
from tfx_pipeline.evaluation.retrieval import (
    CONTENT_COSINE,
    LAST,
    MODEL,
    RANDOM,
    Estimate,
    SplitReport,
    evaluate,
    refusals,
)
from tfx_pipeline.models.song_table import SongTable

FIELDS = [SongField("attribute_noise", "category"), SongField("audio_x", "number")]
CONFIG = EvaluationConfig(truth=5, k=10, bootstrap=200)
WARM, COLD, GROUPS = 200, 40, 10


def planted() -> tuple[SongTable, np.ndarray]:
    """Songs in groups; a cold song's truth are the first warm songs of its group; embeddings say the group."""
    rng = np.random.default_rng(0)
    splits = np.array(["warm"] * WARM + ["val"] * COLD + ["test"] * COLD)
    group = np.concatenate([np.arange(WARM) % GROUPS, np.arange(2 * COLD) % GROUPS])
    ids = np.array([f"s{row:04d}" for row in range(len(splits))], dtype=bytes)
    truth = np.array([ids[:WARM][group[:WARM] == g][: CONFIG.truth] for g in group])
    truth[-3:] = b""  # three test songs without truth
    features = {
        "attribute_noise": rng.integers(0, 4, len(ids)).astype(np.int32),
        "audio_x": rng.normal(size=len(ids)).astype(np.float32),
    }
    songs = SongTable(ids, splits, features, np.ones(len(ids), int), truth, np.ones(truth.shape, np.float32))
    return songs, np.eye(GROUPS, dtype=np.float32)[group]


def test_a_model_that_knows_the_truth_is_perfect_and_noise_is_not():
    songs, embeddings = planted()
    reports = evaluate(songs, FIELDS, embeddings, embeddings, CONFIG)
    test = reports["test"]
    assert (test.songs, test.without_truth, test.candidates) == (COLD - 3, 3, WARM)
    # Ties within a group are broken by position, and the truth is the first of each group.
    assert test.rows[MODEL]["recall@10"].mean == pytest.approx(1.0)
    assert test.rows[MODEL]["ndcg@10"].mean == pytest.approx(1.0)
    assert test.rows[MODEL]["mrr"].mean == pytest.approx(1.0)
    chance = CONFIG.k / WARM
    assert test.rows[RANDOM]["recall@10"].low < chance < test.rows[RANDOM]["recall@10"].high
    assert test.rows[CONTENT_COSINE]["recall@10"].mean < 0.3
    assert not refusals(reports, CONFIG)


def test_of_many_cold_songs_a_sample_is_judged():
    songs, embeddings = planted()
    test = evaluate(songs, FIELDS, embeddings, embeddings, replace(CONFIG, max_songs=10))["test"]
    assert (test.songs, test.without_truth, test.candidates) == (10, 3, WARM)
    assert test.rows[MODEL]["recall@10"].mean == pytest.approx(1.0)
    with pytest.raises(ValueError, match="Argument `max_songs` must be at least 1. Received: 0"):
        replace(CONFIG, max_songs=0)


def test_weights_are_chosen_on_the_relevant_candidates_and_a_sample(monkeypatch):
    truth = np.array([[150, 3, -1], [-1, 180, 7]])
    everyone, same = retrieval._choice_pool(truth, WARM, seed=0)
    assert everyone.tolist() == list(range(WARM)) and same is truth
    monkeypatch.setattr(retrieval, "_MAX_CHOICE_CANDIDATES", 20)
    pool, places = retrieval._choice_pool(truth, WARM, seed=0)
    assert 20 <= len(pool) <= 24 and (np.diff(pool) > 0).all()
    assert (np.where(places >= 0, pool[places], -1) == truth).all()


def test_a_model_that_knows_nothing_is_not_better():
    songs, embeddings = planted()
    noise = np.random.default_rng(1).normal(size=embeddings.shape).astype(np.float32)
    reports = evaluate(songs, FIELDS, noise, embeddings, CONFIG)
    chance = CONFIG.k / WARM
    assert reports["val"].rows[MODEL]["recall@10"].mean == pytest.approx(chance, abs=0.06)
    assert refusals(reports, replace(CONFIG, min_gain=1.0))


def test_the_margin_is_relative():
    def report(model: float) -> dict[str, SplitReport]:
        rows = {name: {"recall@10": Estimate(value, 0, 1)} for name, value in ((MODEL, model), (CONTENT_COSINE, 0.2))}
        return {"val": SplitReport(1, 0, 1, rows)}

    config = EvaluationConfig(k=10, min_gain=0.1)
    assert not refusals(report(0.23), config)
    (reason,) = refusals(report(0.21), config)
    assert reason == "recall@10: expected over 0.2200 (content cosine 0.2000). Received: 0.2100"
    assert refusals(report(0.23), replace(config, min_difference=0.05))
    assert refusals(report(0.2), replace(config, min_gain=0.0))  # a tie is no gain
    assert refusals(report(0.2 + 1e-8), replace(config, min_gain=0.0))  # nor is what rounding adds
    against_last = {MODEL: 0.22, CONTENT_COSINE: 0.1, LAST: 0.2}  # 0.2 * 1.1 is a little above 0.22 in binary
    rows = {name: {"recall@10": Estimate(value, 0, 1)} for name, value in against_last.items()}
    assert 0.2 * 1.1 > 0.22 and not refusals({"val": SplitReport(1, 0, 1, rows)}, replace(config, min_gain_last=0.1))
    assert "nothing to judge by" in refusals({}, config)[0]


def test_margins_hold_in_slices_and_as_differences():
    songs, embeddings = planted()
    reports = evaluate(songs, FIELDS, embeddings, embeddings, CONFIG, (embeddings, embeddings))
    assert refusals(reports, replace(CONFIG, min_gain_slice=0.0)) == []
    reasons = refusals(reports, replace(CONFIG, min_gain_slice=50.0))
    assert ["long tail" in reasons[0], "few fields" in reasons[1], len(reasons)] == [True, True, 2]
    (reason,) = refusals(reports, replace(CONFIG, min_difference_last=0.1))
    assert "(judged model of the last push 1.0000)" in reason


@pytest.mark.parametrize("name", ["min_gain", "min_difference", "min_gain_last", "min_gain_slice"])
def test_a_margin_that_nothing_fails_is_refused(name):
    for value in (float("nan"), float("inf"), -5):
        with pytest.raises(ValueError, match=f"Argument `{name}` must be at least -1. Received: {value}"):
            replace(CONFIG, **{name: value})


def test_a_model_must_not_fall_behind_the_last_one_in_any_slice():
    songs, embeddings = planted()
    last = (embeddings, embeddings)
    same = evaluate(songs, FIELDS, embeddings, embeddings, CONFIG, last)
    assert refusals(same, CONFIG) == [] and set(same["val"].slices) == {"long tail", "few fields"}
    assert same["val"].rows[LAST] == same["val"].rows[MODEL]
    first = refusals(same, replace(CONFIG, min_gain_last=0.1))[0]
    assert first.startswith("recall@10: expected over 1.1000 (judged model of the last push")

    # Songs of the least popular group are lost: a tenth of all songs, a quarter of the slice.
    songs = replace(songs, listeners=1 + 10 * (np.arange(len(songs)) % GROUPS))
    lost = embeddings.copy()
    lost[WARM:][np.arange(2 * COLD) % GROUPS == 0] *= -1
    report = evaluate(songs, FIELDS, lost, embeddings, CONFIG, last)
    loose = replace(CONFIG, min_gain_last=-0.5, min_gain_last_slice=-1.0)
    assert refusals(report, loose) == []
    (reason,) = refusals(report, replace(loose, min_gain_last_slice=-0.2))
    assert "long tail: expected over 0.8" in reason
