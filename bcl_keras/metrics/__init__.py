"""Retrieval metrics over all candidates: exact ranks, values per query, and Keras metrics named as in keras-rs.

Imports: nothing of this project.
Imported by: bcl_keras, callbacks.
"""

from bcl_keras.metrics.per_query import ndcg_at_k, recall_at_k, reciprocal_rank
from bcl_keras.metrics.ranks import embedding_ranks, positive_ranks
from bcl_keras.metrics.retrieval import MRR, NDCG, MeanReciprocalRank, NDCGAtK, RecallAtK, RetrievalMetric

__all__ = [
    "MRR",
    "NDCG",
    "MeanReciprocalRank",
    "NDCGAtK",
    "RecallAtK",
    "RetrievalMetric",
    "embedding_ranks",
    "ndcg_at_k",
    "positive_ranks",
    "recall_at_k",
    "reciprocal_rank",
]
