"""The pipeline, from plays to target listeners, in the order in which the data flows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ml_metadata.proto import metadata_store_pb2
from tfx import v1 as tfx

from tfx_pipeline import contract
from tfx_pipeline.cold_split import NEW, TEST, VALIDATION, WARM
from tfx_pipeline.components import standard
from tfx_pipeline.components.catalogue_embedding import CatalogueEmbedder
from tfx_pipeline.components.data_gate import DataGate, StatisticsKeeper
from tfx_pipeline.components.infra_validation import ServingValidator
from tfx_pipeline.components.retrieval_evaluation import RetrievalEvaluator
from tfx_pipeline.components.run_page import RunPage
from tfx_pipeline.components.similar_songs import SimilarSongsLabeller
from tfx_pipeline.components.song_schema import SongSchema
from tfx_pipeline.components.targeting import AudienceTargeter
from tfx_pipeline.configs import PipelineConfig, to_json
from tfx_pipeline.fingerprint import code_fingerprint, file_digest

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
        kept_statistics: Folder for the statistics of the data of the last pushed run.
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

    # Songs and plays come in, are counted and checked.
    song_gen = standard.parquet_example_gen(Path(data_root) / contract.SONGS).with_id("SongGen")
    play_gen = standard.parquet_example_gen(Path(data_root) / contract.PLAYS).with_id("PlayGen")
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
        code=code_fingerprint("tfx_pipeline.components.data_gate"),
    )

    # Plays become labels of songs; cold songs are split off.
    labeller = SimilarSongsLabeller(
        songs=song_gen.outputs["examples"],
        plays=play_gen.outputs["examples"],
        audience=to_json(config.audience),
        split=to_json(config.split),
        code=code_fingerprint("tfx_pipeline.components.similar_songs"),
    )
    labeller.add_upstream_node(gate)

    # One graph turns raw songs into the model's inputs, in training and in serving.
    song_schema = SongSchema(
        inferred=schemas["Song"].outputs["schema"],
        fields=fields_json,
        code=code_fingerprint("tfx_pipeline.components.song_schema"),
    )
    transform = tfx.components.Transform(
        examples=labeller.outputs["labelled_songs"],
        schema=song_schema.outputs["schema"],
        preprocessing_fn="tfx_pipeline.preprocessing.preprocessing_fn",
        splits_config=tfx.proto.SplitsConfig(analyze=[WARM], transform=[WARM, NEW, VALIDATION, TEST]),
        custom_config={
            "fields": fields_json,
            "min_frequency": config.transform.min_frequency,
            "max_vocabulary": config.transform.max_vocabulary,
            "code": code_fingerprint("tfx_pipeline.preprocessing"),
        },
        # Statistics and per-file partial results double the steps; nothing reads them.
        disable_statistics=True,
        disable_analyzer_cache=True,
    )

    learning = {
        "examples": transform.outputs["transformed_examples"],
        "transform_graph": transform.outputs["transform_graph"],
        "train_args": tfx.proto.TrainArgs(splits=[WARM, NEW]),
        "eval_args": tfx.proto.EvalArgs(splits=[VALIDATION]),
    }
    settings = {"fields": fields_json, "model": to_json(config.model), "training": to_json(config.training)}
    tuners = []
    if config.tuning is not None:
        tuners = [
            tfx.components.Tuner(
                tuner_fn="tfx_pipeline.tuner.tuner_fn",
                custom_config=settings
                | {"tuning": to_json(config.tuning), "code": code_fingerprint("tfx_pipeline.tuner")},
                **learning,
            )
        ]
    trainer = tfx.components.Trainer(
        run_fn="tfx_pipeline.trainer.run_fn",
        hyperparameters=tuners[0].outputs["best_hyperparameters"] if tuners else None,
        custom_config=settings
        | {
            "ridge": to_json(config.ridge),
            "song_ids": config.song_ids,
            "code": code_fingerprint("tfx_pipeline.trainer"),
        },
        **learning,
    )

    # Every song is embedded, cold songs are matched, and the matches are judged.
    embedder = CatalogueEmbedder(
        labelled_songs=labeller.outputs["labelled_songs"],
        model=trainer.outputs["model"],
        code=code_fingerprint("tfx_pipeline.components.catalogue_embedding"),
    )
    evaluator = RetrievalEvaluator(
        transformed_songs=transform.outputs["transformed_examples"],
        transform_graph=transform.outputs["transform_graph"],
        embeddings=embedder.outputs["embeddings"],
        labelled_songs=labeller.outputs["labelled_songs"],
        serving_dir=str(serving_dir),
        fields=fields_json,
        settings=to_json(config.evaluation),
        max_values=config.model.max_values,
        code=code_fingerprint("tfx_pipeline.components.retrieval_evaluation"),
    )
    serving_validator = ServingValidator(
        model=trainer.outputs["model"],
        labelled_songs=labeller.outputs["labelled_songs"],
        code=code_fingerprint("tfx_pipeline.components.infra_validation"),
    )
    pusher = standard.pusher(
        trainer.outputs["model"],
        model_blessing=evaluator.outputs["blessing"],
        infra_blessing=serving_validator.outputs["blessing"],
        serving_dir=serving_dir,
    )

    keeper = StatisticsKeeper(
        pushed_model=pusher.outputs["pushed_model"],
        song_statistics=counted["Song"],
        play_statistics=counted["Play"],
        kept=str(kept_statistics),
        code=code_fingerprint("tfx_pipeline.components.data_gate"),
    )

    # New songs get their target listeners.
    targeter = AudienceTargeter(
        plays=play_gen.outputs["examples"],
        embeddings=embedder.outputs["embeddings"],
        pushed_model=pusher.outputs["pushed_model"],
        settings=to_json(config.targeting),
        listeners=str(listener_table or ""),
        exclusions=str(exclusions or ""),
        serving_dir=str(serving_dir),
        digests=" ".join(file_digest(file) for file in (listener_table, exclusions) if file),
        code=code_fingerprint("tfx_pipeline.components.targeting"),
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
        embeddings=embedder.outputs["embeddings"],
        targets=targeter.outputs["targets"],
        code=code_fingerprint("tfx_pipeline.components.run_page"),
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
            serving_validator,
            pusher,
            keeper,
            targeter,
            page,
        ],
        enable_cache=True,
        metadata_connection_config=metadata_connection_config,
        beam_pipeline_args=list(beam_pipeline_args),
    )
