"""Runs side by side, as a table for people or as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from tfx_pipeline.history.listing import Listing
from tfx_pipeline.history.run_details import RunDetails
from tfx_pipeline.history.run_history import RecordedRun

#: Words that name a run in place of its id.
LAST, SERVED = "last", "served"
_SPLITS = {"val": "validation songs", "test": "test songs"}


def find_run(listing: Listing, wanted: str) -> RecordedRun:
    """Returns the run that a user names.

    Args:
        listing: All runs.
        wanted: A run's id, the beginning of one, the number of the version that it pushed, `last` or `served`.

    Raises:
        ValueError: If no run, or more than one, is meant.
    """
    if not listing.runs:
        raise ValueError(f"{wanted}: expected a run. Received: a folder in which none has begun")
    if wanted == LAST:
        return listing.runs[-1]
    if wanted == SERVED:
        found = [run for run in listing.runs if run.run_id == listing.run_of_served]
    else:
        found = [run for run in listing.runs if run.run_id == wanted]
        found = found or [
            run for run in listing.runs if wanted and run.version == wanted and run.outcome != "unchanged"
        ]
        found = found or [run for run in listing.runs if wanted and run.run_id.startswith(wanted)]
    if len(found) == 1:
        return found[0]
    received = "none" if not found else f"{len(found):,} runs, such as {found[0].run_id} and {found[1].run_id}"
    raise ValueError(
        f"{wanted}: expected a run id or its beginning, a version, {LAST} or {SERVED}. Received: {received}"
    )


def in_words(details: RunDetails) -> str:
    """Returns a run in lines: what `as_table` says of one run, and its steps."""
    lines = [as_table([details]), "Steps\n"]
    for step in details.steps:
        took = f"{step.seconds:9.1f} s" if step.seconds is not None else ""
        lines.append(f"  {step.name:<24}{step.state:<11}{took}".rstrip() + "\n")
    reasons = [f"  {name}: {reason}\n" for name, gate in details.gates.items() for reason in gate.reasons]
    return "".join([*lines, *(["Reasons\n", *reasons] if reasons else [])])


def as_table(runs: Sequence[RunDetails]) -> str:
    """Returns the runs side by side, one column for each."""
    rows = [("run", [one.run.run_id for one in runs]), ("outcome", [one.run.outcome for one in runs])]
    rows.append(("version", [one.run.version + (" *" if one.is_served else "") for one in runs]))
    rows.append(("seconds", [f"{one.seconds:.0f}" for one in runs]))
    for table in ("songs", "users", "plays"):
        rows.append((table, [_count(one, table) for one in runs]))
    rows += _recall_rows(runs) + _gate_rows(runs)
    rows += [(name, [_short(value) for value in values]) for name, values in differing_settings(runs).items()]
    first = max(len(name) for name, _ in rows) + 2
    widths = [max(len(cells[column]) for _, cells in rows) + 2 for column in range(len(runs))]
    lines = []
    for name, cells in rows:
        if any(cells):
            line = "".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
            lines.append(f"{name:<{first}}{line}".rstrip())
    return "".join(f"{line}\n" for line in lines)


def as_json(runs: Sequence[RunDetails]) -> str:
    """Returns the runs as one JSON object, with the settings in which they differ."""
    differing = {name: list(values) for name, values in differing_settings(runs).items()}
    return json.dumps({"runs": [one.as_dict() for one in runs], "differing_settings": differing}) + "\n"


def differing_settings(runs: Sequence[RunDetails]) -> dict[str, list[Any]]:
    """Returns the settings in which the runs differ: the value of each, None where its settings are not known."""
    every = [_flat(one.published.get("settings") or {}) for one in runs]
    known = [settings for settings in every if settings]
    names = sorted({name for settings in known for name in settings})
    return {
        name: [settings.get(name) for settings in every]
        for name in names
        if any(settings.get(name) != known[0].get(name) for settings in known)
    }


def _recall_rows(runs: Sequence[RunDetails]) -> list[tuple[str, list[str]]]:
    found: dict[tuple[str, str, str], None] = {}
    for one in runs:
        for split, rows in one.recall.items():
            found.update({(split, name, one.measure): None for name in rows})
    return [
        (
            f"{measure}, {_SPLITS[split]}, {name}",
            [_estimate(one.recall.get(split, {}).get(name)) if one.measure == measure else "" for one in runs],
        )
        for split, name, measure in sorted(found, key=lambda key: list(_SPLITS).index(key[0]))
    ]


def _gate_rows(runs: Sequence[RunDetails]) -> list[tuple[str, list[str]]]:
    names = dict.fromkeys(name for one in runs for name in one.gates)
    return [
        (name, [one.gates[name].decision if name in one.gates else "not reached" for one in runs]) for name in names
    ]


def _estimate(row: dict[str, float] | None) -> str:
    if row is None:
        return ""
    between = f" [{row['low']:.3f}, {row['high']:.3f}]" if "low" in row and "high" in row else ""
    return f"{row['mean']:.3f}{between}"


def _count(details: RunDetails, table: str) -> str:
    counted = (details.published.get("counts") or {}).get("input") or {}
    return f"{counted[table]:,}" if isinstance(counted.get(table), int) else ""


def _flat(settings: dict[str, Any], before: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, dict) and value:
            found.update(_flat(value, f"{before}{name}."))
        else:
            found[f"{before}{name}"] = value
    return found


def _short(value: Any) -> str:
    text = "" if value is None else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 40 else f"{text[:37]}..."
