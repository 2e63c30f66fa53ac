"""The steps from the judged model to the served one, which knows every song with enough listeners."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from tfx import v1 as tfx

from tfx_pipeline.contract.splits import NEW, WARM
from tfx_pipeline.evaluation.catalogue_embedding import CatalogueEmbedder
from tfx_pipeline.labels.component import SimilarSongsLabeller
from tfx_pipeline.models.step_settings import TrainerSettings
from tfx_pipeline.models.steps import transform_of
from tfx_pipeline.refit.component import ServedModelChecker
from tfx_pipeline.refit.held_out_songs import HeldOutIndexer
from tfx_pipeline.tfx_extensions.components import custom_config

if TYPE_CHECKING:
    from tfx_pipeline.config import PipelineConfig


@dataclass(frozen=True)
class ModelSteps:
    """The steps that the judged or the served model comes from.

    Attributes:
        model: Gives the model.
        labeller: Gives the songs as that model splits them.
        embedder: Gives their embeddings by it.
        judge: Gives its blessing.
        steps: These steps and those that they need, without the steps of an earlier stage, in their order.
    """

    model: Any
    labeller: Any
    embedder: Any
    judge: Any
    steps: list[Any]


def with_every_song(
    judged: ModelSteps,
    config: PipelineConfig,
    settings: TrainerSettings,
    song_schema: Any,
    songs: tfx.types.BaseChannel,
    plays: tfx.types.BaseChannel,
) -> ModelSteps:
    """Returns the steps from the judged model to one that knows every song with enough listeners.

    Args:
        judged: The steps that the judged model comes from.
        config: All settings.
        settings: What the Trainer of the judged model is told.
        song_schema: Gives the schema of the songs.
        songs: tf.Examples of all songs.
        plays: Channel of the plays, as Parquet.
    """
    split = config.split.without_held_out()
    labeller = SimilarSongsLabeller(songs=songs, plays=plays, audience=config.audience, split=split)
    labeller = labeller.with_id("ServedSongsLabeller")
    labeller.add_upstream_node(judged.judge)
    steps = _model_steps(judged, labeller, config, replace(settings, split=split), song_schema)
    model = steps[-1]
    embedder = CatalogueEmbedder(
        labelled_songs=labeller.outputs["labelled_songs"],
        model=model.outputs["model"],
    ).with_id("ServedEmbedder")
    checker = ServedModelChecker(
        model=model.outputs["model"],
        judged_embeddings=judged.embedder.outputs["embeddings"],
        served_embeddings=embedder.outputs["embeddings"],
        evaluation=judged.judge.outputs["evaluation"],
        judged_blessing=judged.judge.outputs["blessing"],
        refit=config.refit,
        least_overlap=float(config.refit_overlap),
        settings=config.evaluation,
        split=config.split,
    )
    return ModelSteps(model, labeller, embedder, checker, [labeller, *steps, embedder, checker])


def _model_steps(
    judged: ModelSteps, labeller: Any, config: PipelineConfig, settings: TrainerSettings, song_schema: Any
) -> list[Any]:
    """Returns the steps to the model; the last one gives it."""
    if config.refit == "index":
        return [HeldOutIndexer(judged=judged.model.outputs["model"], labelled_songs=labeller.outputs["labelled_songs"])]
    # The served model gets its own vocabulary: the first one lacks words that only held-out songs have.
    transform = transform_of(labeller, song_schema, settings, config.transform, [WARM, NEW]).with_id("ServedTransform")
    trainer = tfx.components.Trainer(
        run_fn="tfx_pipeline.refit.trainer.run_fn",
        base_model=judged.model.outputs["model"],
        examples=transform.outputs["transformed_examples"],
        transform_graph=transform.outputs["transform_graph"],
        train_args=tfx.proto.TrainArgs(splits=[WARM, NEW]),
        eval_args=tfx.proto.EvalArgs(splits=[WARM]),  # TFX asks for some; none is read
        custom_config=custom_config("tfx_pipeline.refit.trainer", settings),
    ).with_id("ServedTrainer")
    return [transform, trainer]
