"""A run of the pipeline with a line for each component, and the record that it leaves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tfx_pipeline import contract
from tfx_pipeline.local_run.request import Request
from tfx_pipeline.runtime.console import Console
from tfx_pipeline.runtime.run_folder import RunFolder

if TYPE_CHECKING:
    from tfx_pipeline.config import PipelineConfig
    from tfx_pipeline.history.run_record import RunRecord


def read_config(request: Request, folder: RunFolder, console: Console) -> PipelineConfig:
    """Returns the settings of the pipeline.

    Raises:
        SettingsError: If the settings file cannot be used.
    """
    with console.output_to_log(folder.log):
        from tfx_pipeline.config import PipelineConfig, read_settings

        return PipelineConfig() if request.settings is None else read_settings(request.settings)


def run_pipeline(
    folder: RunFolder,
    catalogue: contract.Catalogue,
    config: PipelineConfig,
    console: Console,
    *,
    until: float | None = None,
) -> RunRecord:
    """Runs the pipeline, prints a line for each component, and returns the record of the run.

    Where the data is that of an earlier run, one more line says whether its model is served again.

    Args:
        folder: The run's folder. The caller holds its lock and decides where output goes.
        catalogue: The checked input.
        config: The settings.
        console: Where the lines go.
        until: Time of `time.monotonic` after which no further component starts; None for no end.

    Raises:
        OutOfTimeError: If that time came.
    """
    from tfx_pipeline.history.run_record import RunRecord
    from tfx_pipeline.history.run_records import RunRecords
    from tfx_pipeline.local_run.pipeline_run import run
    from tfx_pipeline.tfx_extensions.progress import component_lines

    with component_lines(console.say, until=until):
        line = run(folder, catalogue.fields, config)
    if line:
        console.say(line)
    return RunRecord.latest(RunRecords.of(folder))
