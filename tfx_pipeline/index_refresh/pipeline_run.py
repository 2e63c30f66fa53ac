"""The refresh pipeline run in this process. The module imports TFX: call `use_tensorflow` before."""

from __future__ import annotations

from pathlib import Path

from serving.savedmodel.publish import latest_version
from tfx_pipeline import contract
from tfx_pipeline.contract.prepare import recorded_names
from tfx_pipeline.contract.stores.location import Location
from tfx_pipeline.history.recording_runner import RecordingRunner
from tfx_pipeline.history.run_record import last_run_id
from tfx_pipeline.history.run_records import RunRecords
from tfx_pipeline.history.served_again import serve_index_of_last_refresh
from tfx_pipeline.index_refresh.pipeline import create_refresh_pipeline
from tfx_pipeline.removal.takedown import take_down_listed
from tfx_pipeline.runtime.beam_options import beam_options, job_limit
from tfx_pipeline.runtime.engine_jobs import watched_jobs
from tfx_pipeline.runtime.run_folder import RunFolder
from tfx_pipeline.tfx_extensions.cache_of_any_engine import cache_of_any_engine

_NAME = "bcl-refresh"


def check_input(folder: RunFolder, data: Location) -> contract.Catalogue:
    """Checks the catalogue, writes what the pipeline reads, and takes songs down.

    Args:
        folder: The folder of the run that pushed the model.
        data: Folder with songs and plays; only the songs are used. Its columns have the names that the run was given.

    Raises:
        ContractError: If the input breaks the contract.
        PublishError: If no version is served.
        ValueError: If the database that BCL_METADATA names cannot be used.
    """
    latest_version(str(folder.serving))  # raises at once if there is none
    RunRecords.of(folder, refreshes=True).begin(folder)  # or if the database cannot be used
    columns = recorded_names(folder.input)
    catalogue = contract.prepare(data, _home(folder) / "input", columns=columns)
    take_down_listed(folder, _home(folder) / "input", columns.of("songs"))
    return catalogue


def run(folder: RunFolder, catalogue: contract.Catalogue, *, max_dropped: float = 0.2, name: str = _NAME) -> None:
    """Runs the pipeline on checked input, and pushes the next version if anything has changed.

    Args:
        folder: The folder of the run that pushed the model.
        catalogue: The checked input.
        max_dropped: The largest share of the index that may be dropped.
        name: Name of the pipeline.
    """
    records = RunRecords.of(folder, refreshes=True).begin(folder)
    home, before = _home(folder), last_run_id(records)
    with cache_of_any_engine(), watched_jobs(beam_options(), job_limit()):
        RecordingRunner(records).run(
            create_refresh_pipeline(
                pipeline_name=name,
                pipeline_root=home / "pipeline",
                data_root=home / "input",
                serving_dir=folder.serving,
                fields=catalogue.fields,
                max_dropped=max_dropped,
                metadata_connection_config=records.connection_config(),
                beam_pipeline_args=beam_options(),
            )
        )
    if last_run_id(records) != before:  # else `tfx pipeline create` read the runner script: nothing ran
        serve_index_of_last_refresh(folder.serving, records)


def _home(folder: RunFolder) -> Path:
    return folder.home / "refresh"
