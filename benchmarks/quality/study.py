"""Fits and asks rows seed by seed, and keeps results in files, so that a stopped study continues."""

from __future__ import annotations

import gc
import json
import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.quality.metrics import MAIN
from benchmarks.quality.problem import Problem
from benchmarks.quality.rows import BEST, RIDGE_AND_BCL, ROWS, SWEEP_ROWS, Row, show
from benchmarks.quality.tasks import SIMILAR_20, Values, ask, slices
from benchmarks.targeting_study.datasets import DataSet
from serving.files.whole_files import put_file
from tfx_pipeline.contract.splits import TEST, VALIDATION

#: Of the first seed: of the best model, and of the one that the main rows have.
GALLERIES = {BEST: "gallery_of_best.json", RIDGE_AND_BCL: "gallery.json"}
_SEPARATOR = " | "
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")


@dataclass(frozen=True)
class Study:
    """Everything found on one data set.

    Attributes:
        folder: Where the values lie: `<seed>/<row>.npz` beside `split.json`, `slices.npz` and `songs.npz`, and
            the `GALLERIES`.
        name: Of the data set.
        rows: In the order of the table.
        seeds: Of the splits.
    """

    folder: Path
    name: str
    rows: tuple[Row, ...]
    seeds: tuple[int, ...]

    def values(self, task: str, metric: str, row: str) -> list[np.ndarray]:
        """Returns one array per seed, an element per song or listener; empty if the row or the task was not run."""
        found = []
        for seed in self.seeds:
            path = _path(self.folder, seed, row)
            if not path.exists():
                return []
            with np.load(path) as kept:
                key = task + _SEPARATOR + metric
                if key not in kept:
                    return []
                found.append(kept[key])
        return found

    def having(self, rows: Iterable[str]) -> Study:
        """Returns the part with the seeds for which all of some rows were run."""
        names = list(rows)
        seeds = (s for s in self.seeds if all(_path(self.folder, s, name).exists() for name in names))
        return replace(self, seeds=tuple(seeds))

    def slices(self) -> list[dict[str, np.ndarray]]:
        """Returns one dict per seed: name -> which songs of the similar-song tasks."""
        found = []
        for seed in self.seeds:
            with np.load(self.folder / str(seed) / "slices.npz") as kept:
                found.append({name: kept[name] for name in kept.files})
        return found

    def popularity(self) -> list[np.ndarray]:
        """Returns one array per seed: the listeners of each song of the similar-song tasks, in truth."""
        return [np.load(self.folder / str(seed) / "songs.npz")["listeners"] for seed in self.seeds]

    def gallery(self) -> dict[str, Any] | None:
        """Returns what is there to look at, of the best model rather than another, if anything."""
        paths = (self.folder / name for name in GALLERIES.values())
        return next((json.loads(path.read_text()) for path in paths if path.exists()), None)

    def split(self, seed: int) -> dict[str, int]:
        """Returns the numbers of songs of a split."""
        return json.loads((self.folder / str(seed) / "split.json").read_text())

    def seconds(self, row: str) -> float:
        """Returns the mean time to fit and ask a row."""
        times = [float(np.load(_path(self.folder, seed, row))["seconds"]) for seed in self.seeds]
        return float(np.mean(times))


def run(
    data: DataSet,
    rows: Sequence[Row],
    seeds: Sequence[int],
    out: Path,
    say: Callable[[str], None] = print,
    epochs: int | None = None,
    jobs: int = 1,
) -> Study:
    """Fits and asks every row on every split; what lies in `out` already is not done again.

    Args:
        data: The data set.
        rows: Rows that need something which the data lacks are left out.
        seeds: Of the splits.
        out: Folder of all studies.
        say: Takes a line for every row.
        epochs: Most epochs of a trained row; None = as its settings say.
        jobs: Processes; with more than one, rows must be of the table or the sweeps.

    Raises:
        ValueError: If a row is of neither and there is more than one process.
    """
    folder = out / data.name
    known = {row.name for row in (*ROWS, *SWEEP_ROWS)}
    usable = tuple(row.on(data.name) for row in rows if row.usable(data))
    if jobs > 1 and (others := {row.name for row in usable} - known):
        raise ValueError(f"Argument `rows` must hold rows of the table for several processes. Received: {others}")
    work = []
    for seed in seeds:
        missing = [row for row in usable if not _is_kept(_path(folder, seed, row.name), row)]
        work += [(seed, lane) for lane in _lanes(missing)] if jobs > 1 else [(seed, missing)] if missing else []
    if jobs > 1 and work:
        _run_aside(data, work, epochs, folder, say, min(jobs, len(work)))
    else:
        for seed, missing in work:
            _run_seed(Problem.of(data, seed, epochs), missing, folder, say, shown=seed == seeds[0])
            gc.collect()
    return Study(folder, data.name, usable, tuple(seeds))


def _lanes(rows: Iterable[Row]) -> list[list[Row]]:
    """Returns rows that share what they fit together; lanes of many rows first, as they take longest."""
    lanes: dict[str, list[Row]] = {}
    for row in rows:
        lanes.setdefault(row.lane, []).append(row)
    return sorted(lanes.values(), key=len, reverse=True)


