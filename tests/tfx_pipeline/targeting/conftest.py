"""A small world with planted taste, and a way to run the step on it."""

import dataclasses
from collections.abc import Callable
from typing import Any

import apache_beam as beam
import numpy as np
import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from tfx_pipeline.targeting import (
    TargetingConfig,
    TargetListeners,
    WriteTargets,
    read_marker,
    read_summary,
    read_targets,
)

IN_MEMORY = ("--runner=FnApiRunner", "--direct_running_mode=in_memory")


@dataclasses.dataclass
class World:
    """Rows of the three tables, and the taste group of every song and listener."""

    catalogue: list[dict[str, Any]]
    matches: list[dict[str, Any]]
    plays: list[dict[str, Any]]
    song_group: dict[str, int]
    user_group: dict[str, int]


@dataclasses.dataclass
class Result:
    targets: list[dict[str, Any]]
    summary: dict[str, dict[str, Any]]
    marker: dict[str, Any]

    def of(self, song: str) -> list[str]:
        return [row["user_id"] for row in self.targets if row["song_id"] == song]


def make_world(
    *, warm: int = 60, cold: int = 12, users: int = 90, groups: int = 3, dim: int = 8, seed: int = 0
) -> World:
    """Songs and listeners of `groups` tastes; most plays stay within the group."""
    rng = np.random.default_rng(seed)
    tastes = np.linalg.qr(rng.normal(size=(dim, dim)))[0][:groups]
    group = {f"song{i:03d}": i % groups for i in range(warm + cold)}
    vectors = {song: _unit(tastes[g] + 0.15 * rng.normal(size=dim)) for song, g in group.items()}
    songs = list(group)
    catalogue = [
        {
            "song_id": song,
            "split": "warm" if i < warm else "new",
            "embedding": vectors[song],
            "candidate_embedding": vectors[song],
        }
        for i, song in enumerate(songs)
    ]
    matches = [_match(song, songs[:warm], vectors) for song in songs[warm:]]
    user_group = {f"user{i:03d}": i % groups for i in range(users)}
    plays = []
    for user, g in user_group.items():
        own = [song for song in songs[:warm] if group[song] == g]
        other = [song for song in songs[:warm] if group[song] != g]
        chosen = [*rng.choice(own, 6, replace=False), *rng.choice(other, 2, replace=False)]
        plays += [{"user_id": user, "song_id": str(song), "plays": int(rng.integers(1, 50))} for song in chosen]
    return World(catalogue, matches, plays, group, user_group)


def _unit(vector: np.ndarray) -> list[float]:
    return (vector / np.linalg.norm(vector)).astype(np.float32).tolist()


def _match(song: str, warm: list[str], vectors: dict[str, list[float]], most: int = 10) -> dict[str, Any]:
    scores = {other: float(np.float32(np.dot(vectors[song], vectors[other]))) for other in warm}
    best = sorted(scores, key=lambda other: (-scores[other], other))[:most]
    return {"song_id": song, "match_ids": best, "match_scores": [scores[other] for other in best]}


@pytest.fixture(scope="session")
def world() -> World:
    return make_world()


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Result]:
    """Runs the transform on rows and reads what it wrote: run(config, catalogue=..., matches=..., plays=..., ...)."""

    def run_once(
        config: TargetingConfig, *, options: tuple[str, ...] = IN_MEMORY, **rows: list[dict[str, Any]]
    ) -> Result:
        folder = str(tmp_path_factory.mktemp("run") / "targets")
        with beam.Pipeline(options=PipelineOptions(list(options))) as pipeline:
            inputs = {name: pipeline | name >> beam.Create(values) for name, values in rows.items()}
            _ = inputs | TargetListeners(config) | WriteTargets(folder, config)
        summary = {row["song_id"]: row for row in read_summary(folder).to_pylist()}
        targets = sorted(read_targets(folder).to_pylist(), key=lambda row: (row["song_id"], row["rank"]))
        return Result(targets, summary, read_marker(folder))

    return run_once


@pytest.fixture(scope="session")
def run_world(run: Callable[..., Result], world: World) -> Callable[..., Result]:
    """run_world(config, **more): the same for the whole world; tests that ask for the same run share it."""
    known: dict[Any, Result] = {}

    def run_it(config: TargetingConfig, **more: Any) -> Result:
        def fresh() -> Result:
            return run(config, catalogue=world.catalogue, matches=world.matches, plays=world.plays, **more)

        if more:
            return fresh()
        if config not in known:
            known[config] = fresh()
        return known[config]

    return run_it
