"""Where the SavedModel of an artifact lies."""

import os

import tensorflow as tf
from tfx.utils import path_utils


def saved_model_of(uri: str) -> str:
    """Returns the folder of the SavedModel in a Model artifact, or in a version folder imported as one."""
    return uri if tf.io.gfile.exists(os.path.join(uri, "saved_model.pb")) else path_utils.serving_model_path(uri)
