"""Every estimate of a study: means over splits, intervals over songs, and p corrected over all that is compared."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from bcl_keras.evaluation.bootstrap import interval
from benchmarks.quality.ceiling import law
from benchmarks.quality.metrics import EXPECTED_COSINE, GRADED, MAIN, MAIN_OF_LISTENERS, METRICS, RECOVERED
from benchmarks.quality.parts import parts
from benchmarks.quality.rows import BEST, SWEEP, SWEEP_POINTS, SWEEPS, Row
from benchmarks.quality.study import OF_LISTENERS, Study
from benchmarks.quality.tasks import (
    DAY_ZERO,
    LISTENERS,
    LISTENERS_DAY_ZERO,
    SIMILAR_20,
    SIMILAR_50,
    SONGS_OF_ALL,
    SONGS_OF_TEST,
)
from benchmarks.significance import SongDraws, holm, mean_of_splits, p_over_splits

#: Of the measures and of how things are compared. Results of another number are not comparable.
PROTOCOL = 2
TASKS = (LISTENERS, SIMILAR_20, LISTENERS_DAY_ZERO, DAY_ZERO, SIMILAR_50, SONGS_OF_ALL, SONGS_OF_TEST)
#: Whose differences are tested. Those of the other tasks have intervals alone: each test makes the others' p larger.
TESTED = (LISTENERS, SIMILAR_20, LISTENERS_DAY_ZERO, DAY_ZERO)
#: The two headline measures, by whose values songs are also sliced.
HEADLINES = (LISTENERS, SIMILAR_20)
#: What the other rows are compared with: the first of these that was run.
REFERENCES = (BEST, "kernel ridge", "content cosine")
FIFTHS = 5
SHOWN_BY_POPULARITY = ("content cosine", "kernel ridge", "BPR only", "BCL", "audience ridge", "best")


def main_metric(task: str) -> str:
    """Returns the metric that rows are compared by in a task."""
    return MAIN_OF_LISTENERS if task in (LISTENERS, LISTENERS_DAY_ZERO) else MAIN


def results(study: Study) -> dict[str, Any]:
    """Returns every estimate of a study, as plain values."""
    last = study.last_tenth()
    found = {
        "data": study.name,
        "protocol": PROTOCOL,
        "made from": study.made_from(),
        "seeds": list(study.seeds),
        "splits": [study.split(seed) for seed in study.seeds],
        "reference": reference(study),
        "ceiling": ceiling_of(study),
        "rows": [
            {"name": row.name, "family": row.family, "what": row.what, "seconds": study.seconds(row.name)}
            for row in table_rows(study)
        ],
        "tasks": tasks(study),
        "slices": slices(study),
        "parts": parts(study),
        "popularity": _by_popularity(study),
        "sweeps": _sweeps(study),
        "last tenth": tasks(last, tested=()) if last else {},
        "gallery": study.gallery(),
    }
    correct(_comparisons(found))
    return found


def table_rows(study: Study) -> list[Row]:
    """Returns the rows that are no points of a sweep."""
    return [row for row in study.rows if row.family != SWEEP]


def reference(study: Study) -> str | None:
    """Returns the row that the others are compared with; None if none of `REFERENCES` was run."""
    names = {row.name for row in study.rows}
    return next((name for name in REFERENCES if name in names), None)


def correct(comparisons: Sequence[dict[str, Any]]) -> None:
    """Sets `p` of all comparisons of a data set to what Holm's rule makes of it; `p alone` keeps what it was."""
    alone = {str(place): found["p"] for place, found in enumerate(comparisons)}
    for place, p in holm(alone).items():
        found = comparisons[int(place)]
        found["p alone"], found["p"] = (None if np.isnan(value) else value for value in (alone[place], p))


def _comparisons(found: dict[str, Any]) -> list[dict[str, Any]]:
    """Returns all tested differences: of rows by task and slice, and of parts by slice; none of the last tenth."""
    tables = [*found["tasks"].values(), *(table for of_task in found["slices"].values() for table in of_task.values())]
    of_rows = [row["against"] for table in tables for row in table.values() if "against" in row]
    of_parts = [difference for part in found["parts"] for difference in part["slices"].values()]
    return [difference for difference in of_rows + of_parts if "p" in difference]


def tasks(study: Study, tested: Sequence[str] = TESTED) -> dict[str, Any]:
    """Returns task -> row -> metrics, and the difference to the reference; with p in the tasks that are tested."""
    draws: dict[bool, SongDraws] = {}
    found = {}
    for task in TASKS:
        values = _values_of(study, task)
        if values:
            kind = task in OF_LISTENERS
            draws[kind] = draws.get(kind) or SongDraws(study.judged(task))
            found[task] = table(study, values, draws[kind], main_metric(task), tested=task in tested)
    return found


def _values_of(study: Study, task: str) -> dict[tuple[str, str], list[np.ndarray]]:
    metrics = (*METRICS, RECOVERED, EXPECTED_COSINE, GRADED)
    return {
        (row.name, metric): arrays
        for row in table_rows(study)
        for metric in metrics
        if (arrays := study.values(task, metric, row.name))
    }


