"""What each part of the method brings: the row with the part beside the row without it, slice by slice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from bcl_keras.evaluation.bootstrap import interval
from benchmarks.quality.metrics import MAIN, MAIN_OF_LISTENERS
from benchmarks.quality.slices import LONG_TAIL, NEW_ARTIST
from benchmarks.quality.study import Study
from benchmarks.quality.tasks import DAY_ZERO, LISTENERS, SIMILAR_20
from benchmarks.significance import SongDraws, mean_of_splits, p_over_splits

ALL_SONGS = "all songs"
#: Of all songs: task and metric.
WHOLE = {ALL_SONGS: (SIMILAR_20, MAIN), DAY_ZERO: (DAY_ZERO, MAIN), LISTENERS: (LISTENERS, MAIN_OF_LISTENERS)}
#: Where a part may help. The paper made its contrast for the long tail.
SLICES = (*WHOLE, LONG_TAIL, NEW_ARTIST)
SIGNIFICANT = 0.05
#: Number of data sets on which a part must help in the same slice before the page says so.
ENOUGH = 2


@dataclass(frozen=True)
class Part:
    """One part of the method.

    Attributes:
        name: As printed.
        having: The row that has it.
        lacking: The same row without it.
    """

    name: str
    having: str
    lacking: str


PARTS = (
    Part("contrast behind a head", "BCL, head, hard negatives, margin", "BPR only"),
    Part("contrast on the embeddings served", "BCL", "BPR only"),
    Part("no head instead of the head", "BCL", "BCL, head, hard negatives, margin"),
    Part("contrast instead of withheld fields", "BCL", "BPR, field dropout"),
    Part("learnt correlation instead of random groups", "BCL", "BPR + RFM"),
    Part("bootstrapping instead of a static matrix", "BCL", "BCL, static matrix"),
    Part("moving average instead of the last batch", "BCL", "BCL, last batch"),
    Part("Gumbel-Max draws instead of the top fields", "BCL", "BCL, Gumbel off"),
    Part("random mask", "BCL", "BCL, no operator"),
    Part("span mask", "BCL, span mask", "BCL, no operator"),
    Part("uniform noise", "BCL, uniform noise", "BCL, no operator"),
    Part("all operators together", "BCL, all operators", "BCL, no operator"),
    Part("V1 instead of V2", "BCL", "BCL, V2"),
    Part("contrast over cold songs too", "BCL, catalogue", "BCL"),
    Part("fields withheld at random, no contrast", "BPR, field dropout", "BPR only"),
    Part("contrast beside withheld fields", "BCL, field dropout", "BPR, field dropout"),
    Part("withheld fields beside contrast", "BCL, field dropout", "BCL"),
    Part("sparse songs as anchors of BPR", "BPR, sparse songs", "BPR only"),
    Part("sparse songs as anchors of BCL", "BCL, sparse songs", "BCL"),
    Part("sparse songs in the audience ridge", "audience ridge, sparse songs", "audience ridge"),
    Part("contrast beside sparse songs", "BCL, sparse songs", "BPR, sparse songs"),
    Part("contrast behind a head, hidden layer", "paper: hidden, contrast behind head", "paper: hidden, BPR alone"),
    Part("learnt correlation, in the paper's regime", "paper: hidden, contrast behind head", "paper: random groups"),
    Part("bootstrapping, in the paper's regime", "paper: hidden, contrast behind head", "paper: static matrix"),
)


def parts(study: Study) -> list[dict[str, Any]]:
    """Returns for each part, by slice, the relative difference in recall with its interval, and p over the splits.

    p is not corrected yet: `results` corrects all comparisons of a data set together. A part is left out if one of its
    rows was not run.
    """
    slices = [name for name in SLICES if name in WHOLE or name in study.slices()[0]]
    known = {row.name for row in study.rows}
    measured = [part for part in PARTS if {part.having, part.lacking} <= known]
    if not measured:
        return []
    draws, found = SongDraws(study.judged(SIMILAR_20)), []
    for part in measured:
        values = {name: [_values(study, row, name) for row in (part.having, part.lacking)] for name in slices}
        differences = {name: _difference(study, draws, *pair) for name, pair in values.items()}
        if by_slice := {name: difference for name, difference in differences.items() if difference}:
            found.append({**asdict(part), "slices": by_slice})
    return found


def _values(study: Study, row: str, name: str) -> list[np.ndarray]:
    """Returns the values of a slice, NaN outside it; nothing if the row was not asked or a split has no such song."""
    values = study.values(*WHOLE.get(name, WHOLE[ALL_SONGS]), row)
    if name not in WHOLE:
        values = [np.where(part[name], array, np.nan) for array, part in zip(values, study.slices(), strict=True)]
    return values if all((~np.isnan(array)).any() for array in values) else []


def _difference(
    study: Study, draws: SongDraws, having: Sequence[np.ndarray], lacking: Sequence[np.ndarray]
) -> dict[str, Any] | None:
    if not having or not lacking or mean_of_splits(lacking) == 0:
        return None
    means = draws.means([np.stack(pair, axis=1) for pair in zip(having, lacking, strict=True)])
    ratios = means[:, 0] / np.maximum(means[:, 1], 1e-9)
    found = interval(mean_of_splits(having) / mean_of_splits(lacking) - 1, ratios - 1)
    return {**found._asdict(), "p": p_over_splits(having, lacking, study.test_per_warm())}


def verdict(name: str, results: Sequence[dict[str, Any]]) -> str:
    """Returns one plain sentence on what the data sets say of a part."""
    helps: dict[str, list[str]] = {}
    hurts: dict[str, list[str]] = {}
    untold, untested = [], []
    for result in results:
        for part in result["parts"]:
            if part["name"] != name:
                continue
            tested = {s: d for s, d in part["slices"].items() if d["p"] is not None}
            sure = {s: d["value"] for s, d in tested.items() if d["p"] < SIGNIFICANT}
            for place, value in sure.items():
                (helps if value > 0 else hurts).setdefault(place, []).append(result["data"])
            if not tested:
                untested.append(result["data"])
            elif not sure:
                untold.append(result["data"])
    phrases = [f"{verb} on {_places(found)}" for verb, found in (("helps", helps), ("hurts", hurts)) if found]
    if helps and max(map(len, helps.values())) < ENOUGH:
        phrases.append("in no slice on two data sets, too few to say that it helps")
    phrases += [f"no difference shown on {', '.join(untold)}"] if untold else []
    phrases += [f"not tested on {', '.join(untested)}, which takes more than one split"] if untested else []
    return "; ".join(phrases) or "not measured"


def _places(found: dict[str, list[str]]) -> str:
    return ", ".join(f"{place} ({', '.join(sets)})" for place, sets in found.items())


def names(results: Sequence[dict[str, Any]]) -> list[str]:
    """Returns the parts that were measured on any data set, in their order."""
    measured = {part["name"] for result in results for part in result["parts"]}
    return [part.name for part in PARTS if part.name in measured]


def relative(found: dict[str, Any]) -> str:
    """Returns a relative difference in percent with its interval and p."""
    p = "" if found["p"] is None else f", p {found['p']:.2g}"
    return f"{100 * found['value']:+.1f} % [{100 * found['low']:.1f}, {100 * found['high']:.1f}]{p}"


def parts_markdown(results: Sequence[dict[str, Any]]) -> list[str]:
    """Returns the lines that say what each part of the method brings."""
    lines = ["## What each part brings", "", "| part | data | slice | recall, relative |", "| --- | --- | --- | --- |"]
    for name in names(results):
        for result in results:
            for part in result["parts"]:
                shown = part["slices"].items() if part["name"] == name else ()
                lines += [f"| {name} | {result['data']} | {s} | {relative(found)} |" for s, found in shown]
    return [*lines, "", *(f"- {name}: {verdict(name, results)}." for name in names(results)), ""]
