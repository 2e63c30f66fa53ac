"""The served model, where it is not the judged one: how it was made, and how far both agree."""

from __future__ import annotations

from typing import Any

from tfx_pipeline.reports.html import table

#: By the setting `refit`.
_MADE = {
    "train": "It is fitted again on all songs, with the settings that the judged model chose. No song is held out, so "
    "its recall cannot be measured. The recall is that of the judged model; the table shows how far both agree.",
    "index": "It is the judged model. The songs held out are in its index by their content; it has not learned from "
    "their plays.",
}


def served_model(served: dict[str, Any]) -> str:
    """Returns the section as HTML.

    Args:
        served: The report of `ServedModelChecker`.
    """
    judged, overlap = served["judged"], served["overlap"]
    held_out = ", ".join(f"{count:,} {split}" for split, count in judged["held_out"].items())
    lines = [
        ["Songs in the index of the judged model", f"{judged['songs_in_index']:,}"],
        ["Songs held out from it", held_out],
        *(
            [f"Judged model on {split} songs", ", ".join(f"{name} {mean:.3f}" for name, mean in means.items())]
            for split, means in judged["measured"].items()
        ),
        ["Songs in the index of the served model", f"{served['served']['songs_in_index']:,}"],
        *(_overlap(overlap) if overlap else []),
    ]
    return f"<p>{_MADE[served['refit']]}</p>{table(['', ''], lines, 'words')}"


def _overlap(overlap: dict[str, Any]) -> list[list[str]]:
    by_split = ", ".join(f"{split} {mean:.3f}" for split, mean in overlap["by_split"].items())
    return [
        [f"First {overlap['k']} matches that both have", f"{overlap['mean']:.3f} of {overlap['songs']:,} songs"],
        ["The same by split", by_split],
        ["At least", f"{overlap['least']:.3f} (by chance {overlap['by_chance']:.3f})"],
    ]
