"""Which songs are new and which are held out: a salted hash of their ids, so that neither order nor machine matters."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

WARM = "warm"
VALIDATION = "val"
TEST = "test"
NEW = "new"
#: Every song is in exactly one of these.
SPLITS = (WARM, VALIDATION, TEST, NEW)
#: Songs that are matched: new ones, and those whose plays are hidden to judge the model by.
COLD_SPLITS = (VALIDATION, TEST, NEW)


@dataclass(frozen=True)
class ColdSplit:
    """The rule that puts a song into a split.

    new: fewer than `min_listeners` listeners, often none. It is matched and gets target listeners. It is in no index,
    and its plays, if it has some, are learnt from. warm: has enough listeners to be retrieved, so it is in the index.
    val, test: as popular as warm songs, but their plays are hidden, to choose settings and to judge the model by.

    Args:
        salt: Changes which songs are held out.
        validation_share: Share of the songs held out for choices.
        test_share: Share of the songs held out for the report.
        min_listeners: Distinct listeners from which on a song is warm, val or test, and no longer new.
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
        if listeners < self.min_listeners:
            return NEW
        draw = unit_hash(song_id, self.salt)
        if draw < self.validation_share:
            return VALIDATION
        return TEST if draw < self.validation_share + self.test_share else WARM


def unit_hash(key: bytes, salt: str) -> float:
    """Returns a number in [0, 1) that depends on `salt` and `key` alone, uniform over keys."""
    digest = hashlib.blake2b(key, digest_size=8, key=salt.encode()[:64]).digest()
    return (int.from_bytes(digest, "big") >> 11) / 2**53
