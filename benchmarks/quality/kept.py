"""The table of a study as it is kept in the repository, from which docs/results is written."""

from __future__ import annotations

from typing import Any

from benchmarks.quality.metrics import MAIN
from benchmarks.quality.tasks import DAY_ZERO, LISTENERS, LONG_TAIL, SIMILAR_20

#: The row that the others are compared with.
REFERENCE = "kernel ridge"
DIGITS = 3


def kept_table(study: dict[str, Any]) -> dict[str, Any]:
    """Returns columns and rows of a study.

    Args:
        study: Of `benchmarks.quality.report.results`.
    """
    tasks, tail = study["tasks"], study["slices"].get(LONG_TAIL)
    base = tasks[SIMILAR_20].get(REFERENCE)
    columns = {"row": "text", "R@50": "interval", "NDCG@50": "share"}
    columns |= {"day zero R@50": "share"} if DAY_ZERO in tasks else {}
    columns |= {"long tail R@50": "share"} if tail else {}
    columns |= {"listeners R@50": "share"} if LISTENERS in tasks else {}
    columns |= {f"against {REFERENCE}": "difference and p"} if base else {}
    rows = []
    for name, found in tasks[SIMILAR_20].items():
        main = found["metrics"][MAIN]
        row: list[Any] = [name, [_rounded(main[end]) for end in ("value", "low", "high")]]
        row.append(_rounded(found["metrics"]["ndcg@50"]["value"]))
        for task in (DAY_ZERO, LISTENERS):
            if task == LISTENERS and tail:
                row.append(_rounded(tail[name]["value"]))
            if task in tasks:
                row.append(_rounded(tasks[task][name]["metrics"][MAIN]["value"]))
        if base:
            row.append(_difference(found.get("against", {}).get(REFERENCE), base["metrics"][MAIN]["value"]))
        rows.append(row)
    return {"columns": columns, "rows": rows}


def _difference(against: dict[str, Any] | None, base: float) -> list[float] | None:
    if against is None or against["p"] is None:
        return None
    return [_rounded(against["value"] / base), float(f"{against['p']:.2g}")]


def _rounded(value: float) -> float:
    return round(value, DIGITS)
