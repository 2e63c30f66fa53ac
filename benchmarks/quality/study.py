"""Fits and asks rows split by split, and keeps results in files, so that a stopped study continues."""

from __future__ import annotations

import gc
import json
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.quality.ceiling import ceiling
from benchmarks.quality.code_digest import code_digest
from benchmarks.quality.metrics import MAIN, RECOVERED
from benchmarks.quality.problem import Problem
from benchmarks.quality.processes import Work, in_processes
from benchmarks.quality.provenance import Provenance, data_digest
from benchmarks.quality.rows import BEST, RIDGE_AND_BCL, ROWS, SWEEP_ROWS, Row, show
from benchmarks.quality.slices import slices
from benchmarks.quality.storage import SEPARATOR, numbers_of, put, row_path, save, stale, write_row
from benchmarks.quality.tasks import LISTENERS, SIMILAR_20, SONGS_OF_ALL, SONGS_OF_TEST, ask, asked_listeners
from benchmarks.splits import LAST
from benchmarks.targeting_study.datasets import DataSet
from tfx_pipeline.contract.splits import TEST, VALIDATION

#: Of the first seed: of the best model, and of the one that the main rows have.
GALLERIES = {BEST: "gallery_of_best.json", RIDGE_AND_BCL: "gallery.json"}
#: Tasks whose values are of listeners, not of songs.
OF_LISTENERS = (SONGS_OF_ALL, SONGS_OF_TEST)


@dataclass(frozen=True)
class Study:
    """Everything found on one data set.

    Attributes:
        folder: Where the values lie: `<seed>/<row>.npz` beside `split.json`, `ceiling.json`, `slices.npz` and
            `songs.npz`, the `GALLERIES`, and a folder of the last tenth.
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
            path = row_path(self.folder, seed, row)
            if not path.exists():
                return []
            with np.load(path) as kept:
                key = task + SEPARATOR + metric
                if key not in kept:
                    return []
                found.append(kept[key])
        return found

    def having(self, rows: Iterable[str]) -> Study:
        """Returns the part with the seeds for which all of some rows were run."""
        names = list(rows)
        seeds = (s for s in self.seeds if all(row_path(self.folder, s, name).exists() for name in names))
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

    def judged(self, task: str) -> list[np.ndarray]:
        """Returns one array per seed: a number for each song or listener of a task, the same in every split."""
        name = "asked" if task in OF_LISTENERS else "songs"
        return [np.load(self.folder / str(seed) / "songs.npz")[name] for seed in self.seeds]

    def test_per_warm(self) -> float:
        """Returns the number of test songs of a split over that of its warm songs."""
        splits = [self.split(seed) for seed in self.seeds]
        return float(np.mean([split[TEST] / split["warm"] for split in splits]))

    def ceilings(self) -> list[dict[str, Any]]:
        """Returns one dict per seed: how much of the truth can be known (`benchmarks.quality.ceiling`)."""
        paths = [self.folder / str(seed) / "ceiling.json" for seed in self.seeds]
        return [json.loads(path.read_text()) for path in paths]

    def made_from(self) -> dict[str, list[str]]:
        """Returns the distinct commits and data digests of the rows' values."""
        commits, data = set(), set()
        for row in self.rows:
            for seed in self.seeds:
                with np.load(row_path(self.folder, seed, row.name)) as kept:
                    commits.add(str(kept["commit"]) if "commit" in kept else "unknown")
                    data.add(str(kept["data"]) if "data" in kept else "unknown")
        return {"commits": sorted(commits), "data": sorted(data)}

    def last_tenth(self) -> Study | None:
        """Returns what was found on the last tenth: the rows and splits that were asked; None where nobody has."""
        folder = self.folder / LAST
        seeds = tuple(seed for seed in self.seeds if (folder / str(seed) / "split.json").exists())
        rows = tuple(r for r in self.rows if all(row_path(folder, seed, r.name).exists() for seed in seeds))
        return Study(folder, self.name, rows, seeds) if seeds and rows else None

    def gallery(self) -> dict[str, Any] | None:
        """Returns what is there to look at, of the best model rather than another, if anything."""
        paths = (self.folder / name for name in GALLERIES.values())
        return next((json.loads(path.read_text()) for path in paths if path.exists()), None)

    def split(self, seed: int) -> dict[str, int]:
        """Returns the numbers of songs of a split."""
        return json.loads((self.folder / str(seed) / "split.json").read_text())

    def seconds(self, row: str) -> float:
        """Returns the mean time to fit and ask a row."""
        times = [float(np.load(row_path(self.folder, seed, row))["seconds"]) for seed in self.seeds]
        return float(np.mean(times))


