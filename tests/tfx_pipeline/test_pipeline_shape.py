"""The steps of the compiled pipeline and what each waits for, for every choice of settings that changes them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tfx.dsl.compiler import compiler

from tfx_pipeline.config import PipelineConfig
from tfx_pipeline.contract import SongField
from tfx_pipeline.models.model_config import TuningConfig
from tfx_pipeline.pipeline import create_pipeline

#: Step to the steps before it, with the default settings.
DEFAULT = {
    "SongGen": "",
    "PlayGen": "",
    "SongStatistics": "SongGen",
    "SongSchemaGen": "SongStatistics",
    "SongValidator": "SongSchemaGen SongStatistics",
    "PlayStatistics": "PlayGen",
    "PlaySchemaGen": "PlayStatistics",
    "PlayValidator": "PlaySchemaGen PlayStatistics",
    "DataGate": "PlayStatistics SongStatistics",
    "SimilarSongsLabeller": "DataGate PlayGen SongGen",
    "SongSchema": "SongSchemaGen",
    "Transform": "SimilarSongsLabeller SongSchema",
    "Trainer": "Transform",
    "CatalogueEmbedder": "SimilarSongsLabeller Trainer",
    "RetrievalEvaluator": "CatalogueEmbedder SimilarSongsLabeller Transform",
    "ServedSongsLabeller": "PlayGen RetrievalEvaluator SongGen",
    "ServedTransform": "ServedSongsLabeller SongSchema",
    "ServedTrainer": "ServedTransform Trainer",
    "ServedEmbedder": "ServedSongsLabeller ServedTrainer",
    "ServedModelChecker": "CatalogueEmbedder RetrievalEvaluator ServedEmbedder ServedTrainer",
    "ServingValidator": "ServedSongsLabeller ServedTrainer",
    "Pusher": "ServedModelChecker ServedTrainer ServingValidator",
    "StatisticsKeeper": "PlayStatistics Pusher SongStatistics",
    "JudgedModelKeeper": "Pusher Trainer",
    "WeightChooser": "CatalogueEmbedder PlayGen",
    "AudienceTargeter": "PlayGen Pusher ServedEmbedder WeightChooser",
    "RunPage": "AudienceTargeter DataGate PlayStatistics Pusher RetrievalEvaluator ServedEmbedder ServedModelChecker "
    "ServingValidator SongGen SongStatistics Trainer",
}
_OF_A_SECOND_MODEL = (
    *("ServedSongsLabeller", "ServedTransform", "ServedTrainer", "ServedEmbedder"),
    *("ServedModelChecker", "JudgedModelKeeper", "WeightChooser"),
)
#: Name to settings of the pipeline, settings of targeting, steps that go, and steps that come or wait for others.
CHOICES: dict[str, tuple[dict[str, Any], dict[str, Any], tuple[str, ...], dict[str, str]]] = {
    "default": ({}, {}, (), {}),
    "held-out songs join the index": (
        {"refit": "index"},
        {},
        ("ServedTransform", "ServedTrainer", "JudgedModelKeeper"),
        {
            "HeldOutIndexer": "ServedSongsLabeller Trainer",
            "ServedEmbedder": "HeldOutIndexer ServedSongsLabeller",
            "ServingValidator": "HeldOutIndexer ServedSongsLabeller",
            "ServedModelChecker": "CatalogueEmbedder HeldOutIndexer RetrievalEvaluator ServedEmbedder",
            "Pusher": "HeldOutIndexer ServedModelChecker ServingValidator",
        },
    ),
    "the judged model is served": (
        {"refit": "off"},
        {},
        _OF_A_SECOND_MODEL,
        {
            "ServingValidator": "SimilarSongsLabeller Trainer",
            "Pusher": "RetrievalEvaluator ServingValidator Trainer",
            "AudienceTargeter": "CatalogueEmbedder PlayGen Pusher",
            "RunPage": "AudienceTargeter CatalogueEmbedder DataGate PlayStatistics Pusher RetrievalEvaluator "
            "ServingValidator SongGen SongStatistics Trainer",
        },
    ),
    "a search for settings": ({"tuning": TuningConfig()}, {}, (), {"Tuner": "Transform", "Trainer": "Transform Tuner"}),
    "targets of held-out songs": (
        {},
        {"target_splits": ("new", "val")},
        ("WeightChooser",),
        {
            "AudienceTargeter": "CatalogueEmbedder PlayGen Pusher",
            "RunPage": "AudienceTargeter CatalogueEmbedder DataGate PlayStatistics Pusher RetrievalEvaluator "
            "ServedModelChecker ServingValidator SongGen SongStatistics Trainer",
        },
    ),
    "no weight to choose": (
        {},
        {"rule": "count"},
        ("WeightChooser",),
        {"AudienceTargeter": "PlayGen Pusher ServedEmbedder"},
    ),
}


@pytest.mark.parametrize("choice", CHOICES)
def test_steps_and_what_they_wait_for(tmp_path: Path, choice: str) -> None:
    settings, targeting, gone, changed = CHOICES[choice]
    config = replace(PipelineConfig(), **settings)
    nodes = compiled(tmp_path, replace(config, targeting=replace(config.targeting, **targeting)))
    expected = {name: before for name, before in DEFAULT.items() if name not in gone} | changed
    assert {name: " ".join(sorted(node.upstream_nodes)) for name, node in nodes.items()} == expected
    assert all(node.execution_options.caching_options.enable_cache for node in nodes.values())


def test_the_page_is_told_where_each_step_runs(tmp_path: Path) -> None:
    assert "engine" not in compiled(tmp_path, PipelineConfig())["RunPage"].parameters.parameters
    options = ("--runner=PortableRunner", "--job_endpoint=jobs:8099")
    nodes = compiled(tmp_path, PipelineConfig(), options)
    told = json.loads(nodes["RunPage"].parameters.parameters["engine"].field_value.string_value)
    assert told["name"] == "PortableRunner at jobs:8099"
    assert {*told["there"], *told["here"], "RunPage"} == set(nodes) and not {*told["there"]} & {*told["here"]}
    assert {"SongGen", "PlayStatistics", "SimilarSongsLabeller", "Transform", "ServedEmbedder"} <= {*told["there"]}
    assert {"DataGate", "Trainer", "ServedTrainer", "RetrievalEvaluator", "Pusher"} <= {*told["here"]}


def compiled(home: Path, config: PipelineConfig, options: tuple[str, ...] = ()) -> dict[str, Any]:
    """Returns each step of the pipeline as TFX compiles it, by its id."""
    pipeline = create_pipeline(
        pipeline_name="bcl",
        pipeline_root=home / "pipeline",
        data_root=home / "input",
        serving_dir=home / "serving",
        kept_statistics=home / "kept" / "statistics",
        fields=[SongField("attribute_genre", "category")],
        config=config,
        beam_pipeline_args=options,
    )
    nodes = compiler.Compiler().compile(pipeline).nodes
    return {node.pipeline_node.node_info.id: node.pipeline_node for node in nodes}
