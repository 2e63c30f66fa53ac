"""Outcomes of targets: how many targeted listeners, and how many set aside, later played and liked the song."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from tfx_pipeline.contract.ids import SONG_ID, USER_ID

TARGETED, HELD_ASIDE = "target", "held_aside"
#: Two-sided 95 % of the normal law.
_Z = 1.959963984540054


@dataclass(frozen=True)
class Share:
    """A share of a group with its 95 % interval (Wilson's score interval, which suits small shares too).

    Attributes:
        count: How many.
        of: Of how many.
        low: Lower end of the interval.
        high: Upper end.
    """

    count: int
    of: int
    low: float
    high: float

    @classmethod
    def at(cls, count: int, of: int) -> Share:
        """Returns the share with its interval.

        Args:
            count: How many.
            of: Of how many; 0 leaves the share open.
        """
        if not of:
            return cls(0, 0, 0.0, 1.0)
        share, square = count / of, _Z * _Z
        middle = (share + square / (2 * of)) / (1 + square / of)
        half = _Z / (1 + square / of) * (share * (1 - share) / of + square / (4 * of * of)) ** 0.5
        return cls(count, of, max(0.0, middle - half), min(1.0, middle + half))

    @property
    def mean(self) -> float:
        """The share itself; 0 of nobody."""
        return self.count / self.of if self.of else 0.0


@dataclass(frozen=True)
class Outcome:
    """What became of one group's targets.

    Attributes:
        group: `target` or `held_aside`.
        songs: Songs with such targets.
        reached: Of the targets, listeners who played anything in these plays: the others could not be won.
        played: Of the targets, those who played the song.
        liked: Of the targets, those who liked it; None where plays have no `liked`.
    """

    group: str
    songs: int
    reached: Share
    played: Share
    liked: Share | None


def outcomes(targets: pa.Table, plays: pa.Table) -> tuple[list[Outcome], pa.Table]:
    """Returns what became of targets, by later plays.

    Args:
        targets: `song_id`, `user_id`, `group`, as `tfx_pipeline.targeting` writes them.
        plays: `user_id`, `song_id`; optional `plays` (rows with 0 are left out) and `liked`.

    Returns:
        An outcome for each group, and a row for each song and group: `song_id`, `group`, `targeted`, `reached`,
        `played`, `liked`.
    """
    if "plays" in plays.column_names:
        plays = plays.filter(pc.greater(pc.fill_null(plays["plays"], 1), 0))
    has_likes = "liked" in plays.column_names
    liked = plays["liked"].cast(pa.int32()) if has_likes else pa.nulls(len(plays), pa.int32())
    pairs = pa.table({USER_ID: plays[USER_ID], SONG_ID: plays[SONG_ID], "liked": pc.fill_null(liked, 0)})
    pairs = _evenly_cut(pairs).group_by([USER_ID, SONG_ID]).aggregate([("liked", "max")])
    pairs = pairs.append_column("played", pa.array([1] * len(pairs), pa.int32()))
    judged = targets.select([SONG_ID, USER_ID, "group"]).join(pairs, [USER_ID, SONG_ID], join_type="left outer")
    reached = pc.is_in(judged[USER_ID], pc.unique(plays[USER_ID]))
    counted = pa.table(
        {
            SONG_ID: judged[SONG_ID],
            "group": judged["group"],
            "targeted": pa.array([1] * len(judged), pa.int64()),
            "reached": pc.cast(reached, pa.int64()),
            "played": pc.cast(pc.fill_null(judged["played"], 0), pa.int64()),
            "liked": pc.cast(pc.fill_null(judged["liked_max"], 0), pa.int64()),
        }
    )
    sums = [(name, "sum") for name in ("targeted", "reached", "played", "liked")]
    songs = _evenly_cut(counted).group_by([SONG_ID, "group"]).aggregate(sums)
    songs = pa.table({name.removesuffix("_sum"): songs[name] for name in songs.column_names})
    songs = songs.select([SONG_ID, "group", "targeted", "reached", "played", "liked"])
    return [_outcome(songs, group, has_likes) for group in (TARGETED, HELD_ASIDE)], songs.sort_by(
        [(SONG_ID, "ascending"), ("group", "ascending")]
    )


def _evenly_cut(table: pa.Table) -> pa.Table:
    """Returns the table with all columns cut into chunks at the same rows: Arrow 10 groups other tables wrongly."""
    return pa.Table.from_batches(table.to_batches(), table.schema)


def _outcome(songs: pa.Table, group: str, has_likes: bool) -> Outcome:
    of_group = songs.filter(pc.equal(songs["group"], group))
    total = {name: pc.sum(of_group[name]).as_py() or 0 for name in ("targeted", "reached", "played", "liked")}
    shares = {name: Share.at(total[name], total["targeted"]) for name in ("reached", "played", "liked")}
    return Outcome(group, len(of_group), shares["reached"], shares["played"], shares["liked"] if has_likes else None)


def as_text(found: Sequence[Outcome]) -> str:
    """Returns the outcomes as a table for people.

    Args:
        found: The outcomes.
    """
    lines = [f"{'':12} {'songs':>6} {'targets':>9}  {'reached':22}  {'played':22}  liked"]
    for outcome in found:
        shares = [outcome.reached, outcome.played, outcome.liked]
        cells = [f"{s.mean:.3f} [{s.low:.3f}, {s.high:.3f}]" if s else "not known" for s in shares]
        lines.append(
            f"{outcome.group:12} {outcome.songs:6d} {outcome.played.of:9,d}  {cells[0]:22}  {cells[1]:22}  {cells[2]}"
        )
    return "\n".join(lines)
