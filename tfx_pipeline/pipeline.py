"""The pipeline, from plays to target listeners, in the order in which the data flows."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from ml_metadata.proto import metadata_store_pb2
from tfx import v1 as tfx

from tfx_pipeline import contract
from tfx_pipeline.config import PipelineConfig, to_json
from tfx_pipeline.contract.splits import NEW, TEST, VALIDATION, WARM
from tfx_pipeline.evaluation.catalogue_embedding import CatalogueEmbedder
from tfx_pipeline.evaluation.component import RetrievalEvaluator
from tfx_pipeline.gates.data_gate import DataGate, StatisticsKeeper
from tfx_pipeline.gates.serving_validator import ServingValidator
from tfx_pipeline.labels.component import SimilarSongsLabeller
from tfx_pipeline.models.song_schema import SongSchema
from tfx_pipeline.refit.component import JudgedModelKeeper
from tfx_pipeline.refit.steps import Served, transform_of, with_every_song
from tfx_pipeline.reports.component import RunPage
from tfx_pipeline.runtime.fingerprint import code_fingerprint, file_digest
from tfx_pipeline.targeting.component import AudienceTargeter, WeightChooser
from tfx_pipeline.tfx_extensions import standard

#: Columns of which statistics are made; None = all. The most frequent values of a listener's id would be ids.
_COUNTED = {"Song": None, "Play": ("song_id", "plays", "liked", "timestamp")}


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
    fields_json = contract.fields_to_json(fields)
    judged_dir = os.path.join(os.path.dirname(kept_statistics), "judged_model")

    # Songs and plays come in, are counted and checked.
    song_gen = standard.parquet_example_gen(Path(data_root) / contract.SONGS).with_id("SongGen")
    play_gen = standard.parquet_example_gen(Path(data_root) / contract.PLAYS, columnar=True).with_id("PlayGen")
    checks = []
    schemas = {}
    counted = {}
    for name, gen in (("Song", song_gen), ("Play", play_gen)):
        statistics = standard.statistics_gen(gen.outputs["examples"], _COUNTED[name]).with_id(f"{name}Statistics")
        schemas[name] = tfx.components.SchemaGen(
            statistics=statistics.outputs["statistics"], infer_feature_shape=False
        ).with_id(f"{name}SchemaGen")
        validator = tfx.components.ExampleValidator(
            statistics=statistics.outputs["statistics"], schema=schemas[name].outputs["schema"]
        ).with_id(f"{name}Validator")
        checks += [statistics, schemas[name], validator]
        counted[name] = statistics.outputs["statistics"]
    gate = DataGate(
        song_statistics=counted["Song"],
        play_statistics=counted["Play"],
        kept=str(kept_statistics),
        settings=to_json(config.data_gate),
        code=code_fingerprint("tfx_pipeline.gates.data_gate"),
    )

    # Plays become labels of songs; cold songs are split off.
    labeller = SimilarSongsLabeller(
        songs=song_gen.outputs["examples"],
        plays=play_gen.outputs["examples"],
        audience=to_json(config.audience),
        split=to_json(config.split),
        code=code_fingerprint("tfx_pipeline.labels.component"),
    )
    labeller.add_upstream_node(gate)

    # One graph turns raw songs into the model's inputs, in training and in serving.
    song_schema = SongSchema(
        inferred=schemas["Song"].outputs["schema"],
        fields=fields_json,
        code=code_fingerprint("tfx_pipeline.models.song_schema"),
    )
    transform = transform_of(labeller, song_schema, config, fields_json, [WARM, NEW, VALIDATION, TEST])

    learning = {
        "examples": transform.outputs["transformed_examples"],
        "transform_graph": transform.outputs["transform_graph"],
        "train_args": tfx.proto.TrainArgs(splits=[WARM, NEW]),
        "eval_args": tfx.proto.EvalArgs(splits=[VALIDATION]),
    }
    settings = {
        "fields": fields_json,
        "model": to_json(config.model),
        "training": to_json(config.training),
        "max_values": config.transform.max_values,
    }
    fitting = settings | {"ridge": to_json(config.ridge), "song_ids": config.song_ids, "explain": config.explain}
    tuners = []
    if config.tuning is not None:
        tuners = [
            tfx.components.Tuner(
                tuner_fn="tfx_pipeline.models.tuner.tuner_fn",
                custom_config=settings
                | {"tuning": to_json(config.tuning), "code": code_fingerprint("tfx_pipeline.models.tuner")},
                **learning,
            )
        ]
    trainer = tfx.components.Trainer(
        run_fn="tfx_pipeline.models.trainer.run_fn",
        hyperparameters=tuners[0].outputs["best_hyperparameters"] if tuners else None,
        custom_config=fitting
        | {"split": to_json(config.split), "code": code_fingerprint("tfx_pipeline.models.trainer")},
        **learning,
    )

    # Every song is embedded, cold songs are matched, and the matches are judged.
    embedder = CatalogueEmbedder(
        labelled_songs=labeller.outputs["labelled_songs"],
        model=trainer.outputs["model"],
        code=code_fingerprint("tfx_pipeline.evaluation.catalogue_embedding"),
    )
    evaluator = RetrievalEvaluator(
        transformed_songs=transform.outputs["transformed_examples"],
        transform_graph=transform.outputs["transform_graph"],
        embeddings=embedder.outputs["embeddings"],
        labelled_songs=labeller.outputs["labelled_songs"],
        serving_dir=str(serving_dir),
        fields=fields_json,
        settings=to_json(config.evaluation),
        judged_dir=judged_dir,
        split=to_json(config.split),
        code=code_fingerprint("tfx_pipeline.evaluation.component"),
    )

    # What is served knows the songs, too, that were held out to judge it by.
    served = Served(trainer, labeller, embedder, evaluator, [])
    if config.refit != "off":
        served = with_every_song(
            served, config, fitting, song_schema, song_gen.outputs["examples"], play_gen.outputs["examples"]
        )
    serving_validator = ServingValidator(
        model=served.model.outputs["model"],
        labelled_songs=served.labeller.outputs["labelled_songs"],
        code=code_fingerprint("tfx_pipeline.gates.serving_validator"),
    )
    pusher = standard.pusher(
        served.model.outputs["model"],
        model_blessing=served.judge.outputs["blessing"],
        infra_blessing=serving_validator.outputs["blessing"],
        serving_dir=serving_dir,
    )

    keeper = StatisticsKeeper(
        pushed_model=pusher.outputs["pushed_model"],
        song_statistics=counted["Song"],
        play_statistics=counted["Play"],
        kept=str(kept_statistics),
        code=code_fingerprint("tfx_pipeline.gates.data_gate"),
    )

    keepers = [keeper]
    if config.refit == "train":
        keepers.append(
            JudgedModelKeeper(
                pushed_model=pusher.outputs["pushed_model"],
                model=trainer.outputs["model"],
                kept=judged_dir,
                code=code_fingerprint("tfx_pipeline.refit.component"),
            )
        )

    # New songs get their target listeners. Songs that were held out are new to the judged model alone.
    asks_held_out = not {VALIDATION, TEST}.isdisjoint(config.targeting.target_splits)
    targeted = embedder if asks_held_out else served.embedder
    targeting = {
        "plays": play_gen.outputs["examples"],
        "settings": to_json(config.targeting),
        "listeners": str(listener_table or ""),
        "exclusions": str(exclusions or ""),
        "digests": " ".join(file_digest(file) for file in (listener_table, exclusions) if file),
        "code": code_fingerprint("tfx_pipeline.targeting.component"),
    }
    choosers = []
    if targeted is not embedder and config.targeting.chooses_weight:
        choosers = [WeightChooser(embeddings=embedder.outputs["embeddings"], **targeting)]
    targeter = AudienceTargeter(
        embeddings=targeted.outputs["embeddings"],
        pushed_model=pusher.outputs["pushed_model"],
        serving_dir=str(serving_dir),
        count_weight=choosers[0].outputs["count_weight"] if choosers else None,
        **targeting,
    )

    page = RunPage(
        song_statistics=counted["Song"],
        play_statistics=counted["Play"],
        report_of_data=gate.outputs["report_of_data"],
        model_run=trainer.outputs["model_run"],
        evaluation=evaluator.outputs["evaluation"],
        infra_blessing=serving_validator.outputs["blessing"],
        pushed_model=pusher.outputs["pushed_model"],
        songs=song_gen.outputs["examples"],
        embeddings=targeted.outputs["embeddings"],
        served_blessing=None if served.judge is evaluator else served.judge.outputs["blessing"],
        targets=targeter.outputs["targets"],
        code=code_fingerprint("tfx_pipeline.reports.component"),
    )

    return tfx.dsl.Pipeline(
        pipeline_name=pipeline_name,
        pipeline_root=str(pipeline_root),
        components=[
            song_gen,
            play_gen,
            *checks,
            gate,
            labeller,
            song_schema,
            transform,
            *tuners,
            trainer,
            embedder,
            evaluator,
            *served.steps,
            serving_validator,
            pusher,
            *keepers,
            *choosers,
            targeter,
            page,
        ],
        enable_cache=True,
        metadata_connection_config=metadata_connection_config,
        beam_pipeline_args=list(beam_pipeline_args),
    )
