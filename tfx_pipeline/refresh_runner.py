"""Refreshes the served index on this machine: `tfx pipeline create --engine local --pipeline_path <this file>`.

The environment binds the paths, as for `tfx_pipeline.local_runner`: BCL_DATA is the folder with the catalogue as it is
now, BCL_RUN the folder of the run that trained and pushed the model (default: runs/bcl), BCL_TAKEDOWN and
BCL_IGNORE_MISSING as there.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import tfx_pipeline  # noqa: F401 - as a script, this file is not imported from its package, which must come before TFX

# isort: split
from tfx import v1 as tfx

from serving.publish import PublishError
from serving.takedown import TakedownError
from tfx_pipeline import contract
from tfx_pipeline.beam_options import beam_options
from tfx_pipeline.console import Console
from tfx_pipeline.progress import component_lines
from tfx_pipeline.refresh_pipeline import create_refresh_pipeline
from tfx_pipeline.run_folder import RunFolder
from tfx_pipeline.takedown import take_down_listed


def metadata_of(folder: RunFolder) -> Path:
    """Returns where refreshes are recorded: apart from the training runs, whose last one others look up."""
    return folder.home / "refresh" / "metadata.sqlite"


def run(folder: RunFolder, data: Path, *, max_dropped: float = 0.2, name: str = "bcl-refresh") -> None:
    """Checks the catalogue and runs the pipeline; pushes the next version if anything has changed.

    Args:
        folder: The folder of the run that pushed the model.
        data: Folder with songs and plays; only the songs are used.
        max_dropped: The largest share of the index that may be dropped.
        name: The pipeline's name.

    Raises:
        ContractError: If the input breaks the contract.
        PublishError: If there is no version to start from.
    """
    home = folder.home / "refresh"
    catalogue = contract.prepare(data, home / "input")
    take_down_listed(folder, home / "input")
    tfx.orchestration.LocalDagRunner().run(
        create_refresh_pipeline(
            pipeline_name=name,
            pipeline_root=home / "pipeline",
            data_root=home / "input",
            serving_dir=folder.serving,
            fields=catalogue.fields,
            max_dropped=max_dropped,
            metadata_connection_config=tfx.orchestration.metadata.sqlite_metadata_connection_config(
                str(metadata_of(folder))
            ),
            beam_pipeline_args=beam_options(),
        )
    )


def main() -> None:
    """Reads the environment and runs."""
    data = os.environ.get("BCL_DATA")
    if not data:
        sys.exit("BCL_DATA: expected the folder with songs.parquet and plays.parquet. Received: no value")
    folder, console = RunFolder.at(os.environ.get("BCL_RUN", "runs/bcl")), Console()
    try:
        with console.chatter_to(folder.log), component_lines(console.say):
            run(folder, Path(data))
        console.say(f"Log: {folder.log}")
    except (contract.ContractError, PublishError, TakedownError) as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(2)
    except Exception as error:
        sys.stderr.write(f"The pipeline stopped: {error}\nLog: {folder.log}\n")
        raise


if __name__ == "__main__":
    main()
