"""TFX components: the comparison of today's data with that of the last pushed run, whose statistics are kept."""

import os
import shutil

import tensorflow_data_validation as tfdv
from tfx import v1 as tfx
from tfx.types import artifact_utils
from tfx.utils import io_utils

from serving.files.whole_files import begin_folder, earlier, replace_folder, write_whole
from tfx_pipeline.gates.data_drift import DataGateConfig, DataGateError, Statistics, compare, report
from tfx_pipeline.tfx_extensions.artifacts import DataReport
from tfx_pipeline.tfx_extensions.components import component
from tfx_pipeline.tfx_extensions.example_files import ALL

REPORT = "report.txt"
_FILE = "FeatureStats.pb"
_TABLES = ("songs", "plays")


@component
def DataGate(  # noqa: N802
    song_statistics: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.ExampleStatistics],
    play_statistics: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.ExampleStatistics],
    report_of_data: tfx.dsl.components.OutputArtifact[DataReport],
    kept: tfx.dsl.components.Parameter[str],
    settings: DataGateConfig,
) -> None:
    """Stops the run if its data differs too much from the last pushed run's; the first run passes.

    The report is also written beside `kept`, because TFX removes the outputs of a component that fails.

    The same data and settings are judged once: the kept statistics are not part of the cache key, so that a run without
    new data runs no component.

    Args:
        song_statistics: Statistics of the songs.
        play_statistics: Statistics of the plays.
        report_of_data: The report, as `report.txt`.
        kept: Folder of the kept statistics; may be absent.
        settings: How much the data may differ.

    Raises:
        DataGateError: With one line per difference that is too large.
    """
    findings = {}
    for table, statistics in zip(_TABLES, (song_statistics, play_statistics), strict=True):
        # A run killed while it replaced the statistics left the earlier ones under the other name.
        places = [os.path.join(folder, table, _FILE) for folder in (kept, earlier(kept))]
        last = next((place for place in places if os.path.exists(place)), None)
        findings[table] = None if last is None else compare(read_statistics(statistics), _load(last), settings)
    text = report(findings)
    io_utils.write_string_file(os.path.join(report_of_data.uri, REPORT), text)
    os.makedirs(os.path.dirname(os.path.abspath(kept)), exist_ok=True)
    write_whole(f"{kept}_report.txt", text + "\n")
    if any(finding.stops for of_table in findings.values() for finding in of_table or []):
        raise DataGateError(
            f"The data differs too much from the last pushed run. If that is intended, delete {kept}.\n{text}"
        )


@component
def StatisticsKeeper(  # noqa: N802
    pushed_model: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.PushedModel],
    song_statistics: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.ExampleStatistics],
    play_statistics: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.ExampleStatistics],
    kept: tfx.dsl.components.Parameter[str],
) -> None:
    """Keeps the statistics of a run whose model was pushed, for the next run's `DataGate`.

    Args:
        pushed_model: Says whether the model was pushed.
        song_statistics: Statistics of the songs.
        play_statistics: Statistics of the plays.
        kept: Folder to keep them in; its earlier content is replaced.
    """
    if not pushed_model.get_int_custom_property("pushed"):
        return
    aside = begin_folder(kept)
    for table, statistics in zip(_TABLES, (song_statistics, play_statistics), strict=True):
        os.makedirs(os.path.join(aside, table))
        shutil.copyfile(_path(statistics), os.path.join(aside, table, _FILE))
    replace_folder(aside, kept)


def _path(statistics: tfx.types.standard_artifacts.ExampleStatistics) -> str:
    return os.path.join(artifact_utils.get_split_uri([statistics], ALL), _FILE)


def read_statistics(statistics: tfx.types.standard_artifacts.ExampleStatistics) -> Statistics:
    """Returns the statistics of the one split."""
    return _load(_path(statistics))


def _load(path: str) -> Statistics:
    return tfdv.load_stats_binary(path)
