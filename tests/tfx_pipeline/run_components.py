"""A pipeline of a few components, run in this process."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tfx import v1 as tfx


def run_components(home: Path, *nodes: Any, options: Sequence[str] = ("--runner=FnApiRunner",)) -> None:
    """Runs the components as one pipeline with a cache and these options of Beam; artifacts lie in `home/pipeline`."""
    pipeline = tfx.dsl.Pipeline(
        pipeline_name="some",
        pipeline_root=str(home / "pipeline"),
        components=list(nodes),
        enable_cache=True,
        metadata_connection_config=tfx.orchestration.metadata.sqlite_metadata_connection_config(
            str(home / "metadata.sqlite")
        ),
        beam_pipeline_args=list(options),
    )
    tfx.orchestration.LocalDagRunner().run(pipeline)
