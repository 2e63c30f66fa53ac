"""A pipeline of a few components, run in this process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tfx import v1 as tfx


def run_components(home: Path, *nodes: Any) -> None:
    """Runs the components as one pipeline with a cache; artifacts lie in `home/pipeline`."""
    pipeline = tfx.dsl.Pipeline(
        pipeline_name="some",
        pipeline_root=str(home / "pipeline"),
        components=list(nodes),
        enable_cache=True,
        metadata_connection_config=tfx.orchestration.metadata.sqlite_metadata_connection_config(
            str(home / "metadata.sqlite")
        ),
        beam_pipeline_args=["--runner=FnApiRunner"],
    )
    tfx.orchestration.LocalDagRunner().run(pipeline)
