"""TFX's own components as our pipelines use them: with the executors of ours that keep zeros and push by rename."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import tensorflow_data_validation as tfdv
from google.protobuf import wrappers_pb2
from tfx import v1 as tfx
from tfx.components.example_gen.component import FileBasedExampleGen
from tfx.dsl.components.base import executor_spec
from tfx.proto import example_gen_pb2
from tfx.types import Channel

from tfx_pipeline.runtime.fingerprint import code_fingerprint
from tfx_pipeline.tfx_extensions import parquet_executor, pusher_executor
from tfx_pipeline.tfx_extensions.example_files import ALL
from tfx_pipeline.tfx_extensions.push_config import PushConfig


class ParquetExampleGen(FileBasedExampleGen):
    """TFX's, with our executor."""

    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(parquet_executor.Executor)


class RenamingPusher(tfx.components.Pusher):
    """TFX's, with our executor."""

    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(pusher_executor.Executor)


def parquet_example_gen(file: Path, *, columnar: bool = False) -> ParquetExampleGen:
    """Reads one Parquet file as a single split.

    Args:
        file: The file.
        columnar: Whether what is read stays Parquet: for plays, which nobody reads one by one. Default: tf.Examples.
    """
    payload, files = example_gen_pb2.FORMAT_TF_EXAMPLE, example_gen_pb2.FORMAT_TFRECORDS_GZIP
    if columnar:
        payload, files = example_gen_pb2.FORMAT_PARQUET, example_gen_pb2.FILE_FORMAT_PARQUET
    code = example_gen_pb2.CustomConfig()
    code.custom_config.Pack(wrappers_pb2.StringValue(value=code_fingerprint(parquet_executor.__name__)))
    return ParquetExampleGen(
        input_base=str(file.parent),
        input_config=tfx.proto.Input(splits=[tfx.proto.Input.Split(name=ALL, pattern=file.name)]),
        output_config=tfx.proto.Output(),
        output_data_format=payload,
        output_file_format=files,
        custom_config=code,  # the executor reads none: it is there so that the cache follows the code
    )


def statistics_gen(examples: Channel, columns: Sequence[str] | None = None) -> tfx.components.StatisticsGen:
    """Counts examples.

    Args:
        examples: What ExampleGen wrote.
        columns: Those to count; None = all.
    """
    options = None if columns is None else tfdv.StatsOptions(feature_allowlist=list(columns))
    return tfx.components.StatisticsGen(examples=examples, stats_options=options)


def pusher(
    model: Channel,
    *,
    model_blessing: Channel,
    infra_blessing: Channel,
    serving_dir: Path | str,
    push: PushConfig | None = None,
) -> RenamingPusher:
    """Pushes a model that has both blessings into the folder that TensorFlow Serving watches.

    Args:
        model: The model.
        model_blessing: What judged it.
        infra_blessing: What tried it out in a server.
        serving_dir: The folder.
        push: Which versions go then, and where copies go; None = none.
    """
    settings = asdict(push) if push not in (None, PushConfig()) else {}
    return RenamingPusher(
        model=model,
        model_blessing=model_blessing,
        infra_blessing=infra_blessing,
        push_destination=tfx.proto.PushDestination(
            filesystem=tfx.proto.PushDestination.Filesystem(base_directory=str(serving_dir))
        ),
        custom_config={"code": code_fingerprint(pusher_executor.__name__), **settings},
    ).with_id("Pusher")
