"""The Tuner step: settings of towers and contrastive task drawn at random, judged by recall on validation songs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import keras_tuner
import tensorflow_transform as tft
from tfx import v1 as tfx

from tfx_pipeline.models.step_settings import TunerSettings
from tfx_pipeline.models.trainer import VALIDATION_RECALL, model_fields, train
from tfx_pipeline.models.training_songs import read_songs, validation_truth
from tfx_pipeline.runtime.keras_backend import check_is_tensorflow
from tfx_pipeline.tfx_extensions.components import settings_of


class ValidationRecallSearch(keras_tuner.RandomSearch):
    """Random search whose trial is a training of ours; Keras Tuner draws and records."""

    def run_trial(self, trial: Any, judge: Callable[[Mapping[str, Any]], float]) -> dict[str, float]:
        """Returns the recall that the drawn settings reach."""
        return {VALIDATION_RECALL: judge(trial.hyperparameters.values)}


def tuner_fn(fn_args: Any) -> tfx.components.TunerFnResult:
    """Sets up the search; called by TFX's Tuner.

    Args:
        fn_args: TFX's `FnArgs`. `custom_config` holds `TunerSettings`.

    Raises:
        ValueError: If no validation song has a similar song: nothing could be judged.
    """
    check_is_tensorflow()
    settings = settings_of(TunerSettings, fn_args.custom_config)
    tuning, training = settings.tuning, settings.training
    transform = tft.TFTransformOutput(fn_args.transform_graph_path)
    songs = read_songs(fn_args, transform, settings.fields, training.sparse_per_warm)
    fields = model_fields(settings.fields, transform, settings.max_values)
    if not (validation_truth(songs)[1] >= 0).any():
        raise ValueError(
            f"tuning: expected validation songs with similar warm songs. Received: {len(songs.validation)} without"
        )

    def judge(drawn: Mapping[str, Any]) -> float:
        model = train(
            fields,
            replace(settings.model, **drawn),
            songs,
            positives=training.positives,
            anchor_popularity_power=training.anchor_popularity_power,
        )
        return max(model.history.history[VALIDATION_RECALL])

    search = ValidationRecallSearch(
        objective=keras_tuner.Objective(VALIDATION_RECALL, "max"),
        max_trials=tuning.trials,
        seed=tuning.seed,
        hyperparameters=_space(vars(tuning.space)),
        tune_new_entries=False,
        directory=fn_args.working_dir,
        project_name="bcl",
    )
    return tfx.components.TunerFnResult(tuner=search, fit_kwargs={"judge": judge})


def _space(values: Mapping[str, Sequence[Any]]) -> keras_tuner.HyperParameters:
    space = keras_tuner.HyperParameters()
    for name, choices in values.items():
        space.Choice(name, list(choices))
    return space
