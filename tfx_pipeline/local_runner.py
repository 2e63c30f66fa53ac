"""Runs the pipeline on this machine: `tfx pipeline create --engine local --pipeline_path <this file>`.

Environment variables bind the paths, because the tfx command passes no arguments: BCL_DATA is the folder with songs
and plays, BCL_RUN the folder for all that the run writes (default: runs/bcl), BCL_SETTINGS a JSON file of settings
(default: none; see `configs.read_settings`), BCL_WINDOW how many of the latest spans of plays are read (default: all;
see `spans`), BCL_BEAM the engine of the Beam steps (default: this process; see `beam_options`).
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


def run(
    folder: RunFolder, fields: tuple[contract.SongField, ...], config: PipelineConfig | None = None, name: str = "bcl"
) -> None:
    """Runs the pipeline on the prepared input of `folder`, reusing what its cache holds."""
    tfx.orchestration.LocalDagRunner().run(
        create_pipeline(
            pipeline_name=name,
            pipeline_root=folder.pipeline_root,
            data_root=folder.input,
            serving_dir=folder.serving,
            kept_statistics=folder.kept_statistics,
            fields=fields,
            config=config,
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
        catalogue = contract.prepare(with_spans_joined(Path(data), folder.joined, window), folder.input)
    except ValueError as error:  # of the contract, the settings or the window
        sys.stderr.write(f"{error}\n")
        sys.exit(2)
    console = Console()
    with console.chatter_to(folder.log), component_lines(console.say):
        run(folder, catalogue.fields, config)
    console.say(f"Log: {folder.log}")


def _whole_number(variable: str) -> int | None:
    said = os.environ.get(variable)
    if said and not said.isdecimal():
        raise ValueError(f"{variable}: expected a whole number. Received: {said!r}")
    return int(said) if said else None


if __name__ == "__main__":
    main()
