"""The Trainer step: similar songs in, an exported SavedModel with towers, transform and index out."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow_transform as tft

import bcl_keras
from serving.export import RawField, ServedModel, export
from serving.raw_fields import integer_id
from tfx_pipeline import contract, features
from tfx_pipeline.artifacts import LEARNT
from tfx_pipeline.cold_split import VALIDATION, WARM
from tfx_pipeline.song_table import SongTable, read_song_table, split_uris

logger = logging.getLogger(__name__)

_VALIDATION_K = 50
_VALIDATION_TRUTH = 20
_MOST_VALIDATION_SONGS = 2000
#: By this name the training's log has it.
VALIDATION_RECALL = f"val_recall_at_{_VALIDATION_K}"


def run_fn(fn_args: Any) -> None:
    """Trains and exports; called by TFX's Trainer.

    Args:
        fn_args: TFX's `FnArgs`. `custom_config` holds `fields`, `model`, `training` and `ridge` as JSON, and may hold
            `song_ids`: "int64" for an index whose ids are integers; default "string". `hyperparameters`, where a Tuner
            ran, replace settings of the model.
    """
    settings = fn_args.custom_config
    song_fields = contract.fields_from_json(settings["fields"])
    config = model_config(fn_args)
    keras.utils.set_random_seed(config.seed)
    transform = tft.TFTransformOutput(fn_args.transform_graph_path)
    warm, validation = read_tables(fn_args, transform, song_fields, config)
    towers = train(model_fields(song_fields, transform), config, warm, validation, **json.loads(settings["training"]))
    ridge, model, learnt = json.loads(settings["ridge"]), towers, what_was_learnt(towers)
    if ridge is not None:
        model, chosen = join_ridge(towers, bcl_keras.models.RidgeConfig(**ridge), warm, validation)
        learnt |= chosen
    os.makedirs(fn_args.model_run_dir, exist_ok=True)
    with open(os.path.join(fn_args.model_run_dir, LEARNT), "w", encoding="utf-8") as file:
        json.dump(learnt, file, indent=1)
    served = served_model(
        model, warm, transform, song_fields, integer_ids=settings.get("song_ids", "string") == "int64"
    )
    export(served, fn_args.serving_model_dir)


def model_config(fn_args: Any) -> bcl_keras.BCLConfig:
    """Returns the settings of the towers; what a Tuner found stands above what was given."""
    tuned = (fn_args.hyperparameters or {}).get("values", {})
    return dataclasses.replace(bcl_keras.BCLConfig.from_dict(json.loads(fn_args.custom_config["model"])), **tuned)


def model_fields(song_fields: Sequence[contract.SongField], transform: tft.TFTransformOutput) -> list[bcl_keras.Field]:
    """Returns the model's fields: ids from 1 on index the vocabulary that Transform found, 0 is missing.

    An empty vocabulary counts as one entry.
    """
    fields = []
    for field in song_fields:
        size = field.length
        if features.is_categorical(field):
            size = max(transform.vocabulary_size_by_name(features.vocabulary_name(field)), 1) + 1
        fields.append(bcl_keras.Field(field.name, field.kind, size))
    return fields


def train(
    fields: Sequence[bcl_keras.Field],
    config: bcl_keras.BCLConfig,
    warm: SongTable,
    validation: SongTable,
    *,
    positives: int,
    anchor_popularity_power: float,
) -> bcl_keras.models.BCLModel:
    """Trains both towers and keeps the weights of the epoch with the best recall on validation songs.

    Args:
        fields: The model's fields.
        config: The model's settings.
        warm: The songs to learn from.
        validation: Songs held out for choices.
        positives: Similar songs of an anchor that may be its positive.
        anchor_popularity_power: See `bcl_keras.data.PairStream`.
    """
    model = bcl_keras.models.BCLModel(fields, config, num_songs=len(warm))
    model.set_catalogue(warm.features)
    stream = bcl_keras.data.PairStream(
        similar_pairs(warm, positives),
        len(warm),
        batch_size=min(config.batch_size, max(2, len(warm))),
        popularity=warm.listeners,
        anchor_power=anchor_popularity_power,
        known_positives=positives,
        with_log_q=config.correct_log_q,
        contrast_over="warm" if model.has_contrast else "none",
        seed=config.seed,
    )
    model.compile(jit_compile=False)
    judged, watch = validation_truth(warm, validation), []
    if (judged[1] >= 0).any():
        watch = [bcl_keras.callbacks.ValidationRecall(*judged, _VALIDATION_K, restore_best=True)]
    model.fit(stream, epochs=config.epochs, verbose=2, callbacks=watch)
    return model


def join_ridge(
    towers: bcl_keras.models.BCLModel,
    config: bcl_keras.models.RidgeConfig,
    warm: SongTable,
    validation: SongTable,
) -> tuple[bcl_keras.models.JoinedModel, dict[str, Any]]:
    """Joins the towers' scores to those of a closed form, by the weight with the best recall on validation songs.

    Args:
        towers: The trained model.
        config: Settings of the closed form.
        warm: The songs to learn from.
        validation: Songs held out for choices.

    Returns:
        The model, and what was chosen: `ridge` and `joined`.
    """
    ridge = bcl_keras.models.AudienceRidge(towers.fields, len(warm), config)
    judged = validation_truth(warm, validation)
    of_ridge = ridge.adapt(warm.features, similar_pairs(warm, warm.similar_ids.shape[1]), judged)
    model = bcl_keras.models.JoinedModel([ridge, towers])
    chosen = {"ridge": of_ridge, "joined": model.adapt(judged, _VALIDATION_K)}
    logger.info("Chosen on validation songs: %s", chosen)
    return model, chosen


def what_was_learnt(towers: bcl_keras.models.BCLModel) -> dict[str, Any]:
    """Returns losses and validation recall by epoch and the correlation of the fields, as plain values."""
    history = {name: [float(value) for value in values] for name, values in towers.history.history.items()}
    learnt: dict[str, Any] = {"history": history, "fields": [field.name for field in towers.fields]}
    learnt["settings"] = towers.config.to_dict()
    if towers.has_contrast:
        matrix = keras.ops.convert_to_numpy(towers.contrastive_views.correlation.matrix)
        learnt["correlation"] = np.round(matrix, 4).tolist()
    return learnt


def validation_truth(warm: SongTable, validation: SongTable) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Returns the features of validation songs, and rows of the warm songs that they should find, -1 for none.

    Of more than `_MOST_VALIDATION_SONGS` a sample is taken: choices need no more, and each song is ranked against all.
    """
    count = len(validation)
    sample = np.sort(np.random.default_rng(0).permutation(count)[:_MOST_VALIDATION_SONGS])
    features = {name: values[sample] for name, values in validation.features.items()}
    return features, warm.rows_of(validation.similar_ids[sample, :_VALIDATION_TRUTH])


