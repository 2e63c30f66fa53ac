"""What is killed with -9 in the middle of a step costs no data: the same result, or an error and a second run."""

from __future__ import annotations

import functools
import glob
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
import tensorflow as tf
from apache_beam.options.pipeline_options import PipelineOptions
from ml_metadata import metadata_store
from ml_metadata.proto import metadata_store_pb2
from tfx import v1 as tfx

from tests.engines.conftest import Started
from tests.engines.job_service import Cluster
from tests.tfx_pipeline.run_components import run_components
from tests.tfx_pipeline.targeting.conftest import World, make_world
from tests.waiting import LAST_RESORT, eventually
from tfx_pipeline.contract import prepare
from tfx_pipeline.contract.splits import SPLITS, ColdSplit
from tfx_pipeline.gates.data_drift import DataGateConfig
from tfx_pipeline.gates.steps import checked_data
from tfx_pipeline.labels.component import SimilarSongsLabeller
from tfx_pipeline.labels.config import AudienceConfig
from tfx_pipeline.runtime.beam_options import IN_MEMORY
from tfx_pipeline.runtime.engine_check import check_engine
from tfx_pipeline.runtime.engine_jobs import EngineLostError, watched_jobs
from tfx_pipeline.targeting import TargetingConfig, TargetListeners, WriteTargets, read_marker, read_targets
from tfx_pipeline.tfx_extensions.cache_of_any_engine import cache_of_any_engine

HELD_FOLDER = Path(__file__).parent / "held"
VICTIMS = ("sdk worker", "host", "job server")
Kill = Callable[[int], None]
Run = Callable[[tuple[str, ...], float | None], None]


