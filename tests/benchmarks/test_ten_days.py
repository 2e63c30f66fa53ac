"""Days cut from a simulated catalogue: nothing is lost, and time runs forward."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.ten_days import _outcome, cut_into_spans, draw
from tfx_pipeline.contract import check
from tfx_pipeline.contract.spans import find_spans
from tfx_pipeline.datasets.simulate import simulate


def test_days_partition_plays_and_songs_in_time(tmp_path: Path) -> None:
    simulate(tmp_path / "catalogue", songs=120, users=60, plays=1_500, seed=4)
    cut_into_spans(tmp_path / "catalogue", tmp_path / "days", 6)
    spans = find_spans(tmp_path / "days")
    assert [span.number for span in spans] == list(range(1, 7))
    plays = [pq.read_table(span.folder / "plays.parquet") for span in spans]
    assert sum(map(len, plays)) == 1_500 and all(abs(len(part) - 250) <= 1 for part in plays)
    for earlier, later in pairwise(plays):
        assert pc.max(earlier["timestamp"]).as_py() <= pc.min(later["timestamp"]).as_py()
    came = {
        song: span.number
        for span in spans
        for song in pq.read_table(span.folder / "songs.parquet")["song_id"].to_pylist()
    }
    assert len(came) == 120
    for span, part in zip(spans, plays, strict=True):  # there before it is played
        assert all(came[song] < max(2, span.number) for song in part["song_id"].to_pylist())
    assert check(tmp_path / "days").num_plays == 1_500


def test_outcomes_count_new_songs_and_listeners_who_were_there(tmp_path: Path) -> None:
    folder = tmp_path / "span-3"
    folder.mkdir()
    pq.write_table(pa.table({"user_id": ["u", "v", "w"], "song_id": ["a", "b", "a"]}), folder / "plays.parquet")
    targets = pa.table({"user_id": ["u", "v", "x", "u"], "song_id": ["a", "a", "a", "b"]})
    summary = pa.table({"song_id": ["a", "b"], "split": ["new", "val"]})
    outcome = _outcome(tmp_path, 3, targets, summary)
    assert outcome == {"new songs": 1, "reached": 2, "played": 1, "share": 0.5, "share of anybody": 2 / 3}
    estimate = {"mean": 0.5, "low": 0.4, "high": 0.6}
    rows = {"model": estimate, "content cosine": estimate, "random": estimate}
    found = [
        {"day": 1, "songs": 9, "pushed": True, "recall@50": rows, "outcome": outcome},
        {"day": 2, "stopped": "drift"},
    ]
    draw(found, tmp_path / "days.png")
    assert (tmp_path / "days.png").stat().st_size > 5_000
