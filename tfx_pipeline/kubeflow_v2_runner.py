"""Compiles the pipeline for Vertex AI Pipelines or Kubeflow Pipelines v2: `python -m tfx_pipeline.kubeflow_v2_runner`.

The steps run in containers that share folders by path: on Vertex, buckets are mounted below /gcs. The image must hold
this package with its pinned requirements. The song fields are read when the pipeline is compiled, from input that
`python -m tfx_pipeline.contract` has checked.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tfx_pipeline.runtime.console import import_quietly
from tfx_pipeline.runtime.keras_backend import use_tensorflow

use_tensorflow()  # before TFX, which imports Keras
import_quietly("tfx_pipeline.pipeline")  # and with it TFX

# isort: split
from tfx import v1 as tfx

from serving.files.whole_files import put_file
from tfx_pipeline import contract
from tfx_pipeline.config import PipelineConfig, read_settings
from tfx_pipeline.index_refresh.pipeline import create_refresh_pipeline
from tfx_pipeline.pipeline import create_pipeline


def compile_pipeline(
    out: Path,
    *,
    data_root: Path,
    home: str,
    image: str,
    config: PipelineConfig | None = None,
    beam_pipeline_args: Sequence[str] = (),
    name: str = "bcl",
) -> None:
    """Writes the job of the whole pipeline as JSON.

    Args:
        out: The file; it appears whole.
        data_root: Folder written by `contract.prepare`, at the path that the containers see too.
        home: Folder for all that runs write, as the containers see it, for instance `/gcs/bucket/bcl`.
        image: Container image that holds this package.
        config: All settings.
        beam_pipeline_args: Options of the Beam runner, for instance those of Dataflow.
        name: Of the pipeline.

    Raises:
        ContractError: If `data_root` is not what `contract.prepare` wrote.
    """
    _write(
        out,
        image,
        create_pipeline(
            pipeline_name=name,
            pipeline_root=f"{home}/pipeline",
            data_root=data_root,
            serving_dir=f"{home}/serving",
            kept_statistics=f"{home}/kept_statistics",
            fields=contract.load_prepared(data_root).fields,
            config=config,
            beam_pipeline_args=beam_pipeline_args,
        ),
    )


def compile_refresh(
    out: Path,
    *,
    data_root: Path,
    home: str,
    image: str,
    beam_pipeline_args: Sequence[str] = (),
    name: str = "bcl-refresh",
) -> None:
    """Writes the job of the refresh pipeline as JSON. It starts from the version that is served at this time.

    Args:
        out: The file; it appears whole.
        data_root: Folder written by `contract.prepare`, at the path that the containers see too.
        home: Folder of the runs, as the containers and this process see it.
        image: Container image that holds this package.
        beam_pipeline_args: Options of the Beam runner.
        name: Of the pipeline. It must differ from that of the training pipeline.

    Raises:
        ContractError: If `data_root` is not what `contract.prepare` wrote.
        PublishError: If no version is served.
    """
    _write(
        out,
        image,
        create_refresh_pipeline(
            pipeline_name=name,
            pipeline_root=f"{home}/refresh/pipeline",
            data_root=data_root,
            serving_dir=f"{home}/serving",
            fields=contract.load_prepared(data_root).fields,
            beam_pipeline_args=beam_pipeline_args,
        ),
    )


def _write(out: Path, image: str, pipeline: tfx.dsl.Pipeline) -> None:
    aside = f".{out.name}.aside"
    runner = tfx.orchestration.experimental.KubeflowV2DagRunner(
        tfx.orchestration.experimental.KubeflowV2DagRunnerConfig(default_image=image),
        output_dir=str(out.parent),
        output_filename=aside,
    )
    runner.run(pipeline)
    put_file(out.parent / aside, out)


def main(argv: Sequence[str] | None = None) -> int:
    """Compiles; returns the exit code: 0, or 2 for bad input."""
    parser = argparse.ArgumentParser(
        prog="python -m tfx_pipeline.kubeflow_v2_runner", description=(__doc__ or "").split("\n\n")[0]
    )
    parser.add_argument("--data", type=Path, required=True, help="checked input, at the path the containers see too")
    parser.add_argument("--home", required=True, help="folder for what runs write, as the containers see it")
    parser.add_argument("--image", required=True, help="container image that holds this package")
    parser.add_argument(
        "--refresh",
        action="store_true",
        help="compile the refresh pipeline, for the version that HOME/serving serves now",
    )
    parser.add_argument(
        "--settings", type=Path, help="JSON file of the settings that differ from the defaults (default: none differ)"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("pipeline.json"), help="file for the job as JSON (default: %(default)s)"
    )
    parser.add_argument(
        "--beam", nargs="*", default=[], metavar="OPTION", help="options of the Beam runner, without -- (default: none)"
    )
    options = parser.parse_args(argv)
    common: dict[str, Any] = {
        "data_root": options.data,
        "home": options.home,
        "image": options.image,
        "beam_pipeline_args": [f"--{option}" for option in options.beam],
    }
    try:
        if options.refresh and options.settings:
            raise ValueError("--settings: expected none with --refresh, which has none. Received: a file")
        if options.refresh:
            compile_refresh(options.out.resolve(), **common)
        else:
            config = read_settings(options.settings) if options.settings else None
            compile_pipeline(options.out.resolve(), config=config, **common)
    except (ValueError, OSError) as error:  # of the input or the settings
        sys.stderr.write(f"{error}\n")
        return 2
    sys.stdout.write(f"{options.out}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
