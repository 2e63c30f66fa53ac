"""Training in TensorBoard: losses apart, and the correlation matrix as an image."""

from __future__ import annotations

import importlib
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
from keras import ops

from bcl_keras.callbacks.picture import encode_png, heatmap
from bcl_keras.fields import Array


class TrainingBoard(keras.callbacks.Callback):
    """Write TensorBoard events after each epoch: every log as a scalar, the correlation matrix as an image.

    The losses appear apart (`supervised_loss`, `contrastive_loss`). Put `ValidationRecall` before it to see the recall.
    Works on every backend; needs the `tensorboard` package.

    Args:
        log_dir: Folder of the events.

    Raises:
        ImportError: If `tensorboard` is not installed.

    Examples:
        >>> board = TrainingBoard("runs/first")
        >>> model.fit(stream, callbacks=[board])  # doctest: +SKIP
    """

    def __init__(self, log_dir: str | Path) -> None:
        super().__init__()
        try:
            self._summaries = importlib.import_module("tensorboard.compat.proto.summary_pb2")
            self._events = importlib.import_module("tensorboard.compat.proto.event_pb2")
            writers = importlib.import_module("tensorboard.summary.writer.event_file_writer")
        except ImportError as error:
            raise ImportError(
                "TrainingBoard must have the package `tensorboard` to write with. Received: none"
            ) from error
        self.log_dir = Path(log_dir)
        self._make_writer = writers.EventFileWriter
        self._writer: Any = None

    def on_train_begin(self, logs: Any = None) -> None:
        """Open the events file."""
        self._writer = self._make_writer(str(self.log_dir))

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Write the epoch's logs and the matrix."""
        values = [self._summaries.Summary.Value(tag=name, simple_value=float(v)) for name, v in (logs or {}).items()]
        if self.model.has_contrast:
            matrix = ops.convert_to_numpy(self.model.contrastive_views.correlation.matrix)
            values.append(self._image("feature_correlation", heatmap(matrix)))
        summary = self._summaries.Summary(value=values)
        self._writer.add_event(self._events.Event(wall_time=time.time(), step=epoch, summary=summary))
        self._writer.flush()

    def on_train_end(self, logs: Any = None) -> None:
        """Close the events file."""
        self._writer.close()

    def _image(self, tag: str, pixels: Array) -> Any:
        height, width, _ = pixels.shape
        image = self._summaries.Summary.Image(
            height=height, width=width, colorspace=3, encoded_image_string=encode_png(pixels)
        )
        return self._summaries.Summary.Value(tag=tag, image=image)
