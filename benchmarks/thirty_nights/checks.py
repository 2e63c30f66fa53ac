"""What must hold after each night, checked in the folder of the runs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from benchmarks.thirty_nights.calendar import AS_BEFORE, Night
from benchmarks.thirty_nights.processes import Ended
from benchmarks.thirty_nights.service import MARK, Service
from benchmarks.thirty_nights.traces import files_with, is_allowed

#: Listeners that make a song a candidate, by default.
_WARM = 3


@dataclass(frozen=True)
class Published:
    """What RUN/latest holds.

    Attributes:
        name: Of the folder that it leads to.
        version: Of the model.
        retrieved: Songs in the index.
        matched: New songs with matches.
        targets: Target listeners by song.
    """

    name: str
    version: str
    retrieved: frozenset[str]
    matched: frozenset[str]
    targets: dict[str, set[str]]

    @classmethod
    def read(cls, run: Path) -> Published | None:
        """Returns what is there; None where there is nothing yet."""
        latest = run / "latest"
        if not latest.exists():
            return None
        manifest = json.loads((latest / "manifest.json").read_text())
        tables = {name: pq.read_table(latest / f"{name}.parquet").to_pylist() for name in ("embeddings", "targets")}
        matches = pq.read_table(latest / "matches.parquet", columns=["song_id"])["song_id"].to_pylist()
        targets: dict[str, set[str]] = {}
        for row in tables["targets"]:
            if row["group"] == "target":
                targets.setdefault(row["song_id"], set()).add(row["user_id"])
        retrieved = frozenset(row["song_id"] for row in tables["embeddings"] if row["split"] == "warm")
        return cls(latest.resolve().name, manifest["model"]["version"], retrieved, frozenset(matches), targets)


def served(run: Path) -> str | None:
    """Returns the version that a model server loads."""
    numbers = [int(path.name) for path in (run / "serving").glob("[0-9]*") if (path / "saved_model.pb").exists()]
    return str(max(numbers)) if numbers else None


def leaks(run: Path, temporary: Path, forgotten: frozenset[str]) -> list[str]:
    """Returns the files in which a listener's id stands and should not; those of forgotten ones stand nowhere."""
    listed = [file for file in files_with(run, [MARK]) if not is_allowed(file)]
    gone = files_with(run, sorted(forgotten)) if forgotten else []
    return [*listed, *(f"{file} (forgotten)" for file in gone), *(f"TMPDIR/{f}" for f in files_with(temporary, [MARK]))]


def broken(
    plan: Night,
    ended: Ended,
    before: dict[str, Any] | None,
    now: dict[str, Any],
    found: Published | None,
    service: Service,
    forgotten: frozenset[str] = frozenset(),
) -> list[str]:
    """Returns what does not hold after a night, a line each; none where all is well.

    Args:
        plan: What was to happen.
        ended: How the run ended.
        before: The night before, as it was noted; None for the first.
        now: This night.
        found: What RUN/latest holds.
        service: The truth.
        forgotten: Listeners that are forgotten.
    """
    return [*_of_exit(plan, ended), *_of_served(plan, before, now), *_of_songs(plan, found, service, forgotten)]


def _of_exit(plan: Night, ended: Ended) -> Iterator[str]:
    if ended.exit_code != plan.exit_code:
        yield f"exit code: expected {plan.exit_code}. Received: {ended.exit_code}. {ended.messages[-500:]}"
    if (ended.line is None) != (ended.exit_code < 0):
        yield "standard output: expected one JSON object, but none of a killed run"
    if "Traceback" in ended.messages:
        yield f"standard error: expected no traceback. {ended.messages[-500:]}"


def _of_served(plan: Night, before: dict[str, Any] | None, now: dict[str, Any]) -> Iterator[str]:
    earlier = before["served"] if before else None
    if plan.pushes and now["served"] == earlier:
        yield f"served: expected a version after {earlier}. Received: the same"
    if not plan.pushes and now["served"] != earlier:
        yield f"served: expected {earlier} still. Received: {now['served']}"
    if plan.exit_code and before and now["latest"] != before["latest"]:
        yield f"latest: expected {before['latest']} still. Received: {now['latest']}"
    if plan.exit_code == 0 and plan.pushes and before and now["latest"] == before["latest"]:
        yield f"latest: expected another folder than {before['latest']}. Received: the same"
    if plan.what == AS_BEFORE and before and now["outcome"] != "pushed":
        yield f"outcome: expected the earlier model to be pushed again. Received: {now['outcome']}"


def _of_songs(plan: Night, found: Published | None, service: Service, forgotten: frozenset[str]) -> Iterator[str]:
    """After a push: songs of three listeners are in the index, all others are matched and targeted."""
    if plan.exit_code or not plan.pushes or found is None:
        return
    played = service.listeners(plan.day)
    listeners = {song: played.get(song, set()) - forgotten for song in service.songs_until(plan.day)}
    warm = {song for song, users in listeners.items() if len(users) >= _WARM}
    if found.retrieved != warm:
        yield f"index: expected {len(warm)} songs of {_WARM} listeners. Other: {sorted(found.retrieved ^ warm)[:5]}"
    new = listeners.keys() - warm
    if lacking := new - found.matched:
        yield f"matches: expected all {len(new)} new songs. Without: {sorted(lacking)[:5]}"
    if lacking := new - found.targets.keys():
        yield f"targets: expected all {len(new)} new songs. Without: {sorted(lacking)[:5]}"
    for song, users in found.targets.items():
        if those := users & listeners.get(song, set()):
            yield f"targets of {song}: expected nobody who played it. Received: {len(those)} who did"
