"""Settings of the step that finds similar songs, apart from it, so that the input contract knows them without Beam."""

from __future__ import annotations

from dataclasses import dataclass

from tfx_pipeline.runtime.setting_checks import check_at_least


@dataclass(frozen=True)
class AudienceConfig:
    """Settings of the step that finds similar songs.

    Args:
        top_m: Similar songs kept per song.
        min_lift: A pair of songs teaches the model if they are played together more than this many times as often as by
            chance. Held-out songs are judged by all pairs.
        max_songs_per_user: Most warm songs of a user that are paired. If there are more, a sample is drawn by hash,
            because the work grows with the square of the number. The same holds for sparse songs and for held-out
            songs.
        max_listeners_per_song: Most listeners of a song that are counted. If there are more, a sample is drawn by hash,
            with the same listeners first for every song. What two songs share is then estimated from the listeners kept
            for both.
        shards: Parts into which songs and users are cut. With more parts, each needs less memory.
    """

    top_m: int = 100
    min_lift: float = 1.0
    max_songs_per_user: int = 1000
    max_listeners_per_song: int = 100_000
    shards: int = 16

    def __post_init__(self) -> None:
        check_at_least(self, 1, "top_m", "max_songs_per_user", "max_listeners_per_song", "shards")
