"""Settings of the evaluation, apart from it, so that the input contract knows them without Keras."""

from __future__ import annotations

from dataclasses import dataclass

from tfx_pipeline.models.config import VALIDATION_K, VALIDATION_TRUTH
from tfx_pipeline.runtime.setting_checks import check_at_least


@dataclass(frozen=True)
class EvaluationConfig:
    """Settings of the evaluation on cold songs.

    Args:
        truth: Number of warm songs that count as relevant for a song: those whose audience is most similar.
        k: Length of the ranking that is judged.
        max_songs: Most songs judged in each split. If there are more, a sample is drawn, because each song is ranked
            against all warm songs.
        min_gain: The model's recall@k on validation songs must exceed that of content cosine by this share.
        min_difference: It must also exceed it by this difference of recalls.
        min_gain_slice: As `min_gain`, within each slice of the songs. None asks nothing of a slice.
        min_gain_last: The model's recall@k must exceed that of the last pushed model by this share. The last model is
            judged on the same songs, so it counts only if the same songs were held out for it (`split.rotate`). The
            default is below 0, because a model of today's data may be worse by chance and is still the one to serve.
            Small losses can add up from push to push, down to the margin over content cosine.
        min_difference_last: It must also exceed it by this difference of recalls. None asks for none.
        min_gain_last_slice: As `min_gain_last`, within each slice.
        bootstrap: Number of resamples for the confidence intervals.
        seed: Number from which the random ranking and the resamples are drawn.
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
