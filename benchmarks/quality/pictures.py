"""The pictures of the page."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure

from benchmarks.quality.metrics import MAIN
from benchmarks.quality.parts import SLICES


def forest(rows: dict[str, Any], task: str, metric: str, reference: str | None) -> Figure:
    """A metric of every row with its interval, best last; and its paired difference to the reference."""
    ordered = sorted(rows, key=lambda name: rows[name]["metrics"][metric]["value"])
    figure = Figure(figsize=(11, 0.9 + 0.26 * len(ordered)), layout="constrained")
    figure.set_label(f"recall of every row: {task}")
    left, right = figure.subplots(1, 2, sharey=True)
    for place, name in enumerate(ordered):
        _interval(left, rows[name]["metrics"][metric], place, "tab:blue")
        if against := rows[name].get("against"):
            _interval(right, against, place, "tab:green" if against["low"] > 0 else "tab:grey")
    left.set_yticks(range(len(ordered)), ordered)
    left.set(xlabel=metric, xlim=(0, None))
    right.axvline(0, color="black", linewidth=1)
    right.set(xlabel=f"{metric}, difference to {reference}")
    for axis in (left, right):
        axis.grid(axis="x", alpha=0.3)
    return figure


def _interval(axis: Any, found: dict[str, float], place: float, color: Any) -> None:
    axis.plot([found["low"], found["high"]], [place, place], color=color, linewidth=2)
    axis.plot(found["value"], place, "o", color=color, markersize=5)


def lifts(found: dict[str, list[float]], title: str) -> Figure:
    """Effective plays of every rule of a campaign over those of `count`, in percent, with its interval."""
    ordered = sorted(found, key=lambda rule: found[rule][0])
    figure = Figure(figsize=(9, 0.9 + 0.26 * len(ordered)), layout="constrained")
    figure.set_label(f"effective plays over those of count: {title}")
    axis = figure.subplots()
    for place, rule in enumerate(ordered):
        value, low, high = (100 * part for part in found[rule])
        _interval(axis, {"value": value, "low": low, "high": high}, place, "tab:green" if low > 0 else "tab:grey")
    axis.set_yticks(range(len(ordered)), ordered)
    axis.axvline(0, color="black", linewidth=1)
    axis.set(xlabel="effective plays over those of count, %")
    axis.grid(axis="x", alpha=0.3)
    return figure


def parts(found: dict[tuple[str, str], dict[str, dict[str, Any]]]) -> Figure:
    """What each part adds to recall, relative, by slice (a panel each) and data set (a colour each)."""
    names = list(dict.fromkeys(name for name, _ in found))[::-1]
    sets = sorted({data for _, data in found})
    slices = [name for name in SLICES if any(name in by_slice for by_slice in found.values())]
    figure = Figure(figsize=(4 + 3.2 * len(slices), 1.4 + 0.13 * len(names) * (1 + len(sets))), layout="constrained")
    figure.set_label("what each part adds to recall")
    axes = figure.subplots(1, len(slices), sharey=True, squeeze=False)[0]
    for axis, of_slice in zip(axes, slices, strict=True):
        for place, data in enumerate(sets):
            for row, name in enumerate(names):
                if difference := found.get((name, data), {}).get(of_slice):
                    percent = {end: 100 * difference[end] for end in ("value", "low", "high")}
                    _interval(axis, percent, row + 0.3 - 0.6 * (place + 0.5) / len(sets), f"C{place}")
        axis.axvline(0, color="black", linewidth=1)
        axis.set(title=of_slice, xlabel="recall, %")
        axis.grid(axis="x", alpha=0.3)
    axes[0].set_yticks(range(len(names)), names)
    for place, data in enumerate(sets):
        axes[0].plot([], [], "o", color=f"C{place}", label=data)
    axes[0].legend(loc="best", fontsize=8)
    return figure


def by_popularity(found: dict[str, Any]) -> Figure:
    """Recall of some rows in parts of the songs by their listeners in truth."""
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    figure.set_label("recall against the number of listeners")
    axis, edges = figure.subplots(), found["edges"]
    for row, (name, parts) in enumerate(found["rows"].items()):
        known = [(place, part) for place, part in enumerate(parts) if part]
        places = [place + 0.05 * (row - len(found["rows"]) / 2) for place, _ in known]
        spread = [[abs(part[end] - part["value"]) for _, part in known] for end in ("low", "high")]
        axis.errorbar(places, [part["value"] for _, part in known], spread, marker="o", label=name)
    labels = [f"{low:.0f} to {high:.0f}" for low, high in pairwise(edges)]
    axis.set_xticks(range(len(labels)), labels)
    axis.set(xlabel="listeners of the test song in truth", ylabel=MAIN, ylim=(0, None))
    axis.grid(alpha=0.3)
    axis.legend()
    return figure


def sweeps(found: dict[str, Any]) -> Figure:
    """Recall against each setting, everything else as in the row that it varies; a line for each task."""
    figure = Figure(figsize=(11, 3.4 * -(-len(found) // 3)), layout="constrained")
    figure.set_label("recall against settings")
    axes = figure.subplots(-(-len(found) // 3), 3, squeeze=False, sharey=True).ravel()
    for axis, (name, sweep) in zip(axes, found.items(), strict=False):
        values = sweep["values"]
        for task, points in sweep["recall"].items():
            spread = [[abs(point[end] - point["value"]) for point in points] for end in ("low", "high")]
            axis.errorbar(range(len(values)), [point["value"] for point in points], spread, marker="o", label=task)
        axis.set_xticks(range(len(values)), [f"{value:g}" for value in values])
        axis.set(title=f"{name}, {len(sweep['seeds'])} seeds", xlabel=sweep["what"], ylabel=MAIN, ylim=(0, None))
        axis.grid(alpha=0.3)
    axes[0].legend(fontsize=8)
    for axis in axes[len(found) :]:
        axis.set_visible(False)
    return figure


def correlation(shown: dict[str, Any]) -> Figure:
    """The distance correlation of the fields that BCL groups by, as training left it."""
    fields, matrix = shown["fields"], np.array(shown["correlation"])
    figure = Figure(figsize=(2.5 + 0.35 * len(fields), 2 + 0.35 * len(fields)), layout="constrained")
    figure.set_label("correlation of fields")
    axis = figure.subplots()
    drawn = axis.imshow(matrix, vmin=0, vmax=1, cmap="Blues")
    axis.set_xticks(range(len(fields)), fields, rotation=60, ha="right")
    axis.set_yticks(range(len(fields)), fields)
    for row, column in np.ndindex(matrix.shape):
        value = matrix[row, column]
        color = "white" if value > 0.6 else "black"
        axis.text(column, row, f"{value:.1f}", ha="center", va="center", fontsize=7, color=color)
    figure.colorbar(drawn, shrink=0.7)
    return figure


def song_map(found: dict[str, Any]) -> Figure:
    """Songs in two dimensions, coloured by their commonest genre."""
    figure = Figure(figsize=(9, 6.5), layout="constrained")
    figure.set_label("map of songs")
    axis, labels = figure.subplots(), np.array(found["label"])
    x, y = np.array(found["x"]), np.array(found["y"])
    names = [name for name in np.unique(labels) if name != "other"]
    colors = [colormaps["tab10"](place) for place in range(10)]
    for name, color in [("other", (0.85, 0.85, 0.85)), *zip(names, colors, strict=False)]:
        axis.scatter(x[labels == name], y[labels == name], s=9, color=color, label=name, linewidths=0)
    axis.set(xticks=[], yticks=[], title=f"t-SNE of the songs of the index, by {found['field']}")
    axis.legend(loc="center left", bbox_to_anchor=(1, 0.5), markerscale=2)
    return figure
