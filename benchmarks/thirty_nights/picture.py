"""A picture of the nights: disk, time, and what became of new songs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.thirty_nights.calendar import ORDINARY


def draw(found: dict[str, Any], file: Path) -> None:
    """Draws what each night left on the disk, what it took, and the reach of new songs."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.ticker import MaxNLocator

    nights = found["nights"]
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(13, 3.6), layout="constrained")
    numbers = [night["night"] for night in nights]
    left.plot(numbers, [night["disk"]["all"] / 1e6 for night in nights], "o-", color="tab:blue")
    left.set(title="folder of the runs, MB", xlabel="night", ylim=(0, None))
    for is_ordinary, colour, label in ((True, "tab:green", "ordinary"), (False, "tab:red", "not ordinary")):
        chosen = [night for night in nights if (night["what"] == ORDINARY) == is_ordinary]
        middle.plot([n["night"] for n in chosen], [n["cpu"] for n in chosen], "o", color=colour, label=label)
    middle.set(title="processor seconds", xlabel="night", ylim=(0, None))
    middle.legend()
    for axis in (left, middle):
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    reach = found["summary"]["reached"]
    bars = {"first targets": reach["share"], "anybody": reach["share of anybody"]}
    right.bar(list(bars), [100 * share for share in bars.values()], color=["tab:blue", "grey"])
    right.set(title="played the new song later, %", ylim=(0, 100))
    figure.savefig(file, dpi=110)
    plt.close(figure)
