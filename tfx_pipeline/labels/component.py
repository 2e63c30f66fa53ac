"""TFX component: labels every song with its split, its listeners and its similar songs, and writes songs by split."""

import os
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import tensorflow as tf
from apache_beam import pvalue
from tfx import v1 as tfx
from tfx.components.util import examples_utils
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils

from tfx_pipeline.contract.splits import NEW, SPLITS, ColdSplit
from tfx_pipeline.labels.config import AudienceConfig
from tfx_pipeline.labels.similar_songs import FindSimilarSongs, SimilarSongs
from tfx_pipeline.models import features
from tfx_pipeline.tfx_extensions.components import component
from tfx_pipeline.tfx_extensions.example_files import ALL, ReadPlays, ReadSongs, plays_pattern, split_pattern

_NO_PLAYS = SimilarSongs(NEW, 0, [], [])


@component(use_beam=True)
def SimilarSongsLabeller(  # noqa: N802
    songs: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.Examples],
    plays: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.Examples],
    labelled_songs: tfx.dsl.components.OutputArtifact[tfx.types.standard_artifacts.Examples],
    audience: AudienceConfig,
    split: ColdSplit,
    beam_pipeline: tfx.dsl.components.BeamComponentParameter[beam.Pipeline] = None,
) -> None:
    """Finds similar songs from plays and splits off cold songs.

    Args:
        songs: tf.Examples of songs, split `all`.
        plays: Parquet of plays, split `all`.
        labelled_songs: The songs with the features of `tfx_pipeline.models.features.LABELS`, one split for each of
            `tfx_pipeline.contract.splits.SPLITS`. No label of a warm song depends on plays of held-out songs.
        audience: How plays become similar songs.
        split: Which songs are held out.
        beam_pipeline: Given by TFX.
    """
    labelled_songs.split_names = artifact_utils.encode_split_names(list(SPLITS))
    examples_utils.set_payload_format(labelled_songs, example_gen_pb2.PayloadFormat.FORMAT_TF_EXAMPLE)
    with beam_pipeline as pipeline:
        similar = (
            pipeline
            | "ReadPlays" >> ReadPlays(plays_pattern(plays))
            | "FindSimilarSongs" >> FindSimilarSongs(audience, split)
        )
        labelled = (
            {"song": pipeline | "ReadSongs" >> ReadSongs(split_pattern(songs, ALL)), "similar": similar}
            | "JoinSongs" >> beam.CoGroupByKey()
            | "Label" >> beam.ParDo(_Label()).with_outputs(*SPLITS)
        )
        for name in SPLITS:
            labelled[name] | f"Write[{name}]" >> beam.io.WriteToTFRecord(
                os.path.join(artifact_utils.get_split_uri([labelled_songs], name), "songs"), file_name_suffix=".gz"
            )


class _Label(beam.DoFn):
    """Adds the labels to a song's example and yields it under the name of its split."""

    def process(self, element: tuple[bytes, dict[str, list[Any]]]) -> Iterator[Any]:
        _, joined = element
        if not joined["song"]:  # plays of a song outside the catalogue: the contract limits their share
            return
        similar = joined["similar"][0] if joined["similar"] else _NO_PLAYS
        example = tf.train.Example.FromString(joined["song"][0])
        feature = example.features.feature
        feature[features.LISTENERS].int64_list.value.append(similar.listeners)
        feature[features.SIMILAR_IDS].bytes_list.value.extend(similar.ids)
        feature[features.SIMILAR_SCORES].float_list.value.extend(similar.scores)
        yield pvalue.TaggedOutput(similar.split, example.SerializeToString(deterministic=True))
