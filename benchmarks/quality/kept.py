"""The table of a study as it is kept in the repository, from which docs/results is written."""

from __future__ import annotations

from typing import Any

from benchmarks.quality.metrics import GRADED, MAIN, MAIN_OF_LISTENERS, RECOVERED
from benchmarks.quality.results import PROTOCOL
from benchmarks.quality.slices import LONG_TAIL, NEW_ARTIST
from benchmarks.quality.tasks import DAY_ZERO, LISTENERS, LISTENERS_DAY_ZERO, SIMILAR_20

DIGITS = 3
#: Columns of one figure: title, kind, task, slice, metric. Those that a study has are shown.
_FIGURES = (
    ("listeners R@100", "interval", LISTENERS, None, MAIN_OF_LISTENERS),
    ("NDCG@100", "share", LISTENERS, None, "ndcg@100"),
    ("recovered of 100", "ratio", LISTENERS, None, RECOVERED),
    ("day zero R@100", "share", LISTENERS_DAY_ZERO, None, MAIN_OF_LISTENERS),
    ("songs R@50", "interval", SIMILAR_20, None, MAIN),
    ("graded NDCG@50", "share", SIMILAR_20, None, GRADED),
    ("day zero R@50", "share", DAY_ZERO, None, MAIN),
    ("long tail R@50", "share", SIMILAR_20, LONG_TAIL, MAIN),
    ("new artist R@50", "share", SIMILAR_20, NEW_ARTIST, MAIN),
)
_COMPARED = (("listeners", LISTENERS, MAIN_OF_LISTENERS), ("songs", SIMILAR_20, MAIN))


def kept_table(study: dict[str, Any]) -> dict[str, Any]:
    """Returns columns and rows of a study.

    Args:
        study: Of `benchmarks.quality.results.results`.

    Raises:
        ValueError: If it is of another protocol.
    """
    if study.get("protocol") != PROTOCOL:
        received = study.get("protocol", "none")
        raise ValueError(
            f"{study['data']}: expected results of protocol {PROTOCOL}. Received: {received}. Run it again"
        )
    figures = [figure for figure in _FIGURES if _table(study, *figure[2:4])]
    base = study["reference"]
    columns = {"row": "text", **{title: kind for title, kind, *_ in figures}}
    columns |= {f"{name} against {base}": "difference and p" for name, *_ in _COMPARED if base}
    rows = []
    for name in study["tasks"][SIMILAR_20]:
        row: list[Any] = [name, *(_figure(study, name, *figure[1:]) for figure in figures)]
        row += [_difference(study, name, task, metric) for _, task, metric in _COMPARED if base]
        rows.append(row)
    return _without_empty(columns, rows)


def _without_empty(columns: dict[str, str], rows: list[list[Any]]) -> dict[str, Any]:
    """Leaves out columns without any value: a study of one split has no p."""
    filled = [any(row[place] is not None for row in rows) for place in range(len(columns))]
    kept = {name: kind for (name, kind), has in zip(columns.items(), filled, strict=True) if has}
    return {
        "columns": kept,
        "rows": [[value for value, has in zip(row, filled, strict=True) if has] for row in rows],
    }


def kept_ceiling(studies: list[dict[str, Any]]) -> dict[str, Any]:
    """Returns the table of how much of the truth of similar songs can be known, a row for each data set."""
    slices = list(dict.fromkeys(name for study in studies for name in study["ceiling"]["slices"]))
    columns = {"data": "text", "split half R@50": "share", "law, about": "share", "from, to": "numbers"}
    columns |= {"share one listener": "share"} | {f"law, {name}": "share" for name in slices}
    rows = []
    for study in studies:
        found = study["ceiling"]
        ends = [_rounded(found["lower"]), _rounded(found["upper"])]
        row: list[Any] = [study["data"], _rounded(found["split half"]), _rounded(found["estimate"]), ends]
        by_slice = [found["slices"].get(name, {}).get("estimate") for name in slices]
        rows.append([*row, _rounded(found["one listener"]), *(None if e is None else _rounded(e) for e in by_slice)])
    return {"columns": columns, "rows": rows}


def _table(study: dict[str, Any], task: str, part: str | None) -> dict[str, Any]:
    found = study["tasks"].get(task, {}) if part is None else study["slices"].get(task, {}).get(part, {})
    return dict(found)


def _figure(study: dict[str, Any], row: str, kind: str, task: str, part: str | None, metric: str) -> Any:
    found = _table(study, task, part).get(row)
    if found is None:
        return None
    estimate = found["metrics"][metric]
    if kind == "interval":
        return [_rounded(estimate[end]) for end in ("value", "low", "high")]
    return _rounded(estimate["value"])


def _difference(study: dict[str, Any], row: str, task: str, metric: str) -> list[float] | None:
    rows = study["tasks"].get(task, {})
    against, base = rows.get(row, {}).get("against"), rows.get(study["reference"])
    if against is None or against.get("p") is None or base is None or not base["metrics"][metric]["value"]:
        return None
    return [_rounded(against["value"] / base["metrics"][metric]["value"]), float(f"{against['p']:.2g}")]


def _rounded(value: float) -> float:
    return round(value, DIGITS)
