"""Which margins refuse a model, and what the reasons say."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.tfx_pipeline.evaluation.planted import COLD, CONFIG, FIELDS, GROUPS, WARM, planted
from tfx_pipeline.evaluation.config import EvaluationConfig
from tfx_pipeline.evaluation.margins import refusals
from tfx_pipeline.evaluation.retrieval import CONTENT_COSINE, LAST, MODEL, Estimate, SplitReport, evaluate


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
        changed: dict[str, Any] = {name: value}
        with pytest.raises(ValueError, match=rf"Argument `{name}` must be at least -1\. Received: {value}"):
            replace(CONFIG, **changed)


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
