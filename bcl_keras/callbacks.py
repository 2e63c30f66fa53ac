"""Watch training: recall on validation songs; TensorBoard with losses apart and the correlation matrix as an image."""

from __future__ import annotations

import importlib
import struct
import time
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from bcl_keras.checks import check_validation
from bcl_keras.evaluation.choices import is_better
from bcl_keras.fields import Array
from bcl_keras.metrics import embedding_ranks, recall_at_k

CELL_PIXELS = 16
# From no correlation to full: white to dark blue, which also reads in grey.
COLOURS = np.array([[255, 255, 255], [8, 48, 107]], dtype="float64")


class ValidationRecall(keras.callbacks.Callback):
    """Add `val_recall_at_<k>` to the logs after each epoch: queries by content, candidates with their plays.

    Put it before callbacks that read it, such as `EarlyStopping(monitor="val_recall_at_50", mode="max")`.

    Args:
        features: Field name to values of the n validation songs.
        positives: `(n, P)` rows of the warm songs they should retrieve, padded with -1; songs without any are left out.
        k: Length of the list. Defaults to 50.
        every: Epochs between measurements. Defaults to 1.
        restore_best: Whether training ends with the trainable weights of the best measurement, the first of equal ones.
            Defaults to `False`.

    Raises:
        ValueError: If `every` is below 1 or no validation song has a positive; when training starts, if a field keeps
            not its contract or a positive is no row of a warm song.
    """

    def __init__(
        self, features: Mapping[str, Any], positives: Any, k: int = 50, every: int = 1, restore_best: bool = False
    ) -> None:
        super().__init__()
        if every < 1:
            raise ValueError(f"Argument `every` must be at least 1. Received: {every}")
        self.features, self.positives = features, np.asarray(positives)
        if not (self.positives >= 0).any():
            raise ValueError("Argument `positives` must hold a positive of at least one song. Received: none")
        self.k, self.every, self.restore_best = k, every, restore_best
        self.best = -1.0
        self._weights: list[Array] = []

    def set_model(self, model: Any) -> None:
        """Take the model, whose fields say what the features must be."""
        super().set_model(model)
        features, positives = check_validation(model.fields, (self.features, self.positives), model.num_songs)
        judged = (positives >= 0).any(axis=1)
        self.features = {name: values[judged] for name, values in features.items()}
        self.positives = positives[judged]

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Measure, add to the logs, and remember the weights if they are the best."""
        if (epoch + 1) % self.every:
            return
        recall = self.measure()
        if logs is not None:
            logs[f"val_recall_at_{self.k}"] = recall
        if is_better(recall, self.best):
            self.best = recall
            if self.restore_best:
                self._weights = [np.array(ops.convert_to_numpy(weight)) for weight in self.model.trainable_variables]

    def on_train_end(self, logs: Any = None) -> None:
        """Restore the best weights."""
        if self._weights:
            for variable, weight in zip(self.model.trainable_variables, self._weights, strict=True):
                variable.assign(weight)

    def measure(self) -> float:
        """Return the mean recall of the validation songs."""
        tensors = {name: ops.convert_to_tensor(values) for name, values in self.features.items()}
        candidates = self.model.embed_songs(np.arange(self.model.num_songs), candidate=True)
        ranks = embedding_ranks(self.model.song_tower(tensors), candidates, self.positives)
        return float(np.nanmean(ops.convert_to_numpy(recall_at_k(ranks, self.k))))


class TrainingBoard(keras.callbacks.Callback):
    """Write TensorBoard events after each epoch: every log as a scalar, the correlation matrix as an image.

    So the losses stand apart (`supervised_loss`, `contrastive_loss`), and with `ValidationRecall` before it the recall.
    Works on every backend; needs the `tensorboard` package.

    Args:
        log_dir: Folder of the events.

    Raises:
        ImportError: If `tensorboard` is not installed.
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


def heatmap(matrix: Array, cell: int = CELL_PIXELS) -> Array:
    """Return a picture of a matrix of values in [0, 1], from white to dark blue.

    Args:
        matrix: `(rows, columns)`.
        cell: Pixels per entry along each axis. Defaults to 16.

    Returns:
        `(rows * cell, columns * cell, 3)` uint8.
    """
    share = np.clip(np.nan_to_num(matrix), 0.0, 1.0)[:, :, None]
    colours = np.rint((1.0 - share) * COLOURS[0] + share * COLOURS[1]).astype("uint8")
    return colours.repeat(cell, axis=0).repeat(cell, axis=1)


def encode_png(pixels: Array) -> bytes:
    """Return pixels `(height, width, 3)` uint8 as a PNG file.

    References:
        Portable Network Graphics, W3C: colour type 2, no filter. Written here because it is ten lines and an imaging
        library is more than the library itself.
    """
    height, width, _ = pixels.shape
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, body) for kind, body in chunks)


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
