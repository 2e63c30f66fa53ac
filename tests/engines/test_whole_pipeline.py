"""The whole pipeline on an engine gives what it gives in one process, by the commands of the engine's page."""

from __future__ import annotations

import glob
import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from tests.engines.conftest import Started, called
from tests.engines.processes import ROOT
from tfx_pipeline.contract.splits import SPLITS
from tfx_pipeline.history.run_record import RunRecord
from tfx_pipeline.history.run_records import RunRecords
from tfx_pipeline.runtime.run_folder import RunFolder

PAGES = ROOT / "docs" / "how-to"
#: Steps that no engine runs.
HERE = {"Trainer", "RetrievalEvaluator", "Pusher", "ServingValidator"}
THERE = {"SongStatistics", "SimilarSongsLabeller", "Transform", "CatalogueEmbedder", "AudienceTargeter"}


def labels(run: Path, step: str) -> dict[bytes, tuple[str, str]]:
    """Each song's split and features."""
    uri = RunRecord.latest(RunRecords.of(RunFolder.at(run))).uri(step, "labelled_songs")
    found = {}
    for split in SPLITS:
        files = sorted(glob.glob(str(uri / f"Split-{split}" / "*.gz")))
        for record in tf.data.TFRecordDataset(files, compression_type="GZIP").as_numpy_iterator():
            features = tf.train.Example.FromString(record).features.feature
            text = "\n".join(f"{name} {features[name]}" for name in sorted(features))
            found[features["song_id"].bytes_list.value[0]] = (split, text)
    return found


def rows(run: Path, table: str, *by: str) -> list[dict]:
    read = pq.read_table(run / "latest" / f"{table}.parquet").to_pylist()
    return sorted(read, key=lambda row: tuple(row[name] for name in by))


def assert_same(found: list[dict], expected: list[dict], context: str) -> None:
    """The same rows; vectors and scores within 1e-5."""
    assert len(found) == len(expected) > 0, context
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.keys() == theirs.keys()
        for name, value in theirs.items():
            if isinstance(value, float) or (isinstance(value, list) and value and isinstance(value[0], float)):
                np.testing.assert_allclose(ours[name], value, rtol=1e-5, atol=1e-5, err_msg=f"{context} {name}")
            else:
                assert ours[name] == value, (context, name)


def command_of(page: str) -> list[str]:
    """The command that runs the pipeline, as the page has it."""
    text = (PAGES / page).read_text(encoding="utf-8").replace("\\\n", " ")
    (line,) = re.findall(r"^ +python (-m tfx_pipeline\.run .*)$", text, re.MULTILINE)
    return [sys.executable, *shlex.split(line)]


@pytest.mark.parametrize("page", ["run-on-flink.md", "run-on-spark.md"])
def test_the_page_starts_a_pool_as_the_tests_do(page: str) -> None:
    text = (PAGES / page).read_text(encoding="utf-8")
    assert "python -m apache_beam.runners.worker.worker_pool_main --service_port 50000" in text


def test_a_run_on_an_engine_gives_what_a_process_gives(
    start: Started, data: Path, in_process: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    with start(tmp_path / "servers") as cluster:
        places = {
            "path/to/folder": str(data),
            "runs/mine": str(out),
            "localhost:8099": f"localhost:{cluster.jobs}",
            "localhost:50000": f"localhost:{cluster.pool}",
        }
        words = [places.get(word, word) for word in command_of(f"run-on-{cluster.engine}.md")]
        settings = ["--settings", str(data.parent / "settings.json"), "--job-limit", "900"]
        code, line, told = called([*words, *settings])
        assert code == 0 and line["outcome"] == "pushed", told + cluster.servers["jobs"].tail()
    for step in ("SimilarSongsLabeller", "ServedSongsLabeller"):
        assert labels(out, step) == labels(in_process, step)
    for table, by in (
        ("embeddings", ("song_id",)),
        ("matches", ("song_id",)),
        ("targets", ("song_id", "rank", "user_id")),
        ("songs_summary", ("song_id",)),
    ):
        assert_same(rows(out, table, *by), rows(in_process, table, *by), table)
    page = (out / "latest" / "run.html").read_text(encoding="utf-8")
    there, here = re.findall(r"<p>([^<]*)</p>", page.partition("<h2>Where it ran</h2>")[2])[:2]
    assert there.startswith("On PortableRunner at localhost:") and set(there.partition(": ")[2].split(", ")) >= THERE
    assert "not on the engine" in here and set(here.partition(": ")[2].split(", ")) >= HERE
    assert "Where it ran" not in (in_process / "latest" / "run.html").read_text(encoding="utf-8")
