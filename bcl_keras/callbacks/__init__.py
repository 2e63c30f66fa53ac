"""Keras callbacks that watch training: recall on validation songs, and TensorBoard.

Imports: checks, evaluation, fields, metrics.
Imported by: bcl_keras.
"""

from bcl_keras.callbacks.picture import encode_png, heatmap
from bcl_keras.callbacks.training_board import TrainingBoard
from bcl_keras.callbacks.validation_recall import ValidationRecall

__all__ = ["TrainingBoard", "ValidationRecall", "encode_png", "heatmap"]
