"""Publishes the results of a run, whole or not at all.

RUN/history/<run id>/   the files of one run (see `schemas`) and manifest.json
RUN/latest              a link to the last of these folders whose model was pushed
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from serving.files.linked_files import link_or_copy
from serving.files.whole_files import put_folder, put_link
from tfx_pipeline import contract
from tfx_pipeline.evaluation.reliability import COLUMNS, Reliability
from tfx_pipeline.outputs.code_version import code_version
from tfx_pipeline.outputs.manifest import about_run, counts, digest
from tfx_pipeline.outputs.merging import Computed, write_table
from tfx_pipeline.outputs.run_result import RunResult
from tfx_pipeline.outputs.schemas import (
    MANIFEST,
    MATCHES,
    PAGE,
    RELIABILITY,
    SCHEMA_VERSION,
    TABLES,
)
from tfx_pipeline.outputs.titles import Titles
from tfx_pipeline.runtime.run_folder import RunFolder

_ASIDE, _NEXT_LATEST = ".publishing", ".latest.writing"


def publish(
    folder: RunFolder, result: RunResult, settings: dict[str, Any], lists: Mapping[str, Path | None] | None = None
) -> Path | None:
    """Publishes the results of a run, or records why it pushed no model.

    A run with the same results as the one before it publishes nothing, as when all came from the cache.

    Args:
        folder: The run's folder, which the caller holds.
        result: The results of the run.
        settings: All settings of the run.
        lists: The files `exclusions` and `listeners` that the targeting was given. A refresh uses the same ones.

    Returns:
        Folder of the run in the history, where one was written.

    Raises:
        OSError: If something cannot be written. What was published before stays.
    """
    code = code_version()
    content = digest(result.artifacts, settings, code["fingerprint"], SCHEMA_VERSION)
    last = last_published(folder)
    if last is not None and last[1].get("content") == content:
        if result.pushed and (_is_waiting(folder, last[0]) or not folder.latest.exists()):
            point_latest(folder, last[0])
        return None
    aside, out = folder.history / _ASIDE, folder.history / name_of(result.run_id)
    shutil.rmtree(aside, ignore_errors=True)  # what a killed run left
    aside.mkdir(parents=True)
    try:
        rows = _write_tables(folder, result, aside)
        link_or_copy(result.page, aside / PAGE)
        manifest = {
            "schema_version": SCHEMA_VERSION,
            "run_id": out.name,
            "content": content,
            **about_run(folder, result, settings, code, lists or {}),
            "counts": counts(folder, aside, rows),
        }
        (aside / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
        if result.pushed:
            _make_waiting(folder, out)
        put_folder(aside, out)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    if result.pushed:
        point_latest(folder, out)
    return out


def outcome(folder: RunFolder) -> str:
    """Returns a line about where the results of the last run are, or why there are none."""
    last = last_published(folder)
    if last is None:
        return "Results: none"
    out, manifest = last
    if manifest["published"]:
        return f"Results: {folder.latest}"
    return f"No model was pushed: {'; '.join(manifest['not_published_because'])}\nResults: {out}"


def name_of(run_id: str) -> str:
    """Returns the name of a run's folder. Names sort by the start of the runs; colons end a path in many tools."""
    return run_id.replace(":", "-")


def last_published(folder: RunFolder) -> tuple[Path, dict[str, Any]] | None:
    """Returns folder and manifest of the last run in the history; None where there is none."""
    found = sorted(folder.history.glob(f"[!.]*/{MANIFEST}"))
    if not found:
        return None
    return found[-1].parent, json.loads(found[-1].read_text(encoding="utf-8"))


def _write_tables(folder: RunFolder, result: RunResult, out: Path) -> dict[str, int]:
    if result.pushed is None:
        return {}
    titles = Titles.read(folder.input / contract.SONGS)
    computed = {MATCHES.name: (reliability_column(result.reliability),)}
    return {
        table.name: write_table(table, result.parts[table.name], out / table.file, titles, computed.get(table.name, ()))
        for table in TABLES
    }


def reliability_column(fitted: dict[str, Any] | None) -> Computed:
    """Returns how the reliability of matches is computed, from what a run's manifest has as `reliability`."""
    if fitted is None:
        return Computed(RELIABILITY, (), lambda rows: pa.nulls(rows.num_rows, pa.float32()))
    return Computed(RELIABILITY, COLUMNS, Reliability.from_dict(fitted).predict_table)


def point_latest(folder: RunFolder, out: Path) -> None:
    """Makes `latest` a link to a folder of the history, by a rename, so that a reader finds the old one or the new."""
    put_link(_make_waiting(folder, out), folder.latest)


def _make_waiting(folder: RunFolder, out: Path) -> Path:
    """Makes the next `latest` aside, before `out` appears, so that the next run can finish what a killed one began.

    Without such a link, `latest` is older than the last run because of a rollback, and stays.
    """
    aside = folder.home / _NEXT_LATEST
    aside.unlink(missing_ok=True)
    os.symlink(os.path.join(folder.history.name, out.name), aside)
    return aside


def _is_waiting(folder: RunFolder, out: Path) -> bool:
    aside = folder.home / _NEXT_LATEST
    return aside.is_symlink() and Path(os.readlink(aside)).name == out.name
