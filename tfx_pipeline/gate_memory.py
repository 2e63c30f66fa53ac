"""What the gates compare the next run with goes back together with the model."""

from __future__ import annotations

from pathlib import Path

from serving.linked_files import link_tree
from serving.whole_files import begin_folder, replace_folder
from tfx_pipeline.run_folder import RunFolder
from tfx_pipeline.run_history import RecordedRun, open_store, place_of, read_runs

_STATISTICS = {"songs": "SongStatistics", "plays": "PlayStatistics"}
#: Where TFX's artifacts hold them.
_SPLIT, _MODEL = "Split-all", "Format-Serving"


def go_back_to(folder: RunFolder, version: int) -> list[str]:
    """Makes the data gate and the evaluation compare the next run with the run that pushed `version`.

    Args:
        folder: The run's folder, which the caller holds.
        version: Number under which the model was pushed first.

    Returns:
        A line for each thing that could not be restored, because its run was pruned.
    """
    runs = read_runs(open_store(folder.metadata, read_only=True)) if folder.metadata.exists() else []
    pushers = [run for run in runs if run.outcome != "unchanged" and run.version == str(version)]
    missing = []
    if not (pushers and _restore_statistics(folder, pushers[0])):
        missing.append(
            f"{folder.kept_statistics}: the data gate still compares with the later run, as the run that pushed "
            f"version {version} was pruned. Remove this folder if the next night's data is refused for that."
        )
    judged = folder.home / "judged_model"
    if judged.is_dir() and not (pushers and _restore_judged(folder, pushers[0], judged)):
        missing.append(f"{judged}: the next model is still compared with the judged model of the later run.")
    return missing


def _restore_statistics(folder: RunFolder, run: RecordedRun) -> bool:
    found = {table: _output(folder, run, component, "statistics") for table, component in _STATISTICS.items()}
    places = {table: path / _SPLIT for table, path in found.items() if path is not None and (path / _SPLIT).is_dir()}
    if len(places) < len(found):
        return False
    aside = begin_folder(folder.kept_statistics)
    for table, place in places.items():
        link_tree(place, aside / table)
    replace_folder(aside, folder.kept_statistics)
    return True


def _restore_judged(folder: RunFolder, run: RecordedRun, judged: Path) -> bool:
    model = _output(folder, run, "Trainer", "model")
    if model is None or not (model / _MODEL).is_dir():
        return False
    aside = begin_folder(judged)
    link_tree(model / _MODEL, aside)
    replace_folder(aside, judged)
    return True


def _output(folder: RunFolder, run: RecordedRun, component: str, output: str) -> Path | None:
    """Returns the folder of an output, as it lies below the run's folder now."""
    places = [place for artifact in run.artifacts.values() if (place := place_of(artifact))[:2] == (component, output)]
    return folder.pipeline_root.joinpath(*places[-1]) if places else None
