"""TFX component: CAT. Finds target listeners for every cold song on Beam."""

import json
import os

import apache_beam as beam
import pyarrow as pa
import pyarrow.compute as pc
from tfx import v1 as tfx
from tfx.components.util import model_utils

from tfx_pipeline.artifacts import SongEmbeddings, TargetListeners
from tfx_pipeline.cold_split import COLD_SPLITS, WARM
from tfx_pipeline.components.catalogue_embedding import EMBEDDINGS, MATCHES
from tfx_pipeline.components.similar_songs import ALL, split_pattern
from tfx_pipeline.play_records import ReadPlays
from tfx_pipeline.targeting import TargetingConfig, WriteTargets
from tfx_pipeline.targeting import TargetListeners as FindTargetListeners

_TARGETED = (WARM, *COLD_SPLITS)


@tfx.dsl.components.component(use_beam=True)
def AudienceTargeter(  # noqa: N802
    plays: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.Examples],
    embeddings: tfx.dsl.components.InputArtifact[SongEmbeddings],
    model_blessing: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.ModelBlessing],
    targets: tfx.dsl.components.OutputArtifact[TargetListeners],
    settings: tfx.dsl.components.Parameter[str],
    code: tfx.dsl.components.Parameter[str],
    beam_pipeline: tfx.dsl.components.BeamComponentParameter[beam.Pipeline] = None,
) -> None:
    """Writes target listeners, unless the model was not blessed: then the artifact stays empty.

    Args:
        plays: tf.Examples of plays, split `all`.
        embeddings: Embeddings and matches of the catalogue.
        model_blessing: Whether the model may be used.
        targets: See `tfx_pipeline.targeting.sinks`. Custom property `targeted` says whether there are any.
        settings: `TargetingConfig` as JSON.
        code: Fingerprint of the code, so that the cache follows it.
        beam_pipeline: Given by TFX.
    """
    del code
    blessed = model_utils.is_model_blessed(model_blessing)
    targets.set_int_custom_property("targeted", int(blessed))
    if not blessed:
        return
    config = TargetingConfig.from_dict(json.loads(settings))
    with beam_pipeline as pipeline:
        inputs = {
            "catalogue": pipeline
            | "ReadCatalogue" >> _read(embeddings.uri, EMBEDDINGS)
            | "KeepTargeted" >> beam.Map(_keep_targeted).with_output_types(pa.Table),
            "matches": pipeline | "ReadMatches" >> _read(embeddings.uri, MATCHES),
            "plays": pipeline
            | "ReadPlays" >> ReadPlays(split_pattern(plays, ALL))
            | "ToTables" >> beam.Map(_to_table).with_output_types(pa.Table),
        }
        inputs | "FindTargetListeners" >> FindTargetListeners(config) | "Write" >> WriteTargets(targets.uri, config)


def _read(folder: str, name: str) -> beam.PTransform:
    return beam.io.ReadFromParquetBatched(os.path.join(folder, f"{name}-*.parquet"))


def _keep_targeted(catalogue: pa.Table) -> pa.Table:
    """Leaves out sparse songs: they have listeners, so they are not cold, and too few to be matched to."""
    return catalogue.filter(pc.is_in(catalogue["split"], value_set=pa.array(_TARGETED)))


def _to_table(batch: pa.RecordBatch) -> pa.Table:
    columns = dict(zip(batch.schema.names, batch.columns, strict=True))
    strings = {name: columns[name].flatten().cast(pa.string()) for name in ("user_id", "song_id")}
    return pa.table({**strings, "plays": columns["plays"].flatten()})
