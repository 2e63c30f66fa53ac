"""How a command runs the targeting: its output folder, its Beam options, and one message where a worker fails."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import apache_beam as beam
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions, _BeamArgumentParser

from serving.files.folder_lock import only_process_in


@contextmanager
def output_folder(output: str) -> Iterator[None]:
    """Keeps other processes out of a local output folder, and clears away what a stopped run has begun there.

    Args:
        output: The folder.
    """
    if FileSystems.get_scheme(output) is not None:
        yield
        return
    with only_process_in(output, shown=f"--output: {output}"):
        try:
            yield
        finally:
            for partial in Path(output).glob("_partial-*"):
                shutil.rmtree(partial, ignore_errors=True)


def pipeline_options(arguments: Sequence[str]) -> PipelineOptions:
    """Returns the pipeline options that a command was given; the default runner is Beam's in this process.

    Args:
        arguments: What the command itself does not know.

    Raises:
        ValueError: If Beam does not know one either: it would pass over a mistyped flag.
    """
    beam_parser = _BeamArgumentParser(add_help=False, allow_abbrev=False)
    for options in PipelineOptions.__subclasses__():
        options._add_argparse_args(beam_parser)
    _, unknown = beam_parser.parse_known_args(list(arguments))
    if unknown:
        raise ValueError(f"arguments: expected those of --help or pipeline options of Beam. Received: {unknown}")
    found = PipelineOptions(list(arguments))
    if found.view_as(StandardOptions).runner is None:
        # Beam's DirectRunner would first try to download another runner.
        found.view_as(StandardOptions).runner = "FnApiRunner"
    return found


def run_quietly(pipeline: beam.Pipeline) -> None:
    """Runs a pipeline to its end, without Beam's log of a failed worker's whole stack.

    Args:
        pipeline: The pipeline. `first_message` gives the message of an error that it raises.
    """
    logging.getLogger("apache_beam").setLevel(logging.CRITICAL)
    pipeline.run().wait_until_finish()


def first_message(error: BaseException) -> str:
    """Returns the message of an error without the stack and step name that a runner adds.

    Args:
        error: What running a pipeline raised.
    """
    lines = [line for line in str(error).strip().splitlines() if line.strip()]
    explaining = [line for line in lines if "Received:" in line]
    text = (explaining or lines or [repr(error)])[-1].strip()
    return text.split(" [while running")[0].split("Error: ", 1)[-1]
