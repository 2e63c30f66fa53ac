"""TFX components: the check of the served model against the judged one, and the keeper of the judged model."""

import json
import os
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.dataset as ds
from tfx import v1 as tfx
from tfx.utils import io_utils, path_utils

from serving.files.linked_files import link_tree
from serving.files.whole_files import begin_folder, replace_folder
from serving.refresh.saved_version import read_index
from tfx_pipeline.contract.ids import SONG_ID
from tfx_pipeline.contract.splits import COLD_SPLITS, TEST, VALIDATION, WARM, ColdSplit
from tfx_pipeline.evaluation.catalogue_embedding import EMBEDDINGS
from tfx_pipeline.evaluation.component import REPORT
from tfx_pipeline.evaluation.config import EvaluationConfig
from tfx_pipeline.evaluation.retrieval import MODEL
from tfx_pipeline.refit.check import Embedded, overlap_of, problems
from tfx_pipeline.tfx_extensions.artifacts import SERVED, SongEmbeddings
from tfx_pipeline.tfx_extensions.components import component


@component
def ServedModelChecker(  # noqa: N802
    model: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.Model],
    judged_embeddings: tfx.dsl.components.InputArtifact[SongEmbeddings],
    served_embeddings: tfx.dsl.components.InputArtifact[SongEmbeddings],
    evaluation: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.ModelEvaluation],
    judged_blessing: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.ModelBlessing],
    blessing: tfx.dsl.components.OutputArtifact[tfx.types.standard_artifacts.ModelBlessing],
    refit: tfx.dsl.components.Parameter[str],
    least_overlap: tfx.dsl.components.Parameter[float],
    settings: EvaluationConfig,
    split: ColdSplit,
) -> None:
    """Blesses the served model if the judged one is blessed, both find much the same, and no warm song is missing.

    Args:
        model: The model to be served.
        judged_embeddings: Embeddings of the catalogue by the judged model.
        served_embeddings: The same by the model to be served.
        evaluation: How good the judged model is.
        judged_blessing: Whether it is good enough.
        blessing: Custom property `blessed` is 1 or 0, with the file that TFX expects. `served.json` describes the
            judged and the served model, their agreement and the reasons of a refusal. `Pusher` copies it to the model.
        refit: How the model was made: "train" or "index".
        least_overlap: The least mean share of the first k matches that both models have in common.
        settings: How the judged model was judged: `k`, and how many songs of each split.
        split: Which songs were held out of the judged run.
    """
    before, after = (_dataset(artifact) for artifact in (judged_embeddings, served_embeddings))
    warm, index = frozenset(_ids(after, (WARM,))), read_index(path_utils.serving_model_path(model.uri)).names()
    judged_warm = _ids(before, (WARM,))
    queries = _sample(before, settings)
    candidates = [song_id for song_id in judged_warm if song_id in warm]
    judged, served = (_embedded(dataset, queries, candidates) for dataset in (before, after))
    overlap = None
    if len(queries) and np.isfinite(served.queries).all() and np.isfinite(served.candidates).all():
        overlap = overlap_of(judged, served, np.array(list(queries.values())), settings.k)
    refused = problems((served.queries, served.candidates), frozenset(index), warm, overlap, least_overlap)
    report = _read_json(os.path.join(evaluation.uri, REPORT))
    is_blessed = bool(judged_blessing.get_int_custom_property("blessed")) and not refused
    comparison = {
        "refit": refit,
        "blessed": is_blessed,
        "refused_because": refused,
        "judged": {
            "songs_in_index": len(judged_warm),
            "held_out": {name: len(_ids(before, (name,))) for name in (VALIDATION, TEST)},
            "split": asdict(split),
            "measured": {name: _means(report[name]) for name in (VALIDATION, TEST) if name in report},
        },
        "served": {"songs_in_index": len(index)},
        "overlap": None if overlap is None else {**asdict(overlap), "least": least_overlap},
    }
    io_utils.write_string_file(os.path.join(blessing.uri, SERVED), json.dumps(comparison, indent=1))
    blessing.set_int_custom_property("blessed", int(is_blessed))
    io_utils.write_string_file(os.path.join(blessing.uri, "BLESSED" if is_blessed else "NOT_BLESSED"), "")


@component
def JudgedModelKeeper(  # noqa: N802
    pushed_model: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.PushedModel],
    model: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.Model],
    kept: tfx.dsl.components.Parameter[str],
) -> None:
    """Keeps the judged model of a run that pushed one, so that the next run compares its judged model with it.

    The served model cannot be used for this, because it has learned from songs that are held out.

    Args:
        pushed_model: Says whether a model was pushed.
        model: The judged model.
        kept: Folder to keep it in; its earlier content is replaced. Its files are hard links to the Trainer's output,
            where the file system allows it.
    """
    if not pushed_model.get_int_custom_property("pushed"):
        return
    aside = begin_folder(kept)
    link_tree(path_utils.serving_model_path(model.uri), aside)
    replace_folder(aside, kept)


def _read_json(path: str) -> dict[str, Any]:
    with open(path, encoding="utf-8") as file:
        return dict(json.load(file))


def _means(report: dict[str, Any]) -> dict[str, float]:
    return {metric: estimate["mean"] for metric, estimate in report["rows"][MODEL].items()}


def _dataset(embeddings: SongEmbeddings) -> ds.Dataset:
    names = sorted(name for name in os.listdir(embeddings.uri) if name.startswith(EMBEDDINGS))
    return ds.dataset([os.path.join(embeddings.uri, name) for name in names], format="parquet")


def _ids(dataset: ds.Dataset, splits: tuple[str, ...]) -> list[str]:
    table = dataset.to_table(columns=[SONG_ID], filter=ds.field("split").isin(list(splits)))
    return sorted(table[SONG_ID].to_pylist())


def _sample(dataset: ds.Dataset, config: EvaluationConfig) -> dict[str, str]:
    """Returns id and split of the songs to match: of each split at most as many as are judged."""
    found: dict[str, str] = {}
    for split in COLD_SPLITS:
        ids = _ids(dataset, (split,))
        chosen = np.sort(np.random.default_rng(config.seed).permutation(len(ids))[: config.max_songs])
        found |= {ids[row]: split for row in chosen}
    return found


def _embedded(dataset: ds.Dataset, queries: dict[str, str], candidates: list[str]) -> Embedded:
    return Embedded(_vectors(dataset, "embedding", list(queries)), _vectors(dataset, "candidate_embedding", candidates))


def _vectors(dataset: ds.Dataset, column: str, ids: list[str]) -> npt.NDArray[np.float32]:
    """Returns the vectors of some songs, in their order.

    Raises:
        ValueError: If a song has none.
    """
    wanted = pa.array(ids, pa.string())
    table = dataset.to_table(columns=[SONG_ID, column], filter=ds.field(SONG_ID).isin(wanted))
    if table.num_rows != len(ids):
        raise ValueError(f"embeddings: expected one for each of {len(ids)} songs. Received: {table.num_rows}")
    if not ids:
        return np.zeros((0, 1), np.float32)
    flat = table[column].combine_chunks().flatten().to_numpy().reshape(table.num_rows, -1)
    place = {song_id: row for row, song_id in enumerate(table[SONG_ID].to_pylist())}
    return flat[[place[song_id] for song_id in ids]]