def run(
    data: DataSet,
    rows: Sequence[Row],
    seeds: Sequence[int],
    out: Path,
    say: Callable[[str], None] = print,
    epochs: int | None = None,
    jobs: int = 1,
    last_tenth: bool = False,
) -> Study:
    """Fits and asks every row on every split; what lies in `out` already and is current is not done again.

    Args:
        data: The data set.
        rows: Rows that need something which the data lacks are left out.
        seeds: Of the splits.
        out: Folder of all studies.
        say: Takes a line for every row.
        epochs: Most epochs of a trained row; None = as its settings say.
        jobs: Processes; with more than one, rows must be of the table or the sweeps.
        last_tenth: Whether to judge the songs that are held out for ever, in place of the splits' test songs.

    Returns:
        The study of the test songs, or of the last tenth.

    Raises:
        ValueError: If a row is of neither and there is more than one process.
    """
    folder = out / data.name / LAST if last_tenth else out / data.name
    known = {row.name for row in (*ROWS, *SWEEP_ROWS)}
    usable = tuple(row.on(data.name) for row in rows if row.usable(data))
    if jobs > 1 and (others := {row.name for row in usable} - known):
        raise ValueError(f"Argument `rows` must hold rows of the table for several processes. Received: {others}")
    asked = _Asked(data, data_digest(data), epochs, last_tenth, folder)
    work = []
    for seed in seeds:
        missing = [row for row in usable if stale(row_path(folder, seed, row.name), asked.made_from(row)) != []]
        work += [(seed, lane) for lane in _lanes(missing)] if jobs > 1 else [(seed, missing)] if missing else []
    if jobs > 1 and work:
        lanes = [_work(asked, seed, lane, shown=seed == work[0][0]) for seed, lane in work]
        in_processes(_run_lane, lanes, say, min(jobs, len(work)))
    else:
        for seed, missing in work:
            _run_seed(asked, seed, missing, say, shown=seed == seeds[0])
            gc.collect()
    return Study(folder, data.name, usable, tuple(seeds))


@dataclass(frozen=True)
class _Asked:
    """What all rows and splits of a run have in common.

    Attributes:
        data: The data set.
        digest: Of the data set.
        epochs: Most epochs of a trained row.
        last_tenth: Whether the last tenth is judged.
        folder: Where the values go.
    """

    data: DataSet
    digest: str
    epochs: int | None
    last_tenth: bool
    folder: Path

    def made_from(self, row: Row) -> Provenance:
        """Returns the provenance that a row's values would have now."""
        return Provenance.of(row, self.digest, self.epochs)


def _lanes(rows: Iterable[Row]) -> list[list[Row]]:
    """Returns rows that share what they fit together; lanes of many rows first, as they take longest."""
    lanes: dict[str, list[Row]] = {}
    for row in rows:
        lanes.setdefault(row.lane, []).append(row)
    return sorted(lanes.values(), key=len, reverse=True)


def _work(asked: _Asked, seed: int, rows: Sequence[Row], *, shown: bool) -> Work:
    names = [row.name for row in rows]
    return Work(f"{asked.data.name}, seed {seed}, {', '.join(names)}", (asked, seed, names, shown))


