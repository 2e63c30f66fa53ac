"""Figures of a study in words, as both the Markdown tables and the page say them."""

from __future__ import annotations

from typing import Any

from benchmarks.quality.metrics import EXPECTED_COSINE, GRADED, METRICS, RECOVERED

#: Titles of the metrics in a table.
TITLES = {
    **{metric: metric.replace("recall", "R").replace("ndcg", "NDCG").replace("mrr", "MRR") for metric in METRICS},
    RECOVERED: "recovered of 100",
    EXPECTED_COSINE: "cosine@50",
    GRADED: "graded NDCG@50",
}


def ceiling_words(ceiling: dict[str, Any]) -> str:
    """Returns how much of the truth of similar songs can be known, as sentences."""
    half, lower, estimate, upper = (f"{ceiling[name]:.3f}" for name in ("split half", "lower", "estimate", "upper"))
    return (
        f"Noise of the truth of similar songs, R@50: one half of an audience finds {half} of the other half's songs. "
        f"The law of the listeners itself would reach about {estimate} ({lower} to {upper}). "
        f"{100 * ceiling['one listener']:.0f} % of the truth's songs share a single listener with their test song."
    )


def shown_metrics(rows: dict[str, Any]) -> list[str]:
    """Returns the metrics that a table of a task has, in the order of `TITLES`."""
    known = next(iter(rows.values()))["metrics"]
    return [metric for metric in TITLES if metric in known]


def difference_words(found: dict[str, Any] | None) -> str:
    """Returns a difference with its interval and p; nothing for the reference itself."""
    if found is None:
        return ""
    p = "" if found.get("p") is None else f", p {found['p']:.2g}"
    return f"{found['value']:+.3f} [{found['low']:+.3f}, {found['high']:+.3f}]{p}"
