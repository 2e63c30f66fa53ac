"""Settings of the similar-song step, apart from it, so that the input contract knows them without Beam."""

from __future__ import annotations

from dataclasses import dataclass

from tfx_pipeline.runtime.setting_checks import check_at_least


@dataclass(frozen=True)
class AudienceConfig:
    """Settings of the similar-song step.

    Args:
        top_m: Similar songs kept per song.
        min_lift: A pair that trains must be played together more than this many times as often as by chance. The truth
            of held-out songs is not filtered.
        max_songs_per_user: Warm songs of a user beyond this number are sampled by hash, so that one heavy user cannot
            square the work; sparse and held-out songs likewise, each among themselves.
        max_listeners_per_song: Listeners of a song beyond this number are sampled by hash, the same listeners first for
            every song; what two songs share is then estimated from those whom both kept.
        shards: Parts into which songs and users are cut; more parts need less memory each.
    """

    top_m: int = 100
    min_lift: float = 1.0
    max_songs_per_user: int = 1000
    max_listeners_per_song: int = 100_000
    shards: int = 16

    def __post_init__(self) -> None:
        check_at_least(self, 1, "top_m", "max_songs_per_user", "max_listeners_per_song", "shards")
