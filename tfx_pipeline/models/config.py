"""Settings of the Transform step, apart from it, so that the input contract knows them without Keras."""

from __future__ import annotations

from dataclasses import dataclass

from tfx_pipeline.runtime.setting_checks import check_at_least


@dataclass(frozen=True)
class TransformConfig:
    """Settings of the Transform step.

    Args:
        min_frequency: Warm songs in which a category must occur to have an id of its own.
        max_vocabulary: Most ids of one field.
        max_values: Values of a multi-valued category that count: of those that have an id the first ones. It holds
            wherever a song is embedded: in training, in evaluation, in a refresh and in every request that is served.
            The default is that of `bcl_keras.Field`.
    """

    min_frequency: int = 2
    max_vocabulary: int = 200_000
    max_values: int = 32

    def __post_init__(self) -> None:
        check_at_least(self, 1, "min_frequency", "max_vocabulary", "max_values")
