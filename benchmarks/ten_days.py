"""A music service over ten days: songs come out, are pushed before anybody has played them, and get their plays.

python -m benchmarks.ten_days --out DIR [--songs 900 --users 500 --plays 90000 --days 10 --window 8 --seed 0]

A simulated catalogue is cut by its timestamps into spans of equally many plays. Each day the pipeline trains on the
plays of a window of spans, pushes if the gates agree, and targets every cold song; the plays of the next day show
who of the targeted listeners played. They are compared with all listeners of that day. Writes days.json and days.png. A
study that was stopped continues where it stopped.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from serving.files.whole_files import put_folder, write_whole
from tfx_pipeline.runtime.keras_backend import use_tensorflow

#: Options: name, default, what it is.
_NUMBERS = (
    ("songs", 900, "number of songs"),
    ("users", 500, "number of users"),
    ("plays", 90_000, "number of pairs of user and song played"),
    ("days", 10, "number of days"),
    ("window", 8, "number of days whose plays train the model"),
    ("seed", 0, "number from which the catalogue is drawn"),
)


def cut_into_spans(catalogue: Path, out: Path, count: int) -> None:
    """Writes `span-1` to `span-<count>` with equally many plays, in the order of time.

    A song is delivered in the span before the one in which it is released or first played, whichever is earlier.
    """
    songs, plays = (pq.read_table(catalogue / f"{name}.parquet") for name in ("songs", "plays"))
    when = plays["timestamp"].to_numpy().astype("datetime64[ms]")
    ends = np.quantile(when.astype(np.int64), np.arange(1, count) / count)
    of_play = np.searchsorted(ends, when.astype(np.int64), side="left")
    released = songs["released"].to_numpy().astype("datetime64[ms]").astype(np.int64)
    of_song = np.searchsorted(ends, released, side="left")
    place = {song: row for row, song in enumerate(songs["song_id"].to_pylist())}
    np.minimum.at(of_song, [place[song] for song in plays["song_id"].to_pylist()], of_play)
    of_song = np.maximum(of_song - 1, 0)
    for span in range(count):
        folder = out / f"span-{span + 1}"
        folder.mkdir(parents=True, exist_ok=True)
        pq.write_table(songs.filter(pa.array(of_song == span)), folder / "songs.parquet")
        pq.write_table(plays.filter(pa.array(of_play == span)), folder / "plays.parquet")


def run_day(home: Path, day: int, window: int) -> dict[str, Any]:
    """Trains, pushes and targets on `day`, then judges the targets by the plays of the day after.

    The first day is the last span of the first window.
    """
    from tfx_pipeline import contract
    from tfx_pipeline.config import PipelineConfig
    from tfx_pipeline.history.run_record import RunRecord
    from tfx_pipeline.history.run_records import RunRecords
    from tfx_pipeline.local_run.pipeline_run import run
    from tfx_pipeline.runtime.run_folder import RunFolder
    from tfx_pipeline.targeting import read_summary, read_targets

    folder, default = RunFolder.at(home / "run"), PipelineConfig()
    span = window - 1 + day
    catalogue = contract.prepare(home / "days", folder.input, window=window, until=span)
    # A hundred listeners would be a fifth of all.
    config = replace(default, targeting=replace(default.targeting, listeners_per_song=20))
    try:
        run(folder, catalogue.fields, config)
    except Exception as error:
        return {"day": day, "stopped": str(error).strip().splitlines()[0]}
    record = RunRecord.latest(RunRecords.of(folder))
    report = json.loads((record.uri("RetrievalEvaluator", "evaluation") / "report.json").read_text())
    found: dict[str, Any] = {
        "day": day,
        "songs": catalogue.num_songs,
        "pushed": bool(record.number("Pusher", "pushed_model", "pushed")),
        "refused because": report["refused_because"],
        "recall@50": {row: report["test"]["rows"][row]["recall@50"] for row in ("model", "content cosine", "random")},
    }
    if not record.number("AudienceTargeter", "targets", "targeted"):
        return found
    uri = str(record.uri("AudienceTargeter", "targets"))
    return found | {"outcome": _outcome(home / "days", span + 1, read_targets(uri), read_summary(uri))}


def _outcome(days: Path, span: int, targets: pa.Table, summary: pa.Table) -> dict[str, float]:
    """Of the targets for new songs: the share that played them a day later, and the same of anybody."""
    later = pq.read_table(days / f"span-{span}" / "plays.parquet")
    fresh = {
        song
        for song, split in zip(summary["song_id"].to_pylist(), summary["split"].to_pylist(), strict=True)
        if split == "new"
    }
    played = set(zip(later["user_id"].to_pylist(), later["song_id"].to_pylist(), strict=True))
    there = set(later["user_id"].to_pylist())
    pairs = zip(targets["user_id"].to_pylist(), targets["song_id"].to_pylist(), strict=True)
    reached = [(user, song) for user, song in pairs if song in fresh and user in there]
    anybody = sum(song in fresh for _, song in played) / max(1, len(fresh) * len(there))
    hits = sum(pair in played for pair in reached)
    return {
        "new songs": len(fresh),
        "reached": len(reached),
        "played": hits,
        "share": hits / max(1, len(reached)),
        "share of anybody": anybody,
    }


def draw(found: list[dict[str, Any]], file: Path) -> None:
    """Draws recall, the catalogue and what became of the targets, day by day."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.ticker import MaxNLocator

    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(13, 3.6), layout="constrained")
    ran = [day for day in found if "stopped" not in day]
    days = [day["day"] for day in ran]
    for row, colour in (("model", "tab:blue"), ("content cosine", "tab:orange"), ("random", "grey")):
        estimates = [day["recall@50"][row] for day in ran]
        left.plot(days, [e["mean"] for e in estimates], color=colour, label=row)
        left.fill_between(days, [e["low"] for e in estimates], [e["high"] for e in estimates], color=colour, alpha=0.15)
    left.set(title="recall@50 on held-out songs", xlabel="day", ylim=(0, None))
    left.legend(loc="center right")
    middle.plot(days, [day["songs"] for day in ran], color="tab:green", label="songs known")
    for day in ran:
        middle.axvline(day["day"], color="tab:green" if day["pushed"] else "tab:red", alpha=0.3, linestyle=":")
    middle.set(title="catalogue (green line: pushed; red: refused)", xlabel="day", ylim=(0, None))
    judged = [day for day in ran if "outcome" in day]
    for name, label in (("share", "targeted listeners"), ("share of anybody", "any listener")):
        right.plot([day["day"] for day in judged], [100 * day["outcome"][name] for day in judged], "o-", label=label)
    right.set(title="played a new song the day after, %", xlabel="day", ylim=(0, None))
    right.legend()
    for axis in (left, middle, right):
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.savefig(file, dpi=110)
    plt.close(figure)


