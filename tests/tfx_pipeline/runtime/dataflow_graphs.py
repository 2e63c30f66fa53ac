"""A Beam runner that has Dataflow's own runner make the job of every pipeline, and then runs it in this process.

No request leaves the machine: what would be uploaded goes to a local folder.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import apache_beam as beam
from apache_beam.options import pipeline_options as options_of
from apache_beam.options.pipeline_options_validator import PipelineOptionsValidator
from apache_beam.runners.dataflow.dataflow_runner import DataflowRunner
from apache_beam.runners.dataflow.internal import apiclient
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner
from apache_beam.runners.portability.stager import Stager

#: Where jobs are written, one folder for each.
JOBS: list[Path] = []
_numbers = itertools.count()


class DataflowGraphRunner(FnApiRunner):
    """Makes the job, and then runs the pipeline in this process."""

    def run_pipeline(self, pipeline: Any, options: Any) -> Any:
        """Called by Beam."""
        write_job(pipeline, options, JOBS[-1] / str(next(_numbers)))
        return super().run_pipeline(pipeline, options)


def write_job(pipeline: Any, options: Any, folder: Path) -> None:
    """Writes `job.json`, as Dataflow's service would get it, and what goes with it.

    Raises:
        Exception: If the options or the graph do not fit Dataflow.
    """
    (folder / "staged").mkdir(parents=True)
    runner = DataflowRunner()
    given = options_of.PipelineOptions.from_dictionary(options.get_all_options(drop_default=True))
    given.view_as(options_of.StandardOptions).runner = "DataflowRunner"
    given.view_as(options_of.TestOptions).dry_run = True  # else the bucket is asked
    errors = PipelineOptionsValidator(given, runner).validate()
    assert not errors, errors
    given.view_as(options_of.GoogleCloudOptions).staging_location = str(folder / "staged")
    given.view_as(options_of.GoogleCloudOptions).no_auth = True
    # Without the list of all installed packages, which `pip freeze` takes seconds to write.
    setattr(Stager, "_create_stage_submission_env_dependencies", staticmethod(lambda _folder: []))  # noqa: B010
    copied = beam.Pipeline.from_runner_api(pipeline.to_runner_api(), runner, given)
    job = runner.run_pipeline(copied, given).job
    apiclient.DataflowApplicationClient(given, job.root_staging_location).create_job_description(job)
    (folder / "job.json").write_text(job.json(), encoding="utf-8")
    (folder / "graph.pb").write_bytes(job.proto_pipeline.SerializeToString())