def similar_pairs(warm: SongTable, positives: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns rows of anchors, rows of positives, and their audience cosines.

    Raises:
        ValueError: If no two warm songs share listeners beyond chance.
    """
    rows = warm.rows_of(warm.similar_ids[:, :positives])
    anchors, places = np.nonzero(rows >= 0)
    if not len(anchors):
        raise ValueError(
            "plays: expected warm songs that share listeners more often than by chance, to learn from. "
            f"Received: none among {len(warm)} warm songs"
        )
    return anchors, rows[anchors, places], warm.similar_scores[anchors, places]


def served_model(
    model: bcl_keras.models.BCLModel | bcl_keras.models.JoinedModel,
    warm: SongTable,
    transform: tft.TFTransformOutput,
    song_fields: Sequence[contract.SongField],
    *,
    integer_ids: bool = False,
) -> ServedModel:
    """Returns the model with transform and index, ready for export.

    Raises:
        ValueError: If `integer_ids` and an id is none.
    """
    ids = [song_id.decode() for song_id in warm.ids.tolist()]
    return ServedModel(
        fields=[RawField(field.name, field.kind, field.length) for field in song_fields],
        transform=transform.transform_features_layer(),
        model=model,
        warm_ids=ids,
        index_ids=[integer_id(song_id) for song_id in ids] if integer_ids else ids,
        index_embeddings=model.warm_candidates(),
    )


def read_tables(
    fn_args: Any,
    transform: tft.TFTransformOutput,
    song_fields: Sequence[contract.SongField],
    config: bcl_keras.BCLConfig,
) -> tuple[SongTable, SongTable]:
    """Returns the songs to learn from and those held out for choices."""
    warm, validation = (
        read_song_table(
            # TFX gives <uri>/Split-<name>/*
            split_uris(os.path.dirname(os.path.dirname(patterns[0])), [split]),
            transform,
            song_fields,
            max_values=config.max_values,
        )
        for patterns, split in ((fn_args.train_files, WARM), (fn_args.eval_files, VALIDATION))
    )
    return warm, validation