def main(arguments: list[str]) -> int:
    """Runs the days."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.ten_days",
        description=(__doc__ or "").split("\n\n")[0],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    for name, default, meaning in _NUMBERS:
        parser.add_argument(f"--{name}", type=int, default=default, help=f"{meaning} (default: %(default)s)")
    parser.add_argument(
        "--out", type=Path, default=Path("runs/ten_days"), help="folder for all that is written (default: %(default)s)"
    )
    options = parser.parse_args(arguments)
    home = options.out.resolve()
    use_tensorflow()
    if not (home / "days").exists():
        from tfx_pipeline.datasets.simulate import simulate

        counts = {name: getattr(options, name) for name in ("songs", "users", "plays", "seed")}
        simulate(home / "catalogue", **counts)
        aside = home / ".days"
        cut_into_spans(home / "catalogue", aside, options.window + options.days)
        put_folder(aside, home / "days")
    kept = home / "days.json"
    found = json.loads(kept.read_text()) if kept.exists() else []
    from tfx_pipeline.runtime.console import Console

    console = Console()
    for day in range(len(found) + 1, options.days + 1):
        with console.output_to_log(home / "run.log"):
            found.append(run_day(home, day, options.window))
        console.say(json.dumps(found[-1]))
        draw(found, home / "days.png")
        write_whole(kept, json.dumps(found, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
