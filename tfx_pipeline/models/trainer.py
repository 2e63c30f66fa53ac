"""The Trainer step: similar songs in, an exported SavedModel with towers, transform and index out."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow_transform as tft

import bcl_keras
from bcl_keras.evaluation.choices import is_better
from serving.export.chances import ChanceScale
from serving.export.served_model import RawField, ServedModel, export
from serving.savedmodel.raw_fields import integer_id
from tfx_pipeline import contract
from tfx_pipeline.contract.ids import texts
from tfx_pipeline.models import features
from tfx_pipeline.models.closed_form import join, solve_ridge
from tfx_pipeline.models.config import VALIDATION_K
from tfx_pipeline.models.match_chances import fit_chances
from tfx_pipeline.models.song_table import SongTable
from tfx_pipeline.models.step_settings import TrainerSettings
from tfx_pipeline.models.training_songs import TrainingSongs, read_songs, similar_pairs, validation_truth
from tfx_pipeline.runtime.keras_backend import check_is_tensorflow
from tfx_pipeline.tfx_extensions.artifacts import EXTRA, LEARNT
from tfx_pipeline.tfx_extensions.components import settings_of

logger = logging.getLogger(__name__)

#: The name of the recall on validation songs in the log of the training.
VALIDATION_RECALL = f"val_recall_at_{VALIDATION_K}"


def run_fn(fn_args: Any) -> None:
    """Trains and exports; called by TFX's Trainer.

    Args:
        fn_args: TFX's `FnArgs`. `custom_config` holds `TrainerSettings`. `hyperparameters`, if a Tuner ran, replace
            settings of the model.
    """
    check_is_tensorflow()
    settings = settings_of(TrainerSettings, fn_args.custom_config)
    config, training = with_tuned(settings.model, fn_args.hyperparameters), settings.training
    transform = tft.TFTransformOutput(fn_args.transform_graph_path)
    songs = read_songs(fn_args, transform, settings.fields, training.sparse_per_warm)
    fields, ridge, learnt = model_fields(settings.fields, transform, settings.max_values), None, {}
    if settings.ridge is not None:
        ridge, learnt["ridge"], songs = solve_ridge(fields, settings.ridge, songs)
    keras.utils.set_random_seed(config.seed)
    towers = train(
        fields,
        config,
        songs,
        positives=training.positives,
        anchor_popularity_power=training.anchor_popularity_power,
    )
    model: Any = towers
    if ridge is not None:
        model, learnt["joined"] = join(ridge, towers, songs, learnt["ridge"]["block_weights"], training.content_sketch)
    if training.evening_cost is not None:
        model = bcl_keras.models.EvenedModel(model)
        warm = songs.warm.features
        learnt["evened"] = model.adapt(warm, validation_truth(songs), VALIDATION_K, most_cost=training.evening_cost)
    if training.chances and (scale := fit_chances(model, validation_truth(songs))) is not None:
        learnt["chances"] = dataclasses.asdict(scale)
    learnt |= what_was_learnt(towers) | {"split": dataclasses.asdict(settings.split)}
    export_model(fn_args, model, songs, transform, learnt)


def export_model(
    fn_args: Any,
    model: bcl_keras.models.SongModel,
    songs: TrainingSongs,
    transform: tft.TFTransformOutput,
    learnt: dict[str, Any],
) -> None:
    """Writes the SavedModel, and beside it and in the model run what was learnt."""
    learnt["songs"] = {name: len(getattr(songs, name)) for name in ("warm", "sparse", "validation")}
    logger.info("What was learnt and chosen: %s", learnt)
    settings = settings_of(TrainerSettings, fn_args.custom_config)
    served = served_model(
        model,
        songs.warm,
        transform,
        settings.fields,
        integer_ids=settings.song_ids == "int64",
        explain=settings.explain,
        chances=ChanceScale.from_dict(learnt["chances"]) if "chances" in learnt else None,
    )
    export(served, fn_args.serving_model_dir)
    for folder in (fn_args.model_run_dir, os.path.join(fn_args.serving_model_dir, EXTRA)):
        os.makedirs(folder, exist_ok=True)
        with open(os.path.join(folder, LEARNT), "w", encoding="utf-8") as file:
            json.dump(learnt, file, indent=1)


def with_tuned(config: bcl_keras.BCLConfig, hyperparameters: Mapping[str, Any] | None) -> bcl_keras.BCLConfig:
    """Returns the settings of the towers, in which those that a Tuner found replace those that were given."""
    return dataclasses.replace(config, **(hyperparameters or {}).get("values", {}))


def model_fields(
    song_fields: Sequence[contract.SongField], transform: tft.TFTransformOutput, max_values: int
) -> list[bcl_keras.Field]:
    """Returns the model's fields: ids from 1 on index the vocabulary that Transform found, 0 is missing.

    An empty vocabulary counts as one entry. Lists keep `max_values`, as Transform leaves them.
    """
    fields = []
    for field in song_fields:
        size = field.length
        if field.is_categorical:
            size = max(transform.vocabulary_size_by_name(features.vocabulary_name(field)), 1) + 1
        fields.append(bcl_keras.Field(field.name, field.kind, size, max_values))
    return fields


def train(
    fields: Sequence[bcl_keras.Field],
    config: bcl_keras.BCLConfig,
    songs: TrainingSongs,
    *,
    positives: int,
    anchor_popularity_power: float,
) -> bcl_keras.models.BCLModel:
    """Trains both towers and keeps the weights of the epoch with the best recall on validation songs.

    Args:
        fields: The model's fields.
        config: The model's settings.
        songs: The songs to learn from, and those held out for choices.
        positives: Similar songs of an anchor that may be its positive.
        anchor_popularity_power: See `bcl_keras.data.PairStream`.
    """
    warm, batch_size = songs.warm, min(config.batch_size, max(2, len(songs.warm)))
    pairs = similar_pairs(songs, positives)
    model = bcl_keras.models.BCLModel(fields, len(warm), config)
    model.set_catalogue(songs.learnt_features())
    stream = bcl_keras.data.PairStream(
        pairs,
        len(warm),
        num_rows=songs.num_learnt,
        batch_size=batch_size,
        # Sparse songs make anchors more diverse, not an epoch longer.
        steps_per_epoch=-(-int((pairs[0] < len(warm)).sum()) // batch_size),
        popularity=np.concatenate([warm.listeners, songs.sparse.listeners]),
        anchor_power=anchor_popularity_power,
        known_positives=positives,
        with_log_q=config.correct_log_q,
        contrast_over="warm" if model.has_contrast else "none",
        seed=config.seed,
    )
    model.compile(jit_compile=False)
    judged, watch = validation_truth(songs), []
    if (judged[1] >= 0).any():
        watch = [bcl_keras.callbacks.ValidationRecall(*judged, VALIDATION_K, restore_best=True)]
    model.fit(stream, epochs=config.epochs, verbose=2, callbacks=watch)
    return model


def what_was_learnt(towers: bcl_keras.models.BCLModel) -> dict[str, Any]:
    """Returns losses and validation recall by epoch and the correlation of the fields, as plain values."""
    history = {name: [float(value) for value in values] for name, values in towers.history.history.items()}
    learnt: dict[str, Any] = {"history": history, "fields": [field.name for field in towers.fields]}
    learnt["settings"] = towers.config.to_dict()
    learnt["best_epoch"] = best_epoch(history)
    if towers.has_contrast:
        matrix = keras.ops.convert_to_numpy(towers.contrastive_views.correlation.matrix)
        learnt["correlation"] = np.round(matrix, 4).tolist()
    return learnt


def best_epoch(history: Mapping[str, Sequence[float]]) -> int:
    """Returns after how many epochs the weights were kept (`ValidationRecall`); without validation songs after all."""
    recalls = history.get(VALIDATION_RECALL)
    if not recalls:
        return len(next(iter(history.values()), ()))
    best = 0
    for epoch, recall in enumerate(recalls):
        if is_better(recall, recalls[best]):
            best = epoch
    return best + 1


def served_model(
    model: bcl_keras.models.SongModel,
    warm: SongTable,
    transform: tft.TFTransformOutput,
    song_fields: Sequence[contract.SongField],
    *,
    integer_ids: bool = False,
    explain: bool = False,
    chances: ChanceScale | None = None,
) -> ServedModel:
    """Returns the model with transform and index, ready for export.

    Raises:
        ValueError: If `integer_ids` is set and an id is not an integer.
    """
    ids = texts(warm.ids)
    return ServedModel(
        fields=[RawField(field.name, field.kind, field.length) for field in song_fields],
        transform=transform.transform_features_layer(),
        model=model,
        warm_ids=ids,
        index_ids=[integer_id(song_id) for song_id in ids] if integer_ids else ids,
        index_embeddings=model.warm_candidates(),
        explain=explain,
        chances=chances,
    )
