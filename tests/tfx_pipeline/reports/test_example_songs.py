"""The example songs of the run page, where no song is new."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tfx import v1 as tfx

from tfx_pipeline import target
from tfx_pipeline.evaluation.match_rows import MATCH_ROWS
from tfx_pipeline.reports.example_songs import example_songs
from tfx_pipeline.tfx_extensions.artifacts import SongEmbeddings, TargetListeners

pytestmark = pytest.mark.pipeline  # the targeting in Beam


def test_a_run_without_new_songs_has_no_examples(tmp_path: Path) -> None:
    """As on a day when every song has been played."""
    vectors = [[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]]
    catalogue = {"song_id": ["a", "b", "c"], "split": ["warm"] * 3, "embedding": vectors}
    catalogue["candidate_embedding"] = vectors
    pq.write_table(pa.table(catalogue), tmp_path / "catalogue.parquet")
    (tmp_path / "embeddings").mkdir()
    pq.write_table(MATCH_ROWS.empty_table(), tmp_path / "embeddings" / "matches-00000-of-00001.parquet")
    pq.write_table(pa.table({"user_id": ["u", "v"], "song_id": ["a", "b"]}), tmp_path / "plays.parquet")
    files = {"catalogue": "catalogue.parquet", "matches": "embeddings/matches-00000-of-00001.parquet"}
    inputs = [f"--{name}={tmp_path / file}" for name, file in (files | {"plays": "plays.parquet"}).items()]
    assert target.main([*inputs, f"--output={tmp_path / 'targets'}"]) == 0
    songs = tfx.types.standard_artifacts.Examples()
    songs.uri, songs.split_names = str(tmp_path / "songs"), '["all"]'
    embeddings, targets = SongEmbeddings(), TargetListeners()
    embeddings.uri, targets.uri = str(tmp_path / "embeddings"), str(tmp_path / "targets")
    assert example_songs(songs, embeddings, targets) == []
