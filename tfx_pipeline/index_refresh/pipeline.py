"""The pipeline that refreshes a served index between trainings: songs in, the next version pushed."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from ml_metadata.proto import metadata_store_pb2
from tfx import v1 as tfx

from serving.refresh.takedown import digest_of_taken_down
from serving.savedmodel.publish import latest_version
from tfx_pipeline import contract
from tfx_pipeline.gates.serving_validator import ServingValidator
from tfx_pipeline.index_refresh.component import IndexRefresher
from tfx_pipeline.tfx_extensions import standard
from tfx_pipeline.tfx_extensions.example_files import ALL


def create_refresh_pipeline(
    *,
    pipeline_name: str,
    pipeline_root: Path | str,
    data_root: Path | str,
    serving_dir: Path | str,
    fields: Sequence[contract.SongField],
    max_dropped: float = 0.2,
    metadata_connection_config: metadata_store_pb2.ConnectionConfig | None = None,
    beam_pipeline_args: Sequence[str] = (),
) -> tfx.dsl.Pipeline:
    """Builds the pipeline, which starts from the version that is the latest at that time.

    Args:
        pipeline_name: Name under which runs are recorded. It must differ from that of the training pipeline.
        pipeline_root: Folder for what the components write.
        data_root: Folder written by `contract.prepare`. Only its songs are read.
        serving_dir: Folder of the model's versions.
        fields: The song fields that `contract.prepare` found.
        max_dropped: The largest share of the index that may be dropped.
        metadata_connection_config: Where runs are recorded.
        beam_pipeline_args: Options of the Beam runner.

    Returns:
        A pipeline for any TFX runner.

    Raises:
        PublishError: If `serving_dir` holds no version.
        TakedownError: If its record of songs taken down is damaged.
    """
    songs = Path(data_root) / contract.SONGS
    song_gen = standard.parquet_example_gen(songs).with_id("SongGen")
    served = tfx.dsl.Importer(
        # The cache depends on the path, so links are resolved.
        source_uri=os.path.realpath(latest_version(str(serving_dir))[1]),
        artifact_type=tfx.types.standard_artifacts.Model,
    ).with_id("ServedModel")
    refresher = IndexRefresher(
        served=served.outputs["result"],
        songs=song_gen.outputs["examples"],
        fields=tuple(fields),
        max_dropped=max_dropped,
        serving_dir=str(serving_dir),
        gone=digest_of_taken_down(serving_dir),
    )
    validator = ServingValidator(
        model=refresher.outputs["model"],
        labelled_songs=song_gen.outputs["examples"],
        split=ALL,
    )
    pusher = standard.pusher(
        refresher.outputs["model"],
        model_blessing=refresher.outputs["blessing"],
        infra_blessing=validator.outputs["blessing"],
        serving_dir=serving_dir,
    )
    return tfx.dsl.Pipeline(
        pipeline_name=pipeline_name,
        pipeline_root=str(pipeline_root),
        components=[song_gen, served, refresher, validator, pusher],
        enable_cache=True,
        metadata_connection_config=metadata_connection_config,
        beam_pipeline_args=list(beam_pipeline_args),
    )
