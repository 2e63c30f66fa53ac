"""What the cap per listener costs: campaigns of several new songs at once, with and without it."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from benchmarks.targeting_study.judging import Judge
from tfx_pipeline.targeting import TargetingConfig
from tfx_pipeline.targeting.beam import listener_cap, result_tables
from tfx_pipeline.targeting.rules.clustering import one_thread


@dataclass(frozen=True)
class Campaign:
    """What the targets of one run reach.

    Attributes:
        songs: New songs of the run.
        targets: Places given away.
        played: Targets who did play the song.
        listeners: Distinct listeners.
        most: New songs of the listener who gets most.
    """

    songs: int
    targets: int
    played: int
    listeners: int
    most: int


def campaigns(judge: Judge, config: TargetingConfig, sizes: Sequence[int]) -> Iterator[tuple[int, Campaign, Campaign]]:
    """Yields (songs per run, without the cap, with it); all judged songs come once for each size.

    Args:
        judge: Held-out songs and who played them.
        config: With the cap to look at and a number as `count_weight`.
        sizes: Songs per run.
    """
    candidates = candidate_tables(judge, config)
    for size in sizes:
        order = np.random.default_rng(size).permutation(len(candidates))
        for first in range(0, len(order) - size + 1, size):
            run = pa.concat_tables([candidates[place] for place in order[first : first + size]])
            free = result_tables.rank_within_songs(run, config.listeners_per_song)
            yield size, _count(judge, free, size), _count(judge, capped(run, config), size)


def candidate_tables(judge: Judge, config: TargetingConfig) -> list[pa.Table]:
    """Returns the candidates of every judged song, as the step has them before the cap."""
    with one_thread():
        shard = judge.shard(config)
        return [result_tables.candidates_table(shard, song, config) for song in judge.candidates(config)]


def capped(candidates: pa.Table, config: TargetingConfig) -> pa.Table:
    """Returns what the step's deferred acceptance makes of one shard of candidates, with its own functions."""
    table = candidates
    for _ in range(listener_cap.ROUNDS):
        refusals = _answers(table, config, accepted=False)
        ((_, table),) = listener_cap.without_refused((0, {"candidates": [table], "refusals": refusals}))
    return result_tables.rank_within_songs(
        pa.concat_tables(_answers(table, config, accepted=True)), config.listeners_per_song
    )


def speed(songs: int = 3_000, listeners: int = 20_000, config: TargetingConfig | None = None) -> dict[str, Any]:
    """Returns the CPU seconds of the cap on candidates drawn at random."""
    config = config or TargetingConfig(cap=5)
    rng = np.random.default_rng(0)
    parts = []
    for song in range(songs):
        drawn = np.sort(rng.choice(listeners, config.depth, replace=False))
        score = np.sort(rng.random(config.depth).astype(np.float32))[::-1]
        parts.append(_drawn(f"song{song}", drawn, score))
    table = pa.concat_tables(parts)
    start = time.process_time()
    left = capped(table, config)
    seconds = time.process_time() - start
    return {"songs": songs, "candidates": table.num_rows, "targets": left.num_rows, "cpu seconds": seconds}


def _drawn(song: str, users: np.ndarray, score: np.ndarray) -> pa.Table:
    rows = len(users)
    empty: list[list[str]] = [[]] * rows
    columns = {
        "rank": np.arange(1, rows + 1, dtype=np.int32),
        "user_id": pa.array([f"user{user}" for user in users]),
        "score": score,
        "reason_song_ids": pa.array(empty, pa.list_(pa.string())),
        "reason_scores": pa.array(empty, pa.list_(pa.float32())),
        "cluster": np.full(rows, -1, np.int32),
        "part_vector": score,
        "part_count": score,
    }
    return result_tables.targets_table(song, "new", "hybrid", columns)


def _answers(table: pa.Table, config: TargetingConfig, *, accepted: bool) -> list[pa.Table]:
    by_shard: dict[int, list[tuple[int, pa.Table]]] = defaultdict(list)
    for shard, part in listener_cap.by_listener((0, table), 1, config):
        by_shard[shard].append(part)
    answer = listener_cap.Answer(config.cap, accepted=accepted)
    return [found for element in by_shard.items() for _, found in answer.process(element)]


def _count(judge: Judge, targets: pa.Table, songs: int) -> Campaign:
    of_listeners = targets["user_id"].value_counts().field("counts")
    return Campaign(
        songs, targets.num_rows, judge.played(targets), len(of_listeners), pc.max(of_listeners).as_py() or 0
    )


def total(parts: Sequence[Campaign]) -> Campaign:
    """Returns sums over runs, and the largest `most`."""
    sums = {name: sum(getattr(part, name) for part in parts) for name in ("songs", "targets", "played", "listeners")}
    return replace(parts[0], **sums, most=max(part.most for part in parts))


def table_of(title: str, found: dict[int, tuple[list[Campaign], list[Campaign]]], most: int) -> str:
    """Returns the figures as Markdown, a row for each number of songs per run."""
    head = ["songs per run", "runs", "players found of 100 targets", "with the cap", "players kept"]
    head += ["places filled", "listeners reached", "with the cap", "most songs of one listener"]
    lines = [f"### {title}, at most {most} songs per listener and run", "", f"| {' | '.join(head)} |"]
    lines.append("|" + " --- |" * len(head))
    for size, (free, with_cap) in found.items():
        before, after, runs = total(free), total(with_cap), len(free)
        share = 100 * np.array([part.played for part in with_cap]).sum() / max(1, before.played)
        cells = [f"{size}", f"{runs}", f"{before.played / before.songs:.2f}", f"{after.played / after.songs:.2f}"]
        cells += [f"{share:.1f} %", f"{100 * after.targets / max(1, before.targets):.0f} %"]
        cells += [f"{before.listeners / runs:.0f}", f"{after.listeners / runs:.0f}", f"{before.most}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"
