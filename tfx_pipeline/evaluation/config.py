"""Settings of the evaluation, apart from it, so that the input contract knows them without Keras."""

from __future__ import annotations

from dataclasses import dataclass

from tfx_pipeline.models.config import VALIDATION_K, VALIDATION_TRUTH
from tfx_pipeline.runtime.setting_checks import check_at_least


@dataclass(frozen=True)
class EvaluationConfig:
    """Settings of the evaluation on cold songs.

    Args:
        truth: Warm songs of most similar audience that count as relevant.
        k: Length of the ranking judged.
        max_songs: Cold songs judged in each split, drawn where there are more: each is ranked against every warm song.
        min_gain: Share by which the model's recall@k on validation songs must exceed that of content cosine, to be
            blessed.
        min_difference: The same as a difference of recalls; both must hold.
        min_gain_slice: The share within each slice of the songs (`evaluation.slices`); None asks nothing of a slice.
        min_gain_last: Share by which it must exceed that of the model pushed last as it was judged, if there is one and
            the same songs were held out for it (`ColdSplit.rotate`). Below 0: a model of today's data may be worse by
            chance, and is still the one to serve. Every push is measured against the one before, so small losses can
            add up from day to day: content cosine's margin is the floor.
        min_difference_last: The same as a difference of recalls; None asks for none.
        min_gain_last_slice: `min_gain_last` within each slice.
        bootstrap: Resamples of the confidence intervals.
        seed: Of the random row and of the resamples.
    """

    truth: int = VALIDATION_TRUTH
    k: int = VALIDATION_K
    max_songs: int = 2000
    min_gain: float = 0.0
    min_difference: float = 0.0
    min_gain_slice: float | None = None
    min_gain_last: float = -0.05
    min_difference_last: float | None = None
    min_gain_last_slice: float = -0.2
    bootstrap: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        check_at_least(self, 1, "truth", "k", "max_songs", "bootstrap")
        check_at_least(self, 0, "seed")
        check_at_least(self, -1, "min_gain", "min_gain_slice", "min_gain_last", "min_gain_last_slice")
        check_at_least(self, -1, "min_difference", "min_difference_last")
