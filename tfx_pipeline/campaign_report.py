"""Yesterday's targets against today's plays: `python -m tfx_pipeline.campaign_report --targets FILE --plays FILE`.

Of the listeners that a song was pushed to, and of those that were set aside at random and were not: how many played it
and how many liked it. The difference of the two is what the push brought.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from tfx_pipeline.runtime.console import import_quietly
from tfx_pipeline.runtime.stopping import stop_on_signals

if __name__ == "__main__":
    stop_on_signals("Nothing was written.")  # before Beam, which takes seconds

import_quietly("apache_beam")

from serving.files.whole_files import write_whole
from tfx_pipeline.contract.plays import read_plays
from tfx_pipeline.contract.source import Source
from tfx_pipeline.targeting import read_targets

TARGETED, HELD_ASIDE = "target", "held_aside"
#: Two-sided 95 % of the normal law.
_Z = 1.959963984540054


@dataclass(frozen=True)
class Share:
    """A share of a group with its 95 % interval (Wilson's score interval, exact enough for small shares)."""

    count: int
    of: int
    low: float
    high: float

    @classmethod
    def at(cls, count: int, of: int) -> Share:
        if not of:
            return cls(0, 0, 0.0, 1.0)
        share, square = count / of, _Z * _Z
        middle = (share + square / (2 * of)) / (1 + square / of)
        half = _Z / (1 + square / of) * (share * (1 - share) / of + square / (4 * of * of)) ** 0.5
        return cls(count, of, max(0.0, middle - half), min(1.0, middle + half))

    @property
    def mean(self) -> float:
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
    """Judges targets by later plays.

    Args:
        targets: `song_id`, `user_id`, `group`, as `tfx_pipeline.targeting` writes them.
        plays: `user_id`, `song_id`; optional `plays` (rows with 0 are left out) and `liked`.

    Returns:
        An outcome per group, and a row per song and group: `song_id`, `group`, `targeted`, `reached`, `played`,
        `liked`.
    """
    if "plays" in plays.column_names:
        plays = plays.filter(pc.greater(pc.fill_null(plays["plays"], 1), 0))
    has_likes = "liked" in plays.column_names
    liked = plays["liked"].cast(pa.int32()) if has_likes else pa.nulls(len(plays), pa.int32())
    pairs = pa.table({"user_id": plays["user_id"], "song_id": plays["song_id"], "liked": pc.fill_null(liked, 0)})
    pairs = _evenly_cut(pairs).group_by(["user_id", "song_id"]).aggregate([("liked", "max")])
    pairs = pairs.append_column("played", pa.array([1] * len(pairs), pa.int32()))
    judged = targets.select(["song_id", "user_id", "group"]).join(pairs, ["user_id", "song_id"], join_type="left outer")
    reached = pc.is_in(judged["user_id"], pc.unique(plays["user_id"]))
    counted = pa.table(
        {
            "song_id": judged["song_id"],
            "group": judged["group"],
            "targeted": pa.array([1] * len(judged), pa.int64()),
            "reached": pc.cast(reached, pa.int64()),
            "played": pc.cast(pc.fill_null(judged["played"], 0), pa.int64()),
            "liked": pc.cast(pc.fill_null(judged["liked_max"], 0), pa.int64()),
        }
    )
    sums = [(name, "sum") for name in ("targeted", "reached", "played", "liked")]
    songs = _evenly_cut(counted).group_by(["song_id", "group"]).aggregate(sums)
    songs = pa.table({name.removesuffix("_sum"): songs[name] for name in songs.column_names})
    songs = songs.select(["song_id", "group", "targeted", "reached", "played", "liked"])
    return [_outcome(songs, group, has_likes) for group in (TARGETED, HELD_ASIDE)], songs.sort_by(
        [("song_id", "ascending"), ("group", "ascending")]
    )


def _evenly_cut(table: pa.Table) -> pa.Table:
    """Returns the table with the chunks of all columns cut at the same rows: Arrow 10 groups no others correctly."""
    return pa.Table.from_batches(table.to_batches(), table.schema)


def _outcome(songs: pa.Table, group: str, has_likes: bool) -> Outcome:
    of_group = songs.filter(pc.equal(songs["group"], group))
    total = {name: pc.sum(of_group[name]).as_py() or 0 for name in ("targeted", "reached", "played", "liked")}
    shares = {name: Share.at(total[name], total["targeted"]) for name in ("reached", "played", "liked")}
    return Outcome(group, len(of_group), shares["reached"], shares["played"], shares["liked"] if has_likes else None)


def as_text(found: Sequence[Outcome]) -> str:
    """Returns the outcomes as a table in plain words."""
    lines = [f"{'':12} {'songs':>6} {'targets':>9}  {'reached':22}  {'played':22}  liked"]
    for outcome in found:
        shares = [outcome.reached, outcome.played, outcome.liked]
        cells = [f"{s.mean:.3f} [{s.low:.3f}, {s.high:.3f}]" if s else "not known" for s in shares]
        lines.append(
            f"{outcome.group:12} {outcome.songs:6d} {outcome.played.of:9,d}  {cells[0]:22}  {cells[1]:22}  {cells[2]}"
        )
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Reports; returns the exit code: 0, or 2 for bad input."""
    parser = argparse.ArgumentParser(
        prog="python -m tfx_pipeline.campaign_report", description=(__doc__ or "").split("\n\n")[1]
    )
    parser.add_argument(
        "--targets", type=Path, required=True, help="targets.parquet of a run, or the folder that targeting wrote"
    )
    parser.add_argument(
        "--plays", type=Path, required=True, help="plays since then: a Parquet file or a folder of them"
    )
    parser.add_argument(
        "--out", type=Path, help="file for the same as JSON, with a row per song (default: not written)"
    )
    options = parser.parse_args(argv)
    try:
        found, songs = outcomes(_read_targets(options.targets), _read_plays(options.plays))
        if options.out:
            report = {"groups": [asdict(o) for o in found], "songs": songs.to_pylist()}
            write_whole(options.out, json.dumps(report, indent=1) + "\n")
    except (ValueError, OSError) as error:  # ContractError is a ValueError
        sys.stderr.write(f"{error}\n")
        return 2
    sys.stdout.write(as_text(found) + "\n")
    return 0


def _read_targets(path: Path) -> pa.Table:
    if path.is_dir():
        return read_targets(str(path))
    source, columns = Source.at(path), ["song_id", "user_id", "group"]
    for name in columns:
        source.check_ids(name)
    schema = pa.schema([(name, pa.string()) for name in columns])
    batches = source.batches(columns)
    parts = [pa.table([rows.column(name).cast(pa.string()) for name in columns], schema=schema) for rows in batches]
    return pa.concat_tables([schema.empty_table(), *parts])


def _read_plays(table: Path) -> pa.Table:
    return read_plays(Source.at(table))


if __name__ == "__main__":
    sys.exit(main())
