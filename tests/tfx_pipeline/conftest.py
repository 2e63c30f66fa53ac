"""One small pipeline run that the end-to-end tests share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.vector_lengths import LENGTHS
from tfx_pipeline.runtime.run_folder import RunFolder

SONGS, USERS, PLAYS = 300, 150, 9000


@dataclass(frozen=True)
class SmallRun:
    """A finished run: its folder, its settings, and the components' lines."""

    folder: RunFolder
    data: Path
    config: Any
    lines: list[str]


def small_config():
    """Settings that train in seconds; any model is good enough to be pushed."""
    import bcl_keras
    from tfx_pipeline.config import PipelineConfig
    from tfx_pipeline.contract.splits import ColdSplit
    from tfx_pipeline.evaluation.config import EvaluationConfig
    from tfx_pipeline.models.config import TransformConfig
    from tfx_pipeline.targeting import TargetingConfig

    return PipelineConfig(
        split=ColdSplit(min_listeners=19),  # some songs have fewer
        transform=TransformConfig(min_frequency=1),
        model=bcl_keras.BCLConfig(epochs=2, batch_size=64, hidden_dims=(32,), field_dim=16, embedding_dim=16),
        evaluation=EvaluationConfig(min_gain=-1.0, bootstrap=50),
        targeting=TargetingConfig(listeners_per_song=10, clusters=3),
        refit="index",  # no second training; `test_whole_path` has a run with one
    )


def run_small(data: Path, home: Path, config: Any, say: Callable[[str], None]) -> None:
    """Checks the input and runs the pipeline in this process."""
    from tfx_pipeline.runtime.keras_backend import use_tensorflow

    use_tensorflow()  # before TFX, which imports Keras
    from tfx_pipeline import contract
    from tfx_pipeline.local_run.pipeline_run import run
    from tfx_pipeline.tfx_extensions.progress import component_lines

    folder = RunFolder.at(home)
    catalogue = contract.prepare(data, folder.input)
    with component_lines(say):
        run(folder, catalogue.fields, config)


@pytest.fixture(scope="session")
def small_run(tmp_path_factory: pytest.TempPathFactory) -> SmallRun:
    from tfx_pipeline.datasets.simulate import simulate

    base = tmp_path_factory.mktemp("whole_path")
    simulate(base / "data", songs=SONGS, users=USERS, plays=PLAYS, seed=1)
    add_vectors(base / "data" / "songs.parquet")
    lines: list[str] = []
    config = small_config()
    run_small(base / "data", base / "run", config, lines.append)
    return SmallRun(RunFolder.at(base / "run"), base / "data", config, lines)


def add_vectors(path: Path) -> None:
    """Adds a vector of each length, a fifth of them missing, that say in their last numbers what the timbre says."""
    songs, rng = pq.read_table(path), np.random.default_rng(0)
    for length in LENGTHS:
        vectors = []
        for timbre in songs["audio_timbre"].to_pylist():
            values = rng.normal(size=length)
            told = min(length, len(timbre or ()))
            values[length - told :] += 3 * np.array((timbre or [])[:told])
            vectors.append(None if timbre is None or rng.random() < 0.2 else values)
        column = pa.array(vectors, pa.list_(pa.float32()))
        songs = songs.append_column(f"audio_v{length}", column)
    pq.write_table(songs, path)


def refused(config):
    """The same settings with a margin that no model reaches."""
    return replace(config, evaluation=replace(config.evaluation, min_gain=1000.0))
