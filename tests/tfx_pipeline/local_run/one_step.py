"""A pipeline of one step, for tests of what happens around steps."""

from pathlib import Path

from tfx import v1 as tfx


@tfx.dsl.components.component
def First(out: tfx.dsl.components.Parameter[str]) -> None:  # noqa: N802
    """Leaves a file."""
    Path(out).touch()


def run_one_step(home: Path) -> None:
    """Runs it; the step leaves `home/ran`."""
    connection = tfx.orchestration.metadata.sqlite_metadata_connection_config(str(home / "metadata.sqlite"))
    pipeline = tfx.dsl.Pipeline(
        pipeline_name="one",
        pipeline_root=str(home / "pipeline"),
        components=[First(out=str(home / "ran"))],
        metadata_connection_config=connection,
    )
    tfx.orchestration.LocalDagRunner().run(pipeline)
