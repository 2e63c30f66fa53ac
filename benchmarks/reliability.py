"""Measure how well the reliability of matches orders test songs by their recall@50.

python -m benchmarks.reliability --data DIR [DIR ...] [--seeds 3] [--epochs N | --closed-form]

The data sets are folders of the input contract. Each seed draws another split. The model is the joined one that the
pipeline serves, or the closed form alone, which takes seconds where towers take minutes. Reliability is fitted on
validation songs.
Prints a line of JSON for each split: Spearman's rho with its 95 % bootstrap interval, that of the best score and of the
number of known fields alone, and recall by fifths of reliability.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from tfx_pipeline.runtime.keras_backend import use_tensorflow

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
use_tensorflow()  # before Keras is imported

from bcl_keras.evaluation.content import has_value  # noqa: E402
from tfx_pipeline.evaluation.config import EvaluationConfig  # noqa: E402
from tfx_pipeline.evaluation.reliability import BEST_SCORE, KNOWN_FIELDS, Reliability, evidence_of  # noqa: E402
from tfx_pipeline.evaluation.reliability_report import judge, spearman  # noqa: E402
from tfx_pipeline.models.model_config import measured_towers  # noqa: E402

if TYPE_CHECKING:
    import bcl_keras
    from benchmarks.quality.problem import Problem

_CONFIG = EvaluationConfig()
_MATCHES, _BATCH = 100, 256


def main(argv: list[str]) -> int:
    """Prints the figures."""
    from benchmarks.quality.problem import Problem
    from benchmarks.targeting_study.datasets import read_data_set

    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.reliability", description=(__doc__ or "").split("\n\n")[2]
    )
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="folders in the input contract")
    parser.add_argument("--seeds", type=int, default=3, help="number of splits (default %(default)s)")
    towers = parser.add_mutually_exclusive_group()
    towers.add_argument("--closed-form", action="store_true", help="the closed form alone, without towers")
    towers.add_argument("--epochs", type=int, help="most epochs of the towers; default: as the pipeline trains them")
    arguments = parser.parse_args(argv)
    for folder in arguments.data:
        data = read_data_set(folder)
        for seed in range(arguments.seeds):
            problem = Problem.of(data, seed, arguments.epochs)
            found = figures(problem, model_of(problem, closed_form=arguments.closed_form))
            sys.stdout.write(json.dumps({"data": data.name, "seed": seed, **found}) + "\n")
            sys.stdout.flush()
    return 0


def model_of(problem: Problem, *, closed_form: bool) -> bcl_keras.models.JoinedModel | bcl_keras.models.EvenedModel:
    """Returns the model that the pipeline would serve, or the closed form on the scale of that."""
    import bcl_keras
    from benchmarks.quality.towers import Training, audience_ridge_model, evened, joined, sparse_songs_help, tower

    sparse = bool(len(problem.sparse_songs)) and sparse_songs_help(problem)
    if not closed_form:
        towers = tower(problem, measured_towers(), Training(sparse=sparse))
        return evened(problem, joined(problem, towers, sparse, content=True)[0])
    model = bcl_keras.models.JoinedModel([audience_ridge_model(problem, sparse)])
    model.adapt()
    return model


def figures(problem: Problem, model: bcl_keras.models.SongModel) -> dict[str, Any]:
    """Returns the figures of one split."""
    from tfx_pipeline.contract.splits import TEST, VALIDATION

    matches, recall = judged_matches(problem, model, VALIDATION)
    fitted = Reliability.fit(evidence_of(matches, _CONFIG.k), recall, _CONFIG.k)
    if fitted is None:
        return {"validation_songs": len(recall), "rho": None}
    matches, of_test = judged_matches(problem, model, TEST)
    evidence = evidence_of(matches, _CONFIG.k)
    alone = {name: spearman(np.nan_to_num(evidence[name], nan=-np.inf), of_test) for name in (BEST_SCORE, KNOWN_FIELDS)}
    found = judge(fitted.predict(evidence), of_test, _CONFIG)
    weights = {name: round(weight, 2) for name, weight in fitted.weights.items()}
    return {"validation_songs": len(recall), **found, "rho_alone": alone, "weights": weights}


def judged_matches(problem: Problem, model: bcl_keras.models.SongModel, split: str) -> tuple[pa.Table, np.ndarray]:
    """Returns the matches of the songs of a split that have truth, as the pipeline writes them, and their recalls."""
    from keras import ops

    from benchmarks.quality.metrics import MAIN, as_truth, metrics_of
    from benchmarks.quality.towers import POSITIVES

    songs, candidates = problem.cold(split), model.warm_candidates()
    rows: dict[str, list[Any]] = {"match_scores": [], "match_shares": [], "known_fields": [], "evidence": []}
    recalls = []
    for start in range(0, len(songs), _BATCH):
        block = songs[start : start + _BATCH]
        features = problem.encoding.rows(block)
        tensors = {name: ops.convert_to_tensor(values) for name, values in features.items()}
        scores = ops.convert_to_numpy(model(tensors)) @ candidates.T
        best = np.argsort(-scores, axis=1, kind="stable")[:, :_MATCHES]
        shares = candidates[best] @ np.swapaxes(ops.convert_to_numpy(model.query_parts(tensors)), 1, 2)
        truth = as_truth(problem.similar_truth(block), len(problem.warm), POSITIVES)
        recalls.append(metrics_of(scores, truth)[MAIN])
        rows["match_scores"] += np.take_along_axis(scores, best, axis=1).tolist()
        rows["match_shares"] += shares.tolist()
        rows["known_fields"] += np.sum([has_value(values) for values in features.values()], axis=0).tolist()
        rows["evidence"] += ops.convert_to_numpy(model.evidence(tensors)).tolist()
    numbers = pa.list_(pa.float32())
    kinds = {
        "match_scores": numbers,
        "match_shares": pa.list_(numbers),
        "known_fields": pa.int32(),
        "evidence": numbers,
    }
    columns = {name: pa.array(rows[name], kind) for name, kind in kinds.items()}
    columns |= {"share_names": pa.array([list(model.part_names)] * len(songs), pa.list_(pa.string()))}
    columns |= {"evidence_names": pa.array([list(model.evidence_names)] * len(songs), pa.list_(pa.string()))}
    recall = np.concatenate(recalls)
    judged = ~np.isnan(recall)
    return pa.table(columns).filter(pa.array(judged)), recall[judged]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
