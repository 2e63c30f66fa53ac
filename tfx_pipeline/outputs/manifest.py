"""The manifest of a run: which model, code and settings made its files, and how many rows they have."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq

from tfx_pipeline import contract
from tfx_pipeline.outputs.run_result import RunResult
from tfx_pipeline.outputs.schemas import EMBEDDINGS, MATCHES
from tfx_pipeline.runtime.run_folder import RunFolder


def about_run(
    folder: RunFolder,
    result: RunResult,
    settings: dict[str, Any],
    code: dict[str, str | None],
    lists: Mapping[str, Path | None],
) -> dict[str, Any]:
    """Returns the part of the manifest that describes the run.

    Args:
        folder: The run's folder.
        result: The results of the run.
        settings: All settings of the run.
        code: The version of the code.
        lists: The files `exclusions` and `listeners` that the targeting was given.
    """
    return {
        "tfx_run_id": result.run_id,
        "published": result.pushed is not None,
        "not_published_because": list(result.refused_because),
        "model": None if result.pushed is None else {"version": result.pushed.name},
        "code": code,
        "checks": result.checks,
        "settings": settings,
        "targeting": None if result.targeting is None else {**result.targeting, **_named(folder, lists)},
        "reliability": result.reliability,
    }


def counts(folder: RunFolder, out: Path, rows: dict[str, int]) -> dict[str, Any]:
    """Returns the sizes of the input and of the published tables.

    Args:
        folder: The run's folder.
        out: The folder with the published tables.
        rows: Number of rows by table; empty where nothing was published.
    """
    catalogue = contract.load_prepared(folder.input)
    found: dict[str, Any] = {
        "input": {"songs": catalogue.num_songs, "users": catalogue.num_users, "plays": catalogue.num_plays},
        "rows": rows,
    }
    if rows:
        found["songs_of_which_nothing_is_known"] = _without_matches(out / MATCHES.file)
        for table in (EMBEDDINGS, MATCHES):
            split = pq.ParquetFile(out / table.file).read(columns=["split"], use_threads=False)["split"]
            counted = split.value_counts().to_pylist()
            found[f"{table.name}_by_split"] = {entry["values"]: entry["counts"] for entry in counted}
    return found


def digest(*parts: Any) -> str:
    """Returns a digest of values that JSON can hold."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _named(folder: RunFolder, lists: Mapping[str, Path | None]) -> dict[str, str | None]:
    """Returns the paths of the files. Paths inside the run's folder are relative to it, as it may be moved."""
    named = {}
    for name in ("exclusions", "listeners"):
        path = lists.get(name)
        inside = path is not None and path.is_relative_to(folder.home)
        named[name] = None if path is None else str(path.relative_to(folder.home) if inside else path)
    return named


def _without_matches(matches: Path) -> int:
    ids = pq.ParquetFile(matches).read(columns=["match_ids"], use_threads=False)["match_ids"]
    return int(pc.sum(pc.equal(pc.fill_null(pc.list_value_length(ids), 0), 0)).as_py() or 0)
