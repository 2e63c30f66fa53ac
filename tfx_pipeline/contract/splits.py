"""Decides which songs are new and which are held out, by a salted hash of their ids on every machine alike."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import Literal

WARM = "warm"
VALIDATION = "val"
TEST = "test"
NEW = "new"
#: Every song is in exactly one of these.
SPLITS = (WARM, VALIDATION, TEST, NEW)
#: Songs that are matched: new ones, and those whose plays are hidden to judge the model.
COLD_SPLITS = (VALIDATION, TEST, NEW)
#: How often other songs are held out, and how the name of such a period is written.
_PERIODS = {"none": "", "month": "%Y-%m", "week": "%G-W%V"}


@dataclass(frozen=True)
class ColdSplit:
    """The rule that puts a song into a split.

    A new song has fewer than `min_listeners` listeners, often none. It is matched and gets target listeners. It is in
    no index, and training uses its plays if it has some. A warm song has enough listeners, so it is in the index. The
    songs of val and test are as popular as warm ones, but their plays are hidden: to choose settings, and to judge the
    model.

    Args:
        salt: Changes which songs are held out. It may be a date.
        rotate: Whether other songs are held out each month, or each week from Monday on. Then no song is kept from
            training for ever. Times are UTC.
        period: The month or the week, as 2026-11 or 2026-W48. Within it the same songs are held out, and the cache
            holds. Defaults to the current one. Give it to repeat an earlier run.
        validation_share: Share of the songs that are held out to choose settings.
        test_share: Share of the songs that are held out for the report.
        min_listeners: Least number of distinct listeners of a song that is not new.
    """

    salt: str = "bcl"
    validation_share: float = 0.1
    test_share: float = 0.1
    min_listeners: int = 3
    rotate: Literal["none", "month", "week"] = "none"
    period: str = ""

    def __post_init__(self) -> None:
        if self.rotate not in _PERIODS:
            raise ValueError(f"`rotate` must be one of {list(_PERIODS)}. Received: {self.rotate!r}")
        if self.rotate != "none" and not self.period:
            object.__setattr__(self, "period", datetime.now(timezone.utc).strftime(_PERIODS[self.rotate]))
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
        draw = unit_hash(song_id, self.salt_in_use)
        if draw < self.validation_share:
            return VALIDATION
        return TEST if draw < self.validation_share + self.test_share else WARM

    @property
    def salt_in_use(self) -> str:
        """The salt that `unit_hash` draws the held-out songs with."""
        return f"{self.period} {self.salt}" if self.period else self.salt

    def without_held_out(self) -> ColdSplit:
        """Returns the rule that holds no song out: what is not new is warm."""
        return replace(self, validation_share=0.0, test_share=0.0, rotate="none", period="")

    def holds_out_as(self, other: ColdSplit) -> bool:
        """Returns whether both rules hold out the same of the songs that have enough listeners."""
        names = ("salt_in_use", "validation_share", "test_share")
        return all(getattr(self, name) == getattr(other, name) for name in names)


def unit_hash(key: bytes, salt: str) -> float:
    """Returns a number in [0, 1) that depends on `salt` and `key` alone, uniform over keys."""
    digest = hashlib.blake2b(key, digest_size=8, key=salt.encode()[:64]).digest()
    return (int.from_bytes(digest, "big") >> 11) / 2**53
