"""Serves the model of a run again if it came from TFX's cache, where no component pushes it.

This happens where the data is that of an earlier run, and another model was served meanwhile. TFX's cache knows what a
component wrote, but not what happened to it since. So the model of a run is compared with the served one at the end.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from serving.files.linked_files import link_tree
from serving.files.whole_files import put_folder
from serving.savedmodel.publish import latest_version, next_version
from serving.savedmodel.versions import scan
from tfx_pipeline.history.gate_memory import keep, show_report
from tfx_pipeline.history.run_history import RecordedRun, output_of, pushes, read_runs
from tfx_pipeline.history.run_records import RunRecords
from tfx_pipeline.history.served_copies import Copy, drop_taken_down, pushed_as, rolled_back, write_record
from tfx_pipeline.runtime.run_folder import RunFolder

_STAGING = ".pushing"


@dataclass(frozen=True)
class Standing:
    """The model of a run compared with the served one.

    Attributes:
        version: Number under which it was pushed.
        served: Number that is served; None where there is none.
        is_served: Whether that is this model: itself, a copy or a refresh of it.
        is_rolled_back: Whether it is not served because of a rollback.
    """

    version: int
    served: int | None
    is_served: bool
    is_rolled_back: bool

    def why_rolled_back(self) -> str:
        """Returns why a model that was rolled back is not served."""
        return (
            f"The data gives version {self.version} again. It was rolled back, so version {self.served} is still "
            "served."
        )


def standing(serving: Path, runs: list[RecordedRun]) -> Standing | None:
    """Returns how the model of the last run compares with the served one; None where it pushed none."""
    if not runs or not runs[-1].version:
        return None
    pushed, version = pushes(runs), int(runs[-1].version)
    served = max(scan(str(serving)), default=None) if serving.is_dir() else None
    is_served = served is not None and pushed_as(serving, served, pushed) == version
    return Standing(version, served, is_served, not is_served and version in rolled_back(serving, pushed))


@dataclass(frozen=True)
class Served:
    """What was done.

    Attributes:
        line: A line about the model, which is served again or is not; None where there was nothing to do.
        is_rolled_back: Whether the run's model was rolled back, so that its results are not published.
    """

    line: str | None = None
    is_rolled_back: bool = False


def serve_model_of_last_run(folder: RunFolder) -> Served:
    """Publishes the model of the last run again, if it came from the cache and another one is served.

    A model that was rolled back is not served again. What the gates compare the next run with follows the model, and
    the report of the data gate is that of this run.

    Args:
        folder: The run's folder, which the caller holds.

    Raises:
        PublishError: If another publication is under way.
        OSError: If the copy cannot be written. The next run tries it again.
    """
    runs = read_runs(RunRecords.of(folder))
    show_report(folder, runs[-1])
    found, line = standing(folder.serving, runs), None
    if found is None:
        return Served()
    if found.is_rolled_back:
        return Served(found.why_rolled_back(), is_rolled_back=True)
    if not found.is_served:
        number = _publish(folder.serving, folder.pipeline_root, runs[-1], found)
        line = f"The data gives version {found.version} again. It is served as version {number}."
    keep(folder, runs[-1])
    return Served(line)


def serve_index_of_last_refresh(serving: Path, records: RunRecords) -> None:
    """Does the same for the refresh pipeline, whose gates compare nothing."""
    runs = read_runs(records)
    found = standing(serving, runs)
    if found is not None and not found.is_served and not found.is_rolled_back:
        _publish(serving, records.pipeline_root, runs[-1], found)


def _publish(serving: Path, root: Path, run: RecordedRun, found: Standing) -> int:
    """Publishes the pushed model, as the Pusher archived it, and returns its number."""
    archive = output_of(root, run, "Pusher", "pushed_model")
    if archive is None or not archive.is_dir():
        raise OSError(f"{archive}: expected the model of version {found.version}. Received: no such folder")
    if found.served is None:
        return _publish_first(serving, archive, root, run, found.version)
    with next_version(str(serving)) as publication:
        served = latest_version(str(serving))[0]
        _fill(serving, Path(publication.staging), archive, root, run)
        write_record(Path(publication.staging), Copy(served + 1, found.version, served, run.run_id))
    return served + 1


def _publish_first(serving: Path, archive: Path, root: Path, run: RecordedRun, version: int) -> int:
    """Publishes under the number of the push, where no model is served."""
    staging = serving / _STAGING
    shutil.rmtree(staging, ignore_errors=True)
    serving.mkdir(parents=True, exist_ok=True)
    _fill(serving, staging, archive, root, run)
    put_folder(staging, serving / str(version))
    return version


def _fill(serving: Path, staging: Path, archive: Path, root: Path, run: RecordedRun) -> None:
    """Writes the version as the Pusher does: the model, and the report on the served and the judged model."""
    link_tree(archive, staging)
    drop_taken_down(serving, str(staging))
    blessing = output_of(root, run, "ServedModelChecker", "blessing")
    if blessing is None:
        return
    from tfx_pipeline.tfx_extensions.artifacts import EXTRA, SERVED  # imports TFX, which takes half a minute

    if (blessing / SERVED).is_file():
        report = staging / EXTRA / SERVED
        report.parent.mkdir(exist_ok=True)
        report.unlink(missing_ok=True)  # it may be a hard link to the archive's
        shutil.copyfile(blessing / SERVED, report)
