"""The judgement of cold songs, on planted embeddings whose order is known."""

from dataclasses import replace

import numpy as np
import pytest

from tests.tfx_pipeline.evaluation.planted import COLD, CONFIG, FIELDS, WARM, planted
from tfx_pipeline.evaluation.margins import refusals
from tfx_pipeline.evaluation.retrieval import CONTENT_COSINE, MODEL, RANDOM, evaluate


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
    with pytest.raises(ValueError, match=r"Argument `max_songs` must be at least 1\. Received: 0"):
        replace(CONFIG, max_songs=0)


def test_a_model_that_knows_nothing_is_not_better():
    songs, embeddings = planted()
    noise = np.random.default_rng(1).normal(size=embeddings.shape).astype(np.float32)
    reports = evaluate(songs, FIELDS, noise, embeddings, CONFIG)
    chance = CONFIG.k / WARM
    assert reports["val"].rows[MODEL]["recall@10"].mean == pytest.approx(chance, abs=0.06)
    assert refusals(reports, replace(CONFIG, min_gain=1.0))
