"""What a small run leaves, written by hand in the formats of its components."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tfx_pipeline import contract
from tfx_pipeline.outputs.run_result import RunResult
from tfx_pipeline.runtime.run_folder import RunFolder

SETTINGS = {"model": {"epochs": 2}}
USERS = ("listener-a", "listener-\u00e9", "listener c")

# The components' own schemas, written out, so that a change of theirs is noticed.
_TARGETS = {
    "song_id": pa.string(),
    "split": pa.string(),
    "rank": pa.int32(),
    "user_id": pa.string(),
    "score": pa.float32(),
    "rule": pa.string(),
    "group": pa.string(),
    "reason_song_ids": pa.list_(pa.string()),
    "reason_scores": pa.list_(pa.float32()),
    "cluster": pa.int32(),
    "part_vector": pa.float32(),
    "part_count": pa.float32(),
}
_WHOLE = ("targets", "held_aside", "matches_given", "matches_bad", "matches_kept", "matches_used")
_SUMMARY = {
    **dict.fromkeys(("song_id", "split", "status"), pa.string()),
    **dict.fromkeys(_WHOLE, pa.int32()),
    "audience": pa.int64(),
    "sampled": pa.bool_(),
    **dict.fromkeys(("scored", "excluded", "without_vector", "clusters"), pa.int32()),
}
_MATCHES = {
    "song_id": pa.string(),
    "split": pa.string(),
    "match_ids": pa.list_(pa.string()),
    "match_scores": pa.list_(pa.float32()),
    "match_shares": pa.list_(pa.list_(pa.float32())),
    "share_names": pa.list_(pa.string()),
    "known_fields": pa.int32(),
    "evidence": pa.list_(pa.float32()),
    "evidence_names": pa.list_(pa.string()),
    "match_chances": pa.list_(pa.float32()),
    "match_chances_low": pa.list_(pa.float32()),
    "match_chances_high": pa.list_(pa.float32()),
}
_EMBEDDINGS = {
    "song_id": pa.string(),
    "split": pa.string(),
    "embedding": pa.list_(pa.float32()),
    "candidate_embedding": pa.list_(pa.float32()),
}


def write_part(file: Path, columns: dict[str, pa.DataType], rows: list[dict]) -> Path:
    """Writes a part; what a row does not name is 0, "" or False, and a list null."""
    file.parent.mkdir(parents=True, exist_ok=True)
    empty = {"string": "", "bool": False, "float": 0.0}

    def nothing(kind: pa.DataType) -> object:
        return None if pa.types.is_list(kind) else empty.get(str(kind), 0)

    filled = [{name: row.get(name, nothing(kind)) for name, kind in columns.items()} for row in rows]
    pq.write_table(pa.Table.from_pylist(filled, pa.schema(list(columns.items()))), file)
    return file


def write_targets(file: Path, rows: list[dict]) -> Path:
    return write_part(file, _TARGETS, rows)


def write_matches(file: Path, rows: list[dict]) -> Path:
    return write_part(file, _MATCHES, rows)


def write_embeddings(file: Path, rows: list[dict]) -> Path:
    return write_part(file, _EMBEDDINGS, rows)


def write_summary(file: Path, rows: list[dict]) -> Path:
    return write_part(file, _SUMMARY, rows)


def small_input(home: Path, songs: dict[str, list]) -> RunFolder:
    """Prepares a catalogue as a run does; everybody plays the first songs."""
    folder, data = RunFolder.at(home / "run"), home / "data"
    data.mkdir(parents=True)
    pq.write_table(pa.table(songs), data / "songs.parquet")
    plays = [(user, song) for user in USERS for song in songs["song_id"][:2]]
    pq.write_table(
        pa.table({"user_id": [user for user, _ in plays], "song_id": [song for _, song in plays]}),
        data / "plays.parquet",
    )
    contract.prepare(data, folder.input)
    return folder


PARTS = ["attribute_genre", "numbers", "rest"]
#: Reliability is 1 / (1 + e^-2) for a best score of at least .9, and 1/2 for one of at most .5.
RELIABILITY = {"k": 50, "knots": {"best score": [0.5, 0.9]}, "weights": {"best score": 2.0}, "intercept": 1.0}
SONGS = {
    "song_id": ["w1", "w2", "n1", "n2", "v1"],
    "title": ["First\nline", "", "Neu \u05e9\u05dc\u05d5\u05dd", None, "Held out"],
    "artist": ["A", "B", "C", None, "E"],
    "attribute_genre": ["rock", "folk", "rock", None, "folk"],
    "attribute_tags": [["live", "loud"], ["quiet"], ["loud", "new"], None, []],
    "attribute_year": [1999.0, 2001.0, 1999.0, None, 2001.0],
    "audio_timbre": pa.array([[1.0, 2.0]] * 5, pa.list_(pa.float32())),
}


def small_result(home: Path, songs: dict[str, list] = SONGS) -> tuple[RunFolder, RunResult]:
    """A run of five songs: n1 has matches and listeners, n2 has matches that nobody plays, v1 is held out."""
    folder = small_input(home, songs)
    root = folder.pipeline_root
    splits = {"w1": "warm", "w2": "warm", "n1": "new", "n2": "new", "v1": "val"}
    vectors = [{"song_id": s, "split": p, "embedding": [1.0], "candidate_embedding": [2.0]} for s, p in splits.items()]
    new = {"split": "new", "match_ids": ["w1", "w2"], "known_fields": 3}
    why = {
        "match_shares": [[0.75, 0.25, -0.1], [-0.25, 0.0, 0.0]],
        "share_names": PARTS,
        "evidence": [0.5],
        "evidence_names": ["deviation_0"],
        "match_chances": [0.75, 0.125],
        "match_chances_low": [0.5, 0.0],
        "match_chances_high": [0.875, 0.25],
    }
    matches: list[list[dict[str, object]]] = [
        [
            {**new, **why, "song_id": "n1", "match_scores": [0.9, -0.25]},
            {**new, "song_id": "n2", "match_scores": [0.5, 0.4]},
        ],
        [],
        [{"song_id": "v1", "split": "val", "match_ids": ["w2"], "match_scores": [0.75]}],
    ]
    listeners = [
        {
            "song_id": "n1",
            "split": "new",
            "rank": rank,
            "user_id": user,
            "score": 1.0 / rank,
            "rule": "hybrid",
            "group": "held_aside" if rank == 2 else "target",
            "reason_song_ids": ["w1", "w2"][:rank],
            "reason_scores": [0.9, -0.25][:rank],
        }
        for rank, user in enumerate(USERS, 1)
    ]
    summary: list[dict[str, object]] = [
        {"song_id": "n1", "split": "new", "status": "targeted", "targets": 2, "held_aside": 1},
        {"song_id": "n2", "split": "new", "status": "matches have no listeners"},
    ]
    page = root / "RunPage" / "page" / "7" / "run.html"
    page.parent.mkdir(parents=True)
    page.write_text("<!doctype html>page")
    result = RunResult(
        run_id="2026-11-01T03:04:05.000006",
        artifacts="a",
        parts={
            "embeddings": (write_embeddings(root / "embeddings" / "embeddings-00000.parquet", vectors),),
            "matches": tuple(
                write_matches(root / "embeddings" / f"matches-{n:05d}.parquet", rows) for n, rows in enumerate(matches)
            ),
            "targets": (
                write_targets(root / "targets" / "part-00000-ab.parquet", listeners[:1]),
                write_targets(root / "targets" / "part-00001-ab.parquet", []),
                write_targets(root / "targets" / "part-00002-ab.parquet", listeners[1:]),
            ),
            "songs_summary": (write_summary(root / "summary" / "part-00000-ab.parquet", summary),),
        },
        page=page,
        pushed=folder.serving / "1761966245",
        refused_because=(),
        checks={"DataGate": {"passed": True, "noted": 0}},
        reliability=RELIABILITY,
    )
    return folder, result


def refused(result: RunResult, run_id: str) -> RunResult:
    """The same run, had no model been pushed."""
    reasons = ("val: expected a gain of 1000. Received: 0",)
    return replace(result, run_id=run_id, artifacts="refused", parts={}, pushed=None, refused_because=reasons)
