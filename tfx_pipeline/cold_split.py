"""Which songs are held out as cold: a salted hash of the song id, so that neither order nor machine changes it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

WARM = "warm"
VALIDATION = "val"
TEST = "test"
SPARSE = "sparse"
NEW = "new"
#: Every song is in exactly one of these.
SPLITS = (WARM, VALIDATION, TEST, SPARSE, NEW)
#: Songs whose plays are hidden from training, or that have none: those that get target listeners.
COLD_SPLITS = (VALIDATION, TEST, NEW)


@dataclass(frozen=True)
class ColdSplit:
    """The rule that puts a song into a split.

    warm: known to training and in the index. val, test: as popular as warm songs, but their plays are hidden. sparse:
    fewer than `min_listeners` listeners, too few to be retrieved or to judge by, but learnt from. new: no plays at all.

    Args:
        salt: Changes which songs are held out.
        validation_share: Share of the songs held out for choices.
        test_share: Share of the songs held out for the report.
        min_listeners: Least number of distinct listeners of a warm, val or test song.
    """

    salt: str = "bcl"
    validation_share: float = 0.1
    test_share: float = 0.1
    min_listeners: int = 3

    def __post_init__(self) -> None:
        shares = self.validation_share, self.test_share
        if min(shares) < 0 or sum(shares) >= 1:
            raise ValueError(
                "`validation_share` and `test_share` must be at least 0 and sum to less than 1. "
                f"Received: validation_share={self.validation_share}, test_share={self.test_share}"
            )
        if self.min_listeners < 1:
            raise ValueError(f"`min_listeners` must be at least 1. Received: {self.min_listeners}")

    def assign(self, song_id: bytes, listeners: int) -> str:
        """Returns the split of the song with utf-8 id `song_id` and `listeners` distinct listeners."""
        if listeners == 0:
            return NEW
        if listeners < self.min_listeners:
            return SPARSE
        draw = unit_hash(song_id, self.salt)
        if draw < self.validation_share:
            return VALIDATION
        return TEST if draw < self.validation_share + self.test_share else WARM


def unit_hash(key: bytes, salt: str) -> float:
    """Returns a number in [0, 1) that depends on `salt` and `key` alone, uniform over keys."""
    digest = hashlib.blake2b(key, digest_size=8, key=salt.encode()[:64]).digest()
    return (int.from_bytes(digest, "big") >> 11) / 2**53
