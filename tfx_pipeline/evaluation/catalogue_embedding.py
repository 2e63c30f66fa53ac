"""TFX component: embeds the whole catalogue and matches cold songs, in bulk on Beam, with the exported model."""

import os
from collections.abc import Callable
from typing import Any

import apache_beam as beam
import tensorflow as tf
from apache_beam.pvalue import PCollection
from tensorflow_serving.apis import prediction_log_pb2
from tfx import v1 as tfx
from tfx.utils import path_utils
from tfx_bsl.public.beam.run_inference import RunInference, RunInferencePerModel
from tfx_bsl.public.proto import model_spec_pb2

from bcl_keras.fields import Array
from tfx_pipeline.contract import schemas
from tfx_pipeline.contract.ids import SONG_ID
from tfx_pipeline.contract.splits import COLD_SPLITS, SPLITS
from tfx_pipeline.evaluation.match_rows import MATCH_ROWS, match_row
from tfx_pipeline.tfx_extensions.artifacts import SongEmbeddings
from tfx_pipeline.tfx_extensions.components import component
from tfx_pipeline.tfx_extensions.example_files import ReadSongs, split_pattern

EMBEDDINGS = "embeddings"
MATCHES = "matches"
_Song = tuple[str, str]  # id, split
_KeyedSong = tuple[_Song, bytes]


@component(use_beam=True)
def CatalogueEmbedder(  # noqa: N802
    labelled_songs: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.Examples],
    model: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.Model],
    embeddings: tfx.dsl.components.OutputArtifact[SongEmbeddings],
    beam_pipeline: tfx.dsl.components.BeamComponentParameter[beam.Pipeline] = None,
) -> None:
    """Runs the exported model over all songs, each split by the signatures that it needs.

    Args:
        labelled_songs: Songs by split.
        model: The exported model.
        embeddings: Embeddings of every song, matches of every song that is not warm, with the split of each. A song
            without known values has no matches and no targets, because its scores mean nothing.
        beam_pipeline: Given by TFX.
    """
    saved_model = path_utils.serving_model_path(model.uri)
    with beam_pipeline as pipeline:
        songs = {
            split: pipeline
            | f"Read[{split}]" >> ReadSongs(split_pattern(labelled_songs, split))
            | f"KeyBySplit[{split}]" >> beam.MapTuple(_key_by(split)).with_output_types(_KeyedSong)
            for split in SPLITS
        }
        # Once over all splits: every use of a signature loads the model anew.
        rows = (
            songs.values()
            | "AllSongs" >> beam.Flatten()
            | "Embed"
            >> RunInferencePerModel([_signature(saved_model, name) for name in ("serving_default", "candidate")])
            | "ToEmbeddings" >> beam.MapTuple(_to_embeddings)
        )
        matches = (
            [songs[split] for split in COLD_SPLITS]
            | "SongsToMatch" >> beam.Flatten()
            | "Match" >> MatchSongs(saved_model)
        )
        for name, table, schema in ((EMBEDDINGS, rows, schemas.EMBEDDINGS), (MATCHES, matches, MATCH_ROWS)):
            table | f"Write[{name}]" >> beam.io.WriteToParquet(
                os.path.join(embeddings.uri, name), schema, file_name_suffix=".parquet"
            )


class MatchSongs(beam.PTransform[PCollection[_KeyedSong], PCollection[dict[str, Any]]]):
    """Turns keyed songs into rows of matches, with the exported model."""

    def __init__(self, saved_model: str) -> None:
        super().__init__()
        self._saved_model = saved_model

    def expand(self, songs: PCollection[_KeyedSong]) -> PCollection[dict[str, Any]]:
        """Returns a row of matches for each song."""
        return (
            songs
            | "Infer" >> RunInference(_signature(self._saved_model, "match_examples"))
            | "ToMatches" >> beam.MapTuple(_to_matches)
        )


def _key_by(split: str) -> Callable[[bytes, bytes], _KeyedSong]:
    return lambda song_id, example: ((song_id.decode(), split), example)


def _signature(saved_model: str, name: str) -> model_spec_pb2.InferenceSpecType:
    spec = model_spec_pb2.SavedModelSpec(model_path=saved_model, signature_name=[name])
    return model_spec_pb2.InferenceSpecType(saved_model_spec=spec)


def _output(log: prediction_log_pb2.PredictionLog, name: str) -> Array:
    """Returns the one row of an output."""
    return tf.make_ndarray(log.predict_log.response.outputs[name]).reshape(-1)


def _to_embeddings(song: _Song, logs: tuple[prediction_log_pb2.PredictionLog, ...]) -> dict[str, Any]:
    song_id, split = song
    embedding, candidate = (_output(log, "embedding") for log in logs)
    return {SONG_ID: song_id, "split": split, "embedding": embedding, "candidate_embedding": candidate}


def _to_matches(song: _Song, log: prediction_log_pb2.PredictionLog) -> dict[str, Any]:
    return match_row(*song, {name: _output(log, name) for name in log.predict_log.response.outputs})
