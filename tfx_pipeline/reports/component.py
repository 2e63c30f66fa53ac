"""TFX component: the page of a run."""

import json
import os

from tfx import v1 as tfx
from tfx.utils import io_utils

from tfx_pipeline.evaluation.component import REPORT as EVALUATION_REPORT
from tfx_pipeline.gates.data_gate import REPORT as DATA_REPORT
from tfx_pipeline.gates.data_gate import read_statistics
from tfx_pipeline.gates.serving_validator import REASON
from tfx_pipeline.reports.engine import Engine
from tfx_pipeline.reports.example_songs import example_songs, songs_without_matches
from tfx_pipeline.reports.run_page.input_tables import columns
from tfx_pipeline.reports.run_page.page import page as page_of
from tfx_pipeline.targeting import read_marker
from tfx_pipeline.targeting.beam.count_weight import settled
from tfx_pipeline.targeting.rules.score_range import in_words
from tfx_pipeline.tfx_extensions.artifacts import (
    LEARNT,
    PAGE,
    SERVED,
    DataReport,
    RunReport,
    SongEmbeddings,
    TargetListeners,
)
from tfx_pipeline.tfx_extensions.components import component


@component
def RunPage(  # noqa: N802
    song_statistics: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.ExampleStatistics],
    play_statistics: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.ExampleStatistics],
    report_of_data: tfx.dsl.components.InputArtifact[DataReport],
    model_run: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.ModelRun],
    evaluation: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.ModelEvaluation],
    infra_blessing: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.InfraBlessing],
    pushed_model: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.PushedModel],
    songs: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.Examples],
    embeddings: tfx.dsl.components.InputArtifact[SongEmbeddings],
    targets: tfx.dsl.components.InputArtifact[TargetListeners],
    page: tfx.dsl.components.OutputArtifact[RunReport],
    served_blessing: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.ModelBlessing] = None,
    engine: Engine | None = None,
) -> None:
    """Writes `run.html`.

    Args:
        song_statistics: Statistics of the songs.
        play_statistics: Statistics of the plays.
        report_of_data: Their differences from those of the last pushed run.
        model_run: The Trainer's report.
        evaluation: The evaluator's report, with the reasons of a refusal.
        infra_blessing: The result of the validation on a server, with the reason of a refusal.
        pushed_model: Whether and where the model was pushed.
        songs: All songs, for their names.
        embeddings: Matches of cold songs.
        targets: Target listeners of cold songs.
        page: The page.
        served_blessing: Report on the served model, where it is not the judged one.
        engine: Which steps an engine of Beam ran; None where all ran in one process.
    """
    pushed = pushed_model.get_int_custom_property("pushed")
    is_served = infra_blessing.get_int_custom_property("blessed")
    is_targeted = bool(targets.get_int_custom_property("targeted"))
    text = page_of(
        songs=columns(read_statistics(song_statistics)),
        plays=columns(read_statistics(play_statistics)),
        data_report=_read(report_of_data.uri, DATA_REPORT),
        learnt=json.loads(_read(model_run.uri, LEARNT)),
        evaluation=json.loads(_read(evaluation.uri, EVALUATION_REPORT)),
        served=None if served_blessing is None else json.loads(_read(served_blessing.uri, SERVED)),
        serving_problem=None if is_served else _read(infra_blessing.uri, REASON),
        pushed=pushed_model.get_string_custom_property("pushed_destination") if pushed else None,
        examples=example_songs(songs, embeddings, targets) if is_targeted else [],
        unknown_songs=songs_without_matches(embeddings) if is_targeted else 0,
        target_scores=in_words(settled(read_marker(targets.uri))) if is_targeted else "",
        engine=engine,
    )
    io_utils.write_string_file(os.path.join(page.uri, PAGE), text)


def _read(*parts: str) -> str:
    with open(os.path.join(*parts), encoding="utf-8") as file:
        return file.read()
