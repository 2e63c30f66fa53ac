"""The settings of the closed form."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class RidgeConfig:
    """Settings of an `AudienceRidge`. Where a setting has several values, validation songs choose one.

    Without validation songs the middle value counts, and every block weighs 1.

    Attributes:
        rank: Length of the embeddings, at most the number of warm songs.
        content_rank: Most elements of a block of ids (`ContentVector`).
        max_landmarks: Most warm songs that a song is compared with.
        ridges: Added to the diagonal of the kernel, whose mean is 3.
        own_shares: By how much a song counts as part of its own audience.
        powers: A candidate's similarities are divided by their length raised to this power. 1 keeps popular songs from
            being favoured.
        spreads: Share of its neighbours' scores that a candidate gets. Neighbours are songs of similar audience.
        block_weights: Weights of a block of the content.
        k: Length of the list judged.
        seed: Seed of the drawn landmarks.

    Examples:
        >>> RidgeConfig(rank=64, ridges=(2.0,)).ridges
        (2.0,)
    """

    rank: int = 512
    content_rank: int = 512
    max_landmarks: int = 4096
    ridges: tuple[float, ...] = (1.0, 2.0, 4.0, 8.0)
    own_shares: tuple[float, ...] = (0.0, 0.5, 1.0)
    powers: tuple[float, ...] = (0.0, 0.5, 1.0)
    spreads: tuple[float, ...] = (0.0, 0.5, 1.0)
    block_weights: tuple[float, ...] = (0.0, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0)
    k: int = 50
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("rank", "content_rank", "max_landmarks", "k"):
            if getattr(self, name) < 1:
                raise ValueError(f"Argument `{name}` must be at least 1. Received: {getattr(self, name)!r}")
        for name in ("ridges", "own_shares", "powers", "spreads", "block_weights"):
            values = tuple(getattr(self, name))  # lists come back from JSON
            object.__setattr__(self, name, values)
            if not values or min(values) < 0 or (name == "ridges" and min(values) == 0):
                least = "above 0" if name == "ridges" else "of at least 0"
                raise ValueError(f"Argument `{name}` must hold numbers {least}. Received: {values!r}")

    def to_dict(self) -> dict[str, Any]:
        """Return plain values that `RidgeConfig(**values)` restores."""
        return asdict(self)