@pytest.fixture(scope="module")
def input_folder(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checked") / "input"
    prepare(data, folder)
    return folder


@dataclass
class Step:
    """The labeller, which can be run again and again in one home.

    Attributes:
        home: The folder of its pipeline.
        nodes: It and the steps before it, made anew.
    """

    home: Path
    nodes: Callable[[], list[Any]]

    def run(self, options: tuple[str, ...], limit: float | None = None) -> None:
        with cache_of_any_engine(), watched_jobs(options, limit):
            run_components(self.home, *self.nodes(), options=options)

    def run_sources(self) -> None:
        """Runs the steps before it, in this process."""
        with cache_of_any_engine():
            run_components(self.home, *self.nodes()[:-1], options=IN_MEMORY)

    def result(self) -> dict[str, list[bytes]]:
        """The content of its valid output, in an order of its own."""
        (valid,) = self.valid()
        found: dict[str, list[bytes]] = {}
        for split in SPLITS:
            files = sorted(glob.glob(f"{valid}/Split-{split}/*.gz"))
            records = tf.data.TFRecordDataset(files, compression_type="GZIP").as_numpy_iterator()
            found[split] = sorted(canonical(record) for record in records)
        return found

    def valid(self) -> set[str]:
        """Where its outputs lie that a later step may read."""
        return {artifact.uri for artifact in self._artifacts() if artifact.state == metadata_store_pb2.Artifact.LIVE}

    def uris(self) -> list[str]:
        """Where its outputs lie, of every try."""
        return [artifact.uri for artifact in self._artifacts()]

    def cached(self) -> list[str]:
        """The steps that the last run took from the cache."""
        store, state = self._store(), metadata_store_pb2.Execution.CACHED
        types = {kind.id: kind.name for kind in store.get_context_types()}
        nodes = [
            context.name.partition(".")[2]
            for execution in store.get_executions()
            if execution.last_known_state == state
            for context in store.get_contexts_by_execution(execution.id)
            if types[context.type_id] == "node"
        ]
        return nodes

    def _artifacts(self) -> list[metadata_store_pb2.Artifact]:
        return [a for a in self._store().get_artifacts() if "/SimilarSongsLabeller/" in a.uri]

    def _store(self) -> metadata_store.MetadataStore:
        database = str(self.home / "metadata.sqlite")
        return metadata_store.MetadataStore(tfx.orchestration.metadata.sqlite_metadata_connection_config(database))


def canonical(record: bytes) -> bytes:
    return tf.train.Example.FromString(record).SerializeToString(deterministic=True)


def labeller(input_folder: Path, home: Path) -> Step:
    def nodes() -> list[Any]:
        data = checked_data(input_folder, str(home / "kept"), DataGateConfig())
        step = SimilarSongsLabeller(
            songs=data.songs.examples, plays=data.plays.examples, audience=AudienceConfig(), split=ColdSplit()
        )
        sources = [node for node in data.steps if node.id in ("SongGen", "PlayGen")]
        return [*sources, step]

    return Step(home, nodes)


@contextmanager
def killed_when_held(held: Path, kill: Kill) -> Iterator[None]:
    """Kills something as soon as a worker is held in the middle of its step."""
    ended = threading.Event()

    def wait() -> None:
        if eventually(lambda: ended.is_set() or (held.exists() and held.read_text())) and held.exists():
            kill(int(held.read_text()))

    thread = threading.Thread(target=wait)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def holding(held: Path, writes: str) -> dict[str, str]:
    path = os.pathsep.join([str(HELD_FOLDER), str(Path(__file__).parents[2])])
    return {"PYTHONPATH": path, "HOLD_AT": writes, "HELD": str(held)}


def killer(victim: str, cluster: Cluster) -> Kill:
    """What kills the victim, given the process id of the worker that is held."""
    if victim == "sdk worker":
        return lambda pid: os.kill(pid, signal.SIGKILL)
    if victim == "job server":
        return lambda _: cluster.servers["jobs"].kill()
    hosts = [name for name in cluster.servers.started if name in ("taskmanager-0", "worker-0")]
    if not hosts:
        pytest.skip("Beam's job service has no hosts")
    return lambda _: cluster.servers[hosts[0]].kill()


def patience(cluster: Cluster, folder: Path) -> float:
    """Returns the seconds after which a job hangs: Beam's job service waits forever for a worker that is dead."""
    began = time.monotonic()
    check_engine(cluster.options, folder, LAST_RESORT)
    return 30 + 5 * (time.monotonic() - began)


def fails(run: Run, cluster: Cluster, victim: str, held: Path) -> bool:
    """Runs a step in which the victim is killed; returns whether that failed, by an error that says so."""
    limit = patience(cluster, held.parent) if victim == "sdk worker" else None
    error = None
    with killed_when_held(held, killer(victim, cluster)):
        try:
            run(cluster.options, limit)
        except RuntimeError as raised:  # the engine's own, or the one below
            error = raised
    assert held.exists()
    if victim == "job server":
        assert isinstance(error, EngineLostError)
        assert f"job server localhost:{cluster.jobs}: lost during a job." in str(error)
    return error is not None


@pytest.mark.parametrize("victim", VICTIMS)
def test_a_kill_in_the_middle_of_the_labeller(start: Started, input_folder: Path, tmp_path: Path, victim: str) -> None:
    expected = labeller(input_folder, tmp_path / "in process")
    step = labeller(input_folder, tmp_path / "on engine")
    held = tmp_path / "held"
    step.run_sources()
    with start(tmp_path / "servers", holding(held, "/beam-temp-songs")) as cluster:
        failed = fails(step.run, cluster, victim, held)
    assert {"SongGen", "PlayGen"} <= set(step.cached())
    if failed:
        assert not step.valid()
        files = [file for uri in step.uris() for file in glob.glob(f"{uri}/Split-*/*.gz")]
        assert not files, "a later step would read what the killed one left"
        step.run(IN_MEMORY)  # and so on another engine than before
    expected.run(IN_MEMORY)
    assert step.result() == expected.result()


@pytest.mark.parametrize("victim", VICTIMS)
def test_a_kill_in_the_middle_of_the_targeting(start: Started, tmp_path: Path, victim: str) -> None:
    world, held, folder = make_world(), tmp_path / "held", str(tmp_path / "targets")
    with start(tmp_path / "servers", holding(held, "/_partial-")) as cluster:
        failed = fails(functools.partial(target, world, folder), cluster, victim, held)
    if failed:
        with pytest.raises(FileNotFoundError, match="_SUCCESS"):
            read_marker(folder)
        target(world, folder, IN_MEMORY)
    target(world, str(tmp_path / "expected"), IN_MEMORY)
    assert ranked(folder) == ranked(str(tmp_path / "expected"))


def target(world: World, folder: str, options: tuple[str, ...], limit: float | None = None) -> None:
    """Finds the listeners of a small world's new songs, a few songs and listeners at a time."""
    config = TargetingConfig(
        rule="cat", clusters=3, cap=4, listeners_per_song=10, songs_per_shard=4, plays_per_shard=300
    )
    with watched_jobs(options, limit), beam.Pipeline(options=PipelineOptions(list(options))) as pipeline:
        rows = {"catalogue": world.catalogue, "matches": world.matches, "plays": world.plays}
        inputs = {name: pipeline | name >> beam.Create(values) for name, values in rows.items()}
        _ = inputs | TargetListeners(config) | WriteTargets(folder, config)


def ranked(folder: str) -> list[dict[str, Any]]:
    return sorted(read_targets(folder).to_pylist(), key=lambda row: (row["song_id"], row["rank"], row["user_id"]))
