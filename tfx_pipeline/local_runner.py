"""Runs the pipeline on this machine: `tfx pipeline create --engine local --pipeline_path <this file>`.

Environment variables bind the paths, because the tfx command passes no arguments: BCL_DATA is the folder with songs
and plays, BCL_RUN the folder for all that the run writes (default: runs/bcl), BCL_SETTINGS a JSON file of settings
(default: none; see `configs.read_settings`), BCL_WINDOW how many of the latest spans of plays are read (default: all;
see `spans`), BCL_BEAM the engine of the Beam steps (default: this process; see `beam_options`), BCL_LISTENERS and
BCL_EXCLUSIONS files for the targeting (default: none; see `components.targeting` and `targeting.exclusions`).
BCL_TAKEDOWN is a list of songs to take down, for this run and all later ones (default: none; see `id_lists`);
with BCL_IGNORE_MISSING=1 ids of it may be unknown.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import tfx_pipeline  # noqa: F401 - as a script, this file is not imported from its package, which must come before TFX

# isort: split
from tfx import v1 as tfx

from tfx_pipeline import contract
from tfx_pipeline.beam_options import beam_options
from tfx_pipeline.configs import PipelineConfig, read_settings
from tfx_pipeline.console import Console
from tfx_pipeline.pipeline import create_pipeline
from tfx_pipeline.progress import component_lines
from tfx_pipeline.run_folder import RunFolder
from tfx_pipeline.spans import with_spans_joined
from tfx_pipeline.takedown import admitted, say_left_out, take_down_listed
from tfx_pipeline.targeting.exclusions import as_parquet


def run(
    folder: RunFolder, fields: tuple[contract.SongField, ...], config: PipelineConfig | None = None, name: str = "bcl"
) -> None:
    """Runs the pipeline on the prepared input of `folder`, reusing what its cache holds.

    Raises:
        ContractError: If a file that the environment names for the targeting is not there, or every song of the
            catalogue was taken down.
    """
    tfx.orchestration.LocalDagRunner().run(
        create_pipeline(
            pipeline_name=name,
            pipeline_root=folder.pipeline_root,
            data_root=admitted(folder),
            serving_dir=folder.serving,
            kept_statistics=folder.kept_statistics,
            fields=fields,
            config=config,
            listener_table=_file("BCL_LISTENERS"),
            exclusions=_exclusions(folder),
            metadata_connection_config=tfx.orchestration.metadata.sqlite_metadata_connection_config(
                str(folder.metadata)
            ),
            beam_pipeline_args=beam_options(),
        )
    )


def main() -> None:
    """Reads the environment, checks the input and runs."""
    data = os.environ.get("BCL_DATA")
    if not data:
        sys.exit("BCL_DATA: expected the folder with songs.parquet and plays.parquet. Received: no value")
    folder = RunFolder.at(os.environ.get("BCL_RUN", "runs/bcl"))
    settings = os.environ.get("BCL_SETTINGS")
    try:
        config = read_settings(Path(settings)) if settings else None
        window = _whole_number("BCL_WINDOW")
        _ = _file("BCL_LISTENERS"), _file("BCL_EXCLUSIONS")
        catalogue = contract.prepare(with_spans_joined(Path(data), folder.joined, window), folder.input)
        left_out = take_down_listed(folder, folder.input)
    except ValueError as error:  # of the contract, the settings or the window
        sys.stderr.write(f"{error}\n")
        sys.exit(2)
    console = Console()
    if left_out:
        console.say(say_left_out(left_out))
    try:
        with console.chatter_to(folder.log), component_lines(console.say):
            run(folder, catalogue.fields, config)
    except Exception as error:
        sys.stderr.write(f"The pipeline stopped: {error}\nLog: {folder.log}\n")
        raise
    console.say(f"Log: {folder.log}")


def _exclusions(folder: RunFolder) -> Path | None:
    path = _file("BCL_EXCLUSIONS")
    return None if path is None else Path(as_parquet(str(path), folder.exclusions))


def _file(variable: str) -> Path | None:
    path = Path(os.environ[variable]).resolve() if os.environ.get(variable) else None
    if path is not None and not path.is_file():
        raise contract.ContractError(f"{variable}: expected a file. Received: {path}")
    return path


def _whole_number(variable: str) -> int | None:
    said = os.environ.get(variable)
    if said and not said.isdecimal():
        raise ValueError(f"{variable}: expected a whole number. Received: {said!r}")
    return int(said) if said else None


if __name__ == "__main__":
    main()
