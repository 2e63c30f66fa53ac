"""The steps from the judged model to the served one, which knows every song with enough listeners."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tfx import v1 as tfx

from tfx_pipeline.config import PipelineConfig, to_json
from tfx_pipeline.contract.splits import NEW, WARM
from tfx_pipeline.evaluation.catalogue_embedding import CatalogueEmbedder
from tfx_pipeline.labels.component import SimilarSongsLabeller
from tfx_pipeline.refit.component import ServedModelChecker
from tfx_pipeline.refit.held_out_songs import HeldOutIndexer
from tfx_pipeline.runtime.fingerprint import code_fingerprint


@dataclass(frozen=True)
class Served:
    """The steps that the served model comes from.

    Attributes:
        model: Gives the model.
        labeller: Gives the songs as that model splits them.
        embedder: Gives their embeddings by it.
        judge: Gives its blessing.
        steps: All steps that only the served model needs.
    """

    model: Any
    labeller: Any
    embedder: Any
    judge: Any
    steps: list[Any]


def with_every_song(
    judged: Served,
    config: PipelineConfig,
    fitting: Mapping[str, Any],
    song_schema: Any,
    songs: tfx.types.BaseChannel,
    plays: tfx.types.BaseChannel,
) -> Served:
    """Returns the steps from the judged model to one that knows every song with enough listeners.

    Args:
        judged: The steps that the judged model comes from.
        config: All settings.
        fitting: Settings that both Trainers get.
        song_schema: Gives the schema of the songs.
        songs: tf.Examples of all songs.
        plays: tf.Examples of all plays.
    """
    labeller = SimilarSongsLabeller(
        songs=songs,
        plays=plays,
        audience=to_json(config.audience),
        split=to_json(config.split.without_held_out()),
        code=code_fingerprint("tfx_pipeline.labels.component"),
    ).with_id("ServedSongsLabeller")
    labeller.add_upstream_node(judged.judge)
    steps = _model_steps(judged, labeller, config, fitting, song_schema)
    model = steps[-1]
    embedder = CatalogueEmbedder(
        labelled_songs=labeller.outputs["labelled_songs"],
        model=model.outputs["model"],
        code=code_fingerprint("tfx_pipeline.evaluation.catalogue_embedding"),
    ).with_id("ServedEmbedder")
    checker = ServedModelChecker(
        model=model.outputs["model"],
        judged_embeddings=judged.embedder.outputs["embeddings"],
        served_embeddings=embedder.outputs["embeddings"],
        evaluation=judged.judge.outputs["evaluation"],
        judged_blessing=judged.judge.outputs["blessing"],
        refit=config.refit,
        least_overlap=float(config.refit_overlap),
        settings=to_json(config.evaluation),
        split=to_json(config.split),
        code=code_fingerprint("tfx_pipeline.refit.component"),
    )
    return Served(model, labeller, embedder, checker, [labeller, *steps, embedder, checker])


def _model_steps(
    judged: Served, labeller: Any, config: PipelineConfig, fitting: Mapping[str, Any], song_schema: Any
) -> list[Any]:
    """Returns the steps to the model; the last one gives it."""
    if config.refit == "index":
        return [
            HeldOutIndexer(
                judged=judged.model.outputs["model"],
                labelled_songs=labeller.outputs["labelled_songs"],
                code=code_fingerprint("tfx_pipeline.refit.held_out_songs"),
            )
        ]
    # The served model gets its own vocabulary: the first one lacks words that only held-out songs have.
    transform = transform_of(labeller, song_schema, config, fitting["fields"], [WARM, NEW]).with_id("ServedTransform")
    trainer = tfx.components.Trainer(
        run_fn="tfx_pipeline.refit.trainer.run_fn",
        base_model=judged.model.outputs["model"],
        examples=transform.outputs["transformed_examples"],
        transform_graph=transform.outputs["transform_graph"],
        train_args=tfx.proto.TrainArgs(splits=[WARM, NEW]),
        eval_args=tfx.proto.EvalArgs(splits=[WARM]),  # TFX asks for some; none is read
        custom_config={
            **fitting,
            "split": to_json(config.split.without_held_out()),
            "code": code_fingerprint("tfx_pipeline.refit.trainer"),
        },
    ).with_id("ServedTrainer")
    return [transform, trainer]


def transform_of(
    labeller: Any, song_schema: Any, config: PipelineConfig, fields: str, splits: list[str]
) -> tfx.components.Transform:
    """Returns the step that turns raw songs into the model's inputs, with vocabularies of the warm songs."""
    return tfx.components.Transform(
        examples=labeller.outputs["labelled_songs"],
        schema=song_schema.outputs["schema"],
        preprocessing_fn="tfx_pipeline.models.preprocessing.preprocessing_fn",
        splits_config=tfx.proto.SplitsConfig(analyze=[WARM], transform=splits),
        custom_config={
            "fields": fields,
            "min_frequency": config.transform.min_frequency,
            "max_vocabulary": config.transform.max_vocabulary,
            "max_values": config.transform.max_values,
            "code": code_fingerprint("tfx_pipeline.models.preprocessing"),
        },
        # Statistics and per-file partial results double the steps; nothing reads them.
        disable_statistics=True,
        disable_analyzer_cache=True,
    )
