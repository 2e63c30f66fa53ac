"""The stage that fits the model: raw songs become its inputs, and the Trainer learns from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tfx import v1 as tfx

from tfx_pipeline.contract.splits import NEW, TEST, VALIDATION, WARM
from tfx_pipeline.models import preprocessing
from tfx_pipeline.models.config import TransformConfig
from tfx_pipeline.models.model_config import TuningConfig
from tfx_pipeline.models.song_schema import SongSchema
from tfx_pipeline.models.step_settings import TrainerSettings, TunerSettings
from tfx_pipeline.tfx_extensions.components import custom_config


@dataclass(frozen=True)
class Fitted:
    """The steps that fit a model.

    Attributes:
        schema: Gives the schema of labelled songs.
        transform: Turns raw songs into the model's inputs.
        tuner: Searches for settings of the towers. None if the settings are fixed.
        trainer: Gives the model.
    """

    schema: Any
    transform: Any
    tuner: Any
    trainer: Any

    @property
    def steps(self) -> list[Any]:
        """All steps, in their order."""
        return [step for step in (self.schema, self.transform, self.tuner, self.trainer) if step is not None]


def fitted_model(
    labeller: Any,
    inferred_schema: Any,
    settings: TrainerSettings,
    transforming: TransformConfig,
    tuning: TuningConfig | None,
) -> Fitted:
    """Returns the steps that fit the model which is judged on the songs held out.

    Args:
        labeller: Gives the labelled songs by split.
        inferred_schema: Channel of the schema that the songs' statistics show.
        settings: What the Trainer is told.
        transforming: How vocabularies are made and lists are cut.
        tuning: The search for settings of the towers. None trains with those of `settings`.
    """
    schema = SongSchema(inferred=inferred_schema, fields=settings.fields)
    transform = transform_of(labeller, schema, settings, transforming, [WARM, NEW, VALIDATION, TEST])
    learning = {
        "examples": transform.outputs["transformed_examples"],
        "transform_graph": transform.outputs["transform_graph"],
        "train_args": tfx.proto.TrainArgs(splits=[WARM, NEW]),
        "eval_args": tfx.proto.EvalArgs(splits=[VALIDATION]),
    }
    tuner = None if tuning is None else _tuner(settings, tuning, learning)
    trainer = tfx.components.Trainer(
        run_fn="tfx_pipeline.models.trainer.run_fn",
        hyperparameters=None if tuner is None else tuner.outputs["best_hyperparameters"],
        custom_config=custom_config("tfx_pipeline.models.trainer", settings),
        **learning,
    )
    return Fitted(schema, transform, tuner, trainer)


def transform_of(
    labeller: Any, schema: Any, settings: TrainerSettings, transforming: TransformConfig, splits: list[str]
) -> tfx.components.Transform:
    """Returns the step that learns from warm songs how raw songs become the model's inputs, and turns them into these.

    Args:
        labeller: Gives the labelled songs by split.
        schema: Gives their schema.
        settings: What the Trainer is told.
        transforming: How vocabularies are made and lists are cut.
        splits: The splits whose songs are turned.
    """
    told = preprocessing.PreprocessingSettings(settings.fields, transforming)
    return tfx.components.Transform(
        examples=labeller.outputs["labelled_songs"],
        schema=schema.outputs["schema"],
        preprocessing_fn=f"{preprocessing.__name__}.preprocessing_fn",
        splits_config=tfx.proto.SplitsConfig(analyze=[WARM], transform=splits),
        custom_config=custom_config(preprocessing.__name__, told),
        # Statistics and per-file partial results double the steps; nothing reads them.
        disable_statistics=True,
        disable_analyzer_cache=True,
    )


def _tuner(settings: TrainerSettings, tuning: TuningConfig, learning: dict[str, Any]) -> tfx.components.Tuner:
    told = TunerSettings(settings.fields, settings.model, settings.training, settings.max_values, tuning)
    return tfx.components.Tuner(
        tuner_fn="tfx_pipeline.models.tuner.tuner_fn",
        custom_config=custom_config("tfx_pipeline.models.tuner", told),
        **learning,
    )
