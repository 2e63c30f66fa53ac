"""How fast and how large: our clustering beside scikit-learn's, processes, and ten times as many cold songs."""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

AUDIENCE, DIMENSION, CLUSTERS, ITERATIONS = 2_000, 64, 8, 20
_WARM, _LISTENERS, _MATCHES = 2_000, 20_000, 50
_SECONDS_BETWEEN_LOOKS = 0.05


def clustering(audiences: int = 100, rounds: int = 5) -> dict[str, Any]:
    """Clusters audiences on one thread beside `KMeans` with one start and the same iterations, in turns."""
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits

    from tfx_pipeline.targeting.rules.clustering import cluster

    points = [_audience(seed) for seed in range(audiences)]

    def ours() -> None:
        for seed, vectors in enumerate(points):
            cluster(vectors, clusters=CLUSTERS, iterations=ITERATIONS, seed=seed)

    def theirs() -> None:
        for seed, vectors in enumerate(points):
            KMeans(CLUSTERS, n_init=1, max_iter=ITERATIONS, tol=0, random_state=seed).fit(vectors)

    with threadpool_limits(limits=1):
        seconds = _in_turns({"ours": ours, "scikit-learn": theirs}, rounds)
    per_thousand = {name: value * 1000 / audiences for name, value in seconds.items()}
    return {"cpu seconds for 1,000 audiences": per_thousand, "times faster": seconds["scikit-learn"] / seconds["ours"]}


def processes(songs: int = 4_000) -> dict[str, Any]:
    """The whole step with the paper's rule, with one worker process and with two."""
    with tempfile.TemporaryDirectory() as folder:
        write_inputs(Path(folder), songs)
        runs = {workers: run_step(Path(folder), workers, "cat") for workers in (1, 2)}
    return {"cold songs": songs, "runs": runs, "times faster": runs[1]["seconds"] / runs[2]["seconds"]}


def growth(songs: int = 1_000, times: int = 10) -> dict[str, Any]:
    """The whole step with the default rule, `songs` cold songs and ten times as many: CPU seconds, largest worker."""
    runs = {}
    for count in (songs, times * songs):
        with tempfile.TemporaryDirectory() as folder:
            write_inputs(Path(folder), count)
            runs[count] = run_step(Path(folder), 1, "hybrid")
    small, large = runs[songs], runs[times * songs]
    return {
        "runs": runs,
        "cpu over linear": large["cpu seconds"] / (times * small["cpu seconds"]),
        "worker peak": large["worker peak MiB"] / small["worker peak MiB"],
    }


def write_inputs(folder: Path, songs: int, seed: int = 0) -> None:
    """Writes tables in which every cold song's matches have about `AUDIENCE` listeners."""
    rng = np.random.default_rng(seed)
    warm, cold = [f"warm{i}" for i in range(_WARM)], [f"cold{i}" for i in range(songs)]
    vectors = rng.normal(size=(_WARM + songs, DIMENSION)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    offsets = np.arange(0, vectors.size + 1, DIMENSION, dtype=np.int32)
    lists = pa.ListArray.from_arrays(pa.array(offsets), pa.array(vectors.ravel()))
    split = ["warm"] * _WARM + ["new"] * songs
    columns = {"song_id": warm + cold, "split": split, "embedding": lists, "candidate_embedding": lists}
    pq.write_table(pa.table(columns), folder / "catalogue.parquet")
    matches = [rng.choice(_WARM, _MATCHES, replace=False) for _ in cold]
    columns = {
        "song_id": cold,
        "match_ids": [[warm[i] for i in row] for row in matches],
        "match_scores": [np.sort(rng.random(_MATCHES))[::-1].tolist() for _ in cold],
    }
    pq.write_table(pa.table(columns), folder / "matches.parquet", row_group_size=1_000)
    listeners = AUDIENCE // _MATCHES + 1
    users = [f"user{i}" for i in rng.integers(_LISTENERS, size=_WARM * listeners)]
    plays = {"user_id": users, "song_id": np.repeat(warm, listeners).tolist()}
    pq.write_table(pa.table(plays), folder / "plays.parquet")


def run_step(folder: Path, workers: int, rule: str) -> dict[str, float]:
    """Runs the command on the tables of `write_inputs`, in `workers` processes of Beam, BLAS on one thread."""
    output = folder / f"targets{workers}"
    inputs = [f"--{name}={folder / f'{name}.parquet'}" for name in ("catalogue", "matches", "plays")]
    beam = ["--runner=FnApiRunner", "--direct_running_mode=multi_processing", f"--direct_num_workers={workers}"]
    settings = [f"--rule={rule}", f"--clusters={CLUSTERS}", f"--iterations={ITERATIONS}"]
    command = [sys.executable, "-m", "tfx_pipeline.target", *inputs, f"--output={output}"]
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    process = subprocess.Popen([*command, *settings, *beam], stdout=subprocess.DEVNULL, env=_one_thread())
    peaks: dict[int, int] = {}
    watch = threading.Thread(target=_watch, args=(process, peaks))
    watch.start()
    code = process.wait()
    watch.join()
    # gRPC sometimes aborts a process at its very end, when the result is complete.
    if not (output / "_SUCCESS").exists():
        raise RuntimeError(f"`tfx_pipeline.target` must leave a result. Received: exit code {code}")
    seconds, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    runner = peaks.pop(process.pid, 0)
    worker = max(peaks.values(), default=0)
    return {"seconds": seconds, "cpu seconds": cpu, "worker peak MiB": worker, "runner peak MiB": runner}


def _audience(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    centers = rng.normal(size=(CLUSTERS, DIMENSION))
    vectors = centers[rng.integers(CLUSTERS, size=AUDIENCE)] + rng.normal(size=(AUDIENCE, DIMENSION))
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def _in_turns(rivals: dict[str, Callable[[], None]], rounds: int) -> dict[str, float]:
    """Median CPU seconds: what else the machine does hits both, and hardly that."""
    seconds: dict[str, list[float]] = {name: [] for name in rivals}
    for _ in range(rounds):
        for name, run in rivals.items():
            start = time.process_time()
            run()
            seconds[name].append(time.process_time() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def _one_thread() -> dict[str, str]:
    return {**os.environ, **{f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL")}}


def _watch(process: subprocess.Popen[bytes], peaks: dict[int, int]) -> None:
    """Keeps the high-water mark of the process and its descendants, in MiB, for as long as it runs."""
    while process.poll() is None:
        for pid in _descendants(process.pid):
            peaks[pid] = max(peaks.get(pid, 0), _high_water(pid))
        time.sleep(_SECONDS_BETWEEN_LOOKS)


def _descendants(pid: int) -> list[int]:
    found = [pid]
    for parent in found:
        # A child is listed with the thread that started it.
        for file in Path(f"/proc/{parent}/task").glob("*/children"):
            try:
                found += [int(child) for child in file.read_text().split()]
            except OSError:  # it has ended
                continue
    return found


def _high_water(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) // 1024 for line in lines if line.startswith("VmHWM")), 0)
