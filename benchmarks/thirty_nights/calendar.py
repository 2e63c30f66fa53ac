"""What happens on each of the nights."""

from __future__ import annotations

from dataclasses import dataclass

NIGHTS = 30

ORDINARY = "new songs, new plays"
NO_PLAYS = "new songs, no plays"
NOTHING_NEW = "nothing new"
BROKEN_FILE = "plays.parquet cut short"
COLUMN_GONE = "a column of songs is gone"
AS_BEFORE = "data of two nights ago"
KILLED = "kill -9 after "
FORGET = "a listener is forgotten"
ROLLBACK = "back to the model before, nothing new"

#: Nights that are not ordinary.
_SPECIAL = {
    5: NO_PLAYS,
    8: NOTHING_NEW,
    11: BROKEN_FILE,
    14: KILLED + "Trainer",
    17: COLUMN_GONE,
    20: AS_BEFORE,
    23: KILLED + "Pusher",
    26: FORGET,
    28: ROLLBACK,
}
_SAME_DATA = (NOTHING_NEW, ROLLBACK)
#: Exit codes of `tfx_pipeline.run`, and of a process that SIGKILL ended.
_EXIT_CODES = {BROKEN_FILE: 2, COLUMN_GONE: 3}


@dataclass(frozen=True)
class Night:
    """One night.

    Attributes:
        number: 1 for the first.
        what: What happens.
        day: Until which day the data reaches that the night reads.
    """

    number: int
    what: str
    day: int

    @property
    def killed_after(self) -> str | None:
        """Component after which the run is killed."""
        return self.what[len(KILLED) :] if self.what.startswith(KILLED) else None

    @property
    def exit_code(self) -> int:
        """Exit code that the documentation promises."""
        return -9 if self.killed_after else _EXIT_CODES.get(self.what, 0)

    @property
    def pushes(self) -> bool:
        """Whether a model is to be pushed that was not served the night before."""
        return (self.exit_code == 0 and self.what not in _SAME_DATA) or self.killed_after == "Pusher"


def night(number: int) -> Night:
    """Returns the plan of a night."""
    what = _SPECIAL.get(number, ORDINARY)
    if what in _SAME_DATA:
        return Night(number, what, number - 1)
    return Night(number, what, number - 2 if what == AS_BEFORE else number)


def is_quiet(day: int) -> bool:
    """Returns whether nobody plays anything on a day."""
    return _SPECIAL.get(day) == NO_PLAYS
