"""The settings that the search found for a row on a data set, kept in the repository."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.quality.validation import Recalls
from benchmarks.results_pages import RESULTS, dumped
from serving.files.whole_files import write_whole

_COLUMNS = {
    "row": "text",
    "settings": "text",
    "trials": "count",
    "R@50, validation": "share",
    "listeners R@100, validation": "share",
    "over content cosine": "ratio",
    "commit": "text",
}
_QUICK = "-quick"


@dataclass(frozen=True)
class Found:
    """What a search found for one row.

    Attributes:
        row: Its name.
        settings: By name.
        trials: How many settings were tried.
        recalls: On the validation songs.
        worth: See `benchmarks.quality.validation.worth`.
        commit: That the search ran at.
    """

    row: str
    settings: dict[str, Any]
    trials: int
    recalls: Recalls
    worth: float
    commit: str


def settings_of(data: str, row: str, results: Path = RESULTS) -> dict[str, Any]:
    """Returns the settings found for a row on a data set; nothing if there was no search.

    Args:
        data: Name of the data set. A quick run has the settings of the whole one.
        row: Name of the row.
        results: Folder of the kept results.
    """
    path = _path(data.removesuffix(_QUICK), results)
    if not path.exists():
        return {}
    found = {kept[0]: kept[1] for kept in json.loads(path.read_text())["rows"]}
    return _from_text(found[row]) if row in found else {}


def keep(data: str, found: Found, command: str, hardware: str, results: Path = RESULTS) -> None:
    """Writes what was found for a row into the data set's file; other rows stay.

    Args:
        data: Name of the data set.
        found: What was found.
        command: That was run.
        hardware: Class of hardware it ran on.
        results: Folder of the kept results.
    """
    path = _path(data, results)
    rows = json.loads(path.read_text())["rows"] if path.exists() else []
    by_name = {row[0]: row for row in rows}
    recalls = [round(value, 4) for value in found.recalls]
    text = json.dumps(found.settings, sort_keys=True)
    by_name[found.row] = [found.row, text, found.trials, *recalls, round(found.worth, 4), found.commit]
    source = {"figures": f"settings of the trained rows, {data}", "command": command, "commit": found.commit}
    kept = {"source": {**source, "hardware": hardware}, "columns": _COLUMNS, "rows": list(by_name.values())}
    write_whole(path, dumped(kept))


def _from_text(text: str) -> dict[str, Any]:
    """JSON has no tuples; settings have no lists."""
    read = json.loads(text)
    return {name: tuple(value) if isinstance(value, list) else value for name, value in read.items()}


def _path(data: str, results: Path) -> Path:
    return results / f"settings-{data}.json"
