"""The pipeline run in this process. The module imports TFX: call `use_tensorflow` before."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

from tfx_pipeline import contract
from tfx_pipeline.config import PipelineConfig
from tfx_pipeline.contract.column_names import Names
from tfx_pipeline.history.recording_runner import RecordingRunner
from tfx_pipeline.history.run_record import RunRecord, last_run_id
from tfx_pipeline.history.run_records import RunRecords
from tfx_pipeline.history.served_again import serve_model_of_last_run
from tfx_pipeline.outputs.publishing import publish
from tfx_pipeline.outputs.run_result import RunResult
from tfx_pipeline.outputs.uploading import upload
from tfx_pipeline.pipeline import create_pipeline
from tfx_pipeline.removal.takedown import admitted
from tfx_pipeline.runtime.beam_options import beam_options, job_limit
from tfx_pipeline.runtime.engine_jobs import watched_jobs
from tfx_pipeline.runtime.run_folder import RunFolder
from tfx_pipeline.targeting.data.exclusions import as_parquet
from tfx_pipeline.targeting.data.forgotten import without_forgotten
from tfx_pipeline.tfx_extensions.cache_of_any_engine import cache_of_any_engine


def run(
    folder: RunFolder, fields: tuple[contract.SongField, ...], config: PipelineConfig | None = None, name: str = "bcl"
) -> str | None:
    """Runs the pipeline on the prepared input of `folder`, takes from the cache what it holds, and publishes.

    The environment names two files for the targeting: BCL_LISTENERS and BCL_EXCLUSIONS.

    Returns:
        A line where the data is that of an earlier run: whether its model is served again, or why it is not.

    Raises:
        ContractError: If a file that the environment names does not exist, or every song was taken down.
        ValueError: If the database that BCL_METADATA names cannot be used.
    """
    config = config or PipelineConfig()
    records = RunRecords.of(folder).begin(folder)
    before = last_run_id(records)
    names = config.columns.of("plays")
    lists = {"listeners": _listener_table(folder, names), "exclusions": _exclusions(folder, names)}
    with cache_of_any_engine(), watched_jobs(beam_options(), job_limit()):
        RecordingRunner(records).run(
            create_pipeline(
                pipeline_name=name,
                pipeline_root=folder.pipeline_root,
                data_root=admitted(folder),
                serving_dir=folder.serving,
                kept_statistics=folder.kept_statistics,
                fields=fields,
                config=config,
                listener_table=lists["listeners"],
                exclusions=lists["exclusions"],
                metadata_connection_config=records.connection_config(),
                beam_pipeline_args=beam_options(),
            )
        )
    if last_run_id(records) == before:  # `tfx pipeline create` read the runner script, and nothing ran
        return None
    served = serve_model_of_last_run(folder)
    if not served.is_rolled_back:
        publish(folder, RunResult.read(RunRecord.latest(records)), dataclasses.asdict(config), lists)
    if config.push.store:
        upload(folder, config.push.store, config.push.keep_versions)
    return served.line


def check_lists() -> None:
    """Checks that the files for the targeting exist.

    Raises:
        ContractError: If the environment names one that does not.
    """
    for variable in ("BCL_LISTENERS", "BCL_EXCLUSIONS"):
        _file(variable)


def _exclusions(folder: RunFolder, names: Names) -> Path | None:
    path = _file("BCL_EXCLUSIONS")
    if path is None:
        return None
    return without_forgotten(Path(as_parquet(str(path), folder.exclusions, names)), folder.exclusions)


def _listener_table(folder: RunFolder, names: Names) -> Path | None:
    path = _file("BCL_LISTENERS")
    return None if path is None else without_forgotten(path, folder.listeners, names)


def _file(variable: str) -> Path | None:
    path = Path(os.environ[variable]).resolve() if os.environ.get(variable) else None
    if path is not None and not path.is_file():
        raise contract.ContractError(f"{variable}: expected a file. Received: {path}")
    return path
