"""Settings of the Transform and Trainer steps, apart from them, so that the input contract knows them without Keras."""

from __future__ import annotations

from dataclasses import dataclass

from tfx_pipeline.runtime.setting_checks import check_at_least

#: Length of the rankings that models are compared on, in training and by default in the evaluation.
VALIDATION_K = 50
#: Warm songs of most similar audience that count as relevant there.
VALIDATION_TRUTH = 20
#: Most new songs that a model learns from. With all landmarks, each takes 16 KiB in the closed form.
MOST_SPARSE_SONGS = 20_000


@dataclass(frozen=True)
class TransformConfig:
    """Settings of the Transform step.

    Args:
        min_frequency: Warm songs in which a category must occur to have an id of its own.
        max_vocabulary: Most ids of one field.
        max_values: Values of a multi-valued category that count: the first ones that have an id. It holds wherever a
            song is embedded: in training, in the evaluation, in a refresh and in every request that is served. The
            default is that of `bcl_keras.Field`.
    """

    min_frequency: int = 2
    max_vocabulary: int = 200_000
    max_values: int = 32

    def __post_init__(self) -> None:
        check_at_least(self, 1, "min_frequency", "max_vocabulary", "max_values")


@dataclass(frozen=True)
class TrainingConfig:
    """Settings of the Trainer beside those of the model, which are in `bcl_keras.BCLConfig`.

    Args:
        positives: Similar songs of an anchor that may be its positive.
        anchor_popularity_power: 0 draws anchors uniformly, 1 as often as they are played.
        sparse_per_warm: New songs that the model learns from, at most so many for every warm song and 20,000 in all.
            Only new songs with some listener count. Where there are more, a sample is drawn. With 0 the model learns
            from warm songs alone. It does so too where new songs lower the recall of the closed form on validation
            songs.
        evening_cost: Share of the recall of validation songs that may be lost so that matches gather on fewer songs
            that are close to everything (`bcl_keras.models.EvenedModel`). 0 evens as far as nothing is lost. None
            leaves the scores as they are.
        content_sketch: Numbers of plain content that an embedding gets beside those of the closed form and the towers.
            They are a multiple of 16 (`bcl_keras.models.ContentSketch`). They keep which album or artist a song has.
            They are left out where validation songs give them no weight, and without a closed form. None never joins
            them.
        chances: Whether matches say how likely they are right: columns of `matches.parquet` and a signature `chance` of
            the served model. It is fitted on validation songs, 50 at least.
    """

    positives: int = 20
    anchor_popularity_power: float = 0.5
    sparse_per_warm: float = 3.0
    content_sketch: int | None = 256
    evening_cost: float | None = 0.0
    chances: bool = True

    def __post_init__(self) -> None:
        check_at_least(self, 1, "positives")
        check_at_least(self, 16, "content_sketch")
        if self.content_sketch is not None and self.content_sketch % 16:
            raise ValueError(f"Argument `content_sketch` must be a multiple of 16. Received: {self.content_sketch}")
        check_at_least(self, 0, "anchor_popularity_power", "sparse_per_warm", "evening_cost")
