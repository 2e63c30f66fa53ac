"""TFX component: embeds the whole catalogue and matches cold songs, in bulk on Beam, with the exported model."""

import os
from collections.abc import Iterable

import apache_beam as beam
import numpy as np
import pyarrow as pa
from tensorflow_serving.apis import prediction_log_pb2
from tfx import v1 as tfx
from tfx.utils import path_utils
from tfx_bsl.public.beam.run_inference import RunInferencePerModel
from tfx_bsl.public.proto import model_spec_pb2

from tfx_pipeline.artifacts import SongEmbeddings
from tfx_pipeline.cold_split import SPLITS, WARM
from tfx_pipeline.components.similar_songs import ReadSongs, split_pattern

EMBEDDINGS = "embeddings"
MATCHES = "matches"
_EMBEDDINGS_SCHEMA = pa.schema(
    [
        ("song_id", pa.string()),
        ("split", pa.string()),
        ("embedding", pa.list_(pa.float32())),
        ("candidate_embedding", pa.list_(pa.float32())),
    ]
)
_MATCHES_SCHEMA = pa.schema(
    [("song_id", pa.string()), ("match_ids", pa.list_(pa.string())), ("match_scores", pa.list_(pa.float32()))]
)
_Logs = tuple[prediction_log_pb2.PredictionLog, ...]


@tfx.dsl.components.component(use_beam=True)
def CatalogueEmbedder(  # noqa: N802
    labelled_songs: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.Examples],
    model: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.Model],
    embeddings: tfx.dsl.components.OutputArtifact[SongEmbeddings],
    code: tfx.dsl.components.Parameter[str],
    beam_pipeline: tfx.dsl.components.BeamComponentParameter[beam.Pipeline] = None,
) -> None:
    """Runs the exported model over all songs, each split by the signatures that it needs.

    Args:
        labelled_songs: Songs by split.
        model: The exported model.
        embeddings: Embeddings of every song, matches of every song that is not warm.
        code: Fingerprint of the code, so that the cache follows it.
        beam_pipeline: Given by TFX.
    """
    del code
    saved_model = path_utils.serving_model_path(model.uri)
    with beam_pipeline as pipeline:
        rows, matches = [], []
        for split in SPLITS:
            signatures = ["serving_default", "candidate"] + ([] if split == WARM else ["match_examples"])
            logs = (
                pipeline
                | f"Read[{split}]" >> ReadSongs(split_pattern(labelled_songs, split))
                | f"RunModel[{split}]" >> RunInferencePerModel([_signature(saved_model, name) for name in signatures])
            )
            rows.append(logs | f"ToEmbeddings[{split}]" >> beam.MapTuple(_to_embeddings, split=split))
            if split != WARM:
                matches.append(logs | f"ToMatches[{split}]" >> beam.MapTuple(_to_matches))
        for name, parts, schema in ((EMBEDDINGS, rows, _EMBEDDINGS_SCHEMA), (MATCHES, matches, _MATCHES_SCHEMA)):
            (
                parts
                | f"Flatten[{name}]" >> beam.Flatten()
                | f"Write[{name}]"
                >> beam.io.WriteToParquet(os.path.join(embeddings.uri, name), schema, file_name_suffix=".parquet")
            )


def _signature(saved_model: str, name: str) -> model_spec_pb2.InferenceSpecType:
    spec = model_spec_pb2.SavedModelSpec(model_path=saved_model, signature_name=[name])
    return model_spec_pb2.InferenceSpecType(saved_model_spec=spec)


def _output(log: prediction_log_pb2.PredictionLog, name: str) -> Iterable:
    tensor = log.predict_log.response.outputs[name]
    return tensor.float_val or tensor.string_val


def _to_embeddings(song_id: bytes, logs: _Logs, split: str) -> dict:
    embedding, candidate = (np.asarray(_output(log, "embedding"), np.float32) for log in logs[:2])
    return {"song_id": song_id.decode(), "split": split, "embedding": embedding, "candidate_embedding": candidate}


def _to_matches(song_id: bytes, logs: _Logs) -> dict:
    ids, scores = _output(logs[2], "song_ids"), _output(logs[2], "scores")
    return {
        "song_id": song_id.decode(),
        "match_ids": [match.decode() for match in ids],
        "match_scores": np.asarray(scores, np.float32),
    }
