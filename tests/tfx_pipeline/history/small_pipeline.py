"""A pipeline of three cheap steps that records its runs as the product does.

    python -m tests.tfx_pipeline.history.small_pipeline RUN TEXT...

Runs it once for each text, in the folder RUN. A run whose text is `wait` stays in its second step.
"""

import logging
import sys
import time
from pathlib import Path

from tfx import v1 as tfx
from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.types.standard_artifacts import Examples

from tfx_pipeline.history.recording_runner import RecordingRunner
from tfx_pipeline.history.run_records import RunRecords
from tfx_pipeline.runtime.console import Console
from tfx_pipeline.runtime.run_folder import RunFolder


@component
def Words(words: OutputArtifact[Examples], text: Parameter[str], home: Parameter[str]) -> None:  # noqa: N802
    """Writes a text."""
    _note(home, "Words", text)
    Path(words.uri, "text").write_text(text, encoding="utf-8")


@component
def Louder(words: InputArtifact[Examples], louder: OutputArtifact[Examples], home: Parameter[str]) -> None:  # noqa: N802
    """Makes it louder, or waits."""
    text = Path(words.uri, "text").read_text(encoding="utf-8")
    _note(home, "Louder", text)
    while text == "wait" and not Path(home, "go").exists():
        time.sleep(0.05)
    Path(louder.uri, "text").write_text(text.upper(), encoding="utf-8")


@component
def Count(words: InputArtifact[Examples], number: OutputArtifact[Examples], home: Parameter[str]) -> None:  # noqa: N802
    """Counts its letters."""
    _note(home, "Count", Path(words.uri, "text").read_text(encoding="utf-8"))
    Path(number.uri, "number").write_text("1")


def run(home: Path, text: str, *, refreshes: bool = False) -> None:
    """Runs the pipeline once; `home/steps` gets a line for each step that did not come from the cache."""
    folder = RunFolder.at(home)
    with folder.for_this_run("RUN"), Console().output_to_log(folder.log):
        logging.getLogger("absl").setLevel(logging.DEBUG)
        records = RunRecords.of(folder, refreshes=refreshes).begin(folder)
        words = Words(text=text, home=str(folder.home))
        louder = Louder(words=words.outputs["words"], home=str(folder.home))
        count = Count(words=louder.outputs["louder"], home=str(folder.home))
        pipeline = tfx.dsl.Pipeline(
            pipeline_name="bcl",
            pipeline_root=str(records.pipeline_root),
            components=[words, louder, count],
            enable_cache=True,
            metadata_connection_config=records.connection_config(),
        )
        RecordingRunner(records).run(pipeline)


def _note(home: str, step: str, text: str) -> None:
    with Path(home, "steps").open("a", encoding="utf-8") as file:
        file.write(f"{step} {text}\n")


if __name__ == "__main__":
    for given in sys.argv[2:]:
        run(Path(sys.argv[1]), given)
