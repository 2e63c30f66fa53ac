"""`python -m tfx_pipeline.datasets.simulate --songs N --users M --plays P --seed S OUT`: a catalogue with known truth.

Writes songs.parquet and plays.parquet in the input contract, and truth.npz beside them:
- `song_taste` (N, d), `user_taste` (M, d): latent vectors; row i is song or user i. `song_cluster`, `song_weight`
  (popularity, 0 = released after the last play), `song_released` (0..1), `user_activity`, `stations` (s, d).
- `fields` (F), and for each field `strength` (share of its scores' variance that taste explains) and `group`.
- `field_correlation` (periods, F, F), `taste_correlation` (periods, F): distance correlations of complete values by
  release period, whose limits are `period_edges`; `groups` and `group_share` (periods, groups): share of the rest of
  the variance that a group's fields have in common.
- `settings`: JSON.
Plays are drawn and written in blocks, so that memory does not grow with P.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.parquet as pq

from tfx_pipeline.contract.folder import check_replaceable, new_folder
from tfx_pipeline.runtime.console import import_quietly

if TYPE_CHECKING:
    from tfx_pipeline.datasets.simulation.plays import Users
    from tfx_pipeline.datasets.simulation.world import Array, World
from tfx_pipeline.runtime.stopping import stop_on_signals

TRUTH = "truth.npz"
_SMALLEST = {"songs": 50, "users": 2, "plays": 2, "seed": 0}
Progress = Callable[[int, int], None]


def simulate(
    out: Path | str, *, songs: int, users: int, plays: int, seed: int = 0, progress: Progress | None = None
) -> None:
    """Writes a simulated catalogue to the folder `out`, whole or not at all. The same arguments give the same bytes.

    Args:
        out: The folder: new, empty, or written by an earlier simulation.
        songs: Number of songs, at least 50.
        users: Number of users, at least 2.
        plays: Rows of plays.parquet, each another pair of user and song; at least one for each user.
        seed: Seed of all draws, from 0 to 2^31 - 1. Defaults to 0.
        progress: Called with (plays written, plays in all). Defaults to nothing.

    Raises:
        ValueError: An argument is out of range.
        ContractError: `out` holds something else.
    """
    check_arguments(songs=songs, users=users, plays=plays, seed=seed)
    check_replaceable(Path(out), TRUTH)
    # TensorFlow takes seconds to import, so the arguments are checked first.
    import_quietly("tensorflow")
    from tfx_pipeline.datasets.simulation.world import Settings, draw_world

    world = draw_world(Settings(), seed)
    with new_folder(Path(out), TRUTH) as aside:
        found = _write_songs(aside / "songs.parquet", world, songs, seed)
        drawn = _write_plays(aside / "plays.parquet", world, found, users, plays, seed, progress)
        _write_truth(aside / TRUTH, world, found, drawn, {"songs": songs, "users": users, "plays": plays, "seed": seed})


def check_arguments(**given: int) -> None:
    """Raises ValueError unless songs, users, plays and seed are in range."""
    for name, value in given.items():
        if value < _SMALLEST[name]:
            raise ValueError(f"`{name}` must be at least {_SMALLEST[name]}. Received: {value}.")
        if value >= 2**31:
            raise ValueError(f"`{name}` must be less than 2^31. Received: {value}.")
    if given["plays"] < given["users"]:
        raise ValueError(f"`plays` must be at least `users`, {given['users']}. Received: {given['plays']}.")


def _write_songs(path: Path, world: World, count: int, seed: int) -> dict[str, Array]:
    """Writes songs.parquet and returns the truth about the songs."""
    from tfx_pipeline.datasets.simulation.songs import draw_songs
    from tfx_pipeline.datasets.simulation.truth import TruthSample

    sample, writer = TruthSample(world), None
    parts: dict[str, list[Array]] = {name: [] for name in ("taste", "cluster", "weight", "released")}
    for block in draw_songs(world, count, seed):
        writer = writer or pq.ParquetWriter(path, block.table.schema)
        writer.write_table(block.table)
        sample.add(block)
        for name, arrays in parts.items():
            arrays.append(getattr(block, name))
    if writer:
        writer.close()
    truth = {f"song_{name}": np.concatenate(arrays) for name, arrays in parts.items()}
    truth["field_correlation"], truth["taste_correlation"] = sample.matrices()
    truth["group_share"] = sample.group_share()
    return truth


def _write_plays(
    path: Path, world: World, songs: dict[str, Array], users: int, plays: int, seed: int, progress: Progress | None
) -> Users:
    """Writes plays.parquet and returns the users."""
    from tfx_pipeline.datasets.simulation.plays import PlayLaw, draw_users

    most = max(1, int((songs["song_weight"] > 0).sum()) // 2)
    if plays > users * most:
        limit = f"{users * most} ({users} users, at most half of the played songs, {most}, each)"
        raise ValueError(f"`plays` must be at most {limit}. Received: {plays}.")
    drawn = draw_users(world, users, plays, most, seed)
    law = PlayLaw(world, drawn, songs["song_taste"], songs["song_weight"], songs["song_released"])
    writer, done = None, 0
    for table in law.draw(seed):
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table)
        done += table.num_rows
        if progress:
            progress(done, plays)
    if writer:
        writer.close()
    return drawn


def _write_truth(path: Path, world: World, songs: dict[str, Any], users: Users, arguments: dict[str, int]) -> None:
    from tfx_pipeline.datasets.simulation.world import FIELDS, GROUPS

    np.savez(
        path,
        **songs,
        user_taste=users.taste,
        user_activity=users.activity,
        stations=world.stations,
        fields=np.array([model.field.name for model in FIELDS]),
        strength=np.array([model.strength for model in FIELDS]),
        group=np.array([model.group or "" for model in FIELDS]),
        groups=np.array(GROUPS),
        period_edges=np.linspace(0, 1, world.settings.periods + 1),
        settings=np.array(json.dumps({**asdict(world.settings), **arguments}, sort_keys=True)),
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Simulates a catalogue; returns 0, or 2 with one message on standard error."""
    parser = argparse.ArgumentParser(
        prog="python -m tfx_pipeline.datasets.simulate",
        description="Write a simulated catalogue: songs.parquet, plays.parquet and the truth behind them.",
    )
    parser.add_argument("--songs", type=int, default=3_000, help="number of songs (default: %(default)s)")
    parser.add_argument("--users", type=int, default=1_500, help="number of users (default: %(default)s)")
    parser.add_argument(
        "--plays", type=int, default=120_000, help="number of pairs of user and song played (default: %(default)s)"
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="number from which everything is drawn (default: %(default)s)"
    )
    parser.add_argument("out", help="folder to write: new, empty, or an earlier simulation")
    options = parser.parse_args(arguments)
    # TensorFlow reads these when it is imported. Its messages about the machine are of no use here.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
    warnings.simplefilter("ignore", FutureWarning)
    try:
        counts = {"songs": options.songs, "users": options.users, "plays": options.plays}
        with _Bar(options.plays) as bar:
            simulate(options.out, **counts, seed=options.seed, progress=bar)
    except (ValueError, OSError) as error:  # ContractError is a ValueError
        sys.stderr.write(f"{error}\n")
        return 2
    shown = ", ".join(f"{value:,} {name}" for name, value in counts.items())
    sys.stdout.write(f"{options.out}: {shown}; the truth is in {TRUTH}.\n")
    return 0


class _Bar:
    """A progress bar on a terminal, a line for each tenth elsewhere."""

    def __init__(self, total: int):
        self._total, self._tenth = total, 0
        self._bar: Any = None

    def __enter__(self) -> _Bar:
        return self

    def __call__(self, done: int, total: int) -> None:
        if sys.stderr.isatty():
            self._show(done)
        elif done * 10 // total > self._tenth:
            self._tenth = done * 10 // total
            sys.stdout.write(f"plays: {done:,} of {total:,}\n")

    def _show(self, done: int) -> None:
        from tqdm import tqdm

        self._bar = self._bar or tqdm(total=self._total, desc="plays", unit="", unit_scale=True)
        self._bar.update(done - self._bar.n)

    def __exit__(self, *error: Any) -> None:
        if self._bar is not None:
            self._bar.close()


if __name__ == "__main__":
    stop_on_signals("Nothing was written.")
    sys.exit(main())
