"""The pipeline, from plays to target listeners, in the order in which the data flows."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ml_metadata.proto import metadata_store_pb2
from tfx import v1 as tfx

from tfx_pipeline import contract
from tfx_pipeline.config import PipelineConfig
from tfx_pipeline.evaluation.catalogue_embedding import CatalogueEmbedder
from tfx_pipeline.evaluation.component import RetrievalEvaluator
from tfx_pipeline.gates.data_gate import StatisticsKeeper
from tfx_pipeline.gates.serving_validator import ServingValidator
from tfx_pipeline.gates.steps import CheckedData, checked_data
from tfx_pipeline.labels.component import SimilarSongsLabeller
from tfx_pipeline.models.step_settings import TrainerSettings
from tfx_pipeline.models.steps import Fitted, fitted_model
from tfx_pipeline.refit.component import JudgedModelKeeper
from tfx_pipeline.refit.steps import ModelSteps, with_every_song
from tfx_pipeline.reports.component import RunPage
from tfx_pipeline.reports.engine import Engine, engine_of
from tfx_pipeline.targeting.steps import ListenerFiles, Targeted, targeted_listeners
from tfx_pipeline.tfx_extensions import standard


def create_pipeline(
    *,
    pipeline_name: str,
    pipeline_root: Path | str,
    data_root: Path | str,
    serving_dir: Path | str,
    kept_statistics: Path | str,
    fields: Sequence[contract.SongField],
    config: PipelineConfig | None = None,
    listener_table: Path | str | None = None,
    exclusions: Path | str | None = None,
    metadata_connection_config: metadata_store_pb2.ConnectionConfig | None = None,
    beam_pipeline_args: Sequence[str] = (),
) -> tfx.dsl.Pipeline:
    """Builds the pipeline.

    Args:
        pipeline_name: Name under which runs are recorded.
        pipeline_root: Folder for what the components write.
        data_root: Folder written by `contract.prepare`.
        serving_dir: Folder to which a blessed model is pushed as `<serving_dir>/<version>/`.
        kept_statistics: Folder for the statistics of the data of the last pushed run. Beside it `judged_model` keeps
            the model that was judged in it, where another one is served.
        fields: The song fields that `contract.prepare` found.
        config: All settings.
        listener_table: Parquet file of listener vectors that take the place of those formed from plays.
        exclusions: Parquet file of listeners who must not be targeted: user_id, song_id (null = every song).
        metadata_connection_config: Where runs are recorded.
        beam_pipeline_args: Options of the Beam runner.

    Returns:
        A pipeline for any TFX runner.
    """
    config = config or PipelineConfig()
    folders = _Folders(str(serving_dir), str(kept_statistics))

    # 1. Songs and plays come in, are counted and checked.
    data = checked_data(Path(data_root), folders.kept_statistics, config.data_gate)

    # 2. Plays become labels of songs; cold songs are split off.
    labeller = SimilarSongsLabeller(
        songs=data.songs.examples, plays=data.plays.examples, audience=config.audience, split=config.split
    )
    labeller.add_upstream_node(data.gate)

    # 3. A model learns from warm songs. One graph turns raw songs into its inputs, in training and in serving.
    settings = _trainer_settings(fields, config)
    fitted = fitted_model(labeller, data.songs.schema, settings, config.transform, config.tuning)

    # 4. The model is judged on the songs held out. The model that is served knows these songs, too. It is pushed.
    judged = _judged(fitted, labeller, folders, settings, config)
    served = judged
    if config.refit != "off":
        served = with_every_song(judged, config, settings, fitted.schema, data.songs.examples, data.plays.examples)
    pushed = _pushed(served, folders, config)
    keepers = _keepers(pushed, data, fitted, folders, config)

    # 5. New songs get their target listeners, and the run gets its page.
    files = ListenerFiles(listener_table, exclusions)
    targeted = targeted_listeners(
        data.plays.examples,
        judged.embedder,
        served.embedder,
        pushed.pusher,
        folders.serving,
        files,
        config.targeting,
    )
    steps = [
        *data.steps,
        labeller,
        *fitted.steps,
        *judged.steps,
        *(served.steps if served is not judged else ()),
        *pushed.steps,
        *keepers,
        *targeted.steps,
    ]
    page = _page(data, fitted, judged, served, pushed, targeted, engine_of(steps, beam_pipeline_args))

    return tfx.dsl.Pipeline(
        pipeline_name=pipeline_name,
        pipeline_root=str(pipeline_root),
        components=[*steps, page],
        enable_cache=True,
        metadata_connection_config=metadata_connection_config,
        beam_pipeline_args=list(beam_pipeline_args),
    )


@dataclass(frozen=True)
class _Folders:
    """The folders that outlast a run.

    Attributes:
        serving: Of the model's versions.
        kept_statistics: Of the statistics of the last pushed run.
    """

    serving: str
    kept_statistics: str

    @property
    def judged_model(self) -> str:
        """Of the judged model of the last pushed run."""
        return os.path.join(os.path.dirname(self.kept_statistics), "judged_model")


def _trainer_settings(fields: Sequence[contract.SongField], config: PipelineConfig) -> TrainerSettings:
    return TrainerSettings(
        fields=tuple(fields),
        model=config.model,
        training=config.training,
        max_values=config.transform.max_values,
        ridge=config.ridge,
        split=config.split,
        song_ids=config.song_ids,
        explain=config.explain,
    )


def _judged(
    fitted: Fitted, labeller: Any, folders: _Folders, settings: TrainerSettings, config: PipelineConfig
) -> ModelSteps:
    """Returns the steps of the judged model: every song is embedded, cold songs are matched and the matches judged."""
    embedder = CatalogueEmbedder(
        labelled_songs=labeller.outputs["labelled_songs"], model=fitted.trainer.outputs["model"]
    )
    evaluator = RetrievalEvaluator(
        transformed_songs=fitted.transform.outputs["transformed_examples"],
        transform_graph=fitted.transform.outputs["transform_graph"],
        embeddings=embedder.outputs["embeddings"],
        labelled_songs=labeller.outputs["labelled_songs"],
        serving_dir=folders.serving,
        fields=settings.fields,
        settings=config.evaluation,
        judged_dir=folders.judged_model,
        split=config.split,
    )
    return ModelSteps(fitted.trainer, labeller, embedder, evaluator, [embedder, evaluator])


@dataclass(frozen=True)
class _Pushed:
    """The steps that try out the model that is served, and push it."""

    validator: Any
    pusher: Any

    @property
    def steps(self) -> list[Any]:
        return [self.validator, self.pusher]


def _pushed(served: ModelSteps, folders: _Folders, config: PipelineConfig) -> _Pushed:
    model = served.model.outputs["model"]
    validator = ServingValidator(model=model, labelled_songs=served.labeller.outputs["labelled_songs"])
    pusher = standard.pusher(
        model,
        model_blessing=served.judge.outputs["blessing"],
        infra_blessing=validator.outputs["blessing"],
        serving_dir=folders.serving,
        push=config.push,
    )
    return _Pushed(validator, pusher)


def _keepers(
    pushed: _Pushed, data: CheckedData, fitted: Fitted, folders: _Folders, config: PipelineConfig
) -> list[Any]:
    """Returns the steps that keep what the next run is compared with."""
    pushed_model = pushed.pusher.outputs["pushed_model"]
    keepers = [
        StatisticsKeeper(
            pushed_model=pushed_model,
            song_statistics=data.songs.statistics,
            play_statistics=data.plays.statistics,
            kept=folders.kept_statistics,
        )
    ]
    if config.refit == "train":
        model = fitted.trainer.outputs["model"]
        keepers.append(JudgedModelKeeper(pushed_model=pushed_model, model=model, kept=folders.judged_model))
    return keepers


def _page(
    data: CheckedData,
    fitted: Fitted,
    judged: ModelSteps,
    served: ModelSteps,
    pushed: _Pushed,
    targeted: Targeted,
    engine: Engine | None,
) -> Any:
    return RunPage(
        song_statistics=data.songs.statistics,
        play_statistics=data.plays.statistics,
        report_of_data=data.gate.outputs["report_of_data"],
        model_run=fitted.trainer.outputs["model_run"],
        evaluation=judged.judge.outputs["evaluation"],
        infra_blessing=pushed.validator.outputs["blessing"],
        pushed_model=pushed.pusher.outputs["pushed_model"],
        songs=data.songs.examples,
        embeddings=targeted.embedder.outputs["embeddings"],
        served_blessing=None if served is judged else served.judge.outputs["blessing"],
        targets=targeted.targeter.outputs["targets"],
        **({} if engine is None else {"engine": engine}),
    )
