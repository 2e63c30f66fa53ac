"""TFX component: the check that an exported model answers over gRPC, before it is pushed.

TFX's InfraValidator needs Docker or Kubernetes; this one asks the embedded server, which runs the model in the same
TensorFlow session as TensorFlow Serving.
"""

import logging
import os
import shutil
import tempfile

import numpy as np
import tensorflow as tf
from tfx import v1 as tfx
from tfx.utils import io_utils, path_utils

from serving.client import Client
from serving.savedmodel.warmup_requests import warmed_signatures
from serving.server import EmbeddedServer
from tfx_pipeline.contract.splits import WARM
from tfx_pipeline.tfx_extensions.components import component
from tfx_pipeline.tfx_extensions.example_files import split_pattern

logger = logging.getLogger(__name__)

REASON = "INFRA_NOT_BLESSED"
_SONGS = 16
_NAME = "bcl"
# Seconds. Even on a busy machine, only a model that hangs takes so long.
_LAST_RESORT = 1800.0


@component
def ServingValidator(  # noqa: N802
    model: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.Model],
    labelled_songs: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.Examples],
    blessing: tfx.dsl.components.OutputArtifact[tfx.types.standard_artifacts.InfraBlessing],
    split: tfx.dsl.components.Parameter[str] = WARM,
) -> None:
    """Blesses a model that answers its warm-up requests and embeds songs, all finite, asked as a service would ask.

    Args:
        model: The exported model.
        labelled_songs: Songs by split, to ask with.
        blessing: Custom property `blessed` is 1 or 0. The file that TFX expects holds the reason of a refusal.
        split: The split of the songs to ask with.
    """
    records = tf.data.TFRecordDataset(tf.io.gfile.glob(split_pattern(labelled_songs, split)), compression_type="GZIP")
    problem = problem_of(path_utils.serving_model_path(model.uri), list(records.take(_SONGS).as_numpy_iterator()))
    blessing.set_int_custom_property("blessed", int(problem is None))
    if problem is not None:
        logger.error("The model is refused: %s", problem)
    name = "INFRA_BLESSED" if problem is None else REASON
    io_utils.write_string_file(os.path.join(blessing.uri, name), problem or "")


def problem_of(saved_model: str, songs: list[bytes]) -> str | None:
    """Returns why a served model fails its warm-up requests or gives wrong embeddings; None if it passes.

    Args:
        saved_model: Folder of the SavedModel.
        songs: Serialized tf.Examples.
    """
    with tempfile.TemporaryDirectory() as base:
        shutil.copytree(saved_model, os.path.join(base, "1"))
        try:
            with (
                # One attempt: the wait before the next is for models that are still being copied. No check of songs:
                # those of the catalogue have titles and other columns that the model does not take.
                EmbeddedServer(
                    port=0, model_name=_NAME, model_base_path=base, max_num_load_retries=0, check_song_inputs=False
                ) as server,
                Client(server.target, model_name=_NAME, timeout=_LAST_RESORT) as client,
            ):
                unasked = set(client.metadata()) - warmed_signatures(saved_model)
                embedding = client.predict({"examples": np.array(songs, dtype=object)})["embedding"]
        except Exception as error:  # whatever stops it from answering is a reason not to push
            return f"{type(error).__name__}: {error}"
    if unasked:
        return f"assets.extra: expected a warm-up request for each signature. Received: none for {sorted(unasked)}"
    if embedding.shape[0] != len(songs) or not np.isfinite(embedding).all():
        return f"embedding: expected {len(songs)} finite rows. Received: shape {embedding.shape}"
    return None
