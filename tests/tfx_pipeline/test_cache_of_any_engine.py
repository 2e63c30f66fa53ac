"""A step that one engine has finished is in the cache for the next one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tfx_pipeline.run_components import run_components
from tfx_pipeline.contract import prepare
from tfx_pipeline.datasets.simulate import simulate
from tfx_pipeline.tfx_extensions.cache_of_any_engine import cache_of_any_engine
from tfx_pipeline.tfx_extensions.standard import parquet_example_gen

HERE, THERE = ("--runner=FnApiRunner",), ("--runner=FnApiRunner", "--job_endpoint=elsewhere:1")


def outputs(home: Path) -> int:
    """How many times the step has run."""
    return len(list(home.glob("pipeline/ParquetExampleGen/examples/*")))


@pytest.mark.slow
def test_another_engine_takes_from_the_cache(tmp_path: Path) -> None:
    simulate(tmp_path / "data", songs=60, users=30, plays=600, seed=1)
    prepare(tmp_path / "data", tmp_path / "input")
    step = parquet_example_gen(tmp_path / "input" / "songs" / "songs.parquet")
    with cache_of_any_engine():
        run_components(tmp_path, step, options=HERE)
        run_components(tmp_path, step, options=THERE)
    assert outputs(tmp_path) == 1
    run_components(tmp_path, step, options=THERE)  # TFX alone
    assert outputs(tmp_path) == 2
