"""TFX's own components as our pipelines use them: with the executors of ours that keep zeros and push by rename."""

from __future__ import annotations

from pathlib import Path

from tfx import v1 as tfx
from tfx.components.example_gen.component import FileBasedExampleGen
from tfx.dsl.components.base import executor_spec

from tfx_pipeline.components import parquet_executor, pusher_executor
from tfx_pipeline.components.similar_songs import ALL


def parquet_example_gen(file: Path) -> FileBasedExampleGen:
    """Reads one Parquet file as a single split."""
    return FileBasedExampleGen(
        input_base=str(file.parent),
        input_config=tfx.proto.Input(splits=[tfx.proto.Input.Split(name=ALL, pattern=file.name)]),
        output_config=tfx.proto.Output(),
        custom_executor_spec=executor_spec.BeamExecutorSpec(parquet_executor.Executor),
    )


def pusher(
    model: tfx.types.Channel,
    *,
    model_blessing: tfx.types.Channel,
    infra_blessing: tfx.types.Channel,
    serving_dir: Path | str,
) -> tfx.components.Pusher:
    """Pushes a model that has both blessings into the folder that TensorFlow Serving watches."""
    return tfx.components.Pusher(
        model=model,
        model_blessing=model_blessing,
        infra_blessing=infra_blessing,
        push_destination=tfx.proto.PushDestination(
            filesystem=tfx.proto.PushDestination.Filesystem(base_directory=str(serving_dir))
        ),
        custom_executor_spec=executor_spec.ExecutorClassSpec(pusher_executor.Executor),
    )
