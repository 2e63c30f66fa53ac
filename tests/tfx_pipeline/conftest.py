"""One small pipeline run that the end-to-end tests share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tfx_pipeline.run_folder import RunFolder

SONGS, USERS, PLAYS = 300, 150, 9000


@dataclass(frozen=True)
class SmallRun:
    """A finished run: its folder, its settings, and the components' lines."""

    folder: RunFolder
    data: Path
    config: object
    lines: list[str]


def small_config():
    """Settings that train in seconds; any model is good enough to be pushed."""
    import bcl_keras
    from tfx_pipeline.cold_split import ColdSplit
    from tfx_pipeline.configs import EvaluationConfig, PipelineConfig, TransformConfig
    from tfx_pipeline.targeting import TargetingConfig

    return PipelineConfig(
        split=ColdSplit(min_listeners=19),  # some songs have fewer
        transform=TransformConfig(min_frequency=1),
        model=bcl_keras.BCLConfig(epochs=2, batch_size=64, hidden_dims=(32,), field_dim=16, embedding_dim=16),
        evaluation=EvaluationConfig(min_gain=-1.0, bootstrap=50),
        targeting=TargetingConfig(listeners_per_song=10, clusters=3),
    )


def run_small(data: Path, home: Path, config: object, say: Callable[[str], None]) -> None:
    """Checks the input and runs the pipeline in this process."""
    from tfx_pipeline import contract, local_runner
    from tfx_pipeline.progress import component_lines

    folder = RunFolder.at(home)
    catalogue = contract.prepare(data, folder.input)
    with component_lines(say):
        local_runner.run(folder, catalogue.fields, config)


@pytest.fixture(scope="session")
def small_run(tmp_path_factory: pytest.TempPathFactory) -> SmallRun:
    from tfx_pipeline.datasets.simulate import simulate

    base = tmp_path_factory.mktemp("whole_path")
    simulate(base / "data", songs=SONGS, users=USERS, plays=PLAYS, seed=1)
    lines: list[str] = []
    config = small_config()
    run_small(base / "data", base / "run", config, lines.append)
    return SmallRun(RunFolder.at(base / "run"), base / "data", config, lines)


def refused(config):
    """The same settings with a margin that no model reaches."""
    return replace(config, evaluation=replace(config.evaluation, min_gain=1000.0))
