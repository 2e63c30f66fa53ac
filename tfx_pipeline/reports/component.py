"""TFX component: the page that a run leaves."""

import json
import os

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import tensorflow as tf
from tfx import v1 as tfx
from tfx.utils import io_utils

from tfx_pipeline.contract.ids import SONG_ID
from tfx_pipeline.contract.splits import NEW
from tfx_pipeline.evaluation.catalogue_embedding import MATCHES
from tfx_pipeline.evaluation.component import REPORT as EVALUATION_REPORT
from tfx_pipeline.gates.data_gate import REPORT as DATA_REPORT
from tfx_pipeline.gates.data_gate import read_statistics
from tfx_pipeline.gates.serving_validator import REASON
from tfx_pipeline.reports import run_page
from tfx_pipeline.targeting import read_marker, read_summary, read_targets
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
from tfx_pipeline.tfx_extensions.example_files import ALL, split_pattern

_SONGS, _MATCHES, _LISTENERS = 5, 8, 5
_TITLES = ("title", "name")


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
) -> None:
    """Writes `run.html`.

    Args:
        song_statistics: Of the songs.
        play_statistics: Of the plays.
        report_of_data: How they differ from those of the last pushed run.
        model_run: What the Trainer says of its work.
        evaluation: How good the model is, and why it was refused if it was.
        infra_blessing: Whether it answered when it was served, and why not.
        pushed_model: Whether and where it was pushed.
        songs: For the names of songs.
        embeddings: Matches of cold songs.
        targets: Target listeners of cold songs.
        page: The page.
        served_blessing: What was judged and what is served, where that is not the same model.
    """
    pushed = pushed_model.get_int_custom_property("pushed")
    targeted = bool(targets.get_int_custom_property("targeted"))
    text = run_page.page(
        songs=run_page.columns(read_statistics(song_statistics)),
        plays=run_page.columns(read_statistics(play_statistics)),
        data_report=_read(report_of_data.uri, DATA_REPORT),
        learnt=json.loads(_read(model_run.uri, LEARNT)),
        evaluation=json.loads(_read(evaluation.uri, EVALUATION_REPORT)),
        served=None if served_blessing is None else json.loads(_read(served_blessing.uri, SERVED)),
        served_badly=None if infra_blessing.get_int_custom_property("blessed") else _read(infra_blessing.uri, REASON),
        pushed=pushed_model.get_string_custom_property("pushed_destination") if pushed else None,
        examples=_examples(songs, embeddings, targets) if targeted else [],
        unknown_songs=_without_matches(embeddings) if targeted else 0,
        target_scores=in_words(settled(read_marker(targets.uri))) if targeted else "",
    )
    io_utils.write_string_file(os.path.join(page.uri, PAGE), text)


def _read(*parts: str) -> str:
    with open(os.path.join(*parts), encoding="utf-8") as file:
        return file.read()


def _examples(
    songs: tfx.types.standard_artifacts.Examples, embeddings: SongEmbeddings, targets: TargetListeners
) -> list[run_page.Example]:
    """The new songs with the largest audiences to choose from; held-out ones only where there is no new one."""
    summary = [row for row in read_summary(targets.uri).to_pylist() if row["targets"]]
    new = [row for row in summary if row["split"] == NEW] or summary
    chosen = sorted(new, key=lambda row: (-row["audience"], row["song_id"]))[:_SONGS]
    ids = [row["song_id"] for row in chosen]
    columns = ["song_id", "match_ids", "match_scores"]
    rows = (
        _matches(embeddings)
        .to_table(columns=columns, filter=ds.field("song_id").isin(pa.array(ids, pa.string())))
        .to_pylist()
    )
    matches = {row["song_id"]: row for row in rows}
    listeners = read_targets(targets.uri, ids).to_pylist()
    names = _names(songs, {match for row in rows for match in row["match_ids"][:_MATCHES]} | set(ids))
    return [
        run_page.Example(
            names.get(song, song) + ("" if split == NEW else " (held out)"),
            [
                (names.get(match, match), score)
                for match, score in zip(
                    matches[song]["match_ids"][:_MATCHES], matches[song]["match_scores"], strict=False
                )
            ],
            [
                (row["score"], [names.get(reason, reason) for reason in row["reason_song_ids"][:3]])
                for row in listeners
                if row["song_id"] == song and row["rank"] <= _LISTENERS
            ],
        )
        for song, split in ((row["song_id"], row["split"]) for row in chosen)
    ]


def _matches(embeddings: SongEmbeddings) -> ds.Dataset:
    files = [os.path.join(embeddings.uri, n) for n in sorted(os.listdir(embeddings.uri)) if n.startswith(MATCHES)]
    return ds.dataset(files, format="parquet")


def _without_matches(embeddings: SongEmbeddings) -> int:
    """Number of songs that the model was asked about and knows no value of."""
    lengths = pc.list_value_length(_matches(embeddings).to_table(columns=["match_ids"])["match_ids"])
    return int(pc.sum(pc.equal(lengths, 0)).as_py() or 0)


def _names(songs: tfx.types.standard_artifacts.Examples, wanted: set[str]) -> dict[str, str]:
    """Titles of the songs that have one, in one pass over the examples."""
    found = {}
    files = tf.io.gfile.glob(split_pattern(songs, ALL))
    for record in tf.data.TFRecordDataset(files, compression_type="GZIP").as_numpy_iterator():
        feature = tf.train.Example.FromString(record).features.feature
        song = feature[SONG_ID].bytes_list.value[0].decode()
        if song not in wanted:
            continue
        for column in _TITLES:
            if feature[column].bytes_list.value:
                found[song] = feature[column].bytes_list.value[0].decode()
                break
    return found