def table(
    study: Study, values: dict[tuple[str, str], list[np.ndarray]], draws: SongDraws, main: str, *, tested: bool = True
) -> dict[str, dict[str, Any]]:
    """Returns row -> its metrics with intervals, and its difference to the reference.

    Args:
        study: What the values are of.
        values: (row, metric) -> values of each split.
        draws: Of the songs that the values are of.
        main: Metric that rows are compared by.
        tested: Whether differences have a p.
    """
    columns = {key: place for place, key in enumerate(values)}
    means = draws.means([np.stack([of[split] for of in values.values()], axis=1) for split in range(len(study.seeds))])
    found: dict[str, dict[str, Any]] = {}
    for (name, metric), arrays in values.items():
        estimate = interval(mean_of_splits(arrays), means[:, columns[name, metric]])
        found.setdefault(name, {"metrics": {}})["metrics"][metric] = estimate._asdict()
    base = reference(study)
    for name in [name for name in found if base in found and name != base]:
        one, other = values[name, main], values[str(base), main]
        drawn = means[:, columns[name, main]] - means[:, columns[str(base), main]]
        difference = interval(mean_of_splits(one) - mean_of_splits(other), drawn)
        found[name]["against"] = difference._asdict()
        if tested:
            found[name]["against"]["p"] = p_over_splits(one, other, study.test_per_warm())
    return found


def slices(study: Study) -> dict[str, Any]:
    """Returns headline task -> slice -> row -> as `table`, of the main metric; where every split has such songs."""
    chosen, found = study.slices(), {}
    draws = SongDraws(study.judged(SIMILAR_20))
    for task in HEADLINES:
        values = {
            (row.name, main_metric(task)): study.values(task, main_metric(task), row.name) for row in table_rows(study)
        }
        values = {(name, metric): arrays for (name, metric), arrays in values.items() if arrays}
        of_task = {}
        for name in chosen[0] if values else ():
            inside = {key: _inside(arrays, [part[name] for part in chosen]) for key, arrays in values.items()}
            if all((~np.isnan(array)).any() for arrays in inside.values() for array in arrays):
                of_task[name] = table(study, inside, draws, main_metric(task))
        found[task] = of_task
    return found


def _inside(arrays: Sequence[np.ndarray], chosen: Sequence[np.ndarray]) -> list[np.ndarray]:
    return [np.where(part, array, np.nan) for array, part in zip(arrays, chosen, strict=True)]


def ceiling_of(study: Study) -> dict[str, Any]:
    """Returns the noise ceiling over the splits: the mean of what halves of audiences say."""
    ceilings = study.ceilings()
    half, upper, once = (float(np.mean([c[k] for c in ceilings])) for k in ("split half", "upper", "one listener"))
    found = {"split half": half, "lower": half**0.5, "estimate": law(half), "upper": upper, "one listener": once}
    names = [name for name in ceilings[0]["slices"] if all(name in c["slices"] for c in ceilings)]
    by_slice = {name: float(np.mean([c["slices"][name]["split half"] for c in ceilings])) for name in names}
    return {**found, "slices": {name: {"split half": r, "estimate": law(r)} for name, r in by_slice.items()}}


def _by_popularity(study: Study) -> dict[str, Any]:
    """Recall in fifths of the test songs by the listeners that they have in truth."""
    listeners = study.popularity()
    edges = np.unique(np.quantile(np.concatenate(listeners), np.linspace(0, 1, FIFTHS + 1)))
    place = [np.clip(np.searchsorted(edges, found, side="right") - 1, 0, len(edges) - 2) for found in listeners]
    names = [row.name for row in table_rows(study) if row.name in SHOWN_BY_POPULARITY]
    draws = SongDraws(study.judged(SIMILAR_20))
    values = {name: study.values(SIMILAR_20, MAIN, name) for name in names}
    parts_of = range(len(edges) - 1)
    inside = {
        name: [_estimate(draws, _inside(arrays, [of == part for of in place])) for part in parts_of]
        for name, arrays in values.items()
    }
    return {"edges": edges.tolist(), "rows": inside}


def _sweeps(study: Study) -> dict[str, Any]:
    """Recall by value of each setting over the seeds that have all values; with day zero's fields withheld, too."""
    found: dict[str, Any] = {}
    for setting, points in SWEEP_POINTS.items():
        swept, by_task = study.having(points.values()), {}
        draws = SongDraws(swept.judged(SIMILAR_20)) if swept.seeds else None
        for task in (SIMILAR_20, DAY_ZERO):
            arrays = [swept.values(task, MAIN, row) for row in points.values()]
            if draws and all(arrays):
                by_task[task] = [_estimate(draws, of_value) for of_value in arrays]
        if by_task:
            found[setting] = {
                "what": SWEEPS[setting][0],
                "values": list(points),
                "seeds": list(swept.seeds),
                "recall": by_task,
            }
    return found


def _estimate(draws: SongDraws, arrays: Iterable[np.ndarray]) -> dict[str, float] | None:
    """Mean over splits with its interval; nothing where a split has no song."""
    values = list(arrays)
    if not all((~np.isnan(array)).any() for array in values):
        return None
    means = draws.means([array[:, None] for array in values])
    return interval(mean_of_splits(values), means[:, 0])._asdict()
