"""Losses over the embeddings of songs: pure functions with one value per example, and the classes that training uses.

Imports: config, ops.
Imported by: bcl_keras, models.
"""

from bcl_keras.losses.classes import BPR, InfoNCE, PairLoss, SampledSoftmax
from bcl_keras.losses.contrastive import info_nce
from bcl_keras.losses.embedding_loss import EmbeddingLoss
from bcl_keras.losses.ranking import bpr, sampled_softmax

__all__ = ["BPR", "EmbeddingLoss", "InfoNCE", "PairLoss", "SampledSoftmax", "bpr", "info_nce", "sampled_softmax"]
