"""The Trainer step of the served model, which learns from all songs with the settings of the judged model.

No song is held out, so nothing can be chosen or judged here. The step takes what the judged model chose on its
validation songs; `refit.component` compares the result with the judged model.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
import numpy as np
import tensorflow_transform as tft

import bcl_keras
from tfx_pipeline.models.closed_form import content_sketch
from tfx_pipeline.models.step_settings import TrainerSettings
from tfx_pipeline.models.trainer import export_model, model_fields, train, what_was_learnt
from tfx_pipeline.models.training_songs import TrainingSongs, read_songs, similar_pairs
from tfx_pipeline.runtime.keras_backend import check_is_tensorflow
from tfx_pipeline.tfx_extensions.artifacts import read_learnt
from tfx_pipeline.tfx_extensions.components import settings_of


def run_fn(fn_args: Any) -> None:
    """Trains and exports; called by TFX's Trainer.

    Args:
        fn_args: As for `models.trainer.run_fn`. `base_model` is the judged model, with what it chose.
    """
    check_is_tensorflow()
    settings = settings_of(TrainerSettings, fn_args.custom_config)
    judged = read_learnt(fn_args.base_model)
    if judged is None:
        raise ValueError(
            f"{fn_args.base_model}: expected a model with the settings that it chose. Received: one without"
        )
    transform = tft.TFTransformOutput(fn_args.transform_graph_path)
    training = settings.training
    fn_args.eval_files = []  # TFX names some whether there are such songs or not
    # The judged model may have left out sparse songs, because they made it worse on validation songs.
    sparse_per_warm = training.sparse_per_warm if judged["songs"]["sparse"] else 0.0
    songs = read_songs(fn_args, transform, settings.fields, sparse_per_warm)
    model, learnt = refit(
        model_fields(settings.fields, transform, settings.max_values),
        songs,
        judged,
        ridge=settings.ridge,
        positives=training.positives,
        anchor_popularity_power=training.anchor_popularity_power,
    )
    learnt |= {"split": dataclasses.asdict(settings.split), "refit": True}
    export_model(fn_args, model, songs, transform, learnt)


def chosen_towers(judged: dict[str, Any]) -> bcl_keras.BCLConfig:
    """Returns the settings of the towers, with as many epochs as were best."""
    config = bcl_keras.BCLConfig.from_dict(judged["settings"])
    return dataclasses.replace(config, epochs=max(1, judged["best_epoch"]))


def refit(
    fields: list[bcl_keras.Field],
    songs: TrainingSongs,
    judged: dict[str, Any],
    *,
    ridge: bcl_keras.models.RidgeConfig | None,
    positives: int,
    anchor_popularity_power: float,
) -> tuple[bcl_keras.models.SongModel, dict[str, Any]]:
    """Fits the model with settings that were chosen before.

    Args:
        fields: The model's fields.
        songs: The songs to learn from, without the validation songs among them.
        judged: The report on the judged model, with what it chose.
        ridge: Settings of the closed form; chosen ones come from `judged`. None for the towers alone.
        positives: See `TrainingConfig`.
        anchor_popularity_power: See `TrainingConfig`.

    Returns:
        The model, and what was learnt.
    """
    songs = dataclasses.replace(songs, validation=songs.validation.take(np.arange(0)))
    learnt: dict[str, Any] = {}
    config = chosen_towers(judged)
    closed_form = None
    if ridge is not None:
        closed_form = bcl_keras.models.AudienceRidge(fields, len(songs.warm), ridge)
        features, pairs = songs.learnt_features(), similar_pairs(songs)
        learnt["ridge"] = closed_form.adapt(features, pairs, chosen=judged["ridge"])
    keras.utils.set_random_seed(config.seed)
    towers = train(fields, config, songs, positives=positives, anchor_popularity_power=anchor_popularity_power)
    learnt |= what_was_learnt(towers)
    model: Any = towers
    if closed_form is not None:
        parts, dim = [closed_form, towers], judged["joined"].get("content_sketch", 0)
        if dim:  # the judged model has a sketch of so many numbers
            parts.append(content_sketch(fields, songs, dim, judged["ridge"]["block_weights"]))
        model = bcl_keras.models.JoinedModel(parts)
        learnt["joined"] = model.adapt(weights=judged["joined"]["weights"]) | {"content_sketch": dim}
    if "evened" in judged:
        model = bcl_keras.models.EvenedModel(model)
        learnt["evened"] = model.adapt(songs.warm.features, strength=judged["evened"]["strength"])
    if "chances" in judged:  # scores are of one scale, whatever songs were learnt from
        learnt["chances"] = judged["chances"]
    return model, learnt
