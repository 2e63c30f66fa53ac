"""TFX components: target listeners for every cold song on Beam, and the weight of the count in their scores."""

import dataclasses
import glob
import json
import os
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pyarrow.compute as pc
from tfx import v1 as tfx

from serving.refresh.takedown import taken_down
from tfx_pipeline.columnar.reading import ReadParquet
from tfx_pipeline.contract.ids import SONG_ID
from tfx_pipeline.contract.splits import VALIDATION
from tfx_pipeline.evaluation.catalogue_embedding import EMBEDDINGS, MATCHES
from tfx_pipeline.targeting import TargetingConfig, WriteTargets
from tfx_pipeline.targeting import TargetListeners as FindTargetListeners
from tfx_pipeline.targeting.beam.count_weight import choose_weight
from tfx_pipeline.targeting.data.takedown import without_songs
from tfx_pipeline.tfx_extensions.artifacts import CountWeight, SongEmbeddings, TargetListeners
from tfx_pipeline.tfx_extensions.components import component
from tfx_pipeline.tfx_extensions.example_files import ReadPlays, plays_pattern

WEIGHT = "weight.json"
#: Why a song is a match is not needed here, and several times as large.
_OF_MATCHES = (SONG_ID, "split", "match_ids", "match_scores")


@component(use_beam=True)
def AudienceTargeter(  # noqa: N802
    plays: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.Examples],
    embeddings: tfx.dsl.components.InputArtifact[SongEmbeddings],
    pushed_model: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.PushedModel],
    targets: tfx.dsl.components.OutputArtifact[TargetListeners],
    settings: TargetingConfig,
    listeners: tfx.dsl.components.Parameter[str] = "",
    exclusions: tfx.dsl.components.Parameter[str] = "",
    digests: tfx.dsl.components.Parameter[str] = "",
    serving_dir: tfx.dsl.components.Parameter[str] = "",
    count_weight: tfx.dsl.components.InputArtifact[CountWeight] = None,
    beam_pipeline: tfx.dsl.components.BeamComponentParameter[beam.Pipeline] = None,
) -> None:
    """Writes target listeners, unless the model was not pushed: then the artifact stays empty.

    Args:
        plays: Parquet of plays, split `all`.
        embeddings: Embeddings and matches of the catalogue.
        pushed_model: Whether the model is served; targets and served matches are of one model.
        targets: See `tfx_pipeline.targeting.data.sinks`. The custom property `targeted` says whether there are any, and
            `embeddings` where their matches lie.
        settings: How listeners are scored and chosen.
        listeners: Parquet file of listener vectors (user_id, embedding) in place of those formed from plays; "" = none.
        exclusions: Parquet file of exclusions (user_id, song_id; a null song_id means every song); "" = none.
        digests: Of these two files' contents, so that the cache follows them.
        serving_dir: Folder of the model's versions, which records the songs that were taken down, also during the run.
            They are in no target and no reason. "" = none was.
        count_weight: The weight of the count where no validation songs are left to choose it, from `WeightChooser`.
        beam_pipeline: Given by TFX.
    """
    del digests
    pushed = pushed_model.get_int_custom_property("pushed")
    targets.set_int_custom_property("targeted", int(bool(pushed)))
    if not pushed:
        return
    targets.set_string_custom_property("embeddings", embeddings.uri)
    if count_weight is not None:
        with open(os.path.join(count_weight.uri, WEIGHT), encoding="utf-8") as file:
            settings = dataclasses.replace(settings, count_weight=json.load(file)["count_weight"])
    with beam_pipeline as pipeline:
        inputs = _inputs(pipeline, embeddings.uri, plays_pattern(plays), listeners, exclusions)
        inputs = without_songs(inputs, taken_down(serving_dir) if serving_dir else ())
        inputs | "FindTargetListeners" >> FindTargetListeners(settings) | "Write" >> WriteTargets(targets.uri, settings)


@component(use_beam=True)
def WeightChooser(  # noqa: N802
    plays: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.Examples],
    embeddings: tfx.dsl.components.InputArtifact[SongEmbeddings],
    count_weight: tfx.dsl.components.OutputArtifact[CountWeight],
    settings: TargetingConfig,
    listeners: tfx.dsl.components.Parameter[str] = "",
    exclusions: tfx.dsl.components.Parameter[str] = "",
    digests: tfx.dsl.components.Parameter[str] = "",
    beam_pipeline: tfx.dsl.components.BeamComponentParameter[beam.Pipeline] = None,
) -> None:
    """Chooses the weight of the count by the listeners of validation songs.

    It needs the judged model: for the model that is served no song is held out, so there is nothing to choose by.

    Args:
        plays: Parquet of plays, split `all`.
        embeddings: Embeddings and matches of the catalogue by the judged model.
        count_weight: Holds `weight.json`.
        settings: How listeners are scored and chosen.
        listeners: As for `AudienceTargeter`.
        exclusions: As for `AudienceTargeter`.
        digests: As for `AudienceTargeter`.
        beam_pipeline: Given by TFX.
    """
    del digests
    # Validation songs alone are matched and get targets, to be counted: a tenth of the work.
    config = dataclasses.replace(settings, target_splits=(VALIDATION,), reach="filter", cap=None)
    with beam_pipeline as pipeline:
        inputs = _inputs(pipeline, embeddings.uri, plays_pattern(plays), listeners, exclusions)
        inputs["matches"] |= "OfValidationSongs" >> beam.Map(_of_validation_songs).with_output_types(pa.Table)
        found = inputs | "FindTargetListeners" >> FindTargetListeners(config)
        (
            found.totals
            | "Choose" >> beam.Map(_chosen)
            | "Write" >> beam.io.WriteToText(os.path.join(count_weight.uri, WEIGHT), shard_name_template="")
        )


def _inputs(pipeline: beam.Pipeline, embeddings: str, plays: str, listeners: str, exclusions: str) -> dict[str, Any]:
    inputs = {
        "catalogue": pipeline | "ReadCatalogue" >> _read(embeddings, EMBEDDINGS),
        "matches": pipeline | "ReadMatches" >> _read(embeddings, MATCHES, _OF_MATCHES),
        "plays": pipeline | "ReadPlays" >> ReadPlays(plays),
    }
    for name, file in (("listeners", listeners), ("exclusions", exclusions)):
        if file:
            inputs[name] = pipeline | f"Read {name}" >> ReadParquet(glob.escape(file))
    return inputs


def _of_validation_songs(matches: pa.Table) -> pa.Table:
    return matches.filter(pc.equal(matches["split"], VALIDATION))


def _chosen(totals: dict[str, int]) -> str:
    return json.dumps({"count_weight": choose_weight(totals)})


def _read(folder: str, name: str, columns: tuple[str, ...] | None = None) -> beam.PTransform[Any, Any]:
    return ReadParquet(os.path.join(folder, f"{name}-*.parquet"), columns)
