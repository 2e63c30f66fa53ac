"""What the gates compare the next run with: data and judged model of the run whose model is served.

It is restored where an earlier model is served again.
"""

from __future__ import annotations

import filecmp
import os
from pathlib import Path

from serving.files.linked_files import link_tree
from serving.files.whole_files import begin_folder, replace_folder, write_whole
from tfx_pipeline.history.run_history import RecordedRun, output_of, read_runs
from tfx_pipeline.history.run_records import RunRecords
from tfx_pipeline.runtime.run_folder import RunFolder

_STATISTICS = {"songs": "SongStatistics", "plays": "PlayStatistics"}
#: Names inside TFX's artifacts.
_SPLIT, _MODEL, _REPORT = "Split-all", "Format-Serving", "report.txt"


def go_back_to(folder: RunFolder, version: int) -> list[str]:
    """Makes the data gate and the evaluation compare the next run with the run that pushed `version`.

    Args:
        folder: The run's folder, which the caller holds.
        version: Number under which the model was pushed first.

    Returns:
        A line for each thing that could not be restored, because its run was pruned.
    """
    records = RunRecords.of(folder)
    runs = read_runs(records) if records.exist() else []
    pushers = [run for run in runs if run.outcome != "unchanged" and run.version == str(version)]
    missing = []
    if not (pushers and _keep_statistics(folder, pushers[0])):
        missing.append(
            f"{folder.kept_statistics}: the data gate still compares with the later run, as the run that pushed "
            f"version {version} was pruned. Remove this folder if the next night's data is refused for that."
        )
    if folder.judged_model.is_dir() and not (pushers and _keep_judged(folder, pushers[0])):
        missing.append(
            f"{folder.judged_model}: the next model is still compared with the judged model of the later run."
        )
    return missing


def keep(folder: RunFolder, run: RecordedRun) -> None:
    """Makes the gates compare the next run with this one. Files that are the same already are left alone."""
    _keep_statistics(folder, run)
    if folder.judged_model.is_dir() or output_of(folder.pipeline_root, run, "ServedTrainer", "model") is not None:
        _keep_judged(folder, run)


def show_report(folder: RunFolder, run: RecordedRun) -> None:
    """Replaces the report beside the kept statistics by this run's, which may come from the cache."""
    report = output_of(folder.pipeline_root, run, "DataGate", "report_of_data")
    shown = folder.kept_statistics.with_name(f"{folder.kept_statistics.name}_report.txt")
    if report is None or not (report / _REPORT).is_file():
        return
    text = (report / _REPORT).read_text(encoding="utf-8") + "\n"
    if not shown.exists() or shown.read_text(encoding="utf-8") != text:
        write_whole(shown, text)


def _keep_statistics(folder: RunFolder, run: RecordedRun) -> bool:
    root, kept = folder.pipeline_root, folder.kept_statistics
    found = {table: output_of(root, run, component, "statistics") for table, component in _STATISTICS.items()}
    places = {table: path / _SPLIT for table, path in found.items() if path is not None and (path / _SPLIT).is_dir()}
    if len(places) < len(found):
        return False
    if all(_is_same(place, kept / table) for table, place in places.items()):
        return True
    aside = begin_folder(kept)
    for table, place in places.items():
        link_tree(place, aside / table)
    replace_folder(aside, kept)
    return True


def _keep_judged(folder: RunFolder, run: RecordedRun) -> bool:
    model = output_of(folder.pipeline_root, run, "Trainer", "model")
    if model is None or not (model / _MODEL).is_dir():
        return False
    if _is_same(model / _MODEL, folder.judged_model):
        return True
    aside = begin_folder(folder.judged_model)
    link_tree(model / _MODEL, aside)
    replace_folder(aside, folder.judged_model)
    return True


def _is_same(one: Path, other: Path) -> bool:
    """Returns whether two folders hold the same files. Hard links of one file are not read."""
    names = [
        {file.relative_to(folder) for file in folder.rglob("*") if file.is_file()} if folder.is_dir() else None
        for folder in (one, other)
    ]
    return names[0] == names[1] and all(
        os.path.samefile(one / name, other / name) or filecmp.cmp(one / name, other / name, shallow=False)
        for name in names[0] or ()
    )
