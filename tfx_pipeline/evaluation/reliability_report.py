"""How well reliability orders songs by recall: fitted on validation songs, judged on test songs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from scipy.stats import rankdata

from bcl_keras.evaluation.bootstrap import interval, resampled_rows
from bcl_keras.fields import Array
from tfx_pipeline.contract.ids import SONG_ID, id_array
from tfx_pipeline.contract.splits import TEST, VALIDATION
from tfx_pipeline.evaluation.config import EvaluationConfig
from tfx_pipeline.evaluation.reliability import BEST_SCORE, Evidence, Reliability, evidence_of
from tfx_pipeline.evaluation.retrieval import model_recalls
from tfx_pipeline.models.song_table import SongTable

_PARTS = 5


def reliability_report(
    table: SongTable, queries: Array, candidates: Array, matches: pa.Table, config: EvaluationConfig
) -> dict[str, Any]:
    """Fits the reliability of matches on validation songs and judges it on test songs.

    Args:
        table: All songs.
        queries: `(len(table), d)`, embeddings of content.
        candidates: `(len(table), d)`, embeddings as in the index.
        matches: Matches of the validation and test songs, with the columns of `tfx_pipeline.evaluation.reliability`.
        config: Settings of the evaluation.

    Returns:
        Plain values: `validation_songs`, their number; `fitted`, which `Reliability.from_dict` reads, or None if they
        are too few; and `test`, the figures of `judge` on the test songs, if it is fitted.
    """
    place = np.full(len(table), -1)
    rows = table.rows_of(id_array(matches[SONG_ID]))
    place[rows[rows >= 0]] = np.flatnonzero(rows >= 0)

    def judged(split: str) -> tuple[Evidence, Array]:
        songs, recall = model_recalls(table, queries, candidates, config, split)
        if absent := int((place[songs] < 0).sum()):
            raise ValueError(
                f"matches: expected those of every {split} song. Received: none for {absent} of {len(songs)}"
            )
        return evidence_of(matches.take(pa.array(place[songs])), config.k), recall

    evidence, recall = judged(VALIDATION)
    fitted = Reliability.fit(evidence, recall, config.k) if len(recall) else None
    report: dict[str, Any] = {"validation_songs": len(recall), "fitted": None if fitted is None else fitted.to_dict()}
    if fitted is not None:
        evidence, recall = judged(TEST)
        best = np.nan_to_num(evidence[BEST_SCORE], nan=-np.inf)
        report["test"] = judge(fitted.predict(evidence), recall, config) | {"rho_of_best_score": spearman(best, recall)}
    return report


def judge(reliability: Array, recall: Array, config: EvaluationConfig) -> dict[str, Any]:
    """Returns Spearman's rho of songs with its 95 % bootstrap interval, and recall by fifths of reliability.

    rho is None where all songs have the same recall, or the same reliability.
    """
    rho = spearman(reliability, recall)
    low = high = None
    if rho is not None:
        drawn = [
            spearman(reliability[r], recall[r]) for r in resampled_rows(len(recall), config.bootstrap, config.seed)
        ]
        _, low, high = interval(rho, np.array([0.0 if value is None else value for value in drawn]))
    order = np.argsort(reliability, kind="stable")
    parts = [part for part in np.array_split(order, _PARTS) if len(part)]
    return {
        "songs": len(recall),
        "rho": rho,
        "low": low,
        "high": high,
        "fifths": [
            {
                "songs": len(part),
                "reliability": float(reliability[part].mean()),
                "recall": float(recall[part].mean()),
            }
            for part in parts
        ],
    }


def spearman(left: Array, right: Array) -> float | None:
    """Returns the correlation of ranks, equal values at the mean of theirs; None where a side has one value alone."""
    if len(left) < 2 or (left == left[0]).all() or (right == right[0]).all():
        return None
    return float(np.corrcoef(rankdata(left), rankdata(right))[0, 1])
