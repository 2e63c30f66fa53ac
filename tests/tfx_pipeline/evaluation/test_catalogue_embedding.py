"""The matches that bulk inference on Beam writes as Parquet, from models with and without explanations."""

from __future__ import annotations

from pathlib import Path

import apache_beam as beam
import numpy as np
import pyarrow.parquet as pq
import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from serving.savedmodel.raw_fields import encode_song
from tests.serving import small_export
from tests.serving.small_explained import NEW, PARTS, WARM, planted_model, served
from tfx_pipeline.evaluation.catalogue_embedding import MATCHES, MatchSongs
from tfx_pipeline.evaluation.match_rows import MATCH_ROWS
from tfx_pipeline.evaluation.reliability import evidence_of

pytestmark = pytest.mark.slow  # TFX is imported


@pytest.mark.parametrize("explains", [True, False])
def test_matches_have_shares_that_add_up_to_scores_and_evidence(tmp_path: Path, explains: bool) -> None:
    if explains:
        path = served(planted_model(), tmp_path / "bcl" / "1", explain=False)
    else:
        path = small_export.SmallExport(small_export.catalogue(30)).export(tmp_path / "bcl" / "1")
    songs = [*NEW, {"song_id": "nothing"}]
    keyed = [((song["song_id"], "new"), encode_song(song, small_export.FIELDS)) for song in songs]
    with beam.Pipeline(options=PipelineOptions(["--direct_running_mode=in_memory"])) as pipeline:
        rows = pipeline | beam.Create(keyed) | MatchSongs(str(path))
        rows | beam.io.WriteToParquet(str(tmp_path / MATCHES), MATCH_ROWS, file_name_suffix=".parquet")
    table = pq.read_table(next(tmp_path.glob("matches-*.parquet")))
    assert table.schema.equals(MATCH_ROWS)
    found = {row["song_id"]: row for row in table.to_pylist()}
    assert set(found) == {song["song_id"] for song in songs}
    nothing = found.pop("nothing")
    assert (nothing["known_fields"], nothing["match_ids"], nothing["match_scores"]) == (0, [], [])
    for row in found.values():
        assert len(row["match_ids"]) == len(row["match_scores"]) == len(WARM)
        if not explains:
            assert row["match_shares"] is None and row["evidence"] is None
            continue
        assert row["share_names"] == list(PARTS) and row["evidence_names"] == ["deviation_0"]
        assert np.shape(row["match_shares"]) == (len(WARM), len(PARTS))
        np.testing.assert_allclose(np.sum(row["match_shares"], axis=1), row["match_scores"], atol=1e-5)
    evidence = evidence_of(table, 5)
    assert np.isfinite(evidence["best score"]).sum() == len(NEW)
    assert ("share of attribute_genre" in evidence) == explains