def _run_lane(lines: Connection, asked: _Asked, seed: int, names: Sequence[str], shown: bool) -> None:
    rows = [row.on(asked.data.name) for row in (*ROWS, *SWEEP_ROWS) if row.name in names]
    _run_seed(asked, seed, rows, lines.send, shown=shown)


def found(name: str, rows: Sequence[Row], out: Path, say: Callable[[str], None] = print) -> Study:
    """Returns what lies in `out` of a data set: the seeds that have a split, and the rows that all of them have.

    A row whose code or settings have changed since is left out, and a line says so. The data is not at hand here; all
    rows must have been measured on the same.

    Raises:
        FileNotFoundError: If nothing of the data set lies there.
        ValueError: If the rows are of different data.
    """
    folder = out / name
    seeds = tuple(sorted(int(path.parent.name) for path in folder.glob("*/split.json") if path.parent.name != LAST))
    if not seeds:
        raise FileNotFoundError(f"{folder}: expected folders of seeds with a split.json. Received: none")
    whole = [row.on(name) for row in rows if all(row_path(folder, seed, row.name).exists() for seed in seeds)]
    current = tuple(row for row in whole if _is_current(folder, seeds, row, say))
    study = Study(folder, name, current, seeds)
    if len(digests := study.made_from()["data"]) > 1:
        raise ValueError(f"{folder}: expected rows of the same data. Received: digests {', '.join(digests)}")
    return study


def _is_current(folder: Path, seeds: Sequence[int], row: Row, say: Callable[[str], None]) -> bool:
    now = Provenance.of(row, "", None)
    changed = {
        what
        for seed in seeds
        for what in stale(row_path(folder, seed, row.name), now) or ()
        if what in ("settings", "code")
    }
    if changed:
        say(f"{folder.name}: {row.name} is left out: its {' and '.join(sorted(changed))} changed since it was measured")
    return not changed


def _run_seed(asked: _Asked, seed: int, rows: Sequence[Row], say: Callable[[str], None], *, shown: bool) -> None:
    problem = Problem.of(asked.data, seed, asked.epochs, last_tenth=asked.last_tenth)
    _describe(problem, asked.folder / str(seed), f"{asked.digest} {code_digest(_describe, Problem)}")
    for row in rows:
        start = time.perf_counter()
        values = ask(problem, row.fit(problem))
        seconds = time.perf_counter() - start
        write_row(row_path(asked.folder, seed, row.name), values, seconds, asked.made_from(row))
        recall, recovered = (np.nanmean(values[t][m]) for t, m in ((SIMILAR_20, MAIN), (LISTENERS, RECOVERED)))
        what = f"R@50 {recall:.3f}, listeners recovered {recovered:5.1f}"
        say(f"{problem.data.name}, seed {seed}: {row.name:28} {what}   {seconds:6.1f} s")
    if shown and (made := show(problem)):
        name, found = made
        put(asked.folder / GALLERIES[name], found)


def _describe(problem: Problem, folder: Path, made_from: str) -> None:
    """Writes what is true of a split whatever the row, unless it is there."""
    folder.mkdir(parents=True, exist_ok=True)
    known = folder / "ceiling.json"
    if (folder / "split.json").exists() and known.exists() and json.loads(known.read_text())["made from"] == made_from:
        return
    data, test = problem.data, problem.cold(TEST)
    judged = {
        "listeners": np.diff(problem.heard(test).indptr),
        "songs": numbers_of(data.songs[test].tolist()),
        "asked": numbers_of(data.users[asked_listeners(problem)].tolist()),
    }
    save(folder / "slices.npz", slices(problem))
    save(folder / "songs.npz", judged)
    put(known, {**ceiling(problem), "made from": made_from})
    # Last, because a split without it is not there.
    put(
        folder / "split.json",
        {"warm": len(problem.warm), **{name: len(problem.cold(name)) for name in (VALIDATION, TEST)}},
    )
