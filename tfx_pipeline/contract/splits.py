"""Which songs are new and which are held out: a salted hash of their ids, so that neither order nor machine matters."""

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
#: Songs that are matched: new ones, and those whose plays are hidden to judge the model by.
COLD_SPLITS = (VALIDATION, TEST, NEW)
#: How often other songs are held out, and how the time of the year is written that says which.
_PERIODS = {"none": "", "month": "%Y-%m", "week": "%G-W%V"}


@dataclass(frozen=True)
class ColdSplit:
    """The rule that puts a song into a split.

    new: fewer than `min_listeners` listeners, often none. It is matched and gets target listeners. It is in no index,
    and its plays, if it has some, are learnt from. warm: has enough listeners to be retrieved, so it is in the index.
    val, test: as popular as warm songs, but their plays are hidden, to choose settings and to judge the model by.

    Args:
        salt: Changes which songs are held out. It may be a date.
        rotate: Whether other songs are held out each month, or each week from Monday on, so that no song is kept from
            learning for ever. Times are UTC.
        period: The month or the week, as 2026-11 or 2026-W48. It is that in which the rule is made where it is not
            given: within it the same songs are held out, and the cache holds. Give it to repeat an earlier run.
        validation_share: Share of the songs held out for choices.
        test_share: Share of the songs held out for the report.
        min_listeners: Distinct listeners from which on a song is warm, val or test, and no longer new.
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
        """With which `unit_hash` draws the songs that are held out."""
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