def _run_aside(
    data: DataSet,
    work: Sequence[tuple[int, Sequence[Row]]],
    epochs: int | None,
    folder: Path,
    say: Callable[[str], None],
    jobs: int,
) -> None:
    """Runs lanes in processes of their own, each with its share of the cores: a step is too small for several."""
    threads = dict.fromkeys(_THREADS, str(max(1, cores() // jobs)))
    # Libraries read these when they are imported, which a new process does after it has them; what is set stays.
    added = {name: value for name, value in threads.items() if name not in os.environ}
    os.environ.update(added)
    context, waiting = get_context("spawn"), list(work)
    running: dict[Any, tuple[BaseProcess, int, list[str]]] = {}
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                seed, rows = waiting.pop(0)
                names = [row.name for row in rows]
                lines, sender = context.Pipe(duplex=False)
                given = (sender, data, seed, epochs, names, folder, seed == work[0][0])
                process = context.Process(target=_run_lane, args=given)
                process.start()
                sender.close()  # while it is open here, no end of the process is seen
                running[lines] = process, seed, names
            for ready in wait(list(running)):
                _take_line(ready, running, data.name, say)
    finally:
        for started, *_ in running.values():
            started.terminate()
        for name in added:
            del os.environ[name]


def _take_line(
    lines: Any, running: dict[Any, tuple[BaseProcess, int, list[str]]], data: str, say: Callable[[str], None]
) -> None:
    """Passes on a line of a process, or removes the process that has ended.

    Raises:
        RuntimeError: If the process failed.
    """
    try:
        say(lines.recv())
    except EOFError:
        process, seed, names = running.pop(lines)
        process.join()
        if process.exitcode:
            what = f"{data}, seed {seed}: expected exit code 0 of the process of {', '.join(names)}"
            raise RuntimeError(f"{what}. Received: {process.exitcode}") from None


def cores() -> int:
    """Returns the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _run_lane(
    lines: Connection,
    data: DataSet,
    seed: int,
    epochs: int | None,
    names: Sequence[str],
    folder: Path,
    shown: bool,
) -> None:
    rows = [row.on(data.name) for row in (*ROWS, *SWEEP_ROWS) if row.name in names]
    _run_seed(Problem.of(data, seed, epochs), rows, folder, lines.send, shown=shown)


def found(name: str, rows: Sequence[Row], out: Path) -> Study:
    """Returns what lies in `out` of a data set: the seeds that have a split, and the rows that all of them have.

    Raises:
        FileNotFoundError: If nothing of the data set lies there.
    """
    folder = out / name
    seeds = tuple(sorted(int(path.parent.name) for path in folder.glob("*/split.json")))
    if not seeds:
        raise FileNotFoundError(f"{folder}: expected folders of seeds with a split.json. Received: none")
    whole = tuple(row for row in rows if all(_path(folder, seed, row.name).exists() for seed in seeds))
    return Study(folder, name, whole, seeds)


def _run_seed(problem: Problem, rows: Sequence[Row], folder: Path, say: Callable[[str], None], *, shown: bool) -> None:
    of_seed = folder / str(problem.seed)
    of_seed.mkdir(parents=True, exist_ok=True)
    counts = {"warm": len(problem.warm), **{name: len(problem.cold(name)) for name in (VALIDATION, TEST)}}
    _save(of_seed / "slices.npz", slices(problem))
    _save(of_seed / "songs.npz", {"listeners": np.diff(problem.heard(problem.cold(TEST)).indptr)})
    _put(of_seed / "split.json", json.dumps(counts))
    for row in rows:
        start = time.perf_counter()
        values = ask(problem, row.fit(problem))
        seconds = time.perf_counter() - start
        _write(_path(folder, problem.seed, row.name), values, seconds, row.settings)
        recall = np.nanmean(values[SIMILAR_20][MAIN])
        say(f"{problem.data.name}, seed {problem.seed}: {row.name:28} R@50 {recall:.3f}   {seconds:6.1f} s")
    if shown and (made := show(problem)):
        name, found = made
        _put(folder / GALLERIES[name], json.dumps(found))


def _is_kept(path: Path, row: Row) -> bool:
    """Whether a row was run with the settings that it has now."""
    if not path.exists():
        return False
    with np.load(path) as kept:
        return "settings" in kept and str(kept["settings"]) == row.settings


def _write(path: Path, values: Values, seconds: float, settings: str) -> None:
    arrays = {
        task + _SEPARATOR + metric: of_metric.astype(np.float32)
        for task, metrics in values.items()
        for metric, of_metric in metrics.items()
    }
    _save(path, {"seconds": np.array(seconds), "settings": np.array(settings), **arrays})


def _save(path: Path, arrays: dict[str, np.ndarray]) -> None:
    aside = path.with_suffix(f".{os.getpid()}.npz")
    np.savez(aside, **arrays)
    put_file(aside, path)


def _put(path: Path, text: str) -> None:
    aside = path.with_suffix(f".{os.getpid()}")
    aside.write_text(text)
    put_file(aside, path)


def _path(folder: Path, seed: int, row: str) -> Path:
    return folder / str(seed) / f"{row}.npz"
